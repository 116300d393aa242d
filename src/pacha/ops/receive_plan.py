"""From a deployment to a plan: what of the live files is not as it says, and who else has changed them.

Called by `ops/receive`, before anything is touched and again after whatever may have changed what was seen.
It reads, through the tree, exactly the paths that the deployment names: no scan, no index, no store. What a
deployment says nothing about (times, access lists, attributes of a file that is there) stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.acl import with_mode
from pacha.core.deployed import Deployed, facet, last_written
from pacha.core.entry import DIRECTORY, FILE, Entry
from pacha.core.errors import ConfigError, Edited, Refused
from pacha.core.names import ancestors, is_below, outermost
from pacha.core.parcel import Deployment, Item
from pacha.core.patterns import Ignore
from pacha.core.plan import METADATA, Step, build
from pacha.core.rules import Rules
from pacha.core.shown import shown
from pacha.ops.look import Look
from pacha.ops.secrets import alike, sealed_entry

if TYPE_CHECKING:
    from pacha.ops.host import Host

# Attributes that vouch for a content: they do not go over to another.
_OF_THE_CONTENT = (b"security.capability", b"security.ima")
_WRITABLE_BY_OTHERS = 0o022
_NOBODY, _LARGEST_ACCOUNT = -1, 0xFFFFFFFF


class Others(NamedTuple):
    """A step that would undo what somebody has done: by hand, where `deployment` is empty, or with another
    deployment. Where `lost` says why, no history has what it was.
    """

    step: Step
    deployment: str = ""
    lost: str = ""


class Planned(NamedTuple):
    """The steps; `desired` is what each path shall be, `others` those that only force does, `former` how the
    deployment left what it names no more.
    """

    steps: list[Step]
    desired: dict[bytes, Entry | None]
    others: list[Others]
    former: dict[bytes, Entry | None]


def plan_deployment(host: Host, deployment: Deployment) -> Planned:
    """The plan; raise Refused where a part of it cannot be done: then nothing of it is."""
    _check_places(host, deployment)
    _check_patterns(deployment)
    look = Look(host)
    desired: dict[bytes, Entry | None] = {}
    kinds = {item.path: item.kind for item in deployment.items}
    for item in deployment.items:
        for above in ancestors(item.path)[1:]:
            if above not in kinds and above not in desired and not look.is_there(above):
                desired[above] = _owned(host, Entry(DIRECTORY, 0o755, 0, b"", 0, b""), "", "")
    for item in deployment.items:
        desired[item.path] = _desired(host, item, look.at(item.path))
    for path in deployment.absent:
        if not all(look.is_there(above) for above in ancestors(path)[1:]):
            continue
        desired.update((below, None) for below in look.all_below(path))
    wanted = {path: entry for path, entry in desired.items() if entry is not None}
    steps = build(look.entries, wanted, lambda path, _entry: path in desired)
    for step in steps:
        _check_step(look, step)
    named = {path: desired.get(path) for path in (*kinds, *deployment.absent)}
    records = host.deployments.all()
    others = _others(host, deployment.name, steps, last_written(records))
    return Planned(steps, named, others, _former(records, deployment.name, named))


def _others(
    host: Host, name: str, steps: Sequence[Step], written: Mapping[bytes, tuple[str, Entry | None]]
) -> list[Others]:
    """The steps on what is no longer as Pacha last wrote it, on what another deployment delivers, and on what
    nobody wrote down.
    """
    found, rules = [], _afterwards(host, steps)
    for step in steps:
        before = step.before
        if step.path in written:
            holder, last = written[step.path]
            if before is not None and last is not None:
                before, last = alike(host, step.path, before, last)
            if facet(before) != facet(last):
                found.append(Others(step))
            elif holder not in ("", name):
                found.append(Others(step, holder))
        elif before is not None and (why := _lost(host, rules, step, before)):
            found.append(Others(step, lost=why))
    return found


def _afterwards(host: Host, steps: Iterable[Step]) -> Rules:
    """What is watched once the steps are recorded."""
    rules = host.rules
    new = [step.path for step in steps if rules.watch_of(step.path) is None]
    return Rules([*rules.watches, *outermost(new)], rules.ignores, rules.size, rules.excluded, rules.own)


def _lost(host: Host, rules: Rules, step: Step, before: Entry) -> str:
    """Why no history gets what a step takes away, empty where one does, or nothing goes."""
    if before.kind == DIRECTORY or (step.action == METADATA and before.same_content(step.after or before)):
        return ""
    if not rules.covers(step.path):
        return "is ignored here"
    status = host.tree.lstat(step.path)
    if before.kind == FILE and status is not None and status.st_size > rules.size:
        return "is larger than max_file_size"
    return ""


def refusal(others: Sequence[Others]) -> Edited:
    """Why nothing is done without force; the hint says what else can be."""
    one = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    words = "was changed on the host since it was deployed"
    hint = "take the change over into the deployment, or --force overwrites it"
    if one.deployment:
        words = f"is delivered by another deployment, {one.deployment}"
        hint = "take it out of one of the two, or --force has this one deliver it from now on"
    elif one.lost:
        words = f"{one.lost}, so that what it holds now would be lost"
        hint = "move it away first, or --force loses it"
    return Edited(f"{shown(one.step.path)}{more} {words}", hint=hint)


def _former(
    records: Iterable[Deployed], name: str, named: Mapping[bytes, Entry | None]
) -> dict[bytes, Entry | None]:
    known = next((record for record in records if record.deployment == name), None)
    if known is None:
        return {}
    return {path: entry for path, entry in {**known.former, **known.entries}.items() if path not in named}


# -- what shall be -------------------------------------------------------------------------------------------


def _desired(host: Host, item: Item, live: Entry | None) -> Entry:
    """The entry of an item; of a live one of the same kind, what the item does not speak of stays."""
    entry = Entry(item.kind, item.mode, 0, b"", 0, b"")
    if item.kind == FILE:
        entry = entry._replace(sha256=item.sha256.encode())
        if host.secrets.named.covers(item.path):
            entry = sealed_entry(host, item.path, entry)
    elif item.kind != DIRECTORY:
        entry = entry._replace(target=item.target)
    entry = _owned(host, entry, item.user, item.group)
    if live is None or live.kind != item.kind:
        return entry if item.kind == DIRECTORY else entry._replace(mtime=host.now_ns())
    is_same = live.same_content(entry)
    xattrs = tuple(pair for pair in live.xattrs if is_same or pair[0] not in _OF_THE_CONTENT)
    listed = live.acl and with_mode(live.acl, entry.mode)
    entry = entry._replace(acl=listed, default_acl=live.default_acl, xattrs=xattrs, flags=live.flags)
    if is_same:
        return entry._replace(mtime=live.mtime, holes=live.holes, unstable=live.unstable)
    return entry._replace(mtime=host.now_ns())


def _owned(host: Host, entry: Entry, user: str, group: str) -> Entry:
    """The entry with its owners as this host numbers them; Refused for one that it has not."""
    accounts, is_root = host.tree.accounts, os.geteuid() == 0
    uid = _number(user, os.geteuid(), accounts.user_number, "user") if user or not is_root else 0
    gid = _number(group, os.getegid(), accounts.group_number, "group") if group or not is_root else 0
    return entry._replace(uid=uid, user=accounts.user(uid), gid=gid, group=accounts.group(gid))


def _number(name: str, own: int, ask: Callable[[bytes, int], int], word: str) -> int:
    if not name:
        return own
    if name == "root":
        return 0
    found = ask(name.encode(), _NOBODY)
    if found == _NOBODY and name.isascii() and name.isdigit():
        found = int(name)
    if not 0 <= found < _LARGEST_ACCOUNT:
        raise Refused(f"there is no {word} {name} here", hint="have a package or a pre-push hook make it")
    return found


# -- what cannot be ------------------------------------------------------------------------------------------


def _check_places(host: Host, deployment: Deployment) -> None:
    """Refuse what is Pacha's own: its state, and who may sign for this host."""
    own = dict.fromkeys(host.rules.excluded, "Pacha's own state")
    if host.config.push_allowed_signers is not None:
        own[host.config.push_allowed_signers] = "who may sign for this host"
    paths = [(item.path, item.kind == DIRECTORY) for item in deployment.items]
    for path, is_kept in [*paths, *((path, False) for path in deployment.absent)]:
        for place, words in own.items():
            if is_below(path, place) or (is_below(place, path) and not is_kept):
                raise Refused(f"{shown(path)} is not delivered: {shown(place)} is {words}")
    _check_above_signers(host, deployment)


def _check_patterns(deployment: Deployment) -> None:
    """Refuse what would only be found to mean nothing when the files are live."""
    for unit in (*deployment.restart, *deployment.reload):
        try:
            Ignore(unit.paths, built_in=False)
        except ConfigError as problem:
            raise Refused(f"the service {unit.name} is not tended so: {problem}") from problem


def _check_above_signers(host: Host, deployment: Deployment) -> None:
    """Refuse to open a directory on the way to the list of signers: nothing would be taken here any more."""
    place = host.config.push_allowed_signers
    for item in deployment.items if place is not None else ():
        is_open = item.mode & _WRITABLE_BY_OTHERS or item.user not in ("", "root", "0")
        if place is not None and item.kind == DIRECTORY and is_open and is_below(place, item.path):
            words = f"{shown(item.path)} is not delivered so: {shown(place)}, who may sign, is in it"
            raise Refused(words, hint="root's, and not to be written by others")


def _check_step(look: Look, step: Step) -> None:
    """Refuse what `ops/apply` would refuse, before anything is done."""
    before = step.before
    if before is None:
        return
    name = shown(step.path)
    if before.flags:
        words = f"chattr -{before.flags.decode()} {name}"
        raise Refused(f"{name} must not be changed: it is immutable or append-only", hint=words)
    if before.size is not None and step.action != METADATA:
        raise Refused(f"the present content of {name} is larger than max_file_size and would be lost",
                      hint="move it away first")  # fmt: skip
    is_in_the_way = before.kind == DIRECTORY and step.after is not None and step.after.kind != DIRECTORY
    if is_in_the_way and not look.is_empty(step.path):
        hint = "move it away, or have a pre-push hook do that"
        raise Refused(f"{name} is a directory that is not empty", hint=hint)
