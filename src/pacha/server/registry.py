"""What a server knows of its hosts: whose key it is, how much each may keep, when it was last seen.

Called by the forced command and by the server's verbs, which run as the account that serves. Each host has a
folder `<state>/server/NAME`; its history is at `<hosts>/NAME`. A name is checked here before it becomes a
path. It must not read or change a history; `archive` and `purge` move and remove a whole one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pacha.adapters import disk
from pacha.adapters.lock import open_lock, take, take_patiently, try_lock
from pacha.core.authorized_keys import parse_key
from pacha.core.config_values import is_host_name
from pacha.core.errors import Failed, NotFound, PachaError, Refused
from pacha.core.health import Health
from pacha.core.protocol import HOST
from pacha.server.log import Log
from pacha.server.sessions import Sessions

_ARCHIVE = b".archive"


class Record(NamedTuple):
    """What was decided about a host, or about one who reads; `quota` 0: the configured one. The first
    revision sets `machine`; `replaced`: until then any machine with the key is this host. `forgotten` is
    when the host last had contents removed from its history, in nanoseconds: below 0 while that is under way.
    """

    name: str
    key: str
    machine: str = ""
    quota: int = 0
    added_ns: int = 0
    role: str = HOST
    replaced: bool = False
    forgotten: int = 0


class Seen(NamedTuple):
    """What its last session told, and how it was when it last said so: kept to be shown, decides nothing."""

    time_ns: int
    tip: str = ""
    seq: int = 0
    protocol: int = 0
    version: str = ""
    health: Health | None = None


class Registry:
    """All hosts of one server: `state` is the serving account's state folder, `hosts` holds the histories."""

    def __init__(self, state: str, hosts: bytes, patience: float = 10.0) -> None:
        """`patience`: how many seconds `locked` waits."""
        self.path = os.path.join(state, "server")
        self.deployments = os.path.join(state, "deployments")
        self.hosts = hosts
        self._patience = patience
        self._log = Log(os.path.join(self.path, "log"))

    # -- the server itself ---------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether `pacha server init` was run."""
        return os.path.isdir(self.path)

    def create(self) -> None:
        """Make the folders, private to this account."""
        for path in (os.fsencode(self.path), self.hosts):
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
        os.makedirs(self.deployments, mode=0o700, exist_ok=True)

    def log(
        self, event: str, host: str, *, old: str = "", new: str = "", count: int = 0, words: str = ""
    ) -> None:
        """One line in the log: `received`, `refused`, `added` …"""
        self._log.write(event, host, {"old": old, "new": new, "count": count, "words": words})

    # -- records -------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every host that is kept, and everybody who reads, sorted."""
        if not self.exists:
            return []
        names = filter(is_host_name, os.listdir(self.path))
        return sorted(name for name in names if os.path.exists(self._record(name)))

    def hosts_let_in(self) -> list[str]:
        """Those of them that are hosts."""
        return [name for name in self.names() if self.record(name).role == HOST]

    def record(self, name: str) -> Record:
        """What was decided about a host; NotFound where there is none of that name."""
        try:
            return Record(**_read(self._record(name)))
        except FileNotFoundError:
            raise NotFound(f"there is no host {name} here", hint="pacha host list") from None
        except (ValueError, TypeError) as problem:
            raise Failed(f"{self._record(name)} cannot be read: {problem}") from problem

    def put(self, record: Record) -> None:
        """Write a host's record, on the disk when this returns."""
        folder = self.folder(record.name)
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            disk.sync_folder(self.path)
        _write(self._record(record.name), record._asdict())

    def change(self, name: str, **values: Any) -> None:
        """Put other values into a record, whatever else changes it at the same moment."""
        with self._editing():
            self.put(self.record(name)._replace(**values))

    def set_machine(self, name: str, machine: str) -> None:
        """Bind a host to the machine that its first revision was made on."""
        self.change(name, machine=machine, replaced=False)

    def revoke(self, name: str) -> None:
        """From now on there is no such host, though what is known of it is still there."""
        with suppress(FileNotFoundError), self._editing():
            os.unlink(self._record(name))
            disk.sync_folder(self.folder(name))

    def note_forgetting(self, name: str, path: bytes, count: int) -> None:
        """Keep that a host has so many contents of a store path removed from its history, from now on."""
        line = json.dumps({"time_ns": time.time_ns(), "path": os.fsdecode(path), "versions": count})
        self.change(name, forgotten=-time.time_ns())
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(os.path.join(self.folder(name), "forgotten"), flags, 0o600)
        try:
            os.write(file, line.encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        disk.sync_folder(self.folder(name))

    @contextmanager
    def _editing(self) -> Iterator[None]:
        """Be the one who changes a record: a moment each."""
        file = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            take(file)
            yield
        finally:
            os.close(file)

    def forget(self, name: str) -> None:
        """Remove what is known of a host, but for its history."""
        self.revoke(name)
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def forgotten(self, name: str) -> int:
        """The record's word on that, of a host that was removed, too: then 0."""
        try:
            return self.record(name).forgotten
        except PachaError:
            return 0

    # -- what comes and goes -------------------------------------------------------------------------

    def saw(self, name: str, seen: Seen) -> None:
        """Note what a session told. It need not survive a power cut."""
        values = {**seen._asdict(), "health": seen.health and seen.health._asdict()}
        _write(os.path.join(self.folder(name), "seen.json"), values, durable=False)

    def seen(self, name: str) -> Seen | None:
        """When a host was last here; None where it never was."""
        try:
            values = _read(os.path.join(self.folder(name), "seen.json"))
            health = values.get("health")
            return Seen(**{**values, "health": health and Health.of(health)})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def hooked(self, name: str) -> str | None:
        """The revision up to which `post-receive` hooks were told; None where they never were, and empty for
        the beginning of the line.
        """
        try:
            return str(_read(self._mark(name))["node"])
        except (OSError, ValueError, KeyError):
            return None

    def set_hooked(self, name: str, node: str | None) -> None:
        """Note it; with None, forget it."""
        if node is not None:
            _write(self._mark(name), {"node": node}, durable=False)
            return
        with suppress(FileNotFoundError):
            os.unlink(self._mark(name))

    @contextmanager
    def hooking(self, name: str) -> Iterator[bool]:
        """Be the one who runs a host's hooks; False where another does."""
        file = open_lock(os.path.join(self.folder(name), "hooks.lock"))
        try:
            yield try_lock(file)
        finally:
            os.close(file)

    def forget_seen(self, name: str) -> None:
        """What it told is no longer true."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder(name), "seen.json"))

    def sessions(self, name: str) -> Sessions:
        """The open sessions of a host."""
        return Sessions(os.path.join(self.folder(name), "sessions"))

    @contextmanager
    def session(self, name: str, fingerprint: str = "", role: str = HOST) -> Iterator[Record]:
        """Be one of the open sessions of a name; Refused where it, the role or the key of that fingerprint is
        not let in.

        The session is announced before the record is read: who changes the record and then ends the sessions
        that there are leaves none that goes by the old one.
        """
        self.record_for_session(name)
        with self.sessions(name).open():
            record = self.record_for_session(name)
            if fingerprint and parse_key(record.key).fingerprint != fingerprint:
                raise Refused(f"host {name} has another key now", hint="pacha host rekey, on the server")
            if record.role != role:
                raise Refused(f"{name} is no {role} here, but a {record.role}")
            yield record

    def record_for_session(self, name: str) -> Record:
        """The same as `record`, in words for the host itself."""
        try:
            return self.record(name)
        except NotFound:
            raise Refused(f"host {name} is not kept here any more") from None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep everybody else from changing what is known of a host, and its history; Busy where one does."""
        try:
            path = os.path.join(self.folder(name), "lock")
            file = take_patiently(path, self._patience, f"host {name} is being written to")
        except FileNotFoundError:
            raise NotFound(f"there is no host {name} here", hint="pacha host list") from None
        try:
            yield
        finally:
            os.close(file)

    # -- histories -----------------------------------------------------------------------------------

    def store(self, name: str) -> bytes:
        """The folder that holds a host's `.hg`; it need not exist."""
        return os.path.join(self.hosts, os.fsencode(_checked(name)))

    def knows(self, name: str) -> bool:
        """Whether anything is left of a host, but for its history."""
        return os.path.isdir(self.folder(name))

    def has_store(self, name: str) -> bool:
        """Whether there is a history that a host would go on with."""
        return os.path.lexists(self.store(name))

    def has_revisions(self, name: str) -> bool:
        """Whether anything was received yet."""
        return os.path.exists(os.path.join(self.store(name), b".hg", b"store", b"00changelog.i"))

    def has_history(self, name: str) -> bool:
        """Whether there is one, or one that was put aside."""
        return os.path.lexists(self.store(name)) or bool(self.archived(name))

    def histories(self) -> list[str]:
        """The name of every host that has a history, whether it is still let in or not."""
        try:
            names = list(map(os.fsdecode, os.listdir(self.hosts)))
        except FileNotFoundError:
            return []
        return sorted(filter(is_host_name, names))

    def used(self, name: str) -> int:
        """The bytes that a host's history takes on the disk."""
        total = 0
        for folder, _, files in os.walk(self.store(name)):
            for file in files:
                with suppress(OSError):
                    total += os.lstat(os.path.join(folder, file)).st_blocks * 512
        return total

    def archive(self, name: str) -> bytes | None:
        """Put a host's history aside; the folder that it is in then, None where there was none."""
        store = self.store(name)
        if not os.path.lexists(store):
            return None
        os.makedirs(os.path.join(self.hosts, _ARCHIVE), mode=0o700, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        for attempt in range(1000):
            more = f".{attempt}" if attempt else ""
            aside = os.path.join(self.hosts, _ARCHIVE, os.fsencode(f"{name}@{stamp}{more}"))
            if not os.path.lexists(aside):
                os.rename(store, aside)
                disk.sync_folder(self.hosts)
                return aside
        raise Failed(f"{os.fsdecode(self.hosts)}/.archive is full of {name}@{stamp}")

    def archived(self, name: str) -> list[bytes]:
        """The histories of a host that were put aside, oldest first."""
        mine = os.fsencode(_checked(name)) + b"@"
        folder = os.path.join(self.hosts, _ARCHIVE)
        try:
            found = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        return [os.path.join(folder, one) for one in found if one.startswith(mine)]

    def purge(self, name: str) -> None:
        """Remove a host's history for ever, with what was put aside of it."""
        for path in (self.store(name), *self.archived(name)):
            if os.path.lexists(path):
                shutil.rmtree(path)
        disk.sync_folder(self.hosts)

    def deployment_names(self) -> list[str]:
        """What lies there to be pulled, sorted; what has another name than one can have is none."""
        try:
            return sorted(filter(is_host_name, os.listdir(self.deployments)))
        except FileNotFoundError:
            return []

    # -- paths ---------------------------------------------------------------------------------------

    def folder(self, name: str) -> str:
        """Where everything about a host is, but for its history."""
        return os.path.join(self.path, _checked(name))

    def _mark(self, name: str) -> str:
        return os.path.join(self.folder(name), "hooked.json")

    def _record(self, name: str) -> str:
        return os.path.join(self.folder(name), "record.json")


def _checked(name: str) -> str:
    if not is_host_name(name):
        raise NotFound(f"{name!r} is no name of a host", hint='letters, digits, ".", "_" and "-", at most 64')
    return name


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    return values


def _write(path: str, values: dict[str, Any], durable: bool = True) -> None:
    disk.replace(path, json.dumps(values, sort_keys=True).encode() + b"\n", durable=durable)
