"""Runs hooks: the executables of `<directory>/<moment>/`, in the order of their names.

Called by the operations at their named moments. It must not decide what a failure means: it reports how each
hook ended, and a failing, hanging or crashing one raises nothing here.

A hook gets one JSON object and a newline on standard input; PACHA_EVENT, PACHA_HOST, PACHA_REVISION (empty
where there is none), PACHA_ROOT and PACHA_DRY_RUN ("1" or "0") beside the caller's environment; "/" as its
working directory and a session of its own. What it writes on either stream is passed on line by line. What it
leaves behind in the background may live on, but not write to us.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

MOMENTS = (
    "pre-capture",
    "post-capture",
    "pre-rollback",
    "post-rollback",
    "pre-rebuild",
    "post-rebuild",
    "pre-push",
    "post-push",
    "on-failure",
    "check",
    "post-receive",
)
TIMED_OUT = 124
NOT_RUN = 126
NOT_FOUND = 127

# Called with the name of the hook and one line of its output, without the newline.
Output = Callable[[str, bytes], None]

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What Pacha's own interpreter and Mercurial were told must not steer those of a hook.
_NOT_FOR_HOOKS = ("PYTHON", "HG")
_KEPT_OUTPUT = 4096
_LONGEST_LINE = 65536
# From SIGTERM to SIGKILL, and from the end of a hook to the end of our patience with its background children.
_GRACE_SECONDS = 2.0
_DRAIN_SECONDS = 0.5
_SHORTEST_NAP, _LONGEST_NAP = 0.001, 0.05


class HookResult(NamedTuple):
    """How one hook ended: as a shell counts (128 + N for signal N), 124 timed out, 126 and 127 not run.

    `output` is the end of what it wrote, at most 4 KB, with our words where it did not run to its end.
    """

    name: str
    exit: int
    output: str
    seconds: float


def failed(results: list[HookResult]) -> HookResult | None:
    """Return the first that failed."""
    return next((result for result in results if result.exit != 0), None)


class Hooks:
    """The hooks of one directory, which may be missing; each may take `timeout_ns`."""

    def __init__(
        self,
        directory: str,
        timeout_ns: int,
        environment: Mapping[str, str] | None = None,
        entering: tuple[Sequence[str], str] = ((), ""),
    ) -> None:
        """Hand on `environment`, by default our own, without what steers Pacha's own interpreter.

        `entering`: words before each command that run it inside another root, and that root, below which the
        directory lies.
        """
        self._directory = os.path.abspath(directory)
        self._timeout = timeout_ns / 1e9
        self._environment = os.environ if environment is None else environment
        self._entering = entering

    def run(  # noqa: PLR0913 - what a hook is told, each under its own name
        self,
        moment: str,
        payload: Mapping[str, Any],
        *,
        event: str,
        host: str,
        revision: str | None,
        root: str,
        dry_run: bool,
        output: Output,
        stop: bool = False,
        more: Callable[[], Mapping[str, Any]] | None = None,
    ) -> list[HookResult]:
        """Run the hooks of `moment` with `payload`, which must be fit for JSON; `stop` at the first failure.

        What takes an effort to find out comes from `more`, which is called only where there is a hook.
        KeyboardInterrupt, and whatever `output` raises, ends the running hook with all its children first.
        """
        try:
            names = self.names(moment)
        except OSError as error:
            # Better a moment that fails with a reason than a check that is silently left out.
            return [HookResult(moment, NOT_RUN, f"not run: {error.filename}: {error.strerror}\n", 0.0)]
        if not names:
            return []
        import json

        line = json.dumps({**payload, **(more() if more else {})}).encode() + b"\n"
        words, outer = self._entering
        environment = {
            **_sane(self._environment),
            "PACHA_EVENT": event,
            "PACHA_HOST": host,
            "PACHA_REVISION": revision or "",
            "PACHA_ROOT": "/" if words else root,  # as the hook sees it
            "PACHA_DRY_RUN": "1" if dry_run else "0",
        }
        results = []
        for name in names:
            path = os.path.join(self._directory, moment, name)
            command = [*words, path.removeprefix(outer)]
            results.append(_Run(path, command, output, self._timeout).result(line, environment))
            if stop and results[-1].exit != 0:
                break
        return results

    def names(self, moment: str) -> list[str]:
        """Return the hooks of `moment` in the order in which they run. OSError: cannot be listed."""
        directory = os.path.join(self._directory, moment)
        try:
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((name for name in names if _is_hook(directory, name)), key=os.fsencode)


def run_command(words: list[str], timeout_ns: int, line: Callable[[bytes], None]) -> int:
    """Run a command of the system as a hook is run, with nothing on standard input; its exit code."""
    run = _Run(words[0], words, lambda _name, text: line(text), timeout_ns / 1e9)
    return run.result(b"", _sane(os.environ)).exit


def _sane(environment: Mapping[str, str]) -> dict[str, str]:
    import pwd

    sane = {name: value for name, value in environment.items() if not name.startswith(_NOT_FOR_HOOKS)}
    sane.setdefault("PATH", _DEFAULT_PATH)
    sane.setdefault("LANG", "C.UTF-8")
    if "HOME" not in sane:
        try:
            sane["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            sane["HOME"] = "/"
    return sane


def _is_hook(directory: str, name: str) -> bool:
    """Leave out what editors and package managers put beside hooks, and what is switched off by its mode."""
    left_over = (".dpkg-", ".rpmnew", ".rpmsave", ".rpmorig", ".ucf-")
    if name.startswith((".", "#")) or name.endswith("~") or any(part in name for part in left_over):
        return False
    path = os.path.join(directory, name)
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return os.path.islink(path)  # runs and fails: a link to nowhere is no hook switched off
    return stat.S_ISREG(kind) and os.access(path, os.X_OK)


def _refusal(path: str) -> str:
    """Say why root must not run `path`: others could put commands of their own there. "" if it may."""
    if os.geteuid() != 0:
        return ""
    directory = os.path.dirname(path)
    try:
        for place in (path, directory, os.path.dirname(directory)):
            status = os.stat(place)
            if status.st_uid != 0:
                return f"{place} belongs to user {status.st_uid}, not to root"
            if status.st_mode & 0o022:
                return f"{place} is writable by others than root (mode {stat.S_IMODE(status.st_mode):04o})"
        for above in {*_parents(path), *_parents(os.path.realpath(path))}:
            status = os.stat(above)
            if status.st_uid != 0 or status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
                return f"{above}, below which it lies, can be changed by others than root"
    except FileNotFoundError:
        return ""  # running it says so, in better words
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def _parents(path: str) -> list[str]:
    """Return the directories above `path` but the root."""
    parents = []
    while (path := os.path.dirname(path)) != "/":
        parents.append(path)
    return parents


class _Run:
    """One hook being run."""

    def __init__(self, path: str, command: list[str], output: Output, timeout: float) -> None:
        self._path = path
        self._command = command
        self._name = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
        self._output = output
        self._timeout = timeout
        self._kept = b""
        self._line = b""

    def result(self, stdin: bytes, environment: Mapping[str, str]) -> HookResult:
        start = time.monotonic()
        refusal = _refusal(self._path)
        code = self._say(f"not run: {refusal}", NOT_RUN) if refusal else self._execute(stdin, environment)
        kept = self._kept[-_KEPT_OUTPUT:].decode("utf-8", "replace")
        return HookResult(self._name, code, kept, time.monotonic() - start)

    def _execute(self, stdin: bytes, environment: Mapping[str, str]) -> int:
        pipe, write_end = os.pipe()
        try:
            try:
                pid = self._start(stdin, write_end, environment)
            except OSError as error:
                return self._not_started(error)
            finally:
                os.close(write_end)
            return self._attend(pid, pipe)
        finally:
            os.close(pipe)

    def _start(self, stdin: bytes, output: int, environment: Mapping[str, str]) -> int:
        """Start it; its process number. `subprocess` takes longer to import than most hooks take to run."""
        from signal import SIGPIPE, SIGXFSZ

        # A file in memory instead of a pipe: a hook that never reads can neither block nor signal us.
        source = os.memfd_create("pacha-hook")
        try:
            _write_all(source, stdin)
            os.lseek(source, 0, os.SEEK_SET)
            program = _found(self._command[0], environment["PATH"])
            streams = [(os.POSIX_SPAWN_DUP2, end, n) for n, end in enumerate((source, output, output))]
            ignored = (SIGPIPE, SIGXFSZ)  # by Python
            with _in_root():
                return os.posix_spawn(
                    program, self._command, environment, file_actions=streams, setsid=True,
                    setsigmask=(), setsigdef=ignored,
                )  # fmt: skip
        finally:
            os.close(source)

    def _not_started(self, error: OSError) -> int:
        if isinstance(error, FileNotFoundError):
            return self._say("not run: it, or the interpreter of its first line, does not exist", NOT_FOUND)
        if error.errno == errno.ENOEXEC:
            return self._say("not run: it has no #! line, and is no program", NOT_RUN)
        return self._say(f"not run: {error.strerror}", NOT_RUN)

    def _attend(self, pid: int, pipe: int) -> int:
        """Pass the output on until the hook ends, or make it end; return its exit code.

        It is reaped last, so that its process group cannot become another's while we signal it.
        """
        from signal import SIGKILL, SIGTERM

        try:
            in_time = self._follow(pid, pipe, self._timeout)
            if not in_time:
                _signal(pid, SIGTERM)
                self._follow(pid, pipe, _GRACE_SECONDS)
                _signal(pid, SIGKILL)
            self._drain(pipe)
        except BaseException:
            # Nobody waits for it or its children any more: KeyboardInterrupt, or nobody takes the output.
            _signal(pid, SIGTERM)
            _wait(pid, _GRACE_SECONDS)
            _signal(pid, SIGKILL)
            raise
        finally:
            _, status = os.waitpid(pid, 0)
        if not in_time:
            return self._say(f"stopped: it took longer than {self._timeout:g} seconds", TIMED_OUT)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _follow(self, pid: int, pipe: int, seconds: float) -> bool:
        """Return True when the hook has ended, False when it has not within `seconds`."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        # Kernels before 5.3 cannot tell of an end by descriptor; usually the end of the output does.
        nap = _SHORTEST_NAP
        while not _has_ended(pid):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if poll.poll(min(left, nap) * 1000):
                nap = _SHORTEST_NAP
                if not self._read(pipe):
                    poll.unregister(pipe)
            else:
                nap = min(2 * nap, _LONGEST_NAP)
        return True

    def _drain(self, pipe: int) -> None:
        """Take what is left in the pipe, but give no more time to a background child that holds it open."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
            if not self._read(pipe):
                break
        if self._line:
            self._pass_on(self._line)
            self._line = b""

    def _read(self, pipe: int) -> bool:
        """Pass on the whole lines that came; False at the end of the output."""
        data = os.read(pipe, _LONGEST_LINE)
        self._kept = (self._kept + data)[-2 * _KEPT_OUTPUT :]
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        if len(self._line) > _LONGEST_LINE:
            self._pass_on(self._line)
            self._line = b""
        return bool(data)

    def _pass_on(self, line: bytes) -> None:
        self._output(self._name, line)

    def _say(self, words: str, code: int) -> int:
        """Add our own words to the output; return the exit code that goes with them."""
        text = os.fsencode(words)
        self._kept += (b"" if self._kept in (b"",) or self._kept.endswith(b"\n") else b"\n") + text + b"\n"
        self._pass_on(text)
        return code


@contextmanager
def _in_root() -> Iterator[None]:
    """What is started here has "/" as its working directory."""
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def _found(program: str, path: str) -> str:
    """Where a program lies; its name where it does not, which says so when it is started."""
    if "/" in program:
        return program
    places = (os.path.join(folder, program) for folder in path.split(":") if folder)
    return next((place for place in places if os.access(place, os.X_OK)), program)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _signal(group: int, number: int) -> None:
    # All may be gone, or what is left may have become another user's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _has_ended(pid: int) -> bool:
    """Return True once the process has ended; it stays unreaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait(pid: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _has_ended(pid) and time.monotonic() < deadline:
        time.sleep(_SHORTEST_NAP)
