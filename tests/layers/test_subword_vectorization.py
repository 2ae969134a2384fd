"""SubwordVectorization: beside the tokenizers package, and models that read pieces of words."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore
from rnncore import Sequential, study
from rnncore.layers import LSTM, Dense, Embedding, SubwordVectorization
from rnncore.models import load_model
from rnncore.preprocessing.text import save_vocabulary

TEXTS = [
    "The acting was great, the actors' playing too.",
    "A bad play, badly played; bad acting!",
    "Playing a player is an actor's greatest act",
    "great greater greatest bad worse worst act acting acted",
] * 3
OTHERS = ["played the greatest actors", "badder than bad", "xylophone 🎷 act", "", "  A  player\tplays\n"]


@pytest.fixture(scope="module")
def trained():
    pytest.importorskip("tokenizers")
    layer = SubwordVectorization(80, name="pieces")
    layer.adapt(TEXTS)
    return layer


def test_pieces_are_those_of_tokenizers(trained):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {piece: number for number, piece in enumerate(trained.get_vocabulary())}
    theirs = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    for text in [*TEXTS[:4], *OTHERS]:
        assert trained.words(text) == theirs.encode(text.lower()).tokens
    assert trained.words("🎷 act") == ["[UNK]", "act"]


def test_the_vocabulary_is_that_size_and_the_same_each_time(trained):
    assert trained.vocabulary_size() == 80
    again = SubwordVectorization(80)
    again.adapt(iter([TEXTS[:6], TEXTS[6:]]))
    assert again.get_vocabulary() == trained.get_vocabulary()
    assert sum(map(len, map(trained.words, TEXTS))) < 0.5 * sum(map(len, TEXTS))  # not letters alone


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("acdeglnoprstuwy',.;!", min_size=1, max_size=12), max_size=6))
def test_decode_gives_the_text_back(words):
    letters = list("acdeglnoprstuwy',.;!")
    layer = SubwordVectorization(vocabulary=[*letters, *(f"##{c}" for c in letters), "act", "##ing", "##ings", "play"])
    text = " ".join(words)
    if "##" not in text and text:
        assert layer.decode(layer([text])[0]) == text


def test_a_model_is_saved_with_its_pieces_and_loads_without_tokenizers(trained, tmp_path):
    model = Sequential([trained, Embedding(80, 4, mask_zero=True), LSTM(4, name="lstm"), Dense(1)])
    before = model.predict(OTHERS)
    model.save(tmp_path / "m.npz")
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from rnncore.models import load_model\n"
        f"print(load_model({str(tmp_path / 'm.npz')!r}).predict({OTHERS!r})[:, 0].tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(re.findall(r"-?\d+\.\d+(?:e-\d+)?", told), float), before[:, 0], rtol=1e-5)
    again = load_model(tmp_path / "m.npz")
    assert again.layers[0].get_vocabulary() == trained.get_vocabulary()
    assert study.trace(again, ["badly played"]).words == [trained.words("badly played")]


def test_the_vocabulary_goes_through_a_file(trained, tmp_path):
    save_vocabulary(trained, tmp_path / "pieces.txt")
    again = SubwordVectorization(vocabulary=tmp_path / "pieces.txt")
    assert again.get_vocabulary() == trained.get_vocabulary()
    odd = rnncore.layers.TextVectorization(split="character", standardize=None, vocabulary=["\x85", "\u2028", "a"])
    save_vocabulary(odd, tmp_path / "odd.txt")  # what Python takes for line breaks, too, are words
    assert rnncore.layers.TextVectorization(vocabulary=tmp_path / "odd.txt").get_vocabulary() == odd.get_vocabulary()


def test_what_is_refused(trained, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="ids has 80; expected numbers below 80"):
        trained.decode([2, 80])
    with pytest.raises(ValueError, match="there is no vocabulary"):
        save_vocabulary(SubwordVectorization(), tmp_path / "none.txt")
    broken = rnncore.layers.TextVectorization(split="character", vocabulary=["a", "\n"])
    with pytest.raises(ValueError, match="with a line break"):
        save_vocabulary(broken, tmp_path / "none.txt")
    assert not (tmp_path / "none.txt").exists()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "rnncore\[subwords\]"'):
        SubwordVectorization().adapt(["a"])


def test_a_word_of_a_million_letters_is_read_in_time():
    layer = SubwordVectorization(vocabulary=["a", "##a", "##aaaa"])
    assert len(layer.words("a" * 1_000_001)) == 250_001
