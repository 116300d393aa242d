"""A revision: one capture in a host's history, and what Pacha adds to Mercurial's own record of it.

Called by the store (which reads and writes them), admission and everything that shows history. It must not
read the clock or the store. `extra["pacha"]` of each revision is one JSON object `{v, host, machine, seq,
time_ns, cause, who}`, `hooks` with the output of those that ran, and `again` where it was made once before.
Mercurial keeps dates as 32-bit seconds; the true time is `time_ns`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FORMAT = 1
REBUILD = "rebuild"  # the cause of a revision with which a machine became the host
PART_REBUILD = "rebuild-part"  # … of one with which the host got single paths back
# What a machine had before it was rebuilt, and what a rebuild left that could not, or was not to, bring back
# everything: what such a state owes, `core/owed` says.
BEFORE_REBUILD, SHORT_REBUILD = "before-rebuild", "rebuild-short"
_DATE_MIN, _DATE_MAX = -0x80000000, 0x7FFFFFFF


class Stamp(NamedTuple):
    """What `extra["pacha"]` holds."""

    host: str
    machine: str  # machine-id of the host that made the revision
    seq: int  # place in the line, from 1
    time_ns: int  # nanoseconds since the epoch
    cause: str  # the verb, or what the agent saw
    who: tuple[dict[str, Any], ...] = ()  # {user, login, exe, command} of each writer that is known
    hooks: tuple[dict[str, Any], ...] = ()  # {name, exit, output} of the hooks that ran before the revision
    v: int = FORMAT
    again: str = ""  # full hash of the same revision before it was put on top of its server's line

    def encode(self) -> bytes:
        """The JSON text, ASCII only."""
        import json

        values = {
            key: value for key, value in self._asdict().items() if value or key not in ("hooks", "again")
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, text: bytes) -> Stamp:
        """Raise ValueError where `text` is not such an object; keys that a later version added are passed
        over.
        """
        import json

        values = json.loads(text)
        kinds = {"host": str, "machine": str, "seq": int, "time_ns": int, "cause": str, "v": int}
        if not isinstance(values, dict) or any(
            not isinstance(values.get(key), kind) or isinstance(values[key], bool)
            for key, kind in kinds.items()
        ):
            raise ValueError("not a revision of Pacha's")
        lists = {key: values.get(key, []) for key in ("who", "hooks")}
        if any(not isinstance(v, list) or any(not isinstance(i, dict) for i in v) for v in lists.values()):
            raise ValueError("not a revision of Pacha's")
        known = {key: values[key] for key in kinds}
        again = values.get("again", "")
        if not isinstance(again, str):
            raise ValueError("not a revision of Pacha's")
        return cls(**known, again=again, who=tuple(lists["who"]), hooks=tuple(lists["hooks"]))


class Revision(NamedTuple):
    """One revision of the line, as the store has it."""

    position: int  # Mercurial's revision number, from 0; the order of history
    node: str  # the full hash
    author: str
    message: str
    stamp: Stamp
    files: tuple[bytes, ...]  # store paths that it touches

    @property
    def id(self) -> str:
        """The short hash that people see and type."""
        return self.node[:12]

    def dump(self) -> bytes:
        """As the index keeps the last one, without its files: so that `status` need not ask the store."""
        import json

        return json.dumps(
            [self.position, self.node, self.author, self.message, self.stamp.encode().decode()]
        ).encode()

    @classmethod
    def load(cls, text: bytes) -> Revision:
        """Undo `dump`."""
        import json

        position, node, author, message, stamp = json.loads(text)
        return cls(position, node, author, message, Stamp.decode(stamp.encode()), ())


def mercurial_date(time_ns: int) -> int:
    """Whole seconds within what Mercurial can hold."""
    return max(_DATE_MIN, min(_DATE_MAX, time_ns // 1_000_000_000))


def clean_text(text: str) -> str:
    """Valid UTF-8 without control characters but newline and tab, for a message: what Mercurial and terminals
    can take.
    """
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(
        c if c in "\n\t" or (c.isprintable()) else "\N{REPLACEMENT CHARACTER}" for c in valid
    ).strip()


def clean_author(text: str) -> str:
    """One line, never empty: Mercurial refuses anything else as a user."""
    return " ".join(clean_text(text).split()) or "unknown"
