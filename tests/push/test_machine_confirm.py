"""Pushes that take away the way back to the machine: each undoes itself, and the pusher tells."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agents import until
from tests.command import Result
from tests.oracle import compare, save_twin
from tests.push.fleet import deploy
from tests.push.machine import Machine, Network, network
from tests.rebuild import debian

pytestmark = [
    pytest.mark.skipif(bool(debian.why_not()), reason=debian.why_not()),
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("debian"),
]
RUNS = 25
MARGIN = 5.0  # seconds that it may take to be back, after its time
SERVICE = """\
#!/bin/sh
case "$1 $(cat /etc/net.conf)" in
    stop*) ;;
    *down) ip link set eth0 down ;;
    *) ip link set eth0 up ;;
esac
"""
SSHD = {"files/etc/ssh/sshd_config.d/port.conf": "Port 2222\n", "pacha.toml": 'restart = ["ssh"]\n'}
NET = {"files/etc/net.conf": "down\n", "pacha.toml": 'restart = ["net"]\n'}
WRONG = {
    "sshd": SSHD,
    "network": NET,
    "both": {**SSHD, **NET, "pacha.toml": 'restart = ["ssh", "net"]\n'},
    "receiver": {**NET, "hooks/post-push/1": "#!/bin/sh\nkill -9 $PPID\n"},
    "reboot": NET,
}


@dataclass
class Scene:
    """A machine that is pushed to, and what it is as it should be."""

    place: Path
    net: Network
    web1: Machine

    def push(self, version: int) -> Result:
        """One that does no harm."""
        good = deploy(self.place / "good", {"files/etc/motd": f"{version}\n"})
        done = self.net.push(good, "web1", "--confirm", "30s")
        shutil.rmtree(self.place / "twin", ignore_errors=True)
        save_twin(self.web1.root / "etc", self.place / "twin")
        return done

    def is_as_it_was(self) -> bool:
        return compare(self.place / "twin", self.web1.root / "etc") == []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with network(tmp_path) as net:
        web1 = net.machine("web1")
        (web1.root / "etc/net.conf").write_text("up\n")
        (web1.root / "etc/init.d/net").write_text(SERVICE)
        (web1.root / "etc/init.d/net").chmod(0o755)
        good = deploy(tmp_path / "good", {"files/etc/motd": "good\n"})
        assert net.push(good, "web1", "--bootstrap").code == 0
        assert web1.run("pacha", "watch", "/etc").returncode == 0
        yield Scene(tmp_path, net, web1)


def go_wrong(scene: Scene, kind: str, seconds: float) -> float:
    """Push what takes away the way to the machine; after how long it was as before."""
    wrong = deploy(scene.place / kind, WRONG[kind])
    live = scene.web1.root / next(name for name in WRONG[kind] if name.startswith("files/"))[6:]
    was = live.read_bytes() if live.exists() else b""
    process = scene.net.begin_push(wrong, "web1", "--confirm", f"{seconds:g}s")
    until(lambda: (live.exists() and live.read_bytes() != was) or process.poll() is not None)
    assert process.poll() is None, scene.net.pusher.finish(process)
    began = time.monotonic()
    if kind == "reboot":
        time.sleep(1)
        scene.net.reboot(scene.web1)
    until(lambda: (live.read_bytes() if live.exists() else b"") == was, seconds + 30)
    until(scene.is_as_it_was, MARGIN)
    took = time.monotonic() - began
    told = scene.net.pusher.finish(process)
    assert told.code == 1, told
    assert "FAILED and was undone" in told.out
    return took


def runs(scene: Scene, kind: str, count: int, seconds: float) -> list[float]:
    """How long each took; after each the machine can be pushed to."""
    took = []
    for number in range(count):
        assert scene.push(number).code == 0
        took.append(go_wrong(scene, kind, seconds))
        assert took[-1] < seconds + MARGIN, took
        again = scene.push(1000 + number)
        assert again.code == 0, again
    return took


def test_each_once(scene: Scene) -> None:
    for kind in WRONG:
        runs(scene, kind, 1, 4)


@pytest.mark.soak
@pytest.mark.parametrize("kind", WRONG)
def test_many_times(scene: Scene, kind: str) -> None:
    took = runs(scene, kind, RUNS, 20)
    print(f"{kind}: {min(took):.1f} to {max(took):.1f} s")
