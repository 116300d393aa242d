"""The services of this machine: restarted and reloaded by whichever manager it has.

Called by `ops/receive` through the host. In another root nothing runs that could be asked. It must not decide
which services are concerned.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pacha.adapters.hooks import run_command

_SYSTEMD = "/run/systemd/system"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What has no systemd: OpenRC, else System V's scripts, each by NAME ACTION.
_OTHERS = ("rc-service", "service")
NOT_RUN = 127

Line = Callable[[bytes], None]


class Units:
    """The services below a root; each command may take `timeout_ns`."""

    def __init__(self, root: bytes, timeout_ns: int) -> None:
        self._is_own = root == b"/"
        self._timeout_ns = timeout_ns

    def run(self, action: str, name: str, line: Line) -> int:
        """`restart` or `reload` a service, each line of what is said handed on; the exit code."""
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
        if self._is_own and os.path.isdir(_SYSTEMD):
            run_command([_found("systemctl") or "systemctl", "daemon-reload"], self._timeout_ns, line)

    @staticmethod
    def _words(action: str, name: str) -> list[str]:
        if os.path.isdir(_SYSTEMD):
            # What cannot be reloaded is restarted.
            verb = "reload-or-restart" if action == "reload" else action
            return [_found("systemctl") or "systemctl", verb, "--", name]
        program = next(filter(None, map(_found, _OTHERS)), "")
        return [program, name, action] if program else []


def _found(program: str) -> str:
    """Where a program is; empty where it is not."""
    paths = (os.path.join(folder, program) for folder in os.environ.get("PATH", _PATH).split(":"))
    return next((path for path in paths if os.access(path, os.X_OK)), "")
