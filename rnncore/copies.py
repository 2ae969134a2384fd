"""What a pickle or a copy of an object takes along, so that it goes on as the one copied would."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np


class Copied:
    """Base of what is pickled and copied by its attributes, but for those that a class names as not its own.

    Attributes
    ----------
    left_out : tuple of str
        A class states here attributes of its own that a copy has not: what the last call left, what belongs to a
        thread or process. The class itself may have a value of that name for it.
    """

    left_out: ClassVar[tuple[str, ...]] = ()

    def __getstate__(self) -> dict[str, Any]:
        left_out = {name for cls in type(self).__mro__ for name in vars(cls).get("left_out", ())}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(_owned(state, {}))


def _owned(value: Any, copies: dict[int, np.ndarray]) -> Any:
    """Return `value` with arrays that can be written to: joblib hands large ones over as files to read."""
    if isinstance(value, np.ndarray) and (type(value) is not np.ndarray or not value.flags.writeable):
        return copies.setdefault(id(value), np.array(value))
    if type(value) is dict:
        return {name: _owned(item, copies) for name, item in value.items()}
    return [_owned(item, copies) for item in value] if type(value) is list else value
