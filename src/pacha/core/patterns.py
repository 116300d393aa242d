r"""Patterns over host paths: which entries are ignored, and which are secrets.

Called by the scanner for every entry that it sees, by the configuration to check what a person wrote, and by
whatever asks whether a path was covered. Knows no file system: the caller says what is a directory.

    NAME            without "/": any entry of that name, at any depth         *.pyc   4913   cache/
    /PATH           the absolute path                                         /etc/mtab   /etc/ssl/*.key
    **/PATH         that path at any depth                                    **/ssl/private
    *  ?  [a-p] [!a-p]   any characters, one character, one of these; never "/"
    **              like *, but across "/"; "/etc/x/**" is all below /etc/x, not /etc/x itself
    \*              the character itself
    …/              a "/" at the end: directories only

What lies below a matching directory matches as well. Paths are bytes; where they are not UTF-8, one byte
counts as one character.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pacha.core.errors import ConfigError

# What editors and dpkg leave lying about for a moment: never worth a revision, on any host.
BUILT_IN = (".*.sw[a-p]", "4913", "?*~", ".#*", "#?*#", "*.dpkg-new", "*.dpkg-tmp")


class Pattern(NamedTuple):
    """A pattern as a regular expression over one name, or over a whole path."""

    regex: str
    is_path: bool
    only_directories: bool


class Ignore:
    """The built-in patterns and those given; raises ConfigError that names the first invalid one."""

    def __init__(self, patterns: Iterable[str], *, built_in: bool = True) -> None:
        texts = [*(BUILT_IN if built_in else ()), *patterns]
        self._patterns = [translate(text) for text in texts]
        self._has_paths = any(pattern.is_path for pattern in self._patterns)
        # Compiled on first use: a command that asks a running agent never needs them.
        self._names: tuple[Any, Any] | None = None
        self._paths: tuple[Any, Any] | None = None

    def matches(self, path: bytes, is_dir: bool = False) -> bool:
        """Return True if `path` (absolute) or a directory above it is ignored; `is_dir`: is `path` one?"""
        parent = b""
        names = path.strip(b"/").split(b"/")
        for name in names[:-1]:
            if self.matches_entry(parent, name, True):
                return True
            parent += b"/" + name
        return self.matches_entry(parent, names[-1], is_dir)

    def matches_entry(self, parent_path: bytes, name: bytes, is_dir: bool) -> bool:
        """Decide about one entry of a directory that is known not to be ignored: what a scanner asks."""
        if self._names is None or self._paths is None:
            self._names = self._compile(is_path=False)
            self._paths = self._compile(is_path=True)
        if self._names[is_dir](name.decode("utf-8", "surrogateescape")):
            return True
        if not self._has_paths:
            return False
        path = parent_path + b"/" + name if parent_path != b"/" else b"/" + name
        return bool(self._paths[is_dir](path.decode("utf-8", "surrogateescape")))

    def _compile(self, *, is_path: bool) -> tuple[Any, Any]:
        """Return the matching functions for what is no directory and for what is one."""
        import re

        mine = [pattern for pattern in self._patterns if pattern.is_path == is_path]
        anything = [pattern.regex for pattern in mine if not pattern.only_directories]
        directories = [pattern.regex for pattern in mine]
        # (?!) matches nothing, where there is no pattern of this sort.
        return (
            re.compile("|".join(anything) or "(?!)", re.DOTALL).fullmatch,
            re.compile("|".join(directories) or "(?!)", re.DOTALL).fullmatch,
        )


def translate(text: str) -> Pattern:
    """Make one pattern a regular expression. ConfigError names the pattern and what is wrong with it."""
    body = text[:-1] if text.endswith("/") and not text.endswith("\\/") else text
    _check(text, body)
    if "/" not in body:
        return Pattern(_regex(_tokens(text, body)), False, body != text)
    prefix = "(?:/.*)?" if body.startswith("**/") else ""
    tokens = _tokens(text, body[2:] if prefix else body)
    return Pattern(prefix + _regex(tokens), True, body != text)


def _invalid(text: str, problem: str, hint: str = "") -> ConfigError:
    return ConfigError(f"the pattern {text!r} {problem}", hint=hint)


def _check(text: str, body: str) -> None:
    """Refuse what could never match, or would match other than the person meant."""
    if not body:
        raise _invalid(text, "is empty" if not text else "names no entry")
    if "\0" in body:
        raise _invalid(text, "holds a NUL byte, which no name can hold")
    if body.startswith("!"):
        hint = 'leave it out; for a name that begins with "!" write "\\!"'
        raise _invalid(text, 'begins with "!", but there are no exceptions from patterns', hint)
    if "/" in body and not body.startswith(("/", "**/")):
        raise _invalid(text, "is a relative path", f'write it as "/…" or "**/{body}"')
    if any(name in ("", ".", "..") for name in body.removeprefix("/").split("/")):
        raise _invalid(text, 'holds an empty, "." or ".." component and could never match')


_STAR, _STARS, _SLASH = "*", "**", "/"


def _tokens(text: str, body: str) -> list[str]:
    """Cut the pattern into wildcards, slashes and pieces of regular expression for one character each."""
    tokens: list[str] = []
    at = 0
    while at < len(body):
        character = body[at]
        if character == "*":
            end = at
            while end < len(body) and body[end] == "*":
                end += 1
            tokens.append(_STAR if end - at == 1 else _STARS)
            at = end
        elif character == "[":
            piece, at = _character_class(text, body, at)
            tokens.append(piece)
        elif character == "\\":
            if at + 1 == len(body) or body[at + 1] == "/":
                raise _invalid(text, 'has a "\\" before nothing', 'write "\\\\" for the character itself')
            tokens.append(_literal(body[at + 1]))
            at += 2
        else:
            tokens.append({"?": "[^/]", "/": _SLASH}.get(character) or _literal(character))
            at += 1
    return tokens


def _literal(character: str) -> str:
    # As re.escape does, without importing re. Never a bare "*" or "/", which are tokens of their own.
    return character if character.isalnum() or character in "_-~#@:,%=" else _escaped(character)


def _escaped(character: str) -> str:
    return (
        f"\\{character}"
        if character.isascii() and character.isprintable() and character != " "
        else f"[{character}]"
    )


def _character_class(text: str, body: str, start: int) -> tuple[str, int]:
    """Return the class that opens at `start` as a regular expression, and the position behind its "]"."""
    at = start + 1
    negated = body[at : at + 1] in ("!", "^")
    at += negated
    end = body.find("]", at + 1)
    members = body[at:end]
    if end < 0 or "/" in members:
        raise _invalid(text, 'has a "[" without its "]"', 'write "\\[" for the character itself')
    if members.startswith("[:"):
        raise _invalid(text, "names a class of characters, which is not known here", 'write it out: "[a-z]"')
    pieces = []
    while members:
        width = 3 if len(members) > 2 and members[1] == "-" else 1
        low, high = members[0], members[width - 1]
        if high < low:
            raise _invalid(text, f'has the range "{low}-{high}" the wrong way round')
        pieces.append(f"{_class_member(low)}-{_class_member(high)}")
        members = members[width:]
    return (f"[^/{''.join(pieces)}]" if negated else f"(?!/)[{''.join(pieces)}]"), end + 1


def _class_member(character: str) -> str:
    return f"\\{character}" if character in "\\]^-[&~|" else character


def _regex(tokens: list[str]) -> str:
    parts: list[str] = []
    at = 0
    while at < len(tokens):
        token, first = tokens[at], at == 0 or tokens[at - 1] == _SLASH
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if token == _STARS:
            if at and first and following == _SLASH:
                parts.append("(?:.*/)?")
                at += 1
            else:
                parts.append(".+" if first and not following else ".*")
        elif token == _STAR:
            piece = _piece_between_stars(tokens, at + 1)
            if piece:
                # Atomic, as the leftmost match is always good enough: no name can make this slow.
                parts.append(f"(?>[^/]*?{''.join(piece)})")
            else:
                parts.append("[^/]+" if first and following in ("", _SLASH) else "[^/]*")
            at += len(piece)
        else:
            parts.append(token)
        at += 1
    return "".join(parts)


def _piece_between_stars(tokens: list[str], start: int) -> list[str]:
    """Return the characters from `start` to the next star of the same component; empty without one."""
    for at in range(start, len(tokens)):
        if tokens[at] in (_STAR, _STARS):
            return tokens[start:at]
        if tokens[at] == _SLASH:
            break
    return []
