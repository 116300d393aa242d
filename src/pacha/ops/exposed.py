"""Which captured files would a server's account be able to read, that few may read here?

Called by `join`, before anything leaves the machine. It reads the store only.
"""

from __future__ import annotations

from pacha.core.entry import parse_entry
from pacha.ops.history import entries_at, newest
from pacha.ops.host import Host

_OTHERS_READ = 0o004


def exposed(host: Host) -> list[bytes]:
    """The files of the last revision whose content is stored and which others may not read, sorted."""
    last = newest(host) if host.store.exists else None
    if last is None:
        return []
    found = []
    for path, line in entries_at(host, last.position, b"/").items():
        entry = parse_entry(line)
        if entry.has_content and not entry.mode & _OTHERS_READ:
            found.append(path)
    return sorted(found)
