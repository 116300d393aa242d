"""The forced command: one ssh session of one key, jailed from the first line on.

Called by `cli/serve`, which sshd runs with the name and the role of whose key was used. What the client asks
for is in the environment, and is compared with a few command lines; then the whole environment is replaced,
memory is limited, and only then Mercurial is imported. Of what the client says nothing becomes a path, a
program or an option, but for the name of a host that a reader wants to read: that is looked up among those
that are here.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pacha.adapters.hg.bundle import Limits, Unfit
from pacha.core import admission
from pacha.core.config import LARGEST_SENT
from pacha.core.errors import PachaError, Refused
from pacha.core.health import Health
from pacha.core.names import is_legal
from pacha.core.protocol import HOST, Request, parse_request
from pacha.core.revision import Stamp
from pacha.core.shown import shown
from pacha.server.limits import limit
from pacha.server.reading import Reader, answer, listing
from pacha.server.registry import Record, Registry, Seen

if TYPE_CHECKING:
    from pacha.adapters.hg.receiving import Arrival, Received

_SMALLEST_FILE_LIMIT = 64_000_000  # the log must be writable where the quota is tiny
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "HGRCPATH": "",
    "HGRCSKIPREPO": "1",
    "HGPLAIN": "1",
    "HGENCODING": "UTF-8",
}


class Door(NamedTuple):
    """What the forced command says: whose key was used, what role that one has, and the key's fingerprint."""

    name: str
    role: str = HOST
    key: str = ""


class Terms(NamedTuple):
    """What the configuration says: `quota` is for a host that has none of its own."""

    quota: int
    forget: bool = False  # whether a host may have contents removed from its own history


def serve(
    registry: Registry, door: Door, terms: Terms, announce: Callable[[str, str], None] | None = None
) -> int:
    """Answer the client at standard input and output; the exit code. `announce(host, tip before)` is called
    after a push was acknowledged.

    Raise Refused where the client is not let in.
    """
    words = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    os.umask(0o077)
    os.chdir("/")
    for number in _ENDING:
        signal.signal(number, _end)
    try:
        request = parse_request(words, door.name, door.role)
        with registry.session(door.name, door.key, door.role) as record:
            if request.purpose == "send":
                return _receive(registry, record, request, terms, announce)
            if request.purpose == "pull":
                limit(_SMALLEST_FILE_LIMIT)
                from pacha.server.deliver import deliver

                return deliver(registry, record, request)
            return _read(registry, record, request)
    except PachaError as problem:
        registry.log("refused", door.name, words=str(problem))
        raise Refused(f"refused: {problem}", hint=problem.hint) from problem


def _receive(
    registry: Registry,
    record: Record,
    request: Request,
    terms: Terms,
    announce: Callable[[str, str], None] | None,
) -> int:
    """The session of a host that sends."""
    quota = record.quota or terms.quota
    limit(max(quota, _SMALLEST_FILE_LIMIT))
    keeper = Keeper(registry, record, request, terms._replace(quota=quota), announce)
    keeper.check_machine(request.machine)
    return _answer(registry.store(keeper.host), keeper)


def _read(registry: Registry, record: Record, request: Request) -> int:
    """The session of who only reads: not one byte of it goes to any file, whatever the client says."""
    # Before the limit: what is noted of the session itself.
    if record.role != HOST:
        registry.saw(record.name, Seen(time.time_ns(), protocol=request.protocol or 0))
    if request.purpose == "list":
        sys.stdout.write(json.dumps(listing(registry, record.role)) + "\n")
        return 0
    reader = Reader(registry, record, request)
    registry.log(request.purpose, reader.host, words=f"by {record.name}, {record.role}")
    limit(0)
    return _answer(registry.store(reader.host), reader)


def _answer(store: bytes, keeper: Keeper | Reader) -> int:
    # It spares a third of Mercurial's memory, which counts when a hundred hosts come at once.
    importlib.import_module("hgdemandimport").enable()
    wire = importlib.import_module("pacha.adapters.hg.wire")
    return int(wire.serve(store, keeper))


def _end(number: int, _frame: object) -> None:
    """Leave, at once and in order: no handler of errors takes this for a client's fault."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


class Keeper:
    """A host that sends: what the session's Mercurial side asks and tells, see
    `adapters/hg/receiving.Keeper`.
    """

    def __init__(
        self,
        registry: Registry,
        record: Record,
        request: Request,
        terms: Terms,
        announce: Callable[[str, str], None] | None = None,
    ) -> None:
        self._registry = registry
        self._announce = announce
        self.host = record.name
        self._machine = record.machine
        self._is_replaced = record.replaced
        self._request = request
        self._quota = terms.quota
        self._may_forget = terms.forget
        self._used: int | None = None
        self._last: Stamp | None = None
        self._health: Health | None = None
        # A content that is encrypted, or comes as a delta, is a little longer.
        self._bounds = admission.Limits(content=LARGEST_SENT + LARGEST_SENT // 64)
        self.limits = Limits(
            path=self._bounds.path, revision=max(self._bounds.content, self._bounds.metadata)
        )
        self.folder = registry.folder(record.name)

    writes = True

    # -- what holds for this host --------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._registry.locked(self.host))
            except PachaError as problem:
                raise Unfit(str(problem)) from problem
            yield

    def room(self) -> int:
        return self._quota - self._taken()

    def _taken(self) -> int:
        if self._used is None:
            self._used = self._registry.used(self.host)
        return self._used

    def is_legal(self, path: bytes) -> bool:
        return is_legal(path)

    def check_machine(self, machine: str) -> None:
        """Raise Refused where a session or a revision comes from another machine than the line does."""
        if machine and self._machine and machine != self._machine:
            raise Refused(
                f"another machine has sent as {self.host} before: one is a copy of the other",
                hint=f"pacha host reset {self.host}, on the server, begins a new line and keeps the old one",
            )

    def admit(self, arrival: Arrival, tip: str) -> Sequence[str]:
        try:
            stamp = Stamp.decode(arrival.stamp)
            self.check_machine(stamp.machine)
        except (ValueError, RecursionError):
            return ["it was not made by Pacha"]
        except Refused as problem:
            return [str(problem)]
        self._last = stamp
        proposal = admission.Proposal(
            arrival.parents, arrival.branch, stamp, arrival.sizes, arrival.digests, arrival.place
        )
        return admission.judge(
            proposal,
            host=self.host,
            tip=tip,
            text_of=arrival.text_of,
            has=arrival.has,
            limits=self._bounds,
        )

    # -- forgetting ----------------------------------------------------------------------------------

    def aside(self) -> Sequence[bytes]:
        return self._registry.archived(self.host)

    @contextmanager
    def forgetting(self, path: bytes, count: int) -> Iterator[None]:
        """The fact is on the disk before a content goes; and who copies the history meanwhile knows it."""
        if not self._may_forget:
            raise Unfit(
                "this server removes nothing from a history: forget = true in its [serve] would let it"
            )
        before = self._registry.forgotten(self.host)
        if not count and before >= 0:
            yield
            return
        self._registry.note_forgetting(self.host, path, count)
        yield
        self._registry.change(self.host, forgotten=time.time_ns())
        self._registry.log("forgotten", self.host, count=count, words=shown(path))
        self._used = None

    # -- what is told --------------------------------------------------------------------------------

    def told(self, tip: str, stamp: bytes, revisions: int) -> bytes:
        last = Stamp.decode(stamp) if stamp else None
        self._saw(tip, last.seq if last else 0)
        return answer(
            self._registry,
            self.host,
            tip,
            last,
            machine=self._machine or self._expected(last),
            revisions=revisions,
            used=self._taken(),
            quota=self._quota,
        )

    def _expected(self, last: Stamp | None) -> str:
        """Whose line it is while no machine is bound to it: of one that was given another key, whoever's
        comes with that.
        """
        return self._request.machine if self._is_replaced else last.machine if last else ""

    def alive(self, health: bytes) -> None:
        self._health = Health.decode(health)

    def received(self, received: Received) -> None:
        last = self._last
        assert last is not None
        self._used = self._taken() + received.grown
        if not self._machine and last.machine:
            self._registry.set_machine(self.host, last.machine)
            self._machine = last.machine
        self._registry.log(
            "received", self.host, old=received.old, new=received.new, count=received.revisions
        )
        self._saw(received.new, last.seq)

    def _saw(self, tip: str, seq: int) -> None:
        """Note it; how the host is stays as it was last told."""
        if self._health is None:
            before = self._registry.seen(self.host)
            self._health = before.health if before else None
        version = self._health.version if self._health else ""
        seen = Seen(time.time_ns(), tip, seq, self._request.protocol or 0, version, self._health)
        self._registry.saw(self.host, seen)

    def acknowledged(self, received: Received) -> None:
        """Have the `post-receive` hooks run, without waiting for them."""
        if self._announce is not None:
            self._announce(self.host, received.old)

    def refused(self, words: str) -> None:
        self._registry.log("refused", self.host, words=words)
        sys.stderr.write(f"pacha: refused: {words}\n")
        sys.stderr.flush()
