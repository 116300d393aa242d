"""What a server knows of its hosts, on a real disk, with real processes for sessions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pacha.core.authorized_keys import parse_key
from pacha.core.errors import Busy, NotFound, PachaError, Refused
from pacha.server.registry import Record, Registry, Seen
from tests.agents import until
from tests.sshd import make_key, runs

SESSION = """
import os, sys, time
from pacha.server.registry import Registry
with Registry(sys.argv[1], os.fsencode(sys.argv[2])).session("web1", sys.argv[3]):
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def key(tmp_path: Path) -> str:
    make_key(tmp_path / "key")
    return str(parse_key((tmp_path / "key.pub").read_text()))


@pytest.fixture
def registry(tmp_path: Path, key: str) -> Registry:
    made = Registry(str(tmp_path / "state"), os.fsencode(tmp_path / "hosts"))
    made.create()
    made.put(Record("web1", key, quota=1000, added_ns=5))
    return made


def session(registry: Registry, fingerprint: str = "") -> subprocess.Popen[str]:
    state, hosts = os.path.dirname(registry.path), os.fsdecode(registry.hosts)
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, state, hosts, fingerprint], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def test_a_record_is_kept_changed_and_dropped(registry: Registry, key: str) -> None:
    assert registry.names() == ["web1"]
    assert registry.record("web1") == Record("web1", key, "", 1000, 5, "host")
    registry.set_machine("web1", "abc")
    assert registry.record("web1").machine == "abc"
    assert Path(registry.path).stat().st_mode & 0o777 == 0o700
    assert (Path(registry.folder("web1")) / "record.json").stat().st_mode & 0o777 == 0o600
    registry.forget("web1")
    assert registry.names() == []
    with pytest.raises(NotFound, match="there is no host web1 here"):
        registry.record("web1")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../web1", "a/b", "/etc", ".archive", "-x", "a\nb", "a" * 65]
)
def test_no_odd_name_becomes_a_path(registry: Registry, name: str) -> None:
    for work in (registry.folder, registry.store, registry.record, registry.archived, registry.purge):
        with pytest.raises(NotFound):
            work(name)


def test_a_record_that_cannot_be_read_is_told(registry: Registry) -> None:
    path = Path(registry.folder("web1")) / "record.json"
    for text in ("", "[]", '{"what": 1}'):
        path.write_text(text)
        with pytest.raises(PachaError, match=r"record\.json cannot be read"):
            registry.record("web1")


def test_what_a_session_told_is_shown_until_it_tells_again(registry: Registry) -> None:
    assert registry.seen("web1") is None
    registry.saw("web1", Seen(7, "ab" * 20, 3, 1, "0.1"))
    assert registry.seen("web1") == Seen(7, "ab" * 20, 3, 1, "0.1")
    (Path(registry.folder("web1")) / "seen.json").write_text("{")
    assert registry.seen("web1") is None


def test_open_sessions_are_found_and_ended(registry: Registry, key: str) -> None:
    first, second = session(registry), session(registry, parse_key(key).fingerprint)
    assert sorted(registry.sessions("web1").pids()) == sorted([first.pid, second.pid])
    second.kill()
    second.wait()
    assert registry.sessions("web1").pids() == [first.pid]
    assert registry.sessions("web1").end() == 1
    until(lambda: not runs(first.pid))
    first.wait()
    assert registry.sessions("web1").pids() == []


def test_an_old_key_and_a_removed_host_get_no_session(registry: Registry, key: str) -> None:
    with pytest.raises(Refused, match="has another key now"), registry.session("web1", "SHA256:other"):
        raise AssertionError
    with registry.session("web1", parse_key(key).fingerprint) as record:
        assert record.name == "web1"
        assert registry.sessions("web1").end() == 0, "the caller's own session is spared"
    registry.forget("web1")
    with pytest.raises(Refused, match="is not kept here any more"), registry.session("web1"):
        raise AssertionError
    assert not os.path.exists(registry.folder("web1"))


def test_one_at_a_time(registry: Registry) -> None:
    impatient = Registry(os.path.dirname(registry.path), registry.hosts, patience=0.05)
    with registry.locked("web1"), pytest.raises(Busy), impatient.locked("web1"):
        raise AssertionError
    with registry.locked("web1"):
        pass
    with pytest.raises(NotFound), registry.locked("web2"):
        raise AssertionError


def test_histories_are_put_aside_and_purged(registry: Registry) -> None:
    assert registry.archive("web1") is None
    for _ in range(2):
        os.makedirs(registry.store("web1") + b"/.hg")
        (Path(os.fsdecode(registry.store("web1"))) / ".hg" / "data").write_bytes(b"x" * 10_000)
        assert 10_000 <= registry.used("web1") < 30_000
        aside = registry.archive("web1")
        assert aside is not None and os.path.exists(aside + b"/.hg/data")
        assert not os.path.exists(registry.store("web1"))
    os.makedirs(registry.store("web1") + b"/.hg")
    other = registry.hosts + b"/.archive/web11@20260101T000000"
    os.makedirs(other)
    assert len(registry.archived("web1")) == 2
    registry.purge("web1")
    assert registry.archived("web1") == [] and not os.path.exists(registry.store("web1"))
    assert os.path.exists(other)


def test_the_log_is_one_json_object_a_line_whatever_a_client_said(registry: Registry) -> None:
    registry.log("refused", "web1", words="a\nb\x1b[0m \ud800" + "x" * 5000)
    registry.log("received", "web1", old="", new="ab" * 20, count=3)
    path = Path(registry.path) / "log"
    refused, received = map(json.loads, path.read_text().splitlines())
    assert refused["event"] == "refused" and refused["words"].startswith("a\nb")
    assert len(refused["words"]) == 2000 and refused["time_ns"] > 0
    assert "\x1b" not in path.read_text()
    del received["time_ns"]
    assert received == {"host": "web1", "event": "received", "new": "ab" * 20, "count": 3}
