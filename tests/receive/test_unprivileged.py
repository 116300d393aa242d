"""A push to an account without rights: what it may write is delivered, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs, ready
from tests.agents import until
from tests.receive.parcels import Target, file, stream
from tests.unprivileged import USER, interpreter

pytestmark = needs.root


@pytest.fixture
def host(open_arena: Path) -> Iterator[Target]:
    """A host whose Pacha another user runs, with a root that is that user's."""
    python = interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    made = Target(open_arena / "host", interpreter=python, user=USER)
    os.chown(made.pacha.config, USER, USER)
    yield made
    ready.end(open_arena)


def test_its_own_files_come_and_change(host: Target) -> None:
    owner = {"user": str(USER), "group": str(USER)}
    hooks = {"check/1": b"id -u\n", "post-push/1": b"id -u\n"}
    for content in (b"one\n", b"two\n"):
        answer = host.receive(stream([file("/app/conf", content, 0o640, **owner)], hooks=hooks))
        assert answer.code == 0, answer
        assert [hook["output"] for hook in answer.done["hooks"]] == [f"{USER}\n"] * 2
        assert host.read("/app/conf") == content
        assert (host.root / "app/conf").stat().st_uid == USER
        ready.first(host.place)
    until(lambda: not host.journals)
    revisions = host.pacha.ok("log")["revisions"]
    assert [revision["message"] for revision in revisions] == ["push of web"] * 2


def test_what_it_may_not_give_away_is_refused_whole(host: Target) -> None:
    theirs = file("/app/theirs", b"x\n", user="0", group="0")
    mine = file("/app/mine", b"x\n", user=str(USER), group=str(USER))
    answer = host.receive(stream([mine, theirs]))
    assert answer.code == 1, answer
    assert "/app/theirs" in answer.done["error"]["message"]
    assert not (host.root / "app").exists()


def test_a_configuration_that_it_may_not_write_stops_nothing(host: Target) -> None:
    os.chown(host.pacha.config, 0, 0)
    mine = file("/app/mine", b"x\n", user=str(USER), group=str(USER))
    assert host.receive(stream([mine])).code == 0
    log = host.pacha.run("log")
    assert log.code == 0, log
    assert host.journals == []
    assert host.read("/app/mine") == b"x\n"
