"""`pacha status [--check]`: what is watched, what is not yet captured, and what needs a person."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from pacha.agent.wiring import ask_agent, why_silent
from pacha.cli.drifted import drift_words, path_of
from pacha.cli.reaching import asked_to_forget
from pacha.core.quantities import about_age, about_duration
from pacha.core.shown import printable
from pacha.ui.result import print_object
from pacha.ui.text import CHANGE_COLOURS, paint, plural, use_colour

if TYPE_CHECKING:
    from pacha.cli.session import Session

_SHOWN_AT_MOST = 20
_OLD_BACKLOG = 300  # seconds
_TOO_OFTEN = 2  # times within a day: a disk that was restored is one
_NO_AGENT = {"running": False, "pid": None, "events": None, "mode": None}


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "--check", action="store_true", help="exit 4 where anything is pending, skipped or missing"
    )


def run(session: Session, options: Namespace) -> int:
    """Ask the agent, or look, and print."""
    agent = ask_agent(session.state_path, "status")
    found = agent.pop("status", None) if agent else None
    if agent is None or found is None or not _is_fresh(agent, found):
        found = _look(session, agent)
    del found["changelog"]
    told = {server["address"]: server for server in agent.pop("servers")} if agent else {}
    found["servers"] = [told.get(server["address"], server) for server in found["servers"]]
    found["forgets"] = asked_to_forget(session)
    found["pulls"] = _pulls(session)
    if agent is None:
        why = why_silent(session.state_path)
        agent = {**_NO_AGENT, "died": why == "died", "stuck": why == "stuck"}
    found["agent"] = agent
    code = 4 if options.check and not _is_clean(found) else 0
    if session.as_json:
        print_object(found, ok=code == 0)
    else:
        _print(found, options.verbose)
    return code


def _is_fresh(agent: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether what the agent told is all there is: nothing waits, and nobody else has added a revision."""
    if not agent["running"] or agent["queue"] or agent["degraded"]:
        return False
    written: str = found["changelog"]
    try:
        status = os.stat(os.path.join(found["store"], ".hg", "store", "00changelog.i"))
    except OSError:
        return written == ""
    return written == f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _pulls(session: Session) -> list[dict[str, Any]]:
    """How the pulls ended that the configuration asks for."""
    if not os.path.isdir(os.path.join(session.state_path, "pulls")):
        return []
    from pacha.cli.reaching import pulls
    from pacha.core.quantities import format_when

    return [
        {
            "deployment": one["deployment"],
            "server": one["server"] or None,
            "time": format_when(one["time_ns"]),
            "done": format_when(one["done_ns"]) if one["done_ns"] else None,
            "done_ns": one["done_ns"],
            "since": format_when(one["since_ns"]) if one["since_ns"] else None,
            "error": one["error"],
        }
        for one in pulls(session).all()
    ]


def _look(session: Session, agent: dict[str, Any] | None) -> dict[str, Any]:
    from pacha.ops.status import status, status_object

    knows_all = agent is not None and agent["running"] and not agent["degraded"]
    pending = list(map(os.fsencode, agent["pending"])) if agent and knows_all else None
    if agent and pending is not None and len(pending) < agent["queue"]:
        pending = None  # too many to be told
    found = status_object(session.host, status(session.host, pending))
    session.report.finish()
    return found


def _is_clean(found: dict[str, Any]) -> bool:
    """Whether a monitoring check may be content."""
    agent = found["agent"]
    ails = agent.get("died") or agent.get("stuck") or agent.get("problem") or agent.get("degraded")
    late = any(server["error"] or _is_old(server) for server in found["servers"])
    late |= found["caught_up"] >= _TOO_OFTEN
    ailing = ("pending", "skipped", "missing", "unconfirmed", "drift", "forgets", "rebuild")
    trouble = any(found.get(key) for key in ailing) or any(one["error"] for one in found["pulls"])
    return not (ails or late or trouble)


def _is_old(server: dict[str, Any]) -> bool:
    """Whether revisions wait for longer than sending should take."""
    if not server["backlog"] or not server["since"]:
        return False
    import datetime

    since = datetime.datetime.fromisoformat(server["since"])
    return (datetime.datetime.now(datetime.UTC) - since).total_seconds() > _OLD_BACKLOG


# -- for people ------------------------------------------------------------------------------------------


def _row(label: str, text: str, tint: str = "") -> None:
    print(f"{label.ljust(10)}{paint(text, tint, use_colour() and bool(tint))}")


def _print(found: dict[str, Any], verbose: bool) -> None:
    now = time.time_ns()
    _row(found["host"], f"{found['role']}, state {found['state']}")
    watches = "  ".join(map(path_of, found["watches"]))
    _row("watching", watches or "nothing yet: pacha watch /etc")
    last = found["last"]
    if last is None:
        _row("history", "empty")
    else:
        _row("last", f"{last['id']}  {about_age(last['time_ns'], now)}  {printable(last['author'])}")
        _row("", printable(last["message"]))
        _row("tracked", plural(found["entries"], "entry"))
    _print_agent(found["agent"], now)
    _print_servers(found["servers"])
    _print_pulls(found["pulls"], now)
    if found["caught_up"] >= _TOO_OFTEN:
        _row("", f"had revisions that are not this host's, {found['caught_up']} times within a day", "red")
        _row("", "does a clone of this machine send them? There: another host =, and pacha join", "red")
    pending = found["pending"]
    _row("pending", plural(len(pending), "change") if pending else "nothing", "yellow" if pending else "")
    for item in pending[: None if verbose else _SHOWN_AT_MOST]:
        change = paint(item["change"].ljust(8), CHANGE_COLOURS[item["change"]], use_colour())
        print(f"  {change}  {path_of(item)}")
    if len(pending) > _SHOWN_AT_MOST and not verbose:
        print(f"  … and {len(pending) - _SHOWN_AT_MOST:,} more (-v shows all)")
    _print_troubles(found, now)


def _print_agent(agent: dict[str, Any], now: int) -> None:
    if agent["pid"] is None:
        words = "none: pacha agent would capture every change by itself"
        if agent["died"]:
            words = "it has died: systemctl start pacha, or pacha agent; it will find what it missed"
        elif agent["stuck"]:
            words = "it runs, but does not answer: systemctl restart pacha, if it stays so"
        _row("agent", words, "red" if agent["died"] or agent["stuck"] else "")
        return
    up = about_duration(max(now - agent["started_ns"], 0))
    state = "" if agent["running"] else ", still looking at everything"
    _row("agent", f"{agent['mode']}, process {agent['pid']}, up {up}{state}")
    last = f", the last {about_age(agent['last']['time_ns'], now)}" if agent["last"] else ""
    queue = f", {plural(agent['queue'], 'path')} waiting" if agent["queue"] else ""
    _row("", f"{plural(agent['events'], 'event')}, {plural(agent['revisions'], 'revision')}{last}{queue}")
    if agent["problem"] is not None:
        _row("", printable(agent["problem"]["message"]), "red")
    for words in agent["degraded"]:
        _row("", printable(words), "yellow")
    for words in agent["notes"]:
        _row("", printable(words))


def _print_servers(servers: list[dict[str, Any]]) -> None:
    if not servers:
        return
    from pacha.cli.sent import backlog_words, quota_words

    for number, server in enumerate(servers):
        tint = "yellow" if server["backlog"] else ""
        _row("" if number else "server", f"{printable(server['address'])}  {backlog_words(server)}", tint)
        if server["error"]:
            _row("", printable(server["error"]), "red")
        if words := quota_words(server):
            _row("", words, "yellow")


def _print_pulls(pulls: list[dict[str, Any]], now: int) -> None:
    for number, one in enumerate(pulls):
        name, server = printable(one["deployment"]), printable(one["server"] or "no server yet")
        done = about_age(one["done_ns"], now) if one["done_ns"] else "never"
        tint = "red" if one["error"] is not None else ""
        _row("" if number else "pulled", f"{name}  {done}, from {server}", tint)
        if one["error"] is not None:
            _row("", printable(f"not since {one['since'][:19]}: {one['error']['message']}"), "red")


def _print_troubles(found: dict[str, Any], now: int) -> None:
    for item in found["missing"]:
        _row("missing", path_of(item), "red")
    for item in found.get("drift", ()):
        _row("drift", drift_words(item, now), "yellow")
    for item in found["skipped"]:
        _row("skipped", f"{path_of(item)}  {item['reason']}", "red" if item["failed"] else "")
    for item in found["paced"]:
        _row("restless", f"{path_of(item)}  changes more than 20 times an hour: captured every 10 minutes")
    for item in found["forgets"]:
        words = (
            f"refused: {item['error']}"
            if item["error"]
            else f"asked for at {item['since'][:19]}, and not done yet"
        )
        _row("forget", f"{path_of(item)}  {printable(item['server'])}: {printable(words)}", "yellow")
    for item in found["encrypted"]:
        _row(
            "secret",
            f"{path_of(item)}  encrypted from the next revision on; earlier ones stay in the clear",
        )
    for item in found["cleared"]:
        _row("clear", f"{path_of(item)}  no longer a secret: the next revision holds it in the clear", "red")
    change = found["change"]
    if change is not None:
        age = about_duration(max(now - change["begun_ns"], 0))
        who = printable(change["author"])
        _row("change", f"open since {age}, {who}: {printable(change['message'])}", "yellow")
        words = "nothing is captured until" if change["holds"] else "too old to hold captures back; close it"
        _row("", f"{words}: pacha change end", "yellow")
    if found.get("rebuild") is not None:
        name = printable(found["rebuild"])
        _row("rebuild", f"of {name} is unfinished: run the same again", "yellow")
    for operation in found["unconfirmed"]:
        left = about_duration(max(operation["deadline_ns"] - now, 0))
        what = f"the {operation['verb']} to {operation['target']} is undone in {left}"
        _row("waiting", f"{what} unless: pacha confirm {operation['id']}", "yellow")
