"""`pacha push DEPLOYMENT HOST|@GROUP…`: deliver a deployment to hosts, and tell what happened at each."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from typing import TextIO

from pacha.cli.asking import ask, before_asking, will_ask
from pacha.cli.push_signed import signed_for
from pacha.cli.push_stop import Stopping
from pacha.cli.push_watch import watcher
from pacha.cli.pushed import exit_code, print_closing, print_outcomes, pushed_object, unsettled
from pacha.cli.reaching import archives, deployment, last_push, pusher, pushing
from pacha.cli.session import Session
from pacha.core.answer import CHANGED, NO_PACHA, Outcome
from pacha.core.deployment import Rendered
from pacha.core.destinations import expand
from pacha.core.errors import Refused, UsageError
from pacha.core.parcel import Confirmation, Parcel, Signed, Wishes, render, render_confirmation
from pacha.core.parcel_contents import pack
from pacha.core.parcel_line import LONGEST_WAIT_NS, SHORTEST_WAIT_NS
from pacha.core.quantities import parse_duration
from pacha.ops.bootstrap import bootstrap
from pacha.ops.push import Confirm, Pace, Push, Pushed, Sessions
from pacha.ui.result import print_object
from pacha.ui.text import plural, terminal_width

_JOBS = 50


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its directory")
    parser.add_argument(
        "hosts", metavar="HOST|@GROUP", nargs="*", help="ssh destinations, and [groups] of the configuration"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show what would change, and touch nothing"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--diff", action="store_true", help="show the differences in files")
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite also what was changed by hand, or is delivered by another deployment",
    )
    parser.add_argument(
        "--confirm",
        metavar="DURATION",
        help="hosts undo it after this time, unless they can be reached by a new connection",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=_count, default=_JOBS, help=f"so many hosts at once (default: {_JOBS})"
    )
    parser.add_argument("--batch", metavar="N", type=_count, default=0, help="N hosts, and then the next N")
    parser.add_argument(
        "--max-failures",
        metavar="N",
        type=_limit,
        help="begin no more hosts once more than N have failed (default: any number; with --batch 0)",
    )
    parser.add_argument("--bootstrap", action="store_true", help="bring Pacha to hosts that have none")
    parser.add_argument(
        "--retry", action="store_true", help="only the hosts that are left from earlier pushes of it"
    )


def run(session: Session, options: Namespace) -> int:
    """Check everything, ask, push, and tell."""
    asks = will_ask(options, "what would change")
    hosts = _hosts(session, options)
    prepared = deployment(options.deployment)
    rendered = {host: prepared.for_host(host) for host in hosts}
    call = _Call(session, options, prepared.name, signed_for(session, options.deployment, rendered))
    if asks:
        looked = call.push(rendered, dry_run=True)
        if looked.is_stopped:
            raise call.stopping.error
        call.show(looked, dry_run=True, to=before_asking(session.as_json))
        rendered = {
            one.destination: rendered[one.destination]
            for one in looked.outcomes
            if one.state == CHANGED or call.may_bootstrap(one)
        }
        if rendered and not ask(f"push to {plural(len(rendered), 'host')}?"):
            raise Refused("not done: nothing was changed")
        call.restart_clock()
        call.seen = [one for one in looked.outcomes if one.destination not in rendered]
    if not options.dry_run:
        # Until it is known how it ended: who stops this here can go on with --retry.
        _remember(session, options.deployment, rendered, rendered)
    pushed = call.push(rendered, dry_run=options.dry_run)
    if any(map(call.may_bootstrap, pushed.outcomes)) and not pushed.is_stopped:
        pushed = call.bootstrap(pushed, rendered)
    if rendered and not session.as_json:
        call.show(pushed, dry_run=options.dry_run, to=sys.stdout)
    return call.finish(pushed)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{text!r} is no number of hosts", hint="1 or more")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is no number of failures", hint="0 or more")
    return int(text)


def _time_to_confirm(text: str | None) -> int:
    """Nanoseconds; 0 where it need not be confirmed."""
    if text is None:
        return 0
    duration_ns = parse_duration(text)
    if not SHORTEST_WAIT_NS <= duration_ns <= LONGEST_WAIT_NS:
        hint = "the time that a new connection takes at the worst, such as 60s"
        raise UsageError(f"--confirm {text}: at least 1s and at most 1d", hint=hint)
    return duration_ns


# -- which hosts -----------------------------------------------------------------------------------------


def _hosts(session: Session, options: Namespace) -> list[str]:
    """Those that were named; with --retry those of them (or, none named, all) that are left."""
    named = expand(options.hosts, session.config.groups)
    if not options.retry:
        if not named:
            raise UsageError("to which hosts?", hint="pacha push DEPLOYMENT HOST, or @GROUP of [groups]")
        return named
    left = [host for host in _left(session, options.deployment) if not named or host in named]
    if not left:
        hint = "name the hosts to push to, without --retry"
        raise UsageError(f"no host is left from earlier pushes of {options.deployment}", hint=hint)
    return left


def _left(session: Session, folder: str) -> list[str]:
    """The hosts to which a deployment was pushed in vain, and not again since."""
    known = last_push(session).read()
    return list(known[0].get(os.path.realpath(folder), [])) if known else []


def _remember(session: Session, folder: str, hosts: Iterable[str], left: Iterable[str]) -> None:
    """Of the hosts that were pushed to these are left."""
    file, place = last_push(session), os.path.realpath(folder)
    known = file.read()
    places = dict(known[0]) if known else {}
    before = _left(session, folder)
    pushed = set(hosts)
    now = [*(host for host in before if host not in pushed), *left]
    if now == before:
        return
    places.pop(place, None)
    if now:
        places[place] = now
    file.write(places)


# -- the push --------------------------------------------------------------------------------------------


class _Call:
    """One call of the verb: perhaps a look beforehand, then the push, over the same connections."""

    def __init__(self, session: Session, options: Namespace, name: str, signed: Mapping[str, Signed]) -> None:
        self._session = session
        self._options = options
        self._name = name
        self._signed = signed
        self._sessions: Sessions = pushing(session)
        self._by = pusher()
        self._confirm_ns = _time_to_confirm(options.confirm)
        self._ticket = os.urandom(8).hex() if self._confirm_ns else ""
        self._seconds = 0.0
        self.stopping = Stopping()
        self.seen: list[Outcome] = []  # by the look beforehand: hosts that are not pushed to

    def push(self, rendered: Mapping[str, Rendered], *, dry_run: bool) -> Pushed:
        """Push to all of them, or look what a push would change."""
        options = self._options
        shows = options.diff or options.dry_run
        wishes = Wishes(self._by, dry_run, options.force, shows, self._confirm_ns, self._ticket)
        confirm = None
        if self._confirm_ns and not dry_run:
            confirm = Confirm(render_confirmation(Confirmation(self._ticket)), self._confirm_ns / 1e9)
        packed: list[tuple[Rendered, str, bytes]] = []  # the last: hosts alike share it

        def stream(host: str) -> Iterable[bytes]:
            made = rendered[host]
            if not packed or packed[0][0] is not made:
                packed[:] = [(made, *pack(made.deployment, made.contents))]
            _, packing, contents = packed[0]
            return render(Parcel(made.deployment, wishes, packing, self._signed.get(host))), contents

        watching = watcher(
            len(rendered), as_json=self._session.as_json, quiet=bool(options.quiet), dry_run=dry_run
        )
        most = options.max_failures
        if most is None and options.batch:
            most = 0
        pace = Pace(options.jobs) if dry_run else Pace(options.jobs, options.batch, most)
        began = time.monotonic()
        push = Push(self._sessions, list(rendered), stream, pace, watching, time.monotonic, confirm)
        try:
            with self.stopping.heeded(push.stop):
                return push.run()
        finally:
            if not dry_run:  # whatever ended it: who is done is not pushed to again
                _remember(self._session, options.deployment, rendered, unsettled(push.so_far()))
            self._seconds += time.monotonic() - began
            watching.close()

    def restart_clock(self) -> None:
        """What was looked at beforehand does not count."""
        self._seconds = 0.0

    def may_bootstrap(self, one: Outcome) -> bool:
        """Whether Pacha shall be brought to a host."""
        lacks = one.trouble is not None and one.trouble.kind == NO_PACHA
        return lacks and self._options.bootstrap and not self._options.dry_run

    def bootstrap(self, pushed: Pushed, rendered: Mapping[str, Rendered]) -> Pushed:
        """Bring Pacha to the hosts that have none, and push to them again."""
        lacking = [one.destination for one in pushed.outcomes if self.may_bootstrap(one)]
        self._session.report.note(f"bringing Pacha to {plural(len(lacking), 'host')}")
        arrival, archive_for = archives(self._session)
        jobs = self._options.jobs
        troubles = bootstrap(self._sessions, lacking, arrival, archive_for, jobs, time.monotonic)
        ready = {host: rendered[host] for host in lacking if troubles[host] is None}
        again = self.push(ready, dry_run=False) if ready else Pushed([], [])
        answered = {one.destination: one for one in again.outcomes}
        outcomes = [
            answered.get(one.destination)
            or one._replace(trouble=troubles.get(one.destination) or one.trouble)
            for one in pushed.outcomes
            if one.destination not in again.left
        ]
        return Pushed(outcomes, [*pushed.left, *again.left], again.is_stopped)

    def show(self, pushed: Pushed, *, dry_run: bool, to: TextIO) -> None:
        """What was done, or would be, group by group; with -q only what went wrong."""
        width, diff = terminal_width(to), self._options.diff
        quiet = self._options.quiet and not dry_run
        outcomes = [one for one in pushed.outcomes if not (quiet and one.is_done)]
        print_outcomes(outcomes, dry_run=dry_run, diff=diff, width=width, to=to)
        if not quiet:
            print_closing(pushed, self._seconds, dry_run=dry_run, to=to)

    def finish(self, pushed: Pushed) -> int:
        """Remember what is left, tell the end, and return the exit code."""
        options, total = self._options, pushed._replace(outcomes=[*self.seen, *pushed.outcomes])
        left, code = unsettled(total), exit_code(total, self.stopping.error.exit_code)
        if not options.dry_run:
            hosts = [*(one.destination for one in total.outcomes), *total.left]
            _remember(self._session, options.deployment, hosts, left)
        if self._session.as_json:
            print_object(pushed_object(total, self._name, self._seconds, options.dry_run), ok=code == 0)
        elif left and not options.dry_run:
            self._session.report.note(f"to push to the rest: pacha push {options.deployment} --retry")
        return code
