"""A `Host` put together from its adapters, by a configuration.

Called by `cli/session` alone; a part of it, and no verb. What takes long to import is made when the host is
first asked for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pacha.adapters import machine
from pacha.adapters.change_file import ChangeFile
from pacha.adapters.deployments import Deployments
from pacha.adapters.files.tree import Tree
from pacha.adapters.journal import Journals
from pacha.adapters.lock import Locks
from pacha.adapters.spool import Spool
from pacha.core.maintenance import NAME
from pacha.ops.host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from pacha.adapters.archive import Archive
    from pacha.adapters.forgets import Forgets
    from pacha.adapters.hg.store import Store
    from pacha.adapters.hooks import Hooks
    from pacha.adapters.index import Index
    from pacha.adapters.packages.system import System
    from pacha.adapters.preflight import Preflight
    from pacha.adapters.signatures import Signatures
    from pacha.adapters.units import Units
    from pacha.cli.session import Session
    from pacha.core.config import Config
    from pacha.ops.ports import Server


class Adapters:
    """What is made, and imported, when the host is first asked for it; what it opens is closed with the
    session.
    """

    def __init__(self, session: Session, config: Config, locks: Locks, tree: Tree) -> None:
        self._session = session
        self._config = config
        self._locks = locks
        self._tree = tree

    def _within(self, name: str) -> str:
        return os.path.join(self._session.state_path, name)

    def store(self) -> Store:
        from pacha.adapters.hg.store import Store

        return self._session.closing(
            Store(os.fsencode(self._within("store")), self._locks.history.descriptors)
        )

    def index(self) -> Index:
        from pacha.adapters.index import Index

        return self._session.closing(Index(self._within("index.sqlite")))

    def system(self) -> System:
        from pacha.adapters.packages.system import System

        return System(self._tree)

    def archive(self) -> Archive:
        from pacha.adapters.archive import Archive

        return Archive(os.fsencode(self._within("archive")))

    def forgets(self) -> Forgets:
        from pacha.adapters.forgets import Forgets

        return Forgets(self._session.state_path)

    def units(self) -> Units:
        from pacha.adapters.units import Units

        return Units(self._config.root, self._config.hook_timeout_ns)

    def preflight(self) -> Preflight:
        from pacha.adapters.preflight import Preflight

        return Preflight(self._config.root, self._within("preflight"))

    def signatures(self) -> Signatures:
        from pacha.adapters.signatures import Signatures

        return Signatures()

    def stage(self, files: Mapping[str, bytes]) -> AbstractContextManager[Hooks]:
        from pacha.adapters.staging import staged

        return staged(self._within("staged"), files, self._config.hook_timeout_ns)

    def open_store(self, path: bytes) -> Store:
        """Another than the host's own."""
        from pacha.adapters.hg.store import Store

        return Store(path)

    def server(self, address: str) -> Server:
        """As this host sends to it."""
        from pacha.cli.reaching import sending_to

        return self._session.closing(sending_to(self._session, address))

    def left_rehearsals(self) -> list[str]:
        from pacha.adapters.throwaway import left

        return left(self._session.state_path)


def host_of(session: Session, config: Config) -> Host:
    """The host of a session."""
    folder = session.state_path
    locks = Locks(folder, session.verb)
    tree = Tree(config.root)
    return Host(
        name=config.host or machine.host_name(),
        machine=machine.machine_id(),
        machine_file=ChangeFile(os.path.join(folder, "machine.json")),
        name_now=lambda: session.named_in(session.config_path) or machine.host_name(),
        author=getattr(session.options, "author", None) or config.author or machine.person(),
        config=config,
        rules=session.rules,
        state=folder,
        tree=tree,
        secrets=session.secrets,
        identities=session.identities,
        hooks=session.hooks,
        lock=locks,
        live_lock=locks.live,
        history_lock=locks.history,
        journals=Journals(os.path.join(folder, "journal")),
        change_file=ChangeFile(os.path.join(folder, NAME)),
        rebuild_file=ChangeFile(os.path.join(folder, "rebuild.json")),
        deployments=Deployments(os.path.join(folder, "deployed"), os.path.join(folder, "signed")),
        adapters=Adapters(session, config, locks, tree),
        new_spool=lambda: Spool(folder),
        now_ns=machine.now_ns,
        keep_running=session.keep_running,
        track=session.add_watch,
        refresh=session.refresh,
        report=session.report,
    )
