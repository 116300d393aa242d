"""The configuration by which an operation is undone that waits to be confirmed, or was cut off: what is in
force may be of that very operation, and wrong.

Called by `cli/session` for what undoes. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from pacha.core.config import Config
from pacha.core.errors import ConfigError
from pacha.core.tracked import CONFIG
from pacha.ops.heal import is_of_rebuild, is_same_place
from pacha.ops.ports import Journal, Journals


def config_to_undo_by(journals: Journals, load: Callable[[], Config]) -> Config:
    """What is in force, which `load` gives, unless that is wrong, or of another root or host than when an
    operation began that is still open: then what was in force at that time. ConfigError where nobody knows.
    """
    kept = list(_kept(journals))
    # What a rebuild makes live has a journal of its own, of a host that is being named.
    found = next((one for one in kept if is_of_rebuild(one[0])), kept[0] if kept else None)
    try:
        now = load()
    except ConfigError:
        if found is None:
            raise
        return found[1]
    return now if found is None or is_same_place(found[0], now) else found[1]


def _kept(journals: Journals) -> Iterator[tuple[Journal, Config]]:
    """What each open journal has kept, the newest first: the older are done, but for their record."""
    for journal, complete in reversed(list(journals.all())):
        if complete and (not journal.is_applied or journal.deadline_ns is not None):
            with suppress(ConfigError, KeyError, TypeError):  # of another version of Pacha
                yield journal, Config(f"the configuration before {journal.id}", journal.header[CONFIG], {})
