"""Rehearse: how much of a host would come back, and what not, and why.

Called by `cli/rebuild` with the outcome of a rebuild in a throwaway root. It rebuilds nothing itself.
"""

from __future__ import annotations

from typing import NamedTuple

from pacha.core.facts import Facts
from pacha.core.packages import INSTALL
from pacha.ops.rebuild import Rebuilt
from pacha.ops.rebuild_plan import Request


class Score(NamedTuple):
    """`identical` of `total` packages and files came back as they were; `short` are the others, and hooks
    that failed, in words.
    """

    identical: int
    total: int
    short: list[tuple[str, str]]  # (package, path or hook, why)

    @property
    def percent(self) -> float:
        """100 where nothing was asked for."""
        return 100.0 * self.identical / self.total if self.total else 100.0


def has_something(request: Request, told: Facts) -> bool:
    """Whether anything that was asked for can be scored: files, or packages of which the history tells."""
    packages = any(told.packages.values()) or bool(told.wanted)
    return request.wants("files") or (request.wants("packages") and packages)


def score(done: Rebuilt, request: Request) -> Score:
    """By what the comparison afterwards still found; what was left out counts as nothing."""
    text = {d.name.decode("utf-8", "replace"): d.reason for d in done.deviations}
    why = {one.step.path: one.reason for one in done.results if not one.ok}
    short = [(f"package {name}", reason) for name, reason in text.items()]
    short += [
        (step.path.decode("utf-8", "backslashreplace"), step.refused or why.get(step.path) or step.reason)
        for step in done.left
    ]
    failed = [(f"hook {ran.name}", f"exit {ran.exit}") for ran in done.hooks if ran.exit != 0]
    short += failed
    packages = sum(step.action == INSTALL for step in done.draft.packages)
    files = len(done.draft.desired.lines) if request.wants("files") else 0
    total = files + max(packages, len(text)) + len(failed)
    return Score(max(total - len(short), 0), total, short)
