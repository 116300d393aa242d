"""`forget`: no byte of a secret stays in any file of the state folder, and all else goes on."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import capture, on_terminal, revisions, watch_first

SECRETS = [f"SECRET{number}XYZZY" for number in range(4)]
ZSTD = b"\x28\xb5\x2f\xfd"


def unpacked(content: bytes) -> Iterator[bytes]:
    """The bytes as they are, and every compressed piece that may be in them."""
    yield content
    for found in re.finditer(b"x[\x01\x5e\x9c\xda]", content):
        try:
            yield zlib.decompressobj().decompress(content[found.start() :])
        except zlib.error:
            continue
    zstd = pytest.importorskip("mercurial.zstd")
    for found in re.finditer(re.escape(ZSTD), content):
        try:
            yield zstd.ZstdDecompressor().decompressobj().decompress(content[found.start() :])
        except zstd.ZstdError:
            continue


def holding(folder: Path, secrets: list[str]) -> dict[str, set[str]]:
    """Files below a folder that hold a secret."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            for piece in unpacked(path.read_bytes()):
                for secret in secrets:
                    if secret.encode() in piece:
                        found.setdefault(str(path.relative_to(folder)), set()).add(secret)
    return found


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    """A tree whose `secret` had several versions, short, long and compressed, and a copy elsewhere."""
    tree = arena / "live"
    tree.mkdir()
    (tree / "kept").write_text("kept\n")
    (tree / "secret").write_text(f"password={SECRETS[0]}\n")
    watch_first(pacha, tree)
    lines = "".join(f"line {number}\n" for number in range(3000))
    (tree / "secret").write_text(f"{lines}password={SECRETS[1]}\n")
    capture(pacha)
    (tree / "secret").unlink()
    capture(pacha)
    (tree / "secret").write_text(f"password={SECRETS[2]}\n")
    (tree / "copy").write_text(f"password={SECRETS[2]}\n")
    capture(pacha)
    assert set().union(*holding(pacha.state, SECRETS).values()) == set(SECRETS[:3]), "the search itself fails"
    return tree


def test_no_byte_stays(pacha: Pacha, live: Path) -> None:
    (live / "copy").write_text("harmless\n")
    capture(pacha)
    pacha.ok("forget", live / "copy", "-y")
    pacha.ok("forget", live / "secret", "-y")
    assert holding(pacha.state, SECRETS) == {}
    for revision in revisions(pacha, live / "secret"):
        result = pacha.run("cat", live / "secret", "--at", revision["id"])
        assert SECRETS[0] not in result.out
        assert result.code == 2


def test_copies_are_named(pacha: Pacha, live: Path) -> None:
    said = pacha.run("forget", live / "secret", "-n").out
    assert str(live / "copy") in said
    assert holding(pacha.state, SECRETS), "a dry run removed something"


def test_it_asks_first(pacha: Pacha, live: Path) -> None:
    code, shown = on_terminal(pacha, "forget", live / "secret", answer=b"n\n")
    assert code == 1
    assert "for ever" in shown
    assert holding(pacha.state, SECRETS)


def test_all_else_goes_on(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    ids = [revision["id"] for revision in revisions(pacha)]
    pacha.ok("forget", live / "secret", "-y")
    assert [revision["id"] for revision in revisions(pacha)] == ids, "history was rewritten"
    assert pacha.run("verify").code == 0
    assert pacha.ok("capture")["revision"] is None
    (live / "secret").write_text("a new one\n")
    last = capture(pacha)
    (live / "secret").unlink()
    (live / "kept").unlink()
    pacha.ok("rollback", live, "--to", last, "-y")
    assert (live / "secret").read_text() == "a new one\n"
    assert (live / "kept").read_text() == "kept\n"
    for args in (["log"], ["show", ids[0]], ["diff", "--from", ids[-1], "--to", ids[0]]):
        result = pacha.run(*args)
        assert result.code == 0, result
        assert SECRETS[0] not in result.out
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    assert copy.hg("cat", "-r", "tip", f"{copy.path}/files{live}/kept") == b"kept\n"
    complaints = [line for line in copy.complaints() if "censored" not in line and "dirstate" not in line]
    assert [
        line for line in complaints if "integrity errors" not in line and "damaged changeset" not in line
    ] == []


def test_a_rollback_to_what_was_forgotten_says_so(pacha: Pacha, live: Path) -> None:
    first = revisions(pacha)[-1]["id"]
    pacha.ok("forget", live / "secret", "-y")
    (live / "kept").write_text("damaged\n")
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3, result
    failed = [step for step in result.json["steps"] if not step["ok"]]
    assert [step["path"] for step in failed] == [str(live / "secret")]
    assert "forgotten" in failed[0]["reason"]
    assert (live / "kept").read_text() == "kept\n"
    assert (live / "secret").read_text() == f"password={SECRETS[2]}\n"


def test_what_cannot_be_forgotten(pacha: Pacha, live: Path) -> None:
    for path in (live, live / "never", "/etc/passwd"):
        assert pacha.run("forget", path, "-y").code == 2


def test_the_second_time_counts_what_was_left(pacha: Pacha, live: Path) -> None:
    pacha.ok("forget", live / "secret", "-y")
    said = pacha.run("forget", live / "secret", "-n")
    assert "3 versions" not in said.out
