"""What reaches stdout and stderr, on terminals, in pipes, into nowhere; and the options every command shares."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.command import Pacha, spoke_plainly
from tests.steps import capture, newest, on_terminal, watch_first

FAILING = [
    ["show", "nosuch"],
    ["cat", "/nosuch"],
    ["blame", "/nosuch"],
    ["log", "/nosuch"],
    ["diff", "--from", "nosuch"],
    ["rollback", "/nosuch", "--to", "1h", "-y"],
    ["rollback"],
    ["watch", "/nosuch"],
    ["unwatch", "/nosuch"],
    ["capture", "/nosuch"],
    ["confirm", "nosuch"],
    ["forget", "/nosuch", "-y"],
    ["agent", "--bogus"],
    ["bogus"],
    ["status", "--bogus"],
    ["log", "-n", "x"],
    ["log", "--since", "never"],
]


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("one\n")
    watch_first(pacha, tree)
    return tree


@pytest.mark.parametrize("start", range(4))
def test_errors_are_a_sentence_or_an_object(pacha: Pacha, live: Path, start: int) -> None:
    for args in FAILING[start::4]:
        fails_plainly(pacha, args)


def fails_plainly(pacha: Pacha, args: list[str]) -> None:
    """Exit 2 with a sentence on stderr; with `--json`, with an object on stdout."""
    plain = pacha.run(*args)
    assert plain.code == 2
    assert plain.out == ""
    assert spoke_plainly(plain) == []
    told = pacha.run(*args, "--json")
    assert told.code == 2
    assert told.json["ok"] is False
    assert told.json["version"] == 1
    assert set(told.json["error"]) >= {"kind", "message", "hint"}


def test_common_options_go_before_and_after(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for args in (
        ["--state", elsewhere, "--json", "status"],
        ["status", "--json", "--state", elsewhere],
        ["--json", "status", "--state", elsewhere],
    ):
        assert pacha.run(*args).json["state"] == str(elsewhere)
    assert pacha.run("status", "--json", "--config", tmp_path / "nosuch.toml").code == 2


@pytest.mark.parametrize("verb", ["capture", "verify"])
def test_quiet_says_only_what_went_wrong(pacha: Pacha, live: Path, verb: str) -> None:
    if verb == "capture":
        (live / "file").write_text("two\n")
    for args in ([verb, "-q"], ["-q", verb]):
        result = pacha.run(*args)
        assert (result.code, result.out, result.err) == (0, "", "")
    assert pacha.run("cat", "/nosuch", "-q").err


def test_quiet_rollback(pacha: Pacha, live: Path) -> None:
    first = newest(pacha)
    (live / "file").write_text("two\n")
    result = pacha.run("rollback", live, "--to", first, "-y", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (live / "file").read_text() == "one\n"


def test_colours_only_on_a_terminal(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("two\n")
    assert "\x1b" not in pacha.run("diff").out
    code, plain = on_terminal(pacha, "diff", extra={"NO_COLOR": "1"})
    assert code == 0
    assert "\x1b" not in plain
    code, coloured = on_terminal(pacha, "diff", extra={"NO_COLOR": ""})
    assert code == 0
    assert "\x1b[" in coloured


def shell(pacha: Pacha, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `$P` is Pacha."""
    environment = {**pacha.environment(), "P": " ".join(pacha.argv())}
    return subprocess.run(
        ["bash", "-c", script], env=environment, cwd=pacha.home, capture_output=True, text=True, timeout=60
    )


def test_a_reader_that_leaves_is_no_error(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("".join(f"{n}\n" for n in range(200_000)))
    capture(pacha)
    said = shell(pacha, f"$P cat {live}/file | head -1; echo ${{PIPESTATUS[0]}}")
    assert "Traceback" not in said.stderr
    assert said.stderr == ""
    assert said.stdout.splitlines()[0] == "0"


def told_of_a_full_stdout(pacha: Pacha, args: str) -> None:
    """Exit 1, with a sentence that does not say that the command was not done."""
    said = shell(pacha, f"$P {args} > /dev/full")
    assert said.returncode == 1, args
    lines = said.stderr.splitlines()
    assert lines[0] == "pacha: standard output cannot be written: No space left on device", (args, said)
    assert len(lines) == 2, (args, said)


def test_a_full_stdout_is_told(pacha: Pacha, live: Path) -> None:
    for args in ("log", "status", "config", "doctor", "verify", "log --help", "--version", "--help"):
        told_of_a_full_stdout(pacha, args)


@pytest.mark.parametrize("half", [0, 1])
def test_a_full_stdout_is_told_by_every_verb(pacha: Pacha, live: Path, half: int) -> None:
    first = newest(pacha)
    file = live / "file"
    (live / "other").write_text("x\n")
    more = live.parent / "more"
    more.mkdir()
    file.write_text("two\n")
    halves = (
        [
            f"watch {more}",
            f"unwatch {more}",
            "status",
            "capture",
            "log",
            f"show {first}",
            f"diff --from {first}",
            f"cat {file}",
            f"blame {file}",
        ],
        [
            f"rollback {live} --to {first} -n",
            f"rollback {live} --to {first} -y",
            "verify",
            f"forget {file} -n",
            f"forget {file} -y",
            "change begin -m x",
            "change end",
            "agent --once",
            "doctor",
            "config",
        ],
    )
    for args in halves[half]:
        told_of_a_full_stdout(pacha, f"{args} --json")
    if half:
        assert file.read_text() == "one\n"
        assert pacha.run("cat", file, "--at", first).code == 2
    told = shell(pacha, "$P cat /nosuch --json > /dev/full")
    assert told.returncode == 2
    assert "/nosuch" in told.stderr


def test_a_closed_stdout_is_no_traceback(pacha: Pacha, live: Path) -> None:
    for args in ("log", "status", "status --json", "diff", "nosuch"):
        assert "Traceback" not in shell(pacha, f"$P {args} >&-").stderr
    assert shell(pacha, "$P nosuch 2>&-").returncode == 2


def test_a_working_directory_that_is_gone(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    said = shell(
        pacha, f"mkdir {gone}; cd {gone}; rmdir {gone}; $P cat {live}/file; $P cat relative; echo $?"
    )
    assert said.stdout == "one\n2\n"
    assert "directory" in said.stderr


def test_no_locale_breaks_output(pacha: Pacha, live: Path) -> None:
    Path(os.fsdecode(os.fsencode(live) + "/é".encode())).write_text("x\n")
    said = shell(
        pacha,
        "LC_ALL=POSIX $P status && PYTHONIOENCODING=ascii $P status && PYTHONIOENCODING=latin1 $P diff | iconv -f latin1 -t utf-8",
    )
    assert said.returncode == 0
    assert "Traceback" not in said.stderr


def test_a_users_mercurial_settings_change_nothing(pacha: Pacha, live: Path) -> None:
    hgrc = "[ui]\nusername = evil\n[extensions]\nnosuch = /nosuch.py\n[hooks]\npretxncommit = false\n"
    (pacha.home / ".hgrc").write_text(hgrc)
    rc = pacha.home / "rc"
    rc.write_text(hgrc)
    (live / "file").write_text("two\n")
    said = shell(pacha, f"HGRCPATH={rc} HGUSER=evil HGENCODING=latin1 HGPLAIN= $P capture --json")
    assert json.loads(said.stdout)["revision"], said
    assert "evil" not in pacha.run("log", "--json").out


def test_json_of_every_reading_command(pacha: Pacha, live: Path) -> None:
    revision = newest(pacha)
    for args in (
        ["status"],
        ["log"],
        ["show", revision],
        ["diff"],
        ["cat", live / "file"],
        ["verify"],
        ["doctor"],
        ["config"],
        ["capture"],
        ["agent", "--once"],
        ["rollback", live, "--to", revision, "-n"],
    ):
        answer = pacha.ok(*args)
        assert answer["version"] == 1
        assert answer["ok"] is True
    status = pacha.ok("status")
    assert set(status) >= {
        "host",
        "role",
        "state",
        "store",
        "watches",
        "pending",
        "skipped",
        "agent",
        "servers",
    }
    assert status["role"] == "standalone"
    assert set(pacha.ok("log")["revisions"][0]) >= {
        "id",
        "time",
        "host",
        "author",
        "cause",
        "message",
        "who",
        "paths",
    }
