"""Rollback: bring paths on this host back to an earlier revision.

Called by the verb. The plan is made under the lock, shown without it (a person may think for an hour while
changes go on being captured), and made again before it is done: only what was shown is done. History is never
rewritten: the outcome is one more revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from pacha.core.entry import Entry
from pacha.core.errors import NotFound
from pacha.core.names import is_below, outermost
from pacha.core.plan import Step
from pacha.core.quantities import time_name
from pacha.core.revision import BEFORE_REBUILD, Revision
from pacha.core.rules import RULES, Rules
from pacha.core.shown import shown as show_path
from pacha.ops.apply import Done
from pacha.ops.capture import record
from pacha.ops.heal import finish, heal
from pacha.ops.history import entries_at, resolve
from pacha.ops.host import Host
from pacha.ops.moments import Ran, must_succeed, on_failure, run_hooks
from pacha.ops.owed import owed_again
from pacha.ops.restore import (
    Live,
    Planned,
    live_state,
    perform,
    plan,
    planned_objects,
    refuse_closed,
    stored_contents,
    stored_files,
)
from pacha.ops.tip import text_at, tip_of
from pacha.ops.undo_rollback import undo_rollback


class RolledBack(NamedTuple):
    """The outcome; `confirm` is the id to confirm, empty where nothing waits for that."""

    target: Revision
    revision: str | None
    results: list[Done]
    planned: Planned
    hooks: list[Ran]
    seconds: float
    confirm: str


def rollback(
    host: Host,
    paths: Sequence[bytes],
    to: str,
    *,
    dry_run: bool,
    show: Callable[[Revision, Planned], None],
    ask: Callable[[], bool] | None,
    confirm_ns: int | None = None,
) -> RolledBack | None:
    """Bring `paths` (resolved host paths) back to the revision `to`.

    `show` sees each plan before it is done; where `ask` (None: nobody is asked) says no, None is returned.
    With `confirm_ns` the outcome is undone after that time unless it is confirmed. Raise NotFound for a path
    or revision that is not there, HookFailed where a hook stopped or undid it.
    """
    started = time.monotonic()
    scope = _tracked(host, paths)
    shown: list[Step] | None = None
    while True:
        with host.lock, closing(host.new_spool()) as spool:
            host.store.prepare()
            heal(host, must=True)
            tip_of(host)
            live = live_state(host, scope, None if dry_run else spool)
            target = resolve(host, to)
            planned = make_plan(host, scope, target, live)
            stored = stored_files(host, target, planned.steps)
            planned = refuse_closed(host, host, planned, partial(stored_contents, host, stored))
            if planned.steps != shown:
                show(target, planned)
            if dry_run or not planned.steps:
                made = None if dry_run else _end_rebuild_alone(host, scope, target)
                return RolledBack(target, made, [], planned, [], time.monotonic() - started, "")
            if ask is None or planned.steps == shown:
                with on_failure(host, "rollback"):
                    return _do(host, scope, target, live, planned, stored, confirm_ns, started)
        if not ask():
            return None
        shown = planned.steps


def make_plan(host: Host, scope: Sequence[bytes], target: Revision, live: Live) -> Planned:
    """The plan for `scope`. What the rules leave out today, or left out then, is left alone."""
    desired: dict[bytes, bytes] = {}
    for path in scope:
        desired.update(entries_at(host, target.position, path))
    text = text_at(host, target.position, RULES)
    then = Rules.parse(text) if text else Rules(())  # nothing counts as absent in a part of a first capture

    def is_meant(path: bytes) -> bool:
        """Pacha's own configuration goes back only when it is named."""
        own = [own for own in host.rules.own if is_below(path, own)]
        return not own or any(is_below(path, top) and is_below(top, own[0]) for top in scope)

    def may_remove(path: bytes, entry: Entry) -> bool:
        return is_meant(path) and then.covers(path, entry.kind == b"dir")

    wanted = {
        path: line
        for path, line in desired.items()
        if is_meant(path) and host.rules.covers(path, line.startswith(b"dir\t"))
    }
    present = {path: line for path, line in live.lines.items() if is_meant(path)}
    return plan(host, present, wanted, live.difference, may_remove)


def _tracked(host: Host, paths: Sequence[bytes]) -> list[bytes]:
    """The paths, one above watches replaced by these. Raise NotFound for one that has to do with no watch."""
    found: list[bytes] = []
    for path in paths:
        below = [
            watch for watch in host.rules.watches if is_below(watch, path) and watch not in host.rules.own
        ]
        if host.rules.watch_of(path) is not None:
            found.append(path)
        elif below:
            found += below
        else:
            shown = show_path(path)
            hint = f"pacha watch {shown}, or name a path that pacha status lists"
            raise NotFound(f"{shown} is not watched", hint=hint)
    return outermost(found)


def _is_all(host: Host, scope: Sequence[bytes]) -> bool:
    """Whether everything that is watched goes back, but for Pacha's own."""
    watched = [watch for watch in host.rules.watches if watch not in host.rules.own]
    return all(any(is_below(watch, top) for top in scope) for watch in watched)


def _end_rebuild(host: Host, scope: Sequence[bytes], target: Revision) -> dict[bytes, bytes]:
    """The texts to store where a rebuild is taken back that found what was at the target."""
    if not _is_all(host, scope):
        return {}
    texts = owed_again(host, target)
    written = host.rebuild_file.read()
    is_before = target.stamp.cause == BEFORE_REBUILD
    if written is not None and (texts or is_before or written[0].get("before") == target.id):
        host.rebuild_file.remove()
        host.report.note(f"the rebuild of {host.name} that was begun is over")
    return texts


def _end_rebuild_alone(host: Host, scope: Sequence[bytes], target: Revision) -> str | None:
    """The same where all is as it was already; the revision that says so."""
    texts = _end_rebuild(host, scope, target)
    if not texts:
        return None
    return record(
        host, scope, cause="rollback", message=f"rollback to {target.id}", unpaced=None, texts=texts
    ).revision


def _do(
    host: Host,
    scope: Sequence[bytes],
    target: Revision,
    live: Live,
    planned: Planned,
    stored: dict[bytes, bytes],
    confirm_ns: int | None,
    started: float,
) -> RolledBack:
    payload = {"target": target.id, "steps": planned_objects(planned)}
    hooks: list[Ran] = []
    for moment in ("check", "pre-rollback"):
        results = run_hooks(host, moment, payload, revision=target.id, stop=True)
        must_succeed(results, "nothing was changed", "mend what it complains about, then run it again")
        hooks += results
    # A hook may have changed what was seen.
    seen = None if hooks else live.difference
    record(host, scope, cause="rollback", message=f"before rollback to {target.id}", unpaced=None, seen=seen)
    journal = host.journals.new(time_name(host.now_ns()))
    deadline = None if confirm_ns is None else host.now_ns() + confirm_ns
    header = {
        "id": journal.id, "verb": "rollback", "host": host.name, "target": target.id, "wait_ns": confirm_ns,
    }  # fmt: skip
    contents = partial(stored_contents, host, stored)
    done = perform(host, journal, planned, header, contents, deadline)
    results = run_hooks(host, "post-rollback", payload, revision=target.id, stop=True)
    if any(result.exit != 0 for result in results):
        undo_rollback(host, journal, f"the hook {results[-1].name} failed")
    must_succeed(results, "everything was put back", "pacha log shows both states")
    hooks += results
    message = f"rollback to {target.id}"
    owes = _end_rebuild(host, scope, target)
    known = {s.path: (s.after, stored[s.path]) for s in planned.steps if s.after and s.path in stored}
    outcome = record(
        host,
        scope,
        cause="rollback",
        message=message,
        unpaced=None,
        earlier_hooks=hooks,
        known=known,
        texts=owes,
    )
    if deadline is None:
        finish(host, journal, done)
    waits_for = "" if deadline is None else journal.id
    return RolledBack(target, outcome.revision, done, planned, hooks, time.monotonic() - started, waits_for)
