"""The words of an ssh command line, up to where the destination follows.

Called by whatever connects: `join`, `host add --ssh`, the sender and `push`. The person's own configuration
of ssh stays in force, but nothing in it may ask a question, keep a dead link open or forward anything.
"""

from __future__ import annotations

import shlex

from pacha.core.errors import ConfigError

_ALWAYS = (
    "BatchMode=yes",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
)
# A connection of its own, to see whether there is a way still; said first, as the first word counts.
_FRESH = ("ControlMaster=no", "ControlPath=none", "ConnectTimeout=5", "ServerAliveInterval=5")
_KEPT_FOR = 600  # seconds since the last session over a connection
# Of the path of a socket, and what ssh puts behind it while it makes one.
_PATH_AT_MOST = 107
_BEHIND = len(".0123456789abcdef")
_DIGEST_LENGTH = 40  # of what stands for %C


def ssh_words(ssh: str, key: str = "", pins: str = "", *, is_fresh: bool = False) -> list[str]:
    """`ssh` is the configured command; `key` and `pins` are the files that `join` made for the destination,
    empty for one that was not joined: then the person's own keys and known hosts decide. With `is_fresh` no
    connection that is kept is used.
    """
    words = [*split_command(ssh), "-T"]
    options = [*(_FRESH if is_fresh else ()), *_ALWAYS]
    if key:
        words += ["-i", key]
        options += ["IdentitiesOnly=yes", "IdentityAgent=none"]
    if pins:
        quoted = pins.replace("%", "%%")  # ssh expands %h and the like
        options += [f'UserKnownHostsFile="{quoted}"', "GlobalKnownHostsFile=/dev/null"]
        options += ["StrictHostKeyChecking=yes", "UpdateHostKeys=no", "VerifyHostKeyDNS=no"]
    for option in options:
        words += ["-o", option]
    return words


def kept_words(socket: str) -> list[str]:
    """Options by which connections are kept, and used again by whoever names the same path of a socket; none
    where that is too long for one. ssh makes a digest of host, port and user of its `%C`.
    """
    if len(socket.encode()) - len("%C") + _DIGEST_LENGTH + _BEHIND > _PATH_AT_MOST:
        return []
    options = ("ControlMaster=auto", f'ControlPath="{socket}"', f"ControlPersist={_KEPT_FOR}")
    return [word for option in options for word in ("-o", option)]


def is_joined(pins: str, destination: str) -> bool:
    """Whether the text of the file of pinned host keys has some for a destination: `join` says so above
    them.
    """
    return f"# {destination}" in pins.splitlines()


def split_command(ssh: str) -> list[str]:
    """The words of a configured command; ConfigError where its quotes do not end."""
    try:
        words = shlex.split(ssh)
    except ValueError as problem:
        raise ConfigError(f"ssh = {ssh!r} cannot be read: {problem}") from problem
    if not words:
        raise ConfigError("ssh is empty", hint='ssh = "ssh"')
    return words
