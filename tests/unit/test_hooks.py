"""Hooks: real scripts, the well-behaved and the others, run as they would be on a host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pacha.adapters.hooks import HookResult, Hooks, failed

MOMENT = "pre-rollback"
MINUTE_NS = 60_000_000_000
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses what others could change")


class Place:
    """A directory of hooks, and what they said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[tuple[str, bytes]] = []

    def add(self, name: str, script: str, mode: int = 0o755, moment: str = MOMENT) -> Path:
        path = self.directory / moment / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(script if script.startswith("#!") or not script else f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path

    def run(
        self,
        payload: dict[str, Any] | None = None,
        *,
        timeout_ns: int = MINUTE_NS,
        stop: bool = False,
        revision: str | None = "abc123",
        environment: dict[str, str] | None = None,
    ) -> list[HookResult]:
        return Hooks(str(self.directory), timeout_ns, environment).run(
            MOMENT,
            payload or {},
            event="rollback",
            host="web1",
            revision=revision,
            root="/",
            dry_run=False,
            output=lambda name, line: self.lines.append((name, line)),
            stop=stop,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    directory = tmp_path / "hooks"
    directory.mkdir(mode=0o755)
    return Place(directory)


def is_running(pid: int) -> bool:
    """Whether it lives; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def test_what_takes_an_effort_is_asked_for_only_where_there_is_a_hook(place: Place, tmp_path: Path) -> None:
    asked: list[int] = []

    def run() -> None:
        Hooks(str(place.directory), MINUTE_NS).run(
            MOMENT, {"a": 1}, event="", host="", revision=None, root="/", dry_run=False, output=lambda *_: None,
            more=lambda: {"b": len(asked) or asked.append(1)},
        )  # fmt: skip

    run()
    assert asked == []
    place.add("10-one", f"cat >> {tmp_path}/told")
    place.add("20-two", f"cat >> {tmp_path}/told")
    run()
    assert (tmp_path / "told").read_text() == '{"a": 1, "b": null}\n' * 2


def test_no_directory_means_no_hooks(place: Place) -> None:
    assert place.run() == []
    place.directory.rmdir()
    assert place.run() == []
    assert failed([]) is None


def test_they_run_in_the_order_of_their_names_and_left_overs_do_not(place: Place) -> None:
    for name in ("20-b", "10-a", "9-c", "30-d"):
        place.add(name, "echo $0")
    for name in (".hidden", "10-a~", "10-a.dpkg-old", "#10-a#", "10-a.rpmsave"):
        place.add(name, "echo wrong")
    place.add("15-off", "echo wrong", mode=0o644)
    (place.directory / MOMENT / "16-directory").mkdir()
    results = place.run()
    assert [result.name for result in results] == ["10-a", "20-b", "30-d", "9-c"]
    assert failed(results) is None
    assert [name for name, _ in place.lines] == ["10-a", "20-b", "30-d", "9-c"]


def test_what_a_hook_is_told(place: Place) -> None:
    script = 'cat; pwd; echo "$PACHA_EVENT $PACHA_HOST $PACHA_REVISION $PACHA_ROOT $PACHA_DRY_RUN"'
    place.add("10-told", script)
    result = place.run({"plan": [{"path": "/etc/ä\udcff"}]})[0]
    told, *rest = result.output.splitlines()
    assert json.loads(told) == {"plan": [{"path": "/etc/ä\udcff"}]}
    assert rest == ["/", "rollback web1 abc123 / 0"]
    assert result.exit == 0


def test_the_environment_is_the_callers_without_what_steers_pacha(place: Place) -> None:
    place.add("10-env", "#!/usr/bin/env -S /bin/sh -c 'env'\n")
    place.run(
        environment={"PYTHONPATH": "/x", "HGRCPATH": "/x", "HGPLAIN": "1", "LANG": "de_DE", "MINE": "yes"},
        revision=None,
    )
    lines = [line for _, line in place.lines]
    assert b"MINE=yes" in lines
    assert b"LANG=de_DE" in lines
    assert b"PACHA_REVISION=" in lines
    assert any(line.startswith(b"PATH=/usr/local/sbin:") for line in lines)
    assert any(line.startswith(b"HOME=/") for line in lines)
    assert not any(line.startswith((b"PYTHON", b"HG")) for line in lines)


def test_output_is_passed_on_while_the_hook_runs_and_its_end_is_kept(place: Place) -> None:
    place.add("10-talk", "echo one; echo two >&2; sleep 0.3; printf three")
    times: list[float] = []

    def take(name: str, line: bytes) -> None:
        times.append(time.monotonic())
        place.lines.append((name, line))

    results = Hooks(str(place.directory), MINUTE_NS).run(
        MOMENT, {}, event="e", host="h", revision="r", root="/", dry_run=True, output=take
    )
    assert [line for _, line in place.lines] == [b"one", b"two", b"three"]
    assert times[2] - times[1] > 0.2
    assert results[0].output == "one\ntwo\nthree"
    assert 0.3 <= results[0].seconds < 10


def test_much_output_on_one_line_or_many_is_kept_to_its_last_four_kilobytes(place: Place) -> None:
    place.add("10-lines", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    place.add("20-line", f"#!{sys.executable}\nprint('x' * 1000000, end='')\n")
    lines, line = place.run()
    assert lines.output.endswith("line 19999\n")
    assert len(lines.output) == 4096
    assert sum(1 for name, _ in place.lines if name == "10-lines") == 20000
    assert line.output == "x" * 4096
    assert sum(len(text) for name, text in place.lines if name == "20-line") == 1_000_000


def test_output_that_is_not_utf8(place: Place) -> None:
    place.add("10-bytes", r"printf 'a\377b\n'")
    assert place.run()[0].output == "a\N{REPLACEMENT CHARACTER}b\n"
    assert place.lines == [("10-bytes", b"a\xffb")]


@pytest.mark.parametrize("script", ["exit 0", "exec <&-; exit 0", "head -c 10 >/dev/null"])
def test_a_large_payload_that_nobody_reads_blocks_nothing(place: Place, script: str) -> None:
    place.add("10-deaf", script)
    start = time.monotonic()
    assert failed(place.run({"plan": "x" * 20_000_000})) is None
    assert time.monotonic() - start < 10


def test_a_large_payload_arrives_whole(place: Place) -> None:
    place.add("10-count", "wc -c")
    assert place.run({"plan": "x" * 5_000_000})[0].output.strip() == str(5_000_000 + len('{"plan": ""}\n'))


def test_a_caller_that_dies_of_sigpipe_does_not(place: Place) -> None:
    """The command line may have restored SIGPIPE, so that `pacha log | head` ends quietly."""
    place.add("10-deaf", "exec <&- ; exit 3")
    script = (
        "import signal, sys; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "from pacha.adapters.hooks import Hooks\n"
        "r = Hooks(sys.argv[1], 10**10).run('pre-rollback', {'x': 'y' * 10**6}, event='', host='', revision='', root='/',"
        " dry_run=False, output=lambda *_: None)\n"
        "sys.exit(r[0].exit)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(place.directory)]
    assert subprocess.run(command, env=environment, check=False).returncode == 3


def test_a_failure_stops_the_moment_only_where_asked(place: Place) -> None:
    place.add("10-fine", "exit 0")
    place.add("20-wrong", "echo no; exit 7")
    place.add("30-late", "exit 0")
    everything = place.run()
    assert [result.exit for result in everything] == [0, 7, 0]
    stopped = place.run(stop=True)
    assert [result.exit for result in stopped] == [0, 7]
    culprit = failed(stopped)
    assert culprit is not None
    assert (culprit.name, culprit.output) == ("20-wrong", "no\n")


def test_a_signal_counts_as_in_a_shell(place: Place) -> None:
    place.add("10-crash", "kill -SEGV $$")
    assert place.run()[0].exit == 128 + signal.SIGSEGV


def test_what_cannot_be_executed_says_why(place: Place) -> None:
    place.add("10-interpreter", "#!/no/such/interpreter\n")
    (place.directory / MOMENT / "20-nowhere").symlink_to("/no/such/file")
    place.add("30-text", "").write_text("just words\n")
    place.add("40-fine", "exit 0")
    results = place.run()
    assert [result.exit for result in results] == [127, 127, 126, 0]
    assert "interpreter" in results[0].output
    assert "no #! line" in results[2].output
    assert [line for name, line in place.lines if name == "30-text"] == [results[2].output.rstrip().encode()]


def test_the_time_limit_ends_the_whole_group(place: Place, tmp_path: Path) -> None:
    place.add("10-slow", f"echo begun; sleep 1000 & echo $! > {tmp_path}/child; wait")
    start = time.monotonic()
    result = place.run(timeout_ns=300_000_000)[0]
    assert 0.3 <= time.monotonic() - start < 5
    assert result.exit == 124
    assert result.output == "begun\nstopped: it took longer than 0.3 seconds\n"
    assert gone(int((tmp_path / "child").read_text()))


def test_a_hook_that_ignores_sigterm_is_killed_with_its_children(place: Place, tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; while :; do sleep 1; done"
    place.add("10-stubborn", script)
    assert place.run(timeout_ns=200_000_000)[0].exit == 124
    assert gone(int((tmp_path / "child").read_text()))


def test_a_hook_may_tidy_up_when_its_time_is_over(place: Place, tmp_path: Path) -> None:
    place.add(
        "10-tidy", f"trap 'echo tidied; touch {tmp_path}/tidied; exit 0' TERM; while :; do sleep 0.05; done"
    )
    result = place.run(timeout_ns=200_000_000)[0]
    assert result.exit == 124
    assert "tidied\n" in result.output
    assert (tmp_path / "tidied").exists()


def test_a_child_in_the_background_holds_nothing_up_and_lives_on(place: Place, tmp_path: Path) -> None:
    place.add("10-daemon", f"sleep 1000 & echo $! > {tmp_path}/child; echo done")
    start = time.monotonic()
    result = place.run()[0]
    child = int((tmp_path / "child").read_text())
    try:
        assert time.monotonic() - start < 5
        assert (result.exit, result.output) == (0, "done\n")
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_talkative_child_in_the_background_holds_nothing_up(place: Place) -> None:
    place.add("10-yes", "yes & exit 0")
    start = time.monotonic()
    assert place.run()[0].exit == 0
    assert time.monotonic() - start < 5


def test_a_hook_that_closes_its_output_is_waited_for(place: Place) -> None:
    place.add("10-quiet", "exec >&- 2>&-; sleep 0.3; exit 4")
    assert place.run()[0].exit == 4


def test_interruption_ends_the_hook_and_its_children(place: Place, tmp_path: Path) -> None:
    place.add("10-long", f"sleep 1000 & echo $! > {tmp_path}/child; echo ready; wait")
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run behind "&"
        "from pacha.adapters.hooks import Hooks\n"
        "Hooks(sys.argv[1], 10**12).run('pre-rollback', {}, event='', host='', revision='', root='/', dry_run=False,"
        " output=lambda name, line: print(line.decode(), flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(place.directory)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"ready\n"
        caller.send_signal(signal.SIGINT)
        _, errors = caller.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert gone(int((tmp_path / "child").read_text()))


def test_whoever_cannot_take_the_output_ends_the_hook(place: Place, tmp_path: Path) -> None:
    place.add("10-long", f"echo $$ > {tmp_path}/hook; echo ready; exec sleep 1000")

    def closed(name: str, line: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Hooks(str(place.directory), MINUTE_NS).run(
            MOMENT, {}, event="", host="", revision=None, root="/", dry_run=False, output=closed
        )
    assert gone(int((tmp_path / "hook").read_text()))


def test_no_descriptor_is_left_open_or_given_away(place: Place) -> None:
    place.add("10-descriptors", "ls /proc/self/fd")
    place.add("20-nothing", "#!/no/such/interpreter\n")
    before = os.listdir("/proc/self/fd")
    results = place.run()
    assert len(results[0].output.split()) <= 4  # three streams, and that of ls itself
    assert os.listdir("/proc/self/fd") == before


def change_owner(path: Path) -> None:
    os.chown(path, 65534, 0)


def open_to_group(path: Path) -> None:
    path.chmod(0o775)


def open_to_others(path: Path) -> None:
    path.chmod(0o757)


@as_root
@pytest.mark.parametrize("spoil", [change_owner, open_to_group, open_to_others])
@pytest.mark.parametrize("which", ["hook", "moment", "hooks"])
def test_root_runs_nothing_that_others_could_change(
    place: Place, tmp_path: Path, spoil: Any, which: str
) -> None:
    hook = place.add("10-spoilt", f"touch {tmp_path}/ran")
    spoil({"hook": hook, "moment": hook.parent, "hooks": place.directory}[which])
    result = place.run()[0]
    assert result.exit == 126
    assert result.output.startswith("not run: /")
    assert not (tmp_path / "ran").exists()


@as_root
@pytest.mark.parametrize("spoil", [change_owner, open_to_others])
def test_root_runs_nothing_below_or_behind_what_others_could_change(
    place: Place, tmp_path: Path, spoil: Any
) -> None:
    (tmp_path / "elsewhere" / "bin").mkdir(parents=True)
    program = tmp_path / "elsewhere" / "bin" / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    place.add("10-fine", "exit 0")
    (place.directory / MOMENT / "20-link").symlink_to(program)
    assert failed(place.run()) is None
    (tmp_path / "ran").unlink()
    spoil(tmp_path / "elsewhere")
    assert [result.exit for result in place.run()] == [0, 126]
    assert not (tmp_path / "ran").exists()
    spoil(tmp_path)
    assert [result.exit for result in place.run()] == [126, 126]


@as_root
def test_a_moment_that_cannot_be_listed_fails(place: Place) -> None:
    place.add("10-a", "exit 0")
    place.directory.chmod(0o700)
    command = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pacha.adapters.hooks import Hooks; import json\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "print(Hooks(sys.argv[1], 10**10).run('pre-rollback', {}, event='', host='', revision='', root='/', dry_run=False,"
        " output=print)[0].exit)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, str(place.directory), *sys.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "126\n", done.stderr
