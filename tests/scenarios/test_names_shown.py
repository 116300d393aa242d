"""What is shown of hostile names and contents: no line of output can be forged, no terminal obeys a file."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.steps import capture, newest, on_terminal, watch_first

NAMES = [
    b"new\nline",
    b"escape\x1b[31mred",
    b"return\rover",
    b"tab\there",
    b"bell\x07",
    b"eight\x9bbit",
    b"c1 \xc2\x9b31m",
    b"bidi \xe2\x80\xae txt",
    b"separator \xe2\x80\xa8 line",
    b"not text \xff\xfe",
    b"  added     forged",
]
TERMINAL_BYTES = "\x1b\x07\x9b\r\u202e\u2028"


@pytest.fixture
def named(arena: Path, pacha: Pacha) -> Path:
    live = arena / "live"
    live.mkdir()
    watch_first(pacha, live)
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(live) + b"/" + name)).write_bytes(b"content\n")
    return live


def check_lines(said: str, live: Path) -> None:
    """Every line that tells of a path tells of one whole path, and nothing reaches the terminal raw."""
    assert not set(said) & set(TERMINAL_BYTES), repr(said)
    for line in said.splitlines():
        assert not line.startswith(("line", "over", "txt")), f"a name broke into a line of its own: {line!r}"


@pytest.mark.parametrize("verb", ["status", "diff", "capture"])
def test_names_cannot_forge_output(pacha: Pacha, named: Path, verb: str) -> None:
    result = pacha.run(verb)
    assert result.code == 0, result
    assert result.out.count("new\\nline") >= 1, result.out
    check_lines(result.out + result.err, named)


def test_names_cannot_forge_history(pacha: Pacha, named: Path) -> None:
    before = newest(pacha)
    revision = capture(pacha)
    for command in (
        ["log"],
        ["show", revision],
        ["diff", "--from", before, "--to", revision],
        ["rollback", named, "--to", before, "-n"],
        ["rollback", named, "--to", before, "-y"],
    ):
        result = pacha.run(*command)
        assert result.code == 0, result
        check_lines(result.out + result.err, named)


def test_errors_cannot_be_forged_either(pacha: Pacha, named: Path) -> None:
    capture(pacha)
    for verb in ("cat", "blame", "log", "capture", "diff", "watch", "unwatch", "forget"):
        result = pacha.run(verb, f"{named}/no such\nline\x1b[31m")
        check_lines(result.out + result.err, named)


def test_content_is_found_by_any_name(pacha: Pacha, named: Path) -> None:
    capture(pacha)
    for name in NAMES:
        path = os.fsdecode(os.fsencode(named) + b"/" + name)
        assert pacha.run("cat", path).out == "content\n", name


def test_json_gives_names_exactly(pacha: Pacha, named: Path) -> None:
    found = pacha.ok("capture")["changed"]
    told = set()
    for change in found:
        told.add(base64.b64decode(change["path_b64"]) if "path_b64" in change else change["path"].encode())
    for name in NAMES:
        assert os.fsencode(named) + b"/" + name in told


def test_messages_and_authors_are_one_line_each(pacha: Pacha, named: Path) -> None:
    pacha.run("capture", "-m", "one\n000000000000  forged\x1b[31m", "--author", "A\nB\x1b]0;title\x07")
    said = pacha.run("log").out
    assert len(said.splitlines()) == 2
    check_lines(said, named)
    check_lines(pacha.run("show", newest(pacha)).out, named)


def test_contents_do_not_command_the_terminal(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "file").write_text("before\n")
    watch_first(pacha, live)
    (live / "file").write_text("after \x1b]0;title\x07 \x1b[2J\n")
    code, shown = on_terminal(pacha, "diff", extra={"NO_COLOR": ""})
    assert code == 0
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert "after" in shown


def test_a_pipe_gets_contents_unchanged(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "file").write_bytes(b"latin \xe9\r\n")
    watch_first(pacha, live)
    argv = pacha.argv("cat", live / "file")
    assert subprocess.check_output(argv, env=pacha.environment()) == b"latin \xe9\r\n"
