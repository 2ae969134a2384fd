"""The weights of a layer, by name: made, read, set; and the gradients that belong to them."""

from __future__ import annotations

import math
import re
from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import config, constraints, initializers, regularizers
from ..configured import Configured
from ..copies import Copied
from ..lock import locked
from . import own, scopes
from .checks import checked_array, not_finite


class Weighted(Copied, Configured):
    """Base of `Layer`: its weights, those of the layers that it is made of included.

    Attributes
    ----------
    own_weights : list of str
        Names of its own weights, those of its parts not among them.
    moving : frozenset of str
        Of these the weights that calls may change, and no optimizer does.
    reserved : frozenset of str
        Names that no weight may have: `Layer` has them.
    """

    reserved: ClassVar[frozenset[str]] = frozenset()
    moving: frozenset[str] = frozenset()
    own_weights: list[str]
    own_gradients: MutableMapping[str, Any]
    regularizers: dict[str, regularizers.Regularizer]
    constraints: dict[str, Any]
    name: str
    dtype: str
    built: bool
    trainable: bool
    _seed: np.random.SeedSequence
    _parts: list[Any]
    children: Callable[[], list[Any]]
    walk: Callable[[], list[Any]]
    check_caller: Callable[[str], None]

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
        if name in self.own_weights or name in self.reserved or not _is_free(vars(self).get(name)):
            raise ValueError(f"{self.name}: add_weight: name is {name!r}; the layer has that already")
        given: tuple[tuple[dict[str, Any], Any], ...] = (
            (self.regularizers, regularizers.get(regularizer)),
            (self.constraints, constraints.get(constraint)),
        )
        for kept, value in given:
            if value is not None:
                kept[name] = value
        expected, kind = scopes.expected.get(), (shape, dtype)
        if expected is not None:
            if not expected[kind]:
                raise ValueError(f"{self.name}: no array of {dtype} {shape} is there for the weight {name}")
            expected[kind] -= 1
            array = np.zeros(shape, dtype)
        else:
            left = scopes.left.get()
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
            if re.fullmatch(rf"{own.NAMELESS}_\d+", name):
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
        return self.own_weights + [prefix + name for part, prefix in self._prefixed() for name in part.weight_names]

    @property
    def gradients(self) -> MutableMapping[str, Any]:
        """By `weight_names`, the gradient of the loss with respect to each weight, from the last `backward`."""
        parts = {prefix + name: g for part, prefix in self._prefixed() for name, g in part.gradients.items()}
        return ChainMap(self.own_gradients, parts) if parts else self.own_gradients

    @gradients.setter
    def gradients(self, gradients: MutableMapping[str, Any]) -> None:
        self.own_gradients = gradients

    def _prefixed(self) -> list[tuple[Any, str]]:
        """Return each part, and what stands before the names of its weights here."""
        return [(part, "" if part.name == self.name else f"{part.name}/") for part in self.children()]

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """The weights that have gradients."""
        return [getattr(layer, name) for layer, name in self.trainable_parts()]

    def trainable_parts(self) -> list[tuple[Any, str]]:
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
        if name not in self.own_gradients:
            raise ValueError(f"{self.name}: get_gradients came before backward")
        return self.own_gradients[name]

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


def _is_free(value: Any) -> bool:
    """Return whether a weight may take the place of an attribute's value: another weight's, from an earlier build."""
    return value is None or isinstance(value, np.ndarray)
