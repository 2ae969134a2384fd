"""Which line of a cell's `step_backward` is wrong, and what would mend it.

A step is a few plain assignments, and so is its derivative. What `di` should be after each of them is known: i is moved
a little behind the assignment that makes it, and the rest of the step is taken. The first line backward whose value is
none of the derivatives that it may be is the wrong one. Then single changes of it are tried, one after another: the one
that gives the derivative is the mend, and says what kind of mistake it was.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..cells import Cell, Stage

SAME = 1e-9
SAMPLES = 7  # values of each argument
TINY = 1e-30


class Fault(NamedTuple):
    """A wrong derivative of a cell.

    Attributes
    ----------
    cell, function : str
    name : str
        The first wrong value: ``df``.
    line : int or None
        In the file; None where there is no source.
    text : str
    mend : str
        The line as it would be right; empty if no single change makes it so.
    kind : str
        As in what.py.
    because : str
        What the change is, in words.
    """

    cell: str
    function: str
    name: str
    line: int | None = None
    text: str = ""
    mend: str = ""
    kind: str = "value"
    because: str = ""


def faults(label: str, cell: Cell, rng: np.random.Generator) -> Iterator[Fault]:
    """Yield the first wrong line of each stage of a cell; nothing where all derivatives are right."""
    if not cell.elementwise:
        return
    for stage in cell.stages:
        fault = _of_stage(label, stage, rng)
        if fault is not None:
            yield fault


def _of_stage(label: str, stage: Stage, rng: np.random.Generator) -> Fault | None:
    arguments = {name: rng.standard_normal(SAMPLES) for name in stage.inputs}
    outputs = dict(zip(stage.outputs, _several(stage.step(*arguments.values())), strict=True))
    # what reaches a value from outside the step: states and what goes on between stages, never the gates themselves
    upstream = {name: rng.standard_normal(SAMPLES) for name in stage.backward_inputs if name[1:] in outputs}
    known = arguments | outputs | upstream
    if any(name not in known for name in stage.backward_inputs):
        known |= {name: rng.standard_normal(SAMPLES) for name in stage.backward_inputs if name not in known}
    given = [known[name] for name in stage.backward_inputs]
    wanted = [f"d{name}" for name in (*stage.inputs, *stage.completes.split())]

    forward = _statements(stage.step)
    truth = _truths(stage, forward, arguments, upstream)
    returned = _several(stage.step_backward(*given))
    wrong = [
        (name, value)
        for name, value in zip(wanted, returned, strict=False)
        if name[1:] in truth and not _same(value, truth[name[1:]][0])
    ]
    if len(returned) == len(wanted) and not wrong:
        return None
    function = stage.step_backward.__name__
    backward = _statements(stage.step_backward)
    if backward is None or not wrong:
        return Fault(label, function, wrong[0][0] if wrong else "return")

    space = {**stage.step_backward.__globals__, **dict(zip(stage.backward_inputs, given, strict=True))}
    lines, first = backward
    for number, statement in enumerate(lines):
        before = dict(space)
        if isinstance(statement, ast.Return):
            (name, value), position = wrong[0], wanted.index(wrong[0][0])
            fault = Fault(label, function, name, first + statement.lineno - 1, ast.unparse(statement))
            if all(n in space and (n[1:] not in truth or _same(space[n], truth[n[1:]][0])) for n in wanted):
                words = "the gradients are returned in another order than step takes its arguments"
                return fault._replace(mend=f"return {', '.join(wanted)}", kind="swapped", because=words)
            return _mended(fault, statement, before, truth[name[1:]][:1], position, value)
        _execute(statement, space)
        names, later = _stored([statement]), _stored(lines[number + 1 :])
        for name in names:
            if not name.startswith("d") or name[1:] not in truth:
                continue
            # a value that a later line adds to may still lack what that line brings
            targets = truth[name[1:]] if name in later else truth[name[1:]][:1]
            if not any(_same(space[name], target) for target in targets):
                fault = Fault(label, function, name, first + statement.lineno - 1, ast.unparse(statement))
                return _mended(fault, statement, before, targets, names.index(name), space[name])
    return Fault(label, function, wrong[0][0])


def _truths(stage, forward, arguments, upstream) -> dict[str, list[np.ndarray]]:
    """Return the derivatives by each value of a step: in all, then those without the uses of it in its first lines."""

    def loss(values):
        return sum(upstream[f"d{name}"] * values[name] for name in stage.outputs if f"d{name}" in upstream)

    found: dict[str, list[np.ndarray]] = {}
    if forward is None:  # no source: the arguments alone can be moved
        for name in arguments:
            moved = arguments | {name: arguments[name] + 1j * TINY}
            values = dict(zip(stage.outputs, _several(stage.step(*moved.values())), strict=True))
            found[name] = [np.imag(loss(values)) / TINY]
        return found
    lines = forward[0]
    space = {**stage.step.__globals__, **arguments}
    for number in range(len(lines)):
        names = [name for name in (*arguments, *stage.outputs, *_stored(lines)) if name in space]
        for name in dict.fromkeys(names):
            moved = space | {name: space[name] + 1j * TINY}
            for statement in lines[number:]:
                if isinstance(statement, ast.Return):
                    break
                _execute(statement, moved)
            shown = moved | dict(zip(stage.outputs, _returned(lines[-1], moved), strict=True))
            slope = np.imag(loss(shown)) / TINY + np.zeros(SAMPLES)
            found.setdefault(name, []).append(slope)
        if not isinstance(lines[number], ast.Return):
            _execute(lines[number], space)
    return found


def _stored(lines):
    return [n.id for s in lines for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _returned(statement, space):
    return _several(_value(statement.value, space))


def _statements(function: Any) -> tuple[list[Any], int] | None:
    """Return a function's statements and the line before its first; None unless they are assignments and a return."""
    try:
        source, first = inspect.getsourcelines(function)
        body = ast.parse(textwrap.dedent("".join(source))).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError, AttributeError, IndexError):
        return None
    body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    plain = all(isinstance(s, ast.Assign) and len(s.targets) == 1 for s in body[:-1])
    return (body, first) if body and plain and isinstance(body[-1], ast.Return) else None


def _execute(statement, space):
    module = ast.Module([statement], [])
    exec(compile(ast.fix_missing_locations(module), "<a line>", "exec"), space)


def _value(expression, space):
    return eval(compile(ast.fix_missing_locations(ast.Expression(expression)), "<a line>", "eval"), space)


def _several(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(np.all(abs(a - b) <= SAME * np.maximum(abs(b), 1e-3 * np.max(abs(b), initial=1e-300))))
    except (TypeError, ValueError):
        return False


# --- the mend ---------------------------------------------------------------------------------------------------------


def _mended(fault, statement, space, targets, position, value) -> Fault:
    """Return the fault of a line with the single change of it that gives one of `targets`, if there is one."""
    whole, name = statement.value, fault.name
    part = whole.elts[position] if isinstance(whole, ast.Tuple) else whole
    locals_ = [n for n, v in space.items() if isinstance(v, np.ndarray) and v.shape == (SAMPLES,)]
    for kind, because, changed in changes(part, name, locals_, space):
        try:
            with np.errstate(all="ignore"):
                got = _value(changed, space)
            got = got[position] if isinstance(got, tuple) and not isinstance(whole, ast.Tuple) else got
        except Exception:  # a change that makes no sense
            continue
        if any(_same(got, target) for target in targets):
            new = changed
            if isinstance(whole, ast.Tuple):
                new = ast.Tuple([changed if n == position else e for n, e in enumerate(whole.elts)], ast.Load())
            if isinstance(statement, ast.Return):
                mend = f"return {ast.unparse(new)}"
            else:
                mend = f"{ast.unparse(statement.targets[0])} = {ast.unparse(new)}"
            return fault._replace(mend=mend, kind=kind, because=because)
    target = targets[0]
    if not np.any(value):
        return fault._replace(kind="zero", because=f"{name} is 0")
    with np.errstate(all="ignore"):
        ratio = np.asarray(value / target)
    if np.all(abs(ratio - ratio.flat[0]) <= 1e-7 * abs(ratio.flat[0])):
        return fault._replace(kind="factor", because=f"{name} is {ratio.flat[0]:.6g} times what it should be")
    return fault


def changes(part, name, names, space) -> Iterator[tuple[str, str, Any]]:
    """Yield single changes of an expression, the likeliest first: a kind, words, the new expression."""

    def call(function, *arguments):
        return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])

    gate = name[3:] if name[1:3] in ("z_", "x_", "u_") else ""
    if gate and gate in space:
        for rule in ("d_sigmoid", "d_tanh"):
            if rule in space:
                z = ast.Name(name[1:], ast.Load())
                yield (
                    "derivative",
                    f"the derivative of {rule[2:]} was forgotten",
                    call(rule, part, ast.Name(gate, ast.Load()), z),
                )
    for node, swap in _places(part):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            for other in names:
                if other != node.id:
                    yield (
                        _exchange(node.id, other, space),
                        f"{node.id} stood for {other}",
                        swap(ast.Name(other, ast.Load())),
                    )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for other in ("d_sigmoid", "d_tanh"):
                if node.func.id.startswith("d_") and node.func.id != other:
                    yield (
                        "derivative",
                        f"the derivative was that of {node.func.id[2:]}",
                        swap(ast.Call(ast.Name(other, ast.Load()), node.args, [])),
                    )
        if isinstance(node, ast.UnaryOp):
            yield "sign", "the sign was wrong", swap(node.operand)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, (ast.Add, ast.Sub)):
                other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
                yield "sign", "a sign was wrong", swap(ast.BinOp(node.left, other, node.right))
            for kept, gone in ((node.left, node.right), (node.right, node.left)):
                said = "a factor" if isinstance(node.op, (ast.Mult, ast.Div)) else "a term"
                kind = "factor" if isinstance(gone, ast.Constant) else "path"
                yield kind, f"{said} {ast.unparse(gone)} was too much", swap(kept)
    yield "sign", "the sign was wrong", ast.UnaryOp(ast.USub(), part)
    for factor, words in ((0.5, "a factor 2 was too much"), (2, "a factor 2 was missing")):
        yield "factor", words, ast.BinOp(ast.Constant(factor), ast.Mult(), part)
    for node, swap in _places(part):
        for other in names:
            name_ = ast.Name(other, ast.Load())
            if (isinstance(node, ast.expr) and not isinstance(node, (ast.Call,))) or node is part:
                yield "path", f"the factor {other} was missing", swap(ast.BinOp(node, ast.Mult(), name_))
    for other in names:
        yield "path", f"the term {other} was forgotten", ast.BinOp(ast.Name(other, ast.Load()), ast.Add(), part)
        yield "path", f"the term {other} was forgotten", ast.BinOp(part, ast.Sub(), ast.Name(other, ast.Load()))
    for one in names:
        for other in names:
            product = ast.BinOp(ast.Name(one, ast.Load()), ast.Mult(), ast.Name(other, ast.Load()))
            words = f"the term {one} * {other} was forgotten"
            yield "path", words, ast.BinOp(part, ast.Add(), product)
            yield "path", words, ast.BinOp(part, ast.Sub(), product)
            yield "path", f"the factors {one} and {other} were missing", ast.BinOp(part, ast.Mult(), product)


def _exchange(old: str, new: str, space: Any) -> str:
    """Return what kind of mistake it is to write `old` for `new`."""
    if old.removesuffix("_prev") == new.removesuffix("_prev"):
        return "step"
    if old.startswith("d") != new.startswith("d"):
        return "value"
    return "swapped"


def _places(tree) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """Yield each part of an expression with a function that returns the expression with another in its place."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    for node in nodes:

        def swap(new, node=node):
            return new if node is tree else _Swap(node, new).visit(_copied(tree, node))

        yield node, swap


class _Swap(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)


def _copied(tree, keep):
    """Return a copy of a tree in which the node `keep` is itself."""
    if tree is keep or not isinstance(tree, ast.AST):
        return tree
    fields = {
        name: [_copied(v, keep) for v in value] if isinstance(value, list) else _copied(value, keep)
        for name, value in ast.iter_fields(tree)
    }
    return type(tree)(**fields)
