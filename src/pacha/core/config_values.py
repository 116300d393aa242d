"""What one value in `pacha.toml` may be: a function for each sort, which returns the value as the program
wants it.

Called by `core/config`, which knows the keys and lines. Whatever does not fit is a WrongError with a clause
for the person who wrote it. It must not read a file, the environment or the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pacha.core.errors import ConfigError, UsageError
from pacha.core.patterns import translate
from pacha.core.quantities import DAY, parse_duration, parse_size

Value = TypeVar("Value")

_WEEK_NS = 7 * DAY


class WrongError(Exception):
    """A value does not fit; the message is a clause that says so."""


def is_host_name(text: str) -> bool:
    """Return True for 1 to 64 ASCII letters, digits, ".", "_" and "-", not beginning with "." or "-".

    Such a name is safe as a folder, on a command line and in an ssh destination.
    """
    return (
        1 <= len(text) <= 64
        and text[0] not in ".-"
        and all(c.isascii() and (c.isalnum() or c in "._-") for c in text)
    )


def kind(value: object) -> str:
    """What a value is, in words."""
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a table",
    }
    return kinds.get(type(value), "a date or time")


def misfit(value: object) -> str:
    """Return a clause that says so of a value, for the person who wrote it."""
    return (
        f"{value!r} does not fit" if isinstance(value, str | int | float) else f"{kind(value)} does not fit"
    )


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise WrongError(misfit(value))
    return value


def optional(convert: Callable[[object], Value]) -> Callable[[object], Value | None]:
    """The same sort, or None."""
    return lambda value: None if value is None else convert(value)


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongError(misfit(value))
    return value


def line(value: object) -> str:
    """A text on one line that says something."""
    given = text(value)
    if not given.strip() or not given.isprintable():
        raise WrongError(misfit(given))
    return given.strip()


def word(value: object) -> str:
    """What becomes an argument of ssh or of a package tool, where a leading dash would be an option."""
    given = line(value)
    if given.startswith("-") or " " in given:
        raise WrongError(misfit(given))
    return given


def name(value: object) -> str:
    """The name of a host or a deployment."""
    given = text(value)
    if not is_host_name(given):
        raise WrongError(misfit(given))
    return given


def destination(value: object) -> str:
    """Where ssh can go."""
    given = word(value)
    if given.startswith("@"):
        raise WrongError(f"{given!r} looks like a group, and groups do not nest")
    return given


def path(value: object) -> bytes:
    """An absolute path, normalised."""
    given = text(value)
    names = [part for part in given.split("/") if part not in ("", ".")]
    if not given.startswith("/"):
        raise WrongError(f"{given!r} is not absolute")
    if ".." in names:
        raise WrongError(f"{given!r} holds ..")
    if "\0" in given:
        raise WrongError(f"{given!r} holds a NUL byte")
    return ("/" + "/".join(names)).encode("utf-8", "surrogateescape")


def pattern(value: object) -> str:
    """A pattern over paths, as `core/patterns` takes it."""
    given = text(value)
    try:
        translate(given)
    except ConfigError as error:
        raise WrongError(f"{error} ({error.hint})" if error.hint else f"{error}") from error
    return given


def expression(value: object) -> str:
    """A regular expression, as `core/normalize` takes it."""
    from pacha.core.normalize import compiled

    given = text(value)
    try:
        compiled(given)
    except ValueError as error:
        raise WrongError(f"{given!r} {error}") from error
    return given


def recipient(value: object) -> str:
    """A public key that contents can be encrypted for."""
    from pacha.core.recipients import parse_recipient

    given = line(value)
    try:
        parse_recipient(given)
    except ValueError as problem:
        raise WrongError(f"{given!r} {problem}") from problem
    return given


def preflight(value: object) -> str:
    """One of two words."""
    given = text(value)
    if given not in ("try", "require"):
        raise WrongError(misfit(given))
    return given


def duration(value: object) -> int:
    """A duration in nanoseconds."""
    try:
        return parse_duration(text(value))
    except UsageError:
        raise WrongError(misfit(value)) from None


def second_or_more(value: object) -> int:
    """A duration of at least a second."""
    given = duration(value)
    if given < 1_000_000_000:
        raise WrongError(misfit(value))
    return given


def interval(value: object) -> int:
    """A duration of at least a second and at most a week."""
    given = second_or_more(value)
    if given > _WEEK_NS:
        raise WrongError(misfit(value))
    return given


def size(value: object) -> int:
    """A size in bytes."""
    if not isinstance(value, str):
        raise WrongError(misfit(value))
    try:
        return parse_size(value)
    except UsageError:
        raise WrongError(misfit(value)) from None
