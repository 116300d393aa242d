"""One entry of a watched tree as Pacha records it, and the text line that says so.

Called by the scanner (which makes entries from live files), the store (which keeps them as lines of
`meta/<dir>/%meta`), the planner (which compares them) and the writer (which makes live files of them). It
must not read anything.

A line is `name TAB kind TAB key=value …`, the name first so that the sorted lines of a directory diff and
merge as text:

    hosts  file  mode=0644  owner=root:0  group=root:0  mtime=1700000000.123456789  sha256=…

`.` is the directory itself; subdirectories have files of their own. Keys stand in the order of
`render_entry` and are left out where they say nothing. Times are seconds since the epoch with nine digits of
nanoseconds; before 1970 the sign belongs to the whole: `-1.500000000` is 1.5 seconds before the epoch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pacha.core.digests import hexdigest
from pacha.core.names import decode, encode, escape, escape_all, unescape

FILE, DIRECTORY, SYMLINK = b"file", b"dir", b"symlink"
FIFO, SOCKET, BLOCK, CHARACTER = b"fifo", b"socket", b"block", b"char"
_XATTR = b"xattr:"
KINDS = (FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, BLOCK, CHARACTER)


class Entry(NamedTuple):
    """What is known of one entry. Numbers are the host's; names are empty where the host has none for the
    number.
    """

    kind: bytes
    mode: int  # permission bits with setuid, setgid and sticky; 0o777 for a symlink
    uid: int
    user: bytes
    gid: int
    group: bytes
    mtime: int | None = None  # nanoseconds since the epoch; None for a directory
    sha256: bytes | None = None  # of a file's content, hexadecimal; None where it was not read
    size: int | None = None  # only for a file whose content is not stored (too large)
    holes: tuple[tuple[int, int], ...] = ()  # (offset, length) of a sparse file's holes
    target: bytes | None = None  # of a symlink
    device: tuple[int, int] | None = None  # major and minor number
    link: bytes | None = None  # first path of the group of hard links
    acl: bytes | None = None  # access list in words (core/acl)
    default_acl: bytes | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()  # sorted by name
    flags: bytes = b""  # inode flags, of `a` (append only) and `i` (immutable)
    unstable: bool = False  # the file kept changing while it was read
    secret: bytes | None = None  # of a secret, in the place of sha256: the keyed digest (core/secrets)
    sealed: bytes | None = None  # of a secret whose content is stored, which is encrypted: for whom

    @property
    def digest(self) -> bytes | None:
        """What tells a file's content from another; None where it was not read."""
        return self.sha256 or self.secret

    @property
    def has_content(self) -> bool:
        """Whether the store holds bytes for it."""
        return self.kind == FILE and self.size is None

    def essence(self) -> Entry:
        """The entry without what alone is no change: the time.

        The time of a file whose content was not even digested is all that tells of a change, so it stays.
        """
        if self.kind == FILE and self.digest is None:
            return self
        return self._replace(mtime=None)

    def same_content(self, other: Entry) -> bool:
        """Whether both are the same thing but for metadata (owner, mode, attributes, times)."""
        return (
            self.kind == other.kind
            and self.digest == other.digest
            and self.target == other.target
            and self.device == other.device
            and (self.size == other.size or self.digest is not None)
            and (self.digest is not None or self.kind != FILE or self.mtime == other.mtime)
        )


def content_digest(content: bytes) -> bytes:
    """What stands as `sha256` in the entry of a file with this content."""
    return hexdigest(content).encode()


def _time(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return b"%s%d.%09d" % (sign, seconds, rest)


def _parse_time(text: bytes) -> int:
    sign = -1 if text.startswith(b"-") else 1
    seconds, _, rest = text.removeprefix(b"-").partition(b".")
    if len(rest) != 9 or not rest.isdigit():
        raise ValueError("malformed time")
    return sign * (int(seconds) * 1_000_000_000 + int(rest))


def _pairs(text: bytes, separator: bytes) -> tuple[tuple[int, int], ...]:
    return tuple((int(a), int(b)) for a, _, b in (item.partition(separator) for item in text.split(b",")))


@lru_cache(maxsize=8192)
def render_entry(entry: Entry) -> bytes:
    """The line without its name: what the index keeps."""
    optional = (
        (b"mtime", None if entry.mtime is None else _time(entry.mtime)),
        (b"size", None if entry.size is None else b"%d" % entry.size),
        (b"sha256", entry.sha256),
        (b"secret", entry.secret),
        (b"sealed", entry.sealed),
        (b"holes", b",".join(b"%d+%d" % hole for hole in entry.holes) or None),
        (b"target", None if entry.target is None else escape(entry.target)),
        (b"device", None if entry.device is None else b"%d:%d" % entry.device),
        (b"link", None if entry.link is None else escape(entry.link)),
        (b"acl", entry.acl),
        (b"default", entry.default_acl),
        *((_XATTR + escape_all(key).replace(b"=", b"%3D"), escape_all(value)) for key, value in entry.xattrs),
        (b"flags", entry.flags or None),
        (b"unstable", b"1" if entry.unstable else None),
    )
    owners = (escape(entry.user), entry.uid, escape(entry.group), entry.gid)
    fields = [entry.kind, b"mode=%04o" % entry.mode, b"owner=%s:%d\tgroup=%s:%d" % owners]
    return b"\t".join(fields + [b"%s=%s" % (key, value) for key, value in optional if value is not None])


def _owner(text: bytes) -> tuple[bytes, int]:
    name, _, number = text.rpartition(b":")
    return unescape(name), int(number)


@lru_cache(maxsize=8192)
def parse_entry(text: bytes) -> Entry:
    """The entry of a line without its name; raise ValueError for what is none. Whether it is in its one legal
    form: `check_entry`.
    """
    kind, *fields = text.split(b"\t")
    values = {}
    xattrs = []
    for field in fields:
        key, equals, value = field.partition(b"=")
        if not equals:
            raise ValueError("malformed metadata field")
        if key.startswith(_XATTR):
            xattrs.append((unescape(key[len(_XATTR) :]), unescape(value)))
        else:
            values[key] = value
    if not {b"mode", b"owner", b"group"} <= values.keys():
        raise ValueError("metadata without owner or mode")
    user, uid = _owner(values[b"owner"])
    group, gid = _owner(values[b"group"])
    entry = Entry(
        kind=kind,
        mode=int(values[b"mode"], 8),
        uid=uid,
        user=user,
        gid=gid,
        group=group,
        mtime=_parse_time(values[b"mtime"]) if b"mtime" in values else None,
        size=int(values[b"size"]) if b"size" in values else None,
        sha256=values.get(b"sha256"),
        holes=_pairs(values[b"holes"], b"+") if b"holes" in values else (),
        target=unescape(values[b"target"]) if b"target" in values else None,
        device=_pairs(values[b"device"], b":")[0] if b"device" in values else None,
        link=unescape(values[b"link"]) if b"link" in values else None,
        acl=values.get(b"acl"),
        default_acl=values.get(b"default"),
        xattrs=tuple(xattrs),
        flags=values.get(b"flags", b""),
        unstable=b"unstable" in values,
        secret=values.get(b"secret"),
        sealed=values.get(b"sealed"),
    )
    if kind not in KINDS:
        raise ValueError("unknown kind of entry")
    return entry


def check_entry(text: bytes) -> Entry:
    """The same, and raise ValueError as well for a text that `render_entry` could not have made: what
    admission asks.
    """
    entry = parse_entry(text)
    names = [key for key, _ in entry.xattrs]
    ordered = names == sorted(set(names)) and entry.flags in (b"", b"a", b"i", b"ai")
    if entry.secret is None:
        is_kept = entry.sealed is None
    else:
        # A plain digest beside it would be what the keyed one is there to spare.
        is_kept = (entry.kind, entry.sha256) == (FILE, None) and entry.has_content == bool(entry.sealed)
    if render_entry(entry) != text or not ordered or not is_kept:
        raise ValueError("metadata not in its one legal form")
    return entry


def render_directory(lines: dict[bytes, bytes]) -> bytes:
    """The text of a `%meta` file from `{name: line without its name}`, sorted by the encoded name."""
    encoded = sorted((b"." if name == b"." else encode(name), line) for name, line in lines.items())
    return b"".join(b"%s\t%s\n" % item for item in encoded)


def split_directory(text: bytes) -> dict[bytes, bytes]:
    """`{name: line without its name}` of a `%meta` file, the lines themselves unread.

    Raise ValueError where a name is not in its legal form or stands twice.
    """
    lines: dict[bytes, bytes] = {}
    if text and not text.endswith(b"\n"):
        raise ValueError("metadata file without an end")
    for line in text.split(b"\n")[:-1]:
        encoded, tab, rest = line.partition(b"\t")
        name = b"." if encoded == b"." else decode(encoded)
        if not tab or name in lines:
            raise ValueError("malformed metadata file")
        lines[name] = rest
    return lines
