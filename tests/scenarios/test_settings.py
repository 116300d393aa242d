"""Mistakes in the configuration: which key, which line, what is allowed; and state folders that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command import Pacha, spoke_plainly
from tests.faults.loopfs import loop_fs
from tests.steps import watch_first

from tests import needs

WRONG = [
    (b'\nwach = ["/x"]\n', 2, ["wach", "watch"]),
    (b'host = "a"\nwatch = "/etc"\n', 2, ["watch", "list"]),
    (b"host = 5\n", 1, ["host"]),
    (b'[capture]\nquiet = "50"\n', 2, ["capture.quiet", "50ms"]),
    (b'[capture]\nmax_file_size = "ten"\n', 2, ["capture.max_file_size", "MB"]),
    (b"[capture]\nmax_file_size = 10\n", 2, ["capture.max_file_size", "MB"]),
    (b"\n[captur]\nx = 1\n", 2, ["captur"]),
    (b'host = "a"\nhost = "b"\n', 2, ["host"]),
    (b'host = "a\n', 1, ["TOML"]),
    (b'host = "\xff"\n', 1, ["UTF-8"]),
    (b'watch = ["relative"]\n', 1, ["watch", "absolute"]),
    (b'[push]\npreflight = "maybe"\n', 2, ["push.preflight", "require"]),
    (b'[capture]\ncross_filesystems = "yes"\n', 2, ["capture.cross_filesystems", "true"]),
    (b'ignore = ["["]\n', 1, ["ignore"]),
    (b'[hooks]\ntimeout = "0s"\n', 2, ["hooks.timeout"]),
]


@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_mistakes_are_named(pacha: Pacha, text: bytes, line: int, words: list[str]) -> None:
    pacha.config.write_bytes(text)
    result = pacha.run("capture")
    assert result.code == 2, result
    assert spoke_plainly(result) == []
    assert f"{pacha.config}:{line}:" in result.err
    for word in words:
        assert word in result.err
    assert pacha.config.read_bytes() == text


def test_a_mistake_stops_every_command_alike(pacha: Pacha) -> None:
    pacha.config.write_text("wrong = 1\n")
    for args in (["status"], ["config", "--check"], ["log"], ["rollback", "/etc", "--to", "1h", "-n"]):
        assert pacha.run(*args, "--json").json["error"]["kind"] == "config"
    assert pacha.run("doctor").code == 4


def test_a_configuration_that_is_not_there(pacha: Pacha) -> None:
    assert pacha.run("status").code == 0
    assert pacha.run("--config", "/nosuch/pacha.toml", "status").code == 2
    pacha.config.mkdir()
    result = pacha.run("status")
    assert result.code == 2
    assert spoke_plainly(result) == []


@pytest.mark.parametrize("place", ["file", "/proc/nosuch/state"])
def test_a_state_folder_that_cannot_be(pacha: Pacha, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    result = pacha.run("capture", "--state", tmp_path / place)
    assert result.code == 1
    assert spoke_plainly(result) == []


def test_a_state_folder_that_is_made(pacha: Pacha, tmp_path: Path, arena: Path) -> None:
    (arena / "live").mkdir()
    pacha.ok("watch", arena / "live", "--state", tmp_path / "not" / "yet")
    assert (tmp_path / "not" / "yet").stat().st_mode & 0o777 == 0o700


@needs.loop
def test_a_read_only_state_still_tells_the_history(pacha: Pacha, tmp_path: Path, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "file").write_text("one\n")
    with loop_fs(tmp_path, 16) as disk:
        there = Pacha(disk.at / "state", pacha.config, pacha.home)
        first = watch_first(there, live)
        (live / "file").write_text("two\n")
        disk.read_only(True)
        for args in (["log"], ["show", first], ["cat", live / "file"], ["status"], ["diff"]):
            result = there.run(*args)
            assert result.code == 0, result
        for args in (["capture"], ["rollback", live, "--to", first, "-y"], ["watch", live]):
            result = there.run(*args)
            assert result.code == 1, result
            assert spoke_plainly(result) == []
        assert (live / "file").read_text() == "two\n"
        assert there.run("doctor").code == 4
        disk.read_only(False)
        there.ok("capture")


@needs.loop
def test_a_full_disk_is_called_full(pacha: Pacha, tmp_path: Path, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "file").write_text("one\n")
    with loop_fs(tmp_path, 16) as disk:
        there = Pacha(disk.at / "state", pacha.config, pacha.home)
        watch_first(there, live)
        (live / "file").write_text("two\n" * 50_000)
        ballast = disk.fill()
        result = there.run("capture")
        assert result.code == 1, result
        assert spoke_plainly(result) == []
        assert "space" in result.err or "full" in result.err, result.err
        assert there.run("log").code == 0
        assert there.run("status").code == 0
        ballast.unlink()
        there.ok("capture")
        assert there.run("verify").code == 0
