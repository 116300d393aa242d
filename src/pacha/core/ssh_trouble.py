"""What it means when ssh ends without having run anything: unreachable, another machine, not let in.

Called by `core/answer`. The words are those of OpenSSH, which it says on standard error at LogLevel ERROR.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from pacha.core.destinations import host_of

FAILED = 255  # ssh's own exit code


class Trouble(NamedTuple):
    """Why a host did not do it; `kind` is one of those of core/errors, or of docs/reference/json.md."""

    kind: str
    message: str
    hint: str = ""


_UNREACHABLE, _HOST_KEY, _PERMISSION = "unreachable", "host-key", "permission"
_SILENT = Trouble(_UNREACHABLE, "it does not answer", "is it running, and does nothing block the way?")
_CLOSED = Trouble(_UNREACHABLE, "it closed the connection", "what does its sshd log?")
# Which key is another than the known one: in which file, and under which name, an alias, or one with a port.
_OFFENDING = re.compile(r"^Offending \S+ key in (/.+):\d+\r?$", re.MULTILINE)
_CHANGED = re.compile(r"^Host key for (\S+) has changed", re.MULTILINE)
# In the order in which to look for them: the first that ssh has said something of is the cause.
_MEANINGS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": Trouble(
        _HOST_KEY,
        "it shows another host key than the known one: another machine, or somebody in between",
        "compare its key; if it is the right one: {forget}",
    ),
    "Host key verification failed": Trouble(
        _HOST_KEY, "its host key is not known here", "compare its key, and answer yes: ssh {destination}"
    ),
    "Permission denied": Trouble(
        _PERMISSION,
        "it lets nobody in by the keys that it was shown",
        "without a question? ssh {destination}",
    ),
    "Too many authentication failures": Trouble(
        _PERMISSION, "it was shown too many keys", "in ~/.ssh/config: IdentityFile, IdentitiesOnly yes"
    ),
    "Could not resolve hostname": Trouble(
        _UNREACHABLE, "there is no such name", "is it in ~/.ssh/config, in the DNS, or in /etc/hosts?"
    ),
    "Connection refused": Trouble(_UNREACHABLE, "nothing listens there", "is its sshd running?"),
    "No route to host": Trouble(_UNREACHABLE, "there is no way to it", "is it on the network?"),
    "Network is unreachable": Trouble(
        _UNREACHABLE, "there is no way to it", "is this machine on the network?"
    ),
    "UNKNOWN port 65535": Trouble(
        _UNREACHABLE, "the machine in between closed the connection", "fewer at once: --jobs 10"
    ),
    "timed out": _SILENT,
    "not responding": _SILENT,
    "Connection closed": _CLOSED,
    "Connection reset": _CLOSED,
}


def explain(destination: str, words: str) -> Trouble:
    """What ssh's words to a destination mean; where they are not known, they stand for themselves."""
    for text, trouble in _MEANINGS.items():
        if text in words:
            hint = trouble.hint.format(destination=destination, forget=_forget(destination, words))
            return trouble._replace(hint=hint)
    message = last_line(words) or "it cannot be reached"
    return Trouble(_UNREACHABLE, message, f"does this work? ssh {destination} true")


def _forget(destination: str, words: str) -> str:
    """The command that has ssh forget the known key of a host."""
    file, name = _OFFENDING.findall(words), _CHANGED.findall(words)
    if not name:
        return shlex.join(["ssh-keygen", "-R", host_of(destination)])
    return shlex.join(["ssh-keygen", *(["-f", file[-1]] if file else []), "-R", name[-1]])


def last_line(words: str) -> str:
    """The last that was said."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else ""
