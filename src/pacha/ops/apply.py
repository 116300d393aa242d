"""Apply: make live files what a plan says. The one writer of live files; rollback, rebuild, push and pull
only make plans.

The order is the safety. (1) Every present content is read once more into the journal: a step whose entry is
no longer what the plan saw is refused, not done. (2) The journal, with the images before and after, goes to
the disk. (3) Every new entry is made beside its target, complete; the disk gets them; then each takes its
place by one rename. Killed at any instant, each target is either the old or the new one, and the journal
tells what was going on. (4) Directories go to the disk.

It decides nothing about what is desired, runs no hooks, and commits nothing.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.entry import DIRECTORY, FILE, Entry
from pacha.core.errors import Closed, DamagedStore
from pacha.core.names import split
from pacha.core.plan import METADATA, REMOVE, Step, is_follower, is_in_place, needs_content
from pacha.core.tracked import CONFIG, Blob, Recorded, Vanished
from pacha.ops import aside
from pacha.ops.refusals import Refusal, words_of, words_of_flags
from pacha.ops.secrets import alike, opened

if TYPE_CHECKING:
    from os import stat_result

    from pacha.ops.host import Host
    from pacha.ops.ports import Directory, Images, Workbench

# Entries made beside their targets before they are put in place: bounds the space needed, and makes one flush
# serve many.
_BATCH = 4000
# More than this in one batch: the file system is flushed once, instead of each file.
_SYNC_EACH_AT_MOST = 16


class Done(NamedTuple):
    """What became of a step; `reason` says why not, or what is not quite as asked."""

    step: Step
    ok: bool
    reason: str


class Apply:
    """One plan; with `whole`, its name, all of it or as little as there is when a step fails."""

    def __init__(self, host: Host, journal: Images, steps: Sequence[Step], *, whole: str = "") -> None:
        self._whole = whole
        self._host = host
        self._journal = journal
        self._steps = steps
        self._by_path = {step.path: step for step in steps}
        self._records: dict[bytes, Recorded] = {}
        self._seen: dict[bytes, stat_result | None] = {}
        self._results: dict[bytes, Done] = {}
        self._touched: dict[bytes, None] = {}
        self.finished = 0  # steps whose target is as it shall be
        self.has_kept = False  # files aside
        self.failed: Done | None = None  # the first that was refused, or could not be done
        self._held: Directory | None = None
        self._notes: dict[bytes, str] = {}

    # -- before ------------------------------------------------------------------------------------

    def prepare(
        self,
        header: dict[str, object],
        contents: Callable[[Sequence[Step]], Iterator[bytes | None]],
        deadline_ns: int | None,
    ) -> None:
        """Fill the journal and bring it to the disk.

        `contents` gives, for the steps handed to it, the bytes of each entry after the step as they are
        stored (a secret's encrypted, where `sealed` says so), None where they are not to be had.
        """
        # Step by step: while the store looks for the next content, this one's present image is read.
        coming = contents([s for s in self._steps if not s.refused and needs_content(s)])
        for step in self._steps:
            if step.refused:
                self._refuse(step, step.refused)
            elif not needs_content(step):
                self._record(step, None)
            elif (data := next(coming)) is not None:
                self._record(step, self._journal.put(self._closed(step.after, data)))
            else:
                self._refuse(
                    step, "its content is not in the store (forgotten, or larger than max_file_size was)"
                )
        self._journal.arm({**header, CONFIG: self._host.config.data}, self._records.values(), deadline_ns)

    def _record(self, step: Step, after: Blob | None) -> None:
        try:
            before = self._image(step)
        except (OSError, Refusal) as problem:
            self._refuse(step, words_of(problem))
            return
        was = step.before and step.before._replace(sealed=None)  # its image is made now, for who may read now
        entries = self._as_kept(was), self._as_kept(step.after)
        self._records[step.path] = Recorded(step.path, *entries, before, after)

    def _as_kept(self, entry: Entry | None) -> Entry | None:
        """The entry of an image in the journal, where a secret's is always encrypted."""
        if entry is None or entry.secret is None or entry.sealed is not None or not entry.has_content:
            return entry
        return entry._replace(sealed=self._host.secrets.sealed)

    def _closed(self, entry: Entry | None, data: bytes) -> bytes:
        """The bytes of an image as the journal keeps them."""
        is_open = entry is not None and entry.secret is not None and entry.sealed is None
        return self._host.secrets.close(data) if is_open else data

    def _image(self, step: Step) -> Blob | None:
        """Read what is there now into the journal; raise Refusal where it is not what the plan saw."""
        status = self._host.tree.lstat(step.path)
        self._seen[step.path] = status
        if step.before is None:
            if status is not None:
                raise Refusal("something has appeared there meanwhile")
            return None
        if status is None:
            raise Refusal("it has vanished meanwhile")
        if words := words_of_flags(step):
            raise Refusal(words)
        if step.before.kind != FILE:
            return None
        if step.before.size is not None and step.action != METADATA:
            raise Refusal(
                "its present content is larger than max_file_size and would be lost: move it away first"
            )
        with self._parent(step.path) as (parent, name):
            try:
                reading = parent.read(name, status, max(self._host.rules.size, status.st_size))
            except Vanished as problem:
                raise Refusal("it has changed meanwhile") from problem
        self._seen[step.path] = reading.stat
        if not self._has_content_of(step.path, reading.entry, step.before) or reading.data is None:
            raise Refusal("it has changed meanwhile")
        return self._journal.put(self._closed(step.before._replace(sealed=None), reading.data))

    def _has_content_of(self, path: bytes, live: Entry, entry: Entry) -> bool:
        """Whether a live file has the content that an entry, perhaps a secret's, tells of."""
        one, other = alike(self._host, path, live, entry)
        return one.same_content(other)

    # -- doing -------------------------------------------------------------------------------------

    def run(self) -> list[Done]:
        """Do every step that was not refused; one that fails is reported and the rest goes on, unless the
        plan is a whole.
        """
        steps = [step for step in self._steps if step.path in self._records]
        removals = [step for step in steps if step.action == REMOVE]
        directories = [step for step in steps if self._makes_directory(step)]
        final = [step for step in steps if step.after is not None and step.after.kind == DIRECTORY]
        others = [step for step in steps if step.after is not None and step.after.kind != DIRECTORY]
        followers = [step for step in others if is_follower(step)]
        first = [step for step in others if not is_follower(step)]
        try:
            self._each(removals, self._remove)
            self._each(directories, self._make_directory)
            for group in (first, followers):
                for start in range(0, len(group), _BATCH):
                    self._batch(group[start : start + _BATCH])
            self._each(sorted(final, key=lambda s: -s.path.count(b"/")), self._finish_directory)
            self._sync_directories()
        finally:
            self._hold(None)
        left = "it was not tried, as another step failed"
        return [self._results.get(step.path, Done(step, False, left)) for step in self._steps]

    @staticmethod
    def _makes_directory(step: Step) -> bool:
        return step.after is not None and step.after.kind == DIRECTORY and step.action != METADATA

    def _each(self, steps: Sequence[Step], work: Callable[[Step], None]) -> None:
        for step in steps:
            if step.path in self._results and not self._results[step.path].ok:
                continue
            if self._whole and self.failed is not None:
                return
            try:
                work(step)
            except (OSError, Refusal, Vanished, OverflowError) as problem:  # a number beyond the kernel's
                self._refuse(step, words_of(problem))
            else:
                self._results[step.path] = Done(step, True, self._notes.get(step.path, ""))
            self._host.report.progress("restoring", len(self._results), len(self._steps))

    def _remove(self, step: Step) -> None:
        with self._parent(step.path) as (parent, name):
            self._unchanged(step, parent, name)
            self._keep_aside(step)
            try:
                self._bench(parent).remove(name)
            except OSError as problem:
                if problem.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise Refusal(
                        "it still holds entries that are ignored, new, or could not be removed"
                    ) from problem
                raise

    def _make_directory(self, step: Step) -> None:
        assert step.after is not None
        # Open for us until its contents are there; its own mode and flags come last.
        entry = step.after._replace(mode=step.after.mode | 0o700, flags=b"")
        with self._parent(step.path) as (parent, name):
            self._unchanged(step, parent, name)
            self._place(self._bench(parent).make(entry, None), step, parent, name)

    def _finish_directory(self, step: Step) -> None:
        assert step.after is not None
        directory = self._hold(step.path)
        bench = self._bench(directory)
        bench.adjust(b".", step.after)
        if step.after.flags:
            bench.set_flags(b".", step.after.flags)
        self._hold(None)

    def _batch(self, steps: Sequence[Step]) -> None:
        """Make all, flush, put all in place."""
        made: dict[bytes, bytes] = {}

        def make(step: Step) -> None:
            temporary = self._make(step)
            if temporary is not None:
                made[step.path] = temporary

        self._each(steps, make)
        self._flush(made)
        if self._whole and self.failed is not None:
            self._discard(made)
            return

        def place(step: Step) -> None:
            assert step.after is not None
            with self._parent(step.path) as (parent, name):
                bench = self._bench(parent)
                if step.path in made:
                    try:
                        self._unchanged(step, parent, name)
                    except Refusal:
                        bench.discard(made[step.path])
                        raise
                    self._keep_aside(step)
                    self._place(made[step.path], step, parent, name)
                if step.after.flags:
                    bench.set_flags(name, step.after.flags)

        self._each(steps, place)

    def _discard(self, made: dict[bytes, bytes]) -> None:
        for path, temporary in made.items():
            with self._parent(path) as (parent, _):
                self._bench(parent).discard(temporary)

    def _make(self, step: Step) -> bytes | None:
        """Make the entry beside its target; None where it was changed in place, or is settled by another name
        of it.
        """
        assert step.after is not None
        with self._parent(step.path) as (parent, name):
            if is_follower(step):
                settled, linked = self._follow(step, parent, name)
                if settled:
                    return linked
                self._notes[step.path] = "its hard link could not be made again: the other name differs"
            if step.action == METADATA and is_in_place(step):
                self._unchanged(step, parent, name)
                self._bench(parent).adjust(name, step.after)
                self.finished += 1
                return None
            return self._bench(parent).make(step.after, self._content(self._records[step.path]))

    def _content(self, record: Recorded) -> bytes | None:
        """What is to be written; nowhere but into the live file's place is a secret ever in the clear."""
        if record.after_data is None or record.after is None:
            return None
        try:
            return opened(self._host, record.path, record.after, self._journal.get(record.after_data))
        except (Closed, DamagedStore) as problem:
            raise Refusal(str(problem)) from problem

    # -- hard links --------------------------------------------------------------------------------

    def _follow(self, step: Step, parent: Directory, name: bytes) -> tuple[bool, bytes | None]:
        """(whether that settles the entry, a new link to the first of its group where it needed one).

        The first of the group is in place by now. Where it is not what the group is to be, the entry becomes
        a file of its own.
        """
        assert step.after is not None and step.after.link is not None
        directory, leader = split(step.after.link)
        with self._host.tree.directory(directory) as source:
            status, present = source.lstat(leader), parent.lstat(name)
            if status is None or stat.S_ISDIR(status.st_mode):
                return False, None
            if present is not None and (present.st_dev, present.st_ino) == (status.st_dev, status.st_ino):
                # The same file already; what else differs is mended under its first name, if that has a step.
                return step.action != METADATA or step.after.link in self._records, None
            found = source.read(leader, status, self._host.rules.size).entry
            if not self._has_content_of(step.path, found, step.after):
                return False, None
            return True, self._bench(parent).make_link(source, leader)

    def _keep_aside(self, step: Step) -> None:
        seen = self._seen.get(step.path)
        if self._whole and seen is not None and aside.is_linked(seen):
            self.has_kept = True
            aside.keep(self._host, self._whole, step.path, self._by_path)

    # -- places ------------------------------------------------------------------------------------

    @contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[Directory, bytes]]:
        """The open directory that holds `path`, and the name in it; the last one used stays open for its
        siblings.
        """
        directory, name = split(path)
        yield self._hold(directory), name

    def _hold(self, directory: bytes | None) -> Directory:
        if self._held is not None and self._held.path != directory:
            self._held.__exit__(None, None, None)
            self._held = None
        if directory is not None and self._held is None:
            self._held = self._host.tree.directory(directory)
        return self._held  # type: ignore[return-value]

    def _unchanged(self, step: Step, parent: Directory, name: bytes) -> None:
        """Raise Refusal where the entry is not the one whose image the journal has."""
        seen, now = self._seen[step.path], parent.lstat(name)
        if seen is None and now is None:
            return
        if seen is None or now is None or (seen.st_dev, seen.st_ino) != (now.st_dev, now.st_ino):
            raise Refusal("it has changed meanwhile")
        if stat.S_ISDIR(now.st_mode):
            return
        # The change time of a file with several names moves on with each name that we make or replace.
        fields = ["st_size", "st_mtime_ns"] + ["st_ctime_ns"] * (seen.st_nlink == now.st_nlink == 1)
        if any(getattr(seen, field) != getattr(now, field) for field in fields):
            raise Refusal("it has changed meanwhile")

    def _place(self, temporary: bytes, step: Step, parent: Directory, name: bytes) -> None:
        bench = self._bench(parent)
        try:
            bench.place(temporary, name)
        except (OSError, Vanished):
            bench.discard(temporary)
            raise
        self._touched[parent.path] = None
        self.finished += 1

    def _flush(self, made: dict[bytes, bytes]) -> None:
        """Bring what was made to the disk; what cannot be reached any more is not put in place."""
        devices: set[int] = set()
        done: set[bytes] = set()
        for path, temporary in list(made.items()):
            entry, directory = self._records[path].after, split(path)[0]
            try:
                if len(made) <= _SYNC_EACH_AT_MOST and entry is not None and entry.kind == FILE:
                    self._bench(self._hold(directory)).sync(temporary)
                elif len(made) > _SYNC_EACH_AT_MOST and directory not in done:
                    self._sync_device(self._hold(directory), devices)
                    done.add(directory)
            except OSError as problem:
                del made[path]
                self._refuse(self._by_path[path], words_of(problem))

    def _sync_device(self, directory: Directory, devices: set[int]) -> None:
        if directory.stat.st_dev not in devices:
            devices.add(directory.stat.st_dev)
            self._host.tree.sync_all(directory)

    def _sync_directories(self) -> None:
        devices: set[int] = set()
        for path in self._touched:
            try:
                directory = self._hold(path)
            except OSError:
                continue
            if len(self._touched) <= _SYNC_EACH_AT_MOST:
                self._bench(directory).sync()
            else:
                self._sync_device(directory, devices)

    # -- words -------------------------------------------------------------------------------------

    def _refuse(self, step: Step, reason: str) -> None:
        done = self._results[step.path] = Done(step, False, reason)
        self.failed = self.failed or done

    def _bench(self, directory: Directory) -> Workbench:
        return self._host.tree.workbench(directory)
