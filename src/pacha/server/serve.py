"""The forced command: one ssh session of one host, jailed from the first line on.

Called by `cli/serve`, which sshd runs with the name of the host whose key was used. What the client asks for
is in the environment, and is compared with two command lines; then the whole environment is replaced, memory
is limited, and only then Mercurial is imported. Nothing that the client says becomes a path, a program or an
option.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pacha.adapters.hg.bundle import Limits, Unfit
from pacha.core import admission
from pacha.core.errors import PachaError, Refused
from pacha.core.names import is_legal
from pacha.core.protocol import PROTOCOL, Request, parse_request
from pacha.core.revision import Stamp
from pacha.server.registry import Record, Registry, Seen

if TYPE_CHECKING:
    from pacha.adapters.hg.receiving import Arrival, Received

MEMORY = 512_000_000  # bytes of address space: what a bomb is stopped by
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


def serve(
    registry: Registry,
    host: str,
    quota: int,
    key: str = "",
    announce: Callable[[str, str], None] | None = None,
) -> int:
    """Answer the client at standard input and output for `host`; the exit code. `quota` is for a host that
    has none of its own; `key` is the fingerprint of the key that was used; `announce(host,
    tip before)` is called after a push was acknowledged.

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
        request = parse_request(words, host)
        with registry.session(host, key) as record:
            _limit(record.quota or quota)
            keeper = Keeper(registry, record, request, record.quota or quota, announce)
            return _answer(registry, keeper, request)
    except PachaError as problem:
        registry.log("refused", host, words=str(problem))
        raise Refused(f"refused: {problem}", hint=problem.hint) from problem


def _answer(registry: Registry, keeper: Keeper, request: Request) -> int:
    # It spares a third of Mercurial's memory, which counts when a hundred hosts come at once.
    importlib.import_module("hgdemandimport").enable()
    wire = importlib.import_module("pacha.adapters.hg.wire")
    keeper.check_machine(request.machine)
    return int(wire.serve(registry.store(keeper.host), keeper))


def _end(number: int, _frame: object) -> None:
    """Leave, at once and in order: no handler of errors takes this for a client's fault."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _limit(quota: int) -> None:
    """Bound memory and the size of files. Only the soft limits: a hook may have its own back."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, max(quota, _SMALLEST_FILE_LIMIT)),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


class Keeper:
    """What the session's Mercurial side asks and tells: see `adapters/hg/receiving.Keeper`."""

    def __init__(
        self,
        registry: Registry,
        record: Record,
        request: Request,
        quota: int,
        announce: Callable[[str, str], None] | None = None,
    ) -> None:
        self._registry = registry
        self._announce = announce
        self.host = record.name
        self._machine = record.machine
        self._request = request
        self._quota = quota
        self._used: int | None = None
        self._last: Stamp | None = None
        bounds = admission.Limits()
        self.limits = Limits(path=bounds.path, revision=bounds.content)
        self.folder = registry.folder(record.name)

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
        proposal = admission.Proposal(arrival.parents, arrival.branch, stamp, arrival.sizes)
        return admission.judge(proposal, host=self.host, tip=tip, text_of=arrival.text_of, has=arrival.has)

    # -- what is told --------------------------------------------------------------------------------

    def told(self, tip: str, stamp: bytes, revisions: int) -> bytes:
        last = Stamp.decode(stamp) if stamp else None
        self._saw(tip, last.seq if last else 0)
        values = {
            "protocol": PROTOCOL,
            "host": self.host,
            "tip": tip,
            "seq": last.seq if last else 0,
            "machine": self._machine or (last.machine if last else ""),
            "revisions": revisions,
            "used": self._taken(),
            "quota": self._quota,
        }
        return json.dumps(values, sort_keys=True).encode()

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
        self._registry.saw(self.host, Seen(time.time_ns(), tip, seq, self._request.protocol or 0))

    def acknowledged(self, received: Received) -> None:
        """Have the `post-receive` hooks run, without waiting for them."""
        if self._announce is not None:
            self._announce(self.host, received.old)

    def refused(self, words: str) -> None:
        self._registry.log("refused", self.host, words=words)
        sys.stderr.write(f"pacha: refused: {words}\n")
        sys.stderr.flush()
