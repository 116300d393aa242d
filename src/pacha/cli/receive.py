"""`pacha receive`: take a deployment from standard input and make it live. A forced command, or what `pacha
push` asks a host for; not for people.

What happens is said line by line on standard output, as JSON (`cli/receive_answer`); the last line is the
outcome. Whoever listens may be gone: what was begun is finished all the same. Start-up counts here, once for
each host of a push: nothing is imported that the push at hand does not need, and a process stays for some
minutes that runs the next ones in forks of its own.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, cast

from pacha.cli.ready import leave_behind, record, stay_ready
from pacha.cli.receive_answer import Answer
from pacha.cli.session import Session
from pacha.core.errors import Interrupted, PachaError
from pacha.core.parcel import Confirmation, Parcel
from pacha.core.parcel_contents import unpack
from pacha.core.parcel_line import LINE_AT_MOST, parse_any

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable
    from io import BufferedReader

_FORMAT = 1
_SILENCE = 900  # seconds after which a stream that says nothing is given up


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the verb's own words."""
    from argparse import SUPPRESS

    # What a push leaves behind.
    parser.add_argument("--record", action="store_true", help=SUPPRESS)
    parser.add_argument("--ready", action="store_true", help=SUPPRESS)


def run(session: Session, options: Namespace) -> int:
    """Receive, and answer; the exit code."""
    if getattr(options, "ready", False):
        return stay_ready(session, options.record)
    if getattr(options, "record", False):
        return record(session)
    answer = Answer()
    session.report = answer  # type: ignore[assignment]
    outcome: dict[str, Any] = {}
    error: PachaError | None = None
    is_to_record, is_dry_run = False, False
    try:
        answer.phase("verify")
        stream = cast("BufferedReader", sys.stdin.buffer)
        signal.alarm(_SILENCE)
        asked = parse_any(stream.readline(LINE_AT_MOST + 1))
        if isinstance(asked, Confirmation):
            is_to_record = _confirm(session, asked, outcome)
        else:
            outcome["deployment"] = asked.deployment.name
            is_to_record = _receive(session, asked, _patiently(stream.read1), outcome)
            is_dry_run = asked.wishes.dry_run
    except PachaError as problem:
        error = problem
    except OSError as problem:
        error = _explained(problem)
    except KeyboardInterrupt:
        error = Interrupted()
    code = error.exit_code if error is not None else 0
    if error is not None:
        outcome["error"] = {"kind": error.kind, "message": str(error), "hint": error.hint}
        outcome["output"] = answer.output_in(outcome.get("step", ""))
    outcome["notes"] = answer.notes
    answer.say({**outcome, "phase": "done", "version": _FORMAT, "ok": error is None, "exit": code})
    if error is None and not is_dry_run:
        leave_behind(session, is_to_record)
    return code


def _receive(session: Session, parcel: Parcel, read: Callable[[int], bytes], outcome: dict[str, Any]) -> bool:
    """Do it; `outcome` gets what has happened, whatever is raised. Whether a process of ours is to record it,
    as no agent will.
    """
    from pacha.cli.received import received
    from pacha.ops.receive import Receiving

    host = session.host
    outcome["host"] = host.name
    host.lock.be_known_as(f"receive: {parcel.deployment.name}, pushed by {parcel.wishes.by or 'unknown'}")
    vouched = None
    if host.config.push_allowed_signers is not None:  # before anything more of the stream is read
        from pacha.ops.signing import vouch

        vouched = vouch(host, parcel)
    spool = session.closing(host.new_spool())
    contents = {digest: spool.put(data) for digest, data in unpack(parcel, read)}
    signal.alarm(0)
    work = Receiving(host, parcel, contents, spool, vouched)
    try:
        work.run()
    except BaseException:
        outcome["step"] = work.phase
        raise
    finally:
        outcome.update(received(host, work))
    return work.is_applied and not work.confirm and not (work.is_watched and session.has_agent)


def _confirm(session: Session, asked: Confirmation, outcome: dict[str, Any]) -> bool:
    """Keep what was pushed before; whether a process of ours is to record it: an agent does at leisure."""
    from pacha.ops.confirm import confirm_push

    outcome["host"] = session.host.name
    outcome["kept"] = confirm_push(session.host, asked.ticket)
    return True


def _patiently(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same, the wait for each part bounded: nothing is locked yet, and nobody misses this process."""

    def patient(size: int) -> bytes:
        signal.alarm(_SILENCE)
        return read(size)

    return patient


def _explained(problem: OSError) -> PachaError:
    from pacha.cli.main import explained

    return explained(problem)
