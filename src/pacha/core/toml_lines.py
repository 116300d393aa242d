"""On which line of a TOML text each key and each array element stands, which tomllib does not tell.

Called by the configuration alone, to name the line of a wrong value. The text must have passed tomllib, or
have failed there by a key that is given twice: the walk below trusts its grammar, and reports no errors of
its own.
"""

from __future__ import annotations

# A key's path through tables and arrays: ("push", "pull", 0) is the first element of `pull` in `[push]`.
Place = tuple[str | int, ...]

_BLANK = " \t"
_BARE_END = "=.]} \t\r\n,#"


def line_numbers(text: str) -> dict[Place, int]:
    """Line numbers from 1. A table counts where it is first named, a multi-line value where it begins."""
    walk = _Walk(text)
    walk.document()
    return walk.lines


def given_twice(text: str) -> tuple[Place, int, int] | None:
    """The first key or table that is given a second time, and the lines of both; None where there is none."""
    walk = _Walk(text, once=True)
    try:
        walk.document()
    except _TwiceError as problem:
        return problem.place, walk.lines[problem.place], problem.line
    except (IndexError, ValueError, RecursionError):  # what follows is no TOML
        pass
    return None


class _TwiceError(Exception):
    def __init__(self, place: Place, line: int) -> None:
        super().__init__(place)
        self.place = place
        self.line = line


class _Walk:
    """One pass over the text, character by character; `at` is where it stands. With `once` it stops at what
    is given a second time.
    """

    def __init__(self, text: str, once: bool = False) -> None:
        self._given: set[Place] | None = set() if once else None
        self.text = text
        self.at = 0
        self.lines: dict[Place, int] = {}
        self._line = 1
        self._counted = 0

    def document(self) -> None:
        table: Place = ()
        while self._skip(_BLANK + "\r\n"):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        line = self._line_now()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        table = self._resolve(self._key())
        self.at = self.text.index("]", self.at) + (2 if is_array else 1)
        self._note(table, line, again=is_array)
        if is_array:
            count = 0
            while (*table, count) in self.lines:
                count += 1
            table = (*table, count)
            self.lines[table] = line
        return table

    def _resolve(self, key: Place) -> Place:
        """`[a.b]` below `[[a]]` means the last element of `a`."""
        place: Place = ()
        for at, part in enumerate(key):
            place = (*place, part)
            last = 0
            while at + 1 < len(key) and (*place, last) in self.lines:
                last += 1
            if last:
                place = (*place, last - 1)
        return place

    def _pair(self, table: Place) -> None:
        line = self._line_now()
        place = table + self._key()
        self._note(place, line)
        self._skip(_BLANK)
        self.at += 1  # the "="
        self._value(place)

    def _note(self, place: Place, line: int, again: bool = False) -> None:
        """Record a place (which may come `again`) and, where they are named for the first time, the tables
        above it.
        """
        if self._given is not None and not again:
            if place in self._given:
                raise _TwiceError(place, line)
            self._given.add(place)
        for length in range(1, len(place) + 1):
            self.lines.setdefault(place[:length], line)

    def _key(self) -> Place:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            if self.text[self.at] in "\"'":
                parts.append(self._quoted_key())
            else:
                start = self.at
                while self.text[self.at] not in _BARE_END:
                    self.at += 1
                parts.append(self.text[start : self.at])
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _quoted_key(self) -> str:
        start = self.at
        self._string()
        if self.text[start] == "'" or "\\" not in self.text[start : self.at]:
            return self.text[start + 1 : self.at - 1]
        import tomllib

        return str(tomllib.loads("x=" + self.text[start : self.at])["x"])

    def _value(self, place: Place) -> None:
        self._skip(_BLANK)
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(place)
        elif first == "{":
            self._inline_table(place)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _array(self, place: Place) -> None:
        self.at += 1
        element = 0
        while self._skip(_BLANK + "\r\n,") and self.text[self.at] != "]":
            self.lines[(*place, element)] = self._line_now()
            self._value((*place, element))
            element += 1
        self.at += 1

    def _inline_table(self, place: Place) -> None:
        self.at += 1
        while self._skip(_BLANK + "\r\n,") and self.text[self.at] != "}":
            self._pair(place)
        self.at += 1

    def _string(self) -> None:
        """Step over a string of any of the four kinds."""
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.at += 3
            while not self.text.startswith(quote * 3, self.at):
                self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            self.at += 3
            # Up to two quotes may stand directly before the closing three.
            while self.text.startswith(quote, self.at):
                self.at += 1
            return
        self.at += 1
        while self.text[self.at] != quote:
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += 1

    def _skip(self, blanks: str) -> bool:
        """Step over blanks, and over comments where a line may end; False at the end of the text."""
        while self.at < len(self.text):
            if self.text[self.at] in blanks:
                self.at += 1
            elif self.text[self.at] == "#" and "\n" in blanks:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True
        return False

    def _line_now(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line
