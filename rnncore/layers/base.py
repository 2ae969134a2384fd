"""What every layer has: weights by name, a checked call and a checked backward."""

from __future__ import annotations

import functools
import inspect
import math
import threading
import warnings
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from .. import config, constraints, initializers, regularizers
from ..configured import PACKAGE, Configured, snake_case, telling_arguments
from ..copies import Copied
from ..lock import engine_lock, locked
from ..sparse import EmbeddedRows
from ..unsupported import without_effect
from . import own
from .chain import Chain
from .checks import checked_array, checked_mask, checked_shape, flag, inspected, not_finite

_names: Counter[str] = Counter()
_expected: ContextVar[Counter | None] = ContextVar("expected", default=None)  # see expected_weights
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)  # bytes: see weights_within
_keeps: ContextVar[bool] = ContextVar("keeps", default=True)  # see nothing_kept


def unique_name(kind: str) -> str:
    """Return `kind`, then `kind_1`, `kind_2` … as Keras numbers its layers."""
    _names[kind] += 1
    return kind if _names[kind] == 1 else f"{kind}_{_names[kind] - 1}"


def reset_names() -> None:
    """Start the numbering of layer names anew."""
    _names.clear()


@contextmanager
def expected_weights(arrays: Iterable[np.ndarray]) -> Iterator[None]:
    """Let layers make, within the block, weights of these shapes and dtypes only, and fill them with 0.

    For a model whose weights are read: what its configuration asks for takes no memory before it is known to be there,
    and nothing is drawn that would be thrown away.
    """
    before = _expected.set(Counter((array.shape, array.dtype.name) for array in arrays))
    try:
        yield
    finally:
        _expected.reset(before)


@contextmanager
def weights_within(size: int) -> Iterator[None]:
    """Let layers make, within the block, weights of no more bytes than `size` in all: ValueError before the first one.

    For a model whose description comes from anyone, and whose weights are drawn.
    """
    before = _left.set([size])
    try:
        yield
    finally:
        _left.reset(before)


@contextmanager
def unbuilt_if_refused(layer: Layer) -> Iterator[None]:
    """Let what the block builds of a layer be unbuilt again if the block fails: what was refused chose no shapes."""
    unbuilt = [part for part in layer.walk() if not part.built]
    try:
        yield
    except BaseException:
        for part in unbuilt:
            part.built, part.own_weights = False, list(part._first)
        raise


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let recurrent layers, within the block, keep no more than is needed: less memory and time.

    Of a call without `training` nothing is left but what it returns: no time series, and no backward pass.
    """
    before = _keeps.set(False)
    try:
        yield
    finally:
        _keeps.reset(before)


def keeps() -> bool:
    """Whether layers keep what happens at each step."""
    return _keeps.get()


def _recorded(build: Callable) -> Callable:
    """Return a layer's `build` that checks the shape, starts without weights, and notes what it was built for."""

    @functools.wraps(build)
    def recorded(self, input_shape=None):
        if type(self).build is not recorded:  # called as super().build by the one that does the noting
            return build(self, input_shape)
        shape = None if input_shape is None else checked_shape(input_shape, f"{self.name}: input_shape")
        self.built, self.own_weights, self.gradients = False, list(self._first), {}
        try:
            build(self, shape)
            self._name_weights()
        except BaseException:
            self.own_weights = list(self._first)
            raise
        self.built, self.input_shape, self._parts = True, shape and (None, *shape[1:]), self.walk()

    return recorded


_OLDER = {  # what older Keras scripts tell the first layer of its input -> the shape that it says
    "input_shape": lambda shape: shape,
    "input_dim": lambda size: (size,),
    "input_length": lambda steps: None,  # nothing depends on it: any number of steps fits
}
_EVERY = ("trainable", "activity_regularizer")  # what every layer takes, listed or not


def _placed(constructor: Callable) -> Callable:
    """Return a layer's constructor that takes the arguments of `_EVERY` and `_OLDER`, too, and warns of the latter."""
    own, ours = inspect.signature(constructor), constructor.__module__.partition(".")[0] == PACKAGE
    listed, hands_on = own.parameters.keys(), any(p.kind == p.VAR_KEYWORD for p in own.parameters.values())
    every = () if hands_on else tuple(name for name in _EVERY if name not in own.parameters)

    @functools.wraps(constructor)
    def placed(self, *args, **kwargs):
        older = {name: kwargs.pop(name) for name in _OLDER if name in kwargs and not _takes(type(self), name)}
        if ours and not kwargs.keys() <= listed:
            without_effect(type(self), kwargs, but=listed)
        further = {name: kwargs.pop(name) for name in every if name in kwargs}
        constructor(self, *args, **kwargs)
        for name, value in further.items():
            setattr(self, name, regularizers.get(value) if name == "activity_regularizer" else value)
        for name, value in older.items():
            shape, label = _OLDER[name](value), f"{self.name}: {name}"
            if shape is not None:
                self.declared_shape = checked_shape(shape, label)
            warnings.warn(f"{label} is of older Keras; an Input(shape) before the layer says it now", stacklevel=2)
        if self.own_weights:
            self._name_weights()
            self._first = tuple(self.own_weights)

    placed.takes_more = True  # type: ignore[attr-defined]  # than the constructor's signature says
    if every:
        defaults = {"trainable": True, "activity_regularizer": None}
        more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name]) for name in every]
        placed.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    return placed


def _takes(cls: type, name: str) -> bool:
    """Return whether the constructor of a class, or of one that it comes from, has an argument of that name."""
    constructors = (vars(base).get("__init__") for base in cls.__mro__)
    return any(name in inspect.signature(each).parameters for each in constructors if each)


class Layer(Copied, Configured):
    """Base of all layers, and of your own.

    A layer of your own defines ``build(input_shape)`` (its weights, by `add_weight`) and ``call(x)``, or
    ``call(x, mask, training)``, which is given what it takes. To be trained it needs ``call_backward(dy)``, too, which
    puts the gradient of each weight into ``self.gradients`` and returns the gradient of x; `gradcheck.check_layer` then
    says whether the two ways belong together. The shape of its output is found out by a call with zeros where there is
    no ``compute_output_shape(input_shape)``. Layers among its attributes are part of it; what they are called with,
    mask and `training` included, and the way back through them, is its own affair.

    Parameters
    ----------
    name : str, optional
        Default: the class in snake case, numbered.
    dtype : {"float32", "float64"}, optional
        What the layer computes in; default `rnncore.config.floatx`.
    trainable : bool
        Whether an optimizer may change its weights, and whether their regularizers count. May be set at any time, as
        ``layer.trainable = False``, for the layer and all that it is made of: it holds from the next step on.
    activity_regularizer : str, Regularizer or None
        A penalty on the output (on each, where states are returned too), divided by the number of rows.

    Attributes
    ----------
    last_output : ndarray or list of ndarray
        What the last call returned; None before.
    input, output : Chain
        What stands for both in the model that the layer is in.
    declared_shape : tuple of int or None, optional
        What ``input_shape=…`` said, an argument that every layer takes as in older Keras scripts, batch not included:
        a `Sequential` that begins with the layer has such an `Input`.
    """

    input_ranks = (2, 64)  # least and most number of axes of x
    input_kind = "float"  # "integer", "string"
    output_kind = "float"  # "integer"
    mask_axes = 2  # most number of axes of a mask
    casts = True  # whether `call` gets floats in the layer's dtype, and not as they come
    takes_embedded_rows = False  # whether `call` takes `EmbeddedRows` too, from an embedding before the layer
    left_out: ClassVar[tuple[str, ...]] = ("last_output", "_caller", "_parts", "described")
    last_output: Any = None
    described: Chain | None = None  # the first chain that the layer was put at the end of
    _caller: int | None = None  # the thread of the last call
    padding_value: float | None = None  # the value of the steps of x that the layer masks; None if it masks none
    moving: frozenset[str] = frozenset()  # names of weights that calls may change, and no optimizer does
    declared_shape: tuple[int | None, ...] | None = None
    _context: tuple[str, ...] = own.CONTEXT  # what `call` takes beside x
    _own = False  # whether `call` is a user's
    _goes_back = False  # whether there is a `call_backward`
    _first: tuple[str, ...] = ()  # names of weights that the constructor made

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, wrapped in (("build", _recorded), ("__init__", _placed)):
            if name in cls.__dict__:
                setattr(cls, name, wrapped(cls.__dict__[name]))
        if "call" in cls.__dict__:
            cls._context, cls._own = own.taken(cls.call), own.is_own(cls.call)
        if "call_backward" in cls.__dict__:
            cls._goes_back = True

    @_placed
    @telling_arguments
    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        activity_regularizer: Any = None,
    ):
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name is {name!r}; expected a string of some length without '/', or None")
        dtype = config.checked_dtype(dtype).name
        self.name = unique_name(snake_case(type(self).__name__)) if name is None else name
        self.dtype = dtype
        self._own_trainable = flag(trainable, f"{self.name}: trainable")  # what it is made of is not there yet
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.regularizers: dict[str, regularizers.Regularizer] = {}  # by weight name, like the next one
        self.constraints: dict[str, Any] = {}
        self.built = False
        self._parts: list[Layer] = []  # all that the layer is made of, once it is built: see `walk`
        self.own_weights: list[str] = []  # names, those of its parts not among them
        self.gradients = {}
        self.input_shape: tuple[int | None, ...] | None = None
        self._seed = config.new_seed()

    # --- what a subclass defines -------------------------------------------------------------------------------

    @_recorded
    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape` (None: any size)."""

    def call(self, x, mask=None, training=False):
        """Return the output for a checked input."""
        raise NotImplementedError

    def call_backward(self, dy):
        """Return the gradient of x for a checked gradient of the last call's output, and fill `gradients`."""
        raise own.lacks_backward(self)

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray | None:
        """Return the mask that goes with the output: here the one that came."""
        return mask

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the output for an input of `input_shape`."""
        return own.output_shape(self, input_shape) if self._own else tuple(input_shape)

    @classmethod
    def parameters(cls):
        found, own_ones = super().parameters(), inspect.signature(cls).parameters.values()
        if any(p.kind == p.VAR_KEYWORD for p in own_ones):  # handed on to us
            common = inspect.signature(Layer).parameters
            found |= {name: common[name] for name in ("name", "dtype", "trainable") if name not in found}
        return found

    # --- calling -----------------------------------------------------------------------------------------------

    def __call__(self, x: Any, mask: Any = None, training: bool = False, **inputs: Any) -> Any:
        """Run the layer.

        Parameters
        ----------
        x : array_like of shape (B, ...)
        mask : array_like of shape (B, T), bool, optional
            False: the step is padding.
        training : bool
            Whether dropout drops.

        Returns
        -------
        ndarray
            Of the layer's dtype; what else a layer takes and returns stands with that layer. `backward` goes by it
            and by x: copy what you want to write into before that.
        """
        if isinstance(x, Chain):
            return x.then(self)
        if isinstance(x, (list, tuple)) and any(isinstance(part, Chain) for part in x):
            raise TypeError(f"{self.name}: x is a list of inputs; rnncore has models of one chain of layers only")
        x = self.checked_input(x)
        axes = max(2, min(np.ndim(mask), self.mask_axes))
        mask = checked_mask(mask, (x.shape if self.input_kind == "integer" else x.shape[:-1])[:axes], self.name)
        flag(training, f"{self.name}: training")
        with engine_lock:
            self.ensure_built(x.shape)
            self.check_weights()
            return self.forward(x, mask, training, **inputs)

    def forward(self, x: np.ndarray, mask: np.ndarray | None = None, training: bool = False, **inputs: Any) -> Any:
        """Run the layer on what `checked_input` returned, or what another layer did."""
        self.last_output = None  # until there is a new one: a call that fails leaves nothing to go back through
        self._caller = threading.get_ident()
        if self.casts and self.input_kind == "float" and not (self.takes_embedded_rows and isinstance(x, EmbeddedRows)):
            x = np.asarray(x, self.dtype)
        self.last_output = self.called(x, mask, training, **inputs)
        return self.last_output

    def called(self, x: Any, mask: Any, training: bool, **inputs: Any) -> Any:
        """Return what `call` makes of x, given what it takes; of a user's floats an array in the layer's dtype."""
        given = {"mask": mask, "training": training}
        if len(self._context) < len(given):
            given = {name: given[name] for name in self._context}
        y = self.call(x, **given, **inputs)
        if self._own and not isinstance(y, (list, tuple)):
            y = np.asarray(y)
            return y.astype(self.dtype, copy=False) if y.dtype.kind in "fc" else y
        return y

    @locked
    def backward(self, dy: Any) -> np.ndarray | None:
        """Return the gradient of the loss with respect to x, from that with respect to the last call's output.

        Parameters
        ----------
        dy : array_like, in the output's structure
            A list where the call returned a list; an entry may be None there for zero.

        Returns
        -------
        ndarray of x's shape, or None where x was integers

        Raises
        ------
        ValueError
            Without a call before, if the last call was another thread's, or if `dy` has not the output's shape, or is
            not finite.
        """
        if self.last_output is None:
            raise ValueError(f"{self.name}: backward came before a call; call the layer first")
        self.check_caller("backward")
        return self.pull_back(self._checked_gradient(dy, self.last_output, f"{self.name}: dy"))

    def check_caller(self, what: str) -> None:
        """Raise ValueError if the last call, to which `what` belongs, was another thread's."""
        if self._caller not in (None, threading.get_ident()):
            raise ValueError(
                f"{self.name}: {what} belongs to the last call, which was another thread's; call the layer in this "
                "thread first, and hold rnncore.engine_lock from the call on where others call it too"
            )

    def pull_back(self, dy: Any, through: Callable[[Any], Any] | None = None) -> np.ndarray | None:
        """Go back as `backward` does, from a gradient that needs no check; what the regularizers add comes in here.

        `through` is `call_backward`, or what stands for it where dy is the gradient of something else.
        """
        if self.activity_regularizer is not None:
            dy = self._with_activity_gradient(self.last_output, dy)
        dx = (through or self.call_backward)(dy)
        if self.regularizers:
            self.add_penalty_gradients()
        return dx

    def add_penalty_gradients(self) -> None:
        """Add to the gradients of the weights what their regularizers contribute."""
        for name, regularizer in self.regularizers.items() if self.trainable else ():
            if name in self.moving:
                continue
            self.gradients[name] = np.asarray(self.gradients[name]) + regularizer.gradient(getattr(self, name))

    def _with_activity_gradient(self, y, dy):
        if isinstance(y, list):
            return [self._with_activity_gradient(*pair) for pair in zip(y, dy or [None] * len(y), strict=True)]
        own = self.activity_regularizer.gradient(np.asarray(y)) / np.asarray(len(y), y.dtype)
        return own if dy is None else dy + own

    def penalty(self) -> float:
        """Return what the regularizers of the layer and its parts add to the loss, given the last output."""
        total, parts = 0.0, self._parts
        if [part for part in parts if part.regularizers]:
            for part, name in self.trainable_parts():
                if name in part.regularizers:
                    total += part.regularizers[name](getattr(part, name))
        for part in parts:
            if part.activity_regularizer is not None and part.last_output is not None:
                total += sum(part.activity_regularizer(y) / len(y) for y in _flat(part.last_output))
        return total

    def constrain(self) -> None:
        """Bring every weight that has a constraint back into what it allows."""
        for part, name in self.trainable_parts() if [part for part in self._parts if part.constraints] else ():
            if name in part.constraints:
                weight = getattr(part, name)
                weight[...] = part.constraints[name](weight)

    @property
    def output(self) -> Chain:
        """What stands for the output where the layer was called on an `Input`, or is in a built model, the first time.

        ``Model(model.input, layer.output)`` is the front part of a model.
        """
        if self.described is None:
            raise AttributeError(
                f"{self.name}: there is no output: the layer was not called on an Input, and is in no model that is "
                "built; what its last call returned is last_output"
            )
        return self.described

    @property
    def input(self) -> Chain:
        """What stands for the input there."""
        return self.output.before

    @property
    def trainable(self) -> bool:
        return self._own_trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = flag(value, f"{self.name}: trainable")
        for part in self.walk():
            part._own_trainable = value

    def ensure_built(self, input_shape: Sequence[int | None]) -> None:
        """Build the layer at its first input."""
        if not self.built:
            self.build(input_shape)

    def checked_input(self, x: Any) -> np.ndarray:
        """Return x as an array of the right kind and shape, or raise ValueError or TypeError saying what is wrong.

        Its values are not copied into the layer's dtype: x may be a whole data set.
        """
        x = inspected(x, f"{self.name}: x", self.input_kind, self.dtype, filled=True)
        self.check_shape(x.shape)
        return x

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Raise ValueError if inputs of `shape` have not the axes, or the features, that the layer takes."""
        least, most = self.input_ranks
        if not least <= len(shape) <= most:
            allowed = f"{least}" if least == most else f"{least} or more"
            raise ValueError(f"{self.name}: x has shape {tuple(shape)}, {len(shape)} axes; expected {allowed}")
        known = self.input_shape if self.input_kind == "float" and self.built else None
        if known and shape[-1] != known[-1] and self.weights:
            raise ValueError(
                f"{self.name}: x has {shape[-1]} features in shape {tuple(shape)}; the layer was built for {known[-1]}"
            )

    def _checked_gradient(self, dy, output, label):
        if not isinstance(output, list):
            return checked_array(dy, label, "float", self.dtype, output.shape)
        if not isinstance(dy, (list, tuple)) or len(dy) != len(output):
            came = f"{len(dy)} of them" if isinstance(dy, (list, tuple)) else f"a {type(dy).__name__}"
            raise ValueError(f"{label} is {came}; expected a list of {len(output)}, as the output was")
        return [
            None if part is None and not isinstance(own, list) else self._checked_gradient(part, own, f"{label}[{n}]")
            for n, (part, own) in enumerate(zip(dy, output, strict=True))
        ]

    def __getstate__(self):
        return {**super().__getstate__(), "own_gradients": {}}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._parts = self.walk() if self.built else []

    # --- weights -----------------------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: str | None = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str | None = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> np.ndarray:
        """Make a weight, keep it as an attribute of its name, and return it.

        Parameters
        ----------
        shape : sequence of int, optional
            Default: ``()``, a number.
        initializer : str, Initializer or callable, optional
            Default: "glorot_uniform".
        dtype : {"float32", "float64"}, optional
            Default: the layer's.
        trainable : bool
            False: it has no gradient, and only you change it.
        regularizer, constraint : str or object, optional
        name : str, optional
            What it is called in ``gradients`` and files. Default: as the attribute in which `build` puts it, else
            ``variable``.
        autocast, aggregation, overwrite_with_gradient
            Accepted, and without effect.

        Raises
        ------
        ValueError
            The layer has something else of that name.
        """
        if isinstance(shape, str):
            raise TypeError(
                f"{self.name}: add_weight: shape is {shape!r}; the name of a weight is said as name={shape!r}"
            )
        shape, dtype = tuple(shape or ()), self.dtype if dtype is None else config.checked_dtype(dtype).name
        name = f"{own.NAMELESS}_{len(self.own_weights)}" if name is None else name
        if name in self.own_weights or hasattr(Layer, name) or not _is_free(vars(self).get(name)):
            raise ValueError(f"{self.name}: add_weight: name is {name!r}; the layer has that already")
        given: tuple[tuple[dict[str, Any], Any], ...] = (
            (self.regularizers, regularizers.get(regularizer)),
            (self.constraints, constraints.get(constraint)),
        )
        for kept, value in given:
            if value is not None:
                kept[name] = value
        expected, kind = _expected.get(), (shape, dtype)
        if expected is not None:
            if not expected[kind]:
                raise ValueError(f"{self.name}: no array of {dtype} {shape} is there for the weight {name}")
            expected[kind] -= 1
            array = np.zeros(shape, dtype)
        else:
            left = _left.get()
            if left is not None:
                left[0] -= math.prod(shape) * np.dtype(dtype).itemsize
                if left[0] < 0:
                    raise ValueError(f"{self.name}: {name}, of shape {shape}, and the weights before it are too large")
            rng = config.new_generator(self.weight_seed())
            initializer = initializers.get("glorot_uniform" if initializer is None else initializer)
            array = np.asarray(initializer(shape, dtype=dtype, rng=rng), order="C")
        setattr(self, name, array)
        self.moving = self.moving if trainable else self.moving | {name}
        trained = [each for each in self.own_weights if each not in self.moving]
        place = len(self.own_weights) if name in self.moving else len(trained)
        self.own_weights.insert(place, name)  # as Keras orders them
        return array

    def add_by_options(self, name: str, shape: Sequence[int], role: str | None = None) -> None:
        """Make a weight by the layer's options for its role, by default its name: ``bias_initializer`` …"""
        kinds = ("initializer", "regularizer", "constraint")
        self.add_weight(shape, name=name, **{kind: getattr(self, f"{role or name}_{kind}") for kind in kinds})

    def _name_weights(self) -> None:
        """Give the weights that were made without a name those of the attributes that they were put into."""
        for n, name in enumerate(self.own_weights):
            if name.startswith(own.NAMELESS):
                array = vars(self)[name]
                others = (each for each, value in vars(self).items() if value is array and each != name)
                self.own_weights[n] = given = next(others, name)
                for kept in (self.regularizers, self.constraints):
                    if name in kept:
                        kept[given] = kept.pop(name)
                self.moving = frozenset(given if each == name else each for each in self.moving)

    def weight_seed(self) -> np.random.SeedSequence:
        """Return the seed of the next weight's initial values: fixed when the layer is made, not when it is built."""
        seed = getattr(self, "seed", None)
        root = self._seed if seed is None else np.random.SeedSequence(seed)
        return np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, len(self.own_weights)))

    @property
    def weights(self) -> list[np.ndarray]:
        """The weights themselves, in Keras's order; an optimizer changes them in place."""
        mine = [getattr(self, name) for name in self.own_weights]
        return mine + [weight for child in self.children() for weight in child.weights]

    @property
    def weight_names(self) -> list[str]:
        """The names of the weights, in their order; those of a part behind its name, if that is not the layer's too."""
        return self.own_weights + [name for part, label in self._labelled() for name in map(label, part.weight_names)]

    @property
    def gradients(self) -> MutableMapping[str, Any]:
        """By `weight_names`, the gradient of the loss with respect to each weight, from the last `backward`."""
        parts = {label(name): g for part, label in self._labelled() for name, g in part.gradients.items()}
        return ChainMap(self.own_gradients, parts) if parts else self.own_gradients

    @gradients.setter
    def gradients(self, gradients: MutableMapping[str, Any]) -> None:
        self.own_gradients = gradients

    def _labelled(self) -> list[tuple[Layer, Callable[[str], str]]]:
        """Return each part, and what makes of the name of one of its weights the name here."""
        return [(p, "{}".format if p.name == self.name else f"{p.name}/{{}}".format) for p in self.children()]

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """The weights that have gradients."""
        return [getattr(layer, name) for layer, name in self.trainable_parts()]

    def trainable_parts(self) -> list[tuple[Layer, str]]:
        """Return the layer and the name of each of the `trainable_weights`."""
        mine = [(self, name) for name in self.own_weights if name not in self.moving]
        return mine + [pair for child in self.children() for pair in child.trainable_parts()] if self.trainable else []

    @property
    def moving_weights(self) -> list[np.ndarray]:
        """The weights that calls in training change, of the layer and all that it is made of."""
        parts = [part for part in self._parts if part.moving]
        return [getattr(part, name) for part in parts for name in part.own_weights if name in part.moving]

    def stored(self, name: str) -> np.ndarray:
        """Return a weight as it lies in memory, whatever an optimizer has left for later."""
        return getattr(self, name)

    @locked
    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the weights, in Keras's order and layout."""
        return [weight.copy() for weight in self.weights]

    @locked
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in `get_weights` order; if one does not fit, none is changed.

        Raises
        ------
        ValueError
            Another number of arrays, another shape, or values that are not finite.
        """
        kept = self.weights
        count = len(kept)
        if not isinstance(weights, (list, tuple)):
            raise TypeError(f"{self.name}: weights is a {type(weights).__name__}; expected a list of {count} arrays")
        if len(weights) != count:
            built = "" if self.built else " (it is not built yet: call it, or build it for an input shape, first)"
            raise ValueError(f"{self.name}: weights has {len(weights)} arrays; expected {count}{built}")
        checked = [
            checked_array(given, f"{self.name}: weights[{n}]", "float", mine.dtype, mine.shape)
            for n, (given, mine) in enumerate(zip(weights, kept, strict=True))
        ]
        for mine, given in zip(kept, checked, strict=True):
            mine[...] = given

    def bad_weight(self) -> str | None:
        """Say which weight is NaN or infinite somewhere; None if none is."""
        for part in self.walk():
            for name in part.own_weights:
                weight = part.stored(name)
                where = not_finite(weight)
                if where is not None:
                    return f"the weight {name} of layer {part.name!r} is not finite: {weight[where]} at {where}"
        return None

    def check_weights(self) -> None:
        """Raise ValueError if a weight is NaN or infinite somewhere."""
        bad = self.bad_weight()
        if bad:
            raise ValueError(bad)

    def get_gradients(self) -> list[Any]:
        """Return the gradients of the trainable weights from the last `backward`, in `get_weights` order."""
        self.check_caller("get_gradients")
        return [layer.gradient(name) for layer, name in self.trainable_parts()]

    def gradient(self, name: str) -> Any:
        """Return the gradient of a weight of the layer's own."""
        if name not in self.gradients:
            raise ValueError(f"{self.name}: get_gradients came before backward")
        return self.gradients[name]

    def gradients_and_weights(self) -> list[tuple[Any, np.ndarray]]:
        """Return `get_gradients` and `trainable_weights` in pairs, for an optimizer that may leave work for later.

        The arrays are for `apply_gradients` only; what was left is made up for when a weight is next asked for.
        """
        return [layer.gradient_and_weight(name) for layer, name in self.trainable_parts()]

    def gradient_and_weight(self, name: str) -> tuple[Any, np.ndarray]:
        """Return such a pair of the layer's own."""
        return self.gradient(name), getattr(self, name)

    def count_params(self) -> int:
        """Return the number of values in all weights."""
        return sum(weight.size for weight in self.weights)

    def children(self) -> list[Layer]:
        """Return the layers that this one is made of."""
        return own.sublayers(self, Layer) if self._own else []

    def leaves(self) -> list[Layer]:
        """Return the layers at the bottom: this one, or those of its children."""
        return [leaf for child in self.children() for leaf in child.leaves()] or [self]

    def walk(self) -> list[Layer]:
        """Return the layer and all that it is made of."""
        return [self, *(part for child in self.children() for part in child.walk())]

    def generators(self) -> list[np.random.Generator]:
        """Return the random generators that the layer and its parts draw from."""
        return [vars(part)["generator"] for part in self.walk() if "generator" in vars(part)]

    def stateful_layers(self) -> list[Any]:
        """Return the layers that may keep their states from one batch to the next, as ``kept_states``."""
        return [part for part in self.walk() if "kept_states" in vars(part)]


def _is_free(value: Any) -> bool:
    """Return whether a weight may take the place of an attribute's value: another weight's, from an earlier build."""
    return value is None or isinstance(value, np.ndarray)


def _flat(output: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of an output, nested as it may be."""
    if isinstance(output, list):
        for part in output:
            yield from _flat(part)
    else:
        yield np.asarray(output)


def dropout_mask(rate: float, shape: Sequence[int], generator: np.random.Generator, dtype: Any) -> np.ndarray:
    """Return 0 with probability `rate` and 1 / (1 - rate) elsewhere, so that the mean stays (inverted scaling)."""
    real = np.float32 if np.dtype(dtype) == np.float32 else np.float64
    keep = generator.random(tuple(shape), dtype=real) >= rate
    return np.multiply(keep, 1 / np.asarray(1 - rate, dtype), dtype=dtype)
