"""One host as an operation sees it: its configuration, and the adapters through which it reaches the world.

Made by `cli/session` (later by the agent and the server too) and handed to every operation. It holds no
behaviour: what can be done is in the files named after the verbs. The adapters that take long to import are
made when they are first asked for: a push that changes nothing needs none of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pacha.core.config import Config
    from pacha.core.rules import Rules
    from pacha.ops.ports import (
        Archive,
        ChangeFile,
        Deployments,
        Forgets,
        Hooks,
        Identities,
        Index,
        Journals,
        Lock,
        Preflight,
        Secrets,
        Server,
        Signatures,
        Spool,
        Store,
        System,
        Tree,
        Units,
    )


class Report(Protocol):
    """Where an operation says what it is doing; what it results in, it returns."""

    def note(self, text: str) -> None:
        """A sentence for the person: something was healed, or is out of the ordinary."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` entries (None: not known)."""

    def phase(self, name: str) -> None:
        """A part of a long operation begins."""

    def tool_output(self, line: bytes) -> None:
        """A line that a package manager printed."""

    def hook_output(self, hook: str, line: bytes) -> None:
        """A line that a hook printed."""


class Past(Protocol):
    """A host's history without the host: all that looking back needs. Every Host is one."""

    name: str
    now_ns: Callable[[], int]
    identities: Identities  # what opens secrets

    @property
    def store(self) -> Store: ...


class NoIdentities:
    """No private key at all: whoever reads a history without one of his own sees no secret."""

    def open(self, data: bytes) -> bytes | None:
        """Nothing."""
        return None


class Kept:
    """The history of another host, as a server keeps it; a foreign one was not checked by Pacha when it came
    here.
    """

    def __init__(
        self, name: str, store: Store, now_ns: Callable[[], int], *, is_foreign: bool = False
    ) -> None:
        self.name = name
        self.store = store
        self.now_ns = now_ns
        self.is_foreign = is_foreign
        self.identities: Identities = NoIdentities()


class Adapters(Protocol):
    """What makes the adapters that are not always needed; they are closed with whoever made this."""

    def store(self) -> Store: ...
    def index(self) -> Index: ...
    def system(self) -> System: ...
    def archive(self) -> Archive: ...
    def forgets(self) -> Forgets: ...
    def units(self) -> Units: ...
    def preflight(self) -> Preflight: ...
    def signatures(self) -> Signatures: ...
    def stage(self, files: Mapping[str, bytes]) -> AbstractContextManager[Hooks]: ...
    def open_store(self, path: bytes) -> Store: ...
    def server(self, address: str) -> Server: ...
    def left_rehearsals(self) -> list[str]: ...


class Host:
    """Everything an operation needs; see each type for what it does."""

    def __init__(  # noqa: PLR0913 - one name for each thing handed in
        self,
        *,
        name: str,
        machine: str,
        machine_file: ChangeFile,
        name_now: Callable[[], str],
        author: str,
        config: Config,
        rules: Rules,
        state: str,
        tree: Tree,
        secrets: Secrets,
        identities: Identities,
        hooks: Hooks,
        lock: Lock,
        live_lock: Lock,
        history_lock: Lock,
        journals: Journals,
        change_file: ChangeFile,
        rebuild_file: ChangeFile,
        deployments: Deployments,
        adapters: Adapters,
        new_spool: Callable[[], Spool],
        now_ns: Callable[[], int],
        keep_running: Callable[[str, list[str]], None],
        track: Callable[[list[bytes]], object],
        refresh: Callable[[], None],
        report: Report,
    ) -> None:
        self.name = name
        self.own_machine = machine  # its id as the system has it
        self._machine_file = machine_file
        self.name_now = name_now  # what the configuration calls it by now: a rebuild may have come between
        self.author = author
        self.config = config
        self.rules = rules
        self.state = state
        self.tree = tree
        self.secrets = secrets
        self.identities = identities
        self.hooks = hooks
        self.lock = lock  # both of the next, for whatever compares live files with the history
        self.live_lock = live_lock
        self.history_lock = history_lock
        self.journals = journals
        self.change_file = change_file
        self.rebuild_file = rebuild_file  # how far a rebuild is
        self.deployments = deployments
        self.open_store = adapters.open_store  # another store than this host's own
        self.server = adapters.server  # the server at an address
        self.stage = adapters.stage  # hooks of these files, for as long as they are run
        self.left_rehearsals = adapters.left_rehearsals  # the folders of those that were killed
        self._adapters = adapters
        self.new_spool = new_spool
        self.now_ns = now_ns
        self.keep_running = keep_running  # Pacha, by a name and with words, whatever becomes of us
        self.track = track  # writes new watches into the configuration, in force from then on
        self.refresh = refresh  # the configuration and rules as others have written them meanwhile
        self.report = report

    @property
    def machine(self) -> str:
        """The id by which the history, and with it each server, knows this machine, as of now."""
        written = self._machine_file.read()
        known, ids = (written[0].get("as"), written[0].get("ids")) if written is not None else (None, None)
        is_known = isinstance(known, str) and isinstance(ids, list) and self.own_machine in ids
        return str(known) if is_known else self.own_machine

    def known_as(self, machine: str, restored: Sequence[str] = ()) -> None:
        """From now on the history knows this machine by that id, whether it has its own one of now, or one of
        those that a rebuild gives it back. It holds for a machine with these alone: no copy of its disk.
        """
        ids = sorted({machine, self.own_machine, *restored})
        if ids != [self.machine] or machine != self.machine:
            self._machine_file.write({"as": machine, "ids": ids})

    def within(self, tree: Tree) -> Host:
        """The same host with another view of its live files."""
        from copy import copy

        other = copy(self)
        other.tree = tree
        return other

    @cached_property
    def system(self) -> System:
        """The system below the root, and its package managers."""
        return self._adapters.system()

    @cached_property
    def store(self) -> Store:
        """The history of this host."""
        return self._adapters.store()

    @cached_property
    def index(self) -> Index:
        """What each entry looked like when it was last captured."""
        return self._adapters.index()

    @cached_property
    def archive(self) -> Archive:
        """Stores that were replaced."""
        return self._adapters.archive()

    @cached_property
    def forgets(self) -> Forgets:
        """What servers are asked to forget."""
        return self._adapters.forgets()

    @cached_property
    def units(self) -> Units:
        """The services of the system."""
        return self._adapters.units()

    @cached_property
    def preflight(self) -> Preflight:
        """Where a plan can be tried."""
        return self._adapters.preflight()

    @cached_property
    def signatures(self) -> Signatures:
        """What tells who signed something."""
        return self._adapters.signatures()
