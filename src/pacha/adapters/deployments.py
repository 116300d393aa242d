"""The records of what was deployed, one file for each deployment, in `<state>/deployed/`.

Called by the operations. A record is replaced whole and is on the disk when `put` returns. It must not decide
what a difference means.
"""

from __future__ import annotations

import os

from pacha.adapters import disk
from pacha.core.deployed import Deployed, parse, render
from pacha.core.errors import Failed


class Deployments:
    """The records of one host."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

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
        """Keep this record in the place of the one before."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        disk.replace(os.path.join(self._folder, deployed.deployment), render(deployed))

    def _read(self, path: str) -> Deployed:
        try:
            with open(path, "rb") as file:
                return parse(file.read())
        except ValueError as problem:
            hint = "remove it: the next push then overwrites what it delivers, whoever changed it"
            raise Failed(f"{path} is damaged: {problem}", hint=hint) from problem
