"""A server with hosts, under a real sshd, and clients of every kind: Pacha's, stock Mercurial, and hostile ones.

The hosts are let in as `pacha host add` would: a record, and a line in authorized_keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pacha.server.registry import Record, Registry
from tests.command import Pacha
from tests.sshd import Sshd, sshd

TIME_LIMIT = 60.0
STOCK = {
    "HGRCPATH": "",
    "HGPLAIN": "1",
    "HGENCODING": "UTF-8",
    "HGUSER": "somebody",
    "PATH": os.environ["PATH"],
}


class Hub:
    """One server, and what its clients need to reach it."""

    def __init__(self, place: Path, server: Sshd) -> None:
        self.place = place
        self.sshd = server
        self.pacha = Pacha.at(place / "hub")
        self.registry = Registry(str(self.pacha.state), os.fsencode(place / "hosts"))
        self.registry.create()
        keys = self.sshd.authorized_keys
        self.pacha.config.write_text(f'[serve]\nhosts = "{place}/hosts"\nauthorized_keys = "{keys}"\n')

    def add(self, name: str, quota: int = 0, key: str = "") -> Path:
        """Let a host in; its private key."""
        private = self.sshd.key(key or name)
        public = private.with_name(private.name + ".pub").read_text().strip()
        self.registry.put(Record(name, public, quota=quota))
        command = [
            sys.executable,
            "-I",
            "-m",
            "pacha",
            "--config",
            self.pacha.config,
            "--state",
            self.pacha.state,
        ]
        words = " ".join(map(str, [*command, "serve", "--host", name]))
        self.sshd.authorize(private, f'restrict,command="{words}"')
        return private

    def let_read(self, name: str, role: str = "reader") -> Path:
        """Let somebody in who reads, by the command that an administrator would use; the private key."""
        private = self.sshd.key(name)
        public = private.with_name(private.name + ".pub")
        self.pacha.ok("host", "add", name, "--role", role, "--key", public)
        return private

    def store(self, name: str) -> Path:
        """The folder that holds a host's `.hg`."""
        return self.place / "hosts" / name

    def digest(self, name: str) -> str:
        """Of every file of a store's history: it changes with the least change."""
        found = hashlib.sha256()
        for path in sorted((self.store(name) / ".hg" / "store").rglob("*")):
            if path.is_file() and not path.name.startswith("undo"):
                found.update(f"{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of the server's log, of one kind of event."""
        path = self.pacha.state / "server" / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [told for told in map(json.loads, lines) if event in ("", told["event"])]

    # -- clients -------------------------------------------------------------------------------------

    def ssh(
        self, key: Path, *words: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ssh with this key, asking for `words`."""
        argv = [*self.sshd.ssh(key, *options), *words]
        more = {"input": b"", **more}
        return subprocess.run(argv, capture_output=True, timeout=TIME_LIMIT, check=False, **more)

    def hg(
        self, key: Path, *words: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a stock Mercurial that connects with this key."""
        argv = [
            sys.executable,
            "-m",
            "mercurial",
            "--config",
            f"ui.ssh={self.sshd.command(key)}",
            *map(str, words),
        ]
        return subprocess.run(
            argv,
            cwd=cwd or self.place,
            env=STOCK,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT,
        )

    def push(self, key: Path, store: Path, name: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        """`hg push` with whatever options."""
        return self.hg(key, "-R", store, "push", f"ssh://hub/{name}", *words)


@contextmanager
def hub(place: Path, *options: str, disk: Path | None = None) -> Iterator[Hub]:
    """A server with no hosts yet; `options` are lines of sshd's configuration. With a `disk`, all that Pacha
    itself keeps is there.
    """
    with sshd(place / "sshd", *options) as server:
        yield Hub(disk or place, server)


class Client:
    """A host's own Pacha, with one watched folder."""

    def __init__(self, place: Path, name: str, machine: str = "") -> None:
        self.pacha = Pacha.at(place)
        self.tree = place / "tree"
        self.tree.mkdir()
        self.pacha.config.write_text(f'host = "{name}"\n')
        self.write({"hosts": b"127.0.0.1 localhost\n"})
        self.pacha.ok("watch", self.tree)

    @property
    def store(self) -> Path:
        """The folder that holds `.hg`."""
        return self.pacha.store

    def write(self, files: Mapping[str, bytes]) -> None:
        """Change files."""
        for name, data in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def capture(self, files: Mapping[str, bytes]) -> str:
        """Change files and capture; the new revision."""
        self.write(files)
        revision = self.pacha.ok("capture")["revision"]
        assert isinstance(revision, str)
        return revision
