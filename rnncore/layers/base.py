"""What every layer has: a checked call and a checked backward."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import config, regularizers
from ..configured import is_own, snake_case, telling_arguments
from ..lock import engine_lock, locked
from ..sparse import EmbeddedRows
from ..unsupported import arguments_without_effect
from . import own
from .chain import Chain
from .checks import checked_array, checked_mask, flag, inspected
from .constructor import placed_arguments, recorded_build
from .scopes import unique_name
from .weights import Weighted


class Layer(Weighted):
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
    declared_shape: tuple[int | None, ...] | None = None
    _context: tuple[str, ...] = own.CONTEXT  # what `call` takes beside x
    _own = False  # whether `call` is a user's
    _goes_back = False  # whether there is a `call_backward`
    _first: tuple[str, ...] = ()  # names of weights that the constructor made

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, wrapped in (("build", recorded_build), ("__init__", placed_arguments)):
            if name in cls.__dict__:
                setattr(cls, name, wrapped(cls.__dict__[name]))
        if "call" in cls.__dict__:
            cls._context, cls._own = own.taken(cls.call), is_own(cls.call)
        if "call_backward" in cls.__dict__:
            cls._goes_back = True

    @placed_arguments
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

    @recorded_build
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

    def _in_config(self):
        unused = arguments_without_effect(type(self))
        found = super()._in_config().items()
        return {name: parameter for name, parameter in found if name not in unused or self._has(name)}

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

    # --- what it is made of ----------------------------------------------------------------------------------------

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


Weighted.reserved = frozenset(dir(Layer))


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
