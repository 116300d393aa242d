"""A push that is to be confirmed: kept by who connects once more, else undone, whatever has become of us."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pacha.core.parcel import Confirmation, Wishes, render_confirmation
from tests import ready
from tests.agents import until
from tests.faults.kill import strike
from tests.receive.parcels import Answer, Target, file, stream

TICKET = "0123456789abcdef"
SECOND = 10**9


@pytest.fixture
def host(tmp_path: Path) -> Target:
    """A host with a watched file, which a push changes, beside one that it makes."""
    made = Target(tmp_path)
    made.put("/etc/a", b"old\n")
    made.pacha.ok("watch", "/etc/a")
    return made


def pushed(host: Target, seconds: float, **hooks: bytes) -> Answer:
    """Push two files that are to be confirmed within so many seconds."""
    wishes = Wishes("anna@hub", confirm_ns=int(seconds * SECOND), ticket=TICKET)
    files = [file("/etc/a", b"new\n"), file("/srv/b", b"made\n")]
    named = {name.replace("_", "-") + "/1": text for name, text in hooks.items()}
    return host.receive(stream(files, hooks=named, wishes=wishes))


def confirmed(host: Target) -> Answer:
    return host.receive(render_confirmation(Confirmation(TICKET)))


def is_old(host: Target) -> bool:
    return host.read("/etc/a") == b"old\n" and not (host.root / "srv").exists()


def timers(host: Target) -> list[int]:
    return [*ready.running(host.place, b"--expire")]


def messages(host: Target) -> list[str]:
    return [one["message"] for one in host.pacha.ok("log")["revisions"]]


def test_it_waits_and_is_kept(host: Target) -> None:
    answer = pushed(host, 60)
    assert answer.code == 0
    (waiting,) = host.pacha.ok("status")["unconfirmed"]
    assert waiting["id"] == answer.done["confirm"]
    assert (waiting["verb"], waiting["host"]) == ("push", "web1")
    assert set(waiting) == {"id", "verb", "host", "target", "deadline_ns"}
    assert f"pacha confirm {waiting['id']}" in host.pacha.run("status").out
    for _ in range(2):  # an answer may be lost: it is asked again
        answer = confirmed(host)
        assert (answer.code, answer.done["kept"].split()[0]) == (0, "web")
    until(lambda: not timers(host))
    assert host.pacha.ok("status")["unconfirmed"] == []
    assert host.read("/etc/a") == b"new\n"
    assert messages(host)[0].startswith("push of web")
    assert host.pacha.run("cat", "/srv/b").out == "made\n"
    assert not host.journals


def test_by_the_command_on_the_host(host: Target) -> None:
    identity = pushed(host, 60).done["confirm"]
    assert host.pacha.ok("confirm", identity)["verb"] == "push"
    assert host.read("/etc/a") == b"new\n"
    assert host.pacha.run("confirm", identity).code == 2
    assert not host.journals


def test_nobody_confirms_and_it_is_undone(host: Target) -> None:
    pushed(host, 1, on_failure=b'echo "$PACHA_EVENT" >> "$PACHA_ROOT/told"; cat >> "$PACHA_ROOT/told"\n')
    assert not is_old(host)
    until(lambda: is_old(host), 6)
    until(lambda: not timers(host))
    told = (host.root / "told").read_text()
    assert told.startswith("on-failure\n")
    assert "nobody confirmed it in time" in told
    answer = confirmed(host)
    assert (answer.code, answer.done["error"]["kind"]) == (1, "undone")
    assert is_old(host)
    assert messages(host)[0].startswith("undone: push of web: nobody confirmed it in time")
    assert not host.journals


@pytest.mark.parametrize("deadline", ["passed", "to come"])
def test_a_machine_that_was_restarted_meanwhile(host: Target, deadline: str) -> None:
    """All processes are gone at once; the next thing of Pacha sees to it."""
    pushed(host, 2 if deadline == "passed" else 5)
    until(lambda: bool(timers(host)))
    for pid in [*timers(host), *ready.receivers(host.place)]:
        strike(pid)
    until(lambda: not timers(host))
    if deadline == "passed":
        time.sleep(2.2)
        assert not is_old(host)
        host.pacha.run("status")
    else:
        host.pacha.run("status")
        assert not is_old(host)
    until(lambda: is_old(host), 8)
    assert messages(host)[0].startswith("undone: push of web: nobody confirmed it in time")


def test_the_receiver_is_killed_and_the_timer_undoes_at_once(host: Target) -> None:
    wishes = Wishes("anna@hub", confirm_ns=60 * SECOND, ticket=TICKET)
    parcel = stream([file("/etc/a", b"new\n")], hooks={"post-push/1": b"sleep 60\n"}, wishes=wishes)
    process = host.begin(parcel)
    until(lambda: host.read("/etc/a") == b"new\n")
    process.kill()
    process.wait()
    until(lambda: is_old(host), 8)
    assert confirmed(host).done["error"]["kind"] == "undone"
    until(lambda: not timers(host))


def test_a_failed_script_is_undone_without_waiting(host: Target) -> None:
    answer = pushed(host, 60, post_push=b"exit 3\n")
    assert (answer.code, answer.done["reverted"], answer.done["confirm"]) == (1, True, None)
    assert is_old(host)
    until(lambda: not timers(host))
    assert confirmed(host).done["error"]["kind"] == "undone"


def test_while_it_waits_no_other_is_taken(host: Target) -> None:
    identity = pushed(host, 60).done["confirm"]
    answer = host.receive(stream([file("/etc/a", b"another\n")]))
    assert (answer.code, answer.done["error"]["kind"]) == (1, "refused")
    assert identity in answer.done["error"]["hint"]
    assert host.read("/etc/a") == b"new\n"
    look = host.receive(stream([file("/etc/a", b"another\n")], wishes=Wishes("anna", dry_run=True)))
    assert look.code == 0
    confirmed(host)
    assert host.receive(stream([file("/etc/a", b"another\n")])).code == 0


def test_captures_meanwhile_do_not_take_it_for_theirs(host: Target) -> None:
    pushed(host, 60)
    host.put("/etc/a", b"by hand\n")
    assert host.pacha.ok("capture")["revision"]
    assert host.pacha.run("blame", "/etc/a").code == 0
    told = messages(host)
    assert any(one.startswith("push of web") for one in told[1:])
    confirmed(host)
    host.settle()
    contents = [host.pacha.run("cat", "/etc/a", "--at", one["id"]).out for one in revisions(host)]
    assert contents == ["by hand\n", "new\n", "old\n"]
    assert host.pacha.run("cat", "/srv/b").out == "made\n"


def revisions(host: Target) -> list[dict[str, str]]:
    return list(host.pacha.ok("log", "/etc/a")["revisions"])


def test_work_of_somebody_meanwhile_is_in_the_history(host: Target) -> None:
    pushed(host, 1)
    host.put("/etc/a", b"by hand\n")
    until(lambda: is_old(host), 6)
    until(lambda: not timers(host))
    contents = [host.pacha.run("cat", "/etc/a", "--at", one["id"]).out for one in revisions(host)]
    assert "by hand\n" in contents
    assert contents[0] == "old\n"


def test_where_nothing_changes_there_is_nothing_to_confirm(host: Target) -> None:
    pushed(host, 60)
    confirmed(host)
    until(lambda: not timers(host))
    answer = pushed(host, 1)
    assert (answer.code, answer.steps, answer.done["confirm"]) == (0, {}, None)
    assert timers(host) == []
