"""The walk: what lies in its page, and in a browser what it shows and how it answers to mouse and keyboard."""

import base64
import hashlib
import json
import re
import zlib

import browser
import numpy as np
import pytest

from rnncore import Sequential, activations, config, study
from rnncore.bptt.plan import Plan
from rnncore.cells import CARRY_RNN, GRU, GRU_RESET_BEFORE, LSTM, SIMPLE_RNN, Cell, Stage
from rnncore.layers import GRU as GRULayer
from rnncore.layers import LSTM as LSTMLayer
from rnncore.layers import Bidirectional, Dense, Embedding, TextVectorization, layer_of
from rnncore.layers import SimpleRNN as SimpleRNNLayer
from rnncore.study.equations import equations, notes

CELLS = [SIMPLE_RNN, LSTM, GRU, GRU_RESET_BEFORE, CARRY_RNN]
WORDS = ["the", "end", "was", "not", "what", "i", "had", "hoped", "for"]
HOSTILE = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
T, HALF = len(WORDS), 2.0**-11


def model_of(*layers, activation="sigmoid"):
    """Return a small classifier, and two rows of ids, the second with padding before it."""
    model = Sequential([Embedding(50, 5, mask_zero=True), *layers, Dense(1, activation=activation)])
    x = np.random.default_rng(4).integers(1, 50, (2, T))
    x[1, :3] = 0
    model(x)
    model.layers[0].embeddings = model.layers[0].embeddings * 20  # so that the gates move
    return model, x


def read(path):
    """Return what a page holds: its data, and what an array of its pack is."""
    page = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, flags=re.S)[1])
    pack = zlib.decompress(base64.b64decode(re.search(r'id="pack">(.*?)</script>', page, flags=re.S)[1]))

    def array(place):
        offset, rows, columns = place
        scales = np.frombuffer(pack, "<f4", rows, offset)
        return np.frombuffer(pack, "<f2", rows * columns, offset + 4 * rows).reshape(rows, -1) * scales[:, None]

    return data, array


def assert_near(found, wanted):
    """The same but for half precision of the largest in each row."""
    most = np.abs(wanted).max(axis=-1, keepdims=True)
    assert (np.abs(found - wanted) <= HALF * most).all()


# --- what lies in the page -----------------------------------------------------------------------------------------


def test_the_page_has_the_traces_arrays(tmp_path):
    model, x = model_of(LSTMLayer(4, return_sequences=True), LSTMLayer(3, go_backwards=True), activation=None)
    model.layers[1].bptt_steps = 2  # training's affair: the answer's gradient is whole
    data, array = read(study.walk(model, x, row=1, words=[WORDS, WORDS], path=tmp_path / "walk.html"))
    assert model.layers[1].bptt_steps == 2
    model.layers[1].bptt_steps = None
    traced = study.trace(model, x, dy=np.ones((2, 1)))  # no activation at the end: the output is the answer
    assert [part["name"] for part in data["parts"]] == [layer.name for layer in model.layers[1:3]]
    for part in data["parts"]:
        own, valid = {name: series[1] for name, series in traced[part["name"]].items()}, traced.mask[1]
        assert part["mask"] == "000" + "1" * (T - 3)
        for name in ("x", "h_prev", "c_prev", "dh"):
            assert_near(array(part["arrays"][name])[valid], own[name][valid])
        # what arrives at the carry is what the step after it let through
        taken = np.flatnonzero(valid)[:: -1 if part["backwards"] else 1]
        arriving = np.zeros_like(own["dc"])
        arriving[taken[:-1]] = (own["dc"] * own["f"])[taken[1:]]
        assert_near(array(part["arrays"]["dc"])[taken[:-1]], arriving[taken[:-1]])
        layer = model.get_layer(part["name"])
        for name in ("kernel", "recurrent_kernel", "bias"):
            weight = getattr(layer, name)
            assert_near(array(part["arrays"][name]), weight.reshape(-1, weight.shape[-1]))
    assert data["words"] == WORDS
    assert data["answer"]["value"] == pytest.approx(model(x)[1, 0])
    scores = study.saliency(model, x).scores[1]
    np.testing.assert_allclose(data["saliency"], np.nan_to_num(scores), atol=1e-6)


@pytest.mark.slow
def test_the_lectures_model_and_80_words_take_less_than_a_megabyte(tmp_path):
    model = Sequential([Embedding(20000, 128), LSTMLayer(128), Dense(1, activation="sigmoid")])
    x = np.random.default_rng(0).integers(0, 20000, (1, 80))
    assert study.walk(model, x, path=tmp_path / "walk.html").stat().st_size < 1_000_000


def test_a_word_a_name_or_a_title_is_never_read_as_html(tmp_path):
    model, x = model_of(GRULayer(3, name="<b>&{{pack}}"))
    model.name = HOSTILE
    path = study.walk(model, x[:1], words=[HOSTILE, *WORDS[1:]], path=tmp_path / "walk.html")
    page = path.read_text()
    assert len(re.findall("<script", page)) == len(re.findall("</script", page)) == 3
    assert "<img" not in page
    assert read(path)[0]["words"][0] == HOSTILE and read(path)[0]["parts"][0]["name"] == "<b>&{{pack}}"
    script = re.findall(r"<script>(.*?)</script>", page, flags=re.S)[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page


def test_ragged_rows_and_rows_of_a_stateful_batch(tmp_path):
    model, _ = model_of(GRULayer(3))
    ragged = [[3, 4, 5], [6, 7, 8, 9, 10]]
    data, _ = read(study.walk(model, ragged, row=1, path=tmp_path / "a.html"))
    assert data["words"] == ["6", "7", "8", "9", "10"] and data["parts"][0]["mask"] == "11111"
    model, x = model_of(GRULayer(3, stateful=True))  # called once: the states of both rows are kept
    kept = [state.copy() for state in model.layers[1].states]
    data, array = read(study.walk(model, x, row=1, words=[WORDS, WORDS], path=tmp_path / "b.html"))
    assert_near(array(data["parts"][0]["arrays"]["h_prev"])[3:4], kept[0][1:])
    np.testing.assert_array_equal(model.layers[1].states, kept)


def test_the_words_of_a_model_that_takes_texts(tmp_path):
    texts = TextVectorization()
    texts.adapt(["the end was not bad"])
    model = Sequential([texts, Embedding(9, 4, mask_zero=True), GRULayer(3), Dense(1)])
    data, _ = read(study.walk(model, ["the end", "not the worst end"], row=1, path=tmp_path / "walk.html"))
    assert data["words"] == ["not", "the", "[UNK]", "end"]


def without_source():
    made: dict = {"tanh": activations.tanh, "d_tanh": activations.d_tanh}
    exec("def step(z_a):\n    return tanh(z_a)\ndef step_backward(dh, h, z_a):\n    return d_tanh(dh, h, z_a)", made)
    return Cell("Bare", gates=("a",), states=("h",), stages=(Stage(made["step"], made["step_backward"], "h"),))


@pytest.mark.parametrize(
    ("layer", "row", "message"),
    [
        (lambda: GRULayer(3), 2, "row is 2; x has 2 rows: expected a whole number from 0 to 1"),
        (lambda: GRULayer(3, activation="softmax", name="soft"), 0, "soft: the equations of softmax cannot be shown"),
        (
            lambda: layer_of(without_source())(3, name="own"),
            0,
            "own: the equations of step cannot be shown: its",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_reason(layer, row, message, tmp_path):
    config.set_backend("numpy")  # nothing is compiled for a layer that only this test has
    model, x = model_of(layer())
    with pytest.raises(ValueError, match=re.escape(message)):
        study.walk(model, x, row, path=tmp_path / "walk.html")
    assert list(tmp_path.iterdir()) == []


def test_a_row_of_padding_and_numbers_that_are_not_finite(tmp_path):
    model, x = model_of(GRULayer(3))
    with pytest.raises(ValueError, match="row 0 of x is padding only"):
        study.walk(model, np.zeros_like(x), path=tmp_path / "walk.html")
    with pytest.raises(ValueError, match="no recurrent layer"):
        study.walk(Sequential([Dense(2)]), np.ones((2, 3)), path=tmp_path / "walk.html")


# --- equations -----------------------------------------------------------------------------------------------------

OPERATIONS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power, "neg": np.negative}
OPERATIONS |= {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal, "!=": np.not_equal}
OPERATIONS |= {"&": np.bitwise_and, "|": np.bitwise_or}


def value(tree, values, functions):
    """Return what a tree is worth."""
    if not isinstance(tree, list):
        return values[tree] if isinstance(tree, str) else tree
    head, *operands = tree[0], *(value(each, values, functions) for each in tree[1:])
    if head in functions:
        return value(functions[head]["value"], {functions[head]["of"]: operands[0]}, functions)
    return (OPERATIONS.get(head) or getattr(np, head.removeprefix("np.")))(*operands)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_equations_are_those_of_the_cells_functions(cell):
    rng = np.random.default_rng(7)
    every = [own for own in activations.ACTIVATIONS.values() if own.elementwise]
    for activation in every if cell is LSTM else [activations.get("tanh")]:
        own = cell.with_activations(activation, activation if cell.gated else None)
        lines = equations(Plan(own))
        for stage, plan in zip(lines["stages"], own.stages, strict=True):
            for way, function, inputs, names in (
                ("forward", plan.step, plan.inputs, plan.outputs),
                ("backward", plan.step_backward, plan.backward_inputs, stage["returns"]),
            ):
                values = {name: rng.normal(size=6) for name in inputs}
                with np.errstate(all="ignore"):  # an activation need not take all of these
                    wanted = function(*values.values())
                    for line in stage[way]:
                        values[line["name"]] = value(line["value"], values, lines["functions"])
                for name, array in zip(names, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
                    np.testing.assert_array_equal(values[name], array, err_msg=f"{activation.name}: {name}")


def test_a_cells_own_words_stand_beside_its_equations():
    assert notes(Plan(LSTM))["f"] == "how much of the carry stays"
    (stage,) = equations(Plan(LSTM))["stages"]
    said = {line["name"]: line["comment"] for line in stage["backward"] if "comment" in line}
    assert said["a"] == "h = o * tanh(c)" and said["di"] == "c = i * k + f * c_prev"


# --- in a browser --------------------------------------------------------------------------------------------------

needs_browser = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "there is one"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:selenium"),
]

# Points at every part of every formula and returns what it is then said to be made of: kind, the numbers, the total.
POINT_EVERYWHERE = """
return [...document.querySelectorAll("#lines .node")].flatMap((node) => {
  node.dispatchEvent(new PointerEvent("pointerover", {bubbles: true, clientX: 9, clientY: 9}));
  return [...document.querySelectorAll("#tip table")].map((table) => [table.dataset.kind,
    ...[...table.querySelectorAll("[data-value]")].map((cell) => Number(cell.dataset.value))]);
});
"""


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as driver:
        yield driver


def opened(driver, path):
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(path.as_uri())
    WebDriverWait(driver, 20).until(lambda d: d.execute_script("return window.walk?.chosen().part"))


def chosen(driver):
    return driver.execute_script("return window.walk.chosen()")


class TestInABrowser:
    pytestmark = needs_browser
    layers = pytest.mark.parametrize(
        "layer",
        [SimpleRNNLayer(6), LSTMLayer(6), GRULayer(6), GRULayer(6, reset_after=False), Bidirectional(LSTMLayer(6))],
        ids=["SimpleRNN", "LSTM", "GRU", "GRU reset before", "Bidirectional"],
    )

    @layers
    def test_it_computes_what_happened_answers_and_adds_up(self, layer, chromium, tmp_path):
        from selenium.webdriver import ActionChains, Keys
        from selenium.webdriver.common.by import By

        model, x = model_of(layer.clone(), activation=None)
        opened(chromium, study.walk(model, x, row=1, words=[WORDS, WORDS], path=tmp_path / "walk.html"))
        traced = study.trace(model, x, dy=np.ones((2, 1)))
        buttons = chromium.find_elements(By.CSS_SELECTOR, "#parts button")
        assert len(buttons) == len(traced) and [b.text.split()[0] for b in buttons if b.is_displayed()] == (
            list(traced) if len(traced) > 1 else []
        )
        for n, (name, own) in enumerate(traced.items()):
            chromium.execute_script("document.querySelectorAll('#parts button')[arguments[0]].click()", n)
            assert chosen(chromium)["part"] == name
            for series in own:
                if series not in ("x", "dx"):
                    found = chromium.execute_script("return window.walk.series(arguments[0])", series)
                    wanted, valid = own[series][1], traced.mask[1]
                    off = np.abs(np.reshape(found, wanted.shape) - wanted)[valid].max()
                    assert off < 2e-3 * np.abs(wanted[valid]).max(), (name, series)

        click, keys = chromium.find_elements(By.CSS_SELECTOR, "#text button"), ActionChains(chromium)
        click[5].click()
        assert chosen(chromium)["step"] == 5 and WORDS[5] in chromium.find_element(By.ID, "word").text
        keys.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT).perform()
        assert chosen(chromium)["step"] == 6
        units = chromium.find_element(By.ID, "units")
        ActionChains(chromium).move_to_element_with_offset(units, 0, 70 - units.size["height"] // 2).click().perform()
        assert chosen(chromium)["unit"] == 2
        ActionChains(chromium).send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP).perform()
        assert chosen(chromium)["unit"] == 3

        click[5].click()
        node = chromium.find_element(By.CSS_SELECTOR, "#lines .equation .node:not(.left)")
        ActionChains(chromium).move_to_element(node).perform()
        assert "sum" in chromium.find_element(By.ID, "tip").text
        for way in ("forwards", "backwards"):
            chromium.find_element(By.ID, way).click()
            said = chromium.execute_script(POINT_EVERYWHERE)
            assert {kind for kind, *_ in said} == {"sum", "product"} or way == "forwards"
            for kind, *numbers, total in said:
                made = sum(numbers) if kind == "sum" else np.prod(numbers)
                assert made == pytest.approx(total, rel=1e-3, abs=1e-5), (way, kind, numbers)
            bars = chromium.find_element(By.CSS_SELECTOR, "#lines canvas")
            ActionChains(chromium).move_to_element_with_offset(bars, 4 - bars.size["width"] // 2, 0).perform()
            a, b, product = chromium.execute_script(
                "return [...document.querySelectorAll('#tip [data-value]')].map((cell) => Number(cell.dataset.value))"
            )
            assert a * b == pytest.approx(product) and product != 0
        assert chromium.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert chromium.get_log("browser") == []

    def test_padding_is_said_to_be_padding(self, chromium, tmp_path):
        from selenium.webdriver.common.by import By

        model, x = model_of(GRULayer(4))
        opened(chromium, study.walk(model, x, row=1, words=[WORDS, WORDS], path=tmp_path / "walk.html"))
        chromium.find_elements(By.CSS_SELECTOR, "#text button")[0].click()
        assert "padding" in chromium.find_element(By.ID, "lines").text
        assert chromium.get_log("browser") == []

    def test_hostile_words_are_words(self, chromium, tmp_path):
        from selenium.webdriver.common.by import By

        model, x = model_of(LSTMLayer(4, name="<img src=x>"))
        model.name = HOSTILE
        opened(chromium, study.walk(model, x[:1], words=[HOSTILE, *WORDS[1:]], path=tmp_path / "walk.html"))
        word = chromium.find_elements(By.CSS_SELECTOR, "#text button")[0]
        word.click()
        assert word.text == HOSTILE and HOSTILE in chromium.find_element(By.ID, "word").text
        assert chromium.execute_script("return [window.evil ?? null, document.images.length]") == [None, 0]
        assert chromium.get_log("browser") == []
