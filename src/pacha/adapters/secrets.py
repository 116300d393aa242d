"""A host's secrets as the machine keeps them: its own private key, and the keys that a person names.

Made by `cli/session` and handed to operations as `host.secrets` (what is to be encrypted, and how) and
`past.identities` (what opens it again). The host's own key lies in `<state>/secrets/identity`, is made when
it is first needed and never leaves the machine: it is among the recipients, so that the host can show and
bring back what it has stored, and the key of the digests is made of it. It must not decide what is a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pacha.adapters.disk import sync_folder
from pacha.core.errors import DamagedStore
from pacha.core.secrets import Named, keyed_digest, render_secrets, sealed_id

if TYPE_CHECKING:
    from pacha.core.recipients import Recipient

_PUBLIC = "# public key: "
_PRIVATE = "AGE-SECRET-KEY-"
_DIGESTS = b"pacha: keyed digests of secrets"


class OwnKey:
    """The private key of this host, with those that it had before below it in the same file."""

    def __init__(self, state: str) -> None:
        self.path = os.path.join(state, "secrets", "identity")

    @property
    def exists(self) -> bool:
        """Whether it was made."""
        return os.path.exists(self.path)

    @cached_property
    def text(self) -> str:
        """The file, which is made, and on the disk, when this returns."""
        found = self._read()
        if found is None:
            self._make()
            found = self._read()
        if found is None or not any(line.startswith(_PRIVATE) for line in found.splitlines()):
            raise DamagedStore(
                f"{self.path} holds no private key",
                hint="put it back; or remove it, a new one is made: the recovery keys open what is stored",
            )
        return found

    @cached_property
    def private(self) -> str:
        """The key that is in force: the first in the file."""
        return next(line.strip() for line in self.text.splitlines() if line.startswith(_PRIVATE))

    @cached_property
    def public(self) -> Recipient:
        """Its public key, from the comment beside it, so that who encrypts nothing need not compute it."""
        before = self.text.partition(_PRIVATE)[0]
        noted = [
            line.removeprefix(_PUBLIC).strip() for line in before.splitlines() if line.startswith(_PUBLIC)
        ]
        from pacha.core.recipients import Recipient

        if noted:
            return Recipient(noted[-1])
        from pacha.adapters.age import public_key

        return Recipient(public_key(self.private))

    def _read(self) -> str | None:
        try:
            with open(self.path, encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except FileNotFoundError:
            return None

    def _make(self) -> None:
        """Complete and on the disk before it has its name: what is encrypted for it must never outlive it."""
        from pacha.adapters.age import new_identity

        folder = os.path.dirname(self.path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        private, public = new_identity()
        beside = f"{self.path}.{os.urandom(8).hex()}.new"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as handle:
                handle.write(f"{_PUBLIC}{public}\n{private}\n")
                handle.flush()
                os.fsync(descriptor)
            try:
                os.link(beside, self.path)
            except FileExistsError:  # another Pacha was quicker
                pass
        finally:
            os.unlink(beside)
        sync_folder(folder)
        sync_folder(os.path.dirname(folder))


class Secrets:
    """What is encrypted, and for whom, by the configuration in force."""

    def __init__(self, own: OwnKey, paths: Iterable[str], recipients: Iterable[str]) -> None:
        """`paths` and `recipients` as the configuration has them."""
        self.paths: Sequence[str] = [*paths]
        self.named = Named(self.paths)
        self._recipients = [*recipients]
        self._own = own

    @cached_property
    def configured(self) -> Sequence[Recipient]:
        """The recipients that a person named."""
        from pacha.core.recipients import parse_recipient

        return [*map(parse_recipient, self._recipients)]

    @property
    def has_own(self) -> bool:
        """Whether this host's own key was made."""
        return self._own.exists

    @property
    def own(self) -> Recipient:
        """The public key of this host itself."""
        return self._own.public

    @property
    def recipients(self) -> list[Recipient]:
        """All for whom a secret is encrypted now; the host itself is the first."""
        return [self.own, *(one for one in self.configured if one.key != self.own.key)]

    @cached_property
    def sealed(self) -> bytes:
        """The name of that set, for `sealed=`."""
        return sealed_id(self.recipients)

    def render(self) -> bytes:
        """The text of `facts/secrets`."""
        return render_secrets(self.own, self.configured, self.paths)

    def joined(self, paths: Iterable[str], recipients: Iterable[Recipient]) -> Secrets:
        """These, and more files and recipients."""
        known = {one.key for one in self.configured}
        more = [str(one) for one in recipients if one.key not in known]
        return Secrets(self._own, [*self.paths, *paths], [*map(str, self.configured), *more])

    def digest(self, path: bytes, sha256: bytes) -> bytes:
        """The keyed digest of a content."""
        return keyed_digest(self._key, path, sha256)

    def close(self, data: bytes) -> bytes:
        """The content, encrypted for the recipients."""
        from pacha.adapters.age import encrypt

        return encrypt(data, [recipient.key for recipient in self.recipients])

    @cached_property
    def _key(self) -> bytes:
        import hmac

        return hmac.digest(self._own.private.encode(), _DIGESTS, "sha256")


class Identities:
    """The private keys at hand: those in the files that a person named, and the host's own."""

    def __init__(self, files: Iterable[str] = (), own: OwnKey | None = None) -> None:
        """Read `files` at once: a wrong one is told of before anything is done."""
        self._own = own
        self._named: list[Any] = []
        for path in files:
            self._named += _read(path)

    def open(self, data: bytes) -> bytes | None:
        """The plaintext; None where no key at hand opens it."""
        from pacha.adapters.age import decrypt

        return decrypt(data, self._all) if self._all else None

    @cached_property
    def _all(self) -> list[Any]:
        from pacha.adapters.age import identities

        mine = (
            identities(self._own.text, self._own.path) if self._own is not None and self._own.exists else []
        )
        return [*mine, *self._named]


def _read(path: str) -> list[Any]:
    from pacha.adapters.age import identities
    from pacha.adapters.ssh_files import read_named

    return identities(read_named(path), path)
