"""What a client may ask a server for: the one command line of an ssh session, and the protocol's number.

Called by the sender, which makes the words, and by `server/serve`, which judges those it got. The key decides
which host a session is about; words can only agree with it. It must not touch a store.

    pacha serve --protocol 1 --machine 0123…    a Pacha
    hg -R NAME serve --stdio                    a stock Mercurial

Nothing else is a request, to the byte: no shell ever sees it. On both follows Mercurial's wire protocol,
version 1, on standard input and output.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pacha.core.errors import Refused

# Of the words, the commands and the answers. One apart works; it grows when an older other end cannot go on.
PROTOCOL = 1

_PACHA = re.compile(r"pacha serve --protocol ([1-9][0-9]{0,3})(?: --machine ([0-9A-Za-z._-]{1,64}))?")
_MERCURIAL = re.compile(r"hg -R ([0-9A-Za-z_][0-9A-Za-z._-]{0,63}) serve --stdio")


class Request(NamedTuple):
    """What a client says of itself; of a stock Mercurial neither protocol nor machine is known."""

    protocol: int | None
    machine: str


def request_words(machine: str) -> str:
    """The remote command of a client on this machine."""
    words = f"pacha serve --protocol {PROTOCOL}"
    named = f"{words} --machine {machine}"
    return named if _PACHA.fullmatch(named) else words


def parse_request(words: str, host: str) -> Request:
    """What `words`, the client's whole command line, ask of the session of `host`.

    Raise Refused for everything but the two requests, for another host, and for a protocol too far away.
    """
    if pacha := _PACHA.fullmatch(words):
        protocol = int(pacha[1])
        check_protocols(protocol, PROTOCOL)
        return Request(protocol, pacha[2] or "")
    if mercurial := _MERCURIAL.fullmatch(words):
        if mercurial[1] != host:
            raise Refused(f"this key opens the store of {host} and no other")
        return Request(None, "")
    if not words:
        raise Refused("there is no shell here")
    raise Refused(f"{words[:80]!a} is no command of this server")


def check_protocols(client: int, server: int) -> None:
    """Raise Refused where the two speak protocols further than one apart; asked by both."""
    if abs(client - server) > 1:
        older = "client" if client < server else "server"
        problem = f"the client speaks protocol {client} and the server {server}"
        raise Refused(problem, hint=f"update Pacha on the {older}")
