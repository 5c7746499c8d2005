"""YAML and single words to frozen dataclasses: what a field is called and may be is read off the dataclass.

::

    class Room:                                     room:
        empty_timeout_s: float = setting(300, ◀───    empty_timeout: 300
                          key="empty_timeout")

Scalars stay text until a field says what they are, so that no secret turns into a number and no version into a time of
day. Which settings there are is `sections`' business.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar

import yaml

from rtpcore.errors import ConfigError

Tree: TypeAlias = dict[str, Any]
"""What YAML says: text, lists and further trees by name. None is nothing after the colon."""

T = TypeVar("T")


def setting(
    default: Any = MISSING,
    *,
    factory: Any = MISSING,
    key: str | None = None,
    parse: Callable[[str], Any] | None = None,
    is_secret: bool = False,
) -> Any:
    """A field of a settings class.

    Args:
        default: As for `dataclasses.field`.
        factory: As for `dataclasses.field`.
        key: What it is called in YAML, if not like the field. Empty: it is not read from there.
        parse: Makes the value of its text; raises ValueError that says what would be right.
        is_secret: Leave it out of `repr`, which ends in logs.
    """
    given = {"default": default, "default_factory": factory, "repr": not is_secret}
    return field(**given, metadata={"key": key, "parse": parse})


def read_yaml(text: str, name: str) -> Tree:
    """Read a document that is a mapping, or empty.

    Args:
        text: The document.
        name: What to call it in errors.

    Raises:
        ConfigError: It is not YAML, no mapping, or says something twice.
    """
    try:
        tree = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ConfigError(name, f"{where}{error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(name, "is not YAML") from None
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(name, "has to be lines of 'key: value', with a space after the colon")
    return tree or {}


def put(tree: Tree, path: str, value: Any) -> None:
    """Set ``room.max_participants`` and the like, over what is there."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        tree[parent] = tree = dict(inner) if isinstance(inner, dict) else {}
    tree[last] = value


def scalars(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting that is one word, as environments can give it."""
    for member, key, hint in _members(kind):
        if is_dataclass(hint):
            yield from scalars(typing.cast("type[Any]", hint), f"{prefix}{key}.")
        elif member.metadata.get("parse") or typing.get_origin(hint) not in (tuple, Mapping):
            yield prefix + key


def duration(text: str) -> float:
    """Seconds of what Go writes as a duration. Raises ValueError.

    >>> duration("1m30s"), duration("500ms"), duration("0")
    (90.0, 0.5, 0.0)
    """
    if text == "0":
        return 0.0
    if not re.fullmatch(r"([0-9.]+(ns|us|µs|ms|s|m|h))+", text):
        raise ValueError("is not a duration such as 500ms, 5s or 1m30s")
    parts = re.findall(r"([0-9.]+)(ns|us|µs|ms|s|m|h)", text)
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        raise ValueError("is not a duration such as 500ms, 5s or 1m30s") from None


def ports(text: str) -> tuple[int, int]:
    """Read ``7882`` or ``7882-7890``. Raises ValueError."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ValueError("is neither a port nor a range such as 7882-7890")
    return int(first), int(last or first)


def addresses(text: str) -> tuple[str, ...]:
    """Read an address, or one of each family with a comma. Raises ValueError."""
    found = tuple(part.strip() for part in text.split(",")) if text else ()
    try:
        families = [ipaddress.ip_address(address).version for address in found]
    except ValueError:
        raise ValueError("is not an IPv4 or IPv6 address, or one of each with a comma") from None
    if len(set(families)) != len(families):
        raise ValueError("has more than one address of a family")
    return found


def check_port(name: str, port: int) -> None:
    """Raise ConfigError unless it is a port, or 0."""
    if not 0 <= port <= 65535:
        raise ConfigError(name, f"{port} is not between 0 and 65535")


@dataclass(slots=True)
class Reader:
    """Makes settings of a tree, and keeps what it had to leave out.

    Attributes:
        root: The class of all settings, where the nearest name is looked for.
        without_effect: Dotted names that are known besides.
        is_strict: Refuse unknown names instead of leaving them out.
        unsupported: Those of `without_effect` that were given.
        unknown: Dotted names that are not known, where that is no error.
    """

    root: type[Any]
    without_effect: frozenset[str] = frozenset()
    is_strict: bool = True
    unsupported: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def build(self, kind: type[T], tree: Tree, prefix: str = "") -> T:
        """Make an instance of a settings class.

        Args:
            kind: The class.
            tree: What is said of it; it is not changed.
            prefix: Where it is, with a dot at the end.

        Raises:
            ConfigError: A name is unknown, or a value is not of its kind.
        """
        given = dict(tree)
        values: dict[str, Any] = {}
        for member, key, hint in _members(kind):
            value = given.pop(key, None)
            if value is not None:
                values[member.name] = self._value(prefix + key, member.metadata.get("parse"), hint, value)
        for key, value in given.items():
            if prefix + key in self.without_effect:
                # Switched off is what it is here anyway.
                if value not in (None, "", "0", "false", [], {}):
                    self.unsupported.append(prefix + key)
            elif self.is_strict:
                raise ConfigError(prefix + key, f"is not a setting{self._nearest(kind, key, prefix)}")
            else:
                self.unknown.append(prefix + key)
        return kind(**values)

    def _value(self, name: str, parse: Callable[[str], Any] | None, hint: Any, value: Any) -> Any:
        if parse is not None:
            return _parse(name, parse, value)
        if is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(name, "has settings below it, indented")
            return self.build(typing.cast("type[Any]", hint), value, f"{name}.")
        if typing.get_origin(hint) is tuple:
            if not isinstance(value, list):
                raise ConfigError(name, "is a list, each entry on a line that begins with '- '")
            inner = typing.get_args(hint)[0]
            return tuple(self._value(f"{name}[{index}]", None, inner, entry) for index, entry in enumerate(value))
        if typing.get_origin(hint) is Mapping:
            if not isinstance(value, dict):
                raise ConfigError(name, "has lines of 'name: value' below it, indented, with a space after the colon")
            return {key: _parse(f"{name}.{key}", str, entry) for key, entry in value.items()}
        return _parse(name, _PARSERS[hint], value)

    def _nearest(self, kind: type[Any], key: str, prefix: str) -> str:
        """Guess what was meant: a name like it in this place, or the same name in another."""
        here = sorted(known for _, known, _ in _members(kind))
        others = [path.removeprefix(prefix) for path in sorted(self.without_effect) if path.startswith(prefix)]
        # Two letters changed places in "port" leave three quarters of it.
        if close := difflib.get_close_matches(key, here + others, 1, 0.7):
            return f"; did you mean {prefix}{close[0]}?"
        for path in _paths(self.root):
            if path.rsplit(".", 1)[-1] == key:
                return f" here; did you mean {path}?"
        return "; known here are " + ", ".join(here)


class _Loader(yaml.SafeLoader):
    """Knows text, lists, mappings and merging (``<<``), and nothing of numbers, dates or the many words for yes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse to hear two values for one name, of which PyYAML would take the second."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a name has to be text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# Only merge keys and nothing at all are told from text. (PyYAML's table is by first letter.)
_Loader.yaml_implicit_resolvers = {
    letter: kept
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [pair for pair in resolvers if pair[0] in ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:null")])
}


def _members(kind: type[Any]) -> Iterator[tuple[Field[Any], str, Any]]:
    """Every field that is read, its name in YAML, and its type without ``None``."""
    hints = typing.get_type_hints(kind)
    for member in fields(kind):
        key = member.metadata.get("key")
        if key != "":
            yield member, key or member.name, _without_none(hints[member.name])


def _paths(kind: type[Any], prefix: str = "") -> Iterator[str]:
    for _, key, hint in _members(kind):
        yield prefix + key
        if is_dataclass(hint):
            yield from _paths(typing.cast("type[Any]", hint), f"{prefix}{key}.")


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return getattr(hint, "__origin__", hint) if hint is Mapping else hint


def _parse(name: str, parse: Callable[[str], Any], value: Any) -> Any:
    if isinstance(value, (dict, list)) or value is None:
        raise ConfigError(name, "is one word, not a list and nothing indented")
    try:
        return parse(str(value))
    except ValueError as error:
        raise ConfigError(name, f"{value!r} {error}") from None


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("is neither true nor false")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("is not a number") from None


_BOOLEANS = dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "n", "f", "0"), False
)
_PARSERS: Mapping[Any, Callable[[str], Any]] = {bool: _boolean, int: _integer, float: _number, str: str}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
