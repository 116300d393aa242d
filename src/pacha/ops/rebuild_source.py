"""The history of a rebuild, looked at before it is believed.

Called by `ops/rebuild` with the revision that is aimed at, before anything is planned, and by the rehearsal.
The newest revision is looked at as well: this machine goes on from there. It writes nothing.
"""

from __future__ import annotations

from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.shown import shown
from pacha.core.soundness import check_rules, faults
from pacha.ops.facts import damaged, facts_at
from pacha.ops.history import newest
from pacha.ops.host import Past
from pacha.ops.owed import chain
from pacha.ops.tip import lines_at, text_at


def check_source(source: Past, target: Revision) -> None:
    """Raise DamagedStore where what it has at the target, at what that owes, or last, could not be any host's
    state.
    """
    last = newest(source)
    looked_at = [*chain(source, target), *([last] if last is not None else [])]
    for revision in {one.position: one for one in looked_at}.values():
        _check_state(source, revision)


def _check_state(source: Past, revision: Revision) -> None:
    found = next(faults(lines_at(source, revision.position, [])), None)
    if found is not None:
        raise damaged(source, revision, f"what it has of {shown(found[0])} makes no sense: {found[1]}")
    try:
        if text := text_at(source, revision.position, RULES):
            check_rules(text)
    except ValueError as problem:
        raise damaged(source, revision, f"its rules make no sense: {problem}") from problem
    facts_at(source, revision)
