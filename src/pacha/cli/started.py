"""How this command was started: by which program, and in which directory; and starting it again. Called by
`cli/session`.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from pacha.core.errors import UsageError


def program() -> list[str]:
    """The words that start this Pacha again, from anywhere."""
    started = os.path.abspath(sys.argv[0])
    if os.path.isfile(started) and os.access(started, os.X_OK):
        return [started]
    # Not the working directory's `pacha`, if there is one.
    return [sys.executable, "-P", "-m", "pacha"]


def detach(words: list[str], pause: float = 0.0) -> None:
    """Start a command, after so many seconds, that goes on when this process has ended, and says nothing to
    anybody.

    By fork and exec, as `subprocess` takes longer to import than all the rest.
    """
    if os.fork():
        return
    try:
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        if pause:
            for name in os.listdir("/proc/self/fd"):  # locks are among them
                if int(name) > 2:
                    with suppress(OSError):
                        os.close(int(name))
            time.sleep(pause)
        os.execv(words[0], words)  # noqa: S606 - our own program, no shell wanted
    finally:
        os._exit(127)


def working_directory() -> str:
    """Its path; UsageError where it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError as problem:
        raise UsageError(
            "the working directory is gone", hint="cd to another, or name absolute paths"
        ) from problem
