"""Groups of hard links: which entries are names of one file.

Called by capture, status and rollback on what a scan found, before it is compared with what the store has. A
group is named by its first path among what is tracked, so that the same tree always gives the same lines.
When a member comes or goes, the others' lines change with it, also where the scan did not look at them.
"""

from __future__ import annotations

from collections import defaultdict

from pacha.core.entry import parse_entry
from pacha.core.names import join
from pacha.ops.host import Host
from pacha.ops.inodes import status_of_name
from pacha.ops.scan import Finding


def regroup(host: Host, findings: list[Finding]) -> list[Finding]:
    """The findings with the group of each file set, and one more for every other member whose line must
    change.
    """
    members: dict[bytes, dict[bytes, Finding | None]] = defaultdict(dict)
    found = {(finding.directory, finding.name) for finding in findings}
    for finding in findings:
        if finding.is_link and finding.inode is not None:
            members[finding.inode][finding.path] = finding
        row = finding.row
        if row is not None and row.inode is not None and parse_entry(row.line).link is not None:
            members[row.inode].setdefault(finding.path, None)
    if not members:
        return findings
    changed = [finding for finding in findings if not finding.is_link]
    for inode, group in members.items():
        others = [
            row
            for row in host.index.links(inode)
            if (row.directory, row.name) not in found and status_of_name(host, row, inode)
        ]
        paths = [path for path, finding in group.items() if finding is not None]
        paths += [join(row.directory, row.name) for row in others]
        first = min(paths) if len(paths) > 1 else None
        changed.extend(
            member._replace(entry=member.entry._replace(link=first))
            for member in group.values()
            if member is not None and member.entry is not None
        )
        for row in others:
            entry = parse_entry(row.line)
            if entry.link != first:
                entry = entry._replace(link=first)
                changed.append(Finding(row.directory, row.name, row, entry, row.signature, inode, True))
    return changed
