"""TextVectorization beside Keras's, and models that take texts."""

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, study
from rnncore.layers import LSTM, Dense, Embedding, Input, TextVectorization
from rnncore.models import load_model

TEXTS = [
    "The film was good; the ACTORS were good!",
    "a bad film,\twasn't  it?",
    "Good good... not bad. Été ÉTÉ naïve\n",
    "x\u00a0y\x0bz \x1fw the",
    "[UNK] half-hearted $5 (five) 'quoted' _under_ ~",
]
OTHERS = ["the film of all films", "", "GOOD\u2003good été", "bad bad bad bad bad bad bad"]
OPTIONS = [
    {},
    {"max_tokens": 6},
    {"output_sequence_length": 3},
    {"standardize": "lower", "max_tokens": 9},
    {"standardize": "strip_punctuation"},
    {"standardize": None, "split": "character"},
    {"ngrams": 2},
    {"ngrams": (2, 3), "output_sequence_length": 5},
    {"split": None, "output_sequence_length": 2},
    {"vocabulary": ["good", "bad", "film"]},
    {"vocabulary": ["", "[UNK]", "good", "bad"], "max_tokens": 4},
]


@pytest.mark.keras
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_as_keras(options):
    keras = pytest.importorskip("keras")
    ours, theirs = (library.layers.TextVectorization(**options) for library in (rnncore, keras))
    for layer in (ours, theirs):
        if "vocabulary" not in options:
            layer.adapt(TEXTS)
    assert ours.get_vocabulary() == theirs.get_vocabulary()
    assert ours.get_vocabulary(include_special_tokens=False) == theirs.get_vocabulary(include_special_tokens=False)
    assert ours.vocabulary_size() == theirs.vocabulary_size()
    column = [[text] for text in (*TEXTS, *OTHERS)]
    for texts in ([text for (text,) in column], column) if options.get("split", "") is not None else (column,):
        expected = np.asarray(theirs(np.array(texts)))
        found = ours(texts)
        assert found.dtype == expected.dtype == np.int64
        assert np.array_equal(found, expected)
    configs = [layer.get_config() for layer in (ours, theirs)]
    for name in ("max_tokens", "standardize", "split", "output_mode", "output_sequence_length", "encoding"):
        assert configs[0][name] == configs[1][name]


def test_a_vocabulary_of_batches_and_of_a_file(tmp_path):
    whole, batches = TextVectorization(), TextVectorization()
    whole.adapt(np.array(TEXTS))
    batches.adapt(iter([TEXTS[:2], [[text] for text in TEXTS[2:]], ["more"]]), steps=2)
    assert batches.get_vocabulary() == whole.get_vocabulary()
    path = tmp_path / "words.txt"
    path.write_text("\n".join(whole.get_vocabulary()), encoding="utf-8")
    assert TextVectorization(vocabulary=path).get_vocabulary() == whole.get_vocabulary()
    whole.adapt(["another text"])  # counts from the start
    assert whole.get_vocabulary() == ["", "[UNK]", "text", "another"]


def test_functions_of_ones_own():
    layer = TextVectorization(standardize=str.upper, split=lambda text: text.split("-"), vocabulary=["A", "B"])
    assert layer(["a-b", b"b-c-a"]).tolist() == [[2, 3, 0], [3, 1, 2]]
    assert layer.words("a-b") == ["A", "B"]


def model_of(**options):
    texts = TextVectorization(name="texts", **options)
    texts.adapt(TEXTS)
    layers = [texts, Embedding(texts.vocabulary_size(), 4, mask_zero=True), LSTM(3, name="lstm"), Dense(1)]
    model = Sequential(layers)
    model.compile("adam", "mse")
    return model


@pytest.fixture(autouse=True)
def numpy_runs():
    rnncore.set_backend("numpy")


@pytest.mark.parametrize("options", [{}, {"output_sequence_length": 4}], ids=["as long as the batch", "T"])
def test_a_model_takes_texts_as_one_of_numbers_takes_theirs(options):
    model, y = model_of(**options), np.arange(5.0)
    rest = Sequential(model.layers[1:])
    ids = model.layers[0](TEXTS)
    assert np.array_equal(model.predict(TEXTS), rest.predict(ids))
    assert np.array_equal(model.predict(np.array(TEXTS)[:, None], batch_size=2), model.predict(TEXTS, batch_size=2))
    rest.compile("sgd", "mse")
    theirs = [rest.evaluate(ids, y, verbose=0), model.evaluate(TEXTS, y, verbose=0)]
    assert theirs[0] == theirs[1]
    history = model.fit(TEXTS, y, epochs=3, batch_size=2, validation_data=(TEXTS[:2], y[:2]), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.fit(iter([(TEXTS[:3], y[:3]), (TEXTS[3:], y[3:])]), verbose=0)
    trace = study.trace(model, TEXTS[:1])["lstm"]["f"]
    assert trace.shape[1] == (options.get("output_sequence_length") or len(model.layers[0].words(TEXTS[0])))


def test_a_model_of_texts_in_a_file(tmp_path):
    model = model_of(max_tokens=9)
    model.fit(TEXTS, np.arange(5.0), verbose=0)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert again.layers[0].get_vocabulary() == model.layers[0].get_vocabulary()
    assert np.array_equal(again.predict(OTHERS), model.predict(OTHERS))
    for one in (model, again):
        one.fit(TEXTS, np.arange(5.0), shuffle=False, verbose=0)
    assert np.array_equal(again.predict(OTHERS), model.predict(OTHERS))
    many = TextVectorization(vocabulary=[f"word{n}" for n in range(30_000)])
    Sequential([many]).save(tmp_path / "many.npz")
    assert load_model(tmp_path / "many.npz").layers[0].vocabulary_size() == 30_002


def test_no_file_is_read_for_a_configuration(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a\nb")
    config = TextVectorization().get_config()
    for vocabulary in (str(path), '"b"', "{}", [1], '["a", 2]'):
        with pytest.raises(ValueError):
            TextVectorization.from_config({**config, "vocabulary": vocabulary})


def test_in_the_functional_style_and_within_another_model():
    texts = TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    x = Input((1,), dtype="string")
    model = rnncore.Model(x, LSTM(2)(Embedding(4, 2)(texts(x))))
    assert model.output_shape == (None, 2)
    inner = Sequential([TextVectorization(vocabulary=["a", "b"]), Embedding(4, 2)])
    outer = Sequential([inner, LSTM(2), Dense(1)])
    assert outer.predict(["a b", "b"]).shape == (2, 1)
    assert Sequential([Sequential([texts]), Embedding(4, 2)]).predict(["a"]).shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: model_of().predict("text"), TypeError, r"texts: x is the text 'text'; expected a list of texts"),
        (lambda: model_of().predict([3]), TypeError, "texts: x holds a int; expected texts, strings"),
        (lambda: model_of().predict([]), ValueError, r"texts: x has shape \(0,\)"),
        (lambda: model_of().predict([["a", "b"]]), ValueError, r"shape \(1, 2\); expected texts"),
        (lambda: model_of().predict([["a"], ["b", "c"]]), ValueError, "texts"),
        (lambda: model_of().fit(TEXTS, [1.0]), ValueError, r"y has shape \(1,\); expected 5 samples"),
        (lambda: TextVectorization(vocabulary=["a"]).adapt(["b"]), ValueError, "set_vocabulary takes another one"),
        (lambda: TextVectorization()(["a"]), ValueError, r"no vocabulary; call adapt\(texts\)"),
        (lambda: TextVectorization(vocabulary=[]), ValueError, "vocabulary is empty"),
        (lambda: TextVectorization(vocabulary=["a", "b", "a"]), ValueError, r"\['a'\] more than once"),
        (lambda: TextVectorization(vocabulary=["a", ""]), ValueError, "which stands for padding"),
        (lambda: TextVectorization(3, vocabulary=["a", "b"]), ValueError, "has 2 words; max_tokens is 3"),
        (lambda: TextVectorization(1), ValueError, "max_tokens is 1"),
        (lambda: TextVectorization(output_sequence_length=0), ValueError, "output_sequence_length is 0"),
        (lambda: TextVectorization(standardize="up"), ValueError, "standardize: unknown standardize 'up'.*; known"),
        (lambda: TextVectorization(output_mode="tf_idf"), ValueError, "only 'int' is taken: .*texts_to_matrix"),
        (
            lambda: Sequential([Embedding(3, 2), TextVectorization(vocabulary=["a"])]).build((None, 3)),
            ValueError,
            "takes strings; it must be the first layer",
        ),
        (
            lambda: Sequential([TextVectorization(vocabulary=["a", "b"]), Embedding(3, 2)]).predict(["b"]),
            ValueError,
            r"holds the id 3; allowed: 0 to 2 \(input_dim - 1\)",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gradients_end_at_the_words():
    model = model_of()
    model.train_on_batch(TEXTS, np.arange(5.0))
    assert set(model.gradients) == set(model.weight_names)
    assert all(np.any(gradient) for gradient in map(np.asarray, model.gradients.values()))
