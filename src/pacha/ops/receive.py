"""Receive: make this host what a deployment says, all of it or nothing.

Called by the verbs, with a parcel whose every form and content was checked, and with who vouches for it,
where this host asks for signatures (`ops/signing`). Under the lock: plan → what
somebody changed by hand is refused, or forced → `pre-push` hooks → packages → `check` hooks on the new tree
before it is live → journal, live → services → `post-push` hooks → done, when the journal says so on the disk.
Whatever fails after the first live file was touched is undone by the images in the journal. The history is
written afterwards (`ops/pushed`): here no index is opened and no Mercurial started. It asks nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pacha.core.deployed import Accepted, Deployed, render
from pacha.core.errors import Busy, Failed, HookFailed, NoSpace, PachaError, Unavailable
from pacha.core.parcel import SIGNED_BY, Parcel, digest_of
from pacha.core.plan import Step
from pacha.core.quantities import time_name
from pacha.core.shown import shown
from pacha.ops import aside
from pacha.ops.apply import Apply, Done
from pacha.ops.heal import prepare_for_push, refuse_while_waiting, start_timer
from pacha.ops.moments import Ran, run_hooks
from pacha.ops.receive_layer import laid
from pacha.ops.receive_packages import install, lacking
from pacha.ops.receive_plan import Planned, plan_deployment, refusal
from pacha.ops.services import Service, Tending, concerned, serve_again
from pacha.ops.told import step_objects

if TYPE_CHECKING:
    from pacha.core.signed import Vouched
    from pacha.core.tracked import Blob
    from pacha.ops.host import Host
    from pacha.ops.ports import Hooks, Journal, Spool

_NEXT = "mend it and push again"
_PUT_BACK = "everything was put back"
_PARTING = "on-failure/"


class Receiving:
    """One push being received; what has happened so far is in the attributes, whatever `run` raises."""

    def __init__(
        self,
        host: Host,
        parcel: Parcel,
        contents: Mapping[str, Blob],
        spool: Spool,
        vouched: Vouched | None = None,
    ) -> None:
        self._host = host
        self._parcel = parcel
        self._vouched = vouched
        self._deployment = parcel.deployment
        self._contents = contents
        self._spool = spool
        self._started = time.monotonic()
        self._theirs: Hooks | None = None
        self.planned = Planned([], {}, [], {})
        self.phase = "plan"
        self.results: list[Done] = []
        self.hooks: list[Ran] = []
        self.packages: list[str] = []
        self.services: list[Service] = []
        self._tending = Tending(host, [])
        self.preflight = "none"
        self.is_reverted = False
        self.is_applied = False  # something was changed, and is to be recorded
        self.would_run: list[str] = []  # hooks, after a look beforehand
        self.confirm = ""  # the name under which it waits to be confirmed
        self.diffs: list[dict[str, Any]] = []

    @property
    def target(self) -> str:
        """What is deployed, in words for the history."""
        return f"{self._deployment.name} {self._deployment.revision}".rstrip()

    @property
    def is_watched(self) -> bool:
        """Whether all that was changed lies where a running agent sees it."""
        return all(self._host.rules.watch_of(step.path) is not None for step in self.planned.steps)

    @property
    def seconds(self) -> float:
        """Since the parcel was there."""
        return time.monotonic() - self._started

    def run(self) -> None:
        """Do it. Raise Refused, Edited, HookFailed or another PachaError where the host stays, or is again,
        as it was.
        """
        with self._host.live_lock, ExitStack() as stack:
            prepare_for_push(self._host)
            self._refuse_unsigned()
            self._enter("plan")
            missing = lacking(self._host, self._deployment.packages)
            self._plan()
            wishes = self._parcel.wishes
            is_done = not self.planned.steps and not missing and self._is_as_deployed()
            if wishes.dry_run or wishes.diff:
                self.diffs = self._diffs(self.planned.steps)
            if wishes.dry_run:
                self.results = [Done(step, True, step.reason) for step in self.planned.steps]
                self.packages = missing
                self.would_run = (
                    [] if is_done else [name for name in self._own_hooks() if not name.startswith(_PARTING)]
                )
                return
            if is_done:
                self._accept()
                return
            refuse_while_waiting(self._host)
            self._refuse_others()
            files = {name: self._content(digest) for name, digest in self._own_hooks().items()}
            self._theirs = stack.enter_context(self._host.stage(files))
            try:
                self._make_live(missing)
            except Busy:
                raise
            except (PachaError, OSError) as problem:
                self._tell_of_failure(problem)
                raise

    # -- before ----------------------------------------------------------------------------------------

    def _plan(self) -> None:
        self.planned = plan_deployment(self._host, self._deployment)

    def _refuse_unsigned(self) -> None:
        """Under the lock nothing newer can come between any more."""
        if self._host.config.push_allowed_signers is not None:
            from pacha.ops.signing import still_newest

            still_newest(self._host, self._parcel, self._vouched)

    def _accept(self) -> None:
        """What is there already by another signature is, from now on, not taken by an older one."""
        vouched = self._vouched
        if vouched is not None and vouched.serial:
            accepted = Accepted(vouched.serial, self._digest, self._host.now_ns())
            self._host.deployments.accept(self._deployment.name, accepted)

    def _refuse_others(self) -> None:
        others = self.planned.others
        if others and not self._parcel.wishes.force:
            self.diffs = self._diffs([one.step for one in others])
            raise refusal(others)

    def _diffs(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        from pacha.ops.receive_diff import diffs

        digests = self._digests
        return diffs(self._host, steps, lambda path: self._content(digests[path]))

    def _is_as_deployed(self) -> bool:
        """Whether this very deployment was the last of its name: then its hooks have run."""
        last = (self._deployment.name, self._digest)
        return any((one.deployment, one.digest) == last for one in self._host.deployments.all())

    @cached_property
    def _digest(self) -> str:
        return digest_of(self._deployment)

    @property
    def signer(self) -> str:
        """Who signed it, where somebody had to."""
        return self._vouched.signer if self._vouched is not None else ""

    @property
    def _author(self) -> str:
        """Who pushed it, in his own words, and who signed it."""
        pushed_by = self._parcel.wishes.by or self._host.author
        return f"{pushed_by}, {SIGNED_BY} {self.signer}" if self.signer else pushed_by

    # -- doing -----------------------------------------------------------------------------------------

    def _make_live(self, missing: Sequence[str]) -> None:
        has_run = self._moment("pre-push", "nothing was changed")
        if missing:
            self._install(missing)
        if has_run or missing:  # they may have changed what was seen
            self._plan()
            self._refuse_others()
        self._try_before()
        if not self.planned.steps:
            self._tend_services()
            self._moment("post-push", "no file was changed")
            self._host.deployments.put(self._record())
            return
        self._enter("live")
        journal = self._host.journals.new(time_name(self._host.now_ns()))
        work = Apply(self._host, journal, self.planned.steps, whole=journal.id)
        deadline = self._deadline_ns()
        try:
            work.prepare(self._header(journal), self._images, deadline)
            if work.failed is not None:
                raise _not_done(work.failed, "nothing was changed")
        except BaseException:
            journal.discard()
            raise
        start_timer(self._host, journal)  # before anything is touched
        try:
            self.results = work.run()
            if work.failed is not None:
                raise _not_done(work.failed, _PUT_BACK)
            self._tend_services(journal)
            if self.preflight not in ("done", "none"):
                self._moment("check", _PUT_BACK)
            self._moment("post-push", _PUT_BACK)
            self._mark_applied(journal, work.has_kept)
        except BaseException as problem:
            failed_in = self.phase
            left = self._undo(journal)
            self.phase = failed_in
            if left and isinstance(problem, PachaError):
                problem.args = (str(problem).replace(_PUT_BACK, f"NOT everything could be put back: {left}"),)
            raise
        self.is_applied = True
        if deadline is not None:
            self.confirm = journal.id
            return
        if work.has_kept:
            aside.drop(self._host, journal)
        with suppress(OSError):  # the journal has it
            self._host.deployments.put(self._record())

    def _deadline_ns(self) -> int | None:
        """When it is undone unless it was confirmed: as if all were done by now."""
        wait = self._parcel.wishes.confirm_ns
        return self._host.now_ns() + wait if wait else None

    def _mark_applied(self, journal: Journal, has_kept: bool) -> None:
        hooks = [ran._asdict() for ran in self.hooks]
        told = {"hooks": hooks, "services": self._tending.begun, "aside": has_kept}
        journal.mark_applied({**told, "deadline_ns": self._deadline_ns()}, durably=True)

    def _header(self, journal: Journal) -> dict[str, Any]:
        wishes = self._parcel.wishes
        return {
            "id": journal.id, "verb": "push", "host": self._host.name,
            "target": self.target, "is_whole": True,
            "author": self._author, "deployed": render(self._record()).decode(),
            "ticket": wishes.ticket, "on_failure": self._parting_hooks(journal),
            "wait_ns": wishes.confirm_ns,
        }  # fmt: skip

    def _parting_hooks(self, journal: Journal) -> dict[str, Blob]:
        """The hooks for a failure, kept for who undoes this when nobody of us is left."""
        hooks = self._own_hooks().items()
        return {
            name: journal.put(self._content(digest)) for name, digest in hooks if name.startswith(_PARTING)
        }

    def _own_hooks(self) -> dict[str, str]:
        """The digest of each hook of the deployment, by `moment/NN-name`."""
        return {f"{hook.moment}/{hook.name}": hook.sha256 for hook in self._deployment.hooks}

    def _record(self) -> Deployed:
        deployment = self._deployment
        return Deployed(
            deployment.name, deployment.revision, self._parcel.wishes.by, self._host.now_ns(), self._digest,
            self.planned.desired, self._parcel.wishes.ticket, self.planned.former,
            self.signer, self._vouched.serial if self._vouched is not None else 0,
        )  # fmt: skip

    def _images(self, steps: Sequence[Step]) -> Iterator[bytes | None]:
        digests = self._digests
        for step in steps:
            yield self._content(digests[step.path])

    @property
    def _digests(self) -> dict[bytes, str]:
        return {item.path: item.sha256 for item in self._deployment.items}

    def _content(self, digest: str) -> bytes:
        return self._spool.get(self._contents[digest])

    def _install(self, names: Sequence[str]) -> None:
        self._enter("packages")
        self.packages, left = install(self._host, names)
        if left:
            raise Failed(f"not installed: {', '.join(left)}", hint="what the package manager said is above")

    def _try_before(self) -> None:
        """Run the `check` hooks on the new tree, before anybody else sees it."""
        if not self._has_hooks("check"):
            return
        try:
            if not self.planned.steps:
                self._moment("check", "nothing was changed")
                self.preflight = "done"
                return
            with laid(self._host, self.planned.steps, self._images):
                self.preflight = "done"
                self._moment("check", "nothing was changed")
        except Unavailable as problem:
            if self._host.config.push_preflight == "require":
                raise Unavailable(
                    f"the new files cannot be checked before they are live: {problem}",
                    hint='with preflight = "try" in [push] they are checked afterwards, and undone',
                ) from problem
            self.preflight = str(problem)
            self._host.report.note(f"checked after going live: {problem}")

    def _tend_services(self, journal: Journal | None = None) -> None:
        """Restart and reload what has to do with a path that changed; the journal tells it to who undoes
        this.
        """
        wanted = concerned(self._deployment, [step.path for step in self.planned.steps])
        if not wanted and not self.packages:
            return
        self._enter("services")
        self._tending = Tending(self._host, wanted)
        if journal is not None:
            undoing = {"services": self._tending.back}
            journal.mark("serving", undoing, durably=self._parcel.wishes.confirm_ns > 0)
        if self.packages:
            self._host.system.settle(False, self._host.report.tool_output)
        for service in self._tending.run():
            self.services.append(service)
            if not service.ok:
                words = f"the service {service.name} could not be {service.action}ed; {_PUT_BACK}"
                raise Failed(words, hint=_NEXT)

    # -- failing ---------------------------------------------------------------------------------------

    def _undo(self, journal: Journal) -> str:
        """Files and services as they were. What cannot be put back, in words: the next command tries it
        again.
        """
        from pacha.ops.undo import put_back

        self._enter("undo")
        left = put_back(self._host, journal)
        self.is_reverted = not left
        if self.is_reverted:
            self.results = []
        serve_again(self._host, self._tending.begun)
        if self.is_reverted:
            journal.discard()
        return left

    def _tell_of_failure(self, problem: BaseException) -> None:
        failed_in = self.phase
        if self.packages:
            self._host.report.note(f"the packages stay: {', '.join(self.packages)}")
        error = {"kind": getattr(problem, "kind", "failed"), "message": str(problem)}
        self._moment("on-failure", "", {"operation": "push", "phase": failed_in, "error": error})
        self.phase = failed_in

    # -- hooks -----------------------------------------------------------------------------------------

    def _has_hooks(self, moment: str) -> bool:
        return bool(self._host.hooks.names(moment) or (self._theirs and self._theirs.names(moment)))

    def _moment(self, moment: str, outcome: str, more: Mapping[str, Any] | None = None) -> bool:
        """Run the host's own hooks of a moment, then those of the deployment; whether there were any."""
        if not self._has_hooks(moment):
            return False
        self._enter(moment)
        told = {
            "deployment": self._deployment.name, "revision": self._deployment.revision,
            "by": self._parcel.wishes.by, **(more or {}),
        }  # fmt: skip

        def steps() -> dict[str, Any]:
            return {"steps": step_objects([Done(step, True, "") for step in self.planned.steps])}

        for hooks in (self._host.hooks, self._theirs):
            ran = run_hooks(self._host, moment, told, revision=None, stop=True, more=steps, hooks=hooks)
            self.hooks += ran
            if outcome and ran and ran[-1].exit != 0:
                raise HookFailed(
                    f"the hook {ran[-1].name} failed (exit {ran[-1].exit}); {outcome}", hint=_NEXT
                )
        return True

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._host.report.phase(phase)


def _not_done(done: Done, outcome: str) -> PachaError:
    words = f"{shown(done.step.path)}: {done.reason}; {outcome}"
    if done.reason in (os.strerror(28), os.strerror(122)):
        return NoSpace(words, hint="free some space and push again")
    return Failed(words, hint=_NEXT)
