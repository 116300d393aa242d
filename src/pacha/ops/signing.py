"""Whether a host takes a deployment: who signed it, that it is meant for this host, now, and is not older
than what it has.

Called for each parcel before anything of its contents is read, by `receive`, and by whatever fetches one: it
is the same wherever the stream came from. Asked for where `[push] allowed_signers` names a file, and also for
a look beforehand, which would show live files to whoever sends a stream. It changes nothing: what was taken
is written down by `adapters/deployments`, when it is kept.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pacha.core.errors import Refused
from pacha.core.names import ancestors, split
from pacha.core.parcel import digest_of
from pacha.core.shown import shown
from pacha.core.signed import Vouched, check, check_serial, parse
from pacha.core.tracked import Vanished

if TYPE_CHECKING:
    from pacha.core.parcel import Parcel
    from pacha.ops.host import Host

_WRITABLE_BY_OTHERS = 0o022  # where there is an access list, the group's bits are its mask
_SIGNERS_AT_MOST = 1_000_000


def vouch(host: Host, parcel: Parcel) -> Vouched | None:
    """Who signed a parcel; None where this host does not ask. Raise Refused where it is not to be taken.

    No lock is needed: what is not lower than the serial here now is looked at again by `still_newest`.
    """
    path = host.config.push_allowed_signers
    if path is None:
        return None
    deployment, signed = parcel.deployment, parcel.signed
    if signed is None:
        hint = f"pacha sign {deployment.name} --for {host.name}, and push again"
        raise Refused("only what is signed is taken here, and this deployment is not", hint=hint)
    signers = read_signers(host, path)
    signer = host.signatures.signer(
        signers, signed.statement.encode("ascii"), signed.signature.encode("ascii")
    )
    statement = parse(signed.statement)
    check(statement, deployment, host.name, host.now_ns(), host.deployments.seen_ns())
    vouched = Vouched(signer, statement.serial)
    still_newest(host, parcel, vouched)
    return vouched


def still_newest(host: Host, parcel: Parcel, vouched: Vouched | None) -> None:
    """Raise Refused where a parcel is not, or not any more, what may be taken: nobody vouches for it, or what
    the host has is newer. Under the lock of live files that stays so.
    """
    if host.config.push_allowed_signers is None:
        return
    name = parcel.deployment.name
    if vouched is None:
        raise Refused("only what is signed is taken here, and nobody vouches for this deployment")
    check_serial(name, vouched.serial, digest_of(parcel.deployment), host.deployments.accepted(name))


def read_signers(host: Host, path: bytes) -> bytes:
    """The text of the list. Raise Refused where anybody could have written it but root, or who runs Pacha."""
    name = shown(path)
    parent, leaf = split(path)
    try:
        for above in ancestors(path):  # from the root on: what was looked at, nobody else can move
            with host.tree.directory(above) as directory:
                _refuse_foreign(directory.stat, above, name)
        with host.tree.directory(parent) as directory:
            status = directory.lstat(leaf)
            if status is None:
                raise Refused(f"there is no {name}, which tells who may sign", hint=_LIST)
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{name}, which tells who may sign, is no file", hint=f"name a file: {_LIST}")
            _refuse_foreign(status, path, "it")
            if status.st_nlink != 1:
                words = f"{name}, which tells who may sign, has another name too"
                raise Refused(words, hint=f"find / -xdev -samefile {name} names it: remove that")
            reading = directory.read(leaf, status, _SIGNERS_AT_MOST)
    except (OSError, Vanished) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is being changed"
        raise Refused(f"{name}, which tells who may sign, cannot be read: {why}", hint=_LIST) from problem
    if reading.data is None or reading.entry.unstable:
        raise Refused(f"{name}, which tells who may sign, is too large, or is being changed", hint=_LIST)
    return reading.data


_LIST = "[push] allowed_signers in pacha.toml: its path, without links; root's, one line for each person"


def _refuse_foreign(status: os.stat_result, path: bytes, what: str) -> None:
    """`what` tells who may sign: the path itself, or a file below it."""
    name = shown(path)
    if status.st_uid not in (0, os.geteuid()):
        owner = "root" if os.geteuid() == 0 else f"the account {os.geteuid()}"
        words = f"{name} is not {owner}'s, and {what} tells who may sign"
        raise Refused(words, hint=f"chown root {name}, or another path for allowed_signers")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        words = f"{name} can be written by others, and {what} tells who may sign"
        raise Refused(words, hint=f"chmod go-w {name}, or another path for allowed_signers")
