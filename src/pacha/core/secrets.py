"""Secrets: which files' contents are encrypted before they are stored, how their contents are told apart
without being told, and for whom they are encrypted.

Called by the scan, by capture and by whatever opens such a content again. A plain digest of a password is an
oracle for guessing it, so a secret's metadata line has a keyed one (`secret=`), whose key never leaves the
host; it covers the path, or equal digests would tell that two services have one password. `sealed=` names the
set of recipients, which `facts/secrets` of the same revision lists, with the patterns in force, so that a
machine that becomes this host keeps secret what was:

    own age1…
    path /etc/shadow*
    recipient ssh-ed25519 AAAA… alice@laptop

It must not read a key nor encrypt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pacha.core.digests import hexdigest
from pacha.core.entry import Entry
from pacha.core.errors import ConfigError
from pacha.core.names import escape, split, unescape
from pacha.core.patterns import Ignore, translate

if TYPE_CHECKING:
    from pacha.core.recipients import Recipient

SECRETS = b"facts/secrets"
_ID_LENGTH = 16


class Named:
    """What `[secrets] paths` names; false where that is nothing."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._has_any = bool(patterns)
        self._patterns = Ignore(patterns, built_in=False)
        self._directory: tuple[bytes, bool] = (b"", False)  # the last that was asked about

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return self._has_any

    def covers(self, path: bytes) -> bool:
        """Whether a file's content is a secret. A directory's entries, asked one after another, are cheap."""
        if not self._has_any:
            return False
        directory, name = split(path)
        if directory != self._directory[0]:
            self._directory = directory, self._patterns.matches(directory, is_dir=True)
        return self._directory[1] or self._patterns.matches_entry(directory, name, False)


def keyed_digest(key: bytes, path: bytes, sha256: bytes) -> bytes:
    """What stands for a content in its metadata line, hexadecimal. It is made of the content's sha256, so
    that what was once stored in the clear can be compared without being read.
    """
    import hmac

    return hmac.digest(key, path + b"\0" + sha256, "sha256").hex().encode()


def seal(entry: Entry, digest: bytes | None, sealed: bytes | None) -> Entry:
    """A file's entry as one of a secret: the keyed digest for the plain one, and not a word of its holes."""
    if digest is None:
        return entry
    kept_for = sealed if entry.has_content else None
    return entry._replace(sha256=None, secret=digest, sealed=kept_for, holes=())


def render_secrets(own: Recipient, others: Sequence[Recipient], paths: Iterable[str]) -> bytes:
    """The text of `facts/secrets`."""
    lines = [
        f"own {own}",
        *sorted(f"path {path}" for path in paths),
        *sorted(f"recipient {other}" for other in others if other.key != own.key),
    ]
    return b"".join(escape(line.encode("utf-8", "surrogateescape")) + b"\n" for line in lines)


def parse_paths(text: bytes) -> list[str]:
    """The patterns in such a text, those that are one."""
    found = []
    for line in text.splitlines():
        what, _, pattern = line.partition(b" ")
        try:
            known = unescape(pattern).decode("utf-8", "surrogateescape")
            translate(known)
        except (ValueError, ConfigError):
            continue
        if what == b"path":
            found.append(known)
    return found


def parse_recipients(text: bytes) -> list[tuple[bool, Recipient]]:
    """(whether it is the host's own, the recipient) of each line that can be read; a server may have written
    anything there.
    """
    from pacha.core.recipients import parse_recipient

    found = []
    for line in text.decode("utf-8", "replace").splitlines():
        what, _, key = line.partition(" ")
        try:
            if what in ("own", "recipient"):
                found.append((what == "own", parse_recipient(key)))
        except ValueError:
            continue
    return found


def sealed_id(recipients: Iterable[Recipient]) -> bytes:
    """The name of a set of recipients, whatever their order and comments."""
    text = "\n".join(sorted({recipient.key for recipient in recipients}))
    return hexdigest(text.encode("utf-8", "surrogateescape"))[:_ID_LENGTH].encode()
