"""Copies here of histories that servers keep: a folder `<state>/fetched/SERVER/HOST/` for each.

Made by `cli/session` for `ops/fetch`. They are a cache, apart from this machine's own store and as private as
the state folder: whatever is wrong with one, it is fetched again. `fetched.json` beside `.hg` says of which
state of the server's forgetting it is. It must not read a history.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pacha.adapters.disk import replace
from pacha.adapters.lock import take_patiently

_PATIENCE = 30.0
_BUILT = "new."


class Copies:
    """All of one state folder."""

    def __init__(self, state: str) -> None:
        self._folder = os.path.join(state, "fetched")

    def of(self, address: str, host: str) -> Copy:
        """That of one host, whose name the caller has checked, from one server."""
        return Copy(os.path.join(self._folder, urllib.parse.quote(address, safe="@"), host))


class Copy:
    """One: `path` is the folder that holds its `.hg`, which need not exist."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.path = os.fsencode(folder)
        self._mark = os.path.join(folder, "fetched.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one who brings it up to date; Busy where another is at it for long."""
        server = os.path.dirname(self._folder)
        for path in (
            os.path.dirname(server),
            server,
            self._folder,
        ):  # makedirs gives its mode to the last only
            os.makedirs(path, mode=0o700, exist_ok=True)
        path = os.path.join(self._folder, "lock")
        file = take_patiently(path, _PATIENCE, "another Pacha is fetching this history")
        try:
            yield
        finally:
            os.close(file)

    def mark(self) -> int | None:
        """What `put` was told of it last; None where it was never whole."""
        try:
            with open(self._mark, encoding="utf-8") as file:
                forgotten = json.load(file)["forgotten"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return forgotten if type(forgotten) is int else None

    def begin(self) -> bytes:
        """A path for a repository to be made at, which does not exist; what was left half-made is removed.

        It is another each time: the Mercurial child of a Pacha that was killed goes on for a moment.
        """
        with suppress(FileNotFoundError):
            for left in os.listdir(self._folder):
                if left.startswith(_BUILT):
                    shutil.rmtree(os.path.join(self._folder, left), ignore_errors=True)
        return os.fsencode(os.path.join(self._folder, f"{_BUILT}{time.time_ns():x}"))

    def put(self, built: bytes, mark: int) -> None:
        """Put what was made there in the place of what was here."""
        with suppress(FileNotFoundError):
            os.unlink(self._mark)
        old = os.path.join(self._folder, "old")
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.rename(os.path.join(self._folder, ".hg"), old)
        os.rename(os.path.join(os.fsdecode(built), ".hg"), os.path.join(self._folder, ".hg"))
        replace(self._mark, json.dumps({"forgotten": mark}).encode())
        for left in (old, os.fsdecode(built)):
            shutil.rmtree(left, ignore_errors=True)
