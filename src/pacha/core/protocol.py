"""What a client may ask a server for: the one command line of an ssh session, and the protocol's number.

Called by the sender and by who reads another's history, which make the words, and by `server/serve`, which
judges those it got. The key decides who a session is by, and its role what that one may do; words can only
agree with it. It must not touch a store.

    pacha serve --protocol 1 --machine 0123…          a Pacha that sends
    pacha serve --protocol 1 --read NAME [--rebuild]  one that reads a history
    pacha serve --protocol 1 --list                   one that asks which there are
    pacha serve --protocol 1 --deployment NAME        a host that pulls a deployment
    hg -R NAME serve --stdio                          a stock Mercurial

Nothing else is a request, to the byte: no shell ever sees it. The list is one JSON object, a deployment one
parcel (`core/parcel`), and nothing is read from the client; on all others follows Mercurial's wire protocol,
version 1, on standard input and output.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pacha.core.errors import Refused

# Of the words, the commands and the answers. One apart works; it grows when an older other end cannot go on.
PROTOCOL = 1

# How a refusal begins, on standard error or in an answer.
REFUSED = "pacha: refused: "
# And how what follows does, to who may read all histories and names one that is not there.
NO_HISTORY = "there is no history of "
# To a host that pulls what is not there; and to a client that asks for what an older server does not know.
NO_DEPLOYMENT, NO_COMMAND = "there is no deployment ", " is no command of this server"

# What a key opens: one history to be added to, all to be read, or all to be read and hosts to be rebuilt.
HOST, READER, ADMIN = "host", "reader", "admin"
ROLES = (HOST, READER, ADMIN)

_NAME = r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}"
_PACHA = re.compile(
    r"pacha serve --protocol ([1-9][0-9]{0,3})"
    rf"(?: --machine ([0-9A-Za-z._-]{{1,64}})| --read ({_NAME})( --rebuild)?| (--list)"
    rf"| --deployment ({_NAME}))?"
)
_MERCURIAL = re.compile(rf"hg -R ({_NAME}) serve --stdio")

Purpose = Literal["send", "read", "rebuild", "list", "pull"]


class Request(NamedTuple):
    """What a client asks for; of a stock Mercurial neither protocol nor machine is known. `host` is whose
    history is to be read, `deployment` what is to be pulled.
    """

    protocol: int | None
    machine: str
    host: str = ""
    purpose: Purpose = "send"
    deployment: str = ""


def request_words(machine: str) -> str:
    """The remote command of a client on this machine, which sends."""
    words = f"pacha serve --protocol {PROTOCOL}"
    named = f"{words} --machine {machine}"
    return named if _PACHA.fullmatch(named) else words


def reading_words(host: str, *, rebuild: bool = False) -> str:
    """The remote command of who reads the history of a host; the caller has checked the name."""
    return f"pacha serve --protocol {PROTOCOL} --read {host}{' --rebuild' if rebuild else ''}"


def listing_words() -> str:
    """The remote command of who asks which histories there are."""
    return f"pacha serve --protocol {PROTOCOL} --list"


def pulling_words(deployment: str) -> str:
    """The remote command of a host that pulls a deployment; the caller has checked the name."""
    return f"pacha serve --protocol {PROTOCOL} --deployment {deployment}"


def parse_request(words: str, name: str, role: str = HOST) -> Request:
    """What `words`, the client's whole command line, ask of the session of `name`, whose key was used.

    Raise Refused for everything but the requests, for what the role does not allow, and for a protocol too
    far away. Whether a host of that name exists is not known here.
    """
    if pacha := _PACHA.fullmatch(words):
        protocol = int(pacha[1])
        check_protocols(protocol, PROTOCOL)
        purpose: Purpose = "list" if pacha[5] else "rebuild" if pacha[4] else "read" if pacha[3] else "send"
        asked = Request(protocol, pacha[2] or "", pacha[3] or "", purpose)
        if pacha[6]:
            asked = asked._replace(purpose="pull", deployment=pacha[6])
    elif mercurial := _MERCURIAL.fullmatch(words):
        asked = Request(None, "", mercurial[1], "send" if role == HOST else "read")
    else:
        raise Refused(f"{words[:80]!a}{NO_COMMAND}" if words else "there is no shell here")
    return _of_host(asked, name) if role == HOST else _of_reader(asked, role)


def _of_host(asked: Request, name: str) -> Request:
    if asked.purpose == "list" or asked.host not in ("", name):
        raise Refused(f"this key opens the store of {name} and no other")
    return asked._replace(host="") if asked.purpose == "send" else asked


def _of_reader(asked: Request, role: str) -> Request:
    if asked.purpose == "pull":
        raise Refused(f"this key is there to read ({role}): a deployment goes to a host, by its own key")
    if asked.purpose == "send":
        words = "a host's own, which pacha host add or rekey lets in, may send"
        raise Refused(f"this key is there to read ({role}); {words}")
    if asked.purpose == "rebuild" and role != ADMIN:
        raise Refused("this key reads: to rebuild a host takes that host's own key, or an admin's")
    return asked


def check_protocols(client: int, server: int) -> None:
    """Raise Refused where the two speak protocols further than one apart; asked by both."""
    if abs(client - server) > 1:
        older = "client" if client < server else "server"
        problem = f"the client speaks protocol {client} and the server {server}"
        raise Refused(problem, hint=f"update Pacha on the {older}")
