"""Is there anything to be told of the secrets: too few recipients, a lost key, contents encrypted for others?

Called by `doctor`. It makes no key and changes nothing.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pacha.core.entry import Entry, parse_entry
from pacha.core.shown import shown
from pacha.ops.history import entries_at, newest
from pacha.ops.host import Host
from pacha.ops.secrets import too_few


class Trouble(NamedTuple):
    """One thing, and what to do."""

    is_bad: bool
    words: str
    mend: str


def secrets_health(host: Host) -> list[Trouble]:
    """All that there is to be told."""
    last = newest(host) if host.store.exists else None
    lines = entries_at(host, last.position, b"/") if last is not None else {}
    entries = {path: parse_entry(line) for path, line in lines.items()}
    return [*_recipients(host), *_own_key(host, entries), *_contents(host, entries)]


def _recipients(host: Host) -> list[Trouble]:
    words = too_few(host)
    mend = "recipients = [two public keys, whose private keys lie elsewhere]; then pacha secrets rekey"
    return [Trouble(False, words, mend)] if host.secrets.named and words else []


def _own_key(host: Host, entries: dict[bytes, Entry]) -> list[Trouble]:
    path = os.path.join(host.state, "secrets", "identity")
    if host.secrets.has_own:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o077:
            return [Trouble(True, f"{path} can be read by others (mode {mode:04o})", f"chmod 0600 {path}")]
        return []
    if any(entry.sealed for entry in entries.values()):
        words = f"this host's own key is gone ({path}): what is stored can be read with a recovery key only"
        return [Trouble(False, words, "put it back from a backup, or go on: pacha capture makes a new one")]
    return []


def _contents(host: Host, entries: dict[bytes, Entry]) -> list[Trouble]:
    """What is stored otherwise than the configuration says."""
    found = []
    named = host.secrets.named
    clear = [p for p, e in entries.items() if e.has_content and e.sealed is None and named.covers(p)]
    if clear:
        words = f"{_counted(clear)} named as secret and still in the clear in the last revision"
        found.append(Trouble(True, words, "pacha capture"))
    sealed = [p for p, e in entries.items() if e.sealed]
    stale = [p for p in sealed if host.secrets.has_own and entries[p].sealed != host.secrets.sealed]
    if stale and named:
        words = f"{_counted(stale)} encrypted for other recipients than those configured now"
        found.append(Trouble(False, words, "pacha secrets rekey"))
    if sealed and not named:
        words = f"{_counted(sealed)} encrypted in the last revision and no secret any more"
        mend = "put it into [secrets] again, unless the next capture is to hold it in the clear"
        found.append(Trouble(False, words, mend))
    return found


def _counted(paths: list[bytes]) -> str:
    first = shown(min(paths))
    return f"{first} is" if len(paths) == 1 else f"{first} and {len(paths) - 1} more are"
