"""Services of a machine that systemd has booted: restarted and reloaded by a push, and as before where it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.agents import until
from tests.command import Result
from tests.push.booted import Scene, why_not
from tests.push.machine import network

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian"),
]
# Says what it has read, and refuses some of it.
UNIT = """\
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'read word < /etc/web.conf; echo $$word >> /run/web.log; \
    [ $$word != bad ] || exit 1; [ $$word != hang ] || sleep infinity; \
    systemd-notify --ready; exec sleep infinity'
TimeoutStartSec=infinity
TimeoutStopSec=2
"""
RELOAD = "ExecReload=/bin/sh -c 'echo reload >> /run/web.log'\n"
RESTARTED, RELOADED = 'restart = {web = ["/etc/web.conf"]}\n', 'reload = {web = ["/etc/web.conf"]}\n'


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("services")
    with network(place) as net:
        yield Scene.on(net, place)


@pytest.fixture
def scene(machine: Scene) -> Iterator[Scene]:
    """With a service `web` that runs, and that a person has made."""
    machine.clear()
    place(machine, UNIT)
    machine.sh("echo one > /etc/web.conf; systemctl start web")
    yield machine
    machine.sh("systemctl stop web; rm -rf /etc/systemd/system/web.service* /etc/web.conf /run/web.log")
    machine.sh('systemctl daemon-reload; systemctl reset-failed; [ -z "$(systemctl --failed -q)" ]')


def place(scene: Scene, unit: str) -> None:
    (scene.web1.root / "etc/systemd/system/web.service").write_text(unit)
    scene.sh("systemctl daemon-reload")


def push(scene: Scene, word: str, described: str = RESTARTED, **more: str) -> Result:
    files = {"files/etc/web.conf": f"{word}\n", "pacha.toml": described, **more}
    return scene.net.push(scene.deploy(files), "web1", "--force")


def log(scene: Scene) -> list[str]:
    return scene.sh("cat /run/web.log").split()


def state(scene: Scene) -> str:
    return scene.shows("web", "ActiveState")


def test_it_is_restarted_when_its_files_changed_and_only_then(scene: Scene) -> None:
    done = push(scene, "two")
    assert done.code == 0, done
    assert "web restarted" in done.out
    assert push(scene, "two", RESTARTED, **{"files/etc/other": "x\n"}).code == 0
    assert log(scene) == ["one", "two"]


def test_one_that_does_not_run_is_started(scene: Scene) -> None:
    scene.sh("systemctl stop web")
    for word, described in (("two", RESTARTED), ("three", RELOADED)):
        assert push(scene, word, described).code == 0
        assert (log(scene)[-1], state(scene)) == (word, "active")
        scene.sh("systemctl stop web")


@pytest.mark.parametrize("was_running", [True, False])
def test_one_that_fails_is_as_before(scene: Scene, was_running: bool) -> None:
    """Also when that is soon after many starts, which systemd refuses for a while."""
    if not was_running:
        scene.sh("systemctl stop web")
    for _ in range(6):
        done = push(scene, "bad")
        assert done.code == 1, done
        assert "the service web could not be restarted" in done.out
        assert "ed again" not in done.out, "it could not be put right"
        assert (scene.web1.root / "etc/web.conf").read_text() == "one\n"
        assert state(scene) == ("active" if was_running else "inactive")
    assert log(scene) == ["one", *(["bad", "one"] if was_running else ["bad"]) * 6]


def test_one_that_hangs_is_given_up_and_is_as_before(scene: Scene) -> None:
    """The time is that of hooks."""
    config = scene.web1.root / "etc/pacha/pacha.toml"
    was = config.read_text()
    config.write_text(f'{was}[hooks]\ntimeout = "3s"\n')
    began = time.monotonic()
    done = push(scene, "hang")
    took = time.monotonic() - began
    config.write_text(was)
    assert done.code == 1, done
    assert "longer than 3 seconds" in done.out
    assert 3 < took < 3 + 2 + 10
    until(lambda: state(scene) == "active", 10)
    assert log(scene) == ["one", "hang", "one"]


def test_it_is_reloaded_or_restarted_where_it_cannot_be(scene: Scene) -> None:
    place(scene, UNIT + RELOAD)
    assert push(scene, "two", RELOADED).code == 0
    assert log(scene) == ["one", "reload"]
    place(scene, UNIT)
    done = push(scene, "three", RELOADED)
    assert done.code == 0, done
    assert log(scene) == ["one", "reload", "three"]


def test_what_systemd_reads_itself_counts_at_once(scene: Scene) -> None:
    """A drop-in of one that runs, and a unit that is new; a failure takes both back, and stops the new one."""
    drop_in = {
        "files/etc/systemd/system/web.service.d/a.conf": "[Service]\nEnvironment=A=1\n",
        "files/etc/systemd/system/new.service": UNIT.replace("web.log", "new.log"),
    }
    described = 'restart = ["web", "new"]\n'
    failing = {**drop_in, "hooks/post-push/1": "#!/bin/sh\nsystemctl is-active new && exit 1\n"}
    done = push(scene, "two", described, **failing)
    assert done.code == 1, done
    assert scene.shows("new", "ActiveState") == "inactive"
    assert scene.shows("new", "LoadState") == "not-found"
    assert scene.shows("web", "Environment") == ""
    assert log(scene) == ["one", "two", "one"]
    assert scene.web1.run("pgrep", "-f", "new.log").returncode == 1
    assert push(scene, "two", described, **drop_in).code == 0
    assert scene.shows("new", "ActiveState") == "active"
    assert scene.shows("web", "Environment") == "A=1"
    scene.sh("systemctl stop new; rm /etc/systemd/system/new.service")


def test_one_that_there_is_not(scene: Scene) -> None:
    done = push(scene, "two", 'restart = ["web", "nothing-of-that-name"]\n')
    assert done.code == 1, done
    assert "not found" in done.out
    assert log(scene) == ["one", "two", "one"]


def test_sshd_restarted_by_the_push_that_came_by_it(scene: Scene) -> None:
    """By one connection: what is kept goes on, a new one meets the new sshd."""
    pid = scene.shows("ssh", "MainPID")
    port = {"files/etc/ssh/sshd_config.d/a.conf": "X11Forwarding no\n"}
    for confirm in ((), ("--confirm", "20s")):
        deployed = scene.deploy({**port, "pacha.toml": 'restart = ["ssh"]\n'})
        done = scene.net.push(deployed, "web1", "--force", *confirm)
        assert done.code == 0, done
        assert "ssh restarted" in done.out
        assert scene.shows("ssh", "MainPID") != pid
        pid = scene.shows("ssh", "MainPID")
        port = {"files/etc/ssh/sshd_config.d/a.conf": "X11Forwarding yes\n"}
    wrong = scene.deploy(
        {"files/etc/ssh/sshd_config.d/a.conf": "Wrong\n", "pacha.toml": 'restart = ["ssh"]\n'}
    )
    done = scene.net.push(wrong, "web1")
    assert done.code == 1, done
    assert "FAILED and was undone" in done.out
    assert scene.shows("ssh", "ActiveState") == "active"
