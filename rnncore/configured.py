"""Objects that are known by a name and rebuilt from their constructor's arguments.

Initializers, losses, metrics, optimizers and layers all keep each constructor argument in an attribute
of the same name. That one rule gives ``get_config``, ``from_config`` and the look-up by name below.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from . import config

right_names: dict[str, str] = {}  # what others call an argument -> what it is here: unsupported.py says it
_ANY = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
PACKAGE = __name__.partition(".")[0]
_custom: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default={})  # noqa: B039, only read


class Configured:
    """Base of everything that can be written down as its class and its constructor's arguments.

    Attributes
    ----------
    unkept : tuple of str
        A class states here arguments that it uses up, and keeps under no name.
    short_names : tuple of str
        And here further names that it goes by.
    """

    unkept: ClassVar[tuple[str, ...]] = ()
    _handed: tuple[str, ...] = ()  # names of arguments that a constructor took as ``**kwargs``, for others
    short_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def parameters(cls) -> dict[str, inspect.Parameter]:
        """Return the parameters of the constructor, by name, that an object keeps."""
        parameters = inspect.signature(cls).parameters.values()
        return {p.name: p for p in parameters if p.kind not in _ANY and p.name not in cls.unkept}

    def _in_config(self) -> dict[str, inspect.Parameter]:
        """Return the parameters that the object keeps: its class's, and those that its constructor handed on."""
        found = self.parameters()
        handed = [name for name in self._handed if name not in found and name not in self.unkept]
        return found | {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in handed}

    def argument(self, name: str) -> Any:
        """Return what the object was made with, as it is kept; AttributeError if it is not."""
        return getattr(self, name)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = telling_arguments(cls.__init__)  # type: ignore[method-assign]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values (nested objects as name and config)."""
        names = self._in_config()
        missing = [name for name in names if not self._has(name)]
        if missing:
            raise TypeError(
                f"{type(self).__name__} does not keep {', '.join(missing)}, an argument of its constructor, in an "
                "attribute of that name: do so, or define get_config"
            )
        return {name: described(self.argument(name)) for name in names}

    def describe(self) -> dict[str, Any]:
        """Return the object in plain values: its class and its config."""
        return {"class_name": type(self).__name__, "config": self.get_config()}

    def clone(self, **changes: Any):
        """Return a new object made from the same arguments, but for `changes`; objects among them are cloned too."""
        own = {name: _cloned(self.argument(name)) for name in self._in_config() if name not in changes}
        return type(self)(**own, **changes)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]):
        """Build an object, and those that it is made of, from what `get_config` returned."""
        return cls(**revived(config))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names that stand for an object of the class with nothing but defaults."""
        return (cls.__name__, snake_case(cls.__name__), *vars(cls).get("short_names", ()))

    def __repr__(self) -> str:
        """The call that makes such an object, without what is left at its default."""
        shown = []
        for name, parameter in self._in_config().items():
            if not self._has(name):  # of a class of your own, that keeps it under another name
                continue
            value = self.argument(name)
            written = described(value)
            text = repr(written if isinstance(written, str) else value)
            if parameter.default is parameter.empty and parameter.kind != parameter.KEYWORD_ONLY:
                shown.append(text)
            elif not self._is_default(name, value, parameter.default):
                shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _has(self, name: str) -> bool:
        try:
            self.argument(name)
        except AttributeError:
            return False
        return True

    def _is_default(self, name: str, value: Any, default: Any) -> bool:
        """Return whether the value of an argument is the default, which is kept in the form that is computed with."""
        if value is default:
            return True
        if name == "name" and isinstance(value, str):  # that of its class, perhaps numbered
            own = re.escape(snake_case(type(self).__name__))
            return value in (default, type(self).__name__) or bool(re.fullmatch(rf"{own}(_\d+)?", value))
        if isinstance(value, Configured) and isinstance(default, str):
            return default in value.names() and repr(value) == f"{type(value).__name__}()"
        if default is None:
            default = {**_NONE, "dtype": config.floatx()}.get(name)
        value = described(value)
        return type(value) in (bool, int, float, str, list, type(None)) and value == described(default)


_NONE = {"activation": "linear", "data_format": "channels_last"}  # what None stands for, where it is not kept as such


def telling_arguments(constructor: Callable) -> Callable:
    """Return a constructor that says what the right name of an argument is, or notes that it is handed on."""
    parameters = inspect.signature(constructor).parameters
    if hasattr(constructor, "takes_more"):
        return constructor  # another one is handed them
    hands_on = any(p.kind == p.VAR_KEYWORD for p in parameters.values())

    @functools.wraps(constructor)
    def telling(self, *args, **kwargs):
        if not hands_on and not kwargs.keys() <= parameters.keys():
            check_arguments(type(self), kwargs, parameters)
        if "_handed" not in vars(self):  # the constructors of the classes below get what this one likes
            self._handed = tuple(name for name in kwargs if name not in parameters)
        constructor(self, *args, **kwargs)

    return telling


def check_arguments(cls: type, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise TypeError if the constructor of a class has no argument of a given name: it says the right one."""
    further = () if hasattr(cls, "__signature__") else cls.__mro__  # whose constructors are handed the rest
    allowed = [*allowed, *(name for base in further for name in _arguments(base))]
    allowed = list(dict.fromkeys(name for name in allowed if name not in ("self", "args", "kwargs")))
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            right = right_names.get(name) or (near and f"did you mean {near[0]}?") or f"it has {', '.join(allowed)}"
            raise TypeError(f"{cls.__name__} has no argument {name!r}: {right}")


def _arguments(cls: type) -> Iterable[str]:
    return inspect.signature(vars(cls)["__init__"]).parameters if "__init__" in vars(cls) else ()


def _cloned(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_cloned(item) for item in value]
    return value.clone() if isinstance(value, Configured) else value


def described(value: Any) -> Any:
    """Return `value` in the plain types a JSON file can hold; an object by what its ``describe()`` returns."""
    if hasattr(value, "describe"):
        return value.describe()
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    return value


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Let `revived` know, within the block, classes (and activations) that are not the package's own, by name."""
    before = _custom.set({**_custom.get(), **(custom_objects or {})})
    try:
        yield
    finally:
        _custom.reset(before)


def revived(value: Any, base: type = Configured) -> Any:
    """Return `value` with every ``{"class_name", "config"}`` in it made into the object that it describes.

    Nothing is imported: a class is one that the package has, or one named in a `custom_object_scope`.

    Parameters
    ----------
    value : plain values
        As `described` returns them.
    base : type
        What the object is one of: a loss and a metric may have one name.

    Raises
    ------
    ValueError
        There is no class of that name.
    """
    if isinstance(value, (list, tuple)):
        return [revived(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) != {"class_name", "config"}:
        return {
            name: _own_activation(item) if name.endswith("activation") else revived(item)
            for name, item in value.items()
        }
    known = {cls.__name__: cls for cls in subclasses(base) if not is_own(cls)}
    known |= {name: cls for name, cls in _custom.get().items() if isinstance(cls, type)}
    if value["class_name"] not in known:
        raise ValueError(f"unknown class {value['class_name']!r:.99}; name classes of your own in custom_objects")
    cls: Any = known[value["class_name"]]
    return cls.from_config(value["config"])


def _own_activation(value: Any) -> Any:
    return _custom.get().get(value, value) if isinstance(value, str) else revived(value)


def is_own(thing: Any) -> bool:
    """Return whether a function or class is not the package's; one that `exec` made may have None as its module."""
    return (thing.__module__ or "").partition(".")[0] != PACKAGE


def subclasses(cls: type) -> Iterator[type]:
    """Yield all classes below `cls`."""
    direct: type
    for direct in cls.__subclasses__():
        yield direct
        yield from subclasses(direct)


def takes(function: Callable, *arguments: Any) -> bool:
    """Return whether a function can be called with these arguments, as far as it says."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # one written in C may not say
        return True
    return True


def snake_case(name: str) -> str:
    """``BinaryCrossentropy`` -> ``binary_crossentropy``, ``SimpleRNN`` -> ``simple_rnn``, ``Conv1D`` -> ``conv1d``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", name).lower()


def look_up(identifier: Any, table: Mapping[str, Any], kind: str, argument: str | None = None) -> Any:
    """Return ``table[identifier]``, or say which names there are.

    Parameters
    ----------
    identifier : str
        The name as the user typed it.
    table : mapping of str to object
        What may be named.
    kind : str
        What it is, for the message: "loss", "initializer", …
    argument : str, optional
        The argument it came in; `kind` when not given.

    Raises
    ------
    TypeError
        `identifier` is no string.
    ValueError
        `identifier` is not in `table`; the message names the nearest entries and all of them.
    """
    if not isinstance(identifier, str):
        raise TypeError(f"{argument or kind}: got {identifier!r}; expected the name of a {kind} or an object of it")
    if identifier in table:
        return table[identifier]
    near = difflib.get_close_matches(identifier[:99], table, n=1)  # it may come from a file, and be millions long
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"{argument or kind}: unknown {kind} {identifier!r:.99}{hint}; known: {', '.join(sorted(table))}")


def resolve(identifier: Any, table: Mapping[str, type], base: type, kind: str) -> Any:
    """Return an object of `base`: itself, or made from a name, a ``{"class_name", "config"}`` or a class."""
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, Mapping) and {"class_name", "config"} <= set(identifier):
        return look_up(identifier["class_name"], table, kind).from_config(identifier["config"])
    return look_up(identifier, table, kind)()
