"""Restore: from a desired state of some paths to a plan, and from the plan to live files, a settled journal
and a revision.

Called by rollback and by undo (confirm, failed hooks); rebuild and push will call it too. What is there now
is captured before anything is touched, and the outcome afterwards, so nothing is lost by going back. It asks
nobody and knows no verb's own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pacha.core import acl
from pacha.core.entry import DIRECTORY, FILE, Entry, content_digest, parse_entry, render_entry
from pacha.core.errors import DamagedStore, Interrupted
from pacha.core.names import content_path, is_below, join, split
from pacha.core.plan import METADATA, REMOVE, Step, build, decide, needs_content
from pacha.core.revision import Revision
from pacha.ops.apply import Apply, Done
from pacha.ops.capture import Difference, look
from pacha.ops.heal import remove_temporaries, start_timer
from pacha.ops.host import Host, Past
from pacha.ops.ports import Journal, Spool
from pacha.ops.refusals import words_of_flags
from pacha.ops.scan import live_line
from pacha.ops.secrets import HINT, digest_of, sealed_entry, who_could
from pacha.ops.told import path_object

Contents = Callable[[Sequence[Step]], Iterator[bytes | None]]


class Live(NamedTuple):
    """What is there now: `{path: line}`, and the look that told. An unread entry has its last known line."""

    lines: dict[bytes, bytes]
    difference: Difference


class Planned(NamedTuple):
    """A plan, and what must be said of it: `notes` by path where an owner had to be replaced by a number."""

    steps: list[Step]
    notes: dict[bytes, str]


def live_state(host: Host, scope: Sequence[bytes], spool: Spool | None = None) -> Live:
    """What is there now within `scope`; with a `spool` new contents are kept for a capture.

    The look may have met other names of a file there (hard links): these are no part of it.
    """
    difference = look(host, scope, spool, None, exact=True)
    lines: dict[bytes, bytes] = {}
    for top in scope:
        for directory in host.index.directories(top):
            for name, row in host.index.rows(directory).items():
                if is_below(join(directory, name), top):
                    lines[join(directory, name)] = live_line(row)
        single = host.index.row(*split(top))
        if single is not None:
            lines[top] = live_line(single)

    def is_meant(path: bytes) -> bool:
        return any(is_below(path, top) for top in scope)

    lines.update((path, line) for path, line in difference.touched.items() if is_meant(path))
    for change in difference.changes:
        if not is_meant(change.path):
            continue
        if change.after is None:
            lines.pop(change.path, None)
        else:
            lines[change.path] = render_entry(change.after)
    return Live(lines, difference)


def plan(
    host: Host,
    live: Mapping[bytes, bytes],
    desired: Mapping[bytes, bytes],
    difference: Difference,
    may_remove: Callable[[bytes, Entry], bool],
) -> Planned:
    """The steps from the live lines to the desired ones, owners as this machine has them."""
    unread = [item.path for item in difference.skipped if item.failed]
    notes: dict[bytes, str] = {}
    actual_entries, desired_entries = {}, {}
    for path in live.keys() | desired.keys():
        if live.get(path) == desired.get(path):
            continue
        actual, wanted = as_secrets(host, path, live.get(path), desired.get(path))
        if actual is not None:
            actual_entries[path] = actual
        if wanted is not None:
            desired_entries[path], note = localise(host, wanted)
            if note:
                notes[path] = note
    steps = build(actual_entries, desired_entries, may_remove)
    told = {step.path for step in steps}
    for path in unread:
        line = desired.get(path, live.get(path))
        if path not in told and line is not None:
            steps.append(
                Step(METADATA, path, parse_entry(line), parse_entry(line), "whether it differs is not known")
            )
    checked = _refusals(host, steps, unread)
    return Planned(checked, {step.path: notes[step.path] for step in checked if step.path in notes})


def as_secrets(
    host: Host, path: bytes, live: bytes | None, desired: bytes | None
) -> tuple[Entry | None, Entry | None]:
    """Both entries; if one is a secret's, or `[secrets]` names the path, both as such: their contents can be
    compared, and the journal keeps neither in the clear.
    """
    entries = [parse_entry(line) if line is not None else None for line in (live, desired)]
    if host.secrets.named.covers(path) or any(entry and entry.secret for entry in entries):
        entries = [
            sealed_entry(host, path, entry)
            if entry and entry.kind == FILE and entry.secret is None
            else entry
            for entry in entries
        ]
    return entries[0], entries[1]


def refuse_closed(host: Host, past: Past, planned: Planned, contents: Contents) -> Planned:
    """The plan, its steps refused whose content, of that history, no key at hand opens: a dry run must not
    promise them.

    What can be opened is compared by this host's own digest: where the line's was made by a key that the host
    has no more, nothing else tells whether the content differs.
    """
    wanted = [
        step
        for step in planned.steps
        if step.after is not None and step.after.sealed and not step.refused and needs_content(step)
    ]
    found: dict[bytes, Step | None] = {}
    closed: list[Step] = []
    for step, data in zip(wanted, contents(wanted), strict=True):
        try:
            plain = host.identities.open(data) if data is not None else b""
        except DamagedStore as problem:
            found[step.path] = step._replace(refused=str(problem))
            continue
        if plain is None:
            closed.append(step)
        elif data is not None and step.after is not None:
            after = step.after._replace(secret=digest_of(host, step.path, plain))
            found[step.path] = decide(step.path, step.before, after)
    # Only now, as the store answers one question at a time.
    for step in closed:
        words = who_could(past, (step.after and step.after.sealed) or b"")
        found[step.path] = step._replace(refused=f"it is {words}: {HINT}")
    steps = [found.get(step.path, step) for step in planned.steps]
    return planned._replace(steps=[step for step in steps if step is not None])


def _refusals(host: Host, steps: Sequence[Step], unread: Sequence[bytes]) -> list[Step]:
    """The steps, those that cannot be done marked with the reason: a dry run must not promise them."""
    going = {step.path for step in steps if step.action == REMOVE}
    checked = []
    for step in steps:
        reason = step.refused
        if any(is_below(step.path, path) for path in unread):
            reason = "it cannot be read"
        elif words := words_of_flags(step):
            reason = words
        elif step.action != METADATA and step.before is not None and step.before.size is not None:
            reason = "its present content is larger than max_file_size and would be lost: move it away first"
        elif step.action != METADATA and step.after is not None and step.after.size is not None:
            reason = "its content is not in the store: it was larger than max_file_size"
        elif step.action == REMOVE and step.before is not None and step.before.kind == DIRECTORY:
            reason = _holds_others(host, step.path, going)
        if reason:
            going.discard(step.path)
        checked.append(step._replace(refused=reason))
    return checked


def _holds_others(host: Host, path: bytes, going: set[bytes]) -> str:
    try:
        with host.tree.directory(path) as directory:
            if all(join(path, name) in going for name in directory.names()):
                return ""
    except OSError:
        return ""
    return "it holds entries that are ignored, or cannot be removed"


def localise(host: Host, entry: Entry) -> tuple[Entry, str]:
    """The entry with owners as this machine numbers and names them, and words where a name is missing
    here.
    """
    known = host.tree.accounts
    missing = known.missing(entry.user, entry.group)
    uid, gid = known.user_number(entry.user, entry.uid), known.group_number(entry.group, entry.gid)
    lists = [
        words
        and acl.to_words(acl.to_binary(words, known.user_number, known.group_number), known.user, known.group)
        for words in (entry.acl, entry.default_acl)
    ]
    there = entry._replace(
        uid=uid, user=known.user(uid), gid=gid, group=known.group(gid), acl=lists[0], default_acl=lists[1]
    )
    return there, f"{' and '.join(missing)} is missing here: the number was used" if missing else ""


def perform(
    host: Host,
    journal: Journal,
    planned: Planned,
    header: dict[str, Any],
    contents: Contents,
    deadline_ns: int | None = None,
) -> list[Done]:
    """Journal the plan, do it, and mark it applied; with a deadline it is undone then."""
    work = Apply(host, journal, planned.steps)
    try:
        work.prepare(header, contents, deadline_ns)
    except BaseException:
        journal.discard()
        raise
    start_timer(host, journal)  # before anything is touched
    try:
        results = work.run()
    except (Interrupted, KeyboardInterrupt) as problem:
        remove_temporaries(host, journal)
        if deadline_ns is None:
            journal.discard()
        raise Interrupted(
            f"interrupted after {work.finished} of {len(planned.steps)} steps",
            hint="each file is as it was or as it is to be: run it again to finish",
            exit_code=getattr(problem, "exit_code", 130),
        ) from problem
    journal.mark_applied()
    return [
        done._replace(reason=planned.notes[done.step.path])
        if done.ok and done.step.path in planned.notes
        else done
        for done in results
    ]


def stored_files(host: Past, target: Revision, steps: Sequence[Step]) -> dict[bytes, bytes]:
    """The file hash, as of the target, of each step's path that has a stored content there."""
    paths = {content_path(step.path): step.path for step in steps if step.after and step.after.has_content}
    files = host.store.files(target.position, list(paths)) if paths else {}
    return {paths[path]: node for path, node in files.items()}


def stored_contents(
    host: Past, stored: Mapping[bytes, bytes], steps: Sequence[Step]
) -> Iterator[bytes | None]:
    """Each step's stored content; None where there is none."""
    wanted = [(content_path(step.path), stored[step.path]) for step in steps if step.path in stored]
    found = iter(host.store.contents(wanted))
    for step in steps:
        yield next(found) if step.path in stored else None


def planned_objects(planned: Planned) -> list[dict[str, Any]]:
    """The same of a plan that was not done."""
    return [
        {
            "action": step.action,
            **path_object(step.path),
            "ok": not step.refused,
            "reason": step.refused or planned.notes.get(step.path) or step.reason,
        }
        for step in planned.steps
    ]


def verified(contents: Iterator[bytes | None], steps: Sequence[Step]) -> Iterator[bytes | None]:
    """The contents, none for one that is not what its metadata says."""
    for step, data in zip(steps, contents, strict=True):
        wanted = step.after.sha256 if step.after is not None else None
        is_right = data is None or wanted is None or content_digest(data) == wanted
        yield data if is_right else None
