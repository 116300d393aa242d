"""Give a command to a process that has Pacha's modules in memory already: `adapters/fork_server`.

Called before anything else of Pacha is imported, as that is what it saves; so it imports next to nothing,
`typing` least of all. Where nobody takes a command, nobody has read or done anything, and it runs here.

    server    its identity: before it has come, no descriptor is given away, which would be kept open
    client    fields joined by NUL: umask, count of words, the words, the environment's entries;
              descriptors: standard input, output, error, the working directory
    worker    its process in decimal
    client    a byte: it begins
    worker    its exit code in decimal, or nothing where it was killed
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_IGN, SIGHUP, SIGINT, SIGKILL, SIGTERM, getsignal, signal  # type: ignore[import-not-found]
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

KIND = SOCK_SEQPACKET
STREAMS = 4  # descriptors of a message
_PATIENCE = 2.0  # seconds until somebody has taken it


def identity() -> bytes:
    """What two processes must have in common for one to act for the other: the installation, the user with
    all groups, what file system they see.
    """
    try:
        mounts = os.readlink("/proc/self/ns/mnt")
    except OSError:
        mounts = "unknown"
    root = os.stat("/")
    who = (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *sorted(os.getgroups()))
    return os.fsencode(f"{__file__} {sys.version} {who} {mounts} {root.st_dev} {root.st_ino}")


def hand_over(path: str, words: list[bytes]) -> int | None:
    """Have a command run by the process that listens at `path`, with everything as it is here; its exit code.
    None where nobody takes it. Signals are passed on, and whoever kills one of the two kills both.
    """
    taken = _taken(path, words)
    if taken is None:
        return None
    peer, process = taken
    for number in (SIGINT, SIGTERM, SIGHUP):
        if getsignal(number) is not SIG_IGN:
            signal(number, lambda number, _frame: os.kill(process, number))
    code = _answer(peer)
    if code is None:  # it was killed: so are we, for whoever waits
        os.kill(os.getpid(), SIGKILL)
    return code


def _taken(path: str, words: list[bytes]) -> tuple[socket, int] | None:
    """(the connection, the process) of a command that has begun."""
    umask = os.umask(0o077)
    os.umask(umask)
    entries = [b"%s=%s" % entry for entry in os.environb.items()]
    message = b"\0".join([b"%d" % umask, b"%d" % len(words), *words, *entries])
    peer = socket(AF_UNIX, KIND)
    peer.settimeout(_PATIENCE)
    try:
        peer.connect(path)
        if peer.recv(len(us := identity()) + 1) != us:
            raise ConnectionRefusedError("it cannot act for us")
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            numbers = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2, here))
            peer.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, numbers)])
        finally:
            os.close(here)
        process = _answer(peer)
        if process is not None:
            peer.send(b"+")
            peer.settimeout(None)
            return peer, process
    except OSError:  # nobody there that can, or the environment is larger than a message may be
        pass
    peer.close()
    return None


def _answer(peer: socket) -> int | None:
    try:
        return int(peer.recv(32) or b"none")
    except (OSError, ValueError):
        return None
