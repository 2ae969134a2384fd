"""How a model was compiled, read from a file of any version, and what its optimizer keeps, both ways.

Keras 3 writes an optimizer's arrays as the count of steps, the learning rate (unless a schedule gives it), moving
averages, accumulated gradients, and then the slots: those that one line makes together weight by weight. Older
optimizers (up to 2.10, and later where they are called legacy) write one slot of all weights after the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ... import losses, metrics
from ...configured import is_own, subclasses
from ...optimizers import Optimizer, schedules
from . import versions

RENAMED = {"lr": "learning_rate"}
LOSSES = {  # older names, and functions that are not called as their class here
    "cosine_proximity": "cosine_similarity",
    "huber_loss": "huber",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
}
_QUIET = {"name", "dtype", "jit_compile", "is_legacy_optimizer", "loss_scale_factor", "fn", "module", "axis", "decay"}
_APART = {"RMSprop": ("velocity", "momentum", "average_gradient")}  # each slot of all weights before the next
_LAST = ("velocity_hat",)
MOST = 100  # metrics


class Unknown(ValueError):
    """An optimizer, a loss or a metric that rnncore does not have."""


# --- from a file -----------------------------------------------------------------------------------------------------


def arguments(asked: Mapping[str, Any], custom: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the arguments of `compile`, from what a file says of it.

    Parameters
    ----------
    asked : mapping
        ``compile_config`` of a ``.keras``, or the ``training_config`` of a ``.h5``.
    custom : mapping of str to object
    notes : list of str
        Gets a sentence for each thing that is left out.

    Raises
    ------
    Unknown
        There is no such optimizer or loss.
    """
    found: dict[str, Any] = {
        "optimizer": optimizer(asked.get("optimizer", asked.get("optimizer_config")), custom, notes)
    }
    loss = _single(asked.get("loss"))
    found["loss"] = None if loss is None else _named(loss, losses, losses.Loss, custom, notes, "loss")
    for part in ("metrics", "weighted_metrics"):
        found[part], given = [], list(islice(_flat(asked.get(part)), MOST + 1))
        if len(given) > MOST:
            raise Unknown(f"there are more than {MOST} {part}")
        for metric in given:
            try:
                found[part].append(_metric(metric, custom, notes))
            except Unknown as error:
                notes.append(f"{error}: it is left out")
    return found


def optimizer(asked: Any, custom: Mapping[str, Any], notes: list[str]) -> Optimizer:
    """Return an optimizer, from its description."""
    if isinstance(asked, str):
        asked = {"class_name": asked, "config": {}}
    if not isinstance(asked, Mapping) or not isinstance(asked.get("config"), Mapping):
        raise Unknown(f"the optimizer is {asked!r:.100}")
    kind, config = str(asked.get("class_name")).rpartition(">")[2], dict(asked["config"])
    if kind == "LossScaleOptimizer":
        inner = config.get("inner_optimizer", config.get("optimizer"))
        notes.append("a LossScaleOptimizer is taken for the one within: there is no half precision to scale for")
        return optimizer(inner, custom, notes)
    known = {cls.__name__.lower(): cls for cls in subclasses(Optimizer) if not is_own(cls)}
    cls: Any = custom.get(kind) or known.get(kind.lower())
    if cls is None:
        raise Unknown(f"there is no optimizer {kind!r:.100}")
    config = {RENAMED.get(name, name): versions._plain(value) for name, value in config.items()}
    rate, decay = config.get("learning_rate", 0.01), config.get("decay")
    if isinstance(rate, Mapping):
        config["learning_rate"] = _schedule(rate)
    elif decay:
        config["learning_rate"] = schedules.InverseTimeDecay(rate, 1, decay)
    if config.get("epsilon", 0) is None:
        del config["epsilon"]
    if config.get("weight_decay") is False or (kind == "AdamW" and config.get("weight_decay", 0) is None):
        config["weight_decay"] = None if kind != "AdamW" else 0.0
    return cls(**_taken(cls, config, notes, f"optimizer {kind}", Optimizer))


def _schedule(asked: Mapping[str, Any]) -> Any:
    config = {name: versions._plain(value) for name, value in asked.get("config", {}).items()}
    try:
        return schedules.deserialize({"class_name": asked.get("class_name"), "config": config})
    except (ValueError, TypeError) as error:
        raise Unknown(f"the learning rate is {asked.get('class_name')!r:.100}: {error!s:.200}") from error


def _taken(
    cls: type, config: Mapping[str, Any], notes: list[str], label: str, base: type | None = None
) -> dict[str, Any]:
    """Return what of a configuration a constructor takes; note what else it says that is not nothing."""
    allowed = set(inspect.signature(cls).parameters) | (set(inspect.signature(base).parameters) if base else set())
    for name, value in config.items():
        if name not in allowed | _QUIET and value not in (None, False, 0, ""):
            notes.append(f"{label}: {name}={value!r:.50} is left out")
    found = {name: value for name, value in config.items() if name in allowed and name not in ("dtype", "axis")}
    if found.get("reduction") in ("auto", "sum_over_batch"):
        del found["reduction"]
    return found


def _named(asked: Any, module: Any, base: type, custom: Mapping[str, Any], notes: list[str], kind: str) -> Any:
    """Return a loss or a metric, from its name or its description."""
    if isinstance(asked, Mapping):
        config = asked.get("config")
        name = asked.get("class_name")
        if name == "function" or isinstance(config, str):
            return _named(config, module, base, custom, notes, kind)
        if not isinstance(config, Mapping) or not isinstance(name, str):
            raise Unknown(f"the {kind} is {asked!r:.100}")
        name = name.rpartition(">")[2]
        if name in ("LossFunctionWrapper", "MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"):
            made = _named(config.get("fn"), module, base, custom, notes, kind)
            if isinstance(made, base) and isinstance(config.get("name"), str):
                made.name = config["name"]  # type: ignore[attr-defined]
            return made
        cls = custom.get(name) or getattr(module, name, None) if name in custom or name in module.__all__ else None
        if not isinstance(cls, type) or not issubclass(cls, base):
            raise Unknown(f"there is no {kind} {name!r:.100}")
        options = _taken(cls, config, notes, f"{kind} {name}")
        if isinstance(config.get("name"), str) and "name" in inspect.signature(cls).parameters:
            options["name"] = config["name"]
        return cls(**options)
    if isinstance(asked, str) and asked in custom:
        return custom[asked]
    try:
        return module.get(LOSSES.get(asked, asked))
    except (ValueError, TypeError) as error:
        raise Unknown(f"there is no {kind} {asked!r:.100}") from error


def _metric(asked: Any, custom: Mapping[str, Any], notes: list[str]) -> Any:
    """Return a metric; a name as it is, if it is known: it may depend on the output's shape what it stands for."""
    if isinstance(asked, str) and asked not in custom:
        if asked.lower() not in ("accuracy", "acc"):
            _named(asked, metrics, metrics.Metric, custom, notes, "metric")
        return LOSSES.get(asked, asked)
    return _named(asked, metrics, metrics.Metric, custom, notes, "metric")


def _single(asked: Any) -> Any:
    """Return what stands for the only output's, in a list or a dict of one."""
    while isinstance(asked, (list, Mapping)) and not (isinstance(asked, Mapping) and "class_name" in asked):
        if len(asked) != 1:
            raise Unknown(f"there are {len(asked)} losses")
        asked = asked[0] if isinstance(asked, list) else next(iter(asked.values()))
    return asked


def _flat(asked: Any) -> Iterator[Any]:
    """Yield each metric, however outputs group them."""
    if isinstance(asked, list):
        for part in asked:
            yield from _flat(part)
    elif isinstance(asked, Mapping) and "class_name" not in asked:
        for part in asked.values():
            yield from _flat(part)
    elif asked is not None:
        yield asked


# --- what an optimizer keeps -----------------------------------------------------------------------------------------


def groups(own: Optimizer) -> list[tuple[str, ...]]:
    """Return the names of the slots that Keras 3 writes weight by weight, group after group."""
    common = {"average": own.use_ema, "gradient_accumulator": own.gradient_accumulation_steps}
    slots = tuple(own.slots())
    together = tuple(name for name in slots if type(own).__name__ not in _APART and name not in _LAST)
    apart = [(name,) for name in slots if name not in together]
    return [(name,) for name, used in common.items() if used] + ([together] if together else []) + apart


def state_of(own: Optimizer, count: int) -> list[np.ndarray]:
    """Return the state of a built optimizer of `count` weights as Keras 3 writes it."""
    state = own.get_state()
    arrays = [state["iterations"]]
    if "learning_rate" in state:
        arrays.append(state["learning_rate"].astype(np.float32))
    return arrays + [state[f"{name}/{n}"] for group in groups(own) for n in range(count) for name in group]


def set_state(own: Optimizer, arrays: Sequence[np.ndarray], count: int, legacy: bool) -> None:
    """Put a built optimizer of `count` weights where the one was that these are of, its slots in our weights' order.

    Raises
    ------
    ValueError
        They do not fit.
    """
    steps, rate, rest = split_state(arrays)
    order = [(name,) for group in groups(own) for name in group] if legacy else groups(own)
    names = [f"{name}/{n}" for group in order for n in range(count) for name in group]
    if not names or (legacy and all(array.size == 1 for array in rest[len(names) :])):
        rest = rest[: len(names)]  # an SGD's momentum that is 0, what stands for amsgrad in an Adam of Keras 2
    state = dict(zip(names, rest, strict=True))
    own_state = own.state()
    for name, array in state.items():
        state[name] = array.astype(own_state[name].dtype, copy=False)
    state["iterations"] = np.array(steps, np.int64)
    if "learning_rate" in own_state:
        state["learning_rate"] = own_state["learning_rate"] if rate is None else np.array(rate, np.float64)
    for name in own.counters():
        state[name] = _counted(own, name, steps, own_state[name].dtype)
    own.set_state(state)


def split_state(arrays: Sequence[np.ndarray]) -> tuple[int, float | None, list[np.ndarray]]:
    """Return the steps taken, the learning rate, if it is there, and the slots."""
    rest, steps, rate = list(arrays), 0, None
    if rest and rest[0].shape == () and rest[0].dtype.kind in "iu":
        steps = int(rest.pop(0))
    elif rest and rest[0].shape == ():
        steps = int(rest.pop(0))  # Keras 2 counts in floats, too
    if rest and rest[0].shape == ():
        rate = float(rest.pop(0))
    return steps, rate, rest


def _counted(own: Optimizer, name: str, steps: int, dtype: np.dtype) -> np.ndarray:
    """Return a counter after so many steps, which files do not have."""
    if steps > 1 << 20:
        return np.array(0, dtype)  # a product of numbers below 1
    before = getattr(own, name)
    for step in range(1, steps // (own.gradient_accumulation_steps or 1) + 1):
        own.advance(step)
    counted = np.array(getattr(own, name), dtype)
    setattr(own, name, before)
    return counted
