"""Two at once, and signals: a clear word, the right exit code, and nothing half-done that nobody is told of."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.steps import capture, newest, revisions, watch_first

MANY = 600


@contextmanager
def locked(pacha: Pacha) -> Iterator[None]:
    """Hold Pacha's own lock, as a busy Pacha does."""
    with (pacha.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fill(live: Path, word: str) -> None:
    """Write many files."""
    live.mkdir(exist_ok=True)
    for number in range(MANY):
        (live / f"f{number}").write_text(f"{word} {number}\n")


def test_the_second_waits_briefly_and_says_so(pacha: Pacha, arena: Path) -> None:
    fill(arena / "live", "old")
    first = watch_first(pacha, arena / "live")
    (arena / "live" / "f1").write_text("new\n")
    with locked(pacha):
        started = time.monotonic()
        result = pacha.run("capture", "--json")
        assert result.code == 5, result
        assert result.json["error"]["kind"]
        assert result.json["error"]["message"]
        assert time.monotonic() - started < 15
        assert pacha.run("log").code == 0
        assert pacha.run("cat", arena / "live" / "f2").code == 0
    assert capture(pacha) != first


def test_many_at_once_lose_nothing(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    watch_first(pacha, live)
    running = []
    for number in range(5):
        (live / f"f{number}").write_text("x\n")
        running.append(pacha.start("capture", "--json"))
    for process in running:
        assert pacha.finish(process).code in (0, 5)
    pacha.ok("capture")
    told = [path["path"] for revision in revisions(pacha) for path in revision["paths"]]
    for number in range(5):
        assert told.count(str(live / f"f{number}")) == 1
    assert pacha.run("verify").code == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [0.15, 0.3])
def test_an_interrupted_capture(
    pacha: Pacha, arena: Path, sent: signal.Signals, code: int, after: float
) -> None:
    fill(arena / "live", "old")
    watch_first(pacha, arena / "live")
    fill(arena / "live", "newer")
    process = pacha.start("capture", "--json")
    time.sleep(after)
    process.send_signal(sent)
    result = pacha.finish(process)
    assert result.code in (0, code), result
    assert result.json["ok"] is (result.code == 0)
    assert "Traceback" not in result.err
    pacha.ok("capture")
    assert pacha.run("verify").code == 0


def test_an_interrupted_watch_is_not_left_in_the_configuration(pacha: Pacha, arena: Path) -> None:
    fill(arena / "live", "old")
    process = pacha.start("watch", arena / "live")
    until = time.monotonic() + 20
    while str(arena / "live") not in (pacha.config.read_text() if pacha.config.exists() else ""):
        assert time.monotonic() < until
        if process.poll() is not None:
            break
    process.send_signal(signal.SIGTERM)
    result = pacha.finish(process)
    if result.code == 0:
        pytest.skip("too quick to be interrupted")
    assert result.code == 143
    assert pacha.ok("status")["watches"] == []


def strays(live: Path) -> list[str]:
    """Names in the tree that are not the test's."""
    return [name for name in os.listdir(live) if not name.startswith("f")]


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, None)]
)
def test_an_interrupted_rollback_is_told_and_clean(
    pacha: Pacha, arena: Path, sent: signal.Signals, code: int | None
) -> None:
    live = arena / "live"
    fill(live, "old")
    first = watch_first(pacha, live)
    fill(live, "newer")
    process = pacha.start("rollback", live, "--to", first, "-y")
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        if (live / f"f{MANY // 2}").read_text().startswith("old") or strays(live):
            process.send_signal(sent)
            break
    result = pacha.finish(process)
    old = sum((live / f"f{number}").read_text() == f"old {number}\n" for number in range(MANY))
    new = sum((live / f"f{number}").read_text() == f"newer {number}\n" for number in range(MANY))
    assert old + new == MANY, "a file is neither the old nor the new one"
    if result.code == 0:
        assert old == MANY
    else:
        assert code is None or result.code == code
        assert strays(live) == [], "temporary files stay"
        assert old in (0, MANY) or ("interrupted" in result.err and str(old) in result.err), result.err
    pacha.ok("rollback", live, "--to", first, "-y")
    assert strays(live) == []
    assert (live / "f0").read_text() == "old 0\n"


def test_a_killed_rollback_leaves_no_temporary_files(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    fill(live, "old")
    first = watch_first(pacha, live)
    fill(live, "newer")
    capture(pacha)
    process = pacha.start("rollback", live, "--to", first, "-y")
    until = time.monotonic() + 30
    while process.poll() is None and not strays(live) and time.monotonic() < until:
        pass
    os.killpg(process.pid, signal.SIGKILL)
    pacha.finish(process)
    assert pacha.run("status").code == 0
    assert strays(live) == []
    pacha.ok("rollback", live, "--to", first, "-y")
    assert (live / "f5").read_text() == "old 5\n"
    assert newest(pacha)
