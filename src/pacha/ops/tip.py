"""Bring the index up to the store: whatever the index says of another line of revisions, or of another
machine, is worthless.

Called before every scan. The usual case costs one stat. A cold index takes its lines from the store's newest
revision and keeps a signature only where the line is still the same, so what was committed by a process that
died before it wrote the index makes no second revision.
"""

from __future__ import annotations

from collections.abc import Iterator

from pacha.core.entry import split_directory
from pacha.core.errors import DamagedStore, NoSpace, ReadOnly
from pacha.core.names import META, meta_directory
from pacha.core.quantities import time_name
from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.tracked import Row
from pacha.ops.host import Host, Past


def tip_of(host: Host) -> str:
    """The store's newest revision, empty where there is none, with the index made to agree with it."""
    tip = _agreed(host)
    if host.secrets.named:
        _agree_on_key(host)
    return tip


def _agree_on_key(host: Host) -> None:
    """Where the host's own key is another than when secrets were read, their digests say nothing: what looks
    unchanged is to be read again.
    """
    own = host.secrets.own.key.encode()
    if host.index.get("own") == own:
        return
    rows = (row for directory in host.index.directories(b"/") for row in host.index.rows(directory).values())
    unread = [row._replace(signature=b"") for row in rows if b"\tsecret=" in row.line]
    host.index.change(rows=unread, values={"own": own})


def _agreed(host: Host) -> str:
    signature = host.store.signature()
    if not signature:
        must_be_there(host)
        if host.index.count():
            host.index.replace([], _values(host, "", b"", b""))
        return ""
    if host.index.get("changelog") == signature and host.index.get("machine") == place_of(host):
        return (host.index.get("tip") or b"").decode()
    tip = host.store.tip()
    if tip != (host.index.get("tip") or b"").decode() or host.index.get("machine") != place_of(host):
        _reload(host, tip, signature)
    else:
        try:
            host.index.change(values={"changelog": signature})
        except (NoSpace, ReadOnly):  # it would have spared the next command a question
            pass
    return tip


def begin_anew(host: Host) -> bytes:
    """Have no history any more; where the store is from now on. Who is killed has it still, or none."""
    host.index.replace([], _values(host, "", b"", b""))
    host.store.close()
    place = host.archive.retire(time_name(host.now_ns()), host.store.path)
    tip_of(host)
    return place


def must_be_there(host: Host) -> None:
    """Raise DamagedStore where this host had a history and has none now: it must not silently begin anew."""
    if host.store.signature():
        return
    tip = host.index.get("tip")
    if tip and host.index.get("machine") == place_of(host):
        shown = host.store.path.decode("utf-8", "replace")
        raise DamagedStore(
            f"the history is gone: its last revision was {tip[:12].decode()}, and {shown} has none",
            hint=f"put the store back; to begin anew, remove {host.state}/index.sqlite as well",
        )


def lines_at(host: Past, position: int, prefixes: list[bytes]) -> dict[bytes, dict[bytes, bytes]]:
    """`{directory: {name: line}}` of a revision, restricted to the given prefixes of store paths (all of
    `meta/` where none).
    """
    files = host.store.files(position, prefixes or [META + b"/"])
    wanted = [(path, node) for path, node in files.items() if path.startswith(META + b"/")]
    lines = {}
    for (path, _), text in zip(wanted, host.store.contents(wanted), strict=True):
        try:
            lines[meta_directory(path)] = split_directory(text or b"")
        except ValueError as problem:
            raise DamagedStore(f"{path.decode('utf-8', 'replace')} cannot be read: {problem}") from problem
    return lines


def text_at(host: Past, position: int, path: bytes) -> bytes:
    """What a revision has at a store path, such as its rules; empty where it has nothing there."""
    node = host.store.files(position, [path]).get(path)
    if node is None:
        return b""
    (text,) = list(host.store.contents([(path, node)]))
    return text or b""


def last_of(host: Host) -> Revision | None:
    """The newest revision as the index has it, without its files; `tip_of` must have been called."""
    text = host.index.get("last")
    return Revision.load(text) if text else None


def _reload(host: Host, tip: str, signature: bytes) -> None:
    last = host.store.find(tip) if tip else None
    same_place = host.index.get("machine") == place_of(host)
    lines = lines_at(host, last.position, []) if last else {}
    rows = list(_rows(host, lines, same_place))
    values = _values(host, tip, signature, text_at(host, last.position, RULES) if last else b"")
    host.index.replace(rows, {**values, "last": last.dump() if last else b""})


def _rows(host: Host, lines: dict[bytes, dict[bytes, bytes]], same_place: bool) -> Iterator[Row]:
    for directory, names in lines.items():
        known = host.index.rows(directory) if same_place else {}
        for name, line in names.items():
            row = known.get(name)
            yield row if row is not None and row.line == line else Row(directory, name, b"", None, line)


def _values(host: Host, tip: str, signature: bytes, rules: bytes) -> dict[str, bytes]:
    return {
        "format": (host.index.get("format") or b""),
        "machine": place_of(host),
        "tip": tip.encode(),
        "changelog": signature,
        "rules": rules,
    }


def place_of(host: Host) -> bytes:
    """What a stat signature is worth something on: this machine and this root."""
    return host.machine.encode() + b" " + host.tree.root
