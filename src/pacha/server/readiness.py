"""Is this machine ready to serve? What sshd, the account and the program say to that.

Called by `server init` and `doctor`, where it is root's turn still: the account could not ask sshd. It
changes nothing; what fails in it is a finding.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from pacha.adapters import sshd
from pacha.core.errors import PachaError
from pacha.core.sshd_settings import BAD, WARNING, Account, Finding, findings, slow_start

_PATIENCE = 20


def readiness(command: str, account: Account, hosts: int) -> list[Finding]:
    """What is wrong with sshd and the way to the keys; empty where nothing is. `command` starts sshd."""
    found = [
        Finding(BAD, f"{path} can be written by others: sshd takes no key then", f"chmod go-w {path}")
        for path in sshd.writable_by_others(account)
    ]
    found += slow_start(account.shell, os.path.exists(f"{account.home}/.bashrc"))
    try:
        settings = sshd.settings(command, account)
    except PachaError as problem:
        mend = problem.hint or "when sshd runs, and as root: pacha doctor"
        return [*found, Finding(WARNING, str(problem), mend)]
    return [*found, *findings(settings, account, hosts)]


def cannot_run(program: Sequence[str], shell: str) -> str:
    """Why this account, as sshd would, cannot start the program: the words of its shell, empty if it can."""
    try:
        done = subprocess.run(
            [shell, "-c", shlex.join([*program, "--version"])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"exit {done.returncode}"
