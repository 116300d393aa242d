"""`pacha agent [--once]`: stay, capture and send every change as it is made, and pull what the configuration
asks for; or, for cron, do it once.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from pacha.cli.session import Session

_NEARLY = 0.9  # of the interval: cron does not call at the same instant each time


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "--once", action="store_true", help="pull what is due, capture what changed, send what waits, and end"
    )


def run(session: Session, options: Namespace) -> int:
    """Do it; `--once` is silent where nothing happened, so that cron sends no mail."""
    return _once(session, options) if options.once else _stay(session)


def _once(session: Session, options: Namespace) -> int:
    from pacha.cli.printing import capture_exit, captured_object, print_captured
    from pacha.cli.sent import send_and_tell
    from pacha.ops.capture import Captured, capture
    from pacha.ops.change import open_change

    pulled = _pull(session, options)
    change = open_change(session.host)
    if change is not None and change["holds"]:
        done = Captured(None, [], [], [], [])
    else:
        done = capture(session.host, None, cause="agent")
    session.report.finish()
    if not session.as_json and (done.revision is not None or done.skipped):
        print_captured(done, verbose=options.verbose, quiet=options.quiet)
    health = {"agent": False, "degraded": [], "problem": ""}
    code = capture_exit(done) or (3 if any(one["error"] for one in pulled) else 0)
    return send_and_tell(session, code, lambda: {**captured_object(done), "pulls": pulled}, health)


def _pull(session: Session, options: Namespace) -> list[dict[str, Any]]:
    """Pull what has not been for as long as the configuration says; what came of each. Another Pacha at work
    is no failure: the next time will do.
    """
    if not session.config.push_pull:
        return []
    from pacha.cli.pulled import unattended
    from pacha.cli.reaching import pulls
    from pacha.core.shown import printable

    before, found = pulls(session), []
    before.keep_only(session.config.push_pull)
    for name in session.config.push_pull:
        known = before.of(name)
        age_ns = session.now_ns() - known.get("time_ns", 0)
        if known and not known.get("error") and 0 <= age_ns < session.config.push_every_ns * _NEARLY:
            continue
        one = unattended(options, name)
        if one["error"] is not None and one["error"]["kind"] == "busy":
            continue
        found.append({"deployment": name, "revision": one["revision"], "error": one["error"]})
        if one["error"] is not None:
            sys.stderr.write(f"pacha: pull of {name}: {printable(one['error']['message'])}\n")
        elif one["words"] and not session.as_json and not options.quiet:
            print(printable(f"pull of {name}: {one['words']}"))
    session.forget_config()  # what was pulled is watched from now on
    return found


def _stay(session: Session) -> int:
    from pacha.agent.loop import Settled
    from pacha.agent.wiring import run_agent

    def load() -> Settled:
        session.forget_config()
        return Settled(session.config, session.rules, session.below_root(session.config_path))

    def pull(name: str) -> dict[str, Any]:
        from pacha.cli.pulled import unattended

        return unattended(session.options, name)

    return run_agent(session.state_path, session.config.root, load, lambda: session.host, pull)
