"""Ask a person before something is done that they may not mean.

Called by `rollback` and `forget`. The question goes to standard error; so does what it is about wherever
standard output is not what that person is looking at.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TextIO

from pacha.core.errors import UsageError


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
