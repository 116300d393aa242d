"""What servers are asked to forget and have not done yet: `<state>/forgets.json`.

Called by `ops/forget`, and by the processes that send to each server, which may be several at once: every
change is made under a lock of its own. It lies beside the index and not in it, since it is no cache: what is
asked for waits until it is done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable

from pacha.adapters.disk import replace
from pacha.adapters.lock import open_lock, take
from pacha.core.asked import NAME, Asked


class Forgets:
    """Those of one state folder."""

    def __init__(self, state: str) -> None:
        self._path = os.path.join(state, NAME)

    def all(self) -> list[Asked]:
        """Everything that some server has not done, oldest first."""
        try:
            with open(self._path, encoding="utf-8") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            return []
        return [
            Asked(os.fsencode(one["path"]), bytes.fromhex(one["keep"]), one["time_ns"], one["servers"])
            for one in found
        ]

    def ask(self, path: bytes, keep: bytes, now_ns: int, servers: Iterable[str]) -> None:
        """Add one. The same again is asked anew of all, whatever they said."""

        def change(before: list[Asked]) -> list[Asked]:
            others = [one for one in before if (one.path, one.keep) != (path, keep)]
            return [*others, Asked(path, keep, now_ns, dict.fromkeys(servers, ""))]

        self._change(change)

    def answered(self, asked: Asked, server: str, refusal: str) -> None:
        """A server has done it, or refuses in words."""

        def change(before: list[Asked]) -> list[Asked]:
            return [_answered(one, server, refusal) if one[:3] == asked[:3] else one for one in before]

        self._change(change)

    def _change(self, change: Callable[[list[Asked]], list[Asked]]) -> None:
        file = open_lock(f"{self._path}.lock")
        try:
            take(file)
            wanted = [
                {**one._asdict(), "path": os.fsdecode(one.path), "keep": one.keep.hex()}
                for one in change(self.all())
                if one.servers
            ]
            if wanted or os.path.exists(self._path):
                replace(self._path, json.dumps(wanted).encode())
        finally:
            os.close(file)


def _answered(asked: Asked, server: str, refusal: str) -> Asked:
    left = {address: words for address, words in asked.servers.items() if address != server}
    return asked._replace(servers={**left, server: refusal} if refusal else left)
