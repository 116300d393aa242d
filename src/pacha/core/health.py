"""What a host tells its servers of itself, at least once an hour, whether anything changed or not.

Called by the sending side, which makes it, and by the server's session, which keeps the last one of each
host. A server believes none of it: it is shown, and decides nothing. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LONGEST = 4096  # bytes, as it goes over the wire
_MOST_WORDS, _LONGEST_WORDS = 5, 160
_LARGEST = 1 << 62


class Health(NamedTuple):
    """`time_ns` is the host's own clock; `agent` whether one runs there all the time."""

    time_ns: int
    version: str
    agent: bool
    backlog: int  # revisions that some server has not got
    skipped: int  # what could not be taken as it is
    degraded: Sequence[str] = ()  # what is watched worse than it should be, in words
    problem: str = ""  # why captures fail

    def encode(self) -> bytes:
        """As it goes over the wire; what is too long is cut."""
        short = self._replace(
            version=_cut(self.version),
            degraded=[_cut(words) for words in self.degraded[:_MOST_WORDS]],
            problem=_cut(self.problem),
        )
        return json.dumps(short._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Health:
        """Raise ValueError for what `encode` cannot have made; fields that are not known are passed over."""
        if len(data) > LONGEST:
            raise ValueError("it is too long")
        try:
            values = json.loads(data)
        except RecursionError as problem:
            raise ValueError("it is nested too deeply") from problem
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        return cls.of({field: values.get(field) for field in cls._fields})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Health:
        """The same of the fields themselves."""
        numbers = [values["time_ns"], values["backlog"], values["skipped"]]
        if any(type(number) is not int or not 0 <= number <= _LARGEST for number in numbers):
            raise ValueError("a number is none, or out of range")
        degraded = values["degraded"]
        if type(values["agent"]) is not bool or not isinstance(degraded, list) or len(degraded) > _MOST_WORDS:
            raise ValueError("a field is of another kind")
        if not all(map(_is_text, (values["version"], values["problem"], *degraded))):
            raise ValueError("a text is none, or too long")
        return cls(**values)

    @property
    def ails(self) -> list[str]:
        """What a person should look after, in few words; empty where all is well."""
        found = []
        if self.problem:
            found.append(f"captures fail: {self.problem}")
        if self.backlog:
            found.append(f"backlog {self.backlog:,}")
        if self.skipped:
            found.append(f"{self.skipped:,} skipped")
        return [*found, *self.degraded]


def _cut(words: str) -> str:
    clean = words.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= _LONGEST_WORDS else f"{clean[: _LONGEST_WORDS - 1]}…"


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_WORDS:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character, as JSON can write it
        return False
    return True
