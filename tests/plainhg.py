"""Look into a store with plain Mercurial and no Pacha, as a person without Pacha would.

Always at a copy: Mercurial wants to lock what it verifies, and must not heal what Pacha is to heal.
"""

from __future__ import annotations

import atexit
import os
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import IO

ENVIRONMENT = {
    "HGRCPATH": "",
    "HGPLAIN": "1",
    "HGENCODING": "UTF-8",
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
}


class CommandServer:
    """A Mercurial that runs one command after another: most of a command's time goes into starting it.

    It answers as https://wiki.mercurial-scm.org/CommandServer says, and opens the repository anew for each.
    """

    def __init__(self) -> None:
        # `--cwd` stands first so that it is not taken for one of Pacha's own, `mercurial serve`.
        argv = [sys.executable, "-m", "mercurial", "--cwd", "/", "serve", "--cmdserver", "pipe"]
        self.process = subprocess.Popen(argv, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in: IO[bytes] = self.process.stdin
        self._out: IO[bytes] = self.process.stdout
        self._next()  # what it can

    def run(self, *args: str | Path) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of one command."""
        words = b"\0".join(map(os.fsencode, args))
        self._in.write(b"runcommand\n" + struct.pack(">I", len(words)) + words)
        self._in.flush()
        said = {b"o": bytearray(), b"e": bytearray()}
        while True:
            channel, data = self._next()
            if channel == b"r":
                return struct.unpack(">i", data)[0], bytes(said[b"o"]), bytes(said[b"e"])
            said[channel] += data

    def end(self) -> None:
        """Let it end."""
        self._in.close()
        self._out.close()
        self.process.wait()

    def _next(self) -> tuple[bytes, bytes]:
        channel, length = struct.unpack(">cI", self._out.read(5))
        return channel, self._out.read(length)


@cache
def mercurial() -> CommandServer:
    """The one of this process."""
    made = CommandServer()
    atexit.register(made.end)
    return made


class StoreCopy:
    """A copy of a store, to be read by plain `hg`."""

    def __init__(self, store: Path, to: Path) -> None:
        subprocess.run(["rm", "-rf", "--", str(to)], check=True)
        subprocess.run(["cp", "-a", "--", str(store), str(to)], check=True)
        self.path = to

    def hg(self, *args: str, allowed: tuple[int, ...] = (0,)) -> bytes:
        """What a plain hg command says, errors included; raise AssertionError where it fails."""
        code, out, errors = mercurial().run("-R", self.path, *args)
        assert code in allowed, f"hg {args}: {code}: {out!r} {errors!r}"
        return out + errors

    def nodes(self) -> list[str]:
        """Full ids of all revisions, oldest first."""
        return self.hg("log", "-r", "all()", "-T", "{node}\n").decode().split()

    def complaints(self) -> list[str]:
        """What `hg verify` has to say against the store."""
        said = self.hg("verify", allowed=(0, 1, 255)).decode(errors="replace")
        words = ("warning", "error", "abort", "damaged", "not in manifest", "missing", "unmatched", "recover")
        return [line for line in said.splitlines() if any(word in line.lower() for word in words)]

    def holds(self, token: bytes) -> bool:
        """Whether any file of any revision, or any message, ever contained `token` (one word of one line).

        An uncompressed bundle spells out each line that a revision adds.
        """
        bundle = self.path / "all.bundle"
        self.hg("bundle", "--all", "--type", "none-v2", str(bundle))
        return token in bundle.read_bytes()
