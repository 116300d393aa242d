"""Which captured files would a server's account be able to read, that few may read here?

Called by `join`, before anything leaves the machine, and by `doctor`. It reads the store only.
"""

from __future__ import annotations

from pacha.core.entry import parse_entry
from pacha.ops.history import entries_at, log, newest, node_at, stored_content
from pacha.ops.host import Host

_OTHERS_READ = 0o004


def exposed(host: Host, *, with_history: bool = True) -> list[bytes]:
    """The files of the last revision which others may not read, and whose content is stored in the clear: in
    that revision or, `with_history`, in an earlier one; sorted.
    """
    last = newest(host) if host.store.exists else None
    if last is None:
        return []
    found: list[bytes] = []
    sealed: list[bytes] = []
    for path, line in entries_at(host, last.position, b"/").items():
        entry = parse_entry(line)
        if entry.has_content and not entry.mode & _OTHERS_READ:
            (found if entry.sealed is None else sealed).append(path)
    return sorted(found + (_clear_before(host, sealed) if with_history else []))


def _clear_before(host: Host, paths: list[bytes]) -> list[bytes]:
    """Those of the secrets whose content an earlier revision has in the clear."""
    found: set[bytes] = set()
    for told in list(log(host, paths)) if paths else ():
        for path, _, _, after in told.changes:
            if path in found or path not in paths or after is None or not after.has_content or after.sealed:
                continue
            node = node_at(host, told.revision.position, path)
            if node is not None and stored_content(host, path, node) is not None:
                found.add(path)
    return sorted(found)
