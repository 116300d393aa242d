"""What a host's end of a push says, and what it means: lines of JSON, or how ssh ended without them.

Called by `ops/push`. Whatever comes is somebody else's: only what has the documented form is taken over, and
nothing of it is run, expanded or formatted. It must not connect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pacha.core.ssh_trouble import FAILED as SSH_FAILED
from pacha.core.ssh_trouble import Trouble, explain, last_line

# How it ended at a host: nothing to do, changed, not done, undone, or never begun.
OK, CHANGED, FAILED, REVERTED, UNREACHABLE = STATES = ("ok", "changed", "failed", "reverted", "unreachable")

NO_PACHA, UNDONE, SILENT = "no-pacha", "undone", "silent"  # kinds of trouble

_LONGEST = 4000  # characters of a sentence of somebody else's
_NOT_FOUND, _NOT_RUN = 127, 126
_ABSENT = ("not found", "No such file or directory", "Unknown command")


class Line(NamedTuple):
    """A line that a host said, without its newline."""

    destination: str
    text: bytes


class Ended(NamedTuple):
    """The command at a host has ended: 255 is ssh's own failure, a negative number a signal's. `words`: what
    was on standard error.
    """

    destination: str
    exit: int
    words: str

    @property
    def is_stale(self) -> bool:
        """Whether a connection that was kept was none any more."""
        return self.exit == SSH_FAILED and "mux_client" in self.words


class Outcome(NamedTuple):
    """How it ended at one host. `answer` is the last line of the host's, empty where there was none."""

    destination: str
    state: str
    trouble: Trouble | None = None
    answer: Mapping[str, Any] = {}
    seconds: float = 0.0

    def listed(self, key: str) -> list[Mapping[str, Any]]:
        """The objects of a list in the answer; what is none is left out."""
        found = self.answer.get(key)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def lines(self, key: str) -> list[str]:
        """The texts of a list in the answer; what is none is left out."""
        found = self.answer.get(key)
        return [one[:_LONGEST] for one in found if isinstance(one, str)] if isinstance(found, list) else []

    @property
    def waits(self) -> bool:
        """Whether it is undone unless it is confirmed."""
        return self.is_done and bool(self.answer.get("confirm"))

    @property
    def is_done(self) -> bool:
        """Whether the host is now as it shall be."""
        return self.state in (OK, CHANGED)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """An object with a `phase`; None for what is no line of an answer."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("phase"), str) else None


def is_last(said: Mapping[str, Any]) -> bool:
    """Whether a line is the result."""
    return "ok" in said


def outcome(destination: str, said: Mapping[str, Any], seconds: float) -> Outcome:
    """What the last line says."""
    if said["ok"] is True:
        done = any(said.get(key) for key in ("steps", "packages", "services", "would_run"))
        return Outcome(destination, CHANGED if done else OK, None, said, seconds)
    state = REVERTED if said.get("reverted") is True else FAILED
    return Outcome(destination, state, _told(said.get("error")), said, seconds)


def broken(end: Ended, phase: str, seconds: float) -> Outcome:
    """What it means that there was no last line; `phase` is the last that the host spoke of, or empty."""
    # Where ssh itself fails, it says why: silence is that of a command that was killed.
    is_reached = bool(phase) or end.exit != SSH_FAILED or not end.words.strip()
    state = FAILED if is_reached else UNREACHABLE
    return Outcome(end.destination, state, _explain(end, phase), {}, seconds)


def silent(destination: str, patience: float, seconds: float) -> Outcome:
    """What it means that a host was connected to, and said nothing for so long."""
    return Outcome(destination, FAILED, silence(destination, patience), {}, seconds)


def silence(destination: str, patience: float) -> Trouble:
    """The same in words."""
    hint = f"push again when this answers at once: ssh {destination} true"
    return Trouble(SILENT, f"it has said nothing for {patience:g} s", hint)


def _told(error: object) -> Trouble:
    """The host's own words."""
    told = error if isinstance(error, dict) else {}
    kind, message, hint = (
        text[:_LONGEST] if isinstance(text := told.get(key), str) else ""
        for key in ("kind", "message", "hint")
    )
    return Trouble(kind or "failed", message or "it failed, and did not say why", hint)


def _explain(end: Ended, phase: str) -> Trouble:
    last = last_line(end.words)[:_LONGEST]
    hint = "push again: the host finishes or undoes what it had begun"
    if end.exit == SSH_FAILED and not last and not phase:
        return Trouble("lost", "it ended before it said anything", hint)
    if phase:
        if end.exit == SSH_FAILED:
            return Trouble("lost", f"the connection was lost during {phase}", hint)
        return Trouble("failed", f"it ended during {phase}: {last or f'exit {end.exit}'}", hint)
    if end.exit == SSH_FAILED:
        return explain(end.destination, end.words[-_LONGEST:])
    if end.exit == _NOT_FOUND or (end.exit == _NOT_RUN and any(text in last for text in _ABSENT)):
        return Trouble(NO_PACHA, "there is no Pacha on it", "--bootstrap brings it there")
    if "'receive' is no verb" in end.words:
        return Trouble(NO_PACHA, "its Pacha is too old to be pushed to", "--bootstrap brings this one there")
    return Trouble("failed", last or f"it ended with exit {end.exit}, and did not say why")
