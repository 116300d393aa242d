"""A server with deployments, and hosts that pull from it: each with a root of its own, under a hub's real sshd."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.command import Pacha, Result
from tests.push.fleet import deploy
from tests.server.hub import Hub

BASE = {"files/etc/motd": "welcome\n"}


class Puller:
    """A host whose key the server knows."""

    def __init__(self, hub: Hub, name: str = "web1") -> None:
        self.hub = hub
        self.name = name
        self.key = hub.add(name)
        self.place = hub.place / f"host_{name}"
        self.root = self.place / "root"
        (self.root / "etc" / "pacha").mkdir(parents=True)
        # As on a real host the configuration is among what is tracked.
        config = self.root / "etc" / "pacha" / "pacha.toml"
        self.pacha = replace(Pacha.at(self.place / "pacha"), config=config)
        self.configure()

    def configure(self, more: str = "", server: str = '"hub"', ssh: str = "") -> None:
        """Write the configuration; what is watched stays nothing."""
        command = ssh or self.hub.sshd.command(self.key)
        self.pacha.config.write_text(
            f'host = "{self.name}"\nserver = {server}\nroot = "{self.root}"\nssh = "{command}"\n{more}'
        )

    def pull(self, name: str = "base", *words: str) -> dict[str, Any]:
        """Pull, which must work; the object."""
        return self.pacha.ok("pull", name, "-y", *words)

    def refused(self, name: str = "base", *words: str) -> Result:
        """Pull, which must not work; with --json, the object and the exit code."""
        result = self.pacha.run("pull", name, "-y", "--json", *words)
        assert result.code != 0, result
        assert result.json["ok"] is False
        assert "Traceback" not in result.err
        return result

    def said(self, *words: str) -> Result:
        """Pull as a person does."""
        return self.pacha.run("pull", *words)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def tree(self) -> dict[str, bytes | None]:
        """Every path below the root with its content: what an operation that did nothing has left alone."""
        return {
            str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.root.rglob("*"))
        }

    @property
    def has_history(self) -> bool:
        """Whether Mercurial was ever started for it."""
        return self.pacha.store.exists()


def offer(hub: Hub, files: Mapping[str, str] = BASE, name: str = "base") -> Path:
    """Put a deployment onto the server, in the place of what it had of that name."""
    folder = hub.pacha.state / "deployments" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return deploy(folder, files)


def script(place: Path, text: str) -> str:
    """An `ssh` of a test's own, that says what a hostile server would; the command."""
    place.write_text(text)
    place.chmod(0o755)
    return str(place)


def line(**values: Any) -> str:
    """The first line of a parcel, as JSON."""
    return json.dumps({"format": 1, "packing": "none", **values})
