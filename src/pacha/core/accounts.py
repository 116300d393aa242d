"""Users and groups of two systems compared: who is to be made, who gets another number, and where two clash.

Called by `ops/rebuild` with the texts of passwd(5) and group(5), as they were and as they are here. It must
not read or ask anything: accounts that come from elsewhere (LDAP) are none of a rebuild's business.
"""

from __future__ import annotations

from typing import NamedTuple

PASSWD, GROUP = b"/etc/passwd", b"/etc/group"
# With these, all of an account is there; the first two decide about numbers.
FILES = (PASSWD, GROUP, b"/etc/shadow", b"/etc/gshadow", b"/etc/subuid", b"/etc/subgid")
KINDS = {"user": PASSWD, "group": GROUP}


class Account(NamedTuple):
    """`kind` is `user` or `group`; `old` is the number here, None for one that is to be made."""

    kind: str
    name: str
    number: int
    old: int | None


class Clash(NamedTuple):
    """The number of `wanted` in the history is the one of `present` here, who is not in the history."""

    kind: str
    number: int
    wanted: str
    present: str


class People(NamedTuple):
    """What a rebuild has to do for accounts; `gone` are here alone and will not be any more."""

    accounts: list[Account]
    clashes: list[Clash]
    gone: list[tuple[str, str]]


NOBODY = People([], [], [])


def merged(now: bytes, base: bytes, aim: bytes) -> bytes:
    """One of FILES as it was at `aim`, but for the accounts that are not `now` as at `base`: those are as
    they are now, new ones last.
    """
    lines = [_by_name(text) for text in (now, base, aim)]
    found = []
    for name in [*lines[2], *(name for name in lines[0] if name not in lines[2])]:
        is_now, was, wanted = (each.get(name) for each in lines)
        line = wanted if is_now == was else is_now
        found += [line] if line is not None else []
    return b"".join(line + b"\n" for line in found)


def _by_name(text: bytes) -> dict[bytes, bytes]:
    """The lines, by name; of two the first counts."""
    found: dict[bytes, bytes] = {}
    for line in text.splitlines():
        found.setdefault(line.partition(b":")[0], line)
    return found


def numbers(text: bytes) -> dict[str, int]:
    """`{name: number}` of a passwd or group file; the first line of a name counts."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        fields = line.split(b":")
        if len(fields) > 2 and fields[0] and fields[2].isdigit():
            found.setdefault(fields[0].decode("utf-8", "surrogateescape"), int(fields[2]))
    return found


def compare(was: dict[str, bytes], here: dict[str, bytes]) -> People:
    """What makes the accounts here those of the history; each of both is `{kind: text}`."""
    found = People([], [], [])
    for kind in KINDS:
        wanted, present = numbers(was.get(kind, b"")), numbers(here.get(kind, b""))
        holders = {number: name for name, number in wanted.items()}
        for name, number in wanted.items():
            if present.get(name) != number:
                found.accounts.append(Account(kind, name, number, present.get(name)))
        for name, number in present.items():
            if name in wanted:
                continue
            if number in holders:
                found.clashes.append(Clash(kind, number, holders[number], name))
            found.gone.append((kind, name))
    return found


def moves(people: People, kind: str) -> dict[int, int]:
    """`{number here: number in the history}` of those who are here and get another one."""
    return {a.old: a.number for a in people.accounts if a.kind == kind and a.old is not None}
