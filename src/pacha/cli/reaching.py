"""Other machines, as this one reaches them: servers, to send to one or to read what it keeps, and hosts, to
push to them.

Called by `cli/session`, which knows configuration and state, by `status` and by `push`; itself no verb.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pacha.core.asked import NAME

if TYPE_CHECKING:
    from pacha.adapters.change_file import ChangeFile
    from pacha.adapters.hg.remote import Remote
    from pacha.adapters.parcels import Delivery
    from pacha.adapters.pulls import Pulls
    from pacha.adapters.sessions import Sessions
    from pacha.cli.session import Session
    from pacha.core.deployment import Prepared, Sources
    from pacha.ops.fetch import Fetched
    from pacha.ops.ports import Copy


def sending_to(session: Session, address: str) -> Remote:
    """A server, with this host's own line."""
    from pacha.core.protocol import request_words

    store = os.fsencode(os.path.join(session.state_path, "store"))
    return _remote(session, address, store, request_words(session.host.machine))


def fetched(session: Session) -> Fetched:
    """The histories that the configured servers let this key read."""
    from pacha.adapters import machine, state
    from pacha.adapters.copies import Copies
    from pacha.adapters.hg.store import Store
    from pacha.core.protocol import reading_words
    from pacha.ops.fetch import Fetched

    def reach(address: str, copy: Copy, host: str, rebuild: bool) -> Remote:
        return _remote(session, address, copy.path, reading_words(host, rebuild=rebuild))

    state.make(session.state_path)
    return Fetched(
        session.config.servers,
        ask=session.ssh.histories,
        copy=Copies(session.state_path).of,
        reach=reach,
        store=Store(b""),
        now_ns=machine.now_ns,
    )


def asked_to_forget(session: Session) -> list[dict[str, Any]]:
    """What servers were asked to forget and have not: as objects. For `status`, which has no host at hand."""
    if not os.path.exists(os.path.join(session.state_path, NAME)):
        return []
    from pacha.adapters.forgets import Forgets
    from pacha.ops.forget import asked_objects

    return asked_objects(Forgets(session.state_path).all())


def pushing(session: Session) -> Sessions:
    """Connections to hosts that are pushed to, kept for the next push."""
    from pacha.adapters import state
    from pacha.adapters.sessions import Sessions

    state.make(session.state_path)
    return session.closing(Sessions(_ssh(session), session.state_path))


def delivery(session: Session, address: str, name: str) -> Delivery:
    """A deployment, asked of a server."""
    from pacha.adapters.parcels import Delivery
    from pacha.core.protocol import pulling_words

    return Delivery(address, _ssh_to(session, address, pulling_words(name)))


def pulls(session: Session) -> Pulls:
    """How the pulls ended that the configuration asks for."""
    from pacha.adapters.pulls import Pulls

    return Pulls(session.state_path)


def last_push(session: Session) -> ChangeFile:
    """The hosts that are left from earlier pushes of each deployment."""
    from pacha.adapters.change_file import ChangeFile

    return ChangeFile(os.path.join(session.state_path, "push.json"))


def deployment(folder: str) -> Prepared:
    """A deployment, read from its directory and checked."""
    from pacha.core.deployment import Prepared

    return Prepared(sources(folder))


def sources(folder: str) -> Sources:
    """A deployment as its directory has it."""
    from pacha.adapters.deployment import read_deployment

    return read_deployment(folder)


class SignedFiles:
    """What was signed of a deployment, and the signature: two files in its directory."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self) -> tuple[bytes, bytes]:
        """(what was signed, the signature), both empty where it never was."""
        from pacha.adapters.deployment import read_signed

        return read_signed(self._folder)

    def key_of(self, statement: bytes, signature: bytes) -> str:
        """Which key signed it; empty where it is not what was signed."""
        from pacha.adapters.signatures import key_of

        return key_of(statement, signature)

    def sign(self, statement: bytes, key: str | None) -> bytes:
        """Sign it, asking on the terminal what is to be asked."""
        from pacha.adapters.signatures import sign

        return sign(statement, key)

    def write(self, statement: bytes, signature: bytes) -> None:
        """Keep both."""
        from pacha.adapters.signatures import write_signed

        write_signed(self._folder, statement, signature)


def archives(session: Session) -> tuple[bytes, Callable[[tuple[int, int], str, str], bytes]]:
    """What brings Pacha to a host: the program that takes an archive, and what makes one that fits."""
    from pacha.adapters.carried import Machine, archive_for, arrival

    wheels = os.path.join(session.state_path, "wheels")
    return arrival(), lambda *machine: archive_for(Machine(*machine), wheels)


def pusher() -> str:
    """Who pushes, in words for the hosts' histories."""
    from pacha.adapters import machine

    return f"{machine.person()}@{machine.host_name()}"


def _ssh(session: Session) -> str:
    return os.environ.get("PACHA_SSH") or session.config.ssh


def _remote(session: Session, address: str, store: bytes, request: str) -> Remote:
    from pacha.adapters.hg.remote import Remote

    return Remote(address, store, _ssh_to(session, address, request))


def _ssh_to(session: Session, address: str, request: str) -> list[str]:
    """The command line that makes a request of a server."""
    from pacha.adapters.ssh_files import files_for
    from pacha.core.ssh_command import ssh_words

    key, pins = files_for(session.state_path, address)
    return [*ssh_words(_ssh(session), key, pins), "--", address, request]
