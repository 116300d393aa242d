"""Capture: what changed becomes one revision.

Called by the verbs `capture`, `watch`, `unwatch`, `rollback`, `agent`. The order is the safety: scan →
pre-capture hooks → admission → commit (on the disk when it returns) → index → post-capture hooks. Killed
anywhere, nothing is lost: the next capture finds the same changes or the finished revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pacha.core import pace
from pacha.core.admission import Proposal, judge
from pacha.core.changes import Change, is_same, merge
from pacha.core.entry import render_entry
from pacha.core.errors import Refused
from pacha.core.names import is_below
from pacha.core.normalize import Normal
from pacha.core.revision import (
    BEFORE_REBUILD,
    PART_REBUILD,
    REBUILD,
    SHORT_REBUILD,
    Revision,
    Stamp,
    clean_author,
    clean_text,
)
from pacha.core.shown import shown as show_path
from pacha.core.tracked import Draft, Row, Skipped
from pacha.core.who import Origin, program_of
from pacha.ops.draft import (
    Known,
    contents_of,
    directory_texts,
    fact_texts,
    lookup,
    sizes_of,
    stored_already,
)
from pacha.ops.facts import NONE, NewFacts, new_facts
from pacha.ops.heal import heal
from pacha.ops.host import Host
from pacha.ops.links import regroup
from pacha.ops.moments import Ran, must_succeed, on_failure, run_hooks
from pacha.ops.normalize import normals, volatile_among, volatile_row
from pacha.ops.owed import to_be_noted
from pacha.ops.ports import Spool
from pacha.ops.scan import TOO_LARGE, Finding, Scan
from pacha.ops.secrets import is_secret, turned, words_for
from pacha.ops.tip import last_of, place_of, text_at, tip_of
from pacha.ops.told import change_objects


class Captured(NamedTuple):
    """The outcome: `revision` is the short hash, None where nothing had changed."""

    revision: str | None
    changes: list[Change]
    skipped: list[Skipped]
    deferred: list[bytes]
    hooks: list[Ran]
    normalized: Sequence[bytes] = ()  # what differs in lines only that `[[normalize]]` drops
    is_partial: bool = False  # there may be more to capture
    encrypted: Sequence[bytes] = ()  # from this revision on, and not before
    cleared: Sequence[bytes] = ()  # encrypted before, and not any more


class Difference(NamedTuple):
    """The live tree against the index: what is to be committed, and rows that only need their new
    signature.
    """

    changed: list[Finding]
    refreshed: list[Row]
    changes: list[Change]
    skipped: list[Skipped]
    deferred: list[bytes]
    scope: tuple[bytes, ...]
    touched: dict[bytes, bytes]  # lines of entries whose time alone is another than recorded
    spool: Spool | None  # where the new contents are
    normalized: Sequence[bytes] = ()  # differ in dropped lines only: neither changed nor as they are stored
    normals: Mapping[bytes, Normal | None] = MappingProxyType({})  # for the index, with the rows
    facts: NewFacts = NONE
    is_partial: bool = False  # the look stopped before it had seen everything


# What brings files back records what was there, and what is there then, to the last line.
EXACT = ("rollback", "undo", REBUILD, BEFORE_REBUILD, SHORT_REBUILD, PART_REBUILD)


def look(
    host: Host,
    paths: Sequence[bytes] | None,
    spool: Spool | None,
    unpaced: Iterable[bytes] | None = (),
    *,
    trusting: bool = True,
    exact: bool = False,
    at_most: int | None = None,
    resealing: bool = False,
) -> Difference:
    """Scan `paths` (tracked ones; None: everything watched) and compare; writes nothing.

    Not `trusting`, every entry is read again, whatever its status says. `exact`, lines that `[[normalize]]`
    drops count as all others. With about `at_most` findings it stops. `resealing`, secrets that are encrypted
    for others than now count as changed.
    """
    scan = Scan(
        host, spool, unpaced=unpaced, trusting=trusting, exact=exact, at_most=at_most, resealing=resealing
    )
    scope = host.rules.watches if paths is None else tuple(paths)
    scan.run(scope)
    if paths is None and host.index.get("rules") != host.rules.render():
        scan.sweep_untracked()
    changed, refreshed, touched = [], [], {}
    findings = regroup(host, scan.findings)
    volatile = {finding.path: finding for finding in volatile_among(findings)}
    for finding in findings:
        row = finding.row
        line = render_entry(finding.entry) if row is not None and finding.entry is not None else None
        if row is not None and line is not None and is_same(row.line, line):
            refreshed.append(row._replace(signature=finding.signature, inode=finding.inode))
            touched[finding.path] = line
        elif finding.path not in volatile:
            changed.append(finding)
    changes = merge((found.path, found.row and found.row.line, found.entry) for found in changed)
    refreshed += [row for finding in volatile.values() if (row := volatile_row(finding)) is not None]
    found = Difference(changed, refreshed, changes, scan.skipped, scan.deferred, scope, touched, spool)
    return found._replace(
        normalized=sorted(volatile),
        normals=normals(host, volatile.values(), changed),
        is_partial=scan.is_cut,
        scope=() if scan.is_cut else scope,
    )


def capture(
    host: Host,
    paths: Sequence[bytes] | None = None,
    *,
    cause: str,
    message: str = "",
    unpaced: Iterable[bytes] | None = (),
    origin: Origin | None = None,
    at_most: int | None = None,
) -> Captured:
    """Heal what was left behind, then `record`: what the verbs and the agent call."""
    with host.lock, on_failure(host, cause):
        heal(host)
        return record(
            host, paths, cause=cause, message=message, unpaced=unpaced, origin=origin, at_most=at_most
        )


def record(  # noqa: PLR0913 - one name for each thing that a revision says
    host: Host,
    paths: Sequence[bytes] | None = None,
    *,
    cause: str,
    message: str = "",
    unpaced: Iterable[bytes] | None = (),
    earlier_hooks: Sequence[Ran] = (),
    origin: Origin | None = None,
    seen: Difference | None = None,
    known: Known = MappingProxyType({}),
    at_most: int | None = None,
    texts: Mapping[bytes, bytes] = MappingProxyType({}),
) -> Captured:
    """Record what changed below `paths` (None: everything watched) as one revision.

    `unpaced` paths are taken even where they change too often (None: all are); `earlier_hooks` ran before and
    are kept with the revision. `seen` is a look at these paths of a moment ago, contents kept. What is as
    `known` is not stored again. Of more than about `at_most` entries a part is recorded, in whole
    directories: ask again for the rest. `texts` are stored besides, by store path, an empty one removed.
    Raise HookFailed where a pre-capture hook says no, Refused where admission does.
    """
    with host.lock:
        tip = tip_of(host)
        _must_be_of_this_host(host)
        if noted := to_be_noted(host):  # whatever was asked for: all of it, before anything else is recorded
            texts, paths, seen, at_most, cause = noted, None, None, None, BEFORE_REBUILD
        texts = _not_stored_yet(host, texts)
        spool = host.new_spool()
        try:
            difference = seen or look(host, paths, spool, unpaced, exact=cause in EXACT, at_most=at_most)
            found = new_facts(host)
            difference = difference._replace(facts=found._replace(texts={**found.texts, **texts}))
            if not difference.changes and not difference.facts.texts:
                _remember(host, difference, difference.facts.values)
                return _captured(None, difference, [])
            origin = origin or Origin(host.author, ())
            if any(map(is_secret, difference.changes)) and origin != origin.discreet:
                # The agent knows what `[secrets]` names, but not each other name of such a file.
                origin, message, cause = origin.discreet, "", program_of(cause)
            told = {"cause": cause, "message": message, "author": origin.author, "who": list(origin.who)}
            hooks = run_hooks(
                host, "pre-capture", told, revision=tip[:12] or None, stop=True,
                more=lambda: _changed(difference),
            )  # fmt: skip
            must_succeed(hooks, "nothing was recorded", "mend what it complains about, then run it again")
            node = _commit(host, difference, known, tip, cause, message, origin, [*earlier_hooks, *hooks])
        finally:
            spool.close()
    revision = node[:12]
    told["revision"] = revision
    after = run_hooks(
        host, "post-capture", told, revision=revision,
        more=lambda: {**_changed(difference), **_differences(host, difference)},
    )  # fmt: skip
    for result in after:
        if result.exit != 0:
            host.report.note(f"the hook {result.name} failed (exit {result.exit})")
    hooks += after
    for words in words_for(host, difference.changes):
        host.report.note(words)
    return _captured(revision, difference, hooks)


def _must_be_of_this_host(host: Host) -> None:
    """Raise Refused where this machine has become another host since its configuration was read: as what it
    was it must not go on with that one's line.
    """
    last = last_of(host)
    if last is None or last.stamp.host == host.name or (now := host.name_now()) == host.name:
        return
    raise Refused(
        f"this machine is {now} by now, and was {host.name} when this was begun: nothing was recorded",
        hint="run it again; a running agent: systemctl reload pacha, or start it again",
    )


def _not_stored_yet(host: Host, texts: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those of the texts that the newest revision has otherwise."""
    last = last_of(host)
    position = last.position if last is not None else -1
    return {path: text for path, text in texts.items() if text_at(host, position, path) != text}


def _captured(revision: str | None, seen: Difference, hooks: list[Ran]) -> Captured:
    return Captured(
        revision, seen.changes, seen.skipped, seen.deferred, hooks, seen.normalized, seen.is_partial,
        *turned(seen.changes),
    )  # fmt: skip


def _differences(host: Host, difference: Difference) -> dict[str, Any]:
    from pacha.ops.diff_text import diff_text

    return diff_text(host, difference.changes)


def _changed(difference: Difference) -> dict[str, Any]:
    return {"changed": change_objects(difference.changes)}


def _commit(
    host: Host,
    difference: Difference,
    known: Known,
    tip: str,
    cause: str,
    message: str,
    origin: Origin,
    hooks: Sequence[Ran],
) -> str:
    """Make the revision and write the index; the full hash."""
    last = last_of(host)
    changed = difference.changed
    contents, removed = contents_of(changed)
    stored = stored_already(changed, known)
    # A part is recorded under the rules as they were: what they newly cover and it lacks is not absent in it.
    rules = b"" if difference.is_partial else host.rules.render()
    texts = {
        **directory_texts(host, changed),
        **difference.facts.texts,
        **fact_texts(host, changed, last, rules),
    }
    sizes = sizes_of(contents, texts, removed)
    stamp = _stamp(host, last, cause, origin, hooks)
    reasons = judge(
        Proposal([tip] if tip else [], "default", stamp, sizes),
        host=host.name,
        tip=tip,
        text_of=lookup(host, texts),
    )
    if reasons:
        raise Refused(f"this capture cannot be admitted: {reasons[0]}", hint="pacha doctor says more")
    if not host.store.exists:
        host.store.create()
    text = clean_text(message) or summarise(cause, difference.changes, difference.facts.words)
    present = sorted(path for path, size in sizes.items() if size is not None)
    draft = Draft(clean_author(origin.author), text, stamp, present, sorted(sizes.keys() - present), stored)
    del sizes  # of a first capture they are many
    spool = difference.spool
    done = 0

    def supply(path: bytes) -> bytes:
        nonlocal done
        done += 1
        host.report.progress("storing", done, len(present))
        return spool.get(contents[path]) if spool and path in contents else texts[path]

    node = host.store.commit(draft, tip, supply)
    made = Revision(last.position + 1 if last else 0, node, draft.author, text, stamp, ())
    values = {
        "machine": place_of(host),
        "tip": node.encode(),
        "changelog": host.store.signature(),
        **({"rules": rules} if rules else {}),
        "last": made.dump(),
        **difference.facts.values,
    }
    _remember(host, difference, values)
    return node


def _stamp(host: Host, last: Revision | None, cause: str, origin: Origin, hooks: Sequence[Ran]) -> Stamp:
    seq = last.stamp.seq + 1 if last else 1
    kept = tuple({"name": r.name, "exit": r.exit, "output": clean_text(r.output)} for r in hooks)
    return Stamp(host.name, host.machine, seq, host.now_ns(), clean_text(cause), origin.who, kept)


def note(host: Host, seen: Difference) -> None:
    """Write into the index what a look has found but for the changes: those are still to be captured."""
    _remember(host, seen._replace(changed=[]), {})


class _Rows:
    """The rows that the index is to have, made when they are asked for: of a first capture they are many."""

    def __init__(self, difference: Difference) -> None:
        self._difference = difference

    def __iter__(self) -> Iterator[Row]:
        for f in self._difference.changed:
            if f.entry is not None:
                yield Row(f.directory, f.name, f.signature, f.inode, render_entry(f.entry))
        yield from self._difference.refreshed


def _remember(host: Host, difference: Difference, values: dict[str, bytes]) -> None:
    """Write the index: rows, what was skipped within the scope, and how often files change."""
    changed = difference.changed
    gone = [(f.directory, f.name) for f in changed if f.entry is None]
    kept = {(f.directory, f.name) for f in changed if f.entry is not None} if gone else set()
    anew = {f.path for f in changed}
    skipped: dict[bytes, str | None] = {
        path: None
        for path, reason in host.index.skipped().items()
        if any(is_below(path, top) for top in difference.scope)
        and (path in anew or not reason.startswith(TOO_LARGE))  # as it was, it had no reason to be told again
    }
    skipped.update((item.path, item.reason) for item in difference.skipped)
    now = host.now_ns()
    paces = host.index.paces() if changed and values else {}
    noted = {
        f.path: pace.render(pace.note(pace.parse(paces[f.path]) if f.path in paces else None, now))
        for f in difference.changed
        if values and f.row is not None and f.entry is not None and f.name != b"."
    }
    if changed or difference.refreshed or skipped or values or difference.normals:
        host.index.change(
            rows=_Rows(difference),
            removed=[key for key in gone if key not in kept],
            values=values,
            paces=noted,
            skipped=skipped,
            normals=difference.normals,
        )


def summarise(cause: str, changes: Sequence[Change], facts: str = "") -> str:
    """A message for who gave none: `modify /etc/hosts`, `capture: 12 changes in /etc`; `facts` in words."""
    if not changes:
        return clean_text(facts) or "facts of the system"
    verbs = {"added": "add", "modified": "modify", "removed": "remove", "metadata": "change metadata of"}
    first = show_path(changes[0].path)
    prefix = "" if cause == "capture" else f"{cause}: "
    if len(changes) == 1:
        return clean_text(f"{prefix}{verbs[changes[0].change]} {first}")
    parts = first.split("/")
    for other in (show_path(change.path) for change in changes):
        while parts and not (other + "/").startswith("/".join(parts) + "/"):
            parts.pop()
    return clean_text(f"{cause}: {len(changes)} changes in {'/'.join(parts) or '/'}")
