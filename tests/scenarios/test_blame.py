"""Blame: whose each line is, by the word of plain Mercurial; and what is said of that on screens and in pipes."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path

import pytest
from tests.command import Pacha, spoke_plainly
from tests.plainhg import StoreCopy
from tests.steps import capture, on_terminal, revisions, watch_first

from tests import needs

Lines = list[tuple[str, bytes]]


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("one\ntwo\nthree\n")
    watch_first(pacha, tree)
    return tree


def blamed(pacha: Pacha, path: Path, *args: str) -> Lines:
    """(revision, line) as Pacha has it."""
    return [
        (line["id"], base64.b64decode(line["text_b64"]) if "text_b64" in line else line["text"].encode())
        for line in pacha.ok("blame", path, *args)["lines"]
    ]


def annotated(copy: StoreCopy, path: Path, revision: str) -> Lines:
    """The same as plain Mercurial has it."""
    said = copy.hg("annotate", "-a", "-c", "-r", revision, "-T", "json", f"path:files{path}")
    (found,) = json.loads(said)
    return [(line["node"][:12], line["line"].removesuffix("\n").encode()) for line in found["lines"]]


def test_agrees_with_mercurial(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    file = live / "file"
    made = [revisions(pacha)[0]["id"]]
    lines = [f"line {number}" for number in range(20)]
    for step in range(8):
        if step == 3:
            file.unlink()
        elif step == 6:
            pacha.ok("rollback", file, "--to", made[2], "-y")
            made.append(revisions(pacha)[0]["id"])
            continue
        else:
            del lines[chance.randrange(len(lines))]
            lines.insert(chance.randrange(len(lines)), f"\té new in {step}")
            lines[chance.randrange(len(lines))] = "the same again"
            file.write_text("\n".join(lines) + "\n" * chance.randrange(2))
        made.append(capture(pacha))
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    for number, revision in enumerate(made):
        if number == 4:
            assert pacha.run("blame", file, "--at", revision).code == 2
            continue
        found = blamed(pacha, file, "--at", revision)
        assert found == annotated(copy, file, revision), number
        assert "\n".join(line.decode() for _, line in found) == pacha.run(
            "cat", file, "--at", revision
        ).out.rstrip("\n")
    assert blamed(pacha, file) == blamed(pacha, file, "--at", made[-1])
    assert blamed(pacha, file, "--at", made[7]) == blamed(pacha, file, "--at", made[2]), "the rollback"
    assert len({revision for revision, _ in blamed(pacha, file)}) > 1


def test_columns_in_a_pipe(pacha: Pacha, live: Path) -> None:
    first = revisions(pacha)[0]
    (live / "file").write_text("one\n\n" + "long " * 40 + "\nthree\n")
    pacha.ok("capture", "--author", "Bartholomew the Elder")
    second = revisions(pacha)[0]
    said = pacha.run("blame", live / "file").out.splitlines()
    heads = [
        f"{found['id']}  {found['time'][:19].replace('T', ' ')}  {found['author'][:12].ljust(12)}"
        for found in (first, second)
    ]
    assert said == [
        f"{heads[0]}  one",
        heads[1].rstrip(),
        f"{heads[1]}  {'long ' * 40}",
        f"{heads[0]}  three",
    ]


def test_long_lines_go_on_in_their_column_on_a_terminal(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("x" * 100 + "\n\ttab\n")
    revision = capture(pacha)
    code, said = on_terminal(pacha, "blame", live / "file", extra={"NO_COLOR": ""}, columns=80)
    assert code == 0
    lines = said.splitlines()
    assert all(len(line.replace("\x1b[33m", "").replace("\x1b[0m", "")) <= 80 for line in lines), lines
    assert "".join(lines).count("x") == 100
    assert said.count(revision) == 2
    start = lines[1].index("x")
    assert lines[1][:start].isspace()
    assert lines[-1].endswith("        tab")


def test_an_author_that_is_not_known(pacha: Pacha, live: Path) -> None:
    for author in (" \t ", "anna"):
        with open(live / "file", "a") as file:
            file.write("more\n")
        pacha.ok("capture", "--author", author)
    authors = [line["author"] for line in pacha.ok("blame", live / "file")["lines"]]
    assert authors[3:] == ["unknown", "anna"]
    assert [line.split()[3] for line in pacha.run("blame", live / "file").out.splitlines()] == authors


def test_hostile_lines_and_names(pacha: Pacha, live: Path) -> None:
    lines = [
        b"red \x1b[31m",
        b"over\rwritten",
        b"latin \xe9",
        b"bidi \xe2\x80\xae",
        b"\xc2\x9b31m",
        b"bell \x07",
        b"last",
    ]
    (live / "file").write_bytes(b"\n".join(lines))
    pacha.ok("capture", "--author", "A\x1b]0;title\x07")
    for said in (
        pacha.run("blame", live / "file").out,
        on_terminal(pacha, "blame", live / "file")[1].replace("\r\n", "\n"),
    ):
        assert not set(said) & set("\x1b\x07\x9b\r\u202e"), repr(said)
        assert len(said.splitlines()) == len(lines)
        assert "latin \\xe9" in said
    assert [line for _, line in blamed(pacha, live / "file")] == lines


def test_what_has_no_lines(pacha: Pacha, live: Path) -> None:
    (live / "binary").write_bytes(b"a\0b\n")
    (live / "huge").write_bytes(b"line\n" * 800_001)
    (live / "large").write_bytes(b"line\n" * 2_000_001)
    (live / "link").symlink_to("file")
    (live / "folder").mkdir()
    (live / "empty").touch()
    os.mkfifo(live / "pipe")
    capture(pacha)
    assert pacha.run("blame", live / "empty") == pacha.run("cat", live / "empty")
    assert pacha.ok("blame", live / "empty")["lines"] == []
    for name, words in {
        "binary": "binary",
        "huge": "over 4 MB",
        "link": "is a symbolic link",
        "pipe": "is a named pipe: it has no stored content",
        "large": "was larger than max_file_size",
        "folder": "is a directory",
        "never": "was not there at that revision",
    }.items():
        result = pacha.run("blame", live / name)
        assert result.code == 2
        assert result.out == ""
        assert words in result.err
        assert spoke_plainly(result) == []
        if name not in ("binary", "huge", "link"):
            assert result == pacha.run("cat", live / name), name
    assert pacha.run("blame", live / "file", "--at", "nosuch").code == 2


@needs.root
def test_devices_have_their_names(pacha: Pacha, live: Path) -> None:
    os.mknod(live / "null", 0o020644, os.makedev(1, 3))
    capture(pacha)
    for verb in ("blame", "cat"):
        assert "is a character device: it has no stored content" in pacha.run(verb, live / "null").err
    (live / "null").unlink()
    os.mkfifo(live / "null")
    assert "kind character device → named pipe" in pacha.run("diff").out
    assert pacha.ok("diff")["differences"][0]["metadata"][0] == "kind char → fifo"


def test_after_a_secret_was_forgotten(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("one\ntwo\nthree\nsecret\n")
    middle = capture(pacha)
    pacha.ok("forget", live / "file", "-y")
    result = pacha.run("blame", live / "file")
    assert result == pacha.run("cat", live / "file")
    assert "was forgotten" in result.err
    (live / "file").write_text("one\ntwo\n")
    after = capture(pacha)
    assert blamed(pacha, live / "file") == [(after, b"one"), (after, b"two")]
    (live / "file").write_text("one\nnew\ntwo\n")
    last = capture(pacha)
    assert [revision for revision, _ in blamed(pacha, live / "file")] == [after, last, after]
    assert pacha.run("blame", live / "file", "--at", middle).code == 2


def test_before_anything_was_captured(pacha: Pacha) -> None:
    result = pacha.run("blame", "/etc/hosts")
    assert result.code == 2
    assert spoke_plainly(result) == []
