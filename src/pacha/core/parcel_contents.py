"""What follows the first line of a parcel: the contents of its files and hooks.

Packed by `pacha push` and by a server that is pulled from, unpacked by `pacha receive` and `pacha pull`,
which hold no more than the content at hand, however much is sent. It must not look at any file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pacha.core.digests import hexdigest
from pacha.core.parcel import PLAIN, ZLIB, Deployment, Parcel
from pacha.core.parcel_line import refusal

_CHUNK = 65536
# What a deflate stream may take beyond the bytes that come out of it (5 in 16,384), and for its ends.
_OVERHEAD = 1000


def pack(deployment: Deployment, contents: Mapping[str, bytes]) -> tuple[str, bytes]:
    """(`packing`, what follows the line), compressed where that pays; `contents` by digest."""
    import zlib

    plain = b"".join(contents[digest] for digest in deployment.contents())
    packed = zlib.compress(plain, 6)
    return (ZLIB, packed) if len(packed) + 64 < len(plain) else (PLAIN, plain)


def pack_in_parts(deployment: Deployment, contents: Mapping[str, bytes]) -> Iterator[bytes]:
    """What follows a line whose packing is ZLIB, part by part: for who has no memory for a second copy."""
    import zlib

    stream = zlib.compressobj(6)
    for digest in deployment.contents():
        data = memoryview(contents[digest])
        for at in range(0, len(data), _CHUNK):
            yield stream.compress(data[at : at + _CHUNK])
    yield stream.flush()


def unpack(parcel: Parcel, read: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    """(digest, content) of each distinct content, checked, from what follows the line.

    `read` gives at most as many bytes as it is asked for, none at the end. Raise Refused where one is not
    what the line says, or too much or too little comes.
    """
    source = (_Packed if parcel.packing == ZLIB else _Plain)(read, parcel.deployment)
    for digest, size in parcel.deployment.contents().items():
        data = source.take(size)
        if hexdigest(data) != digest:
            raise refusal("a content is not what its digest says")
        yield digest, data
    source.end()


class _Plain:
    """Contents as they are."""

    def __init__(self, read: Callable[[int], bytes], _deployment: Deployment) -> None:
        self._read = read

    def take(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(_some(self._read, min(size, _CHUNK)))
            size -= len(parts[-1])
        return b"".join(parts)

    def end(self) -> None:
        """What may follow is not ours to read."""


class _Packed:
    """Contents within one zlib stream, which may be no longer than they account for."""

    def __init__(self, read: Callable[[int], bytes], deployment: Deployment) -> None:
        import zlib

        self._read = read
        self._stream = zlib.decompressobj()
        self._waiting = b""
        size = sum(deployment.contents().values())
        self._left = size + size // _OVERHEAD + _OVERHEAD

    def take(self, size: int) -> bytes:
        parts = []
        while size and not self._stream.eof:
            part = self._more(size)
            size -= len(part)
            parts.append(part)
        if size:
            raise refusal("its contents end too early")
        return b"".join(parts)

    def end(self) -> None:
        while not self._stream.eof:
            if self._more(1):
                raise refusal("its contents are more than it says")

    def _more(self, size: int) -> bytes:
        import zlib

        if not self._waiting:
            self._waiting = _some(self._read, _CHUNK)
            self._left -= len(self._waiting)
            if self._left < 0:
                raise refusal("its contents are longer packed than they can be")
        try:
            data = self._stream.decompress(self._waiting, size)
        except zlib.error:
            raise refusal("its contents are damaged") from None
        self._waiting = self._stream.unconsumed_tail
        return data


def _some(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if not data:
        raise refusal("the stream ended before the contents did")
    return data
