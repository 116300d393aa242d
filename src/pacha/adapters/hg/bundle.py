"""What a client pushes, looked through from beginning to end before a single file is opened for it.

Called by `receiving.py`, on a file that holds all of it. It reads the two formats that a push consists of,
Mercurial's bundle2 and in it one changegroup of version 02 or 03 (`hg help internals.bundle2`,
`internals.changegroups`), and takes what a push of Pacha's or a plain `hg push` needs, by an allow-list. No
length that a client wrote is believed further than the file reaches. Mercurial's own readers are not used
for this: they fetch URLs, call handlers and decompress. It imports neither Mercurial nor Pacha.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

NULL = bytes(20)
CENSORED = 1 << 15  # flag of a file revision whose content was forgotten
_HEADERS = {b"02": struct.Struct(">20s20s20s20s20s"), b"03": struct.Struct(">20s20s20s20s20sH")}
_LONGEST_PART_HEADER = 1 << 18
_CHANGEGROUP = b"changegroup"
_PARTS = frozenset((_CHANGEGROUP, b"replycaps", b"check:heads", b"check:updated-heads"))
# Caches that some clients send along: not read.
_PASSED_OVER = frozenset((b"hgtagsfnodes", b"cache:rev-branch-cache"))
_CUT_OFF = "the bundle is cut off"


class Unfit(Exception):
    """Why a bundle is refused, in words."""


class Limits(NamedTuple):
    """Bounds on what a bundle names, in bytes."""

    path: int
    revision: int  # of one revision of one file, as it comes over the wire


class Bundle(NamedTuple):
    """What was found in a bundle that is in order."""

    version: bytes  # of the changegroup
    part: int  # the changegroup's number, which the reply names
    start: int  # where its payload begins
    changesets: list[bytes]  # ids, oldest first
    files: list[bytes]  # names of the file logs


class Payload:
    """The bytes of one part, which lie in pieces in `file` from `start` on; Mercurial reads from it, too."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file = file
        self._left = 0  # of the piece at hand
        self._end = end
        self._has_ended = False
        file.seek(start)

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end; Unfit where the file holds not so many."""
        if size < 0 or size > self._end - self._file.tell():
            raise Unfit(_CUT_OFF)
        pieces = []
        while size and self._more():
            data = self._file.read(min(size, self._left))
            self._left -= len(data)
            size -= len(data)
            pieces.append(data)
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        """The same, and Unfit where the part ends before."""
        data = self.read(size)
        if len(data) != size:
            raise Unfit(_CUT_OFF)
        return data

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size:
            if not self._more():
                raise Unfit(_CUT_OFF)
            step = min(size, self._left)
            self._file.seek(step, 1)
            self._left -= step
            size -= step

    def skip_all(self) -> None:
        """Pass over the rest."""
        while self._more():
            self.skip(self._left)

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return not self._more()

    def _more(self) -> bool:
        """Begin the next piece where one is used up; whether there is one."""
        if self._left or self._has_ended:
            return not self._has_ended
        self._left = _integer(self._file, self._end)
        self._has_ended = self._left == 0
        return not self._has_ended


def look_through(
    file: BinaryIO, end: int, tip: bytes, is_legal: Callable[[bytes], bool], limits: Limits
) -> Bundle:
    """Everything in the bundle that lies in `file` up to `end`; Unfit at the first thing that may not be.

    What passes is one changegroup that extends the line from `tip` (NULL: there is none yet), whose file logs
    have legal names.
    """
    file.seek(0)
    if file.read(4) != b"HG20" or _integer(file, end) != 0:
        raise Unfit("it is not an uncompressed bundle of version 2 without parameters")
    found: Bundle | None = None
    while size := _integer(file, end):
        name, number, parameters = _part_header(file, size)
        payload = Payload(file, file.tell(), end)
        if name == _CHANGEGROUP and found is None:
            start = file.tell()
            version = _version(parameters)
            changesets, files = _changegroup(payload, version, tip, is_legal, limits)
            found = Bundle(version, number, start, changesets, files)
        elif name in _PASSED_OVER or (name in _PARTS and name != _CHANGEGROUP):
            payload.skip_all()
        else:
            raise Unfit(f"a push may not carry {ascii(name.decode('latin-1'))[:60]}")
    if file.tell() != end:
        raise Unfit("something follows the bundle")
    if found is None:
        raise Unfit("it brings no revision")
    return found


# -- the container -------------------------------------------------------------------------------------


def _integer(file: BinaryIO, end: int) -> int:
    """The next length, which must fit into what is left of the file."""
    data = file.read(4)
    if len(data) != 4:
        raise Unfit(_CUT_OFF)
    number: int = struct.unpack(">i", data)[0]
    if not 0 <= number <= end - file.tell():
        # -1 would begin a part amidst a part: Mercurial's way to tell of an error, and a way around checks.
        raise Unfit("a part is interrupted" if number == -1 else _CUT_OFF)
    return number


def _part_header(file: BinaryIO, size: int) -> tuple[bytes, int, dict[bytes, bytes]]:
    """(name in lower case, number, parameters) of a part."""
    if size > _LONGEST_PART_HEADER:
        raise Unfit("a part's header is too long")
    header = file.read(size)
    at = 1 + header[0]
    name = header[1:at].lower()
    try:
        number, mandatory, advisory = struct.unpack_from(">IBB", header, at)
        at += 6
        sizes = struct.unpack_from(f">{2 * (mandatory + advisory)}B", header, at)
    except struct.error:
        raise Unfit("a part's header is cut off") from None
    at += len(sizes)
    words = []
    for length in sizes:
        words.append(header[at : at + length])
        at += length
    if at != len(header):
        raise Unfit("a part's header is of another length than it says")
    return name, number, dict(zip(words[::2], words[1::2], strict=True))


def _version(parameters: dict[bytes, bytes]) -> bytes:
    version = parameters.pop(b"version", b"01")
    parameters.pop(b"nbchanges", None)
    if parameters or version not in _HEADERS:
        raise Unfit("its changegroup is of a kind that is not taken here")
    return version


# -- the changegroup -----------------------------------------------------------------------------------


class _Delta(NamedTuple):
    node: bytes
    first: bytes  # parent
    second: bytes  # parent
    link: bytes  # the changeset that it came with
    flags: int


def _changegroup(
    payload: Payload, version: bytes, tip: bytes, is_legal: Callable[[bytes], bool], limits: Limits
) -> tuple[list[bytes], list[bytes]]:
    """(changesets, names of file logs)."""
    changesets = []
    for delta in _group(payload, version, limits.revision):
        if (delta.first, delta.second) != (tip, NULL):
            raise Unfit("it does not extend the line: each revision's one parent is the one before")
        if delta.link != delta.node or delta.flags:
            raise Unfit("a revision is not of a kind that is taken here")
        tip = delta.node
        changesets.append(tip)
    known = frozenset(changesets)
    if len(known) != len(changesets):
        raise Unfit("a revision comes twice")
    for delta in _group(payload, version, limits.revision):
        if delta.link not in known or delta.flags:
            raise Unfit("a manifest belongs to no revision of the bundle")
    if version == b"03" and _chunk(payload):
        raise Unfit("there are no manifests of single directories here")
    files = _file_logs(payload, version, known, is_legal, limits)
    if not payload.at_end():
        raise Unfit("something follows the changegroup")
    return changesets, files


def _file_logs(
    payload: Payload,
    version: bytes,
    changesets: frozenset[bytes],
    is_legal: Callable[[bytes], bool],
    limits: Limits,
) -> list[bytes]:
    files: dict[bytes, None] = {}
    while size := _chunk(payload):
        name = payload.exactly(size) if size <= limits.path else b""
        if not is_legal(name) or name in files:
            raise Unfit(f"{_shown(name) or 'a name that is too long'} is no legal path of a store")
        files[name] = None
        may_be = (0, CENSORED) if name.startswith(b"files/") else (0,)
        for delta in _group(payload, version, limits.revision, name):
            if delta.link not in changesets or delta.flags not in may_be:
                raise Unfit(f"{_shown(name)}: a content belongs to no revision of the bundle")
    return list(files)


def _group(payload: Payload, version: bytes, limit: int, name: bytes = b"") -> Iterator[_Delta]:
    """The headers of one group of deltas (of the file log `name`); what they are about is passed over."""
    form = _HEADERS[version]
    while size := _chunk(payload):
        if size > limit + form.size:
            mend = f" (pacha forget {_shown(name[5:])} takes it out of the history)" if name else ""
            raise Unfit(f"{_shown(name) or 'a revision'} is larger than {limit} bytes{mend}")
        if size < form.size:
            raise Unfit(_CUT_OFF)
        node, first, second, _, link, *flags = form.unpack(payload.exactly(form.size))
        payload.skip(size - form.size)
        yield _Delta(node, first, second, link, flags[0] if flags else 0)


def _chunk(payload: Payload) -> int:
    """The length of the next chunk without its own four bytes; 0 for the empty one that ends a group."""
    number: int = struct.unpack(">i", payload.exactly(4))[0]
    if number and number <= 4:
        raise Unfit("a chunk has an impossible length")
    return max(number - 4, 0)


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
