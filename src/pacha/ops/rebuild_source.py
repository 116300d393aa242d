"""The history of a rebuild, looked at before it is believed.

Called by `ops/rebuild` with the revision that is aimed at, before anything is planned, and by the rehearsal.
The newest revision is looked at as well: this machine goes on from there. It writes nothing.
"""

from __future__ import annotations

from pacha.core import facts
from pacha.core.errors import DamagedStore
from pacha.core.facts import Facts
from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.shown import shown
from pacha.core.soundness import check_rules, faults
from pacha.ops.facts import stored_facts
from pacha.ops.history import newest
from pacha.ops.host import Past
from pacha.ops.tip import lines_at, text_at

_HINT = "nothing was written; another copy of that history may be whole"


def check_source(source: Past, target: Revision) -> None:
    """Raise DamagedStore where what it has at the target, or last, could not be any host's state."""
    last = newest(source)
    for revision in {one.position: one for one in (target, last) if one is not None}.values():
        _check_state(source, revision)


def facts_at(source: Past, revision: Revision) -> Facts:
    """What it has of the system then; raise DamagedStore where that makes no sense."""
    try:
        return facts.parse(stored_facts(source, revision.position))
    except ValueError as problem:
        raise _damaged(source, revision, f"its facts make no sense: {problem}") from problem


def _check_state(source: Past, revision: Revision) -> None:
    found = next(faults(lines_at(source, revision.position, [])), None)
    if found is not None:
        raise _damaged(source, revision, f"what it has of {shown(found[0])} makes no sense: {found[1]}")
    try:
        if text := text_at(source, revision.position, RULES):
            check_rules(text)
    except ValueError as problem:
        raise _damaged(source, revision, f"its rules make no sense: {problem}") from problem
    facts_at(source, revision)


def _damaged(source: Past, revision: Revision, words: str) -> DamagedStore:
    return DamagedStore(f"{source.name} at {revision.id} cannot be taken: {words}", hint=_HINT)
