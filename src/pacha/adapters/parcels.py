"""A deployment as it comes from a server: the bytes of one ssh session that asks for it.

Called by `pull`, through `ops/pull`. What comes is somebody else's: it is waited for only so long, and never
kept here. When it ends too early, what ssh or the server has said becomes one sentence that names the server:
NotFound where there is no such deployment, Refused where Pacha there says no, Unreachable where it never came
to that, or broke off. It must not know what a parcel holds.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from pacha.core.errors import Failed, NotFound, PachaError, Refused, Unreachable
from pacha.core.protocol import NO_COMMAND, NO_DEPLOYMENT, REFUSED
from pacha.core.ssh_trouble import FAILED, explain, last_line

SILENCE = 60.0  # seconds without a byte, after which a server is given up
_CHUNK = 1 << 16
_KEPT_WORDS = 8192  # of standard error, its end
_MOST_WORDS = 500
_GRACE = 5.0  # seconds for an ssh to end that has no more to say
_NOT_FOUND = (126, 127)


class Delivery:
    """One session; `words` is the whole command line, ssh's and the remote one."""

    def __init__(self, address: str, words: Sequence[str], silence: float = SILENCE) -> None:
        """Failed where there is no ssh."""
        self.address = address
        self._silence = silence
        self._until = 0.0
        self._data = bytearray()
        self._words = b""
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as problem:
            hint = "install the OpenSSH client, or name it: ssh = ..."
            raise Failed(f"{words[0]} cannot be run: {problem.strerror}", hint=hint) from problem
        assert self._process.stdout and self._process.stderr
        self._stdout, self._stderr = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._selector = selectors.DefaultSelector()
        for pipe in (self._stdout, self._stderr):
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_READ)

    def allow(self, seconds: float) -> None:
        """All that is read from now on must come within so many seconds, however steadily it does."""
        self._until = time.monotonic() + seconds

    def read(self, size: int) -> bytes:
        """At most so many bytes, one at least; none where all was said, in order."""
        if not self._data and not self._more():
            return b""
        part = bytes(self._data[:size])
        del self._data[:size]
        return part

    def readline(self, most: int) -> bytes:
        """A line with its newline; without one where it is longer than that, or the end came before."""
        seen = 0
        while (at := self._data.find(b"\n", seen)) < 0 and len(self._data) < most:
            seen = len(self._data)
            if not self._more():
                break
        line = bytes(self._data[: min(at + 1 or most, most)])
        del self._data[: len(line)]
        return line

    def close(self) -> None:
        """End it, whatever it has still to say."""
        self._selector.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _more(self) -> bool:
        """Wait for bytes; False where all was said, in order, else the error that says why there are none."""
        given_up = time.monotonic() + self._silence
        while True:
            now = time.monotonic()
            if now >= min(given_up, self._until):
                words = (
                    "takes too long" if now >= self._until else f"has sent nothing for {self._silence:g} s"
                )
                raise Unreachable(f"{self.address} {words}", hint=f"is it up? ssh {self.address}")
            ready = [key.fd for key, _ in self._selector.select(min(given_up, self._until) - now)]
            if self._stderr in ready:
                self._hear()
            if self._stdout in ready:
                if data := os.read(self._stdout, _CHUNK):
                    self._data += data
                    return True
                return self._ended()

    def _hear(self) -> bool:
        """Take what is on standard error; False where there is nothing more at present."""
        try:
            said = os.read(self._stderr, _CHUNK)
        except BlockingIOError:
            return False
        self._words = (self._words + said)[-_KEPT_WORDS:]
        if not said:
            with suppress(KeyError):
                self._selector.unregister(self._stderr)
        return bool(said)

    def _ended(self) -> bool:
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return False  # it has said that there is no more
        if code == 0:
            return False
        for _ in range(_KEPT_WORDS):
            if not self._hear():
                break
        raise _explained(self.address, code, self._words.decode("utf-8", "replace"))


def _explained(address: str, code: int, words: str) -> PachaError:
    """What it means that the session ended so."""
    lines = [line.strip()[:_MOST_WORDS] for line in words.splitlines()]
    at = next((at for at, line in enumerate(lines) if line.startswith(REFUSED)), -1)
    if at >= 0:
        said = lines[at].removeprefix(REFUSED)
        hint = lines[at + 1] if at + 1 < len(lines) else ""
        if said.startswith(NO_DEPLOYMENT):
            return NotFound(f"{address}: {said}", hint=hint and f"on the server, {hint}")
        if said.endswith(NO_COMMAND):
            return Refused(f"{address} is too old to be pulled from", hint="update Pacha on the server")
        return Refused(f"{address} refuses: {said}", hint=hint or "the server's log has it too")
    if code == FAILED:
        trouble = explain(address, words[-_KEPT_WORDS:])
        return Unreachable(f"{address} cannot be reached: {trouble.message}", hint=trouble.hint)
    if code < 0:
        return Unreachable(f"the connection to {address} was ended by a signal")
    last = last_line(words)[:_MOST_WORDS] or f"exit {code}"
    if code in _NOT_FOUND:
        return Refused(f"{address}: {last}", hint="is it the right address?")
    return Refused(f"{address} gives no deployment: {last}", hint="its log, and that of its sshd, say more")
