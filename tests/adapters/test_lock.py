"""The lock: one holder at a time, waited for briefly, let go when its holder and its holder's child are gone."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pacha.adapters.lock import Lock, is_held, open_lock, try_lock
from pacha.core.errors import Busy, ReadOnly

# A process that takes the lock, says so, and holds it until its standard input ends. With a child that inherits the
# lock, that child is told by its number.
HOLDER = """
import subprocess, sys
from pacha.adapters.lock import Lock, is_held, open_lock, try_lock
lock = Lock(sys.argv[1], "capture")
with lock:
    child = None
    if sys.argv[2] == "with-child":
        child = subprocess.Popen(["sleep", "60"], pass_fds=lock.descriptors(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)
    print("held", child.pid if child else 0, flush=True)
    sys.stdin.read()
print("let go", flush=True)
if sys.argv[2] == "with-child":
    import time
    time.sleep(60)
"""


@contextmanager
def holder(path: Path, how: str = "alone") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock, and its child's number."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[1])
    try:
        yield process, child
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        if child:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock, by the kernel's word."""
    with open(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def comes_free(path: Path, seconds: float = 5) -> bool:
    """Whether the lock is let go within a few seconds."""
    deadline = time.monotonic() + seconds
    while not is_free(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_second_process_waits_and_then_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        started = time.monotonic()
        with pytest.raises(Busy) as caught, Lock(str(path), "rollback", 300_000_000):
            pass
        assert 0.3 <= time.monotonic() - started < 3
        assert caught.value.exit_code == 5
        assert re.search(rf"pacha capture \(process {process.pid}\) holds the lock {path}", str(caught.value))
        assert caught.value.hint


def test_waiting_ends_when_the_lock_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        later = subprocess.Popen(
            [sys.executable, "-c", "import sys; from pacha.adapters.lock import Lock\nwith Lock(sys.argv[1], 'log'): print('mine')",
             str(path)], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(0.3)
        assert later.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert later.communicate(timeout=10)[0] == "mine\n"
        assert later.returncode == 0


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        assert not is_free(path)
        process.kill()
        process.wait()
        assert is_free(path)
        with Lock(str(path), "next", 0):
            assert path.read_text() == f"{os.getpid()} pacha next\n"


def test_a_killed_holders_child_holds_on_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "with-child") as (process, child):
        process.kill()
        process.wait()
        assert not is_free(path)
        os.kill(child, signal.SIGKILL)
        assert comes_free(path)


def test_leaving_lets_go_though_a_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "with-child") as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.readline() == "let go\n"
        assert is_free(path)


def test_its_holder_may_enter_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(str(path), "rollback", 0)
    with lock:
        with lock:
            assert not is_free(path)
        assert not is_free(path)
    assert is_free(path)
    with lock:
        assert not is_free(path)
    assert is_free(path)


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), Lock(str(path), "capture", 0):
        raise KeyError
    assert is_free(path)


def test_what_a_child_inherits_is_not_yet_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(str(path), "capture")
    (descriptor,) = lock.descriptors()
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    assert not os.get_inheritable(descriptor)
    assert is_free(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    lock = Lock(str(tmp_path / "nowhere" / "lock"), "capture")
    assert lock.descriptors() == ()
    with pytest.raises(ReadOnly, match="cannot write the state folder"), lock:
        pass


def test_the_lock_file_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Lock(str(tmp_path / "lock"), "capture"):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_long_verb_is_followed_by_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(str(path), "a-very-long-verb-indeed"):
        pass
    with Lock(str(path), "log"):
        assert path.read_text() == f"{os.getpid()} pacha log\n"


def test_who_looks_sees_whether_it_is_held_and_takes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    mine = open_lock(path)
    assert not is_held(path)
    assert try_lock(mine)
    assert is_held(path)
    other = open_lock(path)
    assert not try_lock(other)
    os.close(mine)
    assert not is_held(path)
    assert try_lock(other)
    os.close(other)


def test_what_cannot_be_opened_is_held_by_nobody(tmp_path: Path) -> None:
    held = open_lock(str(tmp_path / "lock"))
    assert try_lock(held)
    (tmp_path / "link").symlink_to("lock")
    assert [is_held(str(tmp_path / name)) for name in ("link", "missing", "lock/below")] == [
        False,
        False,
        False,
    ]
    with pytest.raises(OSError, match="symbolic links"):
        open_lock(str(tmp_path / "link"))
    os.close(held)
