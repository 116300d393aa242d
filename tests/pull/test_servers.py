"""Servers that are away, break off, or mean harm; and a host that is killed while it makes live what it got.

A hostile server is a script in the place of ssh: what it says is all that a host ever gets of a server.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pacha.adapters.parcels import Delivery
from pacha.core.errors import PachaError, Refused, Unreachable
from pacha.core.parcel_contents import unpack
from pacha.core.parcel_line import LINE_AT_MOST, parse
from pacha.server.deliver import prepared
from pacha.server.registry import Registry
from tests.agents import until
from tests.pull.places import Puller, offer, script
from tests.receive.parcels import digest, file, stream
from tests.server.cable import cable
from tests.server.hub import Hub, hub
from tests.steps import revisions

pytestmark = pytest.mark.xdist_group("pull-servers")
MOTD = file("/etc/motd", b"welcome\n")


@pytest.fixture
def web1(own: Hub) -> Puller:
    return Puller(own)


# -- away ------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_told(web1: Puller) -> None:
    web1.hub.sshd.stop()
    result = web1.refused()
    assert (result.code, result.json["error"]["kind"]) == (1, "unreachable")
    assert "nothing listens there" in result.json["error"]["message"]


def test_where_the_first_is_away_the_second_serves_and_that_is_told(web1: Puller, tmp_path: Path) -> None:
    with hub(tmp_path / "second") as second:
        offer(second)
        second.registry.put(web1.hub.registry.record("web1"))
        entry = web1.hub.sshd.authorized_keys.read_text()
        second.sshd.authorized_keys.write_text(entry.replace(str(web1.hub.place), str(second.place)))
        config = web1.place / "ssh_config"
        config.write_text(
            web1.hub.sshd.settings("one", IdentityFile=web1.key, BatchMode="yes", LogLevel="ERROR")
            + second.sshd.settings("two", IdentityFile=web1.key, BatchMode="yes", LogLevel="ERROR")
        )
        web1.configure(server='["one", "two"]', ssh=f"ssh -F {config}")
        # The first has no such deployment.
        done = web1.said("base", "-y")
        assert done.code == 0, done
        assert "one: there is no deployment base here; asking two" in done.err
        assert web1.read("/etc/motd") == "welcome\n"
        assert revisions(web1.pacha, "/etc/motd")[0]["author"].endswith("pulled from two")
        offer(second, {"files/etc/motd": "the next\n"})
        web1.hub.sshd.stop()
        done = web1.said("base", "-n")
        assert done.code == 0, done
        assert "one cannot be reached: nothing listens there; asking two" in done.err
        assert "+the next" in done.out
        # Whether one that is away has it nobody knows.
        result = web1.refused("another")
        assert result.json["error"]["kind"] == "unreachable"
        # What a server says is wrong is not asked of another, which may have what is older.
        web1.hub.sshd.start()
        offer(web1.hub, {"pacha.toml": "wrong = 1\n"})
        result = web1.refused()
        assert "one refuses: base/pacha.toml:1" in result.json["error"]["message"]


def test_another_host_key_is_not_believed(web1: Puller) -> None:
    offer(web1.hub)
    known = web1.hub.sshd.folder / "known_hosts"
    other = web1.hub.sshd.key("another").with_name("key_another.pub").read_text().split()
    known.write_text(f"hub {other[0]} {other[1]}\n")
    result = web1.refused()
    assert "shows another host key" in result.json["error"]["message"]
    assert not web1.has("/etc/motd")


def test_a_server_that_does_not_know_the_request_is_told_to_be_old(web1: Puller) -> None:
    words = "pacha: refused: 'pacha serve --protocol 1 --deployment base' is no command of this server"
    web1.configure(ssh=script(web1.place / "ssh", f'#!/bin/sh\necho "{words}" >&2\nexit 1\n'))
    assert "update Pacha on the server" in web1.refused().json["error"]["hint"]


@pytest.mark.parametrize("after", [0, 40_000, 900_000])
def test_a_connection_that_is_cut_leaves_everything_as_it_was(web1: Puller, after: int) -> None:
    noise = os.urandom(3_000_000).hex()
    offer(web1.hub, {"files/etc/motd": "x\n", "files/etc/zz": noise})
    before = web1.tree()
    with cable(web1.hub.sshd.port) as link:
        config = web1.place / "ssh_config"
        config.write_text(
            web1.hub.sshd.settings(
                "hub", Port=link.port, IdentityFile=web1.key, BatchMode="yes", LogLevel="ERROR"
            )
        )
        web1.configure(ssh=f"ssh -F {config}")
        before = web1.tree()
        passed = 0
        pass_on = link._pass_on

        def counted(end: Any) -> None:
            nonlocal passed
            pass_on(end)
            passed += 10_000
            if passed > after + 10_000:
                link._ends and [end.close() for end in list(link._ends)] and link._ends.clear()

        link._pass_on = counted  # type: ignore[method-assign]
        result = web1.refused()
        assert result.json["error"]["kind"] == "unreachable", result
        assert web1.tree() == before
    web1.configure()
    web1.pull()
    assert web1.read("/etc/zz") == noise


# -- hostile ---------------------------------------------------------------------------------------------


def saying(host: Puller, data: bytes, then: str = "") -> None:
    """Have the host's server send exactly this, and take no history."""
    (host.place / "said").write_bytes(data)
    text = f'#!/bin/sh\ncase "$*" in *--deployment*) ;; *) echo "pacha: refused: no" >&2; exit 1 ;; esac\ncat {host.place}/said\n{then}\n'
    host.configure(server='["hub"]', ssh=script(host.place / "ssh", text))


def changed(data: bytes, **more: Any) -> bytes:
    """A stream with other values in its first line."""
    first, _, rest = data.partition(b"\n")
    values = json.loads(first)
    for key, value in more.items():
        inner = values
        *way, last = key.split("__")
        for name in way:
            inner = inner[int(name)] if isinstance(inner, list) else inner[name]
        inner[last] = value
    return json.dumps(values).encode() + b"\n" + rest


GOOD = stream([MOTD], name="base")
HOSTILE = {
    "nothing": b"",
    "garbage": b"\x00\xff\x7fELF" * 100,
    "no-json": b"hello\n",
    "a-list": b"[1]\n",
    "deep": b"[" * 200_000 + b"\n",
    "half-a-line": GOOD.split(b"\n")[0][:50],
    "another-format": changed(GOOD, format=2),
    "up": changed(GOOD, deployment__items__0__path="/etc/../../root/x"),
    "relative": changed(GOOD, deployment__items__0__path="etc/motd"),
    "kernel": changed(GOOD, deployment__items__0__path="/proc/sys/kernel/core_pattern"),
    "device": changed(GOOD, deployment__items__0__kind="char"),
    "another-name": stream([MOTD], name="other"),
    "unknown-key": changed(GOOD, extra=1),
    "wrong-content": GOOD.replace(b"welcome", b"pwned!!"),
    "too-short": GOOD[:-3],
    "a-confirmation": b'{"confirm":"0123456789abcdef","format":1}\n',
    "huge-file": changed(GOOD, deployment__items__0__size=10**12),
    "negative": changed(GOOD, deployment__items__0__size=-1),
    "a-bomb": changed(GOOD, packing="zlib"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_stream_that_is_none_is_refused_and_nothing_is_touched(web1: Puller, what: str) -> None:
    saying(web1, HOSTILE[what])
    before = web1.tree()
    result = web1.refused()
    assert result.code == 1
    assert result.json["error"]["kind"] == "refused"
    assert result.json["error"]["message"].startswith("hub: ")
    assert web1.tree() == before
    assert not (web1.pacha.state / "deployed").exists()


def test_what_a_server_wishes_is_not_heard(web1: Puller) -> None:
    web1.write("/etc/motd", "as it was\n")
    wishes = {
        "push__force": True, "push__dry_run": True, "push__by": "the emperor", "push__diff": True,
        "push__confirm_ns": 10**9, "push__ticket": "0123456789abcdef",
    }  # fmt: skip
    saying(web1, changed(GOOD, **wishes))
    looked = web1.pacha.ok("pull", "base", "-n")
    assert looked["dry_run"] is True
    assert web1.read("/etc/motd") == "as it was\n"
    done = web1.pacha.run("pull", "base", "-y", "--json").json
    assert web1.read("/etc/motd") == "welcome\n"  # it was no dry run
    time.sleep(2)
    assert web1.read("/etc/motd") == "welcome\n"  # nor one to be confirmed
    assert web1.pacha.ok("status")["unconfirmed"] == []
    assert "emperor" not in json.dumps(revisions(web1.pacha, "/etc/motd"))
    web1.write("/etc/motd", "by hand\n")
    saying(web1, changed(stream([file("/etc/motd", b"more\n")], name="base"), **wishes))
    assert web1.refused().json["error"]["kind"] == "changed"
    assert web1.read("/etc/motd") == "by hand\n"
    assert done["diffs"] == []


@pytest.mark.parametrize("first", [b"", GOOD.split(b"\n")[0] + b"\n"], ids=["line", "contents"])
def test_endless_data_is_given_up(web1: Puller, first: bytes) -> None:
    first = changed(first, packing="zlib") if first else first
    saying(web1, first.rstrip(b"\n") + (b"\n" if first else b""), "exec cat /dev/zero")
    before = web1.tree()
    began = time.monotonic()
    assert web1.refused().json["error"]["kind"] == "refused"
    assert time.monotonic() - began < 30
    assert web1.tree() == before


def test_data_without_an_end_behind_what_was_asked_for_is_not_read(web1: Puller) -> None:
    saying(web1, changed(GOOD, packing="none"), "exec cat /dev/zero")
    assert web1.pacha.run("pull", "base", "-y").code == 3  # it is not sent
    assert web1.read("/etc/motd") == "welcome\n"


def delivery(place: Path, text: str, silence: float = 1.0) -> Delivery:
    made = Delivery("hub", [script(place / "ssh", text)], silence)
    made.allow(3)
    return made


def test_silence_is_waited_for_only_so_long(tmp_path: Path) -> None:
    quiet = delivery(tmp_path, "#!/bin/sh\nprintf '{'\nexec sleep 600\n")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="hub has sent nothing for 1 s"):
        quiet.readline(1000)
    assert 0.9 < time.monotonic() - began < 3
    quiet.close()


def test_who_sends_a_byte_at_a_time_is_given_up_as_well(tmp_path: Path) -> None:
    slow = delivery(tmp_path, "#!/bin/sh\nwhile :; do printf x; echo busy >&2; sleep 0.3; done\n")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="hub takes too long"):
        slow.readline(LINE_AT_MOST)
    assert 2.5 < time.monotonic() - began < 6
    slow.close()


def test_what_it_complains_of_is_heard_only_so_long(tmp_path: Path) -> None:
    loud = delivery(tmp_path, "#!/bin/sh\nyes 'x' | head -c 50000000 >&2\necho the end >&2\nexit 3\n", 20)
    loud.allow(60)
    with pytest.raises(Refused, match="the end"):
        loud.read(10)
    loud.close()


@pytest.mark.parametrize("count", [0, 1, 70_000])
def test_a_stream_comes_whole_in_whatever_pieces(tmp_path: Path, count: int) -> None:
    data = os.urandom(count)
    whole = stream([file("/etc/a", data), MOTD], name="base")
    (tmp_path / "said").write_bytes(whole)
    pieces = f"""#!{sys.executable}
import sys, time
data = open({str(tmp_path / "said")!r}, "rb").read()
for at in range(0, len(data), 777):
    sys.stdout.buffer.write(data[at:at + 777]); sys.stdout.flush()
"""
    one = delivery(tmp_path, pieces, 30)
    one.allow(60)
    parcel = parse(one.readline(LINE_AT_MOST + 1))
    found = dict(unpack(parcel, one.read))
    assert set(found.values()) == {data, b"welcome\n"}
    assert all(digest(content) == key for key, content in found.items())
    assert one.read(1) == b""
    one.close()


# -- killed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_a_host_that_is_killed_meanwhile_has_all_of_it_or_nothing(web1: Puller, number: int) -> None:
    old = {f"etc/d/{name}": f"old {name}\n" for name in range(300)}
    for path, text in old.items():
        web1.write(path, text)
    new = {f"files/etc/d/{name}": f"new {name}\n" for name in range(300)}
    offer(web1.hub, new)
    process = web1.pacha.start("pull", "base", "-y", "--json")
    journal = web1.pacha.state / "journal"
    until(lambda: process.poll() is not None or (journal.exists() and any(journal.iterdir())))
    time.sleep(number * 0.03)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    web1.pacha.run("status")
    found = {web1.read(f"etc/d/{name}").split()[0] for name in range(300)}
    assert found in ({"old"}, {"new"})
    assert not list(web1.root.rglob(".pacha.*"))
    assert web1.pacha.run("pull", "base", "-y").code in (0, 3)
    assert {web1.read(f"etc/d/{name}").split()[0] for name in range(300)} == {"new"}


def test_who_interrupts_it_has_what_was_there_before(web1: Puller) -> None:
    web1.write("/etc/motd", "as it was\n")
    offer(web1.hub, {"files/etc/motd": "x\n", "hooks/post-push/10-wait": "#!/bin/sh\nsleep 30\n"})
    process = web1.pacha.start("pull", "base", "-y", "--json")
    until(lambda: web1.read("/etc/motd") == "x\n")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    result = web1.pacha.finish(process)
    assert result.code == 130
    assert result.json["reverted"] is True
    assert web1.read("/etc/motd") == "as it was\n"


# -- not to be read --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="root can make what another account may not read")
def test_what_the_account_that_serves_may_not_read_is_told(open_arena: Path) -> None:
    folder = open_arena / "state" / "deployments" / "base"
    (folder / "files" / "etc").mkdir(parents=True)
    (folder / "files/etc/secret").write_text("x")
    (folder / "files/etc/secret").chmod(0o600)
    registry = Registry(str(open_arena / "state"), b"")
    said: list[str] = []

    def look() -> None:
        # Of this thread alone.
        ctypes.CDLL(None).syscall(117, -1, 65534, -1)  # setresuid, without glibc's care for all threads
        try:
            prepared(registry, "base")
        except PachaError as problem:
            said.append(f"{problem} ({problem.hint})")

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == ["base/files/etc/secret: cannot be read: Permission denied (let nobody read it)"]
