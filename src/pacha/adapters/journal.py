"""The journal: a plan that is being applied, with the images before and after, on the disk before the first
live file changes.

Called by `ops/apply` and what settles its outcome (confirm, undo, the clean-up after a crash). One folder for
each plan, `<state>/journal/<id>/`:

    images    the contents before and after, one after another plan      JSON lines: first `{id, verb, host,
    made_ns, target, …}`, then one step a line with both entries as metadata lines state     one JSON object:
    `{state: applying|applied, deadline_ns, revision}`, replaced at one instant

It must not touch a live file, nor know what a step means.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from pacha.core.entry import parse_entry, render_entry
from pacha.core.names import escape_all, unescape
from pacha.core.tracked import Blob, Recorded


class Journal:
    """One journalled plan."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._images = -1
        self.header: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.steps: list[Recorded] = []

    @property
    def id(self) -> str:
        """What `pacha confirm` takes."""
        return os.path.basename(self._folder)

    # -- making
    # -----------------------------------------------------------------------------------------------

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
        self.header = header
        self.steps = list(steps)
        lines = [json.dumps(header), *(json.dumps(_dumped(step)) for step in self.steps)]
        self._write("plan", "\n".join([*lines, ""]))
        os.fsync(self._images)
        self.mark("applying", deadline_ns=deadline_ns)
        _sync(os.path.dirname(self._folder))

    def mark(self, state: str, **values: object) -> None:
        """Set the state, and further values of it, at one instant."""
        self.state = {**self.state, **values, "state": state}
        self._write("state", json.dumps(self.state))

    def discard(self) -> None:
        """It is settled: remove it. The state file goes first, so that half a journal is never taken for a
        whole one.
        """
        if self._images >= 0:
            os.close(self._images)
            self._images = -1
        state = os.path.join(self._folder, "state")
        if os.path.exists(state):
            os.unlink(state)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self._folder, name)
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(descriptor)
        os.rename(path + ".new", path)
        _sync(self._folder)

    # -- reading
    # ----------------------------------------------------------------------------------------------

    def get(self, blob: Blob) -> bytes:
        """An image's bytes."""
        if self._images < 0:
            self._images = os.open(os.path.join(self._folder, "images"), os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._images, blob.length, blob.offset)

    def load(self) -> bool:
        """Read it from the disk; False where it never was complete, so that no live file was touched."""
        try:
            with open(os.path.join(self._folder, "state"), encoding="utf-8") as handle:
                self.state = json.load(handle)
            with open(os.path.join(self._folder, "plan"), encoding="utf-8") as handle:
                self.header, *steps = [json.loads(line) for line in handle]
        except (FileNotFoundError, ValueError):
            return False
        self.steps = [_loaded(step) for step in steps]
        return True


class Journals:
    """All journals of a state folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def new(self, identity: str) -> Journal:
        """A journal that is not on the disk yet."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        return Journal(os.path.join(self._folder, identity))

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


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
