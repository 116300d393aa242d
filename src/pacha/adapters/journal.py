"""The journal: a plan being applied, with the images before and after, on the disk before anything changes.

Called by `ops/apply` and what settles its outcome (confirm, undo, the clean-up after a crash). One folder for
each plan, `<state>/journal/<id>/`:

    images    the contents before and after, one after another
    plan      JSON lines: first the header `{id, verb, host, target, wait_ns, config, deadline_ns}`, then one
              step a line, with both entries as metadata lines
    state     `{"state": "applied"}` from the moment when everything was done; until then it is being applied.
              What is known only then stands beside it
    timer     locked by the process that waits for the deadline

`deadline_ns`, in the plan or, if that has it, in the state, is set where the outcome is undone unless it
is confirmed in time. It must not touch a live file, nor know what a step means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pacha.adapters import disk
from pacha.adapters.lock import is_held, open_lock, try_lock
from pacha.core.entry import parse_entry, render_entry
from pacha.core.names import escape_all, unescape
from pacha.core.tracked import Blob, Recorded

APPLIED = "applied"


class Journal:
    """One journalled plan."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._images = -1
        self.header: dict[str, Any] = {}
        self.outcome: dict[str, Any] = {}
        self.steps: list[Recorded] = []

    @property
    def id(self) -> str:
        """What `pacha confirm` takes."""
        return os.path.basename(self._folder)

    @property
    def deadline_ns(self) -> int | None:
        """When it is to be undone unless it was confirmed; None where nothing waits for that."""
        deadline: int | None = self.outcome.get("deadline_ns", self.header.get("deadline_ns"))
        return deadline

    @property
    def is_applied(self) -> bool:
        """Whether everything was done."""
        return self.outcome.get("state") == APPLIED

    # -- making ------------------------------------------------------------------------------------

    def put(self, data: bytes) -> Blob:
        """Append an image; OSError where there is no space."""
        if self._images < 0:
            os.makedirs(self._folder, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._images = os.open(os.path.join(self._folder, "images"), flags, 0o600)
        offset = os.lseek(self._images, 0, os.SEEK_END)
        view = memoryview(data)
        while view:
            view = view[os.write(self._images, view) :]
        return Blob(offset, len(data))

    def arm(self, header: dict[str, Any], steps: Iterable[Recorded], deadline_ns: int | None) -> None:
        """Write the plan and bring everything to the disk: from here on a crash can be undone."""
        self.put(b"")
        os.fsync(self._images)
        self.header = {**header, "deadline_ns": deadline_ns}
        self.steps = list(steps)
        lines = [json.dumps(self.header), *(json.dumps(_dumped(step)) for step in self.steps)]
        self._write("plan", "\n".join([*lines, ""]), durably=True)
        disk.sync_folder(os.path.dirname(self._folder))

    def mark_applied(self, outcome: Mapping[str, Any] | None = None, *, durably: bool = False) -> None:
        """Everything was done. Unless it is `durably` so, or waits to be confirmed, this may be lost in a
        power cut: the operation counts as interrupted then.
        """
        self.mark(APPLIED, outcome, durably=durably or self.header.get("deadline_ns") is not None)

    def mark(self, state: str, outcome: Mapping[str, Any] | None = None, *, durably: bool = False) -> None:
        """Write down how far it is, with what is to be known of that."""
        self.outcome = {**(outcome or {}), "state": state}
        self._write("state", json.dumps(self.outcome), durably=durably)

    def discard(self) -> None:
        """It is settled: remove it. The plan goes first: half a journal must not be taken for a whole one."""
        if self._images >= 0:
            os.close(self._images)
            self._images = -1
        plan = os.path.join(self._folder, "plan")
        with suppress(FileNotFoundError):
            os.unlink(plan)
        # A folder of files and nothing else.
        with suppress(OSError):
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
            os.rmdir(self._folder)

    def _write(self, name: str, text: str, *, durably: bool) -> None:
        disk.replace(os.path.join(self._folder, name), text.encode(), durable=durably)

    # -- waiting -----------------------------------------------------------------------------------

    def begin_timer(self) -> bool:
        """Be who waits for the deadline, until this process ends; False where another is."""
        try:
            descriptor = open_lock(self._timer)
        except OSError:  # it was settled just now
            return False
        return try_lock(descriptor)

    @property
    def has_timer(self) -> bool:
        """Whether somebody waits for the deadline."""
        return is_held(self._timer)

    @property
    def _timer(self) -> str:
        return os.path.join(self._folder, "timer")

    # -- reading -----------------------------------------------------------------------------------

    def get(self, blob: Blob) -> bytes:
        """An image's bytes."""
        if self._images < 0:
            self._images = os.open(os.path.join(self._folder, "images"), os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._images, blob.length, blob.offset)

    def load(self) -> bool:
        """Read it from the disk; False where it never was complete, so that no live file was touched."""
        try:
            self.outcome = self._read_outcome()
            with open(os.path.join(self._folder, "plan"), encoding="utf-8") as handle:
                self.header, *steps = [json.loads(line) for line in handle]
        except (FileNotFoundError, ValueError):
            return False
        self.steps = [_loaded(step) for step in steps]
        return True

    def _read_outcome(self) -> dict[str, Any]:
        try:
            with open(os.path.join(self._folder, "state"), encoding="utf-8") as handle:
                return dict(json.load(handle))
        except (FileNotFoundError, TypeError, ValueError):  # an empty file after a power cut counts as none
            return {}


class Journals:
    """All journals of a state folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def new(self, identity: str) -> Journal:
        """A journal that is not on the disk yet."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        return Journal(os.path.join(self._folder, identity))

    def find(self, identity: str) -> Journal | None:
        """The complete journal of that name."""
        if identity != os.path.basename(identity) or identity in ("", ".", ".."):
            return None
        journal = Journal(os.path.join(self._folder, identity))
        return journal if journal.load() else None

    def any(self) -> bool:
        """Whether there is any, complete or not: one look at a folder."""
        try:
            return bool(os.listdir(self._folder))
        except FileNotFoundError:
            return False

    def all(self) -> Iterator[tuple[Journal, bool]]:
        """(journal, whether it is complete), the oldest name first."""
        for name in sorted(os.listdir(self._folder)) if self.any() else []:
            journal = Journal(os.path.join(self._folder, name))
            yield journal, journal.load()


def _dumped(step: Recorded) -> dict[str, object]:
    return {
        "path": escape_all(step.path).decode(),
        "before": step.before and escape_all(render_entry(step.before)).decode(),
        "after": step.after and escape_all(render_entry(step.after)).decode(),
        "before_data": step.before_data,
        "after_data": step.after_data,
    }


def _loaded(values: dict[str, Any]) -> Recorded:
    before, after = (
        parse_entry(unescape(values[key].encode())) if values[key] else None for key in ("before", "after")
    )
    blobs = (Blob(*values[key]) if values[key] is not None else None for key in ("before_data", "after_data"))
    return Recorded(unescape(values["path"].encode()), before, after, *blobs)
