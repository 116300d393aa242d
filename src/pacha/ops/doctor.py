"""Doctor: small named checks of everything that Pacha stands on, each with the mend.

Called by the verb. It changes nothing and stops at nothing: a check that fails, whatever fails in it, is a
finding.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from pacha.core.errors import PachaError
from pacha.core.shown import shown as show_path
from pacha.ops.heal import is_pushed
from pacha.ops.history import newest
from pacha.ops.host import Host
from pacha.ops.owed import owed_at
from pacha.ops.status import unfinished
from pacha.ops.tip import must_be_there

OK, WARNING, BAD = "ok", "warning", "bad"
_YEAR_NS = 365 * 86_400 * 1_000_000_000
_LITTLE_SPACE = 100_000_000
_NAMED_AT_MOST = 3


class Check(NamedTuple):
    """One check; `mend` is what to run or change, empty where all is well."""

    name: str
    state: str
    words: str
    mend: str = ""


def doctor(host: Host) -> list[Check]:
    """Run all checks that concern a host whose configuration could be read."""
    checks = []
    for name, work in _CHECKS.items():
        try:
            checks += [Check(name, *found) for found in work(host)]
        except (PachaError, OSError) as problem:
            checks.append(Check(name, BAD, str(problem), getattr(problem, "hint", "")))
    return checks


def _state(host: Host) -> list[tuple[str, ...]]:
    status = os.stat(host.state)
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return [(BAD, f"{host.state} can be read by others (mode {mode:04o})", f"chmod 0700 {host.state}")]
    return [(OK, f"{host.state} is private")]


def _space(host: Host) -> list[tuple[str, ...]]:
    figures = os.statvfs(host.state)
    free = figures.f_bavail * figures.f_frsize
    if free < _LITTLE_SPACE:
        return [
            (
                BAD,
                f"{free // 1_000_000} MB free for {host.state}",
                "free some space: captures stop when it is full",
            )
        ]
    return [(OK, f"{free // 1_000_000:,} MB free for {host.state}")]


def _store(host: Host) -> list[tuple[str, ...]]:
    must_be_there(host)
    if not host.store.exists:
        return [(WARNING, "nothing has been captured yet", "pacha watch /etc")]
    last = newest(host)
    if last is None:
        return [(WARNING, "the store has no revision", "pacha capture")]
    if last.stamp.host != host.name:
        mend = f'host = "{last.stamp.host}" in the configuration, or another state folder'
        return [(BAD, f"the store is of host {last.stamp.host}, this host is {host.name}", mend)]
    if last.stamp.machine != host.machine:
        return [(WARNING, "the last revision was made on another machine: a clone, or a restored disk?", "")]
    return [(OK, f"{last.position + 1} revisions, the last {last.id}")]


def _clock(host: Host) -> list[tuple[str, ...]]:
    last = newest(host) if host.store.exists else None
    now = host.now_ns()
    if last is not None and last.stamp.time_ns > now:
        return [
            (
                WARNING,
                "the last revision is in the future: the clock was wrong then, or is now",
                "check the clock",
            )
        ]
    if last is not None and now - last.stamp.time_ns > 10 * _YEAR_NS:
        return [(WARNING, "the last revision is more than ten years old", "check the clock")]
    return [(OK, "the clock goes on from the last revision")]


def _left_behind(host: Host) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    if host.store.exists and host.store.is_abandoned:
        found.append((WARNING, "a transaction was abandoned", "any pacha capture undoes it"))
    # A push that is done and not recorded yet is at work, or waits for whoever looks at the history next.
    if any(not is_pushed(journal, complete) for journal, complete in host.journals.all()):
        words = "an operation waits to be confirmed, or was interrupted"
        found.append((WARNING, words, "pacha status tells which"))
    for folder in host.left_rehearsals():
        words = f"a rehearsal that was killed has left {show_path(os.fsencode(folder))}"
        found.append((WARNING, words, "the next pacha rebuild --rehearse removes it"))
    if (name := unfinished(host)) is not None:
        words = f"a rebuild of {name} was begun and has not ended"
        found.append((WARNING, words, f"pacha rebuild {name} -n tells what is left"))
    elif (last := newest(host)) is not None and (lacks := owed_at(host, last)) is not None:
        words = f"this machine is not wholly what the host was at {lacks.aim.id}"
        found.append((WARNING, words, f"pacha rebuild {last.stamp.host} -n tells what is left"))
    if host.system.holds_services:
        words = "no service starts when packages are installed: a rebuild is under way, or was killed"
        mend = "run that pacha rebuild again, or rm /usr/sbin/policy-rc.d"
        found.append((WARNING, words, mend))
    return found or [(OK, "nothing was left behind by a killed process")]


def _watches(host: Host) -> list[tuple[str, ...]]:
    if not host.config.watch:
        return [(WARNING, "nothing is watched", "pacha watch /etc")]
    last = newest(host)
    is_owed = unfinished(host) is not None or (last is not None and owed_at(host, last) is not None)
    found: list[tuple[str, ...]] = []
    for path in host.config.watch:
        shown = show_path(path)
        status = host.tree.lstat(path)
        if status is None:
            mend = f"pacha unwatch {shown}, or make it"
            if is_owed:  # it may be what is still to come
                mend = f"pacha rebuild {last.stamp.host if last else host.name} brings back what was there"
            found.append((WARNING, f"{shown} does not exist", mend))
        elif stat.S_ISLNK(status.st_mode):
            found.append(
                (WARNING, f"{shown} is a symbolic link: only the link is recorded", "watch what it points to")
            )
        elif (
            status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode) and not status.st_mode & stat.S_ISVTX
        ):
            found.append((WARNING, f"{shown} can be written by others than its owner", f"chmod go-w {shown}"))
    return found or [(OK, f"{len(host.config.watch)} watched")]


def _servers(host: Host) -> list[tuple[str, ...]]:
    if not host.config.servers:
        return [(OK, "standalone: the history is on this machine only")]
    from pacha.ops.send import compare

    found: list[tuple[str, ...]] = []
    for address in host.config.servers:
        try:
            copy = compare(host, address)
            found.append((OK if copy.stand == "same" else WARNING, f"{address} {copy.words}", ""))
        except PachaError as problem:
            found.append((BAD, str(problem), problem.hint))
    return found


def _secrets(host: Host) -> list[tuple[str, ...]]:
    from pacha.ops.secrets_health import secrets_health

    troubles = secrets_health(host)
    if troubles:
        return [(BAD if one.is_bad else WARNING, one.words, one.mend) for one in troubles]
    named = host.config.secrets_paths
    return [(OK, "encrypted, and recovery survives the host" if named else "none are configured")]


def _signers(host: Host) -> list[tuple[str, ...]]:
    path = host.config.push_allowed_signers
    if path is None:
        return []
    from pacha.ops.signing import read_signers

    lines = [line for line in read_signers(host, path).splitlines() if line.strip() and line[:1] != b"#"]
    if not lines:
        words = f"{show_path(path)} is empty: no push is taken"
        return [(WARNING, words, "a line for each person: docs/how-to/sign.md")]
    return [(OK, f"only what one of {len(lines)} in {show_path(path)} has signed is taken")]


def _exposed(host: Host) -> list[tuple[str, ...]]:
    from pacha.ops.exposed import exposed

    paths = exposed(host, with_history=False) if host.config.servers else []
    if not paths:
        return [(OK, "no captured file that is closed to others is sent in the clear")]
    first = ", ".join(show_path(path) for path in paths[:_NAMED_AT_MOST])
    more = f" and {len(paths) - _NAMED_AT_MOST:,} more" if len(paths) > _NAMED_AT_MOST else ""
    words = f"closed to others here, and in the clear on the server: {first}{more}"
    return [(WARNING, words, '[secrets] paths = ["PATH"] encrypts one: docs/how-to/secrets.md')]


_CHECKS: dict[str, Callable[[Host], list[tuple[str, ...]]]] = {
    "state folder": _state,
    "free space": _space,
    "store": _store,
    "clock": _clock,
    "left behind": _left_behind,
    "watches": _watches,
    "servers": _servers,
    "secrets": _secrets,
    "exposed": _exposed,
    "signers": _signers,
}
