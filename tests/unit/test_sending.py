"""When the agent sends, and again when it failed; the sending processes are real ones that only play their part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.agents import until
from tests.said import Said

from pacha.agent.sending import LONGEST_PAUSE_NS, Sending
from pacha.agent.worker import Message

SERVER = {
    "address": "hub",
    "backlog": 0,
    "since": None,
    "error": None,
    "revision": "a" * 12,
    "used": 1,
    "quota": 9,
}
PROBLEM = {"kind": "unreachable", "message": "hub is away", "hint": "look there"}
FAILED = {"server": {**SERVER, "backlog": 1, "error": PROBLEM["message"]}, "error": PROBLEM}


class Part:
    """What a sending process does in a test."""

    is_busy = False

    def __init__(self, answer: Callable[[Message], Message]) -> None:
        self.answer = answer

    def __call__(self, request: Message) -> Message:
        return self.answer(request)

    def finish(self) -> None:
        """Nothing goes on."""


@pytest.fixture
def play(said: Said) -> Iterator[Callable[..., Sending]]:
    """Makes the sending whose process for every server answers so."""
    made: list[Sending] = []

    def make(answer: Callable[[Message], Message], *addresses: str) -> Sending:
        made.append(Sending(said, lambda _: lambda: Part(answer), lambda: None))
        made[-1].configure(addresses or ("hub",))
        return made[-1]

    yield make
    for sending in made:
        sending.configure(())


def hear(sending: Sending, now: int = 0) -> None:
    """Take one answer."""

    def heard() -> bool:
        ready = [link.worker.fileno() for link in sending._links.values() if link.worker.has_answered()]
        sending.hear(ready, now)
        return bool(ready)

    until(heard, 5)


def test_what_waited_is_sent_at_once_and_then_what_comes(play: Callable[..., Sending], said: Said) -> None:
    sending = play(lambda request: {"server": SERVER})
    assert (sending.next_ns(), sending.told(), sending.descriptors()) == (0, [], [])
    sending.work(0)
    assert sending.next_ns() is None
    hear(sending)
    assert sending.told() == [SERVER]
    sending.add()
    sending.add()
    assert sending.told() == [{**SERVER, "backlog": 2}]
    sending.work(0)
    hear(sending)
    assert (sending.told(), sending.next_ns(), said.lines) == ([SERVER], None, [])


def test_a_revision_made_while_one_is_sent_is_sent_next(play: Callable[..., Sending]) -> None:
    sending = play(lambda request: {"server": SERVER})
    sending.work(0)
    sending.add()
    assert sending.next_ns() is None, "one at a time"
    hear(sending)
    assert sending.next_ns() == 0


def test_pauses_grow_to_five_minutes_with_jitter_and_are_said_once(
    play: Callable[..., Sending], said: Said
) -> None:
    sending = play(lambda request: FAILED)
    now, pauses = 0, []
    for _ in range(12):
        sending.work(now)
        hear(sending, now)
        soonest = sending.next_ns()
        assert soonest is not None
        pauses.append(soonest - now)
        sending.work(soonest - 1)
        assert sending.next_ns() is not None, "not before its time"
        now = soonest
    assert pauses[0] <= 1_000_000_000
    assert LONGEST_PAUSE_NS // 2 <= pauses[-1] <= LONGEST_PAUSE_NS
    assert said.lines == ["hub is away (look there)"]
    assert sending.told()[0]["error"] == "hub is away"
    sending.wake()
    assert sending.next_ns() == 0


def test_no_server_waits_for_another(play: Callable[..., Sending]) -> None:
    def answer(request: Message) -> Message:
        time.sleep(30)
        return {"server": SERVER}

    sending = play(answer, "slow", "slower")
    sending.work(0)
    assert len(sending.descriptors()) == 2
    started = time.monotonic()
    sending.configure(())
    assert time.monotonic() - started < 5


def test_a_process_that_dies_costs_its_attempt(play: Callable[..., Sending], said: Said) -> None:
    def answer(request: Message) -> Message:
        raise SystemExit(1)

    sending = play(answer)
    sending.work(0)
    hear(sending)
    assert sending.next_ns() is not None
    assert "ended unexpectedly" in said.lines[0]


def test_another_line_is_to_be_looked_at(play: Callable[..., Sending]) -> None:
    sending = play(lambda request: {"server": SERVER, "moved": True})
    sending.work(0)
    hear(sending)
    assert sending.has_moved
