"""Watch and unwatch: what is tracked from now on, said in `pacha.toml` and captured at once.

Called by the two verbs. Paths have their parents resolved once, here, as every later look-up does; the leaf
never is, so a watched link is captured as a link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pacha.core.errors import NotFound, UsageError
from pacha.core.names import is_below
from pacha.core.shown import shown
from pacha.ops.capture import Captured, capture
from pacha.ops.host import Host

Edit = Callable[[list[bytes]], Host]


class Watched(NamedTuple):
    """What was added to (or taken from) the configuration, and the capture that followed."""

    paths: list[bytes]
    known: list[bytes]
    captured: Captured


def watch(host: Host, paths: Sequence[bytes], save: Edit, unsave: Edit) -> Watched:
    """Track `paths` (resolved). `save` writes new ones into the configuration and gives the host as it is
    then.

    Raise NotFound for a path that does not exist, UsageError for one that can't be tracked.
    """
    for path in paths:
        name = shown(path)
        try:
            there = host.tree.lstat(path) is not None
        except OSError as problem:
            raise UsageError(f"{name} cannot be looked at: {problem.strerror}") from problem
        if not there:
            raise NotFound(f"{name} does not exist", hint="check the spelling")
        if any(is_below(path, excluded) for excluded in host.rules.excluded):
            raise UsageError(f"{name} is Pacha's own state: it cannot be part of what it records")
    with host.lock:
        new = [path for path in dict.fromkeys(paths) if path not in host.config.watch]
        try:
            after = save(new) if new else host
            captured = capture(after, None if new else list(paths), cause="watch", unpaced=None)
        except BaseException:
            unsave(new)
            raise
    return Watched(new, [path for path in paths if path not in new], captured)


def unwatch(host: Host, paths: Sequence[bytes], save: Edit, unsave: Edit) -> Watched:
    """Track `paths` no longer; their history stays. `save` and `unsave` as in `watch`. Raise UsageError for
    one that is no watch of its own.
    """
    for path in paths:
        name = shown(path)
        if path in host.config.watch:
            continue
        watch_of = host.rules.watch_of(path)
        if watch_of is None:
            raise UsageError(f"{name} is not watched", hint="pacha status lists the watches")
        if watch_of in host.rules.own:
            raise UsageError(f"{name} is Pacha's own configuration, which is always watched")
        raise UsageError(
            f"{name} is part of the watch {shown(watch_of)}",
            hint=f'to leave it out, add it to the configuration: ignore = ["{name}"]',
        )
    with host.lock:
        try:
            after = save(list(paths))
            captured = capture(after, None, cause="unwatch")
        except BaseException:
            unsave(list(paths))
            raise
    return Watched(list(paths), [], captured)
