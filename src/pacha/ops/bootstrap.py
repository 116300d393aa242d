"""Bring Pacha to hosts that have none: look what they are, send what fits, start it once.

Called by the verb `push` for the hosts that said so, over the same connections. Connections and archives are
handed in. It must not install anything but Pacha, nor let the host fetch anything. A host that says nothing
for `ops/push.SILENCE` is given up: what looks answers at once, what installs tells each thing that it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pacha.core.answer import NO_PACHA, Line, silence
from pacha.core.errors import PachaError
from pacha.core.ssh_trouble import FAILED, Trouble, explain, last_line
from pacha.ops.push import SILENCE, Sessions

_PREFIX = "/usr/local"
_TICK = 1.0  # seconds
_NO_PYTHON = 96
_LONGEST = 4096  # characters of what a host says that is taken over
# Said by the first Python there that Pacha runs on: what it is, and whether it may install.
_LOOK = (
    "import json,os,sys;"
    "libc='glibc' if 'CS_GNU_LIBC_VERSION' in os.confstr_names else 'musl';"
    f"may=os.access('{_PREFIX}',os.W_OK);"
    "print(json.dumps([sys.executable,sys.version_info[:2],os.uname().machine,libc,may]))"
)
_FIND = (
    "for p in python3 python3.13 python3.12 python3.11; do "
    "$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && "
    f'exec $p -c "{_LOOK}"; done; exit {_NO_PYTHON}'
)

# (Python's version, processor, C library) → the archive that fits.
Archives = Callable[[tuple[int, int], str, str], bytes]


def bootstrap(
    sessions: Sessions,
    hosts: Iterable[str],
    arrival: bytes,
    archive_for: Archives,
    jobs: int,
    clock: Callable[[], float],
) -> dict[str, Trouble | None]:
    """What kept each host from having Pacha now, None where nothing did."""
    found: dict[str, Trouble | None] = {}
    sending: dict[str, tuple[str, Iterable[bytes]]] = {}
    made: dict[tuple[Any, ...], bytes] = {}
    for host, end in _run(sessions, dict.fromkeys(hosts, (_FIND, ())), jobs, clock).items():
        looked = _looked(end.said)
        if looked is None:
            found[host] = _not_looked(host, end)
            continue
        executable, fits, may = looked
        if not may:
            found[host] = Trouble(
                "permission", f"{_PREFIX} cannot be written there", "log in as root: root@HOST"
            )
            continue
        try:
            if fits not in made:
                made[fits] = archive_for(*fits)
        except PachaError as problem:
            found[host] = Trouble(NO_PACHA, str(problem), problem.hint)
            continue
        sending[host] = _command(executable, len(arrival)), (arrival, made[fits])
    for host, end in _run(sessions, sending, jobs, clock).items():
        found[host] = _outcome(host, end)
    return found


def _command(executable: str, length: int) -> str:
    """Run as many bytes of the stream as a program; the rest is for that."""
    words = f"import sys; exec(compile(sys.stdin.buffer.read({length}), 'arrival', 'exec'))"
    return f"{_quoted(executable)} -c {_quoted(words)} {_PREFIX}"


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


class _End:
    """How a command ended, and the last line that it said; `is_silent` where it was given up."""

    def __init__(self, now: float) -> None:
        self.heard = now  # when it last said something
        self.said = b""
        self.exit = FAILED
        self.words = ""
        self.is_silent = False


def _run(
    sessions: Sessions,
    commands: Mapping[str, tuple[str, Iterable[bytes]]],
    jobs: int,
    clock: Callable[[], float],
) -> dict[str, _End]:
    """Run a command at each of the hosts, so many at once."""
    waiting = list(commands)[::-1]
    running: dict[str, _End] = {}
    ended: dict[str, _End] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            host = waiting.pop()
            running[host] = _End(clock())
            sessions.start(host, *commands[host])
        for event in sessions.wait(_TICK):
            end = running.get(event.destination)
            if end is None:
                continue
            if isinstance(event, Line):
                end.said, end.heard = event.text, clock()
            else:
                end.exit, end.words = event.exit, event.words
                ended[event.destination] = running.pop(event.destination)
        for host in [host for host, end in running.items() if clock() - end.heard > SILENCE]:
            sessions.stop(host)
            ended[host] = running.pop(host)
            ended[host].is_silent = True
    return ended


def _looked(said: bytes) -> tuple[str, tuple[tuple[int, int], str, str], bool] | None:
    """(its Python, what an archive must fit, whether it may install); None where a host does not say that."""
    match _parsed(said):
        case [str(executable), [int(major), int(minor)], str(processor), str(libc), bool(may)]:
            if all(one.isprintable() and len(one) <= _LONGEST for one in (executable, processor, libc)):
                return executable, ((major, minor), processor, libc), may
    return None


def _parsed(said: bytes) -> Any:
    """What a line holds, None where it is no JSON: it is somebody else's."""
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return None


def _not_looked(host: str, end: _End) -> Trouble:
    if end.is_silent:
        return silence(host, SILENCE)
    if end.exit == FAILED:
        return explain(host, end.words)
    if end.exit == _NO_PYTHON:
        return Trouble(NO_PACHA, "it has no Python 3.11, 3.12 or 3.13", "install python3 there")
    hint = "the key that is used there may be bound to a command"
    return Trouble(
        NO_PACHA, f"it does not say what it is: {last_line(end.words) or f'exit {end.exit}'}", hint
    )


def _outcome(host: str, end: _End) -> Trouble | None:
    if end.is_silent:
        return silence(host, SILENCE)
    if end.exit == FAILED:
        return explain(host, end.words)
    said = _parsed(end.said)
    if isinstance(said, dict) and said.get("ok") is True:
        return None
    message = said.get("message") if isinstance(said, dict) else None
    words = message[:_LONGEST] if isinstance(message, str) else last_line(end.words) or f"exit {end.exit}"
    return Trouble("failed", f"Pacha could not be installed: {words}")
