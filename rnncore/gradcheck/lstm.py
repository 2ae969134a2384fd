"""What stands in an LSTM's backward that nobody can read: found by trying what else could stand there.

Where a step's pre-activations, its output and the gradient that comes to it are known, so is every value of an LSTM.
Its backward is a few lines; of each, single changes are tried until the gradients are those that came. The true lines
must give the true gradients first: of another cell nothing is said.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .lines import changes
from .what import CANDIDATES, Finding, same

STEP = (
    "do = dh * tanh(c)",
    "dc = dh * o * (1 - tanh(c) ** 2)",
    "df = dc * c_prev",
    "di = dc * K",
    "dK = dc * i",
    "dz_i = di * i * (1 - i)",
    "dz_f = df * f * (1 - f)",
    "dz_K = dK * (1 - K ** 2)",
    "dz_o = do * o * (1 - o)",
)
CARRY = "dc_next = dc * f"


def of_step(gates: tuple[str, ...], values: Mapping[str, np.ndarray], a: np.ndarray, n: np.ndarray) -> Finding | None:
    """Return the line that makes of a step's values the gradients `a`, (rows, gates, units), and not `n`."""
    candidate = next((g for g in gates if g in CANDIDATES), "")
    needed = {"i", "f", "o", candidate, "c", "c_prev", "dh"}
    if set(gates) != {"i", "f", "o", candidate} or not needed <= set(values):
        return None
    lines = [line.replace("K", candidate) for line in STEP]
    known = _space(values)
    names = [f"dz_{gate}" for gate in gates]
    if not same(_run(lines, known, names), n):
        return None
    for k, line in enumerate(lines):
        before = _run(lines[:k], known, None)
        for kind, wrong in _wrong(line, before):
            try:
                with np.errstate(all="ignore"):
                    got = _run([wrong, *lines[k + 1 :]], before, names)
            except Exception:  # a change that makes no sense
                continue
            if got.shape == a.shape and same(got, a):
                return Finding(kind, f"the gradients are those of {wrong!r}; write {line!r}")
    return None


def of_carry(gates: tuple[str, ...], values: Mapping[str, np.ndarray], a: np.ndarray, n: np.ndarray) -> Finding | None:
    """Return the line that hands the carry's gradient on so that `a` comes of it, and not `n`: (rows, some, units)."""
    candidate = next((g for g in gates if g in CANDIDATES), "")
    if not {"i", "f", "o", candidate, "c", "c_prev", "dh"} <= set(values):
        return None
    lines = [line.replace("K", candidate) for line in STEP]
    known = _run(lines, _space(values), None)
    true = known["dc"] * known["f"]
    for kind, wrong in _wrong(CARRY, known):
        try:
            with np.errstate(all="ignore"):
                share = _run([wrong], known, ["dc_next"])[:, 0] / true
        except Exception:
            continue
        if np.all(np.isfinite(share)) and same(share[:, None] * n, a):
            return Finding(kind, f"the gradients are those of {wrong!r}; write {CARRY!r}")
    return None


def _space(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"tanh": np.tanh, **{name: value for name, value in values.items() if name.isidentifier()}}


def _run(lines: list[str], space: Mapping[str, Any], names: list[str] | None) -> Any:
    """Take lines and return what they make: the values named, (rows, names, units), or all of them."""
    space = dict(space)
    exec("\n".join(lines), space)
    space.pop("__builtins__", None)
    return space if names is None else np.stack([space[name] + np.zeros_like(space["dh"]) for name in names], axis=1)


def _wrong(line: str, space: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield single changes of a line, and what kind of mistake each is."""
    name, _, right = line.partition(" = ")
    tree = ast.parse(right, mode="eval").body
    names = [n for n, v in space.items() if isinstance(v, np.ndarray)]
    for kind, _, changed in changes(tree, name, names, space):
        yield kind, f"{name} = {ast.unparse(ast.fix_missing_locations(changed))}"
