"""What would fill the server's memory is refused in words, and nothing is left of it."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path

import pytest

from tests.server.forge import END, NULL, Forged, Wire, chunk, node, part
from tests.server.hub import Hub, hub

PIECE = bytes(1 << 20)
LIMIT = 512_000_000


def peak(server: Hub, name: str, done: threading.Event, found: list[int]) -> None:
    """Note the most memory that a session of this host ever had."""
    while not done.is_set():
        for pid in server.registry.sessions(name).pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found.append(int(status.partition("VmHWM:")[2].split()[0]) << 10)
        time.sleep(0.05)


def bomb(server: Hub, name: str, mebibytes: int) -> tuple[str, str, int]:
    """One file of nothing but zeros; the answer, and the session's most memory."""
    key, size = server.add(name), mebibytes << 20
    good = Forged(name)
    before = good.changegroup()[: -len(END)]  # one more file log follows
    # Its hash cannot be right, which nobody finds out before all of it was put together.
    delta = node(b"zeros") + NULL * 3 + good.id + struct.pack(">lll", 0, 0, size)
    before += chunk(b"files/zeros") + struct.pack(">i", 4 + len(delta) + size) + delta
    payload = struct.pack(">i", len(before) + size + 2 * len(END))
    stream = b"HG20" + END + part(b"changegroup", b"", {b"version": b"02"})[: -len(END)] + payload + before
    session = Wire(server, key)
    done, found = threading.Event(), [0]
    watcher = threading.Thread(target=peak, args=(server, name, done, found))
    watcher.start()
    try:
        session.say(b"unbundle\nheads 0\n")
        assert session.answer() == b""
        session.say(b"%d\n" % (len(stream) + size + 16) + stream)
        for _ in range(mebibytes):
            session.say(PIECE)
        session.say(END * 4 + b"0\n")
        answer, words = session.reply()
        assert session.told()["tip"] == ""
        assert session.end()[0] == 0
    finally:
        done.set()
        watcher.join()
    return answer, words["message"], max(found)


def test_a_bomb_is_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        answer, words, memory = bomb(server, "web1", 300)
        print(f"300 MiB of zeros: {words}; {memory / 1e6:.0f} MB")
        assert answer == "error:abort"
        assert "memory" in words
        assert memory < LIMIT


@pytest.mark.soak
def test_a_larger_bomb_is_refused(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        answer, words, memory = bomb(server, "web1", 900)
        print(f"900 MiB of zeros: {words}; {memory / 1e6:.0f} MB")
        assert answer == "error:abort"
        assert memory < LIMIT
