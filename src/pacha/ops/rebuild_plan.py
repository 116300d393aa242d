"""What a rebuild will do, found out without changing anything: desired − actual, for packages, accounts and
files.

Called by `ops/rebuild`, before a person is asked and again for each part that is done. The desired state
comes from a source, which is any history: this host's own, a server's copy, a plain clone. It is not
believed: what lies outside its own rules, and device nodes, are not made; what makes no sense is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pacha.core import accounts, packages
from pacha.core.accounts import NOBODY, People
from pacha.core.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FILE,
    Entry,
    content_digest,
    parse_entry,
    render_entry,
)
from pacha.core.errors import NotFound, Refused
from pacha.core.facts import Facts
from pacha.core.identity import identity
from pacha.core.names import ancestors, content_path, is_below, join, outermost, split
from pacha.core.owed import OWED
from pacha.core.packages import Deviation, PackageStep
from pacha.core.plan import CREATE, Step
from pacha.core.quantities import format_when
from pacha.core.revision import REBUILD, Revision
from pacha.core.rules import Rules, own_config
from pacha.core.shown import shown
from pacha.ops.history import resolve
from pacha.ops.host import Host, Past
from pacha.ops.owed import owed_at, owes_at, state_at
from pacha.ops.rebuild_obtainable import doubts
from pacha.ops.restore import Planned, live_state, plan, refuse_closed, stored_contents
from pacha.ops.secrets import opened

PARTS = ("packages", "users", "files", "hooks")
MOMENTS = (b"check", b"pre-rebuild", b"post-rebuild")
_NAMED_AT_MOST = 10  # of accounts that clash


class Request(NamedTuple):
    """What a person asked for; `name` is the host that is rebuilt, `to` None for its newest state."""

    name: str
    to: str | None = None
    only: tuple[bytes, ...] = ()
    skip: frozenset[str] = frozenset()
    as_new: str = ""

    def wants(self, part: str) -> bool:
        """Whether one of PARTS is to be done; of `--only` paths only the files."""
        return part not in self.skip and (not self.only or part == "files")


class Desired(NamedTuple):
    """The state that is aimed at: `lines` are metadata lines by path, within `scope` and its rules."""

    target: Revision
    rules: Rules
    scope: tuple[bytes, ...]
    lines: dict[bytes, bytes]
    origins: Mapping[bytes, int]  # the positions of contents that are not the target's
    made: Mapping[bytes, bytes]  # contents that are in no revision
    above: dict[bytes, bytes]  # the directories above the scope, made where they are missing
    facts: Facts
    hooks: tuple[bytes, ...]  # paths of the hooks for a rebuild that it holds itself
    kept: tuple[tuple[str, bytes], ...]  # (what it is, path) of this machine's identity: left alone
    secrets: bytes  # the text of what is secret, and for whom


class Draft(NamedTuple):
    """The plan, as a person sees it; `words` are what is to be known before saying yes."""

    desired: Desired
    packages: list[PackageStep]
    deviations: list[Deviation]
    people: People
    files: Planned
    words: list[str]
    takes_history: bool = False  # this machine is to go on with a line that it does not have
    goes_on: bool = False  # with what was interrupted
    settles: bool = False  # what the machine owed is there, and the history is to say so
    hooks: tuple[bytes, ...] = ()  # those of the history that will run
    new_name: str = ""  # what this machine is called from now on, where it is not yet

    @property
    def refused(self) -> list[Step]:
        """What cannot be as it was."""
        return [step for step in self.files.steps if step.refused]

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it was, as far as it can be."""
        is_done = len(self.refused) == len(self.files.steps)
        more = self.packages or self.people.accounts or self.takes_history or self.new_name
        return is_done and not more and not self.goes_on and not self.settles


def target_of(source: Past, to: str | None, machine: str = "") -> Revision:
    """The revision that is meant: the newest. But where it is to be this `machine`, not what that captured
    without being rebuilt, if another one was the host before.
    """
    if to is not None:
        return resolve(source, to)
    newest = next(source.store.history(limit=1), None)
    if newest is None:
        raise NotFound(f"there is no history of {source.name}", hint="pacha host list, on the server")
    is_ours = newest.stamp.machine == machine
    return (is_ours and last_of_another(source.store.history(), newest)) or newest


def last_of_another(line: Iterable[Revision], newest: Revision) -> Revision | None:
    """The last revision, in a line from its end, of the machine that was the host before, where that of
    `newest` has nothing of it by a rebuild.
    """
    for revision in line:
        if revision.position > newest.position:
            continue
        if revision.stamp.machine != newest.stamp.machine:
            return revision
        if OWED in revision.files or revision.stamp.cause == REBUILD:
            return None
    return None


def desire(host: Host, source: Past, target: Revision, request: Request) -> Desired:
    """What shall be, by the source's revision, which `rebuild_source.check_source` has looked at."""
    state = state_at(source, target, exact=request.to is not None)
    rules, everything = Rules.parse(state.rules) if state.rules else host.rules, state.lines
    covered = {p: line for p, line in everything.items() if rules.covers(p, line.startswith(b"dir\t"))}
    scope = tuple(outermost(request.only)) if request.only else rules.watches
    lines = {path: line for path, line in covered.items() if is_within(path, scope)}
    for path in request.only:
        if not any(is_below(each, path) for each in lines):
            raise NotFound(f"nothing of {shown(path)} was there at {target.id}", hint=_where(host, source))
    kept = tuple(
        (what, path) for path in sorted(lines) if (what := identity(path)) and _is_kept(path, request)
    )
    if request.as_new and host.name == request.as_new:
        own = [path for path in map(own_config, rules.own) if path in lines and host.tree.lstat(path)]
        kept += tuple(("configuration of this host", path) for path in own)
    for _, path in kept:
        del lines[path]
    if not request.wants("users"):
        lines = {path: line for path, line in lines.items() if path not in accounts.FILES or request.only}
    above = _above(scope, lines, everything)
    hooks = _hooks(rules, covered, request)
    return Desired(
        target, rules, scope, lines, state.origins, state.made, above, state.facts, hooks, kept, state.secrets
    )


def _where(host: Host, source: Past) -> str:
    """What tells which revision has something."""
    if source.store.path == host.store.path:
        return "pacha log tells what was, and when: --to R"
    return f"pacha log --host {source.name}" if host.config.servers else "name an earlier revision: --to R"


def is_within(path: bytes, scope: Iterable[bytes]) -> bool:
    """Whether a path is one of these, or lies below one."""
    return any(is_below(path, top) for top in scope)


def _is_kept(path: bytes, request: Request) -> bool:
    """A copy of the host, or one thing of it elsewhere, must not become the host."""
    return bool(request.as_new or request.only) and path not in request.only


def _above(
    scope: Iterable[bytes], lines: Mapping[bytes, bytes], everything: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """The directories above the scope, as they were where that is known."""
    plain = render_entry(Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root"))
    wanted = {
        above for top in scope if any(is_below(path, top) for path in lines) for above in ancestors(top)
    }
    return {path: everything.get(path, plain) for path in wanted}


def _hooks(rules: Rules, lines: Mapping[bytes, bytes], request: Request) -> tuple[bytes, ...]:
    """The executables of `<own>/hooks/<moment>/`, by name."""
    if not request.wants("hooks"):
        return ()
    folders = [own if own.endswith(b"/hooks") else own + b"/hooks" for own in rules.own]
    places = {join(folder, moment) for folder in folders for moment in MOMENTS}
    entries = {path: parse_entry(line) for path, line in lines.items() if split(path)[0] in places}
    return tuple(sorted(p for p, entry in entries.items() if entry.kind == FILE and entry.mode & 0o111))


# -- the plan --------------------------------------------------------------------------------------


def draft(host: Host, source: Past, desired: Desired, request: Request) -> Draft:
    """The whole plan. Raise Refused where numbers of accounts clash."""
    words = [f"{what} left alone: {shown(path)}" for what, path in desired.kept]
    steps: list[PackageStep] = []
    deviations: list[Deviation] = []
    if request.wants("packages"):
        steps, deviations = plan_packages(host, desired.facts)
    people = plan_people(host, source, desired) if request.wants("users") else NOBODY
    if people.clashes:
        hint = "take away those accounts of this machine first, or --skip users"
        raise Refused(_clash(people), hint=hint)
    words += [f"{kind} {name} is not in the history, and will not be any more" for kind, name in people.gone]
    if any(accounts.moves(people, kind) for kind in accounts.KINDS):
        words.append(
            "files outside the watched paths follow their owners' numbers; no rollback takes that back"
        )
    words += _other_system(host, desired)
    words += _words_on_the_line(source, desired.target, request)
    files = Planned([], {})
    if request.wants("files"):
        files = plan_files(host, source, desired, lambda _path: True)
        if people.accounts:  # owners that are not here yet: they will be when the files come
            files = files._replace(notes={})
        back = [step.path for step in files.steps if step.after is not None and not step.refused]
        words += [f"{what} restored: {shown(path)}" for path in back if (what := identity(path))]
    doubtful = doubts(host, steps, _are_repositories_settled(host, desired, files))
    steps, deviations, words = doubtful.steps, deviations + doubtful.deviations, words + doubtful.words
    return Draft(desired, steps, deviations, people, files, words)


def _are_repositories_settled(host: Host, desired: Desired, files: Planned) -> bool:
    """Whether packages come from where they come from now: no list or key is to be written before."""
    places = host.system.repositories()
    pending = (step for step in files.steps if not step.refused and is_within(step.path, places))
    return next(pending, None) is None and not key_steps(host, desired.facts)


def _clash(people: People) -> str:
    words = [
        f"{one.kind} number {one.number} is {one.wanted}'s in the history, and {one.present}'s here"
        for one in people.clashes[:_NAMED_AT_MOST]
    ]
    more = len(people.clashes) - len(words)
    return "; ".join(words) + (f" ({more} more such)" if more else "")


def _other_system(host: Host, desired: Desired) -> list[str]:
    was, here = desired.facts.os, host.system.release()
    keys = ("id", "version", "machine")
    if not was or not here or all(was.get(key) == here.get(key) for key in keys):
        return []
    words = [" ".join(one.get(key, "?") for key in keys) for one in (was, here)]
    return [f"this is another system: {words[1]}, and it was {words[0]}"]


def _words_on_the_line(source: Past, target: Revision, request: Request) -> list[str]:
    """What is to be known of the line before saying yes to where it is aimed at: whatever is newer, and what
    is not the target's own.
    """
    lacks = owed_at(source, target)
    if request.to is not None:
        told = "not wholly rebuilt then: what it lacked, this lacks; without --to that comes, too"
        return [told] if lacks is not None else []
    words = []
    line = list(source.store.history())
    newer = [one for one in line if one.position > target.position]
    if newer:
        count = "a newer revision is" if len(newer) == 1 else f"{len(newer):,} newer revisions are"
        when = format_when(newer[0].stamp.time_ns)
        words.append(f"{count} of this machine, not of the host; the newest, of {when}: --to {newer[0].id}")
    before = last_of_another(line, target)
    if before is not None:
        until = f"until {before.id} another machine was the host"
        words.append(f"{until}; the one since then was never rebuilt: --to {before.id}")
    if lacks is None and owes_at(source, target):
        words.append("not wholly rebuilt, and what it lacks is not in this history: take the server's")
    if lacks is not None:
        since = format_when(lacks.base.stamp.time_ns)
        words.append(f"not wholly rebuilt since {since}: what it lacks comes from {lacks.aim.id}")
    return words


def plan_packages(host: Host, told: Facts) -> tuple[list[PackageStep], list[Deviation]]:
    """What is to be installed, and what is known to be another version. Raise Refused for another family."""
    captured = next(iter(told.packages.items()), ("", {}))
    if not captured[1] and not told.wanted:
        return [], []
    if captured[0] not in ("", host.system.family()):
        here = host.system.family() or "no package manager"
        raise Refused(f"the packages are {captured[0]}'s, and here is {here}", hint="--skip packages")
    present = host.system.present()
    lacking = [n for n, package in captured[1].items() if present.get(n) != package.version]
    available = host.system.available([*lacking, *told.wanted])
    return packages.plan(captured[1], told.wanted, present, host.system.installed(), available)


def plan_people(host: Host, source: Past, desired: Desired) -> People:
    """Accounts compared; nothing to do where one of the two has no /etc/passwd."""
    here = {kind: host.system.read(path) for kind, path in accounts.KINDS.items()}
    if not here["user"] or accounts.PASSWD not in desired.lines:
        return NOBODY
    paths = [path for path in accounts.KINDS.values() if path in desired.lines]
    texts = texts_of(source, desired, paths)
    return accounts.compare({kind: texts.get(path, b"") for kind, path in accounts.KINDS.items()}, here)


def texts_of(source: Past, desired: Desired, paths: Collection[bytes]) -> dict[bytes, bytes]:
    """The contents of some files as they shall be, without those that are not to be had."""
    nodes = nodes_of(source, desired, paths)
    contents = list(source.store.contents([(content_path(path), node) for path, node in nodes.items()]))
    found = {path: data for path, data in zip(nodes, contents, strict=True) if data is not None}
    found.update((path, desired.made[path]) for path in paths if path in desired.made)
    lines = {path: desired.lines[path] for path in found if path in desired.lines}
    return found | {
        path: opened(source, path, parse_entry(line), found[path]) for path, line in lines.items()
    }


def nodes_of(source: Past, desired: Desired, paths: Iterable[bytes]) -> dict[bytes, bytes]:
    """The file hash of each path that has a stored content, in the revision that it comes from."""
    by_position: dict[int, dict[bytes, bytes]] = {}
    for path in paths:
        if path in desired.made:
            continue
        position = desired.origins.get(path, desired.target.position)
        by_position.setdefault(position, {})[content_path(path)] = path
    found: dict[bytes, bytes] = {}
    for position, wanted in by_position.items():
        files = source.store.files(position, list(wanted))
        found.update((wanted[path], node) for path, node in files.items())
    return found


def contents_of(source: Past, desired: Desired, steps: Sequence[Step]) -> Iterator[bytes | None]:
    """The content of each step, None where there is none."""
    stored = stored_contents(source, stored_nodes(source, desired, steps), steps)
    for step, data in zip(steps, stored, strict=True):
        yield desired.made.get(step.path, data)


def stored_nodes(source: Past, desired: Desired, steps: Iterable[Step]) -> dict[bytes, bytes]:
    """The same of the paths of steps."""
    paths = [step.path for step in steps if step.after is not None and step.after.has_content]
    return nodes_of(source, desired, paths)


def plan_files(host: Host, source: Past, desired: Desired, is_meant: Callable[[bytes], bool]) -> Planned:
    """The steps for the files that are meant, from what is there now."""
    live = live_state(host, desired.scope)
    kept = {path for _, path in desired.kept}

    def may_remove(path: bytes, entry: Entry) -> bool:
        return (
            path not in kept
            and not _spared(path, desired)
            and desired.rules.covers(path, entry.kind == b"dir")
        )

    present = {path: line for path, line in live.lines.items() if is_meant(path)}
    above = {path: line for path, line in desired.above.items() if host.tree.lstat(path) is None}
    wanted = {path: line for path, line in {**above, **desired.lines}.items() if is_meant(path)}
    planned = plan(host, present, wanted, live.difference, may_remove)
    planned = planned._replace(steps=[_guarded(host, step) for step in planned.steps])
    stored = stored_nodes(source, desired, planned.steps)
    return refuse_closed(host, source, planned, partial(stored_contents, source, stored))


def _spared(path: bytes, desired: Desired) -> bool:
    """This machine's identity, where that is left alone, and accounts, where these are."""
    is_left_alone = bool(desired.kept) and bool(identity(path))
    return is_left_alone or (path in accounts.FILES and path not in desired.lines)


def _guarded(host: Host, step: Step) -> Step:
    """The step, refused where a history from elsewhere must not have its way."""
    after = step.after
    if after is None or step.refused:
        return step
    if after.kind in (BLOCK, CHARACTER) and (step.before is None or step.before.kind != after.kind):
        return step._replace(refused="a rebuild makes no device nodes: pacha rollback does")
    known = host.tree.accounts
    is_nobodys = (after.mode & 0o4000 and after.uid and not known.user(after.uid)) or (
        after.mode & 0o2000 and after.gid and not known.group(after.gid)
    )
    if after.kind == FILE and is_nobodys and host.system.read(accounts.PASSWD):
        return step._replace(refused="it would run with the rights of an account that does not exist here")
    return step


def key_steps(host: Host, told: Facts) -> list[tuple[Step, bytes]]:
    """Steps, with their contents, for keys of repositories that were kept as facts and are missing here."""
    steps = []
    for path, data in sorted(told.repositories.items()):
        if host.tree.lstat(path) is None:
            entry = Entry(FILE, 0o644, 0, b"root", 0, b"root", host.now_ns(), content_digest(data))
            steps.append((Step(CREATE, path, None, entry, "a key of a package repository"), data))
    return steps
