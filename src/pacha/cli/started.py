"""How this command was started: by which program, and in which directory. Called by `cli/session`."""

from __future__ import annotations

import os
import sys

from pacha.core.errors import UsageError


def program() -> list[str]:
    """The words that start this Pacha again, from anywhere."""
    started = os.path.abspath(sys.argv[0])
    if os.path.isfile(started) and os.access(started, os.X_OK):
        return [started]
    # Not the working directory's `pacha`, if there is one.
    return [sys.executable, "-P", "-m", "pacha"]


def working_directory() -> str:
    """Its path; UsageError where it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError as problem:
        raise UsageError(
            "the working directory is gone", hint="cd to another, or name absolute paths"
        ) from problem
