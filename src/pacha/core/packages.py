"""Which packages a rebuild has to install, and in which version.

Called by `ops/rebuild` with what was captured, what is there, and what the repositories have. It must not
know any package manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pacha.core.facts import Package

INSTALL, CHANGE, MARK = "install", "version", "mark"


class PackageStep(NamedTuple):
    """A package that is not as captured. `wanted` is the version then, None where any will do; `version` what
    is asked for, None for the newest; `reason` says why that is another, or what differs. A doubtful one is
    to be installed, and no version of it is known to be had.
    """

    action: str
    name: bytes
    before: bytes | None
    wanted: bytes | None
    version: bytes | None
    reason: str = ""
    is_doubtful: bool = False


class Deviation(NamedTuple):
    """A package that is, or will be, another version than captured (None: is not there at all)."""

    name: bytes
    wanted: bytes | None
    version: bytes | None
    reason: str


def is_missing(deviation: Deviation) -> bool:
    """Whether the package is not there at all."""
    return deviation.version is None


def plan(
    captured: Mapping[bytes, Package],
    wanted: Iterable[bytes],
    present: Mapping[bytes, bytes],
    here: Mapping[bytes, Package],
    available: Mapping[bytes, list[bytes]],
) -> tuple[list[PackageStep], list[Deviation]]:
    """The steps, by name, and what cannot be as it was for all that is known so far.

    `here` is what counts as installed on purpose, or held, on this machine; of `available` nothing may be
    known yet.
    """
    steps, deviations = [], []
    for name, package in sorted(captured.items()):
        before = present.get(name)
        if before is None and package.is_automatic:
            continue  # held as a dependency of something: whoever needs it brings it
        to_be_had = available.get(name, [])
        if before is None:
            steps.append(_installed(name, package.version, to_be_had))
        elif before != package.version and package.version in to_be_had:
            steps.append(PackageStep(CHANGE, name, before, package.version, package.version, _was(before)))
        elif before != package.version:
            reason = "that version is not to be had" if to_be_had else "another version is here"
            deviations.append(Deviation(name, package.version, before, reason))
        if before is not None and _marks(package) != _marks(here.get(name)):
            steps.append(PackageStep(MARK, name, before, package.version, None, _words(package)))
    more = sorted(set(wanted) - captured.keys() - present.keys())
    steps += [
        PackageStep(INSTALL, name, None, None, None, "[rebuild] packages", not available.get(name))
        for name in more
    ]
    return steps, deviations


def _installed(name: bytes, version: bytes, available: list[bytes]) -> PackageStep:
    if not available or version in available:
        return PackageStep(INSTALL, name, None, version, version, _text(version), not available)
    newest = available[0].decode("utf-8", "replace")
    return PackageStep(INSTALL, name, None, version, None, f"{newest}, as {_text(version)} is not to be had")


def outcome(steps: Iterable[PackageStep], present: Mapping[bytes, bytes]) -> list[Deviation]:
    """What became another than asked for, by what is there now."""
    found = []
    for step in steps:
        version = present.get(step.name)
        if version is None:
            found.append(Deviation(step.name, step.wanted, None, "it could not be installed"))
        elif step.wanted not in (None, version) and step.action != MARK:
            found.append(Deviation(step.name, step.wanted, version, "that version is not to be had"))
    return found


def _marks(package: Package | None) -> tuple[bool, bool]:
    """(held, came by itself); what is not told of came by itself and is not held."""
    return (False, True) if package is None else (package.is_held, package.is_automatic)


def _words(package: Package) -> str:
    return "held" if package.is_held else "installed on purpose"


def _was(version: bytes) -> str:
    return f"instead of {_text(version)}"


def _text(version: bytes) -> str:
    return version.decode("utf-8", "replace")
