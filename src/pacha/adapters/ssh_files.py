"""The files that `join` makes for connections, in `<state>/ssh`: a key, and the servers' host keys.

Called by `join` and by whoever connects. It runs `ssh-keygen` to make the key, and reads no private key.
"""

from __future__ import annotations

import os
import subprocess

from pacha.adapters import disk
from pacha.core.errors import Failed, UsageError
from pacha.core.ssh_command import is_joined


def key_path(state: str) -> str:
    """The private key's file; the public one is beside it as `.pub`."""
    return os.path.join(state, "ssh", "id_ed25519")


def pins_path(state: str) -> str:
    """The pinned host keys, in the form of known_hosts."""
    return os.path.join(state, "ssh", "known_hosts")


def files_for(state: str, destination: str) -> tuple[str, str]:
    """(private key, pinned host keys) for a destination; both empty for one that was not joined."""
    if not is_joined(read_pins(state), destination):
        return "", ""
    return key_path(state), pins_path(state)


def read_pins(state: str) -> str:
    """The text of the pinned host keys, empty where there are none."""
    try:
        with open(pins_path(state), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def read_named(path: str) -> str:
    """The text of a file that a person named; UsageError where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(100_000)
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}", hint="name another file") from problem


def write_pins(state: str, text: str) -> None:
    """Replace the pinned host keys, on the disk when this returns."""
    disk.replace(pins_path(state), text.encode("utf-8", "surrogateescape"))


def make_key(state: str, comment: str) -> tuple[str, bool]:
    """(the public key's text, whether it was made now)."""
    path = key_path(state)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    is_new = not os.path.exists(path)
    if is_new:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError as problem:
            raise Failed("there is no ssh-keygen", hint="install the OpenSSH client") from problem
        if done.returncode != 0:
            raise Failed(f"ssh-keygen made no key: {done.stderr.decode('utf-8', 'replace').strip()}")
    try:
        with open(f"{path}.pub", encoding="utf-8") as file:
            return file.read().strip(), is_new
    except FileNotFoundError as problem:
        raise Failed(f"{path}.pub is missing", hint=f"ssh-keygen -y -f {path} > {path}.pub") from problem
