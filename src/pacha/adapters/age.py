"""Encryption as the program age does it (https://age-encryption.org/v1), by the library pyrage.

Called by `adapters/secrets` alone, which knows where keys lie. The library is imported when something is to
be encrypted or opened, never before. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pacha.core.errors import DamagedStore, UsageError

_PRIVATE = "AGE-SECRET-KEY-"
_ENCRYPTED = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE")
# What the library says where no key fits; whatever else it says is damage.
_NO_KEY_FITS = "No matching keys found"


def new_identity() -> tuple[str, str]:
    """(private key, public key) of a new X25519 pair."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def public_key(identity: str) -> str:
    """The public key of an X25519 private key."""
    from pyrage import x25519

    return str(x25519.Identity.from_str(identity).to_public())


def encrypt(data: bytes, recipients: Iterable[str]) -> bytes:
    """The bytes as age writes them, for recipients that `core/recipients` has checked."""
    import pyrage

    made = [
        pyrage.x25519.Recipient.from_str(key)
        if key.startswith("age1")
        else pyrage.ssh.Recipient.from_str(key)
        for key in recipients
    ]
    return bytes(pyrage.encrypt(data, made))


def decrypt(data: bytes, identities: Sequence[Any]) -> bytes | None:
    """The plaintext; None where none of the keys fits. Raise DamagedStore for what is no whole age file."""
    import pyrage

    try:
        return bytes(pyrage.decrypt(data, identities))
    except pyrage.DecryptError as problem:
        if str(problem) == _NO_KEY_FITS:
            return None
        raise DamagedStore(f"an encrypted content is damaged: {problem}", hint="pacha verify") from problem


def identities(text: str, source: str) -> list[Any]:
    """The private keys in a file of age's or in one of OpenSSH's. UsageError says what is wrong with it."""
    import pyrage

    if text.startswith(_ENCRYPTED):
        hint = f"open a copy that no disk keeps: age -d {source} > /dev/shm/key"
        raise UsageError(f"{source} is itself encrypted", hint=hint)
    if "-----BEGIN" in text:
        return [_ssh_identity(text, source)]
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        try:
            found.append(pyrage.x25519.Identity.from_str(line))
        except pyrage.IdentityError as problem:
            raise _unusable(source, line) from problem
    if not found:
        raise UsageError(
            f"{source} holds no private key", hint="age-keygen makes one; ~/.ssh/id_ed25519 is one"
        )
    return found


def _ssh_identity(text: str, source: str) -> Any:
    import pyrage

    try:
        return pyrage.ssh.Identity.from_buffer(text.encode())
    except pyrage.IdentityError as problem:
        if "decrypted first" not in str(problem):
            hint = "of OpenSSH's keys only ed25519 and rsa can open what age encrypted"
            raise UsageError(f"{source} cannot be used: {problem}", hint=hint) from problem
        copy = f"cp {source} /dev/shm/key && ssh-keygen -p -N '' -f /dev/shm/key"
        raise UsageError(
            f"{source} is protected by a passphrase, which Pacha never asks for",
            hint=f"take it off a copy that no disk keeps, and remove that afterwards: {copy}",
        ) from problem


def _unusable(source: str, line: str) -> UsageError:
    if line.startswith(_PRIVATE):
        return UsageError(f"{source} holds a private key that is mistyped", hint="its checksum is wrong")
    if line.startswith(("age1", "ssh-")):
        return UsageError(f"{source} holds a public key", hint="the private key that goes with it is needed")
    return UsageError(
        f"{source} holds something that is no private key of age's or OpenSSH's",
        hint="keys of plugins are not taken: age -d opens those, see docs/how-to/secrets.md",
    )
