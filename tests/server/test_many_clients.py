"""Many clients at the same instant, many revisions in one push: all are received; what it costs is printed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.plainhg import StoreCopy
from tests.server.forge import NULL, Forged, Wire, assembled, container, part
from tests.server.hub import Hub, hub


def memory(server: Hub) -> int:
    """Bytes of memory of all the server's processes, what they share counted once."""
    total = 0
    for pid in server.sshd.sessions():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def at_once(server: Hub, count: int) -> tuple[list[float], float, int]:
    """(each client's seconds, all of them together, the most memory that the server took)."""
    names = [f"host{number}" for number in range(count)]
    keys = {name: server.add(name) for name in names}
    start = threading.Barrier(count + 1)
    seconds: list[float] = []
    answers: list[str] = []

    def client(name: str) -> None:
        data = Forged(name).bundle()
        start.wait()
        begun = time.monotonic()
        session = Wire(server, keys[name])
        answers.append(session.unbundle(data)[0])
        seconds.append(time.monotonic() - begun)
        session.end()

    threads = [threading.Thread(target=client, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    start.wait()
    begun, peak = time.monotonic(), 0
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, memory(server))
        time.sleep(0.2)
    assert answers == ["reply:changegroup"] * count
    return sorted(seconds), time.monotonic() - begun, peak


def told(seconds: list[float], total: float, peak: int) -> str:
    p95 = seconds[int(len(seconds) * 0.95)]
    return f"{len(seconds)} clients at once: {total:.1f} s, per client p95 {p95:.1f} s, server {peak / 1e6:.0f} MB"


def test_some_clients_at_once_are_all_received(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        seconds, total, peak = at_once(server, 8)
        print(told(seconds, total, peak))
        assert peak < 8 * 30_000_000


@pytest.mark.soak
def test_a_hundred_clients_at_once_are_all_received(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        seconds, total, peak = at_once(server, 100)
        print(told(seconds, total, peak))
        assert peak < 3_000_000_000


def in_one_go(server: Hub, count: int, copy: Path) -> None:
    """So many revisions of two files each, in one push."""
    key, name, tip, pieces = server.add("waited"), "waited", NULL, []
    for number in range(count):
        revision = Forged(name, parents=(tip, NULL), contents={b"f": b"%d\n" % number})
        pieces.append(revision.pieces(b"02"))
        tip = revision.id
    begun = time.monotonic()
    session = Wire(server, key)
    bundle = container([part(b"changegroup", assembled(pieces), {b"version": b"02"})])
    assert session.unbundle(bundle)[0] == "reply:changegroup"
    print(f"{count} revisions in one push: {time.monotonic() - begun:.1f} s")
    told = session.told()
    assert (told["revisions"], told["tip"]) == (count, tip.hex())
    assert session.end()[0] == 0
    assert StoreCopy(server.store(name), copy).complaints() == []


def test_many_revisions_arrive_in_one_push(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        in_one_go(server, 200, tmp_path / "copy")


@pytest.mark.soak
def test_a_thousand_revisions_arrive_in_one_push(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        in_one_go(server, 1000, tmp_path / "copy")


def test_of_two_sessions_at_once_one_adds_and_the_other_is_told(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        key, data = server.add("web1"), Forged("web1").bundle()
        sessions = [Wire(server, key) for _ in range(4)]
        for session in sessions:
            session.say(b"unbundle\nheads 0\n")
            assert session.answer() == b""
        for session in sessions:
            session.say(b"%d\n" % len(data) + data + b"0\n")
        answers = sorted(session.reply()[0] for session in sessions)
        assert answers == ["error:abort"] * 3 + ["reply:changegroup"]
        assert [session.end()[0] for session in sessions] == [0] * 4
        assert StoreCopy(server.store("web1"), tmp_path / "copy").complaints() == []
