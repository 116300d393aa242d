"""What the verbs that make revisions share: sending them to the servers, and saying which did not get them.

Called by `capture`, `watch`, `unwatch`, `rollback`, `change` and `agent --once`; itself no verb. Whatever
becomes of it, the revision is stored here: that it did not arrive is exit 3, never an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pacha.core.errors import Interrupted
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable

if TYPE_CHECKING:
    from pacha.cli.session import Session

SECONDS = 60.0
_NEARLY_FULL = 0.8


def send_and_tell(
    session: Session, code: int, values: Callable[[], dict[str, Any]], health: dict[str, Any] | None = None
) -> int:
    """The end of a verb: send, and print the verb's own `values` as the one object, or what did not arrive.
    With `health` every server is told how this host is, once at least.

    The verb's exit code, else that of the sending.
    """
    servers = send(session, health)
    code = code or sent_exit(servers)
    if session.as_json:
        print_object({**values(), "servers": servers}, ok=code == 0)
    else:
        print_unsent(servers)
    return code


def send(session: Session, health: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Send what waits, trying for a minute; what is known of each server then. Who has it all is spared."""
    addresses = session.config.servers
    if not addresses:
        return []
    from pacha.agent.wiring import ask_agent, send_once
    from pacha.cli.session import Session
    from pacha.ops.tip import last_of
    from pacha.ops.told import server_object

    index, last = session.host.index, last_of(session.host)
    found = {address: server_object(index.acknowledged(address), last) for address in addresses}
    asked = session.host.forgets.all()
    wanted = {
        address
        for address in addresses
        if found[address]["backlog"] or any(one.servers.get(address) == "" for one in asked)
    }
    waiting = {
        address: SECONDS if address in wanted else 0.0
        for address in addresses
        if health is not None or address in wanted
    }
    if not waiting:
        return [*found.values()]
    try:
        sent = send_once(waiting, lambda: Session(session.options, session.verb).host, health)
    except (KeyboardInterrupt, Interrupted):
        sent = [{**found[address], "error": "interrupted before it had it all"} for address in waiting]
    found.update((server["address"], server) for server in sent)
    if sent_exit(sent):
        ask_agent(session.state_path, "send", seconds=1.0)  # it goes on trying
    return [*found.values()]


def sent_exit(servers: list[dict[str, Any]]) -> int:
    """0, or 3 where a server has not got everything."""
    return 3 if any(server["backlog"] for server in servers) else 0


def print_unsent(servers: list[dict[str, Any]]) -> None:
    """On standard error: which servers have not got everything, and which are nearly full."""
    sys.stdout.flush()
    for server in servers:
        if server["backlog"]:
            why = server["error"] or f"{server['address']} has not got it yet"
            sys.stderr.write(f"  not sent  {printable(why)}\n")
        if words := quota_words(server):
            sys.stderr.write(f"  quota     {printable(server['address'])}: {words}\n")


def quota_words(server: dict[str, Any]) -> str:
    """How full a server's quota is where it nearly is, else nothing."""
    used, quota = server["used"], server["quota"]
    return f"{100 * used // quota} % of the quota is used" if quota and used >= _NEARLY_FULL * quota else ""


def backlog_words(server: dict[str, Any]) -> str:
    """How many revisions wait, and since when."""
    backlog = server["backlog"]
    if not backlog:
        return "has everything"
    return f"{plural(backlog, 'revision')} waiting" + (
        f" since {server['since'][:19]}" if server["since"] else ""
    )
