"""The one Mercurial process: started when there is work, spoken to over a pipe, ended with its owner.

Called by `adapters/hg/store` and `adapters/hg/remote`. The other end is `extension.py` or `sending.py`, the
protocol is written down in `answering.py`. The environment is made from an allow-list and no configuration
file is read, so nothing that a person has set up for their own Mercurial changes a store. It must not
interpret what it carries.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pacha.core.errors import Busy, DamagedStore, Failed, NoSpace, PachaError, ReadOnly

_KEPT = ("PATH", "HOME", "TMPDIR", "TZ")
_SETTINGS = (
    "ui.interactive=no",
    "ui.timeout=20",
    "ui.timeout.warn=0",
    "worker.enabled=no",
    "cmdserver.shutdown-on-interrupt=no",
    # History is never rewritten here, and a revision need not be published to be final.
    "phases.new-commit=public",
)
# What `python -m mercurial` does. To import its modules is most of a start, and leaves no garbage to collect:
# `answering.py` switches the collector on again when they are there.
_START = "import gc, sys; gc.disable(); sys.argv.pop(0); from mercurial.__main__ import run; run()"
_PIPE_BYTES = 1 << 20  # the most that the kernel lets anybody have
_HINT = "pacha doctor says more; pacha verify checks the whole store"


class Child:
    """A running command server; requests are made one at a time. To make one is not to wait for it to be
    ready.
    """

    def __init__(
        self,
        inherited: tuple[int, ...] = (),
        *,
        extension: str = "extension.py",
        kept: tuple[str, ...] = (),
        explain: Callable[[str, Any], PachaError | None] = lambda _kind, _detail: None,
    ) -> None:
        """Start it with an `extension` of this folder. `inherited` descriptors stay open in it: the lock is
        held until a commit at hand is finished. `kept` variables are handed on beside the usual ones;
        `explain` knows the kinds of errors that are the extension's own.
        """
        self._explain = explain
        extension = os.path.join(os.path.dirname(os.path.abspath(__file__)), extension)
        command = [sys.executable, "-I", "-c", _START, "mercurial", "serve", "--cmdserver", "pipe"]
        for setting in (f"extensions.pacha={extension}", *_SETTINGS):
            command += ["--config", setting]
        environment = {name: os.environ[name] for name in (*_KEPT, *kept) if name in os.environ}
        environment.update(HGRCPATH="", HGRCSKIPREPO="1", HGPLAIN="1", HGENCODING="UTF-8", LC_ALL="C.UTF-8")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            pass_fds=inherited,
            # Ctrl-C at the terminal is for Pacha; a commit at hand is finished or undone in order.
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _widen(stream.fileno())
        self._greeted = False
        self._is_idle = True
        self._is_closed = False

    # -- requests ----------------------------------------------------------------------------------

    def call(self, operation: str, *arguments: Any) -> Any:
        """Make a request and return its value; items are passed over."""
        for _ in self.stream(operation, *arguments):
            pass
        return self.value

    def stream(self, operation: str, *arguments: Any, contents: Iterable[bytes] = ()) -> Iterator[Any]:
        """Make a request, send `contents` after it, and yield its items.

        Raise Busy, DamagedStore, NoSpace, ReadOnly or Failed as the extension tells. Items that the caller
        does not take are dropped.
        """
        self._is_idle = False
        request = marshal.dumps((operation, list(arguments)))
        self._send(b"pacha\n", struct.pack(">I", len(request)), request)
        self._flush()
        try:
            for data in contents:
                self._send(struct.pack(">Q", len(data)), data)
        except BaseException:
            self.close()  # it waits for bytes that do not come: end it, and with it the transaction
            raise
        self._flush()
        wanted = True
        while True:
            kind, *values = marshal.loads(self._channel())
            if kind == "items":
                if wanted:
                    try:
                        yield from values[0]
                    except GeneratorExit:
                        if self._is_closed:
                            return
                        wanted = False
                continue
            self._is_idle = True
            if kind == "done":
                self.value = values[0]
            elif wanted:
                raise self._explain(values[0], values[1]) or _explained(values[0], values[1])
            return

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End it; a transaction at hand is undone by Mercurial itself.

        An idle one need not tidy up, which takes a tenth of a second; one that was never used need not even
        come up.
        """
        self._is_closed = True
        if self._is_idle and not self._greeted:
            self._process.kill()
        elif self._is_idle:
            try:
                self._send(b"pacha-end\n")
                self._flush()
            except PachaError:  # it has ended before
                pass
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self._process.wait()

    # -- the pipe ----------------------------------------------------------------------------------

    def _send(self, *data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.writelines(data)
        except BrokenPipeError:
            raise self._died() from None

    def _flush(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _channel(self) -> bytes:
        """The next frame of the result channel; what Mercurial says besides is dropped."""
        if not self._greeted:
            self._greeted = True
            self._channel()
        assert self._process.stdout is not None
        while True:
            head = self._process.stdout.read(5)
            if len(head) < 5:
                raise self._died()
            channel, length = struct.unpack(">cI", head)
            data = self._process.stdout.read(length)
            if len(data) < length:
                raise self._died()
            if channel in b"ro" and (channel == b"r" or data.startswith(b"capabilities:")):
                return data

    def _died(self) -> PachaError:
        assert self._process.stderr is not None
        self._process.kill()
        words = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        reason = words[-1] if words else f"exit {self._process.wait()}"
        return Failed(f"the Mercurial process ended unexpectedly: {reason}", hint="run the command again")


def _widen(pipe: int) -> None:
    """Let a pipe hold more than the usual 64 KiB, so that neither end waits for the other's every file."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:  # this user's share of pipe memory is used up
        pass


def _explained(kind: str, detail: Any) -> PachaError:
    import errno

    if kind == "busy":
        return Busy(
            "another Mercurial process holds the store's lock", hint="wait for it to end, then run this again"
        )
    if kind == "os":
        number, words = detail
        text = words.decode("utf-8", "replace")
        if number in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(
                "no space left for the store", hint="free some space and run it again; nothing is lost"
            )
        if number in (errno.EROFS, errno.EACCES, errno.EPERM):
            return ReadOnly(f"cannot write the store: {text}", hint="is its file system mounted read-only?")
        if number in (errno.ENOENT, errno.EIO):
            return DamagedStore(f"the store is damaged: {text}", hint=_HINT)
        return Failed(f"the store cannot be used: {text}", hint=_HINT)
    return DamagedStore(f"the store is damaged: {detail.decode('utf-8', 'replace')}", hint=_HINT)
