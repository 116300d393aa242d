r"""Volatile lines: what is left of a file's content where `[[normalize]]` says that some lines do not count.

Called by the configuration, which checks what a person wrote, and by the scan, which asks whether two
contents differ in anything else. It must not read anything. What is stored is always the whole content.

A line is what stands between two newlines. An expression is searched in it (`^` and `$` anchor it) as UTF-8,
without its end (`\n` or `\r\n`); a byte that is not valid there counts as one character. Nothing is dropped
from a content that holds a NUL byte or is larger than LARGEST, and no line that is longer than LONGEST: an
expression that takes the square of a line's length is easily written, and must not hold up an agent. One that
takes still longer is the affair of who wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.digests import hexdigest
from pacha.core.patterns import Ignore

if TYPE_CHECKING:
    import re

LARGEST = 1_000_000  # bytes
LONGEST = 2_000  # characters
# Part of every digest of rules: another number where the same expressions drop other lines than before.
_VERSION = "1"


class Table(NamedTuple):
    """One `[[normalize]]`: lines in which an expression of `drop` is found, of files that `paths` match."""

    paths: tuple[str, ...]
    drop: tuple[str, ...]


class Normal(NamedTuple):
    """What a content comes to: the digest of it whole, of the rules, and of what these leave of it."""

    sha256: bytes
    rules: bytes
    digest: bytes


class Normalize:
    """All tables of a configuration; false where there is none."""

    def __init__(self, tables: Iterable[Table] = ()) -> None:
        self._tables = [(Ignore(table.paths, built_in=False), table.drop) for table in tables]

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._tables)

    def drops(self, path: bytes) -> tuple[str, ...]:
        """The expressions for a file: those of every table that it matches, each once, sorted."""
        return tuple(sorted({each for paths, drop in self._tables if paths.matches(path) for each in drop}))


@lru_cache(maxsize=256)
def compiled(expression: str) -> re.Pattern[str]:
    """Raise ValueError, with a clause that says what is wrong, for what is no regular expression."""
    import re
    import warnings

    if not expression:
        raise ValueError("would drop every line")
    try:
        with warnings.catch_warnings():
            # `[[:digit:]]` is no class of digits here: better refused than taken for something else.
            warnings.simplefilter("error")
            return re.compile(expression)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"is not a regular expression of Python's: {problem}") from error


def rules_digest(drops: Iterable[str]) -> bytes:
    """What tells one set of expressions from another."""
    text = "\0".join([_VERSION, *sorted(drops)])
    return hexdigest(text.encode("utf-8", "surrogatepass")).encode()


def kept(content: bytes, drops: Iterable[str]) -> bytes | None:
    """The content without the lines that the expressions drop; None where it is none to drop lines from."""
    if len(content) > LARGEST or b"\0" in content:
        return None
    searches = [compiled(each).search for each in drops]
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    last = lines.pop()  # what follows the last newline is a line only where there is something
    left = [f"{line}\n" for line in lines if not _found(line.removesuffix("\r"), searches)]
    if last and not _found(last.removesuffix("\r"), searches):
        left.append(last)
    return "".join(left).encode("utf-8", "surrogateescape")


def _found(line: str, searches: Iterable[Callable[[str], object]]) -> bool:
    return len(line) <= LONGEST and any(search(line) for search in searches)


def normal_digest(content: bytes, drops: Iterable[str]) -> bytes | None:
    """The digest of what is left of a content; None where nothing can be dropped from it."""
    left = kept(content, drops)
    return None if left is None else hexdigest(left).encode()
