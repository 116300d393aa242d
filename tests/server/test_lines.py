"""A line never wedges: restored disks, clones, lost folders and servers from old backups, over a real sshd."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.agents import until
from tests.plainhg import StoreCopy
from tests.server.clients import Sending
from tests.server.hub import Hub, hub


def snapshot(host: Sending) -> Path:
    """The state folder as it is now, kept."""
    kept = host.place / "snapshot"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(host.pacha.state, kept, symlinks=True)
    return kept


def restore(host: Sending, kept: Path) -> None:
    """The state folder as it was, as after a disk was restored."""
    shutil.rmtree(host.pacha.state)
    shutil.copytree(kept, host.pacha.state, symlinks=True)


def archived(host: Sending) -> list[Path]:
    """The stores that were replaced."""
    return sorted((host.pacha.state / "archive").glob("*"))


def stamps(host: Sending) -> list[dict[str, Any]]:
    """What Pacha wrote into each revision, oldest first, by plain hg."""
    said = StoreCopy(host.pacha.store, host.place / "copy").hg(
        "log", "-r", "all()", "-T", "{get(extras, 'pacha')}\n"
    )
    return [json.loads(line) for line in said.splitlines()]


def is_sound(host: Sending) -> None:
    """Both sides have one and the same sound line, numbered from 1, whose last state is the live one."""
    assert host.here() == host.there()
    assert host.complaints() == []
    assert [stamp["seq"] for stamp in stamps(host)] == list(range(1, len(host.here()) + 1))
    assert host.pacha.ok("verify")["live"] == []
    assert host.pacha.ok("status")["pending"] == []


@pytest.mark.soak
def test_a_restored_disk_that_has_nothing_of_its_own(server: Hub) -> None:
    host = Sending(server, "behind")
    host.sent("one\n")
    kept = snapshot(host)
    host.sent("two\n")
    host.sent("three\n")
    there = host.there()
    restore(host, kept)
    # The file was restored with the disk, too.
    told = host.capture("two and a half\n")
    assert told.code == 0, told
    assert host.there()[:3] == there
    is_sound(host)
    assert host.pacha.run("cat", host.tree / "file").out == "two and a half\n"


def test_a_snapshot_with_revisions_of_its_own(own: Hub) -> None:
    host = Sending(own)
    host.sent("one\n")
    host.sent("one\n", "other")
    kept = snapshot(host)
    host.sent("lost here\n")
    host.sent("also lost here\n", "gone")
    there = host.there()
    restore(host, kept)
    (host.tree / "gone").unlink()
    own.sshd.stop()
    for number, name in enumerate(["file", "other", "file"]):
        host.unsent(f"mine {number}\n", name)
    mine = host.here()
    own.sshd.start()
    result = host.capture()
    assert result.code == 0, result
    assert "3 that only this host had came again on top" in result.err
    assert host.there()[: len(there)] == there
    is_sound(host)
    assert host.messages()[-3:] == ["mine 0", "mine 1", "mine 2"]
    assert [stamp.get("again") for stamp in stamps(host)[-3:]] == mine[-3:]
    (place,) = archived(host)
    assert StoreCopy(place, host.place / "copy").nodes() == mine

    def at(revision: str, name: str) -> str | None:
        result = host.pacha.run("cat", host.tree / name, "--at", revision)
        return result.out if result.code == 0 else None

    # An old id still finds what it means.
    assert host.pacha.ok("show", mine[-1][:12])["node"] == host.here()[-1]
    first, second, third = host.here()[-3:]
    assert [at(first, name) for name in ("file", "other", "gone")] == ["mine 0\n", "one\n", None]
    assert [at(second, name) for name in ("file", "other", "gone")] == ["mine 0\n", "mine 1\n", None]
    assert at(third, "file") == "mine 2\n"
    assert [at(there[-1], name) for name in ("file", "gone")] == ["lost here\n", "also lost here\n"]


@pytest.mark.soak
def test_a_lost_state_folder(server: Hub) -> None:
    host = Sending(server, "lost")
    host.sent("one\n")
    host.sent("two\n")
    there = host.there()
    shutil.rmtree(host.pacha.state)
    host.pacha.state.mkdir(0o700)
    assert host.capture("three\n").code == 0
    assert host.there()[:2] == there
    is_sound(host)


def test_a_server_from_an_old_backup(server: Hub) -> None:
    host = Sending(server, "backup")
    host.sent("one\n")
    kept = host.place / "server-backup"
    shutil.copytree(server.store("backup"), kept)
    host.sent("two\n")
    shutil.rmtree(server.store("backup"))
    shutil.copytree(kept, server.store("backup"))
    (told,) = host.pacha.run("verify", "--json").json["servers"]
    assert told["ok"] is False
    assert "lost 1 revision" in told["words"]
    result = host.capture("three\n")
    assert result.code == 0, result
    assert "lost 1 of its acknowledged revisions" in result.err
    is_sound(host)


@pytest.mark.soak
def test_a_reset_server_gets_everything_again_but_for_what_was_forgotten(server: Hub) -> None:
    host = Sending(server, "reset")
    host.sent("swordfish\n", "secret")
    host.sent("one\n")
    assert host.pacha.run("forget", host.tree / "secret", "-y").code in (0, 3)
    (host.tree / "secret").unlink()
    reset = server.pacha.run("host", "reset", "reset")
    assert reset.code == 0, reset
    result = host.capture("two\n")
    assert result.code == 0, result
    assert host.here() == host.there()
    assert host.pacha.ok("verify")["servers"][0]["ok"] is True
    assert not StoreCopy(server.store("reset"), host.place / "copy").holds(b"swordfish")


def test_two_servers_that_differ_are_told_apart_in_words(own: Hub, tmp_path: Path) -> None:
    """What one server has acknowledged is never made again for the sake of the other."""
    host = Sending(own)
    with hub(tmp_path / "other") as other:
        key = other.add("web1")
        host.configure('["hub", "mirror"]')
        mirror = other.sshd.client(key).read_text().replace("Host hub *.hub", "Host mirror")
        config = own.sshd.client(host.key)
        config.write_text(mirror + config.read_text())
        assert host.capture("one\n").code == 0
        twin = Sending(own, place=tmp_path / "twin")
        twin.sent("of the twin\n")
        config.write_text(mirror + config.read_text())
        own.sshd.stop()
        host.change("two\n")
        process = host.pacha.start("capture")
        until(lambda: [server["backlog"] for server in host.pacha.ok("status")["servers"]] == [1, 0])
        process.send_signal(signal.SIGINT)
        assert host.pacha.finish(process).code == 3
        own.sshd.start()
        before = host.here()
        result = host.capture()
        assert result.code == 3, result
        first, second = result.json["servers"]
        assert (first["backlog"], second["backlog"], second["error"]) == (1, 0, None)
        assert "different histories" in first["error"]
        assert host.here() == before
        assert archived(host) == []


def test_a_clone_that_sends_as_the_same_host_is_asked_about(server: Hub, tmp_path: Path) -> None:
    """With machine-id and key alike nobody can tell them apart; but each finds what the other has made."""
    host = Sending(server, "cloned")
    host.sent("one\n")
    clone = Sending(server, "cloned", place=tmp_path / "clone")
    restore(clone, host.pacha.state)
    for turn in range(2):
        clone.sent(f"of the clone {turn}\n", f"clone{turn}")
        assert "clone of this machine" not in host.pacha.run("status").out
        if turn == 0:
            host.sent("two\n")
    assert host.pacha.ok("status")["caught_up"] == 1
    assert clone.pacha.ok("status")["caught_up"] == 1
    host.sent("three\n")
    assert host.pacha.ok("status")["caught_up"] == 2
    told = host.pacha.run("status", "--check")
    assert told.code == 4
    assert "does a clone of this machine send them?" in told.out
    assert host.here() == host.there()
    assert len(host.there()) == 5


def test_another_machine_and_another_host_are_refused(own: Hub) -> None:
    host = Sending(own)
    host.sent("one\n")
    own.registry.set_machine("web1", "f" * 32)
    result = host.capture("two\n")
    assert result.code == 3, result
    assert "machine" in result.json["servers"][0]["error"]
    own.registry.set_machine("web1", "")
    assert host.capture().code == 0
    host.name = "web2"
    host.configure()
    result = host.capture("three\n")
    assert result.code in (1, 3), result
    is_refused = result.json["error"]["message"] if result.code == 1 else result.json["servers"][0]["error"]
    assert "web1" in is_refused
    assert "web2" in is_refused


@pytest.mark.fault
@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_any_instant_while_catching_up(server: Hub, rounds: int) -> None:
    """The old line or the new one is in use, and the next capture ends it."""
    host = Sending(server, f"killed{rounds}")
    host.sent("one\n")
    kept = snapshot(host)
    host.sent("two\n")
    there = host.there()
    choice = random.Random(4)
    for round_number in range(rounds):
        restore(host, kept)
        (host.tree / "file").write_text(f"mine {round_number}\n")
        process = host.pacha.start("capture")
        time.sleep(choice.uniform(0.3, 1.6))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        result = host.capture()
        assert result.code == 0, result
        assert host.there()[:2] == there
        assert host.here() == host.there()
        assert host.complaints() == []
        assert host.pacha.run("cat", host.tree / "file").out == f"mine {round_number}\n"
        there = host.there()[:2]
