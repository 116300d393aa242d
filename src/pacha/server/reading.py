"""Who reads a history over ssh and writes nothing: a reader's or an admin's key, or a host's own.

Called by `server/serve`, which has let it in. Whose history is read comes from the client's words here: a
name, which is looked up among those that there are and is nothing else.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pacha.core.errors import Refused
from pacha.core.protocol import NO_HISTORY, PROTOCOL, Request
from pacha.core.revision import Stamp
from pacha.server.limits import writable
from pacha.server.registry import Record, Registry


def listing(registry: Registry, role: str) -> dict[str, Any]:
    """Every history that can be read; `tip` and `seq` are what its host was last told, empty where nobody
    knows.
    """
    hosts = []
    for name in registry.histories():
        if registry.has_revisions(name):
            seen = registry.seen(name)
            tip, seq = (seen.tip, seen.seq) if seen else ("", 0)
            hosts.append({"host": name, "tip": tip, "seq": seq, "forgotten": registry.forgotten(name)})
    return {"protocol": PROTOCOL, "role": role, "hosts": hosts}


def answer(
    registry: Registry,
    host: str,
    tip: str,
    last: Stamp | None,
    *,
    machine: str,
    revisions: int,
    used: int = 0,
    quota: int = 0,
) -> bytes:
    """The answer to the wire command `pacha`, whoever asks: `last` is the stamp of the revision `tip`, and
    `machine` whose line it is.
    """
    values = {
        "protocol": PROTOCOL,
        "host": host,
        "tip": tip,
        "seq": last.seq if last else 0,
        "machine": machine,
        "revisions": revisions,
        "used": used,
        "quota": quota,
        "forgotten": registry.forgotten(host),
    }
    return json.dumps(values, sort_keys=True).encode()


class Reader:
    """What the session's Mercurial side asks and tells: see `adapters/hg/receiving.Teller`."""

    writes = False

    def __init__(self, registry: Registry, record: Record, request: Request) -> None:
        """Raise Refused where there is no such history."""
        self._registry = registry
        self._by = record.name
        self.host = request.host
        if self.host not in registry.histories() or not registry.has_revisions(self.host):
            raise Refused(f"{NO_HISTORY}{self.host} here")

    def told(self, tip: str, stamp: bytes, revisions: int) -> bytes:
        """The answer to the wire command `pacha`."""
        last = Stamp.decode(stamp) if stamp else None
        machine = last.machine if last else ""
        return answer(self._registry, self.host, tip, last, machine=machine, revisions=revisions)

    def refused(self, words: str) -> None:
        """Tell the client, and the log."""
        with writable():
            self._registry.log("refused", self._by, words=words)
        sys.stderr.write(f"pacha: refused: {words}\n")
        sys.stderr.flush()
