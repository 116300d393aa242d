"""`pacha agent [--once]`: stay, capture and send every change as it is made; or, for cron, do it once."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--once", action="store_true", help="capture what changed, send what waits, and end")


def run(session: Session, options: Namespace) -> int:
    """Do it; `--once` is silent where nothing happened, so that cron sends no mail."""
    return _once(session, options) if options.once else _stay(session)


def _once(session: Session, options: Namespace) -> int:
    from pacha.cli.printing import capture_exit, captured_object, print_captured
    from pacha.cli.sent import send_and_tell
    from pacha.ops.capture import Captured, capture
    from pacha.ops.change import open_change

    change = open_change(session.host)
    if change is not None and change["holds"]:
        done = Captured(None, [], [], [], [])
    else:
        done = capture(session.host, None, cause="agent")
    session.report.finish()
    if not session.as_json and (done.revision is not None or done.skipped):
        print_captured(done, verbose=options.verbose, quiet=options.quiet)
    health = {"agent": False, "degraded": [], "problem": ""}
    return send_and_tell(session, capture_exit(done), lambda: captured_object(done), health)


def _stay(session: Session) -> int:
    from pacha.agent.loop import Settled
    from pacha.agent.wiring import run_agent

    def load() -> Settled:
        session.forget_config()
        return Settled(session.config, session.rules, session.below_root(session.config_path))

    return run_agent(session.state_path, session.config.root, load, lambda: session.host)
