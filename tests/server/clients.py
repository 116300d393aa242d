"""Hosts that send to a server: each a Pacha of its own, with one watched folder, under the real sshd of a hub."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.agents import until
from tests.command import Pacha, Result
from tests.plainhg import StoreCopy
from tests.server.hub import Hub


class Sending:
    """A host whose key the server knows."""

    def __init__(self, hub: Hub, name: str = "web1", *, place: Path | None = None, quota: int = 0) -> None:
        """`place`: where another host of the same name and key has its files."""
        self.hub = hub
        self.name = name
        self.key = hub.sshd.key(name) if place else hub.add(name, quota)
        self.place = place or hub.place / f"client_{name}"
        self.pacha = Pacha.at(self.place / "pacha")
        self.tree = self.place / "live"
        self.tree.mkdir()
        self.configure()

    def configure(self, server: str = '"hub"') -> None:
        """Write the configuration; what is watched stays."""
        watch = json.dumps([str(self.tree)])
        text = f'host = "{self.name}"\nserver = {server}\nwatch = {watch}\nssh = "{self.hub.sshd.command(self.key)}"\n'
        self.pacha.config.write_text(text)

    def change(self, text: str, name: str = "file") -> None:
        """Write a file of the watched folder."""
        (self.tree / name).write_text(text)

    def capture(self, text: str | None = None, name: str = "file") -> Result:
        """Change a file, where there is a text, and capture."""
        if text is not None:
            self.change(text, name)
        return self.pacha.run("capture", "--json")

    def sent(self, text: str, name: str = "file") -> str:
        """The same, insisting that it arrives; the revision."""
        result = self.capture(text, name)
        assert result.code == 0, result
        assert [server["backlog"] for server in result.json["servers"]] == [0], result
        assert result.revision is not None
        return result.revision

    def unsent(self, text: str, name: str = "file") -> str:
        """Change a file and capture it, while no server is to be reached; the revision."""
        before = len(self.here()) if self.pacha.store.exists() else 0
        self.change(text, name)
        process = self.pacha.start("capture", "--json", "-m", text.strip())
        until(lambda: self.has(before + 1))
        process.send_signal(signal.SIGINT)
        result = self.pacha.finish(process)
        # 130 where the signal came between the commit and the sending.
        assert result.code in (3, 130), result
        return self.here()[-1][:12]

    @property
    def server(self) -> dict[str, Any]:
        """What `status` says of the one server."""
        (found,) = self.pacha.ok("status")["servers"]
        server: dict[str, Any] = found
        return server

    def here(self) -> list[str]:
        """The ids of the line here, by plain hg."""
        return StoreCopy(self.pacha.store, self.place / "copy").nodes()

    def there(self) -> list[str]:
        """The ids of the line on the server, by plain hg."""
        return StoreCopy(self.hub.store(self.name), self.place / "copy").nodes()

    def has(self, count: int) -> bool:
        """Whether so many revisions are here; looked at amidst a commit it may not be told."""
        with suppress(AssertionError, subprocess.CalledProcessError):
            return len(self.here()) == count
        return False

    def arrived(self, count: int) -> bool:
        """Whether so many revisions are on the server; likewise."""
        with suppress(AssertionError, subprocess.CalledProcessError):
            return len(self.there()) == count
        return False

    def complaints(self) -> list[str]:
        """What plain `hg verify` has against either store."""
        stores = (self.pacha.store, self.hub.store(self.name))
        return [line for store in stores for line in StoreCopy(store, self.place / "copy").complaints()]

    def messages(self) -> list[str]:
        """What the line here tells, oldest first."""
        copy = StoreCopy(self.pacha.store, self.place / "copy")
        return copy.hg("log", "-r", "all()", "-T", "{desc}\n").decode().splitlines()
