"""Secrets on their way into the history and out of it: entries sealed, contents opened, and words for who
could open what nobody here can.

Called by the scan and by capture, and by everything that reads a stored content: the one way to the plaintext
is `opened`. A plaintext is handed to the caller's memory and to nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pacha.core.entry import Entry, content_digest
from pacha.core.errors import Closed
from pacha.core.secrets import SECRETS, parse_paths, parse_recipients, seal, sealed_id
from pacha.core.shown import shown

if TYPE_CHECKING:
    from pacha.core.changes import Change
    from pacha.core.recipients import Recipient
    from pacha.core.revision import Revision
    from pacha.ops.host import Host, Past

_ENOUGH = 2
HINT = "name the private key of one of them: --identity FILE"


def sealed_entry(host: Host, path: bytes, entry: Entry, sealed: bytes | None = None) -> Entry:
    """A plain file's entry as one of a secret. Without `sealed` it can be compared with one, and no more: its
    content is not encrypted.
    """
    digest = host.secrets.digest(path, entry.sha256) if entry.sha256 is not None else None
    return seal(entry, digest, sealed)


def alike(host: Host, path: bytes, one: Entry, other: Entry) -> tuple[Entry, Entry]:
    """Two entries of a path so that their contents can be compared, where only one is a secret's."""
    if one.secret is not None and other.secret is None:
        return one, sealed_entry(host, path, other)
    if one.secret is None and other.secret is not None:
        return sealed_entry(host, path, one), other
    return one, other


def opened(past: Past, path: bytes, entry: Entry, data: bytes) -> bytes:
    """The plaintext of what the store has for an entry. Raise Closed, which says who could open it, where no
    key at hand does.

    While contents are streaming out of the store nothing else may be asked of it: call this after.
    """
    if entry.sealed is None:
        return data
    plain = past.identities.open(data)
    if plain is None:
        raise closed(past, path, entry)
    return plain


def is_content_of(host: Host, path: bytes, entry: Entry, plain: bytes) -> bool:
    """Whether an entry, a secret's or not, was made of these bytes."""
    if entry.secret is not None:
        return entry.secret == digest_of(host, path, plain)
    return entry.sha256 == content_digest(plain)


def digest_of(host: Host, path: bytes, plain: bytes) -> bytes:
    """The keyed digest of a content, as this host makes it now."""
    return host.secrets.digest(path, content_digest(plain))


def closed(past: Past, path: bytes, entry: Entry) -> Closed:
    """That nobody here can read a content, and who could."""
    return Closed(f"{shown(path)} is {who_could(past, entry.sealed or b'')}", hint=HINT)


def who_could(past: Past, sealed: bytes) -> str:
    """For whom something is encrypted, by the name of the set of recipients, and that their keys are not
    here.
    """
    found = recipients_of(past, sealed)
    if not found:
        return "encrypted, and for whom is not recorded: no key at hand opens it"
    names = [one.shown for is_own, one in found if not is_own]
    if any(is_own for is_own, _ in found):
        names.append(f"{past.name} itself")
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"encrypted for {listed}, and none of these keys is at hand"


def recipients_of(past: Past, sealed: bytes) -> list[tuple[bool, Recipient]]:
    """(whether it is the host's own, the recipient) of a set, as a revision lists it; empty where none
    does.
    """
    from pacha.ops.tip import text_at

    for revision in list(past.store.history([SECRETS])):
        text = text_at(past, revision.position, SECRETS)
        found = parse_recipients(text)
        if sealed_id(one for _, one in found) == sealed:
            return found
    return []


def adopt(host: Host, text: bytes) -> None:
    """From now on, what a history's `facts/secrets` names is secret on this host, for the same recipients,
    which is to become that host: its own configuration may not say so yet.
    """
    recipients = [one for is_own, one in parse_recipients(text) if not is_own]
    if paths := parse_paths(text):
        host.secrets = host.secrets.joined(paths, recipients)


def recipients_to_store(host: Host, last: Revision | None) -> dict[bytes, bytes]:
    """`facts/secrets` where a revision that holds a newly encrypted content must bring it; else nothing."""
    from pacha.ops.tip import text_at

    text = host.secrets.render()
    is_there = last is not None and text_at(host, last.position, SECRETS) == text
    return {} if is_there else {SECRETS: text}


def is_secret(change: Change) -> bool:
    """Whether the content of what changed is a secret, or was one."""
    return any(side is not None and side.secret is not None for side in (change.before, change.after))


def turned(changes: Iterable[Change]) -> tuple[list[bytes], list[bytes]]:
    """(paths whose content is encrypted from this revision on and was not before, those where it was and is
    not any more).
    """
    on, off = [], []
    for path, _, before, after in changes:
        if before is None or after is None or not (before.has_content and after.has_content):
            continue
        if before.sealed is None and after.sealed is not None:
            on.append(path)
        elif before.sealed is not None and after.sealed is None:
            off.append(path)
    return on, off


def too_few(host: Host) -> str:
    """Words where the secrets do not survive the loss of the host and of one key beside; else nothing."""
    configured = host.secrets.configured
    if len(configured) >= _ENOUGH:
        return ""
    if not configured:
        return "there are no [secrets] recipients: if this host is lost, nobody can ever read its secrets"
    only = configured[0].shown
    return f"fewer than two [secrets] recipients: if this host and the key of {only} are lost, so are they"


def words_for(host: Host, changes: Sequence[Change]) -> list[str]:
    """What a person must know of a revision's secrets, a sentence each."""
    on, off = turned(changes)
    words = []
    is_new = [c for c in changes if c.after and c.after.sealed and not (c.before and c.before.sealed)]
    if is_new and (warning := too_few(host)):
        words.append(warning)
    if on:
        before = "what was captured before stays in the history in the clear"
        offer = f"pacha forget {shown(on[0])} --keep-last removes it"
        words.append(f"encrypted from now on: {_listed(on)}; {before}: {offer}")
    if off:
        words.append(
            f"no longer encrypted: {_listed(off)}; from this revision on the content is in the clear"
        )
    return words


def _listed(paths: Sequence[bytes]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{shown(paths[0])}{more}"
