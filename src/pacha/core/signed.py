"""What a person signs of a deployment, and whether that holds at a host, now.

Made by `core/to_sign`, and written by `pacha sign` into the deployment's directory; read by `pacha push`,
which sends it along, and by whatever takes a deployment on a host, wherever that came from: `ops/signing`
tells the order. Who signed it is asked elsewhere (`adapters/signatures`). It must not look at a file, nor at
the clock.

The statement is JSON in the one form that `render` gives it, so that it can be read, and compared:

    {"contents": {"files/etc/motd": "sha256…", …}, "deployment": "web", "format": 1, "from": "2026-…Z",
     "hosts": {"web1": "sha256…"}, "kind": "pacha deployment", "serial": 1795456554, "until": "2026-…Z"}

What takes effect at a host is the digest beside its name (`core/parcel.digest_of`); `contents` is what that
was made of, for people. The serial grows from one to the next: it is the time of signing, in seconds, or one
more than the one before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from pacha.core.deployed import Accepted
from pacha.core.errors import Refused
from pacha.core.parcel import Deployment, digest_of, revision_of
from pacha.core.parcel_line import Values, is_deployment_name
from pacha.core.quantities import SECOND, format_when
from pacha.core.shown import printable

FORMAT, KIND = 1, "pacha deployment"
SKEW_NS = 300 * SECOND  # so far may two clocks be apart
# So far may a serial be ahead of its time: who once had the key cannot block all that is signed afterwards.
SERIAL_AHEAD = 3600
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SHA256 = re.compile(r"[0-9a-f]{64}")
HOST_AT_MOST = 255
_SHOWN_HOSTS = 5


class Statement(NamedTuple):
    """What is signed: times in seconds since the epoch, digests by host, and by file of the directory."""

    deployment: str
    serial: int
    begin: int
    until: int
    hosts: Mapping[str, str]
    contents: Mapping[str, str]


class Vouched(NamedTuple):
    """Who signed what is taken here, as the host's own list calls him."""

    signer: str
    serial: int


# -- its text ----------------------------------------------------------------------------------------------


def render(statement: Statement) -> str:
    """The text that is signed, ASCII."""
    values = {
        "format": FORMAT, "kind": KIND, "deployment": statement.deployment, "serial": statement.serial,
        "from": time_words(statement.begin), "until": time_words(statement.until),
        "hosts": statement.hosts, "contents": statement.contents,
    }  # fmt: skip
    return json.dumps(values, sort_keys=True, indent=1) + "\n"


def parse(text: str) -> Statement:
    """Read what was signed. Raise Refused for what is none, or in another form than `render` gives it."""
    where = "what was signed"
    try:
        values = Values(json.loads(text), where)
    except (ValueError, RecursionError):
        raise Refused(f"{where} is no statement about a deployment") from None
    if values.given.get("kind") != KIND or values.given.get("format") != FORMAT:
        raise Refused(
            f"{where} is no statement about a deployment, or of another version",
            hint="the same version of Pacha on all machines",
        )
    try:
        found = Statement(
            values.take("deployment", str),
            values.take("serial", int),
            _seconds(values.take("from", str)),
            _seconds(values.take("until", str)),
            values.take("hosts", dict),
            values.take("contents", dict),
        )
        is_sound = _is_sound(found) and render(found) == text
    except (ValueError, OverflowError, RecursionError):
        is_sound = False
    if not is_sound:
        raise Refused(f"{where} has not the form that pacha sign gives it", hint="sign it again")
    return found


def _is_sound(found: Statement) -> bool:
    digests = [*found.hosts.values(), *found.contents.values()]
    names = all(0 < len(name) <= HOST_AT_MOST and name.isprintable() for name in found.hosts)
    is_timely = 0 <= found.begin < found.until and 0 < found.serial <= found.begin + SERIAL_AHEAD
    forms = all(isinstance(one, str) and _SHA256.fullmatch(one) for one in digests)
    return names and is_timely and forms and is_deployment_name(found.deployment)


def time_words(seconds: int) -> str:
    """A time as a statement has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _seconds(text: str) -> int:
    return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())


# -- who pushes --------------------------------------------------------------------------------------------


def doubts(statement: Statement, deployment: Deployment, host: str, now_ns: int) -> str:
    """Why a host would not take it by what was signed, in words; empty where it would, as far as one can tell
    from outside.
    """
    if statement.deployment != deployment.name:
        return f"it was signed as {statement.deployment}"
    if host not in statement.hosts:
        return "it was not signed for them"
    if statement.hosts[host] != digest_of(deployment):
        return "it has changed since it was signed"
    if now_ns >= statement.until * SECOND:
        return f"its signature held until {time_words(statement.until)}"
    return ""


# -- the host ----------------------------------------------------------------------------------------------


def check(statement: Statement, deployment: Deployment, host: str, now_ns: int, seen_ns: int) -> None:
    """Raise Refused where what was signed is not this, not for this host, or not now. `seen_ns`: when
    something signed was taken here last.
    """
    name = deployment.name
    if statement.deployment != name:
        raise Refused(f"what was signed is the deployment {statement.deployment}, and this is {name}")
    if host not in statement.hosts:
        names = [printable(one) for one in sorted(statement.hosts)]
        more = f" and {len(names) - _SHOWN_HOSTS} more" if len(names) > _SHOWN_HOSTS else ""
        words = f"{name} was signed for {' '.join(names[:_SHOWN_HOSTS])}{more}, and this host is {host}"
        raise Refused(words, hint=f"pacha sign {name} --for {host}, as its own pacha.toml names it")
    if statement.hosts[host] != digest_of(deployment) or deployment.revision != revision_of(deployment):
        raise Refused(
            f"{name} is not what was signed for {host}", hint="sign it as it is now, and push again"
        )
    if now_ns + SKEW_NS < seen_ns:
        words = f"the clock of this host says {format_when(now_ns)}, and has said {format_when(seen_ns)}"
        raise Refused(f"whether the signature holds is not known: {words}", hint="set the clock of the host")
    if now_ns + SKEW_NS < statement.begin * SECOND:
        words = f"{name} was signed for a time from {time_words(statement.begin)} on"
        raise Refused(f"{words}, and here it is {format_when(now_ns)}", hint="set the clock that is wrong")
    if now_ns >= statement.until * SECOND:
        words = f"the signature of {name} held until {time_words(statement.until)}"
        raise Refused(
            f"{words}, and here it is {format_when(now_ns)}", hint=f"pacha sign {name}, and push again"
        )


def check_serial(name: str, serial: int, made: str, last: Accepted | None) -> None:
    """Raise Refused for what was signed before that which the host has, or apart from it at the same time."""
    hint = f"pacha sign {name}, and push again"
    if last is None or serial > last.serial:
        return
    if serial < last.serial:
        words = (
            f"{name} was signed before what this host has already (serial {serial}, and {last.serial} here)"
        )
        raise Refused(words, hint=hint)
    if made != last.digest:
        raise Refused(f"{name} is another than what this host has under the same serial {serial}", hint=hint)
