"""Whether a file differs from what was last captured in lines only that `[[normalize]]` drops.

Called by the scan, which has the live content at hand, and by capture, status and verify on what it found. Of
the stored content the digest of what counts is enough: the index has it, or it is made of the content in the
store, once. What cannot be compared (nothing stored, forgotten, too large, no text) counts as changed. It
writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.entry import Entry, parse_entry
from pacha.core.errors import Closed, DamagedStore
from pacha.core.names import content_path
from pacha.core.normalize import Normal, normal_digest, rules_digest
from pacha.core.tracked import Row
from pacha.ops.host import Host
from pacha.ops.secrets import is_content_of, opened
from pacha.ops.tip import last_of

if TYPE_CHECKING:
    from pacha.ops.scan import Finding


class Compared(NamedTuple):
    """What the stored and the live content come to under the same rules."""

    before: Normal
    after: Normal

    @property
    def is_same(self) -> bool:
        """Whether they differ in nothing that counts."""
        return self.before.digest == self.after.digest


def compare(host: Host, path: bytes, row: Row | None, now: Entry, data: bytes | None) -> Compared | None:
    """The comparison of a file that was read, as `now` and `data`, with the content that its row stands for;
    None where no rule applies, or there is nothing to compare.
    """
    if row is None or data is None or not host.config.normalize:
        return None
    known = parse_entry(row.line)
    if not known.has_content or known.digest is None or now.digest in (None, known.digest) or now.unstable:
        return None
    drops = host.config.normalize.drops(path)
    digest = normal_digest(data, drops) if drops else None
    if digest is None or now.digest is None or (known.secret is None) != (now.secret is None):
        return None
    rules = rules_digest(drops)
    before = host.index.normal(path)
    if before is None or (before.sha256, before.rules) != (known.digest, rules):
        stored = _stored(host, path, known)
        old = normal_digest(stored, drops) if stored is not None else None
        if old is None:
            return None
        before = Normal(known.digest, rules, old)
    return Compared(before, Normal(now.digest, rules, digest))


def _stored(host: Host, path: bytes, known: Entry) -> bytes | None:
    """The content that was last captured; None where the store does not have it, or not as it was, or it is
    encrypted for others.
    """
    last, stored = last_of(host), content_path(path)
    if last is None:
        return None
    try:
        node = host.store.files(last.position, [stored]).get(stored)
        (data,) = [*host.store.contents([(stored, node)])] if node is not None else [None]
        plain = opened(host, path, known, data) if data is not None else None
    except (DamagedStore, Closed):
        return None
    return plain if plain is not None and is_content_of(host, path, known, plain) else None


def volatile_among(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are no change. Names of one file, which have one content, are so together or not at all."""
    volatile, others = [], set()
    for finding in findings:
        if _is_volatile(finding):
            volatile.append(finding)
        elif finding.is_link:
            others.add(finding.inode)
    return [finding for finding in volatile if finding.inode not in others]


def _is_volatile(finding: Finding) -> bool:
    """Whether the entry differs from its row in dropped lines alone, and in no metadata but the time."""
    row, entry = finding.row, finding.entry
    if row is None or entry is None or finding.compared is None or not finding.compared.is_same:
        return False
    known = parse_entry(row.line)._replace(sha256=entry.sha256, secret=entry.secret, sealed=entry.sealed)
    return known.essence() == entry.essence()


def volatile_row(finding: Finding) -> Row | None:
    """The row of such an entry as the index is to have it, None where it is so already: the stored line, and
    no signature, as what is stored is not what is there.
    """
    row = finding.row
    assert row is not None
    unsigned = row._replace(signature=b"", inode=finding.inode)
    return unsigned if unsigned != row else None


def normals(
    host: Host, volatile: Iterable[Finding], changed: Iterable[Finding]
) -> dict[bytes, Normal | None]:
    """What the index is to know of contents once `changed` is committed; None for what is gone."""
    noted: dict[bytes, Normal | None] = {}
    for finding in volatile:
        if finding.compared is not None and host.index.normal(finding.path) != finding.compared.before:
            noted[finding.path] = finding.compared.before
    for finding in changed:
        if finding.compared is not None:
            noted[finding.path] = finding.compared.after
        elif finding.entry is None and host.config.normalize:
            noted[finding.path] = None
    return noted
