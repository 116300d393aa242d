"""What `pacha rebuild` tells: the plan before, the summary after, and both as JSON.

Called by the verb; itself no verb. It decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

from pacha.cli.printing import print_not_done, print_some, step_words
from pacha.core.accounts import Account
from pacha.core.packages import Deviation, PackageStep
from pacha.core.quantities import format_when
from pacha.ops.rebuild import Rebuilt
from pacha.ops.rebuild_plan import Draft
from pacha.ops.restore import planned_objects
from pacha.ops.told import path_object, step_objects
from pacha.ui.text import plural, printable, shown, use_colour

_SHOWN_AT_MOST = 20
T = TypeVar("T")


def rebuilt_object(done: Rebuilt, dry_run: bool) -> dict[str, object]:
    """The contract's fields, and what a rebuild has besides."""
    draft = done.draft
    return {
        "host": done.name,
        "target": draft.desired.target.id,
        "revision": done.revision,
        "before": done.before,
        "steps": planned_objects(draft.files) if dry_run else step_objects(done.results),
        "packages": list(map(_package, draft.packages)),
        "deviations": list(map(_deviation, done.deviations)),
        "accounts": [account._asdict() for account in draft.people.accounts],
        "notes": _notes(draft),
        "left": [{**path_object(step.path), "reason": step.refused or step.reason} for step in done.left],
        "hooks": [{"name": r.name, "exit": r.exit, "output": r.output} for r in done.hooks],
        "seconds": round(done.seconds, 3),
        "dry_run": dry_run,
        "confirm": done.confirm or None,
        "owes": done.owes,
        "would_run": [printable(shown(path)) for path in draft.hooks] if dry_run else [],
    }


def _notes(draft: Draft) -> list[str]:
    goes_on = ["what was interrupted goes on"] if draft.goes_on else []
    goes_on += ["this machine goes on with the history"] if draft.takes_history else []
    return [*goes_on, *([_new_name_words(draft)] if draft.new_name else []), *draft.words]


def _new_name_words(draft: Draft) -> str:
    return f"this machine is called {draft.new_name} from now on"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _package(step: PackageStep) -> dict[str, object]:
    return {
        "action": step.action,
        "name": _text(step.name),
        "before": _text(step.before),
        "wanted": _text(step.wanted),
        "reason": step.reason,
    }


def _deviation(one: Deviation) -> dict[str, object]:
    version, wanted = _text(one.version), _text(one.wanted)
    return {"name": _text(one.name), "wanted": wanted, "version": version, "reason": one.reason}


def print_plan(draft: Draft, everything: bool, to: TextIO) -> None:
    """Packages, accounts, files, hooks; of each the first, or everything."""
    target = draft.desired.target
    when = f"{target.stamp.host} at {target.id} ({format_when(target.stamp.time_ns)})"
    for words in draft.words:
        print(f"  note      {printable(words)}", file=to)
    for one in draft.deviations:
        print(f"  differs   {_deviation_words(one)}", file=to)
    if draft.is_empty:
        rest = f"all but {plural(len(draft.refused), 'path')}" if draft.refused else "all"
        print(f"nothing to do: {rest} is as it was on {when}", file=to)
        return
    print(f"to {when}", file=to)
    if draft.goes_on:
        print("what was interrupted goes on", file=to)
    if draft.takes_history:
        print("history: this machine goes on with it", file=to)
    if draft.new_name:
        print(f"host: {_new_name_words(draft)}", file=to)
    most = 0 if everything else _SHOWN_AT_MOST
    colour = use_colour(to)
    _section(
        "packages", draft.packages, lambda p: f"{p.action.ljust(8)}  {_text(p.name)}  {p.reason}", most, to
    )
    _section("users and groups", draft.people.accounts, _account_words, most, to)
    _section("files", draft.files.steps, lambda step: step_words(draft.files, step, colour), most, to)
    _section("hooks", draft.hooks, shown, most, to)


def _section(title: str, items: Sequence[T], words: Callable[[T], str], most: int, to: TextIO) -> None:
    if items:
        print(f"{title}: {len(items):,}", file=to)
        print_some(items, words, most, to)


def _account_words(account: Account) -> str:
    was = "" if account.old is None else f" instead of {account.old}"
    return printable(f"{account.kind} {account.name} gets number {account.number}{was}")


def _deviation_words(one: Deviation) -> str:
    is_now = f"is {_text(one.version)}" if one.version is not None else "is not there"
    was = f", and was {_text(one.wanted)}" if one.wanted is not None else ""
    return printable(f"{_text(one.name)} {is_now}{was}: {one.reason}")


def print_outcome(done: Rebuilt, *, quiet: bool) -> None:
    """One screen: what was done and what could not be."""
    draft = done.draft
    worked = sum(one.ok for one in done.results)
    if not quiet:
        rate = f", {worked / done.files_seconds:,.0f} a second" if done.files_seconds > 1 else ""
        print(f"rebuilt {done.name} as of {draft.desired.target.id} in {done.seconds:.1f} s")
        print(f"  packages  {len(draft.packages):,} to do, {plural(len(done.deviations), 'deviation')}")
        print(f"  accounts  {len(draft.people.accounts):,}")
        print(f"  files     {worked:,}{rate}")
        print(f"  hooks     {len(done.hooks):,}")
        if done.revision is not None:
            before = f"; {done.before} is what this machine had before" if done.before else ""
            print(f"  recorded  {done.revision}{before}")
        if done.owes:
            print(f"  not all   the history keeps what is still to come: pacha rebuild {done.name}")
    sys.stdout.flush()
    for one in done.deviations:
        sys.stderr.write(f"  differs   {_deviation_words(one)}\n")
    print_shortfalls(done)


def print_shortfalls(done: Rebuilt) -> None:
    """What is not as it was after all."""
    print_not_done(done.results)
    told = {result.step.path for result in done.results if not result.ok}
    for step in done.left:
        if step.path not in told:
            why = step.refused or step.reason
            sys.stderr.write(f"  not so    {shown(step.path)}  {printable(why)}\n")
