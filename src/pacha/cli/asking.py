"""Ask a person before something is done that they may not mean, or afterwards whether it shall stay.

Called by the verbs that change live files, and by `forget`. The question goes to standard error; so does what
it is about wherever standard output is not what that person is looking at.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TextIO

from pacha.core.errors import UsageError
from pacha.core.quantities import parse_duration


def will_ask(options: Namespace, instead: str) -> bool:
    """Whether there is a question to ask: neither -y nor -n. Raise UsageError where there is nobody; -n would
    show `instead`.
    """
    if options.yes or options.dry_run:
        return False
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint=f"add -y to do it, or -n to see {instead}")
    return True


def before_asking(as_json: bool) -> TextIO:
    """Where to show what the question will be about."""
    return sys.stdout if sys.stdout.isatty() and not as_json else sys.stderr


def ask(question: str = "do it?") -> bool:
    """Whether the person says yes."""
    sys.stdout.flush()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def time_to_confirm(text: str | None) -> int | None:
    """Nanoseconds of `--confirm`, None without it. Raise UsageError for what is no time to look."""
    confirm_ns = None if text is None else parse_duration(text)
    if confirm_ns == 0:
        raise UsageError(
            f"--confirm {text} would undo it at once", hint="give the time that you need to look, such as 60s"
        )
    return confirm_ns


def words_on_confirming(text: str, identity: str) -> str:
    """The line for who has just done it."""
    return f"pacha: undone in {text} unless you run: pacha confirm {identity}\n"
