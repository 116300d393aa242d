"""The machine's own sshd, asked for its effective settings; and who may write what it must trust.

Called by `server init` and `doctor`. It changes nothing. sshd tells its settings only to who can read a host
key of it, which is root.
"""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess

from pacha.core.errors import Failed
from pacha.core.ssh_command import split_command
from pacha.core.sshd_settings import Account, parse_settings

_PLACES = ":/usr/sbin:/sbin:/usr/local/sbin"
_PATIENCE = 10


def settings(command: str, account: Account) -> dict[str, list[str]]:
    """The settings in force for an account; Failed, in sshd's words, where it does not tell."""
    program, *options = split_command(command)
    found = shutil.which(program, path=os.environ.get("PATH", "") + _PLACES)
    if found is None:
        raise Failed(f"there is no {program} here", hint="install the OpenSSH server")
    who = f"user={account.name},host={socket.gethostname()},addr=127.0.0.1"
    try:
        done = subprocess.run(
            [found, *options, "-T", "-C", who],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Failed(f"{program} does not tell its settings: {problem}") from problem
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"]
        raise Failed(f"{program} does not tell its settings: {said[-1]}")
    return parse_settings(done.stdout.decode("utf-8", "replace"))


def host_keys(command: str, account: Account) -> list[str]:
    """The public host keys that sshd shows, as `KIND DATA`, of those that can be read."""
    try:
        paths = settings(command, account).get("hostkey", [])
    except Failed:
        paths = sorted(glob.glob("/etc/ssh/ssh_host_*_key"))
    found = []
    for path in paths:
        try:
            with open(f"{path}.pub", encoding="utf-8") as file:
                found.append(" ".join(file.read().split()[:2]))
        except OSError:
            continue
    return found


def writable_by_others(account: Account) -> list[str]:
    """The folders and the file on the way to the keys that others may write to: sshd (StrictModes) then takes
    no key at all.
    """
    home = account.home.rstrip("/")
    paths = [account.keys]
    while paths[-1] not in (home, "/"):
        paths.append(os.path.dirname(paths[-1]))
    found = []
    for path in paths:
        try:
            if os.stat(path).st_mode & 0o022:
                found.append(path)
        except OSError:
            continue
    return found
