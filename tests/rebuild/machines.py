"""Machines to capture and to rebuild: each a root folder, and a Pacha of its own for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.command import Pacha, Result

PASSWD = "root:x:0:0:root:/root:/bin/bash\n"
GROUP = "root:x:0:\n"


class Machine:
    """One machine; `name` None: it has no name of its own in its configuration yet."""

    def __init__(self, place: Path, name: str | None, files: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.root = place / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.pacha = Pacha.at(place / "pacha")
        host = f'host = "{name}"\n' if name else ""
        self.pacha.config.write_text(f'{host}root = "{self.root}"\n')
        self.write(files or {})

    def write(self, files: Mapping[str, str]) -> None:
        """Make or change files, by their absolute path on that machine."""
        for path, text in files.items():
            place = self.root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def read(self, path: str) -> str:
        """The content of a file."""
        return (self.root / path.lstrip("/")).read_text()

    def has(self, path: str) -> bool:
        """Whether there is such an entry."""
        return (self.root / path.lstrip("/")).exists()

    def accounts(self, *, users: Mapping[str, int], groups: Mapping[str, int] | None = None) -> None:
        """Its users and groups, beside root."""
        passwd = "".join(f"{name}:x:{n}:{n}::/home/{name}:/bin/sh\n" for name, n in users.items())
        group = "".join(f"{name}:x:{n}:\n" for name, n in (users if groups is None else groups).items())
        self.write({"/etc/passwd": PASSWD + passwd, "/etc/group": GROUP + group})

    def rebuild(self, source: Path, *more: str) -> Result:
        """Rebuild what a store has, on this machine."""
        return self.pacha.run("rebuild", "--from", source, "-y", *more, "--json")

    def rebuilt(self, source: Path, *more: str) -> dict[str, Any]:
        """The same, insisting that all of it is as it was."""
        result = self.rebuild(source, *more)
        assert result.code == 0, result
        assert result.json["left"] == [], result
        return result.json
