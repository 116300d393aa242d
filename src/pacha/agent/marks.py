"""Which directories are marked, so that the kernel tells of every change in them.

Called by the loop: at the start, when directories come and go, when something was mounted, and every hour. A
directory is marked before it is listed, so whatever comes into being meanwhile is heard of or found. What the
kernel refuses to mark is remembered with the reason: it is told by `pacha status` and looked at from time to
time instead. It reads no content and decides nothing about captures.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pacha.agent.ports import Directory, Source, Tree
from pacha.core.config import Config
from pacha.core.events import Event, LimitReached, Unsupported
from pacha.core.names import ancestors, is_below, join, split
from pacha.core.rules import Rules
from pacha.core.shown import shown

if TYPE_CHECKING:
    from os import stat_result


class Marks:
    """The marks of one agent: on the best source that takes each directory."""

    def __init__(self, tree: Tree, sources: Mapping[str, Callable[[], Source]]) -> None:
        """`sources` by mode are made on demand, the best first; one may raise Unsupported."""
        self._tree = tree
        self._makers = dict(sources)
        self._refused: dict[str, str] = {}  # modes that are not to be had here, and why
        self.sources: list[Source] = []
        self.problems: dict[str, str] = {}  # modes that did not take every directory, and why
        self.unmarked: dict[bytes, str] = {}  # watches with a directory that no source took, and why
        self.count = 0
        self._taking: set[str] = set()  # modes that took a watched directory
        self._awaited: dict[bytes, list[bytes]] = {}  # marked parent -> watches that come or go in it

    def configure(self, config: Config, rules: Rules) -> None:
        """Take over a configuration; marks are set by `mark_all`."""
        self._config, self._rules = config, rules
        self._named = set(config.watch)

    @property
    def mode(self) -> str:
        """The kind of events of most use here, `polling` where there is none."""
        modes = [source.mode for source in self.sources if source.mode in self._taking or not self.count]
        return modes[0] if modes else "polling"

    def degraded(self) -> list[str]:
        """In words, what is not heard of at once."""
        return [f"{shown(watch)} is polled: {reason}" for watch, reason in self.unmarked.items()]

    def notes(self) -> list[str]:
        """In words, why it is not the best kind of events everywhere: changes are heard of, their authors
        are not.
        """
        found = [f"no {mode}: {reason}" for mode, reason in self._refused.items()]
        return found + [f"{mode} not everywhere: {reason}" for mode, reason in self.problems.items()]

    def mark_all(self) -> None:
        """Mark everything that is watched; what is marked already stays so."""
        self.unmarked.clear()
        self.problems.clear()
        self._awaited.clear()
        self._taking.clear()
        self.count = 0
        for watch in self._rules.watches:
            self._mark_watch(watch)

    def heard(self, event: Event) -> list[bytes]:
        """Keep the marks true after an event; the paths to look at because of it, none where it is of no
        interest.
        """
        path = event.path
        assert path is not None
        if event.left and event.is_directory:
            self._forget(path)
        awaited = [watch for watch in self._awaited.get(split(path)[0], ()) if is_below(watch, path)]
        if awaited:
            if event.appeared or event.left:
                for watch in awaited:
                    self._mark_watch(watch)
            return awaited
        if not self._rules.covers(path, event.is_directory):
            return []
        if event.appeared and event.is_directory:
            self.mark_tree(path)
        return [path]

    def _mark_watch(self, watch: bytes) -> None:
        """Mark a watch, and all directories above it: through them its coming and going is heard."""
        for parent in ancestors(watch):
            if not self._await(parent, watch):
                break  # not there; its coming will be heard by the one above
        if self._is_directory(watch):
            self.mark_tree(watch)

    def _await(self, parent: bytes, watch: bytes) -> bool:
        """Hear what comes and goes in `parent`, and of a watched file's own directory everything; whether
        that could be done.
        """
        is_file = split(watch)[0] == parent and not self._is_directory(watch)
        try:
            with self._tree.directory(parent) as directory:
                self._add(directory, entries_only=not is_file)
        except OSError:
            return False
        watches = self._awaited.setdefault(parent, [])
        if watch not in watches:
            watches.append(watch)
        return True

    def mark_tree(self, top: bytes) -> None:
        """Mark a directory and all below it that the rules cover."""
        pending: list[tuple[bytes, int | None]] = [(top, None)]
        while pending:
            path, device = pending.pop()
            try:
                with self._tree.directory(path) as directory:
                    own = directory.stat.st_dev
                    crossing = device is not None and own != device
                    if crossing and not self._config.cross_filesystems and path not in self._named:
                        continue
                    self._add(directory, entries_only=False)
                    for name in directory.subdirectories():
                        below = join(path, name)
                        if not self._rules.refuses(path, name, below, True):
                            pending.append((below, own))
            except OSError:
                continue  # gone again, or unreadable: the scan says so

    def _add(self, directory: Directory, *, entries_only: bool) -> None:
        """Mark on the first source that takes it."""
        reason = "no kind of kernel events can be had"
        for source in self._available():
            try:
                source.add(directory, entries_only=entries_only)
            except (Unsupported, LimitReached) as problem:
                reason = str(problem)
                self.problems[source.mode] = reason
            else:
                self.count += 1
                if not entries_only:
                    self._taking.add(source.mode)
                return
        if not entries_only:
            self.unmarked[self._rules.watch_of(directory.path) or directory.path] = reason

    def _available(self) -> Iterator[Source]:
        """The sources, the best first; each is made when those before it were not enough."""
        yield from self.sources
        while self._makers:
            mode = next(iter(self._makers))
            try:
                source = self._makers.pop(mode)()
            except Unsupported as problem:
                self._refused[mode] = str(problem)
                continue
            self.sources.append(source)
            yield source

    def _forget(self, path: bytes) -> None:
        for source in self.sources:
            source.forget(path)

    def _lstat(self, path: bytes) -> stat_result | None:
        try:
            return self._tree.lstat(path)
        except OSError:
            return None

    def _is_directory(self, path: bytes) -> bool:
        status = self._lstat(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def close(self) -> None:
        """Let go of all marks."""
        for source in self.sources:
            source.close()
