"""`pacha doctor`: small named checks, each with the mend. Exit 4 where something is bad."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from pacha.agent.wiring import ask_agent, why_silent
from pacha.cli.session import Session
from pacha.core.errors import PachaError
from pacha.ops.doctor import BAD, OK, WARNING, Check, doctor
from pacha.ui.result import print_object
from pacha.ui.text import paint, printable, use_colour

_COLOURS = {OK: "green", WARNING: "yellow", BAD: "red"}


def add_arguments(parser: ArgumentParser) -> None:
    """The verb has no arguments of its own."""


def run(session: Session, _options: Namespace) -> int:
    """Check and print; a configuration that cannot be read is a finding like any other."""
    checks = [Check(*found) for found in session.environment()]
    try:
        checks.append(Check("configuration", OK, f"{session.config.source or session.config_path} is valid"))
        checks += doctor(session.host)
        checks.append(_agent(session.state_path))
        if session.is_server:
            checks += [Check(*found) for found in session.server_checks()]
    except PachaError as problem:
        checks.append(Check("configuration", BAD, str(problem), problem.hint))
    session.report.finish()
    bad = any(check.state == BAD for check in checks)
    if session.as_json:
        print_object({"checks": [check._asdict() for check in checks]}, ok=not bad)
        return 4 if bad else 0
    colour = use_colour()
    for check in checks:
        state = paint(check.state.ljust(8), _COLOURS[check.state], colour)
        print(f"{state} {check.name.ljust(14)} {printable(check.words)}")
        if check.mend:
            print(f"{' ' * 24}mend: {printable(check.mend)}")
    sys.stdout.flush()
    return 4 if bad else 0


def _agent(state: str) -> Check:
    """Whether changes are captured as they are made."""
    agent = ask_agent(state, "status")
    if agent is None:
        why = why_silent(state)
        if why == "died":
            return Check("agent", BAD, "it has died", "systemctl start pacha, or pacha agent")
        if why == "stuck":
            return Check("agent", BAD, "it runs, but does not answer", "systemctl restart pacha")
        return Check(
            "agent", OK, "none runs: changes are captured when somebody, or cron, runs pacha capture"
        )
    if agent["problem"] is not None:
        return Check("agent", BAD, agent["problem"]["message"], agent["problem"]["hint"])
    if agent["degraded"]:
        return Check("agent", WARNING, "; ".join(agent["degraded"]), "see docs/how-to/agent.md")
    return Check("agent", OK, f"{agent['mode']}, process {agent['pid']}")
