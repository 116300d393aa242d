"""One session: Mercurial's wire protocol on standard input and output, as far as a jailed client needs it.

Called by `server/serve`, which has replaced the environment and set the limits before this module, and with
it Mercurial, is imported. What a client may say is a fixed list of commands; everything else ends the
session. Mercurial's own code answers those that read, out of one store; the one that adds goes through
`receiving.py`, and exists only in the session of a host that sends. It imports Mercurial and nothing of Pacha
but its neighbours.

Besides Mercurial's own there are three commands. `pacha`, without arguments, answers what the server has of
the host, as one JSON object; `alive` answers the same to a host that says how it is; `forget` takes contents
out of the host's history, where the server's configuration lets it, and answers how many.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from mercurial import bundle2, wireprotoserver, wireprototypes, wireprotov1server
from mercurial.exchanges import bundle_caps
from mercurial.utils import urlutil

from pacha.adapters.hg import censoring
from pacha.adapters.hg.bundle import Unfit
from pacha.adapters.hg.receiving import Keeper, Opened, Store, Teller, words_of

# Those of Mercurial's own that read, and what they do to nobody but the client itself.
_READING = frozenset(
    (b"between", b"branchmap", b"getbundle", b"heads", b"known", b"listkeys", b"lookup", b"protocaps")
)
_ADDING = frozenset((b"alive", b"forget", b"unbundle"))
_BATCH = frozenset((b"heads", b"known", b"branchmap", b"listkeys", b"lookup", b"between"))
_CAPABILITIES = (
    b"batch", b"branchmap", b"getbundle", b"known", b"lookup", b"pacha", b"pacha-alive", b"pacha-forget",
    b"protocaps",
    b"unbundle=HG10GZ,HG10BZ,HG10UN",
)  # fmt: skip
_BUNDLE2 = {b"HG20": (), b"changegroup": (b"02", b"03"), b"error": (b"abort",), b"listkeys": ()}
_SILENCE = 900  # seconds after which a client that says nothing is gone
_WORK = 900  # seconds of computing that one push may cost
_LONGEST_LINE = 1 << 12
_LONGEST_ARGUMENT = 1 << 22
_MOST_ARGUMENTS = 64
_PIECE = 1 << 16
_FILE_HASH = re.compile(rb"(?:[0-9a-f]{40})?")
_LONGEST_REASON = 200  # bytes; a parameter of a bundle2 part holds 255


class Ended(Exception):
    """The client did what ends a session, in words."""


def serve(path: bytes, teller: Teller | Keeper) -> int:
    """Answer the client until it leaves; the exit code. `path` is the store, which a Keeper may make."""
    with _own_streams() as (fin, fout):
        _close_the_rest()
        censoring.prepare()
        try:
            if teller.writes:
                keeper = cast("Keeper", teller)
                session: _Session = _Receiving(Store(path, keeper), keeper, fin, fout)
            else:
                session = _Session(Opened(path, teller), teller, fin, fout)
            session.run()
        except (Ended, Unfit) as problem:
            words = str(problem)
        except MemoryError:
            words = "it needs more memory than a session may have"
        except BrokenPipeError:
            return 1
        except OSError as problem:
            words = f"the server has a problem: {problem.strerror}"
        except Exception as problem:  # noqa: BLE001 - what a client says may send Mercurial anywhere
            words = f"it cannot be answered: {type(problem).__name__}: {words_of(problem)}"
        else:
            return 0
        # Outside of the handlers, whose tracebacks hold on to all that was read.
        teller.refused(words)
        return 1


@contextmanager
def _own_streams() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Standard input and output for the protocol alone: what else is printed goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(0), "rb") as fin, os.fdopen(os.dup(1), "wb") as fout:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        yield fin, fout


def _close_the_rest() -> None:
    """Take away from Mercurial whatever else it would do for a client."""
    for name in set(wireprotov1server.commands) - _READING:
        del wireprotov1server.commands[name]
    bundle2.parthandlermapping.clear()
    bundle_caps.capabilities.clear()
    bundle_caps.capabilities.update(_BUNDLE2)


class _Arguments(wireprotoserver.sshv1protocolhandler):
    """Reads the arguments of a command; no length that the client gives is believed beyond reason."""

    def __init__(self, fin: BinaryIO, fout: BinaryIO) -> None:
        super().__init__(None, fin, fout)

    def getargs(self, spec: bytes) -> list[Any]:
        keys = spec.split()
        found: dict[bytes, Any] = {}
        for _ in keys:
            name, length = self._named()
            if name not in keys or name in found:
                raise Ended("it gives an argument that the command does not have")
            if name == b"*":
                if length > _MOST_ARGUMENTS:
                    raise Ended("it gives too many arguments")
                found[name] = {key: self._value(size) for key, size in (self._named() for _ in range(length))}
            else:
                found[name] = self._value(length)
        return [found[key] for key in keys]

    def _named(self) -> tuple[bytes, int]:
        name, _, length = line(self._fin).partition(b" ")
        return name, number(length)

    def _value(self, length: int) -> bytes:
        if length > _LONGEST_ARGUMENT:
            raise Ended("it gives an argument that is too long")
        data: bytes = self._fin.read(length)
        return data


class _Session:
    """One client, which reads."""

    def __init__(self, store: Opened, teller: Teller, fin: BinaryIO, fout: BinaryIO) -> None:
        self._store = store
        self._teller = teller
        self._fin = fin
        self._fout = fout
        self._arguments = _Arguments(fin, fout)

    def run(self) -> None:
        """Answer one command after the other; Ended where one is not allowed."""
        signal.signal(signal.SIGALRM, _gone)
        signal.signal(signal.SIGPROF, _exhausted)
        while True:
            signal.alarm(_SILENCE)
            command = line(self._fin)
            if not command:
                return
            self._store.refresh()
            self._answer(command)
            self._fout.flush()

    def _answer(self, command: bytes) -> None:
        if command in (b"capabilities", b"hello"):
            words = b" ".join(sorted([*_CAPABILITIES, b"bundle2=" + _quoted_bundle2()]))
            self._respond(b"capabilities: %s\n" % words if command == b"hello" else words)
        elif command == b"pacha":
            self._respond(self._store.told())
        elif command == b"batch":
            self._batch()
        elif command in _READING:
            self._read(command)
        elif command in _ADDING:
            self._add(command)
        else:
            raise Ended(f"{command[:40].decode('latin-1')!a} is no command of this server")

    def _add(self, command: bytes) -> None:
        raise Ended("this session reads, and writes nothing")

    def _respond(self, data: bytes) -> None:
        self._fout.write(b"%d\n%s" % (len(data), data))

    # -- reading -------------------------------------------------------------------------------------

    def _call(self, command: bytes, values: list[Any]) -> Any:
        served = self._store.repo.filtered(b"served")
        return wireprotov1server.commands[command].func(served, self._arguments, *values)

    def _read(self, command: bytes) -> None:
        result = self._call(command, self._arguments.getargs(wireprotov1server.commands[command].args))
        if isinstance(result, wireprototypes.streamres):
            for chunk in result.gen:
                signal.alarm(_SILENCE)
                self._fout.write(chunk)
        else:
            self._respond(result.data)

    def _batch(self) -> None:
        """Several commands in one: Mercurial's own `batch` would look them up where it likes."""
        words, _ = self._arguments.getargs(b"cmds *")
        plain = wireprototypes.unescapebatcharg
        answers = []
        for pair in words.split(b";"):
            command, _, rest = pair.partition(b" ")
            if command not in _BATCH:
                raise Ended(f"{command[:40].decode('latin-1')!a} is no command of this server's batch")
            given = dict(tuple(map(plain, one.split(b"=", 1))) for one in rest.split(b",") if b"=" in one)
            keys = wireprotov1server.commands[command].args.split()
            values = [given[key] if key != b"*" else {} for key in keys]
            answers.append(wireprototypes.escapebatcharg(self._call(command, values).data))
        self._respond(b";".join(answers))


class _Receiving(_Session):
    """A host that sends."""

    def __init__(self, store: Store, keeper: Keeper, fin: BinaryIO, fout: BinaryIO) -> None:
        super().__init__(store, keeper, fin, fout)
        self._receiver = store
        self._keeper = keeper

    def _add(self, command: bytes) -> None:
        if command == b"alive":
            self._alive()
        elif command == b"forget":
            self._forget()
        else:
            self._unbundle()

    def _alive(self) -> None:
        (health,) = self._arguments.getargs(b"health")
        try:
            self._keeper.alive(health)
        except ValueError as problem:
            raise Ended(f"what it says of itself makes no sense: {problem}") from None
        self._respond(self._store.told())

    def _forget(self) -> None:
        path, keep = self._arguments.getargs(b"path keep")
        if not _FILE_HASH.fullmatch(keep):
            raise Ended("it names a content by what is no hash")
        try:
            with _bounded():
                told: dict[str, object] = {
                    "forgotten": self._receiver.forget(path, bytes.fromhex(keep.decode()))
                }
        except Unfit as problem:
            self._keeper.refused(str(problem))
            told = {"refused": str(problem)}
        self._respond(json.dumps(told).encode())

    def _unbundle(self) -> None:
        self._arguments.getargs(b"heads")  # what the client believes to be there: admission knows
        room = self._keeper.room()
        if room <= 0:
            words = "the quota of this host is full"
            self._keeper.refused(words)
            self._respond(words.encode())
            return
        self._respond(b"")
        self._fout.flush()
        # It has no name: nothing is left of a session that was killed.
        with tempfile.TemporaryFile(dir=self._keeper.folder) as spool:
            size = self._take(spool, room)
            try:
                with _bounded():
                    received, part = self._receiver.receive(spool, size)
            except Unfit as problem:
                self._keeper.refused(str(problem))
                self._reply(b"error:abort", (b"message", _reason(problem)))
                return
        self._keeper.received(received)
        self._reply(b"reply:changegroup", (b"in-reply-to", b"%d" % part), (b"return", b"1"))
        self._keeper.acknowledged(received)

    def _take(self, spool: BinaryIO, room: int) -> int:
        """Read the bundle that follows; its size."""
        size = 0
        while left := number(line(self._fin)):
            size += left
            if size > room:
                raise Ended(f"the quota of this host would be exceeded: {room} bytes are left")
            while left:
                signal.alarm(_SILENCE)
                data = self._fin.read(min(left, _PIECE))
                if not data:
                    raise Ended("the connection was cut amidst a bundle")
                spool.write(data)
                left -= len(data)
        spool.flush()
        return size

    def _reply(self, name: bytes, *parameters: tuple[bytes, bytes]) -> None:
        reply = bundle2.bundle20(self._store.repo.ui)
        reply.addpart(bundle2.bundlepart(name, parameters))
        self._fout.writelines(reply.getchunks())
        self._fout.flush()


@contextmanager
def _bounded() -> Iterator[None]:
    """Work whose time is the server's, and not that of a client which says nothing: bounded all the same."""
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_PROF, _WORK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def line(fin: BinaryIO) -> bytes:
    """The next line without its end; empty where the client has left."""
    data = fin.readline(_LONGEST_LINE)
    if data and not data.endswith(b"\n"):
        raise Ended("it sends a line that does not end")
    return data[:-1]


def number(digits: bytes) -> int:
    """A length as the protocol writes it."""
    if not digits.isdigit() or len(digits) > 18:
        raise Ended("it sends what is no length")
    return int(digits)


def _quoted_bundle2() -> bytes:
    quoted: bytes = urlutil.urlreq.quote(bundle2.encodecaps(_BUNDLE2))
    return quoted


def _reason(problem: Unfit) -> bytes:
    return f"pacha: refused: {problem}".encode()[:_LONGEST_REASON].decode("utf-8", "ignore").encode()


def _gone(number: int, frame: object) -> None:
    raise Ended(f"it said nothing for {_SILENCE} s")


def _exhausted(number: int, frame: object) -> None:
    raise Unfit(f"it needs more than {_WORK} s of computing")
