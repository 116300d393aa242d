"""A push that is cut off at any instant: by a kill, by a full disk, by a lost power supply.

Each round pushes one more revision and strikes. Then, with no one's help: what was acknowledged is there, the
store is the old or the new one and verifies, and the same push again gets through.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests import needs
from tests.faults.loopfs import loop_fs
from tests.plainhg import StoreCopy
from tests.server.forge import NULL, Forged, Wire
from tests.server.hub import Hub, hub

HOST = "web1"
CHANCE = random.Random(4)
FILES = 40


class Line:
    """The revisions of one host, forged one after the other, and what of them was acknowledged."""

    def __init__(self, server: Hub) -> None:
        self.server = server
        self.key = server.add(HOST)
        self.tip = NULL
        self.names = [b"%d" % number for number in range(FILES)]
        self.acknowledged = ""
        self.made: list[str] = []

    def next(self) -> Forged:
        """A revision after the newest that the server has: every file changes."""
        data = b"%d\n" % len(self.made) * CHANCE.randrange(1, 2000)
        revision = Forged(HOST, parents=(self.tip, NULL), contents={name: name + data for name in self.names})
        revision.bundle()  # which makes its id
        return revision

    def push(
        self,
        revision: Forged,
        strike: Callable[[], None] | None = None,
        then: Callable[[], None] | None = None,
    ) -> str:
        """Push it, strike when all of it was sent, and then the moment that it is acknowledged; what was
        answered, or what ended the session.
        """
        session = Wire(self.server, self.key)
        try:
            session.told()
            session.say(b"unbundle\nheads 0\n")
            session.answer()
            data = revision.bundle()
            session.say(b"%d\n" % len(data) + data + b"0\n")
            if strike is not None:
                strike()
            answer, words = session.reply()
            if then is not None:
                then()
        except (AssertionError, OSError, ValueError, IndexError) as problem:
            return f"cut: {problem}"
        finally:
            with suppress(AssertionError):
                session.end()
        if answer == "reply:changegroup":
            self.acknowledged = revision.id.hex()
        return f"{answer} {words}"

    def settle(self, revision: Forged, copy: Path) -> None:
        """What must hold after each round; the next revision goes on top of what is there."""
        session = Wire(self.server, self.key)
        told = session.told()
        assert session.end() == (0, b"")
        known = (self.tip.hex() if self.tip != NULL else "", revision.id.hex())
        assert told["tip"] in known
        assert told["tip"] == self.acknowledged or self.acknowledged != revision.id.hex()
        stored = StoreCopy(self.server.store(HOST), copy)
        assert not (copy / ".hg" / "store" / "journal").exists(), "not healed"
        assert stored.complaints() == []
        if told["tip"] != revision.id.hex():
            answer = self.push(revision)
            assert answer.startswith("reply:changegroup"), answer
        self.tip = revision.id
        self.acknowledged = revision.id.hex()
        self.made.append(self.acknowledged)

    def done(self, copy: Path) -> None:
        """What must hold at the end: everything is there, in order."""
        assert StoreCopy(self.server.store(HOST), copy).nodes() == self.made


def wait() -> None:
    time.sleep(CHANCE.random() * 0.35)


def either(
    strike: Callable[[], None], number: int
) -> tuple[Callable[[], None] | None, Callable[[], None] | None]:
    """Strike at some instant, and every fourth time at that of the acknowledgement."""

    def later() -> None:
        wait()
        strike()

    return (None, strike) if number % 4 == 3 else (later, None)


def kill_session(server: Hub) -> None:
    """The process that receives, and nothing else."""
    for pid in server.registry.sessions(HOST).pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_server(server: Hub) -> None:
    """sshd with all its sessions."""
    server.sshd.stop(signal.SIGKILL)
    server.sshd.start()


def rounds(server: Hub, count: int, copy: Path) -> None:
    line = Line(server)
    answers = []
    for number in range(count):
        revision = line.next()
        strike = partial(kill_session if number % 3 else kill_server, server)
        answers.append(line.push(revision, *either(strike, number)))
        line.settle(revision, copy)
    line.done(copy)
    said = sum(answer.startswith("reply:changegroup") for answer in answers)
    print(f"{count} kills: {said} after the acknowledgement, {count - said} before")


@pytest.mark.fault
def test_a_killed_push_loses_nothing(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        rounds(server, 4, tmp_path / "copy")


@pytest.mark.soak
@pytest.mark.fault
def test_a_hundred_killed_pushes_lose_nothing(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        rounds(server, 100, tmp_path / "copy")


def test_half_a_bundle_is_no_bundle(tmp_path: Path) -> None:
    """The client's own end: it dies amidst sending, at every part of the way."""
    with hub(tmp_path) as server:
        line = Line(server)
        first = line.next()
        assert line.push(first).startswith("reply:changegroup")
        line.settle(first, tmp_path / "copy")
        before = server.digest(HOST)
        data = line.next().bundle()
        for part in (0, len(data) // 2, len(data) - 1):
            session = Wire(server, line.key)
            session.say(b"unbundle\nheads 0\n")
            session.answer()
            session.say(b"%d\n" % len(data) + data[:part])
            assert session.end()[0] == 1
        assert server.digest(HOST) == before


def on_a_disk(tmp_path: Path, count: int) -> None:
    with loop_fs(tmp_path, 64) as disk, hub(tmp_path, disk=disk.at) as server:
        line = Line(server)
        os.sync()
        said = 0
        for number in range(count):
            revision = line.next()
            answer = line.push(revision, *either(disk.cut_power, number))
            said += answer.startswith("reply:changegroup")
            server.sshd.stop(signal.SIGKILL)
            disk.power_on()
            server.sshd.start()
            line.settle(revision, tmp_path / "copy")
        line.done(tmp_path / "copy")
        print(f"{count} power cuts: {said} after the acknowledgement, {count - said} before")
        server.sshd.stop()


@needs.loop
@pytest.mark.fault
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    on_a_disk(tmp_path, 4)


@needs.loop
@pytest.mark.soak
@pytest.mark.fault
def test_forty_power_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    on_a_disk(tmp_path, 40)


@needs.loop
@pytest.mark.fault
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with loop_fs(tmp_path, 16) as disk, hub(tmp_path, disk=disk.at) as server:
        line = Line(server)
        first = line.next()
        assert line.push(first).startswith("reply:changegroup")
        line.settle(first, tmp_path / "copy")
        for leave in (0, 100_000):
            ballast = disk.fill(leave)
            revision = line.next()
            answer = line.push(revision)
            assert "No space left" in answer or leave, answer
            ballast.unlink()
            line.settle(revision, tmp_path / "copy")
        server.sshd.stop()
