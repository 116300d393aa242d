"""How the pulls ended that the configuration asks for: one file for each deployment, in `<state>/pulls/`.

Written by whoever pulls, the agent or a person; read by `status`, and by the agent when it starts. What is
kept is shown, and decides when to pull next, and nothing else: it need not survive a power cut. It imports
what the idle agent has in memory anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pacha.adapters import disk

_KINDS = {"deployment": str, "server": str, "time_ns": int, "done_ns": int, "since_ns": int}


class Pulls:
    """Those of one state folder. An object each: `{deployment, server, time_ns, done_ns, since_ns, error}`,
    of which `time_ns` is when it was last tried, `done_ns` when it last worked (0: never), and `since_ns`
    since when it has not, with the `error` that it ended with, else null.
    """

    def __init__(self, state: str) -> None:
        self._folder = os.path.join(state, "pulls")

    def all(self) -> list[dict[str, Any]]:
        """Of each deployment, by name; what cannot be read is not there."""
        try:
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        except OSError:
            return []
        return [found for found in map(self.of, names) if found]

    def of(self, name: str) -> dict[str, Any]:
        """Of one deployment; nothing where it was never pulled."""
        with suppress(OSError, ValueError), open(os.path.join(self._folder, name), encoding="utf-8") as file:
            found = json.load(file)
            if isinstance(found, dict) and all(type(found.get(key)) is kind for key, kind in _KINDS.items()):
                return {"error": None, **found}
        return {}

    def note(self, name: str, now_ns: int, server: str, error: dict[str, str] | None) -> None:
        """How it has ended; nothing of that may fail what has been done."""
        before = self.of(name)
        since = 0 if error is None else (before.get("since_ns") or now_ns)
        values = {
            "deployment": name, "server": server or before.get("server", ""), "time_ns": now_ns,
            "done_ns": before.get("done_ns", 0) if error else now_ns, "since_ns": since, "error": error,
        }  # fmt: skip
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            disk.replace(os.path.join(self._folder, name), json.dumps(values).encode(), durable=False)

    def keep_only(self, wanted: Collection[str]) -> None:
        """Forget those that the configuration asks for no more."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in wanted and not name.startswith("."):
                    os.unlink(os.path.join(self._folder, name))
