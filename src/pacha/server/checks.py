"""What `doctor` says of a server: can hosts get in, and is what they send safe?

Called by the verb, last: root becomes the account that serves on the way. It mends nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from pacha.core.errors import PachaError
from pacha.core.sshd_settings import BAD, OK, WARNING
from pacha.server.wiring import Serving

_LITTLE_SPACE = 1_000_000_000


def server_checks(serving: Serving) -> list[tuple[str, str, str, str]]:
    """(name, state, words, mend) of each."""
    found: list[tuple[str, str, str, str]] = []
    for name, work in _CHECKS:
        try:
            found += [(name, *one) for one in work(serving)]
        except (PachaError, OSError) as problem:
            found.append((name, BAD, str(problem), getattr(problem, "hint", "")))
    return found


def _sshd(serving: Serving) -> list[tuple[str, str, str]]:
    findings = serving.readiness()  # as root, where root asks
    return [(one.state, one.words, one.mend) for one in findings] or [
        (OK, f"it lets hosts in as {serving.account.name}", "")
    ]


def _program(serving: Serving) -> list[tuple[str, str, str]]:
    _ = serving.registry
    findings = serving.program_findings()
    return [(one.state, one.words, one.mend) for one in findings] or [
        (OK, f"sshd can start {serving.program[0]}", "")
    ]


def _keys(serving: Serving) -> list[tuple[str, str, str]]:
    hosts = serving.hosts
    missing = hosts.without_key()
    if missing:
        words = f"{hosts.keys.path} is not as it should be for {', '.join(missing[:5])}"
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return [(BAD, words + more, "pacha server init")]
    return [(OK, f"{hosts.keys.path} has the line of every host", "")]


def _histories(serving: Serving) -> list[tuple[str, str, str]]:
    path = os.fsdecode(serving.registry.hosts)
    status = os.stat(path)
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return [(BAD, f"{path} can be read by others (mode {mode:04o})", f"chmod 0700 {path}")]
    figures = os.statvfs(path)
    free = figures.f_bavail * figures.f_frsize
    if free < _LITTLE_SPACE:
        words = f"{free // 1_000_000} MB free for {path}"
        return [
            (WARNING, words, "free some space: when it is full, hosts keep their revisions to themselves")
        ]
    return [(OK, f"{free // 1_000_000:,} MB free for {path}", "")]


def _silent(serving: Serving) -> list[tuple[str, str, str]]:
    registry = serving.registry
    never = [name for name in registry.hosts_let_in() if registry.seen(name) is None]
    if not never:
        return [(OK, "every host has sent something", "")]
    words = f"{', '.join(never[:5])}{' …' if len(never) > 5 else ''} never sent anything"
    return [(WARNING, words, "there: pacha join, then pacha doctor")]


def _deployments(serving: Serving) -> list[tuple[str, str, str]]:
    from pacha.server.deliver import prepared

    registry, wrong = serving.registry, []
    names = registry.deployment_names()
    for name in names:
        try:
            prepared(registry, name)
        except PachaError as problem:
            mend = problem.hint or "no host can pull it before that is mended"
            wrong.append((WARNING, f"{registry.deployments}: {problem}", mend))
    words = f"{len(names)} can be pulled from {registry.deployments}"
    return wrong or [(OK, words, "")]


_CHECKS: list[tuple[str, Callable[[Serving], list[tuple[str, str, str]]]]] = [
    ("sshd", _sshd),
    ("forced command", _program),
    ("keys", _keys),
    ("histories", _histories),
    ("hosts", _silent),
    ("deployments", _deployments),
]
