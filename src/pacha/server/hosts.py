"""The hosts of a server, and those who read: let in, given another key, begun anew, removed, listed.

Called by the verbs `host` and `server`, as the account that serves. The record decides, and is written first;
then authorized_keys; then the sessions that came by the old state of things are ended. So wherever this is
killed, nobody is let in who should not be, and the same command run again finishes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pacha.core.authorized_keys import PublicKey, forced_line, hosts_of, other_line, parse_key, with_hosts
from pacha.core.errors import NotFound, Refused
from pacha.core.health import Health
from pacha.core.protocol import HOST
from pacha.server.keys_file import KeysFile
from pacha.server.registry import Record, Registry

_OWN_KEY = "give the host a key of its own: pacha join, on the host, makes one"


class Listed(NamedTuple):
    """One host, or one who reads, as it is shown; times are nanoseconds, 0 where there is none; sizes
    bytes.
    """

    name: str
    role: str
    removed: bool  # only its history is left
    added_ns: int
    seen_ns: int
    revision: str  # the short id of the last one
    revisions: int
    used: int
    quota: int
    health: Health | None = None

    @property
    def is_host(self) -> bool:
        """Whether it is one that is let in to send."""
        return self.role == HOST and not self.removed


class Hosts:
    """All of a server's hosts; `program` is the command line up to `serve`."""

    def __init__(self, registry: Registry, keys: KeysFile, program: Sequence[str], quota: int) -> None:
        self.registry = registry
        self.keys = keys
        self._program = list(program)
        self._quota = quota

    def add(self, name: str, key: PublicKey, *, quota: int, now_ns: int, role: str = HOST) -> bool:
        """Let a host in, or one who reads; False where it was in before, with this key. Refused where it has
        another, or another role.
        """
        self._must_exist()
        self.registry.folder(name)
        known = self.registry.record(name) if name in self.registry.names() else None
        if known is not None and known.role != role:
            hint = f"to change that: pacha host remove {name}, then add it again"
            raise Refused(f"{name} is here already, as a {known.role}", hint=hint)
        if known is not None and known.key != str(key):
            hint = f"to give it this one: pacha host rekey {name} --key FILE"
            raise Refused(f"{known.role} {name} is here already, with another key", hint=hint)
        if role != HOST and self.registry.has_history(name):
            raise Refused(f"there is a history of a host {name} here", hint=f"another name for the {role}")
        self._must_be_free(key, name)
        record = Record(name, str(key), quota=quota, added_ns=now_ns, role=role)
        if known is not None:
            record = known._replace(quota=quota or known.quota)
        self.registry.put(record)
        self.write_keys()
        if known is None:
            self.registry.log("added", name, words=f"{key.fingerprint}, {role}")
        return known is None

    def rekey(self, name: str, key: PublicKey) -> int:
        """Give a host another key; how many of its sessions were ended.

        The next machine that comes with it is this host, and goes on with its history: it was rebuilt.
        """
        record = self.registry.record(name)
        self._must_be_free(key, name)
        self.registry.change(name, key=str(key), machine="", replaced=record.role == HOST)
        self.write_keys()
        self.registry.log("rekeyed", name, words=key.fingerprint)
        return self.registry.sessions(name).end()

    def reset(self, name: str) -> tuple[bytes | None, int]:
        """Put a host's history aside, so that its next revision begins a new one; where it is then, and how
        many sessions were ended.
        """
        role = self.registry.record(name).role
        if role != HOST:
            raise Refused(f"{name} is a {role}: it has no history")
        ended = self.registry.sessions(name).end()  # one of them may hold the lock
        with self.registry.locked(name):
            aside = self.registry.archive(name)
            self.registry.put(self.registry.record(name)._replace(machine="", replaced=False))
            self.registry.forget_seen(name)
            ended += self.registry.sessions(name).end()
        self.registry.log("reset", name)
        return aside, ended

    def remove(self, name: str, *, purge: bool) -> int:
        """Let a host in no more; with `purge` its history is gone as well. How many sessions were ended."""
        # Its folder goes last: it is still there where this was interrupted.
        is_left = self.registry.knows(name) or (purge and self.registry.has_history(name))
        if not is_left:
            raise NotFound(f"there is no host {name} here", hint="pacha host list")
        self.registry.revoke(name)
        self.write_keys(gone=name)
        ended = self.registry.sessions(name).end()
        if purge:
            self.registry.purge(name)
        self.registry.forget(name)
        self.registry.log("purged" if purge else "removed", name)
        return ended

    def listed(self) -> list[Listed]:
        """Every host, and every history that a removed one has left, by name."""
        self._must_exist()
        known = set(self.registry.names())
        return [self._one(name, name in known) for name in sorted(known | set(self.registry.histories()))]

    def _one(self, name: str, is_known: bool) -> Listed:
        record = self.registry.record(name) if is_known else Record(name, "")
        seen = self.registry.seen(name)
        return Listed(
            name,
            record.role,
            not is_known,
            record.added_ns,
            seen.time_ns if seen else 0,
            seen.tip[:12] if seen else "",
            seen.seq if seen else 0,
            self.registry.used(name),
            record.quota or self._quota,
            seen.health if seen and is_known else None,
        )

    def write_keys(self, gone: str = "") -> bool:
        """Bring authorized_keys up to the records; whether it had to be changed."""
        lines = self._lines()
        return self.keys.edit(lambda text: with_hosts(text, lines, [gone] if gone else []))

    def without_key(self) -> list[str]:
        """The hosts whose line is not in authorized_keys as it should be."""
        there = hosts_of(self.keys.read())
        return [name for name, line in self._lines().items() if there.get(name) != line]

    def _lines(self) -> dict[str, str]:
        lines = {}
        for name in self.registry.names():
            record = self.registry.record(name)
            key = parse_key(record.key)
            door = ["--host", name] if record.role == HOST else ["--role", record.role, "--name", name]
            lines[name] = forced_line([*self._program, "serve", *door, "--key", key.fingerprint], name, key)
        return lines

    def _must_exist(self) -> None:
        if not self.registry.exists:
            raise NotFound("this machine is no server", hint="pacha server init makes it one")

    def _must_be_free(self, key: PublicKey, name: str) -> None:
        """A key opens one door: that of its host."""
        for other in self.registry.names():
            if other != name and self.registry.record(other).key == str(key):
                role = self.registry.record(other).role
                raise Refused(f"this key is that of {role} {other}", hint=_OWN_KEY)
        line = other_line(self.keys.read(), key, name)
        if line:
            words = f"this key opens another door here: {self.keys.path}, line {line}"
            raise Refused(words, hint=f"take that line out; or {_OWN_KEY}")
