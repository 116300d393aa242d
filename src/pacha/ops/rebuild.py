"""Rebuild: make a fresh machine what a host was, from its history.

Called by the verb. The history comes first: this machine goes on with the host's line (but as another host,
`--as-new`, or for single paths), and its own state becomes one revision of that, so that a mistaken rebuild
can itself be rolled back. Then the phases, in this order, each written down when it is done: hooks →
repositories and keys → packages → users and groups → files → units → hooks → the outcome, compared once more
and recorded. Each is made of desired − actual, so whoever is killed runs the same command again, and it goes
on; a second run of a whole one finds nothing to do. It decides nothing about what is desired
(`ops/rebuild_plan`), and files are written by `ops/apply` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pacha.core import accounts
from pacha.core.entry import Entry
from pacha.core.errors import NotFound
from pacha.core.names import escape_all, unescape
from pacha.core.packages import Deviation, is_missing
from pacha.core.plan import Step
from pacha.core.quantities import time_name
from pacha.core.revision import BEFORE_REBUILD, SHORT_REBUILD
from pacha.core.rules import Rules
from pacha.ops.apply import Done
from pacha.ops.capture import look, record
from pacha.ops.fetch import check_line
from pacha.ops.heal import finish, heal, refuse_while_waiting
from pacha.ops.host import Host, Kept
from pacha.ops.moments import Ran, on_failure
from pacha.ops.owed import anew
from pacha.ops.rebuild_hooks import AT_FIRST, AT_LAST, RebuildHooks
from pacha.ops.rebuild_line import (
    becomes,
    check_name,
    continue_line,
    has,
    leaves_history,
    outcome,
    settles,
    takes_history,
    to_owe,
)
from pacha.ops.rebuild_packages import install, is_under_way
from pacha.ops.rebuild_plan import (
    Desired,
    Draft,
    Request,
    contents_of,
    desire,
    draft,
    is_within,
    key_steps,
    plan_files,
    plan_packages,
    plan_people,
    stored_nodes,
)
from pacha.ops.rebuild_progress import resume
from pacha.ops.rebuild_source import check_source
from pacha.ops.restore import Contents, Planned, perform, planned_objects, verified
from pacha.ops.secrets import adopt
from pacha.ops.tip import tip_of
from pacha.ops.undo_rebuild import unless_confirmed


class Rebuilt(NamedTuple):
    """The outcome. `was_run` unless it was only planned, or all was done before; `left` is what is not as it
    was after all; `revision` None where the history has it so already.
    """

    draft: Draft
    name: str
    revision: str | None
    before: str | None  # the revision with the machine's own state
    results: list[Done]
    deviations: list[Deviation]
    left: list[Step]
    hooks: list[Ran]
    seconds: float
    files_seconds: float = 0.0  # of these
    was_run: bool = False
    confirm: str = ""  # the name under which it waits to be confirmed
    owes: bool = False  # it came short, or something was left out: the history says what was aimed at


class Own(NamedTuple):
    """The configuration of the machine that is rebuilt: `settle` has it say whose history this machine goes
    on with, and what is watched; `new_name` is what it will call the machine, empty where it does already.
    """

    settle: Callable[[Desired], None]
    new_name: Callable[[Desired], str]


class Manner(NamedTuple):
    """How it is done: as a `rehearsal` in a throwaway root; with `confirm_ns` all but packages is taken back
    where it fails, or after that time unless it is confirmed.
    """

    rehearsal: bool = False
    confirm_ns: int | None = None


NOTHING = Own(lambda _desired: None, lambda _desired: "")  # of a throwaway root


def rebuild(
    host: Host,
    source: Kept,
    request: Request,
    *,
    dry_run: bool,
    show: Callable[[Draft], None],
    ask: Callable[[], bool] | None,
    own: Own = NOTHING,
    manner: Manner = Manner(),  # noqa: B008 - immutable
) -> Rebuilt | None:
    """Make this machine, below the host's root, what `request.name` was by the `source`'s history.

    `show` sees the plan before it is done; where `ask` (None: nobody is asked) says no, None is returned.
    What its `own` configuration says is settled before anything is written: whatever records meanwhile does
    it right. Raise Refused where accounts clash, this is no such system, or something waits to be confirmed,
    HookFailed where a hook said no.
    """
    started = time.monotonic()
    if source.name != request.name:
        raise NotFound(
            f"that is the history of {source.name}, not of {request.name}",
            hint=f"pacha rebuild {source.name}",
        )
    shown: tuple[object, ...] | None = None
    while True:
        with host.lock:
            heal(host, must=True)
            tip_of(host)
            check_name(host, request)
            work = _Rebuild(host, source, request, manner, started)
            plan = work.draft(own.new_name)
            seen = (plan.packages, plan.people, plan.files.steps)
            if seen != shown:
                show(plan)
            if dry_run or plan.is_empty:
                return Rebuilt(
                    plan, request.name, None, None, [], plan.deviations, plan.refused, [],
                    time.monotonic() - started,
                )  # fmt: skip
            if ask is None or seen == shown:
                refuse_while_waiting(host)
                with on_failure(host, "rebuild"):
                    return work.run(plan, own.settle)
        if not ask():
            return None
        shown = seen


class _Rebuild:
    """One rebuild under way."""

    def __init__(self, host: Host, source: Kept, request: Request, manner: Manner, started: float) -> None:
        check_line(source.store, request.name, -1, "the source")
        self._host = host
        self._source = source
        self._request = request
        self._confirm_ns = manner.confirm_ns
        self._started = started
        self._progress, target, self.is_unfinished = resume(host, source, request)
        check_source(source, target)
        self._own = host.rules
        self._desired = desire(host, source, target, request)
        host.rules = self._rules()
        adopt(host, self._desired.secrets)
        self._hooks = RebuildHooks(host, source, request, self._desired, rehearsal=manner.rehearsal)
        self._results: dict[bytes, Done] = {}
        self._deviations: list[Deviation] = []
        self._files_seconds = 0.0

    def _rules(self) -> Rules:
        """What is tracked from now on: as it was then, but for single paths, which are added."""
        then, own = self._desired.rules, self._own
        if self._request.only:
            watches = [*own.watches, *(p for p in self._request.only if not own.covers(p))]
            return Rules(watches, own.ignores, own.size, own.excluded, own.own)
        excluded = [*then.excluded, *own.excluded]
        return Rules(then.watches, then.ignores, then.size, excluded, [*then.own, *own.own])

    def draft(self, new_name: Callable[[Desired], str]) -> Draft:
        """The plan, nothing being changed."""
        plan = draft(self._host, self._source, self._desired, self._request)
        takes = takes_history(self._host, self._source, self._request)
        goes_on, name = self.is_unfinished or "owners" in self._progress, new_name(self._desired)
        hooks = self._hooks.to_run(self._progress["done"])
        if leaves_history(self._host, self._request):
            plan.words.append("this machine's own history goes to the archive, and it begins anew")
        plan = plan._replace(takes_history=takes, goes_on=goes_on, new_name=name, hooks=hooks)
        return plan._replace(settles=settles(self._host, self._request, plan))

    # -- the phases --------------------------------------------------------------------------------

    def run(self, plan: Draft, settle: Callable[[Desired], None]) -> Rebuilt:
        """Do what is not done yet."""
        host, target, confirm_ns = self._host, self._desired.target, self._confirm_ns
        self._begin(settle)
        done = self._progress["done"]
        is_changed = "files" in done and len(plan.refused) < len(plan.files.steps)
        if is_changed:  # by somebody, since they were there: that is kept, too
            done.remove("files")
        # Else once: what an interrupted one has done is no state of before.
        if "before" not in self._progress or is_changed or confirm_ns is not None:
            had = self._record_before() or ("own" in self._progress and host.store.tip()[:12]) or None
            self._progress["before"] = self._progress.get("before") or had
            self._save()
        with unless_confirmed(host, target.id, confirm_ns) as journal:
            rebuilt = self._do(plan)
        return rebuilt._replace(confirm=journal.id if journal is not None else "")

    def _record_before(self) -> str | None:
        told = f"before rebuild of {self._request.name} to {self._desired.target.id}"
        host, scope = self._host, self._desired.scope
        return record(host, scope, cause=BEFORE_REBUILD, message=told, unpaced=None).revision

    def _do(self, plan: Draft) -> Rebuilt:
        """The phases, and the outcome."""
        host, target = self._host, self._desired.target
        payload = {"target": target.id, "steps": planned_objects(plan.files)}
        with self._hooks.laid_out():
            self._phase(AT_FIRST, lambda: self._hooks.run_first(payload))
            self._note_owed()
            self._phase("repositories", self._repositories)
            self._phase("packages", self._packages)
            self._phase("users", self._users)
            self._phase("files", self._files)
            self._phase("units", self._units)
            self._phase(AT_LAST, lambda: self._hooks.run_last(payload))
        left: list[Step] = []
        if self._request.wants("files"):
            left = plan_files(host, self._source, self._desired, lambda _path: True).steps
        message = f"rebuild of {self._request.name} to {target.id}"
        is_short = bool(left) or any(map(is_missing, self._deviations))
        becomes_it = "becomes" in self._progress
        cause, texts = outcome(host, self._request, self._desired, is_short, becomes_it, bool(self._results))
        self._progress.pop("owed", None)  # nothing is to be noted after that
        self._save()
        made = record(
            host, self._desired.scope, cause=cause, message=message, unpaced=None,
            earlier_hooks=self._hooks.ran, known=self._known(), texts=texts,
        )  # fmt: skip
        if "interrupted" in self._progress:
            host.rebuild_file.write(self._progress["interrupted"])
        else:
            host.rebuild_file.remove()
        return Rebuilt(
            plan, self._request.name, made.revision, self._progress["before"], [*self._results.values()],
            self._deviations, left, self._hooks.ran, time.monotonic() - self._started, self._files_seconds,
            was_run=True, owes=cause == SHORT_REBUILD and becomes_it,
        )  # fmt: skip

    def _begin(self, settle: Callable[[Desired], None]) -> None:
        """Be the host, by configuration and by history."""
        host = self._host
        in_force = host.config, host.rules, host.secrets
        if becomes(host, self._request) and "becomes" not in self._progress:
            self._progress["becomes"] = True
            self._progress |= to_owe(host, self._source, self._request, self._desired)
        self._save()  # from here on a capture knows that this is no state of the host
        try:
            settle(self._desired)
        except BaseException:
            if not self.is_unfinished:
                host.rebuild_file.remove()
            raise
        host.config, host.rules, host.secrets = in_force  # those of the rebuild, until its end
        continue_line(host, self._source, self._request, self._desired)

    def _note_owed(self) -> None:
        """From here on, where the machine is the host already, the history says what it lacks."""
        if "own" in self._progress:
            self._progress["owed"] = self._progress["own"]
            self._save()
            self._record_before()
            del self._progress["own"]
            self._save()

    def _phase(self, name: str, work: Callable[[], bool | None]) -> None:
        """Do it, and write down that it is done, unless it says that it is not: the next run does more."""
        if name in self._progress["done"]:
            return
        self._host.report.phase(name)
        if work() is not False:
            self._progress["done"].append(name)
        self._save()

    def _save(self) -> None:
        self._host.rebuild_file.write(self._progress)

    # -- packages ----------------------------------------------------------------------------------

    def _repositories(self) -> None:
        """Lists and keys first: packages come from there."""
        if not self._request.wants("packages"):
            return
        places = self._host.system.repositories()
        if self._request.wants("files"):
            self._write(lambda path: is_within(path, places))
        if keys := key_steps(self._host, self._desired.facts):
            contents = {step.path: data for step, data in keys}
            planned = Planned([step for step, _ in keys], {})
            self._perform(planned, lambda steps: (contents[step.path] for step in steps))

    def _packages(self) -> bool:
        if not self._request.wants("packages"):
            return True
        told = self._desired.facts
        steps, self._deviations = plan_packages(self._host, told)
        if steps or is_under_way(self._progress):
            self._progress["installed"] = True
            with self._as_its_own():
                self._deviations = install(self._host, told, self._progress, self._save)
        return not any(is_missing(deviation) for deviation in self._deviations)

    @contextmanager
    def _as_its_own(self) -> Iterator[None]:
        """What changes meanwhile is no work of anybody's: it counts as what the machine had itself."""
        owed = self._progress.get("owed")
        if owed is None:
            yield
            return
        self._progress["installing"] = anew(self._host, owed)
        self._save()
        yield
        if look(self._host, None, None, None, exact=True).changes:
            told = f"packages of {self._request.name}"
            record(self._host, None, cause=BEFORE_REBUILD, message=told, unpaced=None)
            self._progress["owed"] = self._progress["installing"]
        del self._progress["installing"]
        self._save()

    # -- accounts ----------------------------------------------------------------------------------

    def _users(self) -> None:
        """The account files; what belonged to a number that moved follows it.

        That list is written down first: once the files are there, nobody could tell any more.
        """
        host = self._host
        if not self._request.wants("users"):
            self._give()
            return
        people = plan_people(host, self._source, self._desired)
        moves = [accounts.moves(people, kind) for kind in accounts.KINDS]
        if any(moves) and "owners" not in self._progress:
            owners = [(escape_all(p).decode(), uid, gid) for p, uid, gid in host.tree.owned(*moves)]
            self._progress["owners"] = owners
            self._save()
        self._write(lambda path: path in accounts.FILES)
        host.tree.accounts.forget()
        self._give()

    def _give(self) -> None:
        """Files to the numbers that their owners got."""
        for path, uid, gid in self._progress.pop("owners", ()):
            self._host.tree.give(unescape(path.encode()), uid, gid)

    # -- files -------------------------------------------------------------------------------------

    def _files(self) -> None:
        began = time.monotonic()
        if self._request.wants("files"):
            self._write(lambda _path: True)
        self._files_seconds = time.monotonic() - began

    def _units(self) -> None:
        if self._results or self._progress.get("installed"):
            self._host.system.settle(b"/etc/hostname" in self._results, self._host.report.tool_output)

    def _write(self, is_meant: Callable[[bytes], bool]) -> None:
        """Bring what is meant to its desired state."""
        planned = plan_files(self._host, self._source, self._desired, is_meant)
        if not planned.steps:
            return
        self._perform(planned, lambda s: verified(contents_of(self._source, self._desired, s), s))

    def _perform(self, planned: Planned, contents: Contents) -> None:
        host, target = self._host, self._desired.target.id
        journal = host.journals.new(time_name(host.now_ns()))
        header = {"id": journal.id, "verb": "rebuild", "host": host.name, "target": target}
        done = perform(host, journal, planned, header, contents)
        finish(host, journal, done)
        self._results.update((one.step.path, one) for one in done)

    def _known(self) -> dict[bytes, tuple[Entry, bytes]]:
        """Contents that the line has already, where it is the host's own."""
        if not has(self._host, self._desired.target.node):
            return {}
        steps = [done.step for done in self._results.values()]
        stored = stored_nodes(self._source, self._desired, steps)
        return {s.path: (s.after, stored[s.path]) for s in steps if s.after and s.path in stored}
