"""Many clients at one instant, many revisions after an outage, a server that has stopped: figures are printed."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pacha.adapters.hg.store import Store
from pacha.adapters.machine import machine_id
from pacha.core.revision import Stamp
from pacha.core.tracked import Draft
from tests.adapters.stores import content
from tests.agent.processes import megabytes
from tests.agents import running, until
from tests.server.clients import Sending
from tests.server.hub import Hub

GIVEN_UP = 90.0  # seconds


def serving(own: Hub) -> list[int]:
    """The processes of `pacha serve`."""
    found = []
    for pid in own.sshd.sessions():
        with suppress(OSError):
            if b"serve\0--host" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


class Peak:
    """The most memory that the server's sessions had together, sampled by a thread."""

    def __init__(self, own: Hub) -> None:
        self.own = own
        self.megabytes = 0.0
        self.sessions = 0

    def sample(self) -> None:
        pids = serving(self.own)
        self.sessions = max(self.sessions, len(pids))
        self.megabytes = max(self.megabytes, sum(map(megabytes, pids)))


@contextmanager
def sampled(own: Hub) -> Iterator[Peak]:
    peak, done = Peak(own), threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            peak.sample()

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_many_clients_at_one_instant(own: Hub, count: int) -> None:
    hosts = [Sending(own, f"web{number}") for number in range(count)]
    for start in range(0, count, 4):
        firsts = [host.pacha.start("capture", "--json") for host in hosts[start : start + 4]]
        for host, process in zip(hosts[start:], firsts, strict=False):
            assert host.pacha.finish(process).code == 0
    for host in hosts:
        host.change("at once\n")
    took: dict[str, float] = {}

    def finish(host: Sending) -> None:
        result = host.pacha.finish(processes[host.name])
        took[host.name] = time.monotonic() - started
        codes[host.name] = (result.code, result.out)

    codes: dict[str, tuple[int, str]] = {}
    with sampled(own) as peak:
        started = time.monotonic()
        processes = {host.name: host.pacha.start("capture", "--json") for host in hosts}
        threads = [threading.Thread(target=finish, args=(host,)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    late = {name: told for name, told in codes.items() if told[0] != 0}
    times = sorted(took.values())
    print(
        f"\n{count} clients: all after {times[-1]:.1f} s, median {statistics.median(times):.1f} s,"
        f" p95 {times[int(0.95 * (count - 1))]:.1f} s; {peak.sessions} sessions at once with {peak.megabytes:.0f} MB;"
        f" {len(late)} not within the minute"
    )
    assert own.log("refused") == []
    for host in hosts:
        if host.name in late:  # it is stored, and the next one sends it
            assert late[host.name][0] == 3, late[host.name]
            assert host.capture().code == 0
    assert peak.megabytes < 3000
    for host in hosts:
        assert host.here() == host.there()
        assert len(host.there()) == 2


def make_revisions(host: Sending, count: int) -> None:
    """So many revisions as captures would make them, without the files ever having been there."""
    store = Store(os.fsencode(host.pacha.store))
    try:
        path = os.fsencode(host.tree).lstrip(b"/")
        file, meta = b"files/" + path + b"/file", b"meta/" + path + b"/%meta"
        text = content(store, meta)
        assert text is not None
        last = next(store.history(limit=1))
        node = last.node
        for number in range(count):
            data = b"%d\n" % number
            digest = hashlib.sha256(data).hexdigest().encode()
            contents = {file: data, meta: re.sub(rb"(?m)^(file\t.*sha256=)\w+", rb"\g<1>" + digest, text)}
            stamp = Stamp(host.name, machine_id(), last.stamp.seq + 1 + number, time.time_ns(), "capture")
            draft = Draft("jo", f"number {number}", stamp, sorted(contents), [], {})
            node = store.commit(draft, node, contents.__getitem__)
    finally:
        store.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.soak)])
def test_what_waited_during_an_outage_arrives_in_one_go(own: Hub, count: int) -> None:
    host = Sending(own)
    host.sent("one\n")
    make_revisions(host, count)
    assert host.server["backlog"] == count
    started = time.monotonic()
    host.sent("the last\n")
    print(f"\n{count + 1} revisions: {time.monotonic() - started:.1f} s")
    (first, second) = own.log("received")
    assert (first["count"], second["count"]) == (1, count + 1)
    assert host.here() == host.there()
    assert len(host.here()) == count + 2
    assert host.complaints() == []


def captured(host: Sending, text: str) -> float:
    """Seconds from a write to its revision here."""
    log = host.pacha.store / ".hg" / "store" / "00changelog.i"
    size = log.stat().st_size
    started = time.monotonic()
    host.change(text)
    until(lambda: log.stat().st_size != size)
    return time.monotonic() - started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("given_up", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_server_that_has_stopped(own: Hub, given_up: bool) -> None:
    """It costs the host no capture and no moment, and is given up."""
    host = Sending(own)
    host.sent("one\n")
    with running(host.pacha):
        host.change("two\n")
        until(lambda: host.arrived(2))
        usual = [captured(host, f"usual {number}\n") for number in range(3)]
        (session,) = until(lambda: serving(own))
        os.kill(session, signal.SIGSTOP)
        try:
            stopped = time.monotonic()
            slow = [captured(host, f"stopped {number}\n") for number in range(3)]
            assert statistics.median(slow) < 4 * statistics.median(usual) + 0.5
            assert until(lambda: host.server["backlog"]) >= 1
            if given_up:
                # Over a new connection all goes on, though the old session still stands there.
                until(lambda: host.server["backlog"] == 0, GIVEN_UP)
                print(f"\na stopped session was given up after {time.monotonic() - stopped:.0f} s")
                assert host.here() == host.there()
        finally:
            with suppress(ProcessLookupError):
                os.kill(session, signal.SIGCONT)
        until(lambda: host.server["backlog"] == 0 and not host.server["error"], 60)
    assert host.here() == host.there()
    assert len(host.there()) == 8


@pytest.mark.timeout(300)
@pytest.mark.soak
def test_a_capture_gives_a_stopped_server_up(own: Hub) -> None:
    host = Sending(own)
    host.sent("one\n")
    process = own.sshd.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        result = host.capture("two\n")
        took = time.monotonic() - started
    finally:
        os.kill(process.pid, signal.SIGCONT)
    print(f"\ncapture gave a stopped sshd up after {took:.0f} s")
    assert result.code == 3, result
    assert took < GIVEN_UP
    assert result.json["servers"][0]["error"]
    assert host.capture().code == 0
    assert host.here() == host.there()
