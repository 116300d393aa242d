"""The text of `authorized_keys`, and the public keys in it: one line for each host, which binds its key to
one forced command.

Called by the server's verbs. Pure: text in, text out. It writes only between Pacha's own two markers, and
inside them only the lines of the hosts that it was given; every other line stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from pacha.core.errors import ConfigError, Failed, UsageError

BEGIN, END = "# pacha: begin", "# pacha: end"
_COMMENT = "pacha:"
_KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
_HOW = "one line as in id_ed25519.pub: ssh-ed25519 AAAA…"


class PublicKey(NamedTuple):
    """One key: its kind and its base64, as they stand in a file."""

    kind: str
    data: str

    def __str__(self) -> str:
        return f"{self.kind} {self.data}"

    @property
    def sort(self) -> str:
        """What ssh calls its kind: ED25519, RSA …"""
        return self.kind.removeprefix("sk-").removeprefix("ssh-").partition("-")[0].partition("@")[0].upper()

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: SHA256 and base64 without its padding."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse_key(text: str) -> PublicKey:
    """The one public key in a text; UsageError where there is none, more than one, or something else."""
    if "PRIVATE KEY" in text:
        raise UsageError("this is a private key", hint="give the public one, which ends in .pub")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        problem = "there is no key in it" if not lines else f"there are {len(lines)} lines, not one key"
        raise UsageError(problem, hint=_HOW)
    words = lines[0].split()
    if len(words) < 2 or words[0] not in _KINDS or not _is_of_kind(*words[:2]):
        raise UsageError("this is no public key of a kind that is taken", hint=_HOW)
    return PublicKey(words[0], words[1])


def forced_line(command: Sequence[str], name: str, key: PublicKey) -> str:
    """The line that lets `key` in, to run `command` and nothing else.

    sshd hands the command to the account's shell, so each word is quoted for a shell; sshd itself takes a
    backslash before a quotation mark for its protection.
    """
    words = shlex.join(command)
    if not words.isprintable():
        raise Failed("the path of the program, the configuration or the state holds a control character")
    quoted = words.replace('"', '\\"')
    return f'restrict,command="{quoted}" {key} {_COMMENT}{name}'


def with_hosts(text: str, lines: Mapping[str, str], gone: Collection[str] = ()) -> str:
    """`text` with a line for each host of `lines` (by name), and none for those that are `gone`.

    Raise ConfigError where the markers are not one pair.
    """
    all_lines = text.splitlines(keepends=True)
    first, last = _section(all_lines)
    if first < 0:
        if not lines:
            return text
        above = text if not text or text.endswith("\n") else text + "\n"
        return above + "".join(f"{line}\n" for line in (BEGIN, *lines.values(), END))
    old = all_lines[first + 1 : last]
    waiting = dict(lines)
    kept = []
    for line in old:
        name = _name(line)
        if name in lines:
            kept += [f"{waiting.pop(name)}\n"] if name in waiting else []
        elif name not in gone:
            kept.append(line)
    kept += [f"{line}\n" for line in waiting.values()]
    return "".join([*all_lines[: first + 1], *kept, *all_lines[last:]])


def hosts_of(text: str) -> dict[str, str]:
    """The line of each host between the markers, by name."""
    all_lines = text.splitlines()
    first, last = _section(all_lines)
    return {name: line for line in all_lines[first + 1 : last] if (name := _name(line))} if first >= 0 else {}


def other_line(text: str, key: PublicKey, name: str) -> int:
    """The number (from 1) of the first line that has `key` and is not that of host `name`; 0 where none has.

    sshd takes the first line that has a key: a second one would be without effect, or be all that counts.
    """
    own = hosts_of(text).get(name)
    for number, line in enumerate(text.splitlines(), 1):
        if key.data in line.split() and not line.lstrip().startswith("#") and line != own:
            return number
    return 0


def _is_of_kind(kind: str, data: str) -> bool:
    """Whether the key's data begins with its kind, as in RFC 4253, 6.6."""
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = kind.encode()
    return raw.startswith(len(name).to_bytes(4, "big") + name) and len(raw) > 4 + len(name) + 32


def _section(lines: Sequence[str]) -> tuple[int, int]:
    """Where the two markers stand; (-1, -1) where there are none."""
    marks = list(_marks(lines))
    if not marks:
        return -1, -1
    if [mark for _, mark in marks] != [BEGIN, END]:
        number, mark = marks[0] if len(marks) == 1 else marks[1]
        raise ConfigError(
            f"authorized_keys, line {number + 1}: {mark!r} is out of place",
            hint=f"there must be one line {BEGIN!r} and after it one line {END!r}; mend it by hand",
        )
    return marks[0][0], marks[1][0]


def _marks(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines):
        if line.strip() in (BEGIN, END):
            yield number, line.strip()


def _name(line: str) -> str:
    """Whose line it is: the comment behind the key says it."""
    words = line.split()
    word = words[-1] if words and not words[0].startswith("#") else ""
    return word.removeprefix(_COMMENT) if word.startswith(_COMMENT) else ""
