"""Pushed to a machine that systemd has booted: what is to be confirmed is undone whatever ends, the session, the
service or the machine; and services are restarted as a person would have it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agents import until
from tests.oracle import compare, save_twin
from tests.push.booted import Booted, why_not
from tests.push.fleet import deploy
from tests.push.machine import Network, network

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian"),
]
OLD, NEW = "old\n", "new\n"
MARGIN = 5.0
# sshd as a process for each connection, in a group that goes with it, and not in a session of its own.
BY_SOCKET = "systemctl disable --now ssh.service && systemctl enable --now ssh.socket"


@dataclass
class Scene:
    """A machine, and what is pushed to it."""

    place: Path
    net: Network
    web1: Booted

    @property
    def motd(self) -> Path:
        return self.web1.root / "etc/motd"

    def deploy(self, files: dict[str, str]) -> Path:
        """A new state of the one deployment that there is."""
        number = len(list(self.place.glob("d*")))
        return deploy(self.place / f"d{number}" / "site", files)

    def sh(self, script: str) -> str:
        """Run as from its console; what it says."""
        done = self.web1.run("sh", "-c", script)
        assert done.returncode == 0, done
        return done.stdout

    def shows(self, unit: str, name: str) -> str:
        return self.sh(f"systemctl show --value -p {name} {unit}").strip()

    def waits(self) -> list[str]:
        """The ids of what waits to be confirmed."""
        path = self.web1.root / "var/lib/pacha/journal"
        return [entry.name for entry in path.iterdir()] if path.exists() else []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with network(tmp_path) as net:
        web1 = net.add("web1", Booted)
        first = deploy(tmp_path / "d" / "site", {"files/etc/motd": OLD})
        assert net.push(first, "web1", "--bootstrap").code == 0
        yield Scene(tmp_path, net, web1)


# -- the timer ---------------------------------------------------------------------------------------------------


def begin(scene: Scene, seconds: float) -> None:
    """Push what is live by now, and leave before it is confirmed."""
    slow = {"files/etc/motd": NEW, "hooks/post-push/1": "#!/bin/sh\nsleep 1\n"}
    process = scene.net.begin_push(scene.deploy(slow), "web1", "--confirm", f"{seconds:g}s")
    until(lambda: scene.motd.read_text() == NEW)
    process.kill()
    process.wait()


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
    """Each connection's group of processes is killed at its end, or all of sshd's."""
    scene.sh("printf 'UsePAM no\\n' > /etc/ssh/sshd_config.d/a.conf")
    kill = "mkdir -p /etc/systemd/system/ssh.service.d && printf '[Service]\\nKillMode=control-group\\n' "
    kill += "> /etc/systemd/system/ssh.service.d/a.conf && systemctl daemon-reload && systemctl restart ssh"
    scene.sh(BY_SOCKET if by_socket else kill)
    began = time.monotonic()
    begin(scene, 4)
    if not by_socket:
        scene.sh("systemctl stop ssh")
    until(lambda: scene.motd.read_text() == OLD, 20)
    assert time.monotonic() - began < 4 + 1 + MARGIN
    until(lambda: not scene.waits() or "undone" in scene.sh("cat /var/lib/pacha/journal/*/state"), MARGIN)


def test_a_timer_that_is_killed_is_started_again(scene: Scene) -> None:
    began = time.monotonic()
    begin(scene, 5)
    scene.sh("systemctl kill --signal=KILL 'pacha-confirm-*.service'")
    until(lambda: scene.motd.read_text() == OLD, 20)
    assert time.monotonic() - began < 5 + 1 + MARGIN


# -- a restart of the machine ------------------------------------------------------------------------------------

SSHD = {"files/etc/ssh/sshd_config.d/port.conf": "Port 2222\n", "pacha.toml": 'restart = ["ssh"]\n'}


def cut(scene: Scene, files: dict[str, str], live: str, seconds: float, pause: float) -> float:
    """Push it, cut the power, switch it on again after a pause; after how long the machine was as before."""
    save_twin(scene.web1.root / "etc", scene.place / "twin")
    process = scene.net.begin_push(scene.deploy(files), "web1", "--confirm", f"{seconds:g}s")
    until((scene.web1.root / live).exists)
    scene.web1.stop()
    began = time.monotonic()
    time.sleep(pause)
    scene.web1.start()
    until(lambda: not (scene.web1.root / live).exists(), seconds + pause + 20)
    took = time.monotonic() - began
    assert not [
        line for line in compare(scene.place / "twin", scene.web1.root / "etc") if "machine-id" not in line
    ]
    process.kill()
    process.wait()
    scene.net.wire(scene.web1)
    return took


def test_a_restart_before_anybody_confirmed(scene: Scene) -> None:
    """Nothing of Pacha is run by anybody, and no agent."""
    live = "etc/ssh/sshd_config.d/port.conf"
    assert cut(scene, SSHD, live, 5, 0) < 5 + MARGIN
    until(lambda: "Port 2222" not in scene.sh("sshd -T; ss -ltn") and ":22 " in scene.sh("ss -ltn"), MARGIN)
    good = scene.deploy({"files/etc/motd": NEW})
    done = scene.net.push(good, "web1", "--confirm", "20s")
    assert done.code == 0, done


def test_a_restart_after_its_time(scene: Scene) -> None:
    """Put back before anything else starts: sshd has never seen the other port."""
    live = "etc/ssh/sshd_config.d/port.conf"
    assert cut(scene, SSHD, live, 3, 4) < 4 + MARGIN
    until(lambda: ":22 " in scene.sh("ss -ltn"), MARGIN)
    assert "2222" not in scene.sh("journalctl -b -u ssh")
    assert scene.sh("systemctl is-system-running --wait").strip() == "running"


def test_a_restart_amidst_a_push(scene: Scene) -> None:
    """It had not come to an end, and so is undone, with or without --confirm."""
    slow = {"files/etc/cut": NEW, "hooks/post-push/1": "#!/bin/sh\nsleep 30\n"}
    process = scene.net.begin_push(scene.deploy(slow), "web1")
    until((scene.web1.root / "etc/cut").exists)
    scene.web1.stop()
    scene.web1.start()
    until(lambda: not (scene.web1.root / "etc/cut").exists(), MARGIN)
    process.kill()
    process.wait()


def test_a_clock_that_has_stopped_makes_it_no_longer(scene: Scene) -> None:
    begin(scene, 4)
    time.sleep(1.5)
    scene.web1.stop()
    # The clock of these machines is everybody's: what is set back instead is the date that was written down.
    state = next((scene.web1.root / "var/lib/pacha/journal").iterdir()) / "state"
    said = json.loads(state.read_text())
    said["deadline_ns"] += 3600 * 10**9
    state.write_text(json.dumps(said))
    scene.web1.start()
    until(lambda: scene.motd.read_text() == OLD, 4 + MARGIN)


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
    until(lambda: scene.motd.read_text() == NEW, MARGIN)
    until(lambda: not scene.waits(), 20)
    messages = [each["message"] for each in json.loads(scene.sh("pacha log -n 2 --json"))["revisions"]]
    assert messages[0].startswith("undone: rollback"), messages
    assert messages[1].startswith("rollback to"), messages


def test_where_nothing_waits_nothing_is_started(scene: Scene) -> None:
    scene.sh("pacha watch /etc/motd")  # what was pushed is in the history now
    until(lambda: not scene.waits())
    scene.web1.stop()
    scene.web1.start()
    until(lambda: scene.web1.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running")
    assert scene.shows("pacha-confirm", "ConditionResult") == "no"
    assert scene.shows("pacha-confirm", "ExecMainPID") == "0"
