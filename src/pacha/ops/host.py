"""One host as an operation sees it: its configuration, and the adapters through which it reaches the world.

Made by `cli/session` (later by the agent and the server too) and handed to every operation. It holds no
behaviour: what can be done is in the files named after the verbs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pacha.core.config import Config
from pacha.core.rules import Rules
from pacha.ops.ports import (
    Archive,
    ChangeFile,
    Forgets,
    Hooks,
    Identities,
    Index,
    Journals,
    Lock,
    Secrets,
    Server,
    Spool,
    Store,
    System,
    Tree,
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
    store: Store
    now_ns: Callable[[], int]
    identities: Identities  # what opens secrets


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


class Host:
    """Everything an operation needs; see each type for what it does."""

    def __init__(  # noqa: PLR0913 - one name for each thing handed in
        self,
        *,
        name: str,
        machine: str,
        author: str,
        config: Config,
        rules: Rules,
        state: str,
        tree: Tree,
        system: System,
        store: Store,
        index: Index,
        secrets: Secrets,
        identities: Identities,
        hooks: Hooks,
        lock: Lock,
        journals: Journals,
        change_file: ChangeFile,
        rebuild_file: ChangeFile,
        archive: Archive,
        forgets: Forgets,
        open_store: Callable[[bytes], Store],
        server: Callable[[str], Server],
        new_spool: Callable[[], Spool],
        now_ns: Callable[[], int],
        detach: Callable[[list[str]], None],
        report: Report,
    ) -> None:
        self.name = name
        self.machine = machine
        self.author = author
        self.config = config
        self.rules = rules
        self.state = state
        self.tree = tree
        self.system = system
        self.store = store
        self.index = index
        self.secrets = secrets
        self.identities = identities
        self.hooks = hooks
        self.lock = lock
        self.journals = journals
        self.change_file = change_file
        self.rebuild_file = rebuild_file  # how far a rebuild is
        self.archive = archive
        self.forgets = forgets
        self.open_store = open_store  # another store than this host's own
        self.server = server  # the server at an address
        self.new_spool = new_spool
        self.now_ns = now_ns
        self.detach = detach
        self.report = report
