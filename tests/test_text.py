"""Words as numbers: `preprocessing.text` beside the module that Keras still carries, and what is refused."""

import json

import numpy as np
import pytest

from rnncore.preprocessing import text as ours

TEXTS = ["The film was good; the ACTORS were good!", "a bad film", "Good good, not bad.\tÉté…", "", "x\ny  z the"]
OTHERS = ["the film of all films", ["Already", "words", "film"], "", "THE\u00a0good--bad"]
OPTIONS = [
    {},
    {"num_words": 5},
    {"oov_token": "<OOV>"},
    {"num_words": 4, "oov_token": "<OOV>"},
    {"lower": False, "filters": "", "split": "o"},
    {"char_level": True, "num_words": 9, "oov_token": "?"},
]


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("keras.src.legacy.preprocessing.text")


def all_of(module, options):
    """Return everything that a module's Tokenizer makes of the texts."""
    made = module.Tokenizer(**options)
    made.fit_on_texts(TEXTS[:2])
    made.fit_on_texts(iter(TEXTS[2:]))
    found = {"sequences": made.texts_to_sequences(OTHERS), "back": made.sequences_to_texts([[1, 3, 99, 0, 2], []])}
    found |= {mode: made.texts_to_matrix(OTHERS, mode).tolist() for mode in ("binary", "count", "freq", "tfidf")}
    made.fit_on_sequences([[1, 2, 2], [7]])
    found["after"] = made.sequences_to_matrix([[1, 1, 7]], "tfidf").tolist()
    return found, made


@pytest.mark.keras
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options) or "defaults")
def test_tokenizer(theirs, options):
    (mine, tokenizer), (expected, other) = all_of(ours, options), all_of(theirs, options)
    assert mine == expected
    assert json.loads(tokenizer.to_json()) == json.loads(other.to_json())
    for one, two in ((ours, theirs), (theirs, ours)):  # files go both ways
        again = one.tokenizer_from_json(two.Tokenizer.to_json(other if two is theirs else tokenizer))
        assert again.texts_to_sequences(OTHERS) == expected["sequences"]
        assert again.sequences_to_matrix([[1, 1, 7]], "tfidf").tolist() == expected["after"]


@pytest.mark.keras
def test_functions(theirs):
    for text in TEXTS:
        assert ours.text_to_word_sequence(text) == theirs.text_to_word_sequence(text)
        assert ours.hashing_trick(text, 7, "md5") == theirs.hashing_trick(text, 7, hash_function="md5")
        assert ours.one_hot(text, 9, analyzer=str.split) == theirs.one_hot(text, 9, analyzer=str.split)


def test_a_tokenizer_counts_frequent_words_first():
    tokenizer = ours.Tokenizer(num_words=3, oov_token="?")
    tokenizer.fit_on_texts(["b a a", "c a b"])
    assert tokenizer.word_index == {"?": 1, "a": 2, "b": 3, "c": 4}
    assert tokenizer.texts_to_sequences(["a b c d"]) == [[2, 1, 1, 1]]
    again = ours.tokenizer_from_json(tokenizer.to_json())
    assert again.sequences_to_texts([[2, 3, 9]]) == ["a ? ?"]
    assert np.array_equal(again.texts_to_matrix(["a a"], "freq"), [[0, 0, 1]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ours.Tokenizer().fit_on_texts("one text"), TypeError, r"expected a list of texts: \[text\]"),
        (lambda: ours.Tokenizer().fit_on_texts([3]), TypeError, "a text is a int"),
        (lambda: ours.Tokenizer(num_words=0), ValueError, "Tokenizer: num_words is 0"),
        (lambda: ours.Tokenizer(split=""), ValueError, "char_level=True"),
        (lambda: ours.Tokenizer(oov_token=3), TypeError, "oov_token is 3"),
        (lambda: ours.Tokenizer().texts_to_matrix([["a"]]), ValueError, "call fit_on_texts first"),
        (lambda: ours.Tokenizer(9).texts_to_matrix([["a"]], "idf"), ValueError, "known: binary, count"),
        (lambda: ours.Tokenizer(9).texts_to_matrix([["a"]], "tfidf"), ValueError, "no text was counted"),
        (lambda: ours.hashing_trick("a", 1), ValueError, "at least 2"),
        (lambda: ours.hashing_trick("a", 5, "sha"), ValueError, "hash_function is 'sha'"),
        (lambda: ours.text_to_word_sequence(b"a"), TypeError, "text is a bytes"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def without(name, value):
    content = json.loads(ours.Tokenizer().to_json())
    content["config"][name] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, without("word_index", "[1]"), without("word_index", '{"a": "b"}')]
    + [without("index_docs", '{"a": 1}'), without("index_word", '{"1": 2}'), without("analyzer", "os.system"), "1"]
    + [without("document_count", -1), without("document_count", "3"), without("split", ""), without("more", 1)]
    + [without("word_docs", "[" * 100_000)],
)
def test_a_text_from_anyone(text):
    with pytest.raises(ValueError, match="json_string is no Tokenizer's"):
        ours.tokenizer_from_json(text)
