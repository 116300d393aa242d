"""What is to be signed of a deployment; `core/signed` tells what that means, and who reads it.

Called by `pacha sign`. It must not look at any file, nor at the clock, nor sign.
"""

from __future__ import annotations

from collections.abc import Iterable

from pacha.core.deployment import FILES, HOOKS, STATEMENT_FILE, TEMPLATES, Sources
from pacha.core.deployment_file import FILE_NAME
from pacha.core.entry import DIRECTORY, FILE, content_digest
from pacha.core.errors import UsageError
from pacha.core.parcel import Deployment, digest_of, escaped
from pacha.core.parcel_line import STATEMENT_AT_MOST
from pacha.core.quantities import DAY, MINUTE, SECOND, format_duration
from pacha.core.signed import HOST_AT_MOST, SERIAL_AHEAD, Statement, render, time_words

USUAL = "30d"
_SHORTEST_NS, _LONGEST_NS = MINUTE, 366 * DAY


def new_statement(
    sources: Sources,
    deployments: Iterable[tuple[str, Deployment]],
    valid_ns: int,
    now_ns: int,
    before: Statement | None,
) -> Statement:
    """What is to be signed now: for each host what it shall be; `before`: what was signed last. UsageError
    where that cannot be.
    """
    if not _SHORTEST_NS <= valid_ns <= _LONGEST_NS:
        shortest, longest = format_duration(_SHORTEST_NS), format_duration(_LONGEST_NS)
        words = f"--valid {format_duration(valid_ns)}: at least {shortest} and at most {longest}"
        raise UsageError(words, hint="after that time no host takes it; the default is 30d")
    now = now_ns // SECOND
    serial = max(now, before.serial + 1 if before is not None else 0)
    if serial > now + SERIAL_AHEAD:
        words = f"{STATEMENT_FILE} was signed in the future, by this machine's clock ({time_words(now)})"
        raise UsageError(words, hint=f"set the clock, or remove {STATEMENT_FILE}")
    hosts: dict[str, str] = {}
    for host, deployment in deployments:
        made = digest_of(deployment)
        if hosts.setdefault(host, made) != made:
            raise UsageError(f"{host} is named twice, with other values each time", hint="name it once")
        if not 0 < len(host) <= HOST_AT_MOST or not host.isprintable():
            raise UsageError(f"{host[:80]!a} can be no name of a host", hint="name it as its pacha.toml does")
    until = now + valid_ns // SECOND
    found = Statement(sources.name, serial, now, until, hosts, contents_of(sources))
    if len(render(found)) > STATEMENT_AT_MOST:
        raise UsageError("there is too much to sign at once", hint="fewer hosts, or fewer files, at a time")
    return found


def contents_of(sources: Sources) -> dict[str, str]:
    """The digest of each file of a deployment's directory, and of where each link leads."""
    parts = ((FILES, sources.files), (TEMPLATES, sources.templates), (HOOKS, sources.hooks))
    found = {}
    if sources.settings:
        found[FILE_NAME] = content_digest(sources.settings.encode("utf-8", "surrogateescape")).decode()
    for part, entries in parts:
        for one in entries:
            if one.kind != DIRECTORY:
                data = one.data if one.kind == FILE else one.target
                found[part + escaped(one.path)] = content_digest(data).decode()
    return found
