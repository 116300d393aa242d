"""What a long-running process says to systemd: that it is ready and alive, and, to the journal, what
happened.

Called by the agent. Nothing here raises or waits: a lost message is not worth an agent. It must not import
what an idle process need not hold in memory; `_socket` is what lies below `socket`, and a megabyte smaller.
"""

from __future__ import annotations

import os
import sys
import time
from _socket import AF_UNIX, MSG_DONTWAIT, SCM_RIGHTS, SOCK_DGRAM, SOL_SOCKET, socket
from errno import EAGAIN, EIO, EMSGSIZE, ENOBUFS

from pacha.core.shown import printable

TYPE_CHECKING = False  # `typing` and `collections.abc` are not loaded for it
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    # One value of a log's field, or several: then the field is there more than once. None: it is left out.
    Value = str | bytes | int | Sequence[str | bytes] | None

JOURNAL = "/run/systemd/journal/socket"

_ERROR, _WARNING, _INFO = 3, 4, 6  # as in syslog(3)
_LONGEST_STATUS = 500  # characters: systemd drops a message of more than 4,096 bytes
_LONGEST_LINE = 4000  # bytes: what fits into a pipe that has any room
_MOST_VALUES = 250  # of one field: the journal drops an entry of more than 1,024
_MOST_WAITING = 16
_LINE_PATIENCE = 100  # milliseconds for whoever reads standard error
_FOREVER = "18446744073709551615"  # microseconds, as systemd writes "no limit"


class _Outlet:
    """Datagrams to one unix socket, which need not be there."""

    def __init__(self, address: bytes) -> None:
        self._address = address
        self._socket: socket | None = None

    def send(self, data: bytes, descriptor: int | None = None) -> int:
        """Send `data`, or an open file in its place; 0, or the number of the error."""
        try:
            if self._socket is None:
                self._socket = socket(AF_UNIX, SOCK_DGRAM)
            if descriptor is None:
                self._socket.sendto(data, MSG_DONTWAIT, self._address)
            else:
                rights = descriptor.to_bytes(4, sys.byteorder)
                control = [(SOL_SOCKET, SCM_RIGHTS, rights)]
                self._socket.sendmsg([], control, MSG_DONTWAIT, self._address)
        except OSError as problem:
            return problem.errno or EIO
        return 0


class Notifier:
    """The protocol of sd_notify(3); where nobody asked to be notified, every method does nothing.

    The variables that systemd set for this process are taken out of `environment`, by default our own, so
    that no child speaks in our name.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        where = os.fsencode(environment.pop("NOTIFY_SOCKET", ""))
        limit = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        self._outlet = None
        if where.startswith((b"/", b"@")) and len(where) > 1:
            self._outlet = _Outlet(b"\0" + where[1:] if where.startswith(b"@") else where)
        self._waiting: list[bytes] = []
        # How often to call `watchdog`: half of what systemd allows. None where it does not wait for us.
        self.watchdog_interval_ns: int | None = None
        if self._outlet is not None and process in ("", str(os.getpid())):
            given = limit.isascii() and limit.isdigit() and len(limit) < len(_FOREVER)
            self.watchdog_interval_ns = int(limit) * 500 or None if given else None

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is over."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """What `systemctl status` shows from now on."""
        self._send(*_status(text), lasting=False)

    def reloading(self) -> None:
        """The configuration is read anew; `ready` is to follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """We are alive."""
        self._send("WATCHDOG=1", lasting=False)

    def _send(self, *lines: str, lasting: bool = True) -> None:
        if self._outlet is None or not lines:
            return
        # What is `lasting` waits, in its order, for the next call where there is no room for it now; the
        # rest comes again by itself.
        self._waiting.append("\n".join(lines).encode())
        while self._waiting:
            if self._outlet.send(self._waiting[0]) in (EAGAIN, ENOBUFS):
                if not lasting:
                    self._waiting.pop()
                del self._waiting[:-_MOST_WAITING]
                return
            del self._waiting[0]


def _status(text: str) -> list[str]:
    return [f"STATUS={printable(text)[:_LONGEST_STATUS]}"] if text else []


class Log:
    """What happened: entries of the journal where standard error leads there, else lines on it.

    A line is `pacha: MESSAGE`. An entry has each keyword as a field too: `paths` as PACHA_PATHS.
    """

    def __init__(
        self,
        *,
        stream: int = 2,
        journal: str | bytes = JOURNAL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._stream = stream
        connected = _leads_to(stream, environment.get("JOURNAL_STREAM", ""))
        self._outlet = _Outlet(os.fsencode(journal)) if connected else None
        self._lost = 0

    def info(self, message: str, **fields: Value) -> None:
        """All is as it should be."""
        self._log(_INFO, message, fields)

    def warning(self, message: str, **fields: Value) -> None:
        """Somebody should have a look some day."""
        self._log(_WARNING, message, fields)

    def error(self, message: str, **fields: Value) -> None:
        """Something that was asked for could not be done."""
        self._log(_ERROR, message, fields)

    def _log(self, priority: int, message: str, fields: Mapping[str, Value]) -> None:
        if self._outlet is None:
            self._write(message)
            return
        lost = {"lost": self._lost} if self._lost else {}
        data = _entry(priority, message, {**fields, **lost})
        problem = self._outlet.send(data)
        if problem in (EMSGSIZE, ENOBUFS):
            problem = _send_as_file(self._outlet, data)
        if problem == EAGAIN:
            self._lost += 1  # told with the next that gets through; standard error leads to the same reader
        elif problem:
            self._write(message)
        else:
            self._lost = 0

    def _write(self, message: str) -> None:
        """One line, unless nobody takes it."""
        from select import POLLOUT, poll

        line = f"pacha: {printable(message)}".encode()[:_LONGEST_LINE].decode("utf-8", "ignore")
        room = poll()
        room.register(self._stream, POLLOUT)
        try:
            if any(event & POLLOUT for _, event in room.poll(_LINE_PATIENCE)):
                os.write(self._stream, line.encode() + b"\n")
        except OSError:
            pass


def _leads_to(stream: int, journal: str) -> bool:
    """Whether the file descriptor is the one of `DEVICE:INODE`."""
    try:
        status = os.fstat(stream)
    except OSError:
        return False
    return journal == f"{status.st_dev}:{status.st_ino}"


def _entry(priority: int, message: str, fields: Mapping[str, Value]) -> bytes:
    """An entry in the journal's own format."""
    lines = "\n".join(map(printable, message.split("\n")))
    parts = [_field("MESSAGE", lines), _field("PRIORITY", priority), _field("SYSLOG_IDENTIFIER", "pacha")]
    for name, value in fields.items():
        values = (value,) if value is None or isinstance(value, str | bytes | int) else value[:_MOST_VALUES]
        parts += [_field(f"PACHA_{name.upper()}", one) for one in values if one is not None]
    return b"".join(parts)


def _field(name: str, value: str | bytes | int) -> bytes:
    data = value if isinstance(value, bytes) else _encoded(str(value))
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
    return b"%s=%s\n" % (name.encode(), data)


def _encoded(text: str) -> bytes:
    """The bytes that a text was made of, or may stand for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _send_as_file(outlet: _Outlet, data: bytes) -> int:
    """What is too large for a datagram goes as a file in memory that nobody can change any more."""
    from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl

    try:
        file = os.memfd_create("pacha-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as problem:
        return problem.errno or EIO
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
        return outlet.send(b"", file)
    except OSError as problem:
        return problem.errno or EIO
    finally:
        os.close(file)
