"""Pushed to a machine that systemd has booted: what is to be confirmed is undone whatever ends, the session, the
service or the machine; and services are restarted as a person would have it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.agents import until
from tests.oracle import compare, save_twin
from tests.push.booted import OLD, Scene, why_not
from tests.push.machine import network

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian"),
]
NEW = "new\n"
MARGIN = 5.0
# sshd as a process for each connection, in a group that goes with it, and not in a session of its own.
BY_SOCKET = """\
printf '[Socket]\\nListenStream=22\\nAccept=yes\\n' > /run/systemd/system/each.socket
printf '[Service]\\nExecStart=-/usr/sbin/sshd -i\\nStandardInput=socket\\nTimeoutStopSec=1\\n' > /run/systemd/system/each@.service
systemctl stop ssh.service
systemctl start each.socket
mkdir -p /run/sshd
"""
ALL_KILLED = """\
mkdir -p /run/systemd/system/ssh.service.d
printf '[Service]\\nKillMode=control-group\\nTimeoutStopSec=1\\n' > /run/systemd/system/ssh.service.d/a.conf
systemctl daemon-reload
systemctl restart ssh
"""
AS_IT_WAS = """\
rm -rf /run/systemd/system/ssh.service.d
systemctl daemon-reload
systemctl stop each.socket
systemctl start ssh.service
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("booted")
    with network(place) as net:
        yield Scene.on(net, place)


@pytest.fixture
def scene(machine: Scene) -> Scene:
    machine.clear()
    return machine


# -- the timer ---------------------------------------------------------------------------------------------------


def begin(scene: Scene, files: dict[str, str], seconds: float) -> float:
    """Push what is live then, and has come to an end, and leave before it is confirmed; when that was."""
    slow = {"hooks/post-push/1": "#!/bin/sh\nsleep 1\n", **files}
    process = scene.net.begin_push(scene.deploy(slow), "web1", "--confirm", f"{seconds:g}s")
    live = scene.web1.root / next(name for name in files if name.startswith("files/"))[6:]
    until(lambda: live.exists() and live.read_text() != OLD)
    process.kill()
    process.wait()
    until(scene.waits)
    return time.monotonic()


def await_old(scene: Scene, seconds: float, since: float) -> None:
    """It is as it was, not before these seconds and not much later."""
    until(lambda: scene.motd.read_text() == OLD, seconds + 20)
    took = time.monotonic() - since
    assert seconds - 1 < took < seconds + MARGIN
    until(lambda: not scene.waits(), MARGIN)


def test_the_timer_is_a_unit_of_its_own_and_goes_when_it_is_confirmed(scene: Scene) -> None:
    pushed = scene.deploy(
        {"files/etc/motd": NEW, "hooks/post-push/1": "#!/bin/sh\nsystemctl list-units 'pacha-*'\n"}
    )
    done = scene.net.push(pushed, "web1", "--confirm", "30s", "--json")
    assert done.code == 0, done
    assert "pacha-confirm-" in done.out
    until(lambda: "pacha-confirm-" not in scene.sh("systemctl list-units --all 'pacha-*'"), 10)
    assert scene.motd.read_text() == NEW


@pytest.mark.parametrize("by_socket", [True, False], ids=["socket", "service"])
def test_it_outlives_whatever_it_was_pushed_by(scene: Scene, by_socket: bool) -> None:
    """The processes of a connection are killed at its end, or all of sshd's."""
    scene.sh(f"echo UsePAM no > /etc/ssh/sshd_config.d/a.conf; {BY_SOCKET if by_socket else ALL_KILLED}")
    scene.sh(
        "loginctl terminate-user root"
    )  # with the connection that is kept, and the receiver that is ready
    since = begin(scene, {"files/etc/motd": NEW}, 4)
    scene.sh("systemctl stop 'each@*.service'" if by_socket else "systemctl stop ssh.service")
    await_old(scene, 4, since)
    scene.sh(f"rm /etc/ssh/sshd_config.d/a.conf; {AS_IT_WAS}")


def test_a_timer_that_is_killed_is_started_again(scene: Scene) -> None:
    since = begin(scene, {"files/etc/motd": NEW}, 4)
    scene.sh("systemctl kill --signal=KILL 'pacha-confirm-*.service'")
    await_old(scene, 4, since)


# -- a restart of the machine ------------------------------------------------------------------------------------

PORT = "etc/ssh/sshd_config.d/port.conf"
SSHD = {f"files/{PORT}": "Port 2222\n"}


def cut(scene: Scene, files: dict[str, str], seconds: float, pause: float) -> float:
    """Push it, cut the power, switch it on again after a pause; after how long the machine was as before."""
    save_twin(scene.web1.root / "etc", scene.place / "twin")
    live = scene.web1.root / next(name for name in files if name.startswith("files/"))[6:]
    begin(scene, files, seconds)
    scene.web1.stop()
    began = time.monotonic()
    time.sleep(pause)
    assert live.exists()
    scene.web1.start()
    scene.net.wire(scene.web1)
    until(lambda: not live.exists(), seconds + pause + 20)
    took = time.monotonic() - began
    assert compare(scene.place / "twin", scene.web1.root / "etc") == []
    shutil.rmtree(scene.place / "twin")
    return took


def test_a_restart_before_anybody_confirmed(scene: Scene) -> None:
    """Nothing of Pacha is run by anybody, and no agent."""
    took = cut(scene, {**SSHD, "pacha.toml": 'restart = ["ssh"]\n'}, 5, 0)
    assert 4 < took < 5 + MARGIN
    until(lambda: ":22 " in scene.sh("ss -ltn"), MARGIN)
    good = scene.deploy({"files/etc/motd": NEW})
    done = scene.net.push(good, "web1", "--confirm", "20s")
    assert done.code == 0, done


def test_a_restart_after_its_time(scene: Scene) -> None:
    """Put back before anything else starts: sshd never sees the other port."""
    scene.sh("sed -i '/^ExecStartPre/a ExecStartPre=/bin/sh -c \"sshd -T | grep ^port >> /root/ports\"' "
             "/lib/systemd/system/ssh.service")  # fmt: skip
    assert cut(scene, {**SSHD, "files/etc/motd": OLD}, 3, 4) < 4 + MARGIN
    until(lambda: ":22 " in scene.sh("ss -ltn"), MARGIN)
    assert set((scene.web1.root / "root/ports").read_text().split("\n")) == {"port 22", ""}
    assert scene.sh("systemctl is-system-running --wait").strip() == "running"


def test_a_restart_that_is_asked_for_does_not_wait(scene: Scene) -> None:
    """The wait goes on afterwards, and not for longer."""
    begin(scene, {"files/etc/motd": NEW}, 6)
    began = time.monotonic()
    scene.sh("systemctl poweroff --no-wall")
    until(lambda: scene.web1.process.poll() is not None, 20)
    assert time.monotonic() - began < MARGIN
    assert scene.motd.read_text() == NEW
    scene.net.reboot(scene.web1)
    until(lambda: scene.motd.read_text() == OLD, 6 + MARGIN)
    assert time.monotonic() - began < 6 + MARGIN


def test_a_restart_amidst_a_push(scene: Scene) -> None:
    """It had not come to an end, and so is undone, with or without --confirm."""
    slow = {"files/etc/motd": NEW, "hooks/post-push/1": "#!/bin/sh\nsleep 30\n"}
    process = scene.net.begin_push(scene.deploy(slow), "web1")
    until(lambda: scene.motd.read_text() == NEW)
    scene.net.reboot(scene.web1)
    until(lambda: scene.motd.read_text() == OLD, MARGIN)
    process.kill()
    process.wait()


def test_a_clock_that_was_set_back_makes_it_no_longer(scene: Scene) -> None:
    begin(scene, {"files/etc/motd": NEW}, 4)
    scene.web1.stop()
    # The clock of these machines is everybody's: the date that was written down is set forward instead.
    state = scene.waits()[0] / "state"
    said = json.loads(state.read_text())
    state.write_text(json.dumps({**said, "deadline_ns": said["deadline_ns"] + 3600 * 10**9}))
    since = time.monotonic()
    scene.web1.start()
    scene.net.wire(scene.web1)
    await_old(scene, 4, since)


def test_a_rollback_that_nobody_confirmed_before_a_restart(scene: Scene) -> None:
    scene.sh("pacha watch /etc/motd")
    scene.motd.write_text(NEW)
    scene.sh("pacha capture")
    before = scene.sh("pacha log -n 2 --json")
    target = json.loads(before)["revisions"][-1]["id"]
    scene.sh(f"pacha rollback /etc/motd --to {target} -y --confirm 3s")
    assert scene.motd.read_text() == OLD
    scene.web1.stop()
    time.sleep(3.5)
    scene.web1.start()
    scene.net.wire(scene.web1)
    until(lambda: scene.motd.read_text() == NEW, MARGIN)
    until(lambda: not scene.journals(), 20)
    messages = [each["message"] for each in json.loads(scene.sh("pacha log -n 2 --json"))["revisions"]]
    assert messages[0].startswith("undone: rollback"), messages
    assert messages[1].startswith("rollback to"), messages


def test_doctor_tells_whether_a_restart_is_seen_to(scene: Scene) -> None:
    def told() -> tuple[str, str]:
        checks = json.loads(scene.web1.run("pacha", "doctor", "--json").stdout)["checks"]
        return next((check["state"], check["words"]) for check in checks if check["name"] == "restart")

    assert told()[0] == "ok"
    scene.sh("systemctl mask pacha-confirm")
    assert "masked" in told()[1]
    link = "/usr/local/lib/systemd/system/sysinit.target.wants/pacha-confirm.service"
    scene.sh(f"systemctl unmask pacha-confirm; mv {link} /root")
    assert "there is no" in told()[1]
    scene.sh(f"mv /root/pacha-confirm.service {link}")


def test_where_nothing_waits_nothing_is_started(scene: Scene) -> None:
    scene.sh("pacha watch /etc/motd")  # what was pushed is in the history now
    assert not scene.journals()
    scene.net.reboot(scene.web1)
    until(lambda: scene.web1.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running")
    assert scene.shows("pacha-confirm", "ConditionResult") == "no"
    assert scene.shows("pacha-confirm", "ExecMainPID") == "0"
