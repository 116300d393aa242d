"""The services of this machine: restarted and reloaded by whichever manager it has.

Called by `ops/services` through the host. In another root nothing runs that could be asked. It must not
decide which services are concerned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pacha.adapters.hooks import run_command

_SYSTEMD = "/run/systemd/system"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What has no systemd: OpenRC, else System V's scripts, each by NAME ACTION.
_OTHERS = ("rc-service", "service")
_NOT_RUNNING = (b"inactive", b"failed")
NOT_RUN = 127

Line = Callable[[bytes], None]


class Units:
    """The services below a root; each command may take `timeout_ns`."""

    def __init__(self, root: bytes, timeout_ns: int) -> None:
        self._is_own = root == b"/"
        self._timeout_ns = timeout_ns

    def run(self, action: str, name: str, line: Line) -> int:
        """`restart`, `reload` or `stop` a service, each line of what is said handed on; the exit code. What
        does not run is started by the first two.
        """
        if not self._is_own:
            line(b"not done: nothing runs in another root")
            return 0
        words = self._words(action, name)
        if not words:
            line(b"there is no systemctl, rc-service or service here")
            return NOT_RUN
        return run_command(words, self._timeout_ns, line)

    def reread(self, line: Line) -> None:
        """Have systemd read its own files again."""
        if self._is_own and has_systemd():
            run_command([_systemctl(), "daemon-reload"], self._timeout_ns, line)

    def not_running(self, names: Sequence[str]) -> list[str]:
        """Those of the services that are known not to run. Only systemd is asked: of others' scripts not all
        can tell.
        """
        if not (names and self._is_own and has_systemd()):
            return []
        found: list[bytes] = []
        run_command([_systemctl(), "is-active", "--", *names], self._timeout_ns, found.append)
        if len(found) != len(names):  # it said something else
            return []
        return [name for name, state in zip(names, found, strict=True) if state in _NOT_RUNNING]

    def forgive(self, names: Sequence[str]) -> None:
        """Let services be started again that were started too often of late, by systemd's account."""
        if names and self._is_own and has_systemd():
            for name in names:  # of several it stops at the first that it does not know
                run_command([_systemctl(), "reset-failed", "--", name], self._timeout_ns, _ignore)

    @staticmethod
    def _words(action: str, name: str) -> list[str]:
        if has_systemd():
            # What cannot be reloaded is restarted.
            verb = "reload-or-restart" if action == "reload" else action
            return [_systemctl(), verb, "--", name]
        program = next(filter(None, map(path_of, _OTHERS)), "")
        return [program, name, action] if program else []


def has_systemd() -> bool:
    """Whether systemd runs this machine."""
    return os.path.isdir(_SYSTEMD)


def path_of(program: str) -> str:
    """Where a program is; empty where it is not."""
    paths = (os.path.join(folder, program) for folder in os.environ.get("PATH", _PATH).split(":"))
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def _systemctl() -> str:
    return path_of("systemctl") or "systemctl"


def _ignore(_line: bytes) -> None:
    """What is said is of no interest."""
