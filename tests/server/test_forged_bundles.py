"""Bundles forged by who has a host's key: each is refused in words, and the store stays as it was."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plainhg import StoreCopy
from tests.server.forge import END, META, NULL, Forged, Wire, container, meta_line, part
from tests.server.hub import Hub, hub

pytestmark = pytest.mark.xdist_group("forged")

STAMP = {"v": 1, "host": "web1", "machine": "", "seq": 1, "time_ns": 1, "cause": "capture", "who": []}
LINE = meta_line(b"f", b"hello\n")


def forged(**fields: object) -> Forged:
    return Forged("web1", **fields)  # type: ignore[arg-type]


def at(path: bytes) -> Forged:
    """A content at a store path of any kind."""
    return forged(files={b"meta/%meta": META + LINE, b"files/f": b"hello\n", path: b"x"})


CHANGEGROUP = forged().changegroup()
VERSION = {b"version": b"02"}
GOOD = part(b"changegroup", CHANGEGROUP, VERSION)
CENSORED = 1 << 15
BAD: dict[str, bytes] = {
    # names
    "newline": at(b"files/a\nb").bundle(),
    "carriage return": at(b"files/a\rb").bundle(),
    "null byte": at(b"files/a\0b").bundle(),
    "up": at(b"files/../../up").bundle(),
    "up at the top": at(b"../up").bundle(),
    "absolute": at(b"/etc/passwd").bundle(),
    "empty component": at(b"files//a").bundle(),
    "dot": at(b"files/./a").bundle(),
    "slash at the end": at(b"files/a/").bundle(),
    "elsewhere": at(b"etc/passwd").bundle(),
    "tags": at(b".hgtags").bundle(),
    "hg": at(b"files/.hg/hgrc").bundle(),
    "hg in capitals": at(b"files/.HG/hgrc").bundle(),
    "hg with an ignored character": at(b"files/.h\xe2\x80\x8cg/hgrc").bundle(),
    "hg by a short name": at(b"files/HG~1/hgrc").bundle(),
    "two spellings": at(b"files/%41").bundle(),
    "lower hexadecimal": at(b"files/%0a").bundle(),
    "too long": at(b"files/" + b"a" * 17_000).bundle(),
    "only files": at(b"files").bundle(),
    "metadata elsewhere": at(b"meta/x").bundle(),
    # metadata
    "content without its line": forged(meta=META).bundle(),
    "line without its content": forged(files={b"meta/%meta": META + LINE}).bundle(),
    "another content than its line says": forged(meta=META + meta_line(b"f", b"other\n")).bundle(),
    "no metadata": forged(files={b"files/f": b"hello\n"}).bundle(),
    "metadata unsorted": forged(meta=LINE + META).bundle(),
    "metadata twice": forged(meta=META + LINE + LINE).bundle(),
    "metadata without an end": forged(meta=(META + LINE)[:-1]).bundle(),
    "unknown kind": forged(meta=META + LINE.replace(b"\tfile\t", b"\twhat\t")).bundle(),
    "mode": forged(meta=META + LINE.replace(b"0644", b"9999")).bundle(),
    "name leads out": forged(meta=META + meta_line(b"..", b"x") + LINE).bundle(),
    "not text": forged(meta=b"\xff\0\n" * 9).bundle(),
    # the revision
    "another host's": forged(stamp={**STAMP, "host": "web2"}).bundle(),
    "another machine's": forged(stamp={**STAMP, "machine": "b" * 32}).bundle(),
    "another number": forged(stamp={**STAMP, "seq": 2}).bundle(),
    "no stamp": forged(stamp=False).bundle(),
    "stamp is no JSON": forged(stamp=b"{").bundle(),
    "stamp is nested": forged(stamp=b"[" * 100_000).bundle(),
    "stamp is a list": forged(stamp=[]).bundle(),
    "branch": forged(extra={"branch": b"other"}).bundle(),
    "closed": forged(extra={"close": b"1"}).bundle(),
    "extra": forged(extra={"source": b"ab" * 20}).bundle(),
    "names more files": forged(named=[b"files/f", b"files/g", b"meta/%meta"]).bundle(),
    "names no files": forged(named=[]).bundle(),
    "nothing": forged(files={}).bundle(),
    "parent unknown": forged(parents=(b"x" * 20, NULL)).bundle(),
    "merge": forged(parents=(NULL, b"x" * 20)).bundle(),
    "executable": forged(manifest_flags=b"x").bundle(),
    "symbolic link": forged(manifest_flags=b"l").bundle(),
    "subdirectory manifest": forged(manifest_flags=b"t").bundle(),
    "content of no revision": forged(log_extra={b"files/other": b"x"}).bundle(),
    "wrong hash": forged(wrong_hash=True).bundle(),
    "linked with nothing": forged(link=b"y" * 20).bundle(),
    "copy": forged(
        contents={b"f": b"\1\ncopy: files/g\ncopyrev: " + b"0" * 40 + b"\n\1\nhello\n"},
        meta=META + LINE,
    ).bundle(),
    "flags of a revision": forged(flags=(1, 0, 0)).bundle(b"03"),
    "flags of a manifest": forged(flags=(0, 1, 0)).bundle(b"03"),
    "flags of a content": forged(flags=(0, 0, 1 << 13)).bundle(b"03"),
    "censored but not": forged(flags=(0, 0, CENSORED)).bundle(b"03"),
    "delta beyond its base": forged(delta=struct.pack(">lll", 5, 9, 1) + b"x").bundle(),
    "delta cut off": forged(delta=struct.pack(">lll", 0, 0, 100) + b"x").bundle(),
    "delta backwards": forged(delta=struct.pack(">lll", 9, 5, 1) + b"x").bundle(),
    # the container
    "empty": b"",
    "no bundle": b"#!/bin/sh\nid\n",
    "old bundle": b"HG10UN" + CHANGEGROUP,
    "compressed": container([GOOD], b"Compression=BZ"),
    "unknown parameter": container([GOOD], b"x"),
    "no part": container([]),
    "twice": container([GOOD, GOOD]),
    "cut off": container([GOOD])[:-30],
    "something behind": container([GOOD]) + b"x",
    "remote changegroup": container([
        part(b"remote-changegroup", b"", {b"url": b"http://127.0.0.1:9/x", b"size": b"1", b"digests": b""}),
    ]),
    "remote changegroup behind": container([
        GOOD, part(b"remote-changegroup", b"", {b"url": b"http://127.0.0.1:9/x", b"size": b"1", b"digests": b""}),
    ]),
    "push variables": container([part(b"pushvars", b"", {b"DEBUG": b"1"}, mandatory=False), GOOD]),
    "bookmark": container([GOOD, part(b"bookmarks", NULL + b"\0\1x")]),
    "pushkey": container([GOOD, part(b"pushkey", b"", {b"namespace": b"bookmarks", b"key": b"x", b"old": b"", b"new": b"0" * 40})]),
    "phases": container([GOOD, part(b"phase-heads", struct.pack(">i", 2) + NULL)]),
    "obsolescence": container([GOOD, part(b"obsmarkers", b"\1")]),
    "stream": container([part(b"stream2", b"x", {b"bytecount": b"1", b"filecount": b"1", b"requirements": b""})]),
    "unknown part": container([part(b"x" * 200, mandatory=False), GOOD]),
    "target phase": container([part(b"changegroup", CHANGEGROUP, {**VERSION, b"targetphase": b"2"})]),
    "tree manifest": container([part(b"changegroup", CHANGEGROUP, {**VERSION, b"treemanifest": b"1"})]),
    "version 01": container([part(b"changegroup", CHANGEGROUP, {b"version": b"01"})]),
    "version 05": container([part(b"changegroup", CHANGEGROUP, {b"version": b"05"})]),
    "interrupted": container([GOOD[:-4] + struct.pack(">i", -1) + part(b"error:abort", b"", {b"message": b"x"}) + END]),
    "interrupted by a URL": container([
        GOOD[: -len(CHANGEGROUP) - 8] + struct.pack(">i", -1)
        + part(b"remote-changegroup", b"", {b"url": b"http://127.0.0.1:9/x", b"size": b"1", b"digests": b""})
        + END,
    ]),
    "huge part": b"HG20" + END + struct.pack(">i", 0x7FFFFFFF),
    "huge payload": container([GOOD[: -len(CHANGEGROUP) - 8] + struct.pack(">i", 0x7FFFFFF0)]),
    "negative length": container([GOOD[: -len(CHANGEGROUP) - 8] + struct.pack(">i", -2)]),
    "huge chunk": container([part(b"changegroup", struct.pack(">i", 0x7FFFFFFF), VERSION)]),
    "short chunk": container([part(b"changegroup", struct.pack(">i", 3), VERSION)]),
    "tiny delta": container([part(b"changegroup", struct.pack(">i", 9) + b"xxxxx", VERSION)]),
    "part without header": container([struct.pack(">i", 1) + b"\xff"]),
    "more in the changegroup": container([part(b"changegroup", CHANGEGROUP + b"x", VERSION)]),
    "less in the changegroup": container([part(b"changegroup", CHANGEGROUP[:-4], VERSION)]),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("forged")) as made:
        made.add("web1")
        made.registry.set_machine("web1", "a" * 32)
        yield made


@pytest.fixture(scope="module")
def wire(server: Hub) -> Iterator[Wire]:
    """One session for all of them: a refusal does not end it."""
    session = Wire(server, server.sshd.key("web1"))
    session.told()
    yield session
    code, said = session.end()
    assert code == 0
    assert b"Traceback" not in said
    assert len(said.splitlines()) == session.pushed


@pytest.mark.parametrize("name", BAD)
def test_a_forged_bundle_is_refused_and_changes_nothing(server: Hub, wire: Wire, name: str) -> None:
    before, told = server.digest("web1"), len(server.log("refused"))
    kind, said = wire.unbundle(BAD[name])
    assert kind == "error:abort", said
    assert said["message"].startswith("pacha: refused: ")
    assert said["message"].isprintable()
    assert server.digest("web1") == before
    assert len(server.log("refused")) == told + 1
    assert wire.told()["revisions"] == 0
    print(said["message"])


def test_the_forger_can_make_good_ones(server: Hub, tmp_path: Path) -> None:
    """Else the refusals would prove nothing."""
    for version in (b"02", b"03"):
        name = f"good{version.decode()}"
        session = Wire(server, server.add(name))
        made = Forged(name)
        assert session.unbundle(made.bundle(version))[0] == "reply:changegroup"
        assert session.told()["tip"] == made.id.hex()
        second = Forged(
            name,
            parents=(made.id, NULL),
            contents={b"f": b"hello\n", b"g": b"2"},
            named=[b"files/g", b"meta/%meta"],
        )
        assert session.unbundle(second.bundle(version))[0] == "reply:changegroup"
        # Not a second time, and nothing beside it.
        assert session.unbundle(second.bundle(version))[0] == "error:abort"
        assert session.unbundle(Forged(name).bundle(version))[0] == "error:abort"
        assert session.told()["tip"] == second.id.hex()
        assert session.end()[0] == 0
        assert StoreCopy(server.store(name), tmp_path / name).complaints() == []


def mutate(server: Hub, rounds: int) -> None:
    """Good bundles with a few bytes changed, cut out or put in: each is answered, whatever it has become."""
    chance = random.Random(rounds)
    name, session, taken = "mutant", None, 0
    key = server.add(name, key="mutant")
    good = [Forged(name).bundle(version) for version in (b"02", b"03")]
    for _ in range(rounds):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            at, size = chance.randrange(len(data)), chance.choice((0, 1, 1, 4))
            data[at : at + size] = chance.randbytes(chance.choice((0, 1, 1, 4)))
        session = session or Wire(server, key)
        answer, _ = session.unbundle(bytes(data))
        if answer == "reply:changegroup":
            taken += 1
            assert session.end()[0] == 0
            assert StoreCopy(server.store(name), server.place / "mutant-copy").complaints() == []
            subprocess.run(["rm", "-r", str(server.store(name))], check=True)
            session = None
    if session is not None:
        code, said = session.end()
        assert code == 0
        assert b"Traceback" not in said
    print(f"{rounds} mutations: {taken} did no harm and were taken, {rounds - taken} refused")


def test_a_mutated_bundle_is_answered(server: Hub) -> None:
    mutate(server, 100)


@pytest.mark.soak
def test_many_mutated_bundles_are_answered(server: Hub) -> None:
    mutate(server, 20_000)
