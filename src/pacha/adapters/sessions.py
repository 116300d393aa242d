"""Commands at many destinations at once, each by an ssh of its own, over connections that are kept.

Called by `push`, which decides what runs where and when. One thread attends to all of them. The first ssh to
a destination stays behind as OpenSSH's ControlMaster for ten minutes, so that the next push spares the
handshake. It must not know what is sent, or what the answers mean.
"""

from __future__ import annotations

import hashlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, cast

from pacha.adapters import ssh_files
from pacha.adapters.runtime import runtime_folder
from pacha.core.answer import Ended, Line
from pacha.core.errors import Failed
from pacha.core.ssh_command import kept_words, ssh_words

_CHUNK = 1 << 16
_MOST = 32_000_000  # bytes of a whole answer, which may hold differences …
_LINE_COSTS = 300  # … and as many more for each line of it: to look at one takes longer than to get it
_KEPT_WORDS = 8192  # of standard error, its end
_PATIENCE = 10.0  # seconds for an ssh to end that has no more to say
_GRACE = 1.0  # seconds for what has answered to end by itself
_NAP = 0.01
# All is said here by ourselves; banners and "Permanently added" are none of a push's business.
_PLAIN = ("-o", "LogLevel=ERROR")


class Sessions:
    """The running ones. `state` is the state folder, by which the folder of sockets is named."""

    def __init__(self, ssh: str, state: str) -> None:
        self._ssh = ssh
        self._state = state
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, _Session] = {}
        self._sockets = self._make_folder()

    def start(
        self, destination: str, remote: str, stream: Iterable[bytes], *, is_fresh: bool = False
    ) -> None:
        """Run a command there, which gets the stream on standard input; with `is_fresh` over a connection of
        its own. What still runs there is left to itself. Failed where there is no ssh.
        """
        self.stop(destination)
        words = [*self._words(destination, is_fresh), "--", destination, remote]
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is ours to answer, and nobody may ask on the terminal
            )
        except OSError as problem:
            hint = "install the OpenSSH client, or name it: ssh = ..."
            raise Failed(f"{words[0]} cannot be run: {problem.strerror}", hint=hint) from problem
        self._running[destination] = _Session(destination, process, stream, self._selector)

    def stop(self, destination: str) -> None:
        """End what runs there, at this side; nothing more is heard of it."""
        session = self._running.pop(destination, None)
        if session is None:
            return
        session.hang_up()
        try:
            session.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            session.process.kill()
            session.process.wait()

    def wait(self, seconds: float) -> list[Line | Ended]:
        """What has happened, at the latest after so long a time; nothing where nothing has."""
        found: list[Line | Ended] = []
        closing = any(session.is_closing for session in self._running.values())
        for key, _ in self._selector.select(_NAP if closing else seconds):
            session: _Session = key.data
            found += session.attend(cast("IO[bytes]", key.fileobj))
        for session in [one for one in self._running.values() if one.is_closing]:
            code = session.process.poll()
            if code is not None:
                del self._running[session.destination]
                found += session.ended(code)
            elif time.monotonic() - session.silent_since > _PATIENCE:
                session.process.kill()
        return found

    def close(self) -> None:
        """End what still runs: what it has said all of gets a moment for it, the rest none."""
        for session in self._running.values():
            session.hang_up()
        deadline = time.monotonic() + _GRACE
        for session in self._running.values():
            try:
                session.process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                session.process.kill()
                session.process.wait()
        self._running.clear()
        self._selector.close()

    def _words(self, destination: str, is_fresh: bool) -> list[str]:
        key, pins = ssh_files.files_for(self._state, destination)
        kept = []
        if self._sockets and not is_fresh:
            # Two names of one address may mean two keys: they do not share a connection.
            digest = hashlib.sha256(f"{self._ssh}\0{destination}".encode()).hexdigest()[:8]
            kept = kept_words(f"{self._sockets}/{digest}%C")
        return [*ssh_words(self._ssh, key, pins, is_fresh=is_fresh), *_PLAIN, *kept]

    def _make_folder(self) -> str:
        """A folder for sockets which nobody else can enter; none where it cannot be made."""
        try:
            status = os.stat(self._state)
            folder = os.path.join(runtime_folder(self._state), f"ssh-{status.st_dev:x}{status.st_ino:x}")
            os.makedirs(folder, mode=0o700, exist_ok=True)
            found = os.stat(folder)
        except OSError:
            return ""
        is_private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return folder.replace("%", "%%") if is_private and '"' not in folder else ""


class _Session:
    """One ssh with its three pipes."""

    def __init__(
        self,
        destination: str,
        process: subprocess.Popen[bytes],
        stream: Iterable[bytes],
        selector: selectors.BaseSelector,
    ) -> None:
        self.destination = destination
        self.process = process
        self._selector = selector
        self._stream = iter(stream)
        self._unsent = memoryview(b"")
        self._line = bytearray()
        self._said = 0  # bytes
        self.silent_since = 0.0  # when it had said all
        self._words = b""
        assert process.stdin and process.stdout and process.stderr
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        for pipe, event in (
            (self._stdin, selectors.EVENT_WRITE),
            (self._stdout, selectors.EVENT_READ),
            (self._stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, event, self)

    @property
    def is_closing(self) -> bool:
        """Whether it has said all: then its end is near."""
        return self._stdout.closed

    def attend(self, pipe: IO[bytes]) -> list[Line | Ended]:
        """Do what can be done at one of the pipes; another may have closed it just now."""
        if pipe.closed:
            return []
        if pipe is self._stdin:
            self._send()
        elif pipe is self._stderr:
            self._words = (self._words + self._read(self._stderr))[-_KEPT_WORDS:]
        else:
            return self._lines()
        return []

    def ended(self, code: int) -> list[Line | Ended]:
        """The last that it said. A ControlMaster may hold standard error open: its end is not waited for."""
        if not self._stderr.closed:
            self._words = (self._words + self._read(self._stderr))[-_KEPT_WORDS:]
        self._drop(self._stdin)
        self._drop(self._stderr)
        last: list[Line | Ended] = [Line(self.destination, bytes(self._line))] if self._line else []
        return [*last, Ended(self.destination, code, self._words.decode("utf-8", "replace"))]

    def hang_up(self) -> None:
        """Let go of it; what has not said all is told to end."""
        if not self.is_closing:
            self.process.terminate()
        for pipe in (self._stdin, self._stdout, self._stderr):
            self._drop(pipe)

    def _send(self) -> None:
        try:
            while self._unsent or self._has_more():
                self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads: why, the answer or the end will tell
            pass
        self._drop(self._stdin)

    def _has_more(self) -> bool:
        self._unsent = memoryview(next(self._stream, b""))
        return bool(self._unsent)

    def _lines(self) -> list[Line | Ended]:
        data = self._read(self._stdout)
        self._said += len(data) + _LINE_COSTS * data.count(b"\n")
        if self._said > _MOST:
            self.process.kill()
            self._words = b"it said more than an answer can be\n"
            self._drop(self._stdout)
            self._drop(self._stderr)
            return []
        self._line += data
        if b"\n" not in data:
            return []
        *lines, self._line = self._line.split(b"\n")
        return [Line(self.destination, bytes(line)) for line in lines]

    def _read(self, pipe: IO[bytes]) -> bytes:
        data = pipe.read(_CHUNK)
        if data == b"":
            self._drop(pipe)
        return data or b""

    def _drop(self, pipe: IO[bytes]) -> None:
        if not pipe.closed:
            self._selector.unregister(pipe)
            if pipe is self._stdout:
                self.silent_since = time.monotonic()
            with suppress(OSError):
                pipe.close()
