"""Does the gradient check find mistakes, and say where and what? A hundred of them, and three hundred right backwards.

    python -m tests.gradcheck_score              the whole score, as the table of docs/gradient-check.md
    python -m tests.gradcheck_score --only 3 17  some mistakes, with their reports
    python -m tests.gradcheck_score --right 20   that many right configurations, and no mistakes
    python -m tests.gradcheck_score --random 50  random edits of the student's LSTM, which nobody chose

A mistake is a text put in the place of another in a true backward pass: a student's LSTM in plain NumPy, the cells, the
layers, the losses. It is found where the verdict is "wrong". The place is right where step and gates (or, of what has
none, the array; of a cell, the value too) are those that the mistake is in; the kind where it is the mistake's.
"""

from __future__ import annotations

import argparse
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from examples import check_homework as student
from rnncore import activations, config, gradcheck
from rnncore.activations import ACTIVATIONS
from rnncore.gradcheck import Report
from rnncore.layers import GRU, LSTM, Bidirectional, CarryRNN, SimpleRNN, core
from rnncore.losses import formulas
from tests.gradcheck_makers import of_layer, of_loss, random_edits
from tests.gradcheck_mistakes import MISTAKES, Mistake


def right_ones(number: int = 300, seed: int = 0) -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield right configurations by name: layers, cells, activations on their kinks, losses, students' functions."""
    rng = np.random.default_rng(seed)
    kinds = [_right_layer, _right_student, _right_activation, _right_loss, _right_saturated, _right_kink]
    for n in range(number):
        yield kinds[n % len(kinds)](n // len(kinds), np.random.default_rng(rng.integers(2**32)))


def _right_layer(n, rng):
    layer_class = (LSTM, GRU, SimpleRNN, CarryRNN)[n % 4]
    options: dict[str, Any] = {
        name: bool(rng.random() < 0.4) for name in ("return_sequences", "return_state", "go_backwards", "use_bias")
    }
    options |= {name: 0.3 for name in ("dropout", "recurrent_dropout") if rng.random() < 0.3}
    options |= {name: "l2" for name in ("kernel_regularizer", "activity_regularizer") if rng.random() < 0.2}
    if rng.random() < 0.4:
        options["activation"] = str(rng.choice([a for a in ACTIVATIONS if a not in ("hard_shrink", "exponential")]))
    layer: Any = layer_class(int(rng.integers(1, 5)), **options)
    if rng.random() < 0.3:
        layer = Bidirectional(layer, merge_mode=str(rng.choice(["concat", "sum", "mul", "ave"])))
    shape = tuple(int(v) for v in rng.integers(1, 5, 3))
    mask = rng.random(shape[:2]) < 0.7 if rng.random() < 0.5 else None
    training = bool(rng.random() < 0.7)
    seed = int(rng.integers(2**31))
    return f"{type(layer).__name__} {options}", lambda: of_layer(layer, shape, seed, mask=mask, training=training)


def _right_student(n, rng):
    sizes = [int(v) for v in rng.integers(1, 5, 4)]
    given = student.arrays(int(rng.integers(2**31)), *sizes)
    given[-1][:] = rng.random(given[-1].shape) < 0.8
    scale = float(rng.choice([0.1, 1.0, 3.0]))
    given = [a * scale if a.dtype.kind == "f" else a for a in given]
    return f"student {sizes} times {scale}", lambda: gradcheck.check(
        student.forward, student.backward, *given, **student.WHERE
    )


def _right_activation(n, rng):
    name = sorted(ACTIVATIONS)[n % len(ACTIVATIONS)]
    z = 3 * rng.standard_normal((3, 4))
    own = activations.get(name)
    return f"activation {name}", lambda: gradcheck.check(
        own.forward, lambda dy, z: own.backward(dy, own.forward(z), z), z, names="z"
    )


def _right_loss(n, rng):
    names = [f for f in vars(formulas) if f"{f}_gradient" in vars(formulas) and not f.startswith("sparse")]
    name = names[n % len(names)]
    y = rng.dirichlet(np.ones(3), 5)
    return f"loss {name}", of_loss(name, y=y, p=rng.uniform(0.05, 0.95, (5, 3)))


def _right_saturated(n, rng):
    """Weights so large that gates stand at 0 and 1."""
    layer = (LSTM, GRU, SimpleRNN)[n % 3](3, return_sequences=bool(n % 2))
    x = rng.standard_normal((2, 4, 2))
    layer(x)
    size = float(rng.choice([10, 30, 100]))
    layer.set_weights([size * rng.standard_normal(w.shape) for w in layer.get_weights()])
    return f"saturated {type(layer).__name__} x {size}", lambda: gradcheck.check_layer(layer, x)


def _right_kink(n, rng):
    """Entries that are exactly 0 under relu and its kin."""
    name = ("relu", "leaky_relu", "hard_tanh", "relu6", "selu")[n % 5]
    x = rng.standard_normal((3, 4)) * (rng.random((3, 4)) < 0.5)
    if n % 2:
        layer: Any = core.Activation(name)
        return f"kink {name}", lambda: gradcheck.check_layer(layer, x)
    own = activations.get(name)
    return f"kink {name}, functions", lambda: gradcheck.check(
        own.forward, lambda dy, z: own.backward(dy, own.forward(z), z), x, names="z"
    )


# --- the score --------------------------------------------------------------------------------------------------------


def judged(mistakes: list[Mistake], tell: Callable[..., None] = print) -> dict[str, Counter]:
    """Return counts by kind: mistakes, found, place, kind; and say what is not as it should be."""
    counts: dict[str, Counter] = {}
    for n, mistake in enumerate(mistakes):
        report = mistake.report()
        found, place, kind = mistake.judged(report)
        own = counts.setdefault(mistake.kind, Counter())
        own.update(mistakes=1, found=found, place=place, kind=kind)
        if not (found and place and kind):
            tell(f"{n} {mistake.kind}: {mistake.owner}, {mistake.change}: found {found}, place {place}, kind {kind}")
            tell(textwrap.indent("\n".join(report.lines()) + f"\n  kind   {report.kind}", "    "))
    return counts


def false_alarms(number: int, seed: int = 0, tell: Callable[..., None] = print) -> Counter:
    """Return how many of the right configurations were said to be what."""
    verdicts: Counter = Counter()
    for name, make in right_ones(number, seed):
        report = make()
        verdicts[report.verdict] += 1
        if not report.ok:
            tell(f"{report.verdict}: {name}\n{report}")
    return verdicts


def table(counts: dict[str, Counter]) -> str:
    """Return the score as a table in Markdown."""
    lines = ["| kind | mistakes | found | place | kind named |", "|---|---|---|---|---|"]
    columns = ("mistakes", "found", "place", "kind")
    lines += [f"| {kind} | {' | '.join(str(own[c]) for c in columns)} |" for kind, own in counts.items()]
    total = sum(counts.values(), Counter())
    return "\n".join([*lines, f"| all | {' | '.join(str(total[c]) for c in columns)} |"])


def main(arguments: list[str] | None = None) -> int:
    """Print the score; return 0 where it is what the documentation promises."""
    parser = argparse.ArgumentParser(prog="python -m tests.gradcheck_score", description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these mistakes, with their reports")
    parser.add_argument("--right", type=int, metavar="N", help="N right configurations, and no mistakes")
    parser.add_argument("--random", type=int, metavar="N", help="N random edits of the student's backward alone")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    with ExitStack() as opened:
        before = config.backend()
        opened.callback(config.set_backend, before)
        config.set_backend("numpy")
        if options.only:
            for n in options.only:
                print(f"{n} {MISTAKES[n][:3]}\n{MISTAKES[n].report()}\n{MISTAKES[n].judged(MISTAKES[n].report())}")
            return 0
        if options.random:
            told = [(change, make()) for change, make in random_edits(options.random)]
            for change, report in told:
                if report.kind in ("", "value"):
                    print(f"{report.verdict} {report.place()}: {change}")
            counted = Counter(report.kind for _, report in told)
            print(f"{len(told)} edits, found {sum(not r.ok for _, r in told)}, kinds {dict(counted.most_common())}")
            return 0
        counts = {} if options.right else judged(MISTAKES)
        verdicts = false_alarms(options.right or 300)
    print(table(counts))
    print(f"{sum(verdicts.values())} right ones: {dict(verdicts)}; {time.perf_counter() - begin:.0f} s")
    total = sum(counts.values(), Counter())
    good = total["found"] == total["mistakes"] and total["place"] >= 95 and total["kind"] >= 80
    return int(not ((options.right or good) and not verdicts["wrong"]))


if __name__ == "__main__":
    raise SystemExit(main())
