"""Rekey: encrypt the present secrets for the recipients that the configuration names now.

Called by `secrets rekey`. The contents come from the live files, so no private key is needed. The outcome is
a revision like any other; what is in older ones stays readable for those that it was encrypted for.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from pacha.core.changes import Change
from pacha.core.recipients import Recipient
from pacha.ops.capture import Captured, look, record
from pacha.ops.heal import heal
from pacha.ops.host import Host
from pacha.ops.moments import on_failure
from pacha.ops.secrets import recipients_of
from pacha.ops.tip import tip_of

CAUSE = "rekey"


class Rekeyed(NamedTuple):
    """The outcome: `captured` is None for a dry run; `former` are recipients that are none any more."""

    captured: Captured | None
    paths: list[bytes]
    recipients: list[Recipient]
    former: list[Recipient]


def rekey(host: Host, *, dry_run: bool) -> Rekeyed:
    """Record what changed, and every secret that is encrypted for others than those configured now."""
    with host.lock, on_failure(host, CAUSE), closing(host.new_spool()) as spool:
        heal(host)
        tip_of(host)
        seen = look(host, None, None if dry_run else spool, None, resealing=True)
        stale = [change for change in seen.changes if _is_stale(change)]
        former = _former(host, stale)
        paths = [change.path for change in stale]
        done = None if dry_run else record(host, None, cause=CAUSE, unpaced=None, seen=seen)
        return Rekeyed(done, paths, host.secrets.recipients, former)


def _is_stale(change: Change) -> bool:
    before, after = change.before and change.before.sealed, change.after and change.after.sealed
    return before is not None and after is not None and before != after


def _former(host: Host, changes: list[Change]) -> list[Recipient]:
    """Who could read what is encrypted anew, and cannot read what comes from now on."""
    sets = {change.before.sealed for change in changes if change.before is not None and change.before.sealed}
    known = {one for sealed in sets if sealed for _, one in recipients_of(host, sealed)}
    now = {one.key for one in host.secrets.recipients}
    return sorted(one for one in known if one.key not in now)
