"""What the agent says to systemd and to the journal, heard by sockets that play them."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.adapters.service import Log, Notifier

SRC = Path(__file__).resolve().parents[2] / "src"
ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
Entry = list[tuple[str, bytes]]


class Listener:
    """The other end: a datagram socket that takes what comes."""

    def __init__(self, address: str | bytes) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def all(self) -> list[bytes]:
        """Everything that has come so far; of a file that was handed over, its content."""
        found = []
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(1_000_000, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return found
            found.append(_handed_over(control) if control else data)


def _handed_over(control: list[tuple[int, int, bytes]]) -> bytes:
    """The content of a file, which must be as the journal demands: sealed, so that nobody can change it."""
    [(level, kind, rights)] = control
    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    file = int.from_bytes(rights, sys.byteorder)
    assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & ALL_SEALS == ALL_SEALS
    content = b""
    os.lseek(file, 0, os.SEEK_SET)
    while more := os.read(file, 1_000_000):
        content += more
    os.close(file)
    return content


def entry(data: bytes) -> Entry:
    """An entry in the journal's native format, read as its documentation says."""
    found = []
    while data:
        line, _, data = data.partition(b"\n")
        name, separator, value = line.partition(b"=")
        if not separator:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        found.append((name.decode(), value))
    return found


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "journal"))
    yield listener
    listener.socket.close()


@pytest.fixture
def notifier(systemd: Listener) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": str(systemd.address)})


class Pipe:
    """Standard error of a service: one end to write to, the other to read."""

    def __init__(self) -> None:
        self.end, self.stream = os.pipe()
        os.set_blocking(self.end, False)
        status = os.fstat(self.stream)
        self.environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

    def text(self) -> str:
        try:
            return os.read(self.end, 1_000_000).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def stderr() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.end)
    os.close(pipe.stream)


@pytest.fixture
def log(journald: Listener, stderr: Pipe) -> Log:
    return Log(stream=stderr.stream, journal=journald.address, environment=stderr.environment)


# -- sd_notify -------------------------------------------------------------------------------------


def test_a_life_is_told_in_order(systemd: Listener, notifier: Notifier) -> None:
    notifier.ready("watching 3 paths")
    notifier.status("capturing")
    notifier.watchdog()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready()
    notifier.stopping()
    *first, reload, ready, stopping = systemd.all()
    assert first == [b"READY=1\nSTATUS=watching 3 paths", b"STATUS=capturing", b"WATCHDOG=1"]
    assert (ready, stopping) == (b"READY=1", b"STOPPING=1")
    reloading, stamp = reload.split(b"\n")
    assert reloading == b"RELOADING=1"
    assert before <= int(stamp.removeprefix(b"MONOTONIC_USEC=")) <= after


def test_an_abstract_socket() -> None:
    name = f"pacha-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert listener.all() == [b"READY=1"]
    listener.socket.close()


def test_no_child_inherits_the_variables(systemd: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NOTIFY_SOCKET", systemd.address), ("WATCHDOG_USEC", "5"), ("WATCHDOG_PID", "1")):
        monkeypatch.setenv(name, str(value))
    Notifier().ready()
    said = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert "NOTIFY_SOCKET" not in said
    assert "WATCHDOG" not in said
    assert systemd.all() == [b"READY=1"]


@pytest.mark.parametrize(
    "where", [None, "", "@", "relative", "vsock:2:1234", "/nonexistent/notify", "/" + "x" * 200]
)
def test_nobody_to_notify_is_no_problem(where: str | None) -> None:
    variables = {"WATCHDOG_USEC": "5000000", **({"NOTIFY_SOCKET": where} if where is not None else {})}
    notifier = Notifier(variables)
    notifier.ready("up")
    notifier.status("up")
    notifier.reloading()
    notifier.watchdog()
    notifier.stopping()
    if where is None:
        assert notifier.watchdog_interval_ns is None


@pytest.mark.parametrize(
    ("limit", "process", "expected"),
    [
        ("30000000", None, 15_000_000_000),
        ("30000000", "own", 15_000_000_000),
        ("30000000", "1", None),
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("-5", None, None),
        ("5s", None, None),
        ("٣", None, None),
        ("18446744073709551615", None, None),
        ("9" * 5000, None, None),
    ],
)
def test_the_watchdog_is_pinged_at_half_its_time(
    limit: str | None, process: str | None, expected: int | None
) -> None:
    variables = {"NOTIFY_SOCKET": "/nonexistent"}
    if limit is not None:
        variables["WATCHDOG_USEC"] = limit
    if process is not None:
        variables["WATCHDOG_PID"] = str(os.getpid()) if process == "own" else process
    assert Notifier(variables).watchdog_interval_ns == expected


def test_a_status_is_one_line_that_systemd_takes(systemd: Listener, notifier: Notifier) -> None:
    notifier.status("one\nWATCHDOG=1\x1b[2J \udcff")
    notifier.status("long " + "ä" * 10_000)
    first, second = systemd.all()
    assert first == rb"STATUS=one\nWATCHDOG=1\x1b[2J \xff"
    assert len(second) < 4096
    assert second.decode().startswith("STATUS=long ää")


def test_a_full_queue_holds_nobody_up_and_loses_nothing_that_matters(
    systemd: Listener, notifier: Notifier
) -> None:
    started = time.monotonic()
    for number in range(2000):
        notifier.status(str(number))
    notifier.reloading()
    notifier.ready("again")
    notifier.watchdog()
    assert time.monotonic() - started < 5
    assert len(systemd.all()) < 2000
    notifier.watchdog()
    said = systemd.all()
    assert [line.partition(b"=")[0] for line in said] == [b"RELOADING", b"READY", b"WATCHDOG"]


def test_systemd_may_go_and_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready()
    listener = Listener(path)
    notifier.watchdog()
    assert listener.all() == [b"WATCHDOG=1"]
    listener.socket.close()
    notifier.watchdog()
    os.unlink(path)
    listener = Listener(path)
    notifier.watchdog()
    assert listener.all() == [b"WATCHDOG=1"]
    listener.socket.close()


# -- the journal -----------------------------------------------------------------------------------


def test_an_entry_has_fields(journald: Listener, stderr: Pipe, log: Log) -> None:
    log.info(
        "modify /etc/hosts",
        revision="0123456789ab",
        cause="agent",
        author="anna",
        paths=[b"/etc/hosts", b"/x"],
    )
    log.warning("two", count=2, nothing=None)
    log.error("three")
    first, second, third = map(entry, journald.all())
    assert first == [
        ("MESSAGE", b"modify /etc/hosts"),
        ("PRIORITY", b"6"),
        ("SYSLOG_IDENTIFIER", b"pacha"),
        ("PACHA_REVISION", b"0123456789ab"),
        ("PACHA_CAUSE", b"agent"),
        ("PACHA_AUTHOR", b"anna"),
        ("PACHA_PATHS", b"/etc/hosts"),
        ("PACHA_PATHS", b"/x"),
    ]
    assert second[1:] == [("PRIORITY", b"4"), ("SYSLOG_IDENTIFIER", b"pacha"), ("PACHA_COUNT", b"2")]
    assert ("PRIORITY", b"3") in third
    assert stderr.text() == ""


def test_no_value_makes_another_field(journald: Listener, log: Log) -> None:
    path = b"/etc/x\nPRIORITY=0\n\0\xff="
    log.info("one\n\x1b[31mtwo\t\udcff", paths=[path], author="a\udcffb\ud800")
    [found] = map(entry, journald.all())
    assert dict(found) == {
        "MESSAGE": rb"one" + b"\n" + rb"\x1b[31mtwo\t\xff",
        "PRIORITY": b"6",
        "SYSLOG_IDENTIFIER": b"pacha",
        "PACHA_PATHS": path,
        "PACHA_AUTHOR": rb"a\udcffb\ud800",
    }


def test_what_is_too_large_is_handed_over_as_a_file(journald: Listener, stderr: Pipe, log: Log) -> None:
    large = "\n".join(f"+line {number}" for number in range(200_000))
    log.info("large", diff=large)
    log.info("small")
    first, second = map(entry, journald.all())
    assert dict(first)["PACHA_DIFF"].decode() == large
    assert dict(first)["MESSAGE"] == b"large"
    assert dict(second)["MESSAGE"] == b"small"
    assert not any("pacha-log" in _target(name) for name in os.listdir("/proc/self/fd"))
    assert stderr.text() == ""


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def test_no_entry_has_more_fields_than_the_journal_takes(journald: Listener, log: Log) -> None:
    log.info("many", paths=[b"/etc/%d" % number for number in range(5000)])
    [found] = map(entry, journald.all())
    assert 100 < len(found) < 1000


def test_a_journal_that_does_not_listen_holds_nobody_up(journald: Listener, log: Log) -> None:
    started = time.monotonic()
    for number in range(2000):
        log.info(str(number))
    log.info("large", diff="x\n" * 500_000)
    assert time.monotonic() - started < 5
    got = len(journald.all())
    assert 0 < got < 2000
    log.info("again")
    log.info("and again")
    first, second = (dict(entry(data)) for data in journald.all())
    assert first["PACHA_LOST"] == str(2001 - got).encode()
    assert "PACHA_LOST" not in second


def test_without_a_journal_there_it_goes_to_standard_error(tmp_path: Path, stderr: Pipe) -> None:
    log = Log(stream=stderr.stream, journal=str(tmp_path / "none"), environment=stderr.environment)
    log.info("one", revision="x")
    log.error("large", diff="x\n" * 500_000)
    assert stderr.text() == "pacha: one\npacha: large\n"


# -- standard error --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["", "1:2", "no", "own of another"])
def test_elsewhere_it_is_one_line_on_standard_error(journald: Listener, stderr: Pipe, stream: str) -> None:
    if stream == "own of another":
        status = os.fstat(0)
        stream = f"{status.st_dev}:{status.st_ino}"
    log = Log(
        stream=stderr.stream,
        journal=journald.address,
        environment={"JOURNAL_STREAM": stream} if stream else {},
    )
    log.info("modify /etc/hosts", revision="0123456789ab", paths=[b"/etc/hosts"])
    log.warning("two\nlines \x1b[31m \udcff ä")
    assert stderr.text() == "pacha: modify /etc/hosts\npacha: two\\nlines \\x1b[31m \\xff ä\n"
    assert journald.all() == []


def test_a_reader_who_does_not_read_holds_nobody_up(stderr: Pipe) -> None:
    log = Log(stream=stderr.stream, environment={})
    started = time.monotonic()
    for _ in range(30):
        log.info("ä" * 5000)
    assert time.monotonic() - started < 10
    lines = stderr.text().splitlines()
    assert 5 < len(lines) < 30
    assert {len(line.encode()) for line in lines} <= {3999, 4000}
    log.info("again")
    assert stderr.text() == "pacha: again\n"


def test_a_closed_standard_error_is_no_problem() -> None:
    end, stream = os.pipe()
    log = Log(stream=stream, environment={})
    os.close(end)
    log.info("nobody reads")
    os.close(stream)
    log.info("not even open")
    Log(stream=stream, environment={"JOURNAL_STREAM": "1:2"}).error("never was")


def test_it_loads_next_to_nothing() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import pacha.adapters.service as s;"
        "s.Notifier({}).ready('x'); s.Log(environment={}).info('x'); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert done.stderr == "pacha: x\n"
    heavy = (
        "asyncio hashlib ssl subprocess logging rich re typing enum collections json socket struct selectors"
    )
    assert not loaded & set(heavy.split())
