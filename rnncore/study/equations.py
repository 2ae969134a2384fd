"""A cell's equations as trees, read from the source of its functions: for a page that shows and evaluates them.

A tree is a name (str), a number, or a list: an operator or the name of a function, then its operands, which are trees:
``c = i * k + f * c_prev`` is ``["+", ["*", "i", "k"], ["*", "f", "c_prev"]]``. A function of one argument keeps its
name (``["sigmoid", "z_f"]``, with its own tree beside the equations); one of several is written out where it is called,
as ``d_sigmoid(df, f, z_f)``. NumPy's functions are ``["np.exp", …]``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ..bptt.plan import Plan
from ..cells.cell import Stage

Tree = str | float | list
Functions = dict[CodeType, dict[str, Any]]

OPERATORS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.USub: "neg",
}
ONE_BY_ONE = ["abs", "absolute", "copysign", "cos", "exp", "expm1", "log", "log1p", "maximum", "minimum", "sign", "sin"]
ONE_BY_ONE += ["sqrt", "square", "tanh", "where"]  # of NumPy's functions, those of single numbers that a page has


def equations(plan: Plan) -> dict[str, Any]:
    """Return the equations of a cell, forward and backward.

    Returns
    -------
    dict
        ``stages``, a dict each: ``feeds``, the pre-activations, each with the products that are added up in it
        (``source``, ``weight``, and which block of its columns); ``forward`` and ``backward``, statements in order:
        ``name``, ``value`` (a tree) and, where one stands before it, the source's ``comment``; ``given`` and
        ``returns``, the names that ``backward`` begins with and ends with. ``functions``, by name: ``of``, its
        argument, and ``value``.

    Raises
    ------
    ValueError
        A function's source cannot be had, or has something in it that is no arithmetic of single numbers.
    """
    functions: Functions = {}
    stages = [_stage(plan, stage.stage, functions) for stage in plan.stages]
    return {"stages": stages, "functions": {function["name"]: function for function in functions.values()}}


def notes(plan: Plan) -> dict[str, str]:
    """Return what the module of a cell says beside its equations, by the name that they define.

    Of a line of its docstring, ``f = sigmoid(z_f)       how much of the carry stays``, what follows the wide gap.
    """
    module = inspect.getmodule(plan.stages[0].stage.step)
    found: dict[str, str] = {}
    for line in (getattr(module, "__doc__", None) or "").splitlines():
        left, equals, right = line.strip().partition(" = ")
        _, gap, note = right.partition("   ")
        name = left.removesuffix("_t")
        if equals and gap and name.isidentifier() and note.strip()[:1].isalpha() and " = " not in note:
            found.setdefault(name, note.strip())
    return found


def _stage(plan: Plan, stage: Stage, functions: Functions) -> dict[str, Any]:
    back = [f"d{name}" for name in (*stage.inputs, *stage.completes.split())]
    return {
        "feeds": [_feed(plan, name) for name in stage.inputs if name[:2] in ("z_", "x_", "u_")],
        "forward": _statements(stage.step, stage.outputs, functions),
        "backward": _statements(stage.step_backward, back, functions),
        "given": list(stage.backward_inputs),
        "returns": back,
    }


def _feed(plan: Plan, name: str) -> dict[str, Any]:
    """Return what is added up in a pre-activation: which products, and which rows of the bias."""
    part, gate, cell = name[0], name[2:], plan.cell
    block = cell.gates.index(gate)
    terms = [{"source": "x", "weight": "kernel", "block": block}] if part != "u" else []
    for n, product in enumerate(cell.products if part != "x" else ()):
        if product.gate == gate:
            extra = n - len(cell.gates)
            own = ("recurrent_kernel", n) if extra < 0 else (list(cell.extra)[extra], 0)
            terms.append({"source": product.source, "weight": own[0], "block": own[1]})
    rows = {"x": [0], "u": [1], "z": [0, 1]}[part][: 1 + cell.split_bias]
    return {"name": name, "block": block, "terms": terms, "bias": [row for row in rows if row <= cell.split_bias]}


def _statements(function: Any, names: Iterable[str], functions: Functions) -> list[dict[str, Any]]:
    """Return the statements of a function, and further ones for what it returns under other names than `names`."""
    reader = _Reader(function, functions)
    found: list[dict[str, Any]] = []
    comments, last = reader.comments(), 0

    def note(name, tree, line):
        nonlocal last
        said = [text for at, text in comments.items() if last < at < line]
        found.append({"name": name, "value": tree, **({"comment": said[-1]} if said else {})})
        last = line

    returned = reader.run(reader.parameters, note)
    for name, tree in zip(names, returned, strict=True):
        if tree != name:
            found.append({"name": name, "value": tree})
    return found


class _Reader:
    """Reads a plain function: its lines with other things in the place of its arguments."""

    def __init__(self, function: Any, functions: Functions):
        self.name = getattr(function, "__name__", repr(function))
        self.functions = functions
        if not isinstance(function, FunctionType):
            raise self.refused("it is no plain Python function")
        try:
            self.source = textwrap.dedent(inspect.getsource(function))
            found = _defined(ast.parse(self.source), function)
        except (OSError, SyntaxError):
            found = None
        if found is None:
            raise self.refused("its source cannot be read; put it into a file, as a def")
        self.body, self.parameters = found, list(inspect.signature(function).parameters)
        known = inspect.getclosurevars(function)
        self.known = {**known.builtins, **known.globals, **known.nonlocals}

    def refused(self, why: str, node: ast.AST | None = None) -> ValueError:
        where = "" if node is None else f" ({ast.unparse(node)})"
        return ValueError(
            f"the equations of {self.name} cannot be shown: {why}{where}; what can are lines of arithmetic on single "
            "numbers, with NumPy's exp, tanh, maximum and the like"
        )

    def comments(self) -> dict[int, str]:
        """Return the comment lines by their numbers."""
        lines = enumerate(self.source.splitlines(), 1)
        return {n: line.strip().lstrip("# ") for n, line in lines if line.strip().startswith("#")}

    def run(self, arguments: Iterable[Tree], note: Callable[[str, Tree, int], None] | None = None) -> list[Tree]:
        """Return the trees that the function returns; `note` is told each assignment, which then stands by its name."""
        self.scope: dict[str, Tree] = dict(zip(self.parameters, arguments, strict=True))
        self.note = note
        returned = self.block(self.body)
        if returned is None:
            raise self.refused("it returns nothing")
        return returned

    def block(self, statements: list[Any]) -> list[Tree] | None:
        for node in statements:
            if isinstance(node, ast.Return) and node.value is not None:
                return self.trees(node.value)
            if isinstance(node, ast.With):  # np.errstate
                if (returned := self.block(node.body)) is not None:
                    return returned
            elif isinstance(node, ast.For):
                self.loop(node)
            else:
                self.assign(node)
        return None

    def loop(self, node: ast.For) -> None:
        """Write out a loop over numbers that stand in the module."""
        numbers = self.known.get(node.iter.id) if isinstance(node.iter, ast.Name) else None
        if not isinstance(numbers, (tuple, list)):
            raise self.refused("a loop", node)
        for values in numbers:
            targets = _targets(node.target)
            values = values if isinstance(values, (tuple, list)) else [values]
            self.scope |= {target: float(value) for target, value in zip(targets, values, strict=True)}
            self.block(node.body)

    def assign(self, node: Any) -> None:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            return
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            names, values = _targets(node.targets[0]), self.trees(node.value)
        elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
            names = _targets(node.target)
            values = [[OPERATORS[type(node.op)], self.tree(node.target), self.tree(node.value)]]
        else:
            raise self.refused("there is more than assignments", node)
        if len(names) != len(values):
            raise self.refused(f"{len(values)} values for {len(names)} names", node)
        for name, value in zip(names, values, strict=True):
            self.scope[name] = value
            if self.note is not None:
                self.note(name, value, node.lineno)
        if self.note is not None:
            self.scope |= {name: name for name in names}

    def trees(self, node: ast.expr) -> list[Tree]:
        """Return the trees of one value or of several."""
        if isinstance(node, ast.Tuple):
            return [self.tree(part) for part in node.elts]
        if isinstance(node, ast.Call):
            return self.call(node)
        return [self.tree(node)]

    def tree(self, node: ast.expr) -> Tree:
        if isinstance(node, ast.Name):
            if node.id in self.scope:
                return self.scope[node.id]
            return self.number(self.known.get(node.id), node)
        if isinstance(node, ast.Constant):
            return self.number(node.value, node)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return [OPERATORS[type(node.op)], self.tree(node.left), self.tree(node.right)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return ["neg", self.tree(node.operand)]
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
            return [OPERATORS[type(node.ops[0])], self.tree(node.left), self.tree(node.comparators[0])]
        if isinstance(node, ast.Call):
            (value,) = self.call(node)
            return value
        if isinstance(node, ast.Attribute):
            return self.number(self.looked_up(node), node)
        raise self.refused("it is no arithmetic of single numbers", node)

    def call(self, node: ast.Call) -> list[Tree]:
        function = self.looked_up(node.func)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self.refused("a call with more than plain arguments", node)
        arguments = [self.tree(argument) for argument in node.args]
        name = getattr(function, "__name__", "")
        if isinstance(function, np.ufunc) or function is np.where:
            if name not in ONE_BY_ONE:
                raise self.refused(f"np.{name} is not among what the page can do", node)
            return [[f"np.{name}", *arguments]]
        if not isinstance(function, FunctionType):
            raise self.refused("a call of no plain function", node)
        if len(inspect.signature(function).parameters) != 1:
            return _Reader(function, self.functions).run(arguments)
        name = self.named(function)
        return [[name, *arguments]]

    def named(self, function: FunctionType) -> str:
        """Return the name of a function of one argument, and keep its tree under that."""
        code = function.__code__
        if code not in self.functions:
            name, taken = function.__name__, [own["name"] for own in self.functions.values()]
            while name in taken:
                name += "'"
            reader = _Reader(function, self.functions)
            self.functions[code] = {"name": name, "of": reader.parameters[0]}  # first: it may call itself
            (self.functions[code]["value"],) = reader.run(reader.parameters)
        return self.functions[code]["name"]

    def looked_up(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and self.known.get(node.value.id) is np:
            return getattr(np, node.attr, None)
        raise self.refused("a name that is neither its own nor NumPy's", node)

    def number(self, value: Any, node: ast.expr) -> float:
        if isinstance(value, (int, float, np.number)):
            return value if isinstance(value, int) else float(value)
        raise self.refused("something that is no number", node)


def _defined(module: ast.Module, function: FunctionType) -> list[Any] | None:
    """Return the body of a function in the source that it stands in, or None: of two lambdas in a line which one?"""
    names = list(inspect.signature(function).parameters)
    defined: list[list[Any]] = []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            defined.append(node.body)
        elif isinstance(node, ast.Lambda) and [own.arg for own in node.args.args] == names:
            defined.append([ast.Return(node.body)])
    return defined[0] if len(defined) == 1 else None


def _targets(node: ast.expr) -> list[str]:
    """Return the names that an assignment gives values to."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return [part.id if isinstance(part, ast.Name) else ast.unparse(part) for part in parts]
