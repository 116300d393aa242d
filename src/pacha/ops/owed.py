"""The state of a host at a revision, with what that still owed of an earlier one brought in.

Called by `ops/rebuild_plan`, which aims at it, by captures and rebuilds, which write down what is owed
(`core/owed`), and by `doctor`. A machine that goes on with a host's line records first what it had itself:
whatever is still as it was there, since a rebuild was killed, or came short, is what the revision aimed at
says; whatever somebody changed since is as it is. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from pacha.core import owed
from pacha.core.entry import DIRECTORY, Entry, parse_entry, render_entry
from pacha.core.errors import NotFound
from pacha.core.facts import Facts
from pacha.core.names import ancestors, join
from pacha.core.owed import OWED, Aim
from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.secrets import SECRETS
from pacha.ops.facts import damaged, facts_at
from pacha.ops.host import Host, Past
from pacha.ops.tip import last_of, lines_at, text_at

K = TypeVar("K")
V = TypeVar("V")


class Owed(NamedTuple):
    """What a state lacks: of what is as it was at `base`, the revision `aim` has it as it shall be."""

    base: Revision
    aim: Revision
    is_exact: bool


class State(NamedTuple):
    """Metadata lines by path, the position that each content comes from, where not `revision`'s, the text of
    the rules, that of what is secret and for whom, and the facts of the system.
    """

    revision: Revision
    lines: dict[bytes, bytes]
    origins: Mapping[bytes, int]
    rules: bytes
    secrets: bytes
    facts: Facts


def chain(source: Past, revision: Revision) -> list[Revision]:
    """The revisions that the state at one is made of, that one first."""
    found = [revision]
    lacks = owed_at(source, revision)
    if lacks is not None:
        found += [lacks.base, *([lacks.aim] if lacks.is_exact else chain(source, lacks.aim))]
    return found


def owed_at(source: Past, revision: Revision) -> Owed | None:
    """What is owed at a revision; None where nothing is. Raise DamagedStore where that makes no sense."""
    text = text_at(source, revision.position, OWED)
    if not text:
        return None
    try:
        aim = owed.parse(text)
    except ValueError as problem:
        raise damaged(source, revision, str(problem)) from problem
    found = _named(source, aim)
    base = next(source.store.history([OWED], revision.position, 1))
    # Where the line was never taken it does not have that revision, nor anything of the host.
    return Owed(base, found, aim.is_exact) if found is not None and found.position < base.position else None


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
    return _brought_in(
        state, _as_stored(source, lacks.base), state_at(source, lacks.aim, exact=lacks.is_exact)
    )


def _as_stored(source: Past, revision: Revision) -> State:
    position = revision.position
    lines = {
        join(directory, name): line
        for directory, names in lines_at(source, position, []).items()
        for name, line in names.items()
    }
    rules, secrets = (text_at(source, position, path) for path in (RULES, SECRETS))
    return State(revision, lines, {}, rules, secrets, facts_at(source, revision))


def _brought_in(now: State, base: State, aim: State) -> State:
    """The state `now`, but what is as at `base` as it is at `aim`."""
    lines, origins = dict(now.lines), dict(now.origins)
    for path in now.lines.keys() | aim.lines.keys():
        line, wanted = now.lines.get(path), aim.lines.get(path)
        if line == wanted or not _is_same(line, base.lines.get(path)):
            continue
        if wanted is None:
            del lines[path]
        else:
            lines[path] = wanted
            origins[path] = aim.origins.get(path, aim.revision.position)
    _make_fit(lines, origins, now, aim)
    return State(
        now.revision,
        lines,
        origins,
        _chosen(now.rules, base.rules, aim.rules),
        _chosen(now.secrets, base.secrets, aim.secrets),
        _facts(now.facts, base.facts, aim.facts),
    )


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
    """Take out what somebody's change left no place for, and the name of one file from two states."""
    for path in sorted(path for path in origins if path in lines):
        above = [each for each in ancestors(path) if each in now.lines or each in aim.lines]
        if any(not lines.get(each, b"").startswith(DIRECTORY + b"\t") for each in above):
            del lines[path]
            continue
        entry = parse_entry(lines[path])
        if entry.link is not None and lines.get(entry.link) != aim.lines.get(entry.link):
            lines[path] = render_entry(entry._replace(link=None))


# -- writing it down -----------------------------------------------------------------------------------------


def owed_text(host: Host, aim: Revision, *, is_exact: bool) -> bytes:
    """What `facts/owed` is to be from now on."""
    return owed.render(Aim(aim.node, is_exact), host.now_ns())


def owed_again(host: Host, target: Revision) -> dict[bytes, bytes]:
    """The texts to store where what a machine had at `target`, before it was rebuilt, is brought back."""
    text = text_at(host, target.position, OWED)
    return {OWED: owed.render(owed.parse(text), host.now_ns())} if text else {}


def owes(host: Host) -> bool:
    """Whether this host's newest revision says that something is owed."""
    last = last_of(host)
    return last is not None and bool(text_at(host, last.position, OWED))


def to_be_noted(host: Host) -> dict[bytes, bytes]:
    """The texts that the next capture has to store, of the whole machine: a rebuild was killed between taking
    the line and recording what the machine had itself. None in any other case.
    """
    written = host.rebuild_file.read()
    text = written[0].get("owed") if written is not None and "before" not in written[0] else None
    return {OWED: text.encode()} if isinstance(text, str) else {}
