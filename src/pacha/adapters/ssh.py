"""The person's ssh: who is at the other end, and what does it say?

Called by `join` and by `host add --ssh`. It never asks: what a person must decide, the caller asks. The
sender has connections of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from pacha.adapters import ssh_files
from pacha.core.config_values import is_host_name
from pacha.core.errors import Failed, Refused, Unreachable
from pacha.core.line import Listing
from pacha.core.protocol import ADMIN, READER, REFUSED, listing_words
from pacha.core.ssh_command import split_command, ssh_words

_PATIENCE = 90
# Only to be shown the host key: nobody is let in without giving a name of any sort.
_LOOK = (
    "StrictHostKeyChecking=accept-new",
    "GlobalKnownHostsFile=/dev/null",
    "HashKnownHosts=no",
    "CheckHostIP=no",
    "UpdateHostKeys=no",
    "ControlMaster=no",
    "ControlPath=none",
    "PreferredAuthentications=none",
    "PubkeyAuthentication=no",
)
_LOCKED_OUT = "Permission denied"


class Said(NamedTuple):
    """How a remote command ended; `exit` 255 is ssh's own failure."""

    exit: int
    out: str
    err: str

    @property
    def is_locked_out(self) -> bool:
        """Whether the other end lets nobody in by the keys that were shown."""
        return self.exit == 255 and _LOCKED_OUT in self.err

    @property
    def last_words(self) -> str:
        """What it said last on standard error, or how it ended."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit {self.exit}"


class Ssh:
    """One configured command; `state` is the state folder with what `join` made."""

    def __init__(self, command: str, state: str) -> None:
        self._command = command
        self._state = state

    # -- what `join` makes ---------------------------------------------------------------------------

    def make_key(self, comment: str) -> tuple[str, bool]:
        """(this host's public key, whether it was made now)."""
        return ssh_files.make_key(self._state, comment)

    def pins(self) -> str:
        """The text of the pinned host keys."""
        return ssh_files.read_pins(self._state)

    def pin(self, text: str) -> None:
        """Replace it."""
        ssh_files.write_pins(self._state, text)

    def known_to_person(self, name: str) -> list[str]:
        """The host keys, as `KIND DATA`, that the person's own known_hosts has under a name."""
        path = os.path.expanduser("~/.ssh/known_hosts")
        command = ["ssh-keygen", "-F", name, "-f", path]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except OSError:
            return []
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        # A line that begins with @ revokes a key, or is about a certificate's.
        return [" ".join(line.split()[1:3]) for line in lines if line[:1] not in ("#", "@")]

    # -- connections ---------------------------------------------------------------------------------

    def run(self, destination: str, remote: str, stdin: bytes = b"", *, ask: bool = False) -> Said:
        """Run one command at a destination, with what `join` made for it; `ask`: ssh may ask for a password.

        Failed where it takes forever, or there is no ssh.
        """
        key, pins = ssh_files.files_for(self._state, destination)
        command = split_command(self._command) if ask else ssh_words(self._command, key, pins)
        return _run(command, destination, remote, stdin)

    def histories(self, server: str) -> list[Listing]:
        """The histories that a server lets this key read; what in its answer makes no sense is left out."""
        try:
            told = [(one["host"], one["tip"], one["forgotten"]) for one in self._list(server)["hosts"]]
        except (TypeError, KeyError):
            told = []
        return [
            Listing(host, tip, forgotten)
            for host, tip, forgotten in told
            if isinstance(host, str)
            and is_host_name(host)
            and isinstance(tip, str)
            and type(forgotten) is int
        ]

    def role(self, server: str) -> str:
        """As what a server lets this key read; Refused where it does not."""
        role = self._list(server).get("role")
        if role not in (READER, ADMIN):
            raise Refused(f"{server}: its answer makes no sense", hint="is it the same version of Pacha?")
        return str(role)

    def _list(self, server: str) -> dict[str, Any]:
        said = self.run(server, listing_words())
        if said.exit != 0:
            words = said.last_words
            if words.startswith(REFUSED):
                raise Refused(f"{server} refuses: {words.removeprefix(REFUSED)}")
            raise Unreachable(f"{server} cannot be reached: {words}", hint=f"try: ssh {server}")
        try:
            told = json.loads(said.out)
        except ValueError:
            told = None
        return told if isinstance(told, dict) else {}

    def host_keys(self, destination: str) -> list[str]:
        """What a server shows of itself, as lines of known_hosts; Failed where it cannot be reached."""
        with tempfile.TemporaryDirectory(prefix="pacha-") as folder:
            path = os.path.join(folder, "known_hosts")
            command = ssh_words(self._command)
            for option in (f"UserKnownHostsFile={path}", *_LOOK):
                command += ["-o", option]
            said = _run(command, destination, "true", b"")
            lines = ssh_files.read_named(path).splitlines() if os.path.exists(path) else []
        if not lines:
            words = f"{destination} cannot be reached: {said.last_words}"
            raise Failed(words, hint=f"does this work? {self._command} {destination}")
        return lines

    def known_name(self, destination: str) -> str:
        """The name under which known_hosts has a destination."""
        said = _run([*split_command(self._command), "-G"], destination, "", b"")
        values = dict(line.split(" ", 1) for line in said.out.splitlines() if " " in line)
        if said.exit != 0 or "hostname" not in values:
            raise Failed(f"{destination} is no destination of ssh: {said.last_words}")
        if "hostkeyalias" in values:
            return values["hostkeyalias"]
        port = values.get("port", "22")
        return values["hostname"] if port == "22" else f"[{values['hostname']}]:{port}"


def _run(command: Sequence[str], destination: str, remote: str, stdin: bytes) -> Said:
    words = [*command, "--", destination, *([remote] if remote else [])]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{destination} did not answer within {_PATIENCE} seconds") from None
    except OSError as problem:
        hint = "install the OpenSSH client, or name it: ssh = ..."
        raise Failed(f"{command[0]} cannot be run: {problem.strerror}", hint=hint) from problem
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return Said(done.returncode, out, err)
