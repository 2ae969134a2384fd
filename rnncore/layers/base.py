"""What every layer has: weights by name, a checked call and a checked backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import config
from ..configured import Configured, snake_case

_names: Counter[str] = Counter()


def unique_name(kind: str) -> str:
    """Return `kind`, then `kind_1`, `kind_2` … as Keras numbers its layers."""
    _names[kind] += 1
    return kind if _names[kind] == 1 else f"{kind}_{_names[kind] - 1}"


def reset_names() -> None:
    """Start the numbering of layer names anew."""
    _names.clear()


class Layer(Configured):
    """Base of all layers, and of your own.

    A layer of your own defines ``build(input_shape)`` (its weights, by `add_weight`), ``call(x, mask, training)``
    and ``call_backward(dy)``, which puts the gradient of each weight into ``self.gradients`` and returns the
    gradient of x. `gradcheck.check_layer` then says whether the two belong together.

    Parameters
    ----------
    name : str, optional
        Default: the class in snake case, numbered.
    dtype : {"float32", "float64"}, optional
        What the layer computes in; default `rnncore.config.floatx`.
    trainable : bool
        Whether its weights have gradients.

    Attributes
    ----------
    gradients : dict of str to ndarray
        By weight name, from the last `backward`.
    """

    input_ranks = (2, 64)  # least and most number of axes of x
    input_kind = "float"
    supports_masking = True

    def __init__(self, name: str | None = None, dtype: str | None = None, trainable: bool = True):
        self.name = unique_name(snake_case(type(self).__name__)) if name is None else name
        self.dtype = config.checked_dtype(dtype).name
        self.trainable = trainable
        self.built = False
        self.weight_names: list[str] = []
        self.gradients: dict[str, Any] = {}
        self.input_shape: tuple[int | None, ...] | None = None
        self._output = None  # the shapes of the last call's output: backward is checked against them

    # --- what a subclass defines -------------------------------------------------------------------------------

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape` (None: any size)."""

    def call(self, x, mask=None, training=False):
        """Return the output for a checked input."""
        raise NotImplementedError

    def call_backward(self, dy):
        """Return the gradient of x for a checked gradient of the last call's output, and fill `gradients`."""
        raise NotImplementedError

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray | None:
        """Return the mask that goes with the output: here the one that came."""
        return mask

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the output for an input of `input_shape`."""
        return tuple(input_shape)

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
            Of the layer's dtype; what else a layer takes and returns stands with that layer.
        """
        x = self.checked_input(x)
        mask = checked_mask(mask, x, f"{self.name}: mask")
        self.ensure_built(x.shape)
        y = self.call(x, mask=mask, training=training, **inputs)
        self._output = _shapes(y)
        return y

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
            Without a call before, or if `dy` has not the output's shape, or is not finite.
        """
        if self._output is None:
            raise ValueError(f"{self.name}: backward came before a call; call the layer first")
        return self.call_backward(self._checked_gradient(dy))

    def ensure_built(self, input_shape: Sequence[int | None]) -> None:
        """Build the layer at its first input, and hold later ones to the same number of features."""
        if not self.built:
            self.input_shape = (None, *input_shape[1:])
            self.build(input_shape)
            self.built = True
        elif self.weight_names and self.input_kind == "float" and self.input_shape[-1] != input_shape[-1]:
            raise ValueError(
                f"{self.name}: x has {input_shape[-1]} features in shape {tuple(input_shape)}; "
                f"the layer was built for {self.input_shape[-1]}"
            )

    def checked_input(self, x: Any) -> np.ndarray:
        """Return x as an array of the right kind and rank, or raise ValueError or TypeError saying what is wrong."""
        return checked_array(x, f"{self.name}: x", self.input_kind, self.dtype, self.input_ranks)

    def _checked_gradient(self, dy):
        if not isinstance(self._output, list):
            return checked_array(dy, f"{self.name}: dy", "float", self.dtype, shape=self._output)
        if not isinstance(dy, (list, tuple)) or len(dy) != len(self._output):
            raise ValueError(f"{self.name}: dy must be a list of {len(self._output)}, as the output was")
        return [
            None if part is None else checked_array(part, f"{self.name}: dy[{n}]", "float", self.dtype, shape=shape)
            for n, (part, shape) in enumerate(zip(dy, self._output, strict=True))
        ]

    # --- weights -----------------------------------------------------------------------------------------------

    def add_weight(self, name: str, shape: Sequence[int], initializer: Any) -> np.ndarray:
        """Make a weight, keep it as an attribute of its name, and return it."""
        array = np.asarray(initializer(tuple(shape), dtype=self.dtype, rng=config.new_generator(self.weight_seed())))
        setattr(self, name, array)
        self.weight_names.append(name)
        return array

    def weight_seed(self) -> int | None:
        """Return the seed of the next weight's initial values; None: the process's."""
        seed = getattr(self, "seed", None)
        return None if seed is None else [seed, len(self.weight_names)]

    @property
    def weights(self) -> list[np.ndarray]:
        """The weights themselves, in Keras's order; an optimizer changes them in place."""
        return [getattr(self, name) for name in self.weight_names]

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """The weights that have gradients."""
        return self.weights if self.trainable else []

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the weights, in Keras's order and layout."""
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in `get_weights` order; if one does not fit, none is changed.

        Raises
        ------
        ValueError
            Another number of arrays, another shape, or values that are not finite.
        """
        own = self.weights
        if len(weights) != len(own):
            built = "" if self.built else " (it is not built yet: call it, or give an input shape, first)"
            raise ValueError(f"{self.name}: set_weights got {len(weights)} arrays; the layer has {len(own)}{built}")
        checked = [
            checked_array(given, f"{self.name}: weights[{n}]", "float", mine.dtype, shape=mine.shape)
            for n, (given, mine) in enumerate(zip(weights, own, strict=True))
        ]
        for mine, given in zip(own, checked, strict=True):
            mine[...] = given

    def get_gradients(self) -> list[Any]:
        """Return the gradients of the trainable weights from the last `backward`, in `get_weights` order."""
        if self.trainable and len(self.gradients) < len(self.weight_names):
            raise ValueError(f"{self.name}: get_gradients came before backward")
        return [self.gradients[name] for name in self.weight_names] if self.trainable else []

    def count_params(self) -> int:
        """Return the number of values in all weights."""
        return sum(weight.size for weight in self.weights)

    def children(self) -> list[Layer]:
        """Return the layers that this one is made of."""
        return []

    def leaves(self) -> list[Layer]:
        """Return the layers at the bottom: this one, or those of its children."""
        return [leaf for child in self.children() for leaf in child.leaves()] or [self]

    def generators(self) -> list[np.random.Generator]:
        """Return the random generators the layer draws from."""
        return [self.generator] if hasattr(self, "generator") else []


def _shapes(y):
    return [part.shape for part in y] if isinstance(y, list) else y.shape


def checked_array(
    value: Any,
    label: str,
    kind: str,
    dtype: Any,
    ranks: tuple[int, int] | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Return `value` as a finite array, or say in one sentence what is wrong with it.

    Parameters
    ----------
    value : array_like
    label : str
        What it is, for the message.
    kind : {"float", "integer"}
        Integers are kept as they are; all else becomes `dtype`.
    dtype : dtype_like
    ranks : (int, int), optional
        Least and most number of axes.
    shape : tuple of int, optional
        The exact shape; if not given, no axis may be empty.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{label} is ragged: its rows have different lengths; pad them first (pad_sequences)"
        ) from error
    if array.dtype.kind not in ("iu" if kind == "integer" else "biufc"):
        if kind == "integer" and array.dtype.kind == "f" and array.size and np.all(array == np.floor(array)):
            array = array.astype(np.int64)
        else:
            raise TypeError(
                f"{label} has dtype {array.dtype}; expected {'integers' if kind == 'integer' else 'numbers'}"
            )
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{label} has shape {array.shape}; expected {tuple(shape)}")
    if ranks is not None and not ranks[0] <= array.ndim <= ranks[1]:
        allowed = f"{ranks[0]}" if ranks[0] == ranks[1] else f"{ranks[0]} or more"
        raise ValueError(f"{label} has shape {array.shape}, {array.ndim} axes; expected {allowed}")
    if shape is None and 0 in array.shape:
        raise ValueError(f"{label} has shape {array.shape}: an axis is empty")
    if kind == "integer":
        return array
    if not np.isfinite(array).all():
        where = tuple(int(n) for n in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{label} is not finite: {array[where]} at {where}")
    return array.astype(dtype, copy=False)


def checked_mask(mask: Any, x: np.ndarray, label: str) -> np.ndarray | None:
    """Return the mask as a bool array of shape (B, T), or None."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise TypeError(f"{label} has dtype {mask.dtype}; expected bool or zeros and ones (True: the step counts)")
    if mask.shape != x.shape[: mask.ndim] or mask.ndim < 1:
        raise ValueError(f"{label} has shape {mask.shape}; expected {x.shape[:2]}")
    return mask.astype(bool, copy=False)


def positive(value: Any, label: str) -> int:
    """Return a whole number above 0, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{label} is {value!r}; expected a whole number above 0")
    return int(value)


def fraction(value: Any, label: str) -> float:
    """Return a dropout rate in [0, 1), or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < 1:
        raise ValueError(f"{label} is {value!r}; expected a number in [0, 1)")
    return float(value)


def dropout_mask(rate: float, shape: Sequence[int], generator: np.random.Generator, dtype: Any) -> np.ndarray:
    """Return 0 with probability `rate` and 1 / (1 - rate) elsewhere, so that the mean stays (inverted scaling)."""
    real = np.float32 if np.dtype(dtype) == np.float32 else np.float64
    keep = generator.random(tuple(shape), dtype=real) >= rate
    return keep.astype(dtype) / np.asarray(1 - rate, dtype)
