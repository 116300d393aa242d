"""One pull: a deployment is fetched, looked at or made live, recorded, and what came of it told as an
outcome.

Called by the verb `pull`, and by `agent` for what the configuration asks for; itself no verb.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

from pacha.cli.pushed import in_words
from pacha.cli.reaching import delivery, pulls
from pacha.cli.receive_answer import Answer
from pacha.cli.received import received
from pacha.cli.session import Session
from pacha.core.answer import OK, Outcome, outcome
from pacha.core.errors import Busy, Interrupted, PachaError
from pacha.core.parcel import Wishes
from pacha.ops.pull import obtain, receiving, record
from pacha.ops.receive import Receiving
from pacha.ui import interrupts
from pacha.ui.report import Report

_LONGEST_BY = 256


class Pull:
    """A deployment that was fetched, once: to be looked at, made live, or both. `by` is who wants it."""

    def __init__(self, session: Session, name: str, by: str, note: Callable[[str], None]) -> None:
        """Fetch it, and `note` which servers could not give it. Raise what is wrong where none does."""
        self._session = session
        self._name = name
        self._spool = session.closing(session.host.new_spool())
        self.error: PachaError | None = None  # of what was done last
        try:
            reach = partial(delivery, session)
            self._obtained = obtain(name, session.config.servers, reach, session.host, self._spool, note)
        except (PachaError, OSError) as problem:
            _note(session, name, "", _explained(problem))
            raise
        self.server = self._obtained.address
        self._by = f"{by}, pulled from {self.server}"[:_LONGEST_BY]

    def do(self, *, dry_run: bool = False, force: bool = False, diff: bool = False) -> Outcome:
        """Make it live, or look what that would change. However it ends it is told, and `error` has why it
        was not done.
        """
        host = self._session.host
        told = _Told(self._session.report, verbose=bool(self._session.options.verbose) and not dry_run)
        host.report = told
        host.lock.be_known_as(f"pull: {self._name}, by {self._by}")
        wishes = Wishes(self._by, dry_run, force, diff)
        work = receiving(host, self._obtained, wishes, self._spool)
        began_ns, self.error = host.now_ns(), None
        try:
            work.run()
        except (PachaError, OSError) as problem:
            self.error = _explained(problem)
        except KeyboardInterrupt:
            self.error = Interrupted()
        values = received(host, work)
        if work.is_applied:
            interrupts.settle()
            values["revision"] = self._record(work, began_ns)
        if not dry_run:
            _note(self._session, self._name, self.server, self.error)
        return outcome(host.name, self._answer(values, work, told, dry_run=dry_run), work.seconds)

    def _record(self, work: Receiving, began_ns: int) -> str | None:
        """It is live, whatever becomes of this: then the next command records it."""
        host = self._session.host
        try:
            return record(host, work, began_ns)
        except (PachaError, OSError) as problem:
            host.report.note(f"what was pulled is not in the history yet: {problem}")
            return None

    def _answer(
        self, values: dict[str, Any], work: Receiving, told: _Told, *, dry_run: bool
    ) -> dict[str, Any]:
        del values["confirm"]
        answer = {
            "ok": self.error is None, "deployment": self._name, "server": self.server,
            "host": self._session.host.name, **values, "notes": told.notes, "dry_run": dry_run,
        }  # fmt: skip
        if self.error is not None:
            output = told.output_in(work.phase)
            answer |= {"step": work.phase, "output": output, "error": error_object(self.error)}
        return answer


class _Told(Answer):
    """What happens meanwhile, kept for the outcome; who wants to know more sees it pass."""

    def __init__(self, report: Report, *, verbose: bool) -> None:
        super().__init__()
        self._report = report
        self._is_verbose = verbose

    def say(self, values: dict[str, Any]) -> None:
        """A phase, or a line of output."""
        if not self._is_verbose:
            return
        if "line" in values:
            self._report.hook_output(values.get("hook", self._phase), values["line"].encode())
        elif not values:
            self._report.phase(self._phase)


def error_object(problem: PachaError) -> dict[str, str]:
    """The contract's `error`."""
    return {"kind": problem.kind, "message": str(problem), "hint": problem.hint}


def unattended(options: Namespace, name: str) -> dict[str, Any]:
    """Pull as the configuration asks, with nobody to be asked: `{words, notes, revision, error}`, of which
    `words` is empty where there was nothing to do. Whatever goes wrong is told.
    """
    session = Session(options, "pull")
    try:
        pull = Pull(session, name, "agent", lambda _text: None)
        done = pull.do()
        error = None if pull.error is None else error_object(pull.error)
        is_idle = error is not None or (done.state == OK and not done.listed("hooks"))
        words = "" if is_idle else in_words(done, dry_run=False)
        return {
            "words": words,
            "notes": done.lines("notes") if words else [],
            "revision": done.answer["revision"],
            "error": error,
        }
    except (PachaError, OSError) as problem:
        return {"words": "", "notes": [], "revision": None, "error": error_object(_explained(problem))}
    finally:
        session.close()


def _note(session: Session, name: str, server: str, problem: PachaError | None) -> None:
    """Keep how it ended, for `status`, where the configuration asks for it."""
    if name in session.config.push_pull and not isinstance(problem, Busy | Interrupted):
        error = None if problem is None else error_object(problem)
        pulls(session).note(name, session.now_ns(), server, error)


def _explained(problem: PachaError | OSError) -> PachaError:
    from pacha.cli.main import explained

    return explained(problem) if isinstance(problem, OSError) else problem
