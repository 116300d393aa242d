"""The TOML that nearly every `pacha.toml` is written in, read without tomllib.

Called by `core/toml_text` alone. Importing tomllib takes longer than most of what a host does for a push, and
every command reads a configuration; so what is plain is read here, with its lines in the same pass. It must
not guess, nor report errors: a text with anything in it that is not in the list below is tomllib's.

    [name]                  a table, each once, its name letters, digits, "_" and "-"
    name = value            the same
    "text"  'text'          without a backslash, on one line
    0  1  23                decimal, at most 18 digits
    true  false
    [ "one", 'two', ]       of texts, over any number of lines
    # to the end of a line
"""

from __future__ import annotations

from pacha.core.toml_lines import Place

Data = dict[str, object]

_BLANK = " \t"
_MOST_DIGITS = 18  # what 64 bits hold


class _NotPlainError(Exception):
    pass


def read_plain(text: str) -> tuple[Data, dict[Place, int]] | None:
    """What `tomllib.loads` and `toml_lines.line_numbers` say of it; None for what is not plain, or wrong."""
    if not text.replace("\n", "").replace("\t", "").isprintable():
        return None
    try:
        return _Plain(text.split("\n")).read()
    except (_NotPlainError, IndexError):
        return None


class _Plain:
    """One pass over the lines; `_at` is the number of the one that is read, from 1."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._data: Data = {}
        self._places: dict[Place, int] = {}

    def read(self) -> tuple[Data, dict[Place, int]]:
        table, above = self._data, Place()
        while self._at < len(self._lines):
            line = self._next()
            if line.startswith("["):
                name, found, rest = line[1:].partition("]")
                name = _bare(name)
                table = {}
                self._add(self._data, (), name, table)
                above = (name,)
                _nothing_more(rest if found else line)
            elif line:
                self._pair(table, above, line)
        return self._data, self._places

    def _next(self) -> str:
        """The next line, without the blanks around it, or a comment that is all of it."""
        self._at += 1
        line = self._lines[self._at - 1].strip(_BLANK)
        return "" if line.startswith("#") else line

    def _pair(self, table: Data, above: Place, line: str) -> None:
        name, found, rest = line.partition("=")
        name, rest = _bare(name), rest.lstrip(_BLANK)
        if not found:
            raise _NotPlainError
        self._add(table, above, name, None)
        if rest.startswith("["):
            table[name] = self._array((*above, name), rest[1:])
        elif rest.startswith(('"', "'")):
            table[name], rest = _text(rest)
            _nothing_more(rest)
        else:
            table[name] = _word(rest.partition("#")[0].rstrip(_BLANK))

    def _add(self, table: Data, above: Place, name: str, value: object) -> None:
        if name in table:
            raise _NotPlainError
        table[name] = value
        self._places[(*above, name)] = self._at

    def _array(self, place: Place, rest: str) -> list[str]:
        found: list[str] = []
        rest = self._within(rest)
        while not rest.startswith("]"):
            self._places[(*place, len(found))] = self._at
            one, rest = _text(rest)
            found.append(one)
            rest = self._within(rest)
            if rest.startswith(","):
                rest = self._within(rest[1:])
            elif not rest.startswith("]"):
                raise _NotPlainError
        _nothing_more(rest[1:])
        return found

    def _within(self, rest: str) -> str:
        """What stands next in an array, on whichever line."""
        rest = rest.lstrip(_BLANK)
        while not rest or rest.startswith("#"):
            rest = self._next()
        return rest


def _bare(name: str) -> str:
    name = name.strip(_BLANK)
    if not (name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()):
        raise _NotPlainError
    return name


def _text(rest: str) -> tuple[str, str]:
    """A text, and what stands behind it. Of three quotes the second ends it, and the third is no end."""
    value, found, after = rest[1:].partition(rest[:1])
    if rest[:1] not in ('"', "'") or not found or "\\" in value:
        raise _NotPlainError
    return value, after


def _word(word: str) -> object:
    if word in ("true", "false"):
        return word == "true"
    is_number = word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
    if not is_number or (word.startswith("0") and word != "0"):
        raise _NotPlainError
    return int(word)


def _nothing_more(rest: str) -> None:
    """But a comment."""
    rest = rest.lstrip(_BLANK)
    if rest and not rest.startswith("#"):
        raise _NotPlainError
