"""Bundles made by hand, byte for byte, and a client that speaks Mercurial's wire protocol with no manners.

Neither Mercurial nor Pacha is imported: what is forged here is what an attacker with a host's key can send.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.server.hub import Hub

NULL = bytes(20)
END = struct.pack(">i", 0)
OWNER = b"mode=0644\towner=root:0\tgroup=root:0"
META = b".\tdir\t" + OWNER + b"\n"
_places: dict[bytes, int] = {NULL: 0}  # of every revision that was made, in its line


def node(text: bytes, first: bytes = NULL, second: bytes = NULL) -> bytes:
    """The id that Mercurial gives to a text."""
    return hashlib.sha1(b"".join(sorted([first, second])) + text, usedforsecurity=False).digest()


def chunk(data: bytes) -> bytes:
    """One chunk of a changegroup."""
    return struct.pack(">i", len(data) + 4) + data


def full(text: bytes) -> bytes:
    """A delta that says all."""
    return struct.pack(">lll", 0, 0, len(text)) + text


def meta_line(name: bytes, content: bytes) -> bytes:
    """The line of a regular file."""
    digest = hashlib.sha256(content).hexdigest().encode()
    return name + b"\tfile\t" + OWNER + b"\tmtime=1700000000.000000000\tsha256=" + digest + b"\n"


@dataclass
class Forged:
    """One revision, good as it is made: each field can be made bad."""

    host: str
    contents: Mapping[bytes, bytes] = field(default_factory=lambda: {b"f": b"hello\n"})
    meta: bytes | None = None  # instead of the right text
    stamp: Any = None
    extra: Mapping[str, bytes] = field(default_factory=dict)
    parents: tuple[bytes, bytes] = (NULL, NULL)
    files: Mapping[bytes, bytes] | None = None  # store paths and contents, instead of the right ones
    named: Sequence[bytes] | None = None  # in the changeset
    manifest_flags: bytes = b""
    log_extra: Mapping[bytes, bytes] = field(default_factory=dict)  # file logs that the manifest has not
    wrong_hash: bool = False
    link: bytes | None = None
    flags: tuple[int, int, int] = (0, 0, 0)  # of changeset, manifest, contents
    delta: bytes | None = None  # instead of the first file's

    def pieces(self, version: bytes) -> tuple[bytes, bytes, dict[bytes, bytes]]:
        """The chunks of the changeset, of the manifest, and of each file log; from then on there is an `id`."""
        files = dict(self.files if self.files is not None else self._files())
        nodes = {path: node(text) for path, text in files.items()}
        lines = b"".join(
            path + b"\0" + one.hex().encode() + self.manifest_flags + b"\n"
            for path, one in sorted(nodes.items())
        )
        manifest = node(lines)
        changeset = self._changeset(manifest, sorted(files) if self.named is None else self.named)
        self.id = node(changeset, *self.parents)
        _places[self.id] = _places.get(self.parents[0], 0) + 1
        link = self.id if self.link is None else self.link

        def revision(
            one: bytes, parents: tuple[bytes, bytes], text: bytes, flags: int, linked: bytes
        ) -> bytes:
            header = one + parents[0] + parents[1] + NULL + linked
            header += struct.pack(">H", flags) if version == b"03" else b""
            return chunk(header + text)

        logs = {}
        for number, (path, text) in enumerate([*files.items(), *self.log_extra.items()]):
            stored = full(text + b"!" if self.wrong_hash else text)
            stored = self.delta if self.delta is not None and not number else stored
            logs[path] = revision(node(text), (NULL, NULL), stored, self.flags[2], link)
        return (
            revision(self.id, self.parents, full(changeset), self.flags[0], self.id),
            revision(manifest, (NULL, NULL), full(lines), self.flags[1], link),
            logs,
        )

    def changegroup(self, version: bytes = b"02") -> bytes:
        """The whole changegroup."""
        return assembled([self.pieces(version)], version)

    def bundle(self, version: bytes = b"02", **more: Any) -> bytes:
        """The whole push."""
        return container(
            [part(b"changegroup", self.changegroup(version), {b"version": version}), *more.pop("after", [])],
            **more,
        )

    def _files(self) -> dict[bytes, bytes]:
        right = META + b"".join(meta_line(name, data) for name, data in sorted(self.contents.items()))
        files = {b"files/" + name: data for name, data in self.contents.items()}
        return {b"meta/%meta": right if self.meta is None else self.meta, **files}

    def _changeset(self, manifest: bytes, files: Sequence[bytes]) -> bytes:
        stamp = self.stamp
        if stamp is None:
            place = _places.get(self.parents[0], 0) + 1
            stamp = {
                "v": 1, "host": self.host, "machine": "", "seq": place, "time_ns": 1, "cause": "capture", "who": [],
            }  # fmt: skip
        extra: dict[str, bytes] = {**self.extra}
        if stamp is not False:
            extra["pacha"] = stamp if isinstance(stamp, bytes) else json.dumps(stamp).encode()
        escaped = (
            key.encode() + b":" + text.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\0", b"\\0")
            for key, text in sorted(extra.items())
        )
        lines = [manifest.hex().encode(), b"root", b"0 0 " + b"\0".join(escaped), *files, b"", b"forged"]
        return b"\n".join(lines)


def assembled(pieces: Sequence[tuple[bytes, bytes, dict[bytes, bytes]]], version: bytes = b"02") -> bytes:
    """One changegroup of the pieces of several revisions."""
    logs: dict[bytes, list[bytes]] = {}
    for _, _, some in pieces:
        for path, data in some.items():
            logs.setdefault(path, []).append(data)
    said = [*(one for one, _, _ in pieces), END, *(one for _, one, _ in pieces), END]
    said += [END] if version == b"03" else []
    for path, chunks in logs.items():
        said += [chunk(path), *chunks, END]
    return b"".join([*said, END])


def part(
    name: bytes,
    data: bytes = b"",
    parameters: Mapping[bytes, bytes] = {},
    number: int = 0,
    *,
    mandatory: bool = True,
) -> bytes:
    """One part of a bundle2, its payload in one piece."""
    name = name.upper() if mandatory else name.lower()
    header = struct.pack(">B", len(name)) + name + struct.pack(">IBB", number, len(parameters), 0)
    header += b"".join(struct.pack(">BB", len(key), len(value)) for key, value in parameters.items())
    header += b"".join(key + value for key, value in parameters.items())
    payload = struct.pack(">i", len(data)) + data if data else b""
    return struct.pack(">i", len(header)) + header + payload + END


def container(parts: Sequence[bytes], parameters: bytes = b"", magic: bytes = b"HG20") -> bytes:
    """A bundle2 of these parts."""
    return magic + struct.pack(">i", len(parameters)) + parameters + b"".join(parts) + END


class Wire:
    """A session that says what it likes."""

    def __init__(self, server: Hub, key: Path, words: str = "pacha serve --protocol 1") -> None:
        self._process = subprocess.Popen(
            [*server.sshd.ssh(key), words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self.into, self.out, self.errors = self._process.stdin, self._process.stdout, self._process.stderr
        self.pushed = 0
        self._ended = (0, b"")

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.into.write(data)
        self.into.flush()

    def answer(self) -> bytes:
        """An answer with its length before it; AssertionError where the session has ended."""
        length = self.out.readline()
        assert length.endswith(b"\n"), self.end()
        return self.out.read(int(length))

    def told(self) -> dict[str, Any]:
        """What the wire command `pacha` answers."""
        self.say(b"pacha\n")
        value: dict[str, Any] = json.loads(self.answer())
        return value

    def unbundle(self, data: bytes) -> tuple[str, dict[str, str]]:
        """Push; the first part of the answer: its name and parameters."""
        self.say(b"unbundle\nheads 10\n" + b"force".hex().encode())
        assert self.answer() == b""
        self.pushed += 1
        self.say((b"%d\n" % len(data) + data if data else b"") + b"0\n")
        return self.reply()

    def reply(self) -> tuple[str, dict[str, str]]:
        """The first part of a bundle2; it must end after it."""
        assert self.out.read(4) == b"HG20", self.end()
        assert self._integer() == 0
        header = self.out.read(self._integer())
        at = 1 + header[0]
        name = header[1:at].lower().decode()
        _, mandatory, advisory = struct.unpack_from(">IBB", header, at)
        at += 6
        sizes = struct.unpack_from(f">{2 * (mandatory + advisory)}B", header, at)
        at += len(sizes)
        words = []
        for size in sizes:
            words.append(header[at : at + size].decode())
            at += size
        assert (self._integer(), self._integer()) == (0, 0)
        return name, dict(zip(words[::2], words[1::2], strict=True))

    def _integer(self) -> int:
        number: int = struct.unpack(">i", self.out.read(4))[0]
        return number

    def end(self, seconds: float = 60) -> tuple[int, bytes]:
        """Say nothing more; the exit code, and what standard error said. What was not read is lost."""
        if not self.errors.closed:
            with suppress(BrokenPipeError):
                self.into.close()
            self._ended = self._process.wait(seconds), self.errors.read()
            self.out.close()
            self.errors.close()
        return self._ended
