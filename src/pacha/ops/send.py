"""Send: a server gets every revision that it has not got, and says when it has it on its disk.

Called in a process of its own for each server (`agent/relay`). No lock of the local store is taken, but where
the line here must be put on top of the server's. What a server acknowledged is noted in the index: a cache,
since the server itself is asked whenever a connection is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pacha import __version__
from pacha.core.errors import Failed, PachaError, Refused
from pacha.core.health import Health
from pacha.core.line import Acknowledged, Known, Stand, stand
from pacha.core.protocol import PROTOCOL, check_protocols
from pacha.ops.catch_up import catch_up
from pacha.ops.host import Host
from pacha.ops.ports import Server
from pacha.ops.tip import last_of
from pacha.ops.told import server_object

# Between two looks this many others, captures and other servers, may change what is to be done.
_TRIES = 5


class Copy(NamedTuple):
    """How a server's copy of the line stands to the one here, and that in words."""

    address: str
    stand: Stand
    words: str


def compare(host: Host, address: str) -> Copy:
    """Ask a server what it has, and change nothing. Raise Refused or Unreachable where it does not say."""
    server = host.server(address)
    known = Sender(host, server).connect()
    newest, _ = server.newest()
    theirs = server.position(known.tip)
    common = theirs if theirs >= -1 else server.common()
    acknowledged = server.position(host.index.acknowledged(address).node)
    how = stand(newest=newest, theirs=theirs, common=common, acknowledged=acknowledged)
    words = {
        "same": f"has all {newest + 1} revisions",
        "ahead": f"has {theirs + 1} of {newest + 1} revisions: the others wait",
        "lost": f"has lost {acknowledged - theirs} revisions that it had: they will be sent again",
        "behind": "has revisions that this host lacks: the next sending fetches them",
        "forked": "has revisions that this host lacks: the next sending fetches them",
        "foreign": "has another history of this host",
    }
    return Copy(address, how, words[how])


class Sender:
    """One server of a host's, over one connection that is kept."""

    def __init__(self, host: Host, server: Server) -> None:
        self._host = host
        self._server = server
        self._known: Known | None = None  # as of the last answer over this connection
        self.has_moved = False  # whether the line here became another one, on which nothing was looked at yet

    def prepare(self) -> None:
        """Make the connection, as there will be something to send in a moment; failing is no matter yet."""
        try:
            if not self._server.is_connected:
                self._known = self.connect()
        except PachaError:
            self._known = None

    def send(self) -> Acknowledged:
        """Bring the server up to the line here. Raise Refused, Unreachable or Failed where that cannot be."""
        host = self._host
        before = host.index.acknowledged(self._server.address)
        was_kept = self._server.is_connected
        try:
            try:
                known, node = self._settle(before)
            except PachaError:
                if not was_kept:
                    raise
                known, node = self._settle(before)  # the old connection was not alive any more
        except PachaError as problem:
            self._known = None
            since = before.since_ns or host.now_ns()
            host.index.acknowledge(before._replace(since_ns=since, error=str(problem)))
            raise
        after = Acknowledged(
            self._server.address, node, known.seq, host.now_ns(), used=known.used, quota=known.quota
        )
        host.index.acknowledge(after)
        return after

    def have_forgotten(self, *, again: bool) -> None:
        """Have the server forget what it was asked for; `again`: also what it refused before."""
        for asked in self._host.forgets.all():
            refusal = asked.servers.get(self._server.address)
            if refusal is None or (refusal and not again):
                continue
            words = self._server.forget(asked.path, asked.keep)
            self._host.forgets.answered(asked, self._server.address, words)

    def tell(self, agent: Mapping[str, Any]) -> None:
        """Tell the server how this host is. `agent` is what only that knows: `agent` (whether one runs),
        `degraded` and `problem`.
        """
        host = self._host
        last = last_of(host)
        waiting = [
            server_object(host.index.acknowledged(one), last)["backlog"] for one in host.config.servers
        ]
        health = Health(
            host.now_ns(), __version__, backlog=max(waiting), skipped=len(host.index.skipped()), **agent
        )
        self._known = self._server.tell(health.encode())

    def _settle(self, before: Acknowledged) -> tuple[Known, str]:
        """Do what there is to do until both have the same; what the server tells then, and the newest
        revision.
        """
        host, server = self._host, self._server
        for _ in range(_TRIES):
            if self._known is None or not server.is_connected:
                self._known = self.connect()
            elif self._known.tip != before.node:
                self._known = server.ask()  # another process of this host's has sent since
            known = self._known
            newest, node = server.newest()
            theirs = server.position(known.tip)
            common = theirs if theirs >= -1 else server.common()
            acknowledged = server.position(before.node)
            how = stand(newest=newest, theirs=theirs, common=common, acknowledged=acknowledged)
            if how == "same":
                return known, node
            if how in ("ahead", "lost"):
                if how == "lost":
                    lost = acknowledged - theirs
                    words = f"had lost {lost} of its acknowledged revisions: they are sent again"
                    host.report.note(f"{server.address} {words}")
                self._known = None
                self._known = server.push(theirs, node)
                before = before._replace(node=self._known.tip)
                continue
            if how == "foreign" and not (known.machine and known.machine == host.machine):
                raise Refused(
                    f"{server.address} has another history of {host.name}",
                    hint=f"pacha host reset {host.name} on the server keeps it aside and begins anew",
                )
            self.has_moved |= catch_up(host, server, known.tip, common, node)
        raise Failed(
            f"{server.address} and this host do not come to agree", hint="is another one sending too?"
        )

    def connect(self) -> Known:
        """Make the connection; what the server tells, Refused where it is not this host's."""
        host, server = self._host, self._server
        known = server.connect()
        check_protocols(PROTOCOL, known.protocol)
        if known.host != host.name:
            raise Refused(
                f"{server.address} takes this host's key for {known.host}, and this host is {host.name}",
                hint=f'host = "{known.host}" in the configuration, or pacha host add {host.name} there',
            )
        if known.machine and host.machine and known.machine != host.machine:
            raise Refused(
                f"{server.address} has the history of another machine as {host.name}",
                hint=f"another name for this one, or pacha host reset {host.name} on the server",
            )
        return known
