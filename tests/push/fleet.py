"""A fleet: hosts behind one real sshd on loopback, each with its own root, state and configuration, and a pusher.

    with fleet(tmp_path, "web1", "web2") as them:
        them.deploy("motd", {"files/etc/motd": "hello\\n"})
        them.push("motd", "web1", "web2")

A host is a name in the pusher's ssh configuration with a key of its own, which sshd binds to that host's
`pacha receive`. So every push goes through ssh, sshd and the forced command, as it does elsewhere.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.command import Pacha, Result
from tests.sshd import QUICK, Sshd, sshd


def deploy(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files of a deployment; what lies in hooks/ becomes executable."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755 if path.startswith("hooks/") else 0o644)
    return folder


class Host:
    """One host: what it has below its root, and its own Pacha."""

    def __init__(self, place: Path, name: str) -> None:
        self.name = name
        self.root = place / "root"
        (self.root / "etc").mkdir(parents=True)
        self.pacha = Pacha.at(place / "pacha")
        self.pacha.config.write_text(f'host = "{name}"\nroot = "{self.root}"\n')

    def command(self) -> str:
        """What sshd runs, whatever the pusher asks for."""
        settings = [f"{key}={value}" for key, value in self.pacha.environment().items() if key != "TMPDIR"]
        return shlex.join(["env", *settings, *self.pacha.argv("receive")])

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))


class Fleet:
    """All of them, and who pushes."""

    def __init__(self, place: Path, server: Sshd) -> None:
        self.place = place
        self.server = server
        self.hosts: dict[str, Host] = {}
        self.pusher = Pacha.at(place / "pusher")
        self.ssh_config = place / "ssh_config"
        self.ssh_config.touch()
        self.configure("")

    def configure(self, more: str) -> None:
        """Give the pusher a configuration."""
        self.pusher.config.write_text(f'ssh = "ssh -F {self.ssh_config}"\n{more}')

    def host(self, name: str, command: str | None = None) -> Host:
        """One more host; `command` runs in the place of its `pacha receive`."""
        host = self.hosts[name] = Host(self.place / name, name)
        key = self.server.key(name)
        forced = (command or host.command()).replace('"', '\\"')
        self.server.authorize(key, f'restrict,command="{forced}"')
        self.name(name, IdentityFile=key)
        return host

    def name(self, name: str, **changed: object) -> None:
        """A name in ssh's configuration; what is not said is as it is for hosts that can be reached."""
        usual = {"IdentityFile": self.server.folder / "no-key", **QUICK}
        with open(self.ssh_config, "a", encoding="utf-8") as file:
            file.write(self.server.settings(name, **{**usual, **changed}))

    def deploy(self, name: str, files: Mapping[str, str]) -> Path:
        """Make a deployment, or replace files of it; what lies in hooks/ becomes executable."""
        return deploy(self.pusher.home / name, files)

    def push(self, *words: str) -> Result:
        """Push, asking nothing."""
        return self.pusher.run("push", *words, "-y")

    def told(self, *words: str) -> tuple[Result, dict[str, dict[str, Any]], dict[str, Any]]:
        """(the result, the last line of each host, the last of all) of a push with --json."""
        result = self.pusher.run("push", *words, "-y", "--json")
        lines = [json.loads(line) for line in result.out.splitlines()]
        assert lines, result
        assert all(line["version"] == 1 and "ok" in line for line in lines)
        hosts = {line["host"]: line for line in lines if line.get("phase") == "done"}
        return result, hosts, lines[-1]

    def masters(self) -> list[int]:
        """The processes that keep connections for this pusher."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                words = Path("/proc", name, "cmdline").read_bytes()
                if words.startswith(b"ssh: ") and b"[mux]" in words and self._is_mine(words):
                    found.append(int(name))
        return found

    def _is_mine(self, words: bytes) -> bool:
        return f"{self._folder()}/".encode() in words

    def _folder(self) -> str:
        """The name of the folder of this pusher's sockets."""
        status = self.pusher.state.stat()
        return f"ssh-{status.st_dev:x}{status.st_ino:x}"

    def close(self) -> None:
        """End the connections that are kept."""
        for pid in self.masters():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while self.masters() and time.monotonic() < deadline:
            time.sleep(0.02)
        for folder in Path("/run/pacha").glob(self._folder()):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fleet(place: Path, *names: str) -> Iterator[Fleet]:
    """Hosts of those names."""
    with sshd(place / "sshd") as server:
        made = Fleet(place, server)
        for name in names:
            made.host(name)
        try:
            yield made
        finally:
            made.close()
