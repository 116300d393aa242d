"""The seven attacks of The Update Framework's list, by a server that was conquered: it may push to the host, has
every stream and signature that ever went by, and writes what it likes, byte for byte, through a real sshd. It
lacks one thing only: the key of a person on the host's list.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pacha.core.parcel import Wishes
from tests.oracle import compare, save_twin
from tests.push.fleet import Fleet, Host, fleet
from tests.receive.parcels import file, stream
from tests.signatures import HOUR, Person, allowed, ask_for_signatures, key, with_signature

DAY = 24 * HOUR


@dataclass
class Scene:
    """One host that asks for Anna's signature, and what went by before the server was conquered."""

    them: Fleet
    anna: Person
    eve: Person
    canary: Path
    known: dict[str, bytes] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return self.them.hosts["web1"]

    def send(self, parcel: bytes | Callable[[Any], None]) -> dict[str, Any]:
        """Feed the host a stream; its last word."""
        words = ["ssh", "-F", str(self.them.ssh_config), "web1", "pacha receive"]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            if callable(parcel):
                parcel(process.stdin)
            else:
                process.stdin.write(parcel)
        process.stdin = None
        out = process.communicate(timeout=120)[0]
        found = json.loads(out.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def evil(self, content: bytes = b"evil\n", **more: Any) -> bytes:
        """What the server would have the host be: a file, and a hook that runs as soon as anything does."""
        hooks = {
            f"{moment}/1": f"touch {self.canary}\n".encode() for moment in ("pre-push", "check", "on-failure")
        }
        return stream([file("/etc/motd", content)], hooks=hooks, **more)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with fleet(tmp_path, "web1") as them:
        people = (Person(key(tmp_path / "keys", name)) for name in ("anna", "eve"))
        made = Scene(them, *people, canary=tmp_path / "a-hook-ran")
        host = made.host
        ask_for_signatures(host.pacha.config, host.root, allowed(("anna", made.anna.private)))
        host.write("/etc/untouched", "as it was\n")
        one, two = (stream([file("/etc/motd", content)]) for content in (b"one\n", b"two\n"))
        other = stream([file("/etc/db", b"db\n")], name="db")
        now = time.time()
        expired = {"begin": now - 40 * DAY, "until": now - 10 * DAY, "serial": int(now - 40 * DAY)}
        made.known = {
            "expired": made.anna.signed(one, **expired),
            "one": made.anna.signed(one, serial=int(now) - 10),
            "of web2": made.anna.signed(
                stream([file("/etc/motd", b"of web2\n")]), "web2", serial=int(now) + 50
            ),
            "db": made.anna.signed(other, serial=int(now) - 5),
            "two": made.anna.signed(two, serial=int(now)),
        }
        for name in ("one", "db", "two"):
            assert made.send(made.known[name])["ok"] is True
        assert host.read("/etc/motd") == "two\n"
        host.pacha.run("log")
        yield made


def taken_apart(parcel: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, contents = parcel.partition(b"\n")
    return json.loads(line), contents


def put_together(line: dict[str, Any], contents: bytes) -> bytes:
    return json.dumps(line).encode() + b"\n" + contents


def arbitrary_install(scene: Scene) -> Iterator[bytes]:
    """Anything that nobody signed: bare, by another's key, under a true signature, asked for in every way."""
    yield scene.evil()
    yield scene.evil(wishes=Wishes("anna@hub", force=True))
    yield scene.evil(wishes=Wishes("anna@hub", dry_run=True, diff=True))
    yield scene.eve.signed(scene.evil())
    yield scene.anna.signed(scene.evil(), namespace="git")
    true = taken_apart(scene.known["two"])[0]["signed"]
    yield with_signature(scene.evil(), true["statement"], true["signature"])
    yield with_signature(scene.evil(), true["statement"].replace("web", "wxb"), true["signature"])
    line, contents = taken_apart(scene.known["two"])
    for change in ({"packages": ["netcat"]}, {"absent": ["/etc/untouched"]}, {"revision": "000000000000"}):
        yield put_together({**line, "deployment": {**line["deployment"], **change}}, contents)
    line["deployment"]["items"][0]["mode"] = "4777"
    yield put_together(line, contents)
    line, contents = taken_apart(scene.known["two"])
    yield put_together(line, contents[:-2] + b"x\n")


def endless_data(scene: Scene) -> Iterator[bytes | Callable[[Any], None]]:
    """A line, a statement, a signature or contents without end."""

    def endless(head: bytes) -> Callable[[Any], None]:
        def feed(to: Any) -> None:
            to.write(head)
            for _ in range(20_000):
                to.write(b"0" * 100_000)

        return feed

    yield endless(b'{"format": 1, "deployment": "')
    whole = scene.known["two"].partition(b"\n")[0]
    yield endless(whole.replace(b'"statement":"', b'"statement":"' + b" " * 4_000_000))
    line, contents = taken_apart(scene.evil(b"\0" * 1000))
    yield endless(put_together({**line, "packing": "zlib"}, b"") + zlib.compress(b"\0" * 10_000_000))
    line, _ = taken_apart(scene.known["two"])
    line["deployment"]["items"][0]["size"] = 60_000_000
    yield endless(put_together(line, b""))
    line, contents = taken_apart(scene.known["two"])
    line["signed"]["signature"] = "A" * 10_000_000
    yield put_together(line, contents)


def fast_forward(scene: Scene) -> Iterator[bytes]:
    """A serial so high that nothing that is signed afterwards would be taken."""
    motd = stream([file("/etc/motd", b"two\n")])
    for serial in (int(time.time()) + 1000, 2**40, 2**62):
        yield scene.eve.signed(motd, serial=serial)
        true = taken_apart(scene.known["two"])[0]["signed"]
        known = str(json.loads(true["statement"])["serial"])
        yield with_signature(motd, true["statement"].replace(known, str(serial)), true["signature"])
    # And not even with the key, which was stolen once.
    yield scene.anna.signed(motd, serial=2**62)


def freeze(scene: Scene) -> Iterator[bytes]:
    """What once was right, for ever: its time is over."""
    yield scene.known["expired"]
    true = taken_apart(scene.known["expired"])[0]["signed"]
    later = true["statement"].replace('"until": "20', '"until": "21')
    assert later != true["statement"]
    yield with_signature(stream([file("/etc/motd", b"one\n")]), later, true["signature"])


def mix_and_match(scene: Scene) -> Iterator[bytes]:
    """Parts of several that were signed, each true in its place."""
    (web, _), (db, contents) = taken_apart(scene.known["two"]), taken_apart(scene.known["db"])
    yield put_together({**db, "signed": web["signed"]}, contents)
    yield put_together({**db, "deployment": {**db["deployment"], "name": "web"}}, contents)
    both = [*web["deployment"]["items"], *db["deployment"]["items"]]
    yield put_together({**web, "deployment": {**web["deployment"], "items": both}}, b"two\ndb\n")
    yield put_together({**web, "deployment": {**web["deployment"], "items": []}}, b"")
    mixed = {"statement": web["signed"]["statement"], "signature": db["signed"]["signature"]}
    yield put_together({**web, "signed": mixed}, b"two\n")
    one, contents = taken_apart(scene.known["one"])
    yield put_together({**one, "signed": web["signed"]}, contents)


def rollback(scene: Scene) -> Iterator[bytes]:
    """An older one, still within its time."""
    yield scene.known["one"]
    line, contents = taken_apart(scene.known["one"])
    yield put_together({**line, "push": {**line["push"], "force": True}}, contents)
    yield put_together({**line, "push": {**line["push"], "confirm_ns": 10**9, "ticket": "0" * 16}}, contents)
    yield put_together({**line, "push": {**line["push"], "dry_run": True}}, contents)


def wrong_target(scene: Scene) -> Iterator[bytes]:
    """What is right for another host."""
    yield scene.known["of web2"]
    line, contents = taken_apart(scene.known["of web2"])
    line["signed"]["statement"] = line["signed"]["statement"].replace("web2", "web1")
    yield put_together(line, contents)


Attack = Callable[[Scene], Iterator[bytes | Callable[[Any], None]]]
ATTACKS = (arbitrary_install, endless_data, fast_forward, freeze, mix_and_match, rollback, wrong_target)


def kept(host: Host) -> dict[str, bytes]:
    """What the host knows of deployments: records, and what was taken."""
    folders = [host.pacha.state / name for name in ("deployed", "signed", "journal")]
    return {
        str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_it_is_refused_and_not_a_byte_of_the_host_is_other(scene: Scene, attack: Attack) -> None:
    withstands(scene, attack)


def withstands(scene: Scene, attack: Attack) -> dict[str, Any]:
    """Each stream of an attack is refused, however it comes, and nothing of the host is other afterwards. What
    the host then answers to who is right, and pushes.
    """
    twin, before = scene.them.place / "twin", kept(scene.host)
    save_twin(scene.host.root, twin)
    count = 0
    for parcel in attack(scene):
        told = scene.send(parcel)
        assert (told["ok"], told["error"]["kind"]) == (False, "refused"), told
        assert not told.get("steps") and not told.get("hooks") and not told.get("diffs"), told
        assert compare(twin, scene.host.root) == []
        assert kept(scene.host) == before
        assert not scene.canary.exists()
        count += 1
    assert count >= 2
    right = scene.anna.signed(stream([file("/etc/motd", b"three\n")]), serial=int(time.time()) + 60)
    told = Scene.send(scene, right)
    assert told["ok"] is True
    assert scene.host.read("/etc/motd") == "three\n"
    assert not os.path.lexists(scene.canary)
    return told
