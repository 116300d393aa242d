"""What would fill the server's memory is refused in words, and nothing is left of it."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.server.forge import END, NULL, Forged, Wire, chunk, part
from tests.server.hub import Hub

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


def growing(step: int, times: int, link: bytes) -> list[bytes]:
    """The headers of a file's revisions, each so many zeros longer than the one before; the zeros follow."""
    headers, before = [], NULL
    for number in range(times):
        # An id is the hash of both parents and then the text: the smaller parent, none, comes first.
        whole = hashlib.sha1(NULL + before, usedforsecurity=False)
        for _ in range(step * (number + 1) >> 20):
            whole.update(PIECE)
        delta = whole.digest() + before + NULL + before + link
        delta += struct.pack(">lll", step * number, step * number, step)
        headers.append(struct.pack(">i", 4 + len(delta) + step) + delta)
        before = whole.digest()
    return headers


def bomb(server: Hub, name: str, mebibytes: int, times: int = 1) -> tuple[str, str, int]:
    """A file of nothing but zeros, so many more `times`; the answer, and the session's most memory."""
    key, step = server.add(name), mebibytes << 20
    good = Forged(name)
    before = good.changegroup()[: -len(END)] + chunk(b"files/zeros")  # one more file log follows
    headers = growing(step, times, good.id)
    size = len(before) + sum(map(len, headers)) + step * times + 2 * len(END)
    stream = b"HG20" + END + part(b"changegroup", b"", {b"version": b"02"})[: -len(END)]
    stream += struct.pack(">i", size) + before
    session = Wire(server, key)
    done, found = threading.Event(), [0]
    watcher = threading.Thread(target=peak, args=(server, name, done, found))
    watcher.start()
    try:
        session.say(b"unbundle\nheads 0\n")
        assert session.answer() == b""
        session.say(b"%d\n" % (len(stream) + size - len(before) + 8) + stream)
        for header in headers:
            session.say(header)
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


def test_a_bomb_is_refused_and_the_session_goes_on(server: Hub) -> None:
    answer, words, memory = bomb(server, "large", 120)
    print(f"120 MiB of zeros: {words}; {memory / 1e6:.0f} MB")
    assert answer == "error:abort"
    assert "zeros is larger than" in words
    assert memory < LIMIT // 4
    # What is small enough each time it comes can still grow beyond all bounds.
    answer, words, memory = bomb(server, "grows", 95, 5)
    print(f"5 times 95 MiB of zeros: {words}; {memory / 1e6:.0f} MB")
    assert answer == "error:abort"
    assert "memory" in words
    assert memory < LIMIT


@pytest.mark.soak
def test_a_larger_bomb_is_refused(server: Hub) -> None:
    answer, words, memory = bomb(server, "growsmore", 95, 9)
    print(f"9 times 95 MiB of zeros: {words}; {memory / 1e6:.0f} MB")
    assert answer == "error:abort"
    assert memory < LIMIT
