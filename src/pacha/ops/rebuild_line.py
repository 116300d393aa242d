"""The history of a machine that is rebuilt: it goes on with the host's, if it is to be that host.

Called by `ops/rebuild`. A copy of a host (`--as-new`), and a machine that only gets single paths, keep their
own; but a copy that had another host's begins anew, as one line is of one host. It writes no live file.
"""

from __future__ import annotations

import re

from pacha.core.errors import NotFound, UsageError
from pacha.core.owed import OWED
from pacha.core.packages import is_missing
from pacha.core.quantities import time_name
from pacha.core.revision import PART_REBUILD, REBUILD, SHORT_REBUILD
from pacha.ops.host import Host, Kept
from pacha.ops.owed import owed_text, owes, still_owed, to_be_noted
from pacha.ops.rebuild_plan import Desired, Draft, Request, last_of_another, texts_of
from pacha.ops.tip import begin_anew, last_of, tip_of

_MACHINE_ID = b"/etc/machine-id"
_FORM = re.compile(rb"[0-9a-f]{32}")


def takes_history(host: Host, source: Kept, request: Request) -> bool:
    """Whether this machine is to go on with a line that it does not have."""
    is_the_source = source.store.path == host.store.path
    return becomes(host, request) and not is_the_source and not has(host, source.store.tip())


def leaves_history(host: Host, request: Request) -> bool:
    """Whether this machine has a line of another host than it is to be now, as a copy."""
    last = last_of(host)
    return bool(request.as_new) and last is not None and last.stamp.host != request.as_new


def check_name(host: Host, request: Request) -> None:
    """Raise UsageError where single paths would give another name to a machine that has a history."""
    last = last_of(host)
    if request.only and last is not None and leaves_history(host, request):
        raise UsageError(
            f"this machine has a history as {last.stamp.host}: single paths do not make it {request.as_new}",
            hint="leave --as-new out",
        )


def continue_line(host: Host, source: Kept, request: Request, desired: Desired) -> None:
    """Put the line that this machine is to go on with into the place of its own."""
    if leaves_history(host, request):
        _tell_of(host, begin_anew(host))
        host.known_as(host.own_machine)
    if request.as_new:
        host.name = request.as_new
    if not becomes(host, request):
        return
    takes = takes_history(host, source, request)
    host.name = request.name
    if takes:
        _take(host, source, desired)
    else:
        _be_known(host, source, desired)


def becomes(host: Host, request: Request) -> bool:
    """Whether this machine is that host from now on: single paths come to it itself only, and before it has
    any history.
    """
    if request.as_new or not request.only:
        return not request.as_new
    return host.name == request.name and not _tip(host)


def has(host: Host, node: str) -> bool:
    """Whether a revision is in this machine's own history."""
    try:
        return host.store.exists and bool(host.store.find(node))
    except NotFound:
        return False


def _take(host: Host, source: Kept, desired: Desired) -> None:
    tip = _tip(host)
    built = host.archive.begin(time_name(host.now_ns()))
    try:
        source.store.copy(built, is_foreign=source.is_foreign)
        host.store.close()
        _be_known(host, source, desired)  # before anything can be captured onto that line
        place = host.archive.put(built, host.store.path)
    finally:
        host.archive.drop(built)
    tip_of(host)
    if tip and not has(host, tip):
        _tell_of(host, place)


def _be_known(host: Host, source: Kept, desired: Desired) -> None:
    """From now on this machine is the one that the line is of: whichever id it has, or is about to get back,
    a server knows it by that.
    """
    last = next(source.store.history(limit=1))
    if not last.stamp.machine:
        return
    text = texts_of(source, desired, [_MACHINE_ID] if _MACHINE_ID in desired.lines else [])
    restored = [one.decode() for one in text.values() for one in [one.strip()] if _FORM.fullmatch(one)]
    host.known_as(last.stamp.machine, restored)


# -- what is owed ------------------------------------------------------------------------------------------


def to_owe(host: Host, source: Kept, request: Request, desired: Desired) -> dict[str, str]:
    """What the history is to say while the machine is not wholly the host, for a rebuild's progress: as
    `owed` from its start; as `own` once something is written, where it is the host until then.
    """
    is_own = _is_the_host(host, source, request, desired)
    text = owed_text(host, desired.target, is_exact=request.to is not None, is_own=is_own)
    return {"own" if is_own else "owed": text}


def _is_the_host(host: Host, source: Kept, request: Request, desired: Desired) -> bool:
    """Whether it is that by its own line, and is to be what it was at another revision than the newest: given
    up before anything was written, or taken back, it owes nothing for that.
    """
    last = last_of(host)
    if last is None or last.stamp.host != request.name or takes_history(host, source, request):
        return False
    if to_be_noted(host) or last_of_another(host.store.history(), last) is not None:
        return False
    return request.to is not None or last.node != desired.target.node


def settles(host: Host, request: Request, plan: Draft) -> bool:
    """Whether the history says that this machine owes something, and by the plan nothing is missing."""
    is_short = plan.refused or any(map(is_missing, plan.deviations))
    return _is_of_all(request, plan.desired) and not is_short and becomes(host, request) and owes(host)


def outcome(
    host: Host, request: Request, desired: Desired, is_short: bool, becomes_it: bool, has_files: bool
) -> tuple[str, dict[bytes, bytes]]:
    """(the cause of the revision with the outcome, the texts to store): whether the machine is the host now,
    or owes something still. Where it `has_files` from this rebuild, what is done to them later is work.
    """
    if request.only and not becomes_it:
        return PART_REBUILD, {}
    is_whole = _is_of_all(request, desired) and not is_short
    is_settled = is_whole and (becomes_it or bool(request.as_new))
    texts = {OWED: b""} if is_settled else {}
    if not is_whole and becomes_it and has_files:
        texts = still_owed(host, desired.target, is_exact=request.to is not None)
    return REBUILD if is_whole else SHORT_REBUILD, texts


def _is_of_all(request: Request, desired: Desired) -> bool:
    """Whether nothing that the host has was left out, but hooks."""
    parts = {"users", "files", *(["packages"] if any(desired.facts.packages.values()) else [])}
    return not request.only and not request.skip & parts


def _tell_of(host: Host, place: bytes) -> None:
    host.report.note(f"this machine's own history is kept in {place.decode('utf-8', 'replace')}")


def _tip(host: Host) -> str:
    return host.store.tip() if host.store.exists else ""
