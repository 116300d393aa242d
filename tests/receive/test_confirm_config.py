"""A push that is to be undone, and has changed the configuration by which Pacha works there: it may be wrong now, or
speak of another place.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pacha.core.parcel import Wishes
from tests import ready
from tests.agents import until
from tests.faults.kill import strike
from tests.receive.parcels import Answer, Target, file, stream

SECOND = 10**9
CONFIG = "/etc/pacha/pacha.toml"
WRONG = b"watch = [\n"


@pytest.fixture
def host(tmp_path: Path) -> Target:
    """A host whose configuration lies where pushes reach it."""
    made = Target(tmp_path)
    made.put(CONFIG, made.pacha.config.read_bytes() + b'watch = ["/etc/a"]\n[push]\nready = "0s"\n')
    made.pacha.config.unlink()
    made.pacha.config.symlink_to(made.root / CONFIG.lstrip("/"))
    made.put("/etc/a", b"old\n")
    made.pacha.ok("capture")
    return made


def elsewhere(host: Target) -> bytes:
    """The configuration of another root, which has such files too."""
    other = host.place / "other"
    (other / "etc").mkdir(parents=True)
    (other / "etc/a").write_bytes(b"another\n")
    return host.read(CONFIG).replace(bytes(host.root), bytes(other))


def pushed(host: Target, config: bytes, seconds: float) -> Answer:
    wishes = Wishes("anna@hub", confirm_ns=int(seconds * SECOND), ticket="0123456789abcdef")
    return host.receive(stream([file("/etc/a", b"new\n"), file(CONFIG, config)], wishes=wishes))


def end_all(host: Target) -> None:
    """As if the machine were restarted."""
    until(lambda: bool([*ready.running(host.place, b"--expire")]))
    for pid in [*ready.running(host.place, b"--expire"), *ready.receivers(host.place)]:
        strike(pid)
    until(lambda: not [*ready.running(host.place, b"--expire")])


def await_old(host: Target, was: bytes) -> None:
    until(lambda: host.read("/etc/a") == b"old\n" and host.read(CONFIG) == was, 8)
    until(lambda: not [*ready.running(host.place, b"--expire")])
    messages = [one["message"] for one in host.pacha.ok("log")["revisions"]]
    assert messages[0].startswith("undone: push of web: nobody confirmed it in time"), messages
    assert {one["host"] for one in host.pacha.ok("log")["revisions"]} == {"web1"}


def test_its_timer_undoes_what_nothing_can_read(host: Target) -> None:
    was = host.read(CONFIG)
    assert pushed(host, WRONG, 1).code == 0
    await_old(host, was)


@pytest.mark.parametrize("words", ["confirm --expire all", "status"], ids=["unit", "command"])
@pytest.mark.parametrize("config", ["wrong", "another root", "another host"])
def test_after_a_restart(host: Target, config: str, words: str) -> None:
    """By what runs then, and without systemd by the next command, which may fail for its part."""
    was = host.read(CONFIG)
    made = {
        "wrong": lambda: WRONG,
        "another root": lambda: elsewhere(host),
        "another host": lambda: was.replace(b'"web1"', b'"web9"'),
    }
    assert pushed(host, made[config](), 2).code == 0
    end_all(host)
    time.sleep(2.2)
    assert host.read("/etc/a") == b"new\n"
    host.pacha.run(*words.split())
    await_old(host, was)
    if config == "another root":
        assert os.listdir(host.place / "other/etc") == ["a"]
        assert (host.place / "other/etc/a").read_bytes() == b"another\n"


def test_a_push_that_was_killed_needs_no_configuration_either(host: Target) -> None:
    was = host.read(CONFIG)
    parcel = stream([file("/etc/a", b"new\n"), file(CONFIG, WRONG)], hooks={"post-push/1": b"sleep 60\n"})
    process = host.begin(parcel)
    until(lambda: host.read("/etc/a") == b"new\n" and host.read(CONFIG) == WRONG)
    process.kill()
    process.wait()
    assert host.pacha.run("status").code == 2
    until(lambda: host.read("/etc/a") == b"old\n" and host.read(CONFIG) == was, 8)


def test_past_its_time_nobody_keeps_it(host: Target) -> None:
    was = host.read(CONFIG)
    identity = pushed(host, elsewhere(host), 1).done["confirm"]
    end_all(host)
    time.sleep(1.2)
    assert host.pacha.run("confirm", identity).code == 2
    await_old(host, was)
