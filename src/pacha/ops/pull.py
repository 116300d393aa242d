"""Pull: fetch a deployment from a server of this host's, and make this host what it says.

Called by the verb, and by it for the agent. What comes is judged as what is pushed is (`core/parcel_line`),
and done by the same engine (`ops/receive`). Of what is asked this time nothing is the server's to say: its
wishes are dropped unread. Connections are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pacha.core.errors import Busy, NotFound, PachaError, Refused, Unreachable, UsageError
from pacha.core.parcel import Parcel, Wishes
from pacha.core.parcel_contents import unpack
from pacha.core.parcel_line import LINE_AT_MOST, parse
from pacha.ops.receive import Receiving
from pacha.ops.signing import vouch

if TYPE_CHECKING:
    from pacha.core.signed import Vouched
    from pacha.core.tracked import Blob
    from pacha.ops.host import Host
    from pacha.ops.ports import Spool

# Seconds for the line, and for the contents; for these as many more as a slow link takes.
_LINE, _CONTENTS, _SLOWEST = 300.0, 300.0, 20_000  # bytes a second
_RECENT = 50  # revisions among which that of a pull must be


class Delivery(Protocol):
    """What one server sends; `adapters/parcels` tells the contract."""

    def allow(self, seconds: float) -> None: ...
    def read(self, size: int) -> bytes: ...
    def readline(self, most: int) -> bytes: ...
    def close(self) -> None: ...


class Obtained(NamedTuple):
    """A parcel that was checked, with its contents, and the server that it is from."""

    address: str
    parcel: Parcel
    contents: Mapping[str, Blob]
    vouched: Vouched | None  # who signed it, where this host asks


def obtain(
    name: str,
    addresses: Sequence[str],
    reach: Callable[[str, str], Delivery],
    host: Host,
    spool: Spool,
    note: Callable[[str], None],
) -> Obtained:
    """The deployment of that name, for the host, from the first server that can be reached and has it. Raise
    what is wrong with the first that it was, where there is none; or Refused where a server says no, or sends
    what is none: another one may have what is older.
    """
    if not addresses:
        raise UsageError("this host has no server to pull from", hint="pacha join SERVER")
    problems: list[PachaError] = []
    for number, address in enumerate(addresses, 1):
        try:
            return _obtain_from(address, name, reach, host, spool)
        except (Unreachable, NotFound) as problem:
            problems.append(problem)
            if number < len(addresses):
                note(f"{problem}; asking {addresses[number]}")
    # One that is away may have what the others have not.
    raise next((one for one in problems if isinstance(one, Unreachable)), problems[0])


def _obtain_from(
    address: str, name: str, reach: Callable[[str, str], Delivery], host: Host, spool: Spool
) -> Obtained:
    delivery = reach(address, name)
    try:
        delivery.allow(_LINE)
        parcel = parse(delivery.readline(LINE_AT_MOST + 1))
        if parcel.deployment.name != name:
            raise Refused(f"it is called {parcel.deployment.name!a}, and {name} was asked for")
        vouched = vouch(host, parcel)  # before anything more of the stream is read
        delivery.allow(_CONTENTS + sum(parcel.deployment.contents().values()) / _SLOWEST)
        contents = {digest: spool.put(data) for digest, data in unpack(parcel, delivery.read)}
    except Refused as problem:
        words = str(problem) if str(problem).startswith(address) else f"{address}: {problem}"
        raise Refused(words, hint=problem.hint) from problem
    finally:
        delivery.close()
    return Obtained(address, parcel, contents, vouched)


def receiving(host: Host, obtained: Obtained, wishes: Wishes, spool: Spool) -> Receiving:
    """What makes it live, or looks at it, as this host's own people wish."""
    parcel = obtained.parcel._replace(wishes=wishes)
    return Receiving(host, parcel, obtained.contents, spool, obtained.vouched)


def record(host: Host, done: Receiving, began_ns: int) -> str | None:
    """Write into the history what was pulled, at once; the revision of it, None where there is none: nothing
    of it is tracked, a hook says no, or another Pacha is at it for long and will do it.
    """
    from pacha.ops.pushed import record_pushes

    host.lock = host.history_lock  # the next push need not wait for this
    try:
        record_pushes(host)
    except Busy:
        host.report.note("what was pulled is not in the history yet")
        return None
    message = f"push of {done.target}"
    for revision in host.store.history(limit=_RECENT):
        if revision.message == message and revision.stamp.time_ns >= began_ns:
            return revision.id
    return None
