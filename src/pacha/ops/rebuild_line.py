"""The history of a machine that is rebuilt: it goes on with the host's, if it is to be that host.

Called by `ops/rebuild`. A copy of a host (`--as-new`), and a machine that only gets single paths, keep their
own. It writes no live file.
"""

from __future__ import annotations

from pacha.core.errors import NotFound, UsageError
from pacha.core.quantities import time_name
from pacha.ops.host import Host, Kept
from pacha.ops.rebuild_plan import Desired, Request
from pacha.ops.tip import last_of, tip_of


def takes_history(host: Host, source: Kept, request: Request) -> bool:
    """Whether this machine is to go on with a line that it does not have."""
    is_the_source = source.store.path == host.store.path
    return _becomes(host, request) and not is_the_source and not has(host, source.store.tip())


def check_name(host: Host, request: Request) -> None:
    """Raise UsageError where single paths would give another name to a machine that has a history."""
    last = last_of(host)
    if request.only and request.as_new and last is not None and last.stamp.host != request.as_new:
        raise UsageError(
            f"this machine has a history as {last.stamp.host}: single paths do not make it {request.as_new}",
            hint="leave --as-new out",
        )


def continue_line(host: Host, source: Kept, request: Request, desired: Desired) -> bool:
    """Put the host's line into the place of this machine's own, if it is to be this host's; whether so."""
    if request.as_new:
        host.name = request.as_new
    if not _becomes(host, request):
        return False
    takes = takes_history(host, source, request)
    host.name = request.name
    if takes:
        _take(host, source)
    last = last_of(host)
    if last is not None and last.stamp.machine and b"/etc/machine-id" in desired.lines:
        host.machine = last.stamp.machine  # which it is about to get back
        tip_of(host)
    return takes


def has(host: Host, node: str) -> bool:
    """Whether a revision is in this machine's own history."""
    try:
        return host.store.exists and bool(host.store.find(node))
    except NotFound:
        return False


def _becomes(host: Host, request: Request) -> bool:
    """Whether this machine is that host from now on: single paths come to it itself only, and before it has
    any history.
    """
    if request.as_new or not request.only:
        return not request.as_new
    return host.name == request.name and not _tip(host)


def _take(host: Host, source: Kept) -> None:
    tip = _tip(host)
    built = host.archive.begin(time_name(host.now_ns()))
    try:
        source.store.copy(built, is_foreign=source.is_foreign)
        host.store.close()
        place = host.archive.put(built, host.store.path)
    finally:
        host.archive.drop(built)
    tip_of(host)
    if tip and not has(host, tip):
        host.report.note(f"this machine's own history is kept in {place.decode('utf-8', 'replace')}")


def _tip(host: Host) -> str:
    return host.store.tip() if host.store.exists else ""
