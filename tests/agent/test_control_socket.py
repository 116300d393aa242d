"""The control socket: for its owner and root alone, and nobody who speaks to it can hold up the agent."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pacha.adapters.runtime import socket_path
from tests import needs, unprivileged
from tests.agents import Agent, start, stored, until
from tests.command import Pacha

QUESTION = b'{"ask": "status"}\n'
CAPTURED = 5.0  # seconds: far more than it takes, far less than waiting for each of the rude would


@contextmanager
def connected(place: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(place)
        yield connection


def answer(place: str, question: bytes) -> bytes:
    """Everything that comes for a question, nothing where the other end hangs up."""
    found = b""
    with connected(place) as connection:
        try:
            connection.sendall(question)
            while part := connection.recv(1 << 16):
                found += part
        except OSError:
            pass
    return found


def is_captured(pacha: Pacha, path: Path, text: str) -> bool:
    """Whether a write comes through in time."""
    path.write_text(text)
    until(lambda: stored(pacha, path) == text, CAPTURED)
    return True


def test_the_socket_is_its_owners_alone(agent: Agent, pacha: Pacha) -> None:
    place = Path(socket_path(str(pacha.state)))
    status = place.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    folder = place.parent.stat()
    assert (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (os.geteuid(), 0o700)
    assert json.loads(answer(str(place), QUESTION))["pid"] == agent.pid


def test_the_socket_goes_with_the_agent(agent: Agent, pacha: Pacha) -> None:
    place = Path(socket_path(str(pacha.state)))
    assert agent.stop() == 0
    assert not place.exists()


def test_those_who_say_nothing_hold_nothing_up(agent: Agent, pacha: Pacha, live: Path) -> None:
    place = socket_path(str(pacha.state))
    with connected(place), connected(place), connected(place):
        assert is_captured(pacha, live / "file", "two\n")
        assert agent.told()["pid"] == agent.pid


def test_one_who_speaks_a_byte_at_a_time_is_dropped(agent: Agent, pacha: Pacha, live: Path) -> None:
    started = time.monotonic()
    with connected(socket_path(str(pacha.state))) as connection, pytest.raises(OSError):
        while time.monotonic() - started < 6:
            connection.sendall(b" ")
            time.sleep(0.05)
        connection.sendall(b" ")  # nobody hung up
        return
    assert time.monotonic() - started < 3
    assert is_captured(pacha, live / "file", "two\n")


def test_one_who_does_not_listen_is_dropped(agent: Agent, pacha: Pacha, live: Path) -> None:
    with connected(socket_path(str(pacha.state))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.sendall(QUESTION)
        assert is_captured(pacha, live / "file", "two\n")


NONSENSE = (
    b"\n", b"not json\n", b"\xff\xfe\x00\n", b"[]\n", b"null\n", b"7\n", b'{"ask": ["flush"]}\n', b'{"ask": {"a": 1}}\n',
    b"[" * 4000 + b"\n", b'{"a":' * 700 + b"\n", b"1" * 4090 + b"\n", b"-" * (1 << 20), b"\n" * (1 << 20),
    bytes(range(256)) * 4096,
)  # fmt: skip


def test_what_makes_no_sense_harms_nothing(agent: Agent, pacha: Pacha, live: Path) -> None:
    place = socket_path(str(pacha.state))
    for number, question in enumerate(NONSENSE):
        about = f"{question[:12]!r} {len(question)}"
        for _ in range(3):
            answer(place, question)
        assert agent.process.poll() is None, (about, agent.said())
        assert is_captured(pacha, live / "file", f"{number}\n"), about
        assert json.loads(answer(place, QUESTION))["pid"] == agent.pid, about
        assert "Traceback" not in agent.said(), about


@needs.root
def test_another_user_is_not_answered(open_arena: Path) -> None:
    python = unprivileged.interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    pacha = Pacha.at(open_arena / "pacha", interpreter=python, user=unprivileged.USER)
    runtime = open_arena / "runtime"
    runtime.mkdir()
    os.chown(runtime, unprivileged.USER, unprivileged.USER)
    agent = start(pacha, ready=False, XDG_RUNTIME_DIR=str(runtime))
    try:
        (place,) = until(lambda: list(runtime.glob("pacha/*.sock")))
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        # Even where somebody has opened the way.
        runtime.chmod(0o755)
        place.parent.chmod(0o755)
        place.chmod(0o666)

        def hears(expected: bool) -> None:
            assert bool(answer(str(place), QUESTION)) is expected

        unprivileged.as_user(lambda: hears(True))
        unprivileged.as_user(lambda: hears(False), unprivileged.USER - 1)
        hears(True)
    finally:
        assert agent.stop() == 0
