"""Pulling where the host asks for signatures: the server of it may be anybody's."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.command import Pacha
from tests.pull.places import Puller, offer, script
from tests.push.test_attacks import ATTACKS, Attack, Scene, scene, withstands
from tests.server.hub import Hub
from tests.signatures import allowed, ask_for_signatures, key
from tests.steps import revisions

__all__ = ["scene"]

pytestmark = pytest.mark.xdist_group("pull-signed")


class Signer:
    """Anna, who signs what lies on the server, on a machine of her own, and a host that asks for it."""

    def __init__(self, hub: Hub, place: Path) -> None:
        self.private = key(place / "keys", "anna")
        self.pacha = Pacha.at(place / "anna")
        self.host = Puller(hub)
        ask_for_signatures(self.host.pacha.config, self.host.root, allowed(("anna", self.private)))

    def sign(self, folder: Path, *hosts: str) -> None:
        """As she would."""
        self.pacha.ok("sign", folder, "--for", *(hosts or ("web1",)), "--key", self.private)


@pytest.fixture
def anna(own: Hub, tmp_path: Path) -> Signer:
    return Signer(own, tmp_path)


def test_what_was_signed_is_taken_and_the_history_says_by_whom(anna: Signer) -> None:
    anna.sign(offer(anna.host.hub))
    looked = anna.host.pacha.ok("pull", "base", "-n")
    assert (looked["signed_by"], anna.host.has("/etc/motd")) == ("anna", False)
    done = anna.host.pull()
    assert done["signed_by"] == "anna"
    assert anna.host.read("/etc/motd") == "welcome\n"
    (newest, *_) = revisions(anna.host.pacha, "/etc/motd")
    assert newest["author"].endswith("pulled from hub, signed by anna")
    assert anna.host.pull()["steps"] == []


def test_the_agent_takes_it_and_nothing_else(anna: Signer) -> None:
    folder = offer(anna.host.hub)
    config = anna.host.pacha.config
    config.write_text(config.read_text().replace("[push]\n", '[push]\npull = ["base"]\n'))
    anna.host.pacha.run("agent", "--once")
    assert not anna.host.has("/etc/motd")
    anna.sign(folder)
    anna.host.pull()
    assert anna.host.read("/etc/motd") == "welcome\n"


def bare(anna: Signer, folder: Path) -> None:
    """Nobody signed it."""


def changed(anna: Signer, folder: Path) -> None:
    """Somebody did something to it since."""
    anna.sign(folder)
    (folder / "files/etc/motd").write_text("evil\n")


def hooked(anna: Signer, folder: Path) -> None:
    """A hook came to it since."""
    anna.sign(folder)
    hook = folder / "hooks/pre-push/10-evil"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {anna.host.place}/ran\n")
    hook.chmod(0o755)


def of_another(anna: Signer, folder: Path) -> None:
    """It was signed for another host."""
    anna.sign(folder, "web2")


def broken(anna: Signer, folder: Path) -> None:
    """Half of it is gone."""
    anna.sign(folder)
    (folder / "signed.json.sig").unlink()


def renamed(anna: Signer, folder: Path) -> None:
    """What was signed as another deployment lies in its place."""
    other = offer(anna.host.hub, {"files/etc/motd": "other\n"}, "other")
    anna.sign(other)
    shutil.rmtree(folder)
    other.rename(folder)


def older(anna: Signer, folder: Path) -> None:
    """It is in force still, and the host has had a newer one."""
    anna.sign(folder)
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    newer = offer(anna.host.hub, {"files/etc/motd": "newer\n"})
    shutil.copy(aside / "signed.json", newer)
    anna.sign(newer)
    anna.host.pull()
    shutil.rmtree(folder)
    aside.rename(folder)


@pytest.mark.parametrize(
    "spoil", [bare, changed, hooked, of_another, broken, renamed, older], ids=lambda f: f.__name__
)
def test_what_does_not_hold_is_refused_also_for_a_look(
    anna: Signer, spoil: Callable[[Signer, Path], None]
) -> None:
    spoil(anna, offer(anna.host.hub))
    before = anna.host.tree()
    for more in ((), ("--force",), ("-n",)):
        result = anna.host.refused("base", *more)
        assert (result.code, result.json["error"]["kind"]) == (1, "refused"), result
        assert not result.json.get("diffs")
    assert anna.host.tree() == before
    assert not (anna.host.place / "ran").exists()


def test_who_does_not_ask_takes_it_whatever_was_signed(own: Hub, anna: Signer) -> None:
    broken(anna, offer(own))
    careless = Puller(own, "web3")
    careless.pull()
    assert careless.read("/etc/motd") == "welcome\n"


# It takes no revisions: only what is asked for a deployment is answered.
WORDS = '#!/bin/sh\ncase "$*" in *--deployment*) exec cat {pipe} ;; *) exit 1 ;; esac\n'


class Conquered(Scene):
    """The same host as of a push; what it pulls is what its server says."""

    def send(self, parcel: bytes | Callable[[Any], None]) -> dict[str, Any]:
        """Have the host pull, whatever comes; its last word."""
        pipe = self.them.place / "pipe"
        with suppress(FileNotFoundError):
            pipe.unlink()
        os.mkfifo(pipe)
        ssh = script(self.them.place / "ssh.sh", WORDS.format(pipe=pipe))

        def feed() -> None:
            with suppress(BrokenPipeError), open(pipe, "wb") as to:
                if callable(parcel):
                    parcel(to)
                else:
                    to.write(parcel)

        feeder = threading.Thread(target=feed)
        feeder.start()
        config = self.host.pacha.config
        before = config.read_text()
        config.write_text(f'server = "hub"\nssh = "{ssh}"\n{before}')
        try:
            done = self.host.pacha.run("pull", "web", "-y", "--json")
        finally:
            config.write_text(before)
        with suppress(OSError):  # it may never have been opened
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        feeder.join()
        found = json.loads(done.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def conquered(scene: Scene) -> Iterator[Conquered]:
    yield Conquered(**vars(scene))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_conquered_server_conquers_no_host(conquered: Conquered, attack: Attack) -> None:
    assert withstands(conquered, attack)["signed_by"] == "anna"
