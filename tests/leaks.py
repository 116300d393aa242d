"""Look for plaintexts wherever they could lie: in files, in what is compressed within them, in every piece of a
Mercurial revlog. Knows nothing of Pacha; compression is undone by zlib and by Mercurial's binding of zstd."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from mercurial import zstd

_ZSTD = b"\x28\xb5\x2f\xfd"
_ENTRY = struct.Struct(">QiiiiiI20s12x")  # of a revlog, version 1: 64 bytes
_INLINE = 1 << 16
_LARGEST = 64_000_000


def forms(needle: bytes) -> list[bytes]:
    """A plaintext as it may be written down: itself, hexadecimal, and base64 wherever it begins."""
    found = [needle, needle.hex().encode(), needle.hex().upper().encode()]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + needle)
        found.append(coded[4 if before else 0 : len(coded) // 4 * 4 - 4])
    return found


def leaks(places: Iterable[Path], needles: Iterable[bytes]) -> list[str]:
    """Each file below the places that holds a needle, and how."""
    wanted = [(needle, forms(needle)) for needle in needles]
    found = []
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            try:
                if path.is_symlink() or not path.is_file():
                    continue
                data = path.read_bytes()
            except FileNotFoundError:  # gone while we looked
                continue
            for how, piece in _pieces(path, data):
                for needle, written in wanted:
                    if any(form in piece for form in written):
                        found.append(f"{path}: {needle!r} {how}")
    return found


def _pieces(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", data
    yield from (("in zlib", piece) for piece in _inflated(data))
    yield from (("in zstd", piece) for piece in _unpacked(data))
    if path.suffix in (".i", ".d") or ".i." in path.name or ".d." in path.name:
        yield from (("in a revlog's chunk", piece) for piece in _chunks(path, data))


def _inflated(data: bytes) -> Iterator[bytes]:
    """What begins, anywhere, like a zlib stream and is one."""
    at = data.find(b"\x78")
    while 0 <= at < len(data) - 1:
        if (data[at] * 256 + data[at + 1]) % 31 == 0:
            try:
                yield zlib.decompressobj().decompress(data[at:], _LARGEST)
            except zlib.error:
                pass
        at = data.find(b"\x78", at + 1)


def _unpacked(data: bytes) -> Iterator[bytes]:
    """The same of zstd."""
    at = data.find(_ZSTD)
    while at >= 0:
        try:
            yield zstd.ZstdDecompressor().decompressobj().decompress(data[at:])
        except zstd.ZstdError:
            pass
        at = data.find(_ZSTD, at + 1)


def _chunks(path: Path, data: bytes) -> Iterator[bytes]:
    """Each chunk of a revlog, by its own index."""
    if path.suffix != ".i" or len(data) < _ENTRY.size:
        return
    (header,) = struct.unpack_from(">I", data)
    is_inline = bool(header & _INLINE)
    beside = path.with_suffix(".d")
    contents = data if is_inline else beside.read_bytes() if beside.exists() else b""
    at = number = 0
    while at + _ENTRY.size <= len(data):
        offset_flags, length, *_ = _ENTRY.unpack_from(data, at)
        offset = 0 if number == 0 else offset_flags >> 16
        at += _ENTRY.size
        start = at if is_inline else offset
        if length:
            yield _plain(contents[start : start + length])
        at += length if is_inline else 0
        number += 1


def _plain(chunk: bytes) -> bytes:
    """A chunk as it was before the revlog compressed it: its first byte says how."""
    if chunk.startswith(b"x"):
        return zlib.decompressobj().decompress(chunk, _LARGEST)
    if chunk.startswith(_ZSTD):
        return bytes(zstd.ZstdDecompressor().decompressobj().decompress(chunk))
    return chunk[1:] if chunk.startswith(b"u") else chunk
