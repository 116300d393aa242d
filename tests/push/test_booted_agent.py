"""The units of packaging/systemd, run by a real systemd."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacha.adapters import arrival
from tests.agents import until
from tests.push.booted import Scene, why_not
from tests.push.machine import network

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian"),
]
PACKAGED = Path(__file__).resolve().parents[2] / "packaging/systemd"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("agent")
    with network(place) as net:
        scene = Scene.on(net, place)
        for unit in PACKAGED.iterdir():
            text = unit.read_text().replace("@BIN@", "/usr/local/bin")
            (scene.web1.root / "usr/local/lib/systemd/system" / unit.name).write_text(text)
        scene.sh("systemctl daemon-reload; pacha watch /etc")
        yield scene


@pytest.fixture
def scene(machine: Scene) -> Iterator[Scene]:
    """With the agent running."""
    machine.sh("systemctl enable --now pacha")
    yield machine
    machine.sh(
        "systemctl disable --now pacha; rm -rf /run/systemd/system/pacha.service.d; systemctl daemon-reload"
    )


def agent(scene: Scene) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(scene.sh("pacha status --json"))["agent"]
    return told


def revisions(scene: Scene, path: str) -> int:
    return len(json.loads(scene.web1.run("pacha", "log", path, "--json").stdout).get("revisions", ()))


def is_recorded(scene: Scene, name: str) -> bool:
    (scene.web1.root / "etc" / name).write_text("x\n")
    return bool(until(lambda: revisions(scene, f"/etc/{name}"), 10))


def test_it_starts_records_is_reloaded_and_stops(scene: Scene) -> None:
    until(lambda: agent(scene)["running"], 10)
    pid = scene.shows("pacha", "MainPID")
    assert str(agent(scene)["pid"]) == pid
    assert scene.shows("pacha", "StatusText")
    assert is_recorded(scene, "one")
    scene.sh("echo >> /etc/pacha/pacha.toml; systemctl reload pacha")
    assert scene.shows("pacha", "MainPID") == pid
    assert is_recorded(scene, "two")
    began = time.monotonic()
    scene.sh("systemctl stop pacha")
    assert time.monotonic() - began < 5
    assert scene.shows("pacha", "Result") == "success"
    assert scene.shows("pacha", "ActiveState") == "inactive"
    assert scene.sh("journalctl -u pacha -p warning -q") == ""


def test_it_is_enabled_for_the_next_start(scene: Scene) -> None:
    scene.net.reboot(scene.web1)
    until(lambda: scene.web1.run("systemctl", "is-active", "pacha").stdout == "active\n")
    assert is_recorded(scene, "three")
    assert scene.sh("systemctl is-system-running --wait") == "running\n"


def test_it_feeds_the_watchdog_and_is_started_again_by_it(scene: Scene) -> None:
    scene.sh("mkdir -p /run/systemd/system/pacha.service.d; printf '[Service]\\nWatchdogSec=2\\nRestartSec=1\\n' "
             "> /run/systemd/system/pacha.service.d/a.conf; systemctl daemon-reload; systemctl restart pacha")  # fmt: skip
    pid = scene.shows("pacha", "MainPID")
    time.sleep(5)
    assert scene.shows("pacha", "MainPID") == pid
    scene.sh(f"kill -STOP {pid}")
    until(lambda: scene.shows("pacha", "MainPID") not in (pid, "0"), 30)
    until(lambda: scene.shows("pacha", "ActiveState") == "active", 10)
    assert is_recorded(scene, "four")


def test_what_the_agent_starts_outlives_it(scene: Scene) -> None:
    """A deadline that it finds, whose timer was killed, is waited for outside of its unit."""
    target = json.loads(scene.sh("pacha log /etc/one -n 1 --json"))["revisions"][0]["id"]
    (scene.web1.root / "etc/one").write_text("y\n")
    until(lambda: revisions(scene, "/etc/one") > 1, 10)
    scene.sh(f"pacha rollback /etc/one --to {target} -y --confirm 8s")
    assert (scene.web1.root / "etc/one").read_text() == "x\n"
    scene.sh("systemctl stop 'pacha-confirm-*.service'; systemctl restart pacha; systemctl stop pacha")
    assert "pacha-confirm-" in scene.sh("systemctl list-units 'pacha-confirm-*'")
    until(lambda: (scene.web1.root / "etc/one").read_text() == "y\n", 20)


def test_without_it_the_timer_captures(scene: Scene) -> None:
    scene.sh("systemctl stop pacha")
    (scene.web1.root / "etc/five").write_text("x\n")
    scene.sh("systemctl start pacha-once.service")
    assert revisions(scene, "/etc/five") == 1


def test_bootstrap_brings_the_unit_that_is_installed(scene: Scene) -> None:
    packaged = (PACKAGED / "pacha-confirm.service").read_text()
    wanted = [line for line in packaged.splitlines() if not line.startswith(("#", "Documentation"))]
    assert arrival.UNIT.replace("{program}", "@BIN@/pacha").splitlines() == wanted
    verified = scene.sh(
        "systemd-analyze verify --man=no /usr/local/lib/systemd/system/pacha-confirm.service 2>&1"
    )
    assert "pacha" not in verified
