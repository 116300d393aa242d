"""The records of what was deployed, one file for each deployment, in `<state>/deployed/`; and in
`<state>/signed/` what of it was taken by its signature, of which nothing older is taken any more.

Called by the operations. A record is replaced whole and is on the disk when `put` returns. What was taken is
known even where the record is gone, or what came afterwards was not signed. It must not decide what a
difference means, nor what is too old.
"""

from __future__ import annotations

import json
import os

from pacha.adapters import disk
from pacha.core.deployed import Accepted, Deployed, parse, render
from pacha.core.errors import Failed


class Deployments:
    """The records of one host."""

    def __init__(self, folder: str, signed: str) -> None:
        self._folder = folder
        self._signed = signed

    def all(self) -> list[Deployed]:
        """Every record; raise Failed for one that cannot be read: what is in it would be overwritten
        unseen.
        """
        try:
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        except FileNotFoundError:
            return []
        return [self._read(os.path.join(self._folder, name)) for name in names]

    def put(self, deployed: Deployed) -> None:
        """Keep this record in the place of the one before; what was signed is known before that."""
        if deployed.serial:
            self.accept(deployed.deployment, Accepted(deployed.serial, deployed.digest, deployed.time_ns))
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        disk.replace(os.path.join(self._folder, deployed.deployment), render(deployed))

    def accepted(self, name: str) -> Accepted | None:
        """The newest of a deployment that was taken by its signature. Failed where that cannot be told."""
        path = os.path.join(self._signed, name)
        try:
            with open(path, "rb") as file:
                found = Accepted(**json.load(file))
                if [type(value) for value in found] == [int, str, int]:
                    return found
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError):
            pass
        hint = "remove it: then an older one is taken, too, as long as its signature holds"
        raise Failed(f"{path} is damaged", hint=hint)

    def accept(self, name: str, accepted: Accepted) -> None:
        """Take nothing older of that name from now on: on the disk when this returns."""
        before = self.accepted(name)
        if before is not None and (before.serial, before.time_ns) >= (accepted.serial, accepted.time_ns):
            return
        if not os.path.isdir(self._signed):
            os.makedirs(self._signed, mode=0o700, exist_ok=True)
            disk.sync_folder(os.path.dirname(self._signed))
        disk.replace(os.path.join(self._signed, name), json.dumps(accepted._asdict()).encode() + b"\n")

    def seen_ns(self) -> int:
        """When anything was taken by its signature last; 0 where nothing was."""
        try:
            names = [name for name in os.listdir(self._signed) if not name.startswith(".")]
        except FileNotFoundError:
            return 0
        return max((found.time_ns for name in names if (found := self.accepted(name))), default=0)

    def _read(self, path: str) -> Deployed:
        try:
            with open(path, "rb") as file:
                return parse(file.read())
        except ValueError as problem:
            hint = "remove it: the next push then overwrites what it delivers, whoever changed it"
            raise Failed(f"{path} is damaged: {problem}", hint=hint) from problem
