"""Why a step cannot or must not be done, in words for people. Called by `ops/apply`, and by `ops/restore` for
what a plan must not promise.
"""

from __future__ import annotations

import errno

from pacha.core.plan import Step
from pacha.core.shown import shown


class Refusal(Exception):
    """The step cannot or must not be done; the words say why."""


def words_of_flags(step: Step) -> str:
    """Which inode flag forbids the step; empty where none does."""
    if step.before is None or not step.before.flags:
        return ""
    names = {b"i": "immutable", b"a": "append-only"}
    held = ", ".join(word for flag, word in names.items() if flag in step.before.flags)
    return f"it is {held}: run chattr -{step.before.flags.decode()} {shown(step.path)} first"


def words_of(problem: BaseException) -> str:
    """What went wrong with a step."""
    if isinstance(problem, OSError):
        if problem.errno == errno.ELOOP:
            return "a directory on its way has become a symbolic link"
        if problem.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return "it holds entries that are ignored, or cannot be removed"
        if problem.errno == errno.EPERM:
            return "not permitted (immutable, or another owner's)"
        return problem.strerror or str(problem)
    return str(problem) or "it has changed meanwhile"
