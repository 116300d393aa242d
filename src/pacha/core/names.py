"""Names in the store: how a path of the host becomes a path of the repository, and back.

Called by everything that speaks to the store. Paths are bytes; a host path is absolute (`b"/etc/hosts"`). In
the store a file's content is at `files/etc/hosts` and the metadata of a directory's entries at
`meta/etc/%meta`.

Control bytes, DEL and `%` are percent-escaped, and so is the first byte of a component that some Mercurial or
file system would take for `.hg` (another case, zero-width characters, trailing dots or spaces, a short name
such as `HG~1`). Every other byte stays as it is, so that names remain readable. `decode(encode(x)) == x` for
every name, and `is_legal` accepts exactly what `encode` makes: no two spellings of one name.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

FILES = b"files"
META = b"meta"
FACTS = b"facts"
META_NAME = b"%meta"

# The code points that HFS+ ignores in a name, as Mercurial's own audit folds them (CVE-2014-9390).
_IGNORED = tuple(
    chr(point).encode()
    for point in (
        *range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF,
    )
)  # fmt: skip
_CONTROL = re.compile(rb"[\x00-\x1F\x7F%]")
_UNPRINTABLE = re.compile(rb"[^!-~]|%")
# The same few directories' names come again with every path.
_REMEMBERED = 8192


def escape(name: bytes) -> bytes:
    """Percent-escape control bytes, DEL and `%`; any other byte, valid UTF-8 or not, is kept."""
    return _CONTROL.sub(_escaped, name)


def escape_all(value: bytes) -> bytes:
    """Percent-escape everything but printable ASCII, and `%`: for values that are no text, such as an
    xattr's.
    """
    return _UNPRINTABLE.sub(_escaped, value)


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def unescape(text: bytes) -> bytes:
    """Undo `escape` or `escape_all`. Raise ValueError for a `%` without two upper-case hexadecimal digits."""
    head, *rest = text.split(b"%")
    if not rest:
        return head
    parts = [head]
    for piece in rest:
        digits = piece[:2]
        if len(digits) != 2 or digits.strip(b"0123456789ABCDEF"):
            raise ValueError("malformed percent escape")
        parts.append(bytes([int(digits, 16)]) + piece[2:])
    return b"".join(parts)


def _reserved(name: bytes) -> bool:
    """Whether some client would take this component for Mercurial's own directory."""
    folded = name.lower()
    if b"h" not in folded:
        return False
    for ignored in _IGNORED:
        folded = folded.replace(ignored, b"")
    if folded.rstrip(b". ") == b".hg":
        return True
    first, tilde, last = folded.partition(b"~")
    return bool(tilde) and last.isdigit() and first in (b"hg", b"hg8b6c")


@lru_cache(maxsize=_REMEMBERED)
def encode(name: bytes) -> bytes:
    """One component of a host path as it stands in the store."""
    if _reserved(name):
        return b"%%%02X" % name[0] + escape(name[1:])
    return escape(name)


@lru_cache(maxsize=_REMEMBERED)
def decode(component: bytes) -> bytes:
    """The component of a host path; raise ValueError where `component` is not what `encode` makes."""
    name = unescape(component)
    if encode(name) != component or name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise ValueError("not a name in its one legal form")
    return name


def encode_path(path: bytes) -> bytes:
    """`/etc/a%b` as `etc/a%25b`; the root is the empty string."""
    return b"/".join(map(encode, path.split(b"/")[1:])) if path != b"/" else b""


def decode_path(encoded: bytes) -> bytes:
    """Undo `encode_path`; raise ValueError for any spelling but the legal one."""
    return b"/" + b"/".join(map(decode, encoded.split(b"/"))) if encoded else b"/"


def join(directory: bytes, name: bytes) -> bytes:
    """The path of an entry; the name `.` is the directory itself."""
    if name == b".":
        return directory
    return b"/" + name if directory == b"/" else directory + b"/" + name


def split(path: bytes) -> tuple[bytes, bytes]:
    """`/etc/hosts` as `(/etc, hosts)`; the root as `(/, .)`."""
    if path == b"/":
        return b"/", b"."
    directory, _, name = path.rpartition(b"/")
    return directory or b"/", name


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether `path` is `directory` or lies below it."""
    return directory in (path, b"/") or path.startswith(directory + b"/")


def ancestors(path: bytes) -> list[bytes]:
    """The directories above a path, the root first."""
    found: list[bytes] = []
    while path != b"/":
        path = split(path)[0]
        found.append(path)
    return found[::-1]


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """The paths, sorted, without those that lie below another of them."""
    wanted = set(paths)
    return sorted(path for path in wanted if wanted.isdisjoint(ancestors(path)))


def content_path(path: bytes) -> bytes:
    """Where the content of a file is stored."""
    return FILES + b"/" + encode_path(path)


def meta_path(directory: bytes) -> bytes:
    """Where the metadata lines of a directory's entries are stored."""
    encoded = encode_path(directory)
    return b"/".join((META, encoded, META_NAME)) if encoded else META + b"/" + META_NAME


def meta_directory(store_path: bytes) -> bytes:
    """The directory whose metadata `store_path` holds; raise ValueError where it is no metadata path."""
    parts = store_path.split(b"/")
    if len(parts) < 2 or parts[0] != META or parts[-1] != META_NAME:
        raise ValueError("not a metadata path")
    directory = decode_path(b"/".join(parts[1:-1]))
    if meta_path(directory) != store_path:
        raise ValueError("not a metadata path in its one legal form")
    return directory


def is_legal(store_path: bytes) -> bool:
    """Whether a path of a revision is one that Pacha could have written."""
    top, _, rest = store_path.partition(b"/")
    try:
        if top == FILES:
            return decode_path(rest) != b"/"
        if top == META:
            meta_directory(store_path)
            return True
        return top == FACTS and bool(rest) and decode_path(rest) != b"/"
    except ValueError:
        return False
