"""The state of a host at a revision, with what that still owed of an earlier one brought in.

Called by `ops/rebuild_plan`, which aims at it, by captures and rebuilds, which write down what is owed
(`core/owed`), and by `doctor`. A machine that goes on with a host's line records first what it had itself:
whatever is still as it was there, since a rebuild was killed, or came short, is what the revision aimed at
says; whatever somebody changed since is as it is. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from pacha.core import accounts, owed
from pacha.core.entry import DIRECTORY, FILE, Entry, content_digest, parse_entry, render_entry
from pacha.core.errors import NotFound
from pacha.core.facts import Facts
from pacha.core.names import ancestors, content_path, join
from pacha.core.owed import OWED, Aim
from pacha.core.revision import Revision
from pacha.core.rules import RULES, Rules, own_config
from pacha.core.secrets import SECRETS
from pacha.ops.facts import damaged, facts_at
from pacha.ops.host import Host, Past
from pacha.ops.tip import last_of, lines_at, text_at

_LONGEST = 100  # revisions that one state is made of: more were never owed by a machine
K = TypeVar("K")
V = TypeVar("V")


class Owed(NamedTuple):
    """What a state lacks: of what is as it was at `base`, the revision `aim` has it as it shall be."""

    base: Revision
    aim: Revision
    is_exact: bool


class State(NamedTuple):
    """Metadata lines by path, the position that each content comes from, where not `revision`'s, contents
    that are in no revision, the text of the rules, that of what is secret and for whom, and the facts of the
    system.
    """

    revision: Revision
    lines: dict[bytes, bytes]
    origins: Mapping[bytes, int]
    made: Mapping[bytes, bytes]
    rules: bytes
    secrets: bytes
    facts: Facts


def chain(source: Past, revision: Revision) -> list[Revision]:
    """The revisions that the state at one is made of, that one first."""
    found = [revision]
    while (lacks := owed_at(source, found[-1])) is not None:
        if len(found) > _LONGEST:
            raise damaged(source, revision, "it owes what others owed, without end")
        found += [lacks.base, lacks.aim]
        if lacks.is_exact:
            break
    return found


def owed_at(source: Past, revision: Revision) -> Owed | None:
    """What is owed at a revision; None where nothing is. Raise DamagedStore where that makes no sense."""
    text = text_at(source, revision.position, OWED)
    if not text:
        return None
    aim = _parsed(source, revision, text)
    found = _named(source, aim)
    base = _written_at(source, revision)
    # Where the line was never taken it does not have that revision, nor anything of the host.
    return Owed(base, found, aim.is_exact) if found is not None and found.position < base.position else None


def owes_at(source: Past, revision: Revision) -> bool:
    """Whether something is owed at a revision, whether or not it is to be had."""
    return bool(text_at(source, revision.position, OWED))


def _parsed(source: Past, revision: Revision, text: bytes) -> Aim:
    try:
        return owed.parse(text)
    except ValueError as problem:
        raise damaged(source, revision, str(problem)) from problem


def _written_at(source: Past, revision: Revision) -> Revision:
    return next(source.store.history([OWED], revision.position, 1))


def _named(source: Past, aim: Aim) -> Revision | None:
    """The revision of a hash, also where it came again on top of another line since."""
    try:
        return source.store.find(aim.node)
    except NotFound:
        return next((one for one in source.store.history() if one.stamp.again == aim.node), None)


def state_at(source: Past, revision: Revision, *, exact: bool = False) -> State:
    """What the host was then; `exact`: without what it owed."""
    state = _as_stored(source, revision)
    lacks = None if exact else owed_at(source, revision)
    if lacks is None:
        return state
    base, aim = _as_stored(source, lacks.base), state_at(source, lacks.aim, exact=lacks.is_exact)
    return _brought_in(source, state, base, aim)


def _as_stored(source: Past, revision: Revision) -> State:
    position = revision.position
    lines = {
        join(directory, name): line
        for directory, names in lines_at(source, position, []).items()
        for name, line in names.items()
    }
    rules, secrets = (text_at(source, position, path) for path in (RULES, SECRETS))
    return State(revision, lines, {}, {}, rules, secrets, facts_at(source, revision))


def _brought_in(source: Past, now: State, base: State, aim: State) -> State:
    """The state `now`, but what is as at `base` as it is at `aim`."""
    lines, origins = dict(now.lines), dict(now.origins)
    rules = _rules(now.rules, base.rules, aim.rules)
    # Pacha itself writes into it that it is the host now, and what it watches.
    own = {own_config(path) for path in Rules.parse(rules).own} if rules else set()
    for path in now.lines.keys() | aim.lines.keys():
        line, wanted = now.lines.get(path), aim.lines.get(path)
        is_left = _is_same(line, base.lines.get(path)) or (path in own and wanted is not None)
        if line == wanted or not is_left:
            continue
        if wanted is None:
            del lines[path]
        else:
            lines[path] = wanted
            origins[path] = aim.origins.get(path, aim.revision.position)
    _make_fit(lines, origins, now, aim)
    made = {path: text for path, text in aim.made.items() if lines.get(path) == aim.lines[path]}
    for path in accounts.FILES:
        if _is_merged(path, now, base, aim):
            made[path] = accounts.merged(*(_content(source, each, path) for each in (now, base, aim)))
            entry = parse_entry(aim.lines[path])._replace(sha256=content_digest(made[path]))
            lines[path] = render_entry(entry._replace(mtime=parse_entry(now.lines[path]).mtime))
    return State(
        now.revision,
        lines,
        origins,
        made,
        rules,
        _chosen(now.secrets, base.secrets, aim.secrets),
        _facts(now.facts, base.facts, aim.facts),
    )


def _is_merged(path: bytes, now: State, base: State, aim: State) -> bool:
    """Whether a list of accounts is another everywhere, and can be read."""
    lines = [each.lines.get(path) for each in (now, base, aim)]
    if len({*lines}) != len(lines) or lines[0] is None or lines[2] is None:
        return False
    entries = [parse_entry(line) for line in lines if line is not None]
    return all(entry.kind == FILE and entry.has_content and not entry.sealed for entry in entries)


def _content(source: Past, state: State, path: bytes) -> bytes:
    if path in state.made:
        return state.made[path]
    position = state.origins.get(path, state.revision.position)
    files = source.store.files(position, [content_path(path)])
    return next(iter(source.store.contents(list(files.items()))), None) or b""


def _rules(now: bytes, base: bytes, aim: bytes) -> bytes:
    """Those of the aim, and what somebody has watched or ignored besides: what a machine lacks of the
    configuration is no rule of its own.
    """
    if not (now and base and aim):
        return now or aim
    has, had, wanted = map(Rules.parse, (now, base, aim))
    watches = [*wanted.watches, *(path for path in has.watches if path not in had.watches)]
    ignores = [*wanted.ignores, *(one for one in has.ignores if one not in (*had.ignores, *wanted.ignores))]
    return Rules(watches, ignores, wanted.size, wanted.excluded, wanted.own).render()


def _chosen(now: V, base: V, aim: V) -> V:
    return aim if now == base else now


def _each(now: Mapping[K, V], base: Mapping[K, V], aim: Mapping[K, V]) -> dict[K, V]:
    found = {}
    for key in now.keys() | aim.keys():
        value = _chosen(now.get(key), base.get(key), aim.get(key))
        if value is not None:
            found[key] = value
    return found


def _facts(now: Facts, base: Facts, aim: Facts) -> Facts:
    families = now.packages.keys() | aim.packages.keys()
    every = {
        family: _each(*(one.packages.get(family, {}) for one in (now, base, aim))) for family in families
    }
    return Facts(
        _chosen(now.os, base.os, aim.os),
        {family: packages for family, packages in every.items() if packages},
        _chosen(now.wanted, base.wanted, aim.wanted),
        _each(now.repositories, base.repositories, aim.repositories),
    )


def _is_same(one: bytes | None, other: bytes | None) -> bool:
    """Whether nothing was done to an entry: its time alone, or the number that its owner's name got, may be
    another.
    """
    if one is None or other is None or one == other:
        return one == other
    return _essence(parse_entry(one)) == _essence(parse_entry(other))


def _essence(entry: Entry) -> Entry:
    numberless = entry._replace(
        uid=entry.uid if not entry.user else 0, gid=entry.gid if not entry.group else 0
    )
    return numberless.essence()


def _make_fit(lines: dict[bytes, bytes], origins: dict[bytes, int], now: State, aim: State) -> None:
    """Keep the folders of what somebody changed; take out what that left no place for, and the name of one
    file from two states.
    """
    kept = {above for path in lines if path not in origins for above in ancestors(path) if above in now.lines}
    for path in kept:
        if not lines.get(path, b"").startswith(DIRECTORY + b"\t"):
            lines[path] = now.lines[path]
            origins.pop(path, None)
    for path in sorted(path for path in origins if path in lines):
        above = [each for each in ancestors(path) if each in now.lines or each in aim.lines]
        if any(not lines.get(each, b"").startswith(DIRECTORY + b"\t") for each in above):
            del lines[path]
            continue
        entry = parse_entry(lines[path])
        if entry.link is not None and lines.get(entry.link) != aim.lines.get(entry.link):
            lines[path] = render_entry(entry._replace(link=None))


# -- writing it down -----------------------------------------------------------------------------------------


def owed_text(host: Host, aim: Revision, *, is_exact: bool, is_own: bool = False) -> str:
    """What `facts/owed` is to be from now on; `is_own` where the machine was the host until now. Where its
    newest state owes something already, and that is aimed at, it stays as it is.
    """
    last = last_of(host)
    present = text_at(host, last.position, OWED) if last is not None and last.node == aim.node else b""
    if present and not is_exact:
        return present.decode()
    return owed.render(Aim(aim.node, is_exact, is_own), host.now_ns()).decode()


def anew(host: Host, text: str) -> str:
    """The same, written at another time: what is there then is what the machine had itself."""
    return owed.render(owed.parse(text.encode()), host.now_ns()).decode()


def still_owed(host: Host, aim: Revision, *, is_exact: bool) -> dict[bytes, bytes]:
    """The texts to store with what a rebuild to `aim` has left that came short."""
    last = last_of(host)
    text = text_at(host, last.position, OWED) if last is not None else b""
    is_own = last is not None and bool(text) and _parsed(host, last, text).is_own
    return {OWED: owed.render(Aim(aim.node, is_exact, is_own), host.now_ns())}


def owed_again(host: Host, target: Revision) -> dict[bytes, bytes]:
    """The texts to store where all that a machine had at `target` is brought back: what that owed is owed
    again, and what a rebuild since then has added is not.
    """
    last = last_of(host)
    if last is None:
        return {}
    is_written_there = OWED in target.files
    host_at = _was_host_at(host, target) if is_written_there else target
    now, then = (text_at(host, each.position, OWED) for each in (last, host_at))
    if then == now:
        return {}
    if not then:
        return {OWED: b""} if _was_host_at(host, last).node == host_at.node else {}
    if is_written_there and host_at.node == target.node:
        return {OWED: anew(host, then.decode()).encode()}
    # What was done while it was owed stays: that state, as it was to be, is what is aimed at.
    return {OWED: owed.render(Aim(host_at.node, is_exact=False), host.now_ns())}


def _was_host_at(host: Host, revision: Revision) -> Revision:
    """The newest up to this one that owes nothing for a rebuild which began when the machine was the host."""
    while text := text_at(host, revision.position, OWED):
        written_at = _written_at(host, revision)
        if not _parsed(host, revision, text).is_own or written_at.position == 0:
            break
        revision = host.store.at(written_at.position - 1)
    return revision


def owes(host: Host) -> bool:
    """Whether this host's newest revision says that something is owed."""
    last = last_of(host)
    return last is not None and owes_at(host, last)


def to_be_noted(host: Host) -> dict[bytes, bytes]:
    """The texts that the next capture has to store, of the whole machine: a rebuild has taken the line and
    not recorded yet what the machine had itself, or was killed while packages were installed, whose files
    count as that. None in any other case.
    """
    written = host.rebuild_file.read()
    told = written[0] if written is not None else {}
    text = told.get("installing") or told.get("owed")
    last = last_of(host)
    if not isinstance(text, str) or (last and text_at(host, last.position, OWED) == text.encode()):
        return {}
    return {OWED: text.encode()}
