"""The verdict: every difference between a tree and its twin, in words a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.oracle import probes

# rsync compares content by checksum, permissions, owners, ACLs, xattrs, devices, specials and hard links.
# Directory times are left out (-O): by design they are not recorded.
RSYNC = ("rsync", "-aAXHnO", "--checksum", "--delete", "--itemize-changes")
RSYNC_PARTLY = 23

PROBES: dict[str, Callable[[Path], probes.Facts]] = {
    "find": probes.stats,
    "links": probes.link_groups,
    "devices": probes.device_numbers,
    "sha256": probes.digests,
    "acl": probes.acls,
    "xattr": probes.xattrs,
    "flags": probes.flags,
}


def compare(twin: Path, live: Path) -> list[str]:
    """Differences of `live` from `twin`, one line each; empty means identical.

    Raise RuntimeError where a tool could not do its work: no answer is never taken for "the same".
    """
    for tree in (twin, live):
        probes.run(tree, "sync", "-f", ".")  # block counts are final only once allocation is
    differences = rsync_differences(twin, live)
    for tool, probe in PROBES.items():
        differences += _unequal(tool, probe(twin), probe(live))
    return differences


def rsync_differences(twin: Path, live: Path) -> list[str]:
    """What rsync would do to make `live` equal `twin`, and what it stumbles over (where a folder became a file)."""
    said = probes.run(twin, *RSYNC, "--", "./", f"{live}/", partly=RSYNC_PARTLY)
    return [f"rsync: {_shown(line)}" for line in said.splitlines()]


def _unequal(tool: str, twin: probes.Facts, live: probes.Facts) -> list[str]:
    return [
        f"{tool}: {_shown(path)}: was [{_shown(twin.get(path))}], is [{_shown(live.get(path))}]"
        for path in sorted(twin.keys() | live.keys())
        if twin.get(path) != live.get(path)
    ]


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value)[2:-1]
