"""What has changed and is not yet captured: by whom, since when, and when it is time.

Called by the loop, which tells it of every event and asks what is due. Changes wait for a moment of silence.
Those of one person wait together and become one revision; so do those of a package manager, which wait until
its process has ended. A path that two of them have touched joins theirs: whose change it is could not be told
apart any more. Memory is bounded: in a storm single paths give way to "anything may have changed". It reads
no clock, and knows neither file system nor store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pacha.core.who import Run, Who

# Beyond this many paths a scan of everything is cheaper than remembering them.
PATHS_AT_MOST = 20_000
WRITERS_AT_MOST = 20
# A package manager that waits for an answer on its terminal must not keep changes out of the history.
RUN_LIMIT_NS = 600_000_000_000


class Group:
    """Changes that belong into one revision."""

    def __init__(self, now_ns: int) -> None:
        self.paths: dict[bytes, None] = {}
        self.writers: dict[tuple[str, str], Who] = {}
        self.has_unknown = False
        self.run: Run | None = None
        self.first_ns = now_ns
        self.last_ns = now_ns

    def add(self, path: bytes, who: Who | None, now_ns: int) -> None:
        """One more change."""
        self.paths[path] = None
        self.last_ns = now_ns
        if who is None:
            self.has_unknown = True
            return
        self.run = self.run or who.run
        if len(self.writers) < WRITERS_AT_MOST:
            self.writers.setdefault((who.actor, who.command), who)

    def take(self, other: Group) -> None:
        """Everything of another group."""
        self.paths.update(other.paths)
        self.writers = {**other.writers, **self.writers}
        self.has_unknown = self.has_unknown or other.has_unknown
        self.run = self.run or other.run
        self.first_ns = min(self.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)


class Settings(NamedTuple):
    """The configured times, in nanoseconds."""

    quiet_ns: int
    limit_ns: int


class Batch:
    """All groups that wait."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.groups: list[Group] = []
        self.is_everything = False  # so much has changed, or was lost, that only a whole scan will do
        self._of_path: dict[bytes, Group] = {}
        self._of_writer: dict[object, Group] = {}
        self._ended: set[Run] = set()

    def __len__(self) -> int:
        return len(self._of_path)

    def add(self, path: bytes, who: Who | None, now_ns: int) -> None:
        """A change that was heard of."""
        if self.is_everything:
            return
        if len(self._of_path) >= PATHS_AT_MOST and path not in self._of_path:
            self.add_everything()
            return
        writer: object = self._running() if who is None else who.run or who.actor
        if isinstance(writer, Run) and writer not in self._of_writer and None in self._of_writer:
            self._of_writer[writer] = self._of_writer.pop(None)  # its first writers were gone too soon
        group = self._of_writer.get(writer)
        other = self._of_path.get(path)
        if group is None and other is None:
            group = Group(now_ns)
            self.groups.append(group)
        elif group is None:
            group = other
        elif other is not None and other is not group:
            self._merge(other, group)
        assert group is not None
        group.add(path, who, now_ns)
        self._of_path[path] = group
        self._of_writer[writer] = group

    def add_everything(self) -> None:
        """Something was lost: single paths, and who changed them, no longer count."""
        self.is_everything = True
        self._forget(self.groups)

    def end_run(self, run: Run) -> None:
        """The package manager's process has ended."""
        self._ended.add(run)

    def _running(self) -> Run | None:
        """The package manager at work: what nobody can be named for meanwhile is counted with its run."""
        return next(iter(self.runs()), None)

    def runs(self) -> set[Run]:
        """The package managers that are waited for."""
        return {group.run for group in self.groups if group.run is not None} - self._ended

    def due(self, now_ns: int) -> list[Group]:
        """Take the groups whose time has come, the oldest first."""
        ready = sorted(
            (group for group in self.groups if self._time_of(group) <= now_ns),
            key=lambda group: group.first_ns,
        )
        self._forget(ready)
        return ready

    def all(self) -> list[Group]:
        """Take every group, due or not."""
        ready = sorted(self.groups, key=lambda group: group.first_ns)
        self._forget(ready)
        return ready

    def deadline_ns(self) -> int | None:
        """When the next group will be due; None where there is none."""
        return min(map(self._time_of, self.groups), default=None)

    def put_back(self, group: Group) -> None:
        """What could not be captured waits again."""
        if self.is_everything or len(self._of_path) + len(group.paths) > PATHS_AT_MOST:
            self.add_everything()
            return
        self.groups.append(group)
        for other in {self._of_path[path] for path in group.paths if path in self._of_path}:
            self._merge(other, group)
        self._of_path.update(dict.fromkeys(group.paths, group))
        for who in group.writers.values():
            self._of_writer.setdefault(who.run or who.actor, group)

    def paths(self) -> Iterable[bytes]:
        """Every path that waits."""
        return self._of_path.keys()

    def _time_of(self, group: Group) -> int:
        if group.run is not None and group.run not in self._ended:
            return group.first_ns + RUN_LIMIT_NS
        return min(group.last_ns + self.settings.quiet_ns, group.first_ns + self.settings.limit_ns)

    def _merge(self, gone: Group, into: Group) -> None:
        into.take(gone)
        self.groups.remove(gone)
        for path in gone.paths:
            self._of_path[path] = into
        for writer in [writer for writer, group in self._of_writer.items() if group is gone]:
            self._of_writer[writer] = into

    def _forget(self, gone: list[Group]) -> None:
        taken = {id(group) for group in gone}
        self.groups = [group for group in self.groups if id(group) not in taken]
        self._of_path = {path: group for path, group in self._of_path.items() if id(group) not in taken}
        self._of_writer = {key: group for key, group in self._of_writer.items() if id(group) not in taken}
        self._ended &= {group.run for group in self.groups if group.run is not None}
