"""The scan: what of the live tree is not as the index has it.

Called by capture, status, verify and rollback. It reads and compares; it commits nothing and writes no index.
Three things are never taken for a deletion: an entry that cannot be read, one that vanished or changed its
kind under our hands, and a directory on another file system. They keep their last version and are listed as
skipped.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pacha.core import pace
from pacha.core.entry import DIRECTORY, FILE, Entry, parse_entry, render_entry
from pacha.core.names import ancestors, is_below, join, outermost, split
from pacha.core.tracked import Blob, Reading, Row, Skipped, Vanished
from pacha.ops.host import Host
from pacha.ops.inodes import inode_of, status_of_name
from pacha.ops.normalize import Compared, compare
from pacha.ops.ports import Directory, Spool
from pacha.ops.secrecy import Secrecy

if TYPE_CHECKING:
    from os import stat_result

_ATTEMPTS = 3
# Timestamps move on in steps of up to 10 ms: a file changed within the same step looks unchanged. Coarse ones
# have whole seconds.
_STEP_NS, _COARSE_STEP_NS = 20_000_000, 2_100_000_000
_SECOND = 1_000_000_000
_PROGRESS_EVERY = 250
# The reasons that are no failure.
TOO_LARGE = "larger than max_file_size"
_DIGESTED, _UNREAD = f"{TOO_LARGE}: metadata and digest only", f"{TOO_LARGE} and than 1 GB: metadata only"
MOUNTED = "another file system is mounted here: watch it by its own path"
_SIGNATURE = struct.Struct("<QQIIIQQ16s16s")


class Finding(NamedTuple):
    """An entry that is not as the index has it: `row` is None for a new one, `entry` for one that is gone.

    `inode` says which file it is a name of; `is_link`, that this file has several.
    """

    directory: bytes
    name: bytes
    row: Row | None
    entry: Entry | None
    signature: bytes = b""
    inode: bytes | None = None
    is_link: bool = False
    data: Blob | None = None
    compared: Compared | None = None  # of a content that is another than the stored one

    @property
    def path(self) -> bytes:
        """The entry's path."""
        return join(self.directory, self.name)


class Scan:
    """One pass over some paths; the results are attributes."""

    def __init__(
        self,
        host: Host,
        spool: Spool | None = None,
        *,
        unpaced: Iterable[bytes] | None = (),
        trusting: bool = True,
        exact: bool = False,
        at_most: int | None = None,
        resealing: bool = False,
    ) -> None:
        """With a `spool` contents are kept for a commit. `unpaced` paths are read even if they change too
        often; None: all are. Not `trusting`, what the index knows of an entry's status counts for nothing.
        `exact`, no content is compared by the lines that count. With `at_most` findings the pass stops at the
        end of a directory: `is_cut` says that there may be more. `resealing`, secrets that are encrypted for
        others than those configured now count as changed.
        """
        self.findings: list[Finding] = []
        self.skipped: list[Skipped] = []
        self.deferred: list[bytes] = []
        self.count = 0
        self._room = at_most
        self._host = host
        self._spool = spool
        self._trusting = trusting
        self._exact = exact
        self._secrecy = Secrecy(host, resealing)
        self._now = host.now_ns()
        self._paces = {} if unpaced is None else self._overdue(set(unpaced))
        self._visited: set[bytes] = set()
        self._kept: list[bytes] = []
        self._named = set(host.config.watch)
        self._devices: dict[bytes, int | None] = {}

    def _overdue(self, unpaced: set[bytes]) -> set[bytes]:
        """The paths that must wait."""
        paces = self._host.index.paces()
        return {
            path
            for path, text in paces.items()
            if path not in unpaced and not pace.due(pace.parse(text), self._now)
        }

    # -- the walk ----------------------------------------------------------------------------------

    def run(self, paths: Sequence[bytes]) -> None:
        """Look at each path, which must be tracked, and everything below it."""
        for path in outermost(paths):
            if self.is_cut:
                break
            mount = self._mount_above(path)
            if mount is not None:
                self._keep(mount, MOUNTED, failed=False)
                continue
            try:
                status = self._host.tree.lstat(path)
            except OSError as problem:
                self._keep(path, f"unreadable: {problem.strerror}")
                continue
            if status is None or not stat.S_ISDIR(status.st_mode):
                self._sweep(path)
            directory, name = split(path)
            if path != b"/" and (status is None or stat.S_ISDIR(status.st_mode)):
                self._gone(self._host.index.row(directory, name))
            elif path != b"/" and status is not None:
                self._single(directory, name, status)
            if status is not None and stat.S_ISDIR(status.st_mode):
                self._walk(path)
                self._sweep(path)
        if not self.is_cut:  # else not all are met: they come with a later part
            for waiting in self._secrecy.met_all():
                self._single(*waiting)
        self._look_at_other_names()

    def _look_at_other_names(self) -> None:
        """What was written through one name of a file has changed under its others, wherever they lie."""
        met = {(finding.directory, finding.name) for finding in self.findings}
        for inode in {finding.inode for finding in self.findings if finding.is_link and finding.inode}:
            for row in self._host.index.links(inode):
                if (row.directory, row.name) in met:
                    continue
                status = status_of_name(self._host, row, inode)
                if status is not None:
                    self._single(row.directory, row.name, status)

    def _mount_above(self, path: bytes) -> bytes | None:
        """The directory at or above a path, within its watch, where another file system begins."""
        watch = self._host.rules.watch_of(path)
        if watch is None or self._host.config.cross_filesystems:
            return None
        device = None
        for directory in [above for above in (*ancestors(path), path) if is_below(above, watch)]:
            own = self._device_of(directory)
            if device is not None and own not in (None, device) and directory not in self._named:
                return directory
            device = own if own is not None else device
        return None

    def _device_of(self, directory: bytes) -> int | None:
        """The file system that a directory is on; None for what is none, or can't be looked at."""
        if directory not in self._devices:
            try:
                status = self._host.tree.lstat(directory)
            except OSError:
                status = None
            is_directory = status is not None and stat.S_ISDIR(status.st_mode)
            self._devices[directory] = status.st_dev if status is not None and is_directory else None
        return self._devices[directory]

    def sweep_untracked(self) -> None:
        """After the rules have changed: what no watch covers any more goes from the store."""
        for directory in self._host.index.directories(b"/"):
            if self.is_cut:
                return
            for row in self._host.index.rows(directory).values():
                if self._host.rules.watch_of(join(directory, row.name)) is None:
                    self._gone(row)

    def _single(self, directory: bytes, name: bytes, status: stat_result) -> None:
        try:
            with self._host.tree.directory(directory) as parent:
                self._entry(parent, name, status, self._host.index.row(directory, name))
        except OSError as problem:
            self._keep(join(directory, name), f"unreadable: {problem.strerror}")

    def _walk(self, top: bytes) -> None:
        """Directories from a stack, not by recursion: depth costs neither descriptors nor Python's stack."""
        pending: list[tuple[bytes, int | None]] = [(top, None)]
        while pending and not self.is_cut:
            path, device = pending.pop()
            try:
                with self._host.tree.directory(path) as directory:
                    rows = self._host.index.rows(path)
                    if self._enter(directory, device, rows.pop(b".", None)):
                        below = self._entries(directory, rows)
                        inner = directory.stat.st_dev
                        pending.extend((join(path, name), inner) for name in reversed(below))
            except OSError as problem:
                if self._is_still_there(path):
                    self._keep(path, f"unreadable: {problem.strerror}")

    def _is_still_there(self, path: bytes) -> bool:
        """A directory that could not be opened: False only where its parent says that it is gone."""
        try:
            return self._host.tree.lstat(path) is not None
        except OSError:
            return True

    def _enter(self, directory: Directory, device: int | None, own: Row | None) -> bool:
        """Take the directory's own entry; False where its contents are another file system's."""
        self._visited.add(directory.path)
        crossing = device is not None and directory.stat.st_dev != device
        is_wanted = self._host.config.cross_filesystems or directory.path in self._named
        if is_wanted or not crossing or own is None:
            self._read_self(directory, own)
        if crossing and not is_wanted:
            self._keep(directory.path, MOUNTED, failed=False)
            return False
        return True

    def _entries(self, directory: Directory, rows: dict[bytes, Row]) -> list[bytes]:
        """Look at all entries of a directory but its subdirectories, whose names are returned."""
        rules = self._host.rules
        below = []
        for name, status in directory.entries():
            path = join(directory.path, name)
            is_directory = stat.S_ISDIR(status.st_mode)
            if rules.refuses(directory.path, name, path, is_directory):
                continue
            if is_directory:
                below.append(name)
            else:
                self._entry(directory, name, status, rows.pop(name, None))
        for row in rows.values():
            self._gone(row)
        return below

    # -- one entry ---------------------------------------------------------------------------------

    def _read_self(self, directory: Directory, row: Row | None) -> None:
        self._counted()
        if self._is_as_known(row, directory.stat):
            return
        self._found(directory.path, b".", row, directory.read_self())

    def _entry(self, directory: Directory, name: bytes, status: stat_result, row: Row | None) -> None:
        self._counted()
        path = join(directory.path, name)
        if self._secrecy.must_wait(directory.path, name, status):
            return
        is_secret = self._secrecy.is_secret(path, status)
        if self._is_as_known(row, status, is_secret):
            return
        if row is not None and path in self._paces:
            self.deferred.append(path)
            return
        for _ in range(_ATTEMPTS):
            try:
                reading = directory.read(name, status, self._host.rules.size)
            except Vanished:
                now = directory.lstat(name)
                if now is None:
                    self._gone(row)
                    return
                if stat.S_ISDIR(now.st_mode):
                    break
                status, is_secret = now, self._secrecy.is_secret(path, now)
            except (OSError, ValueError) as problem:
                self._keep(path, f"unreadable: {getattr(problem, 'strerror', None) or problem}")
                return
            else:
                self._found(directory.path, name, row, reading, is_secret)
                return
        self._keep(path, "replaced again and again while it was read")

    def _found(
        self, directory: bytes, name: bytes, row: Row | None, reading: Reading, is_secret: bool = False
    ) -> None:
        entry, data = reading.entry, None
        path = join(directory, name)
        known = parse_entry(row.line) if row is not None else None
        if is_secret:
            entry = self._secrecy.seal(path, entry, known)
        if reading.data is not None and self._spool is not None:
            had = known is not None and known.has_content and (known.digest, known.sealed)
            if had != (entry.digest, entry.sealed):
                data = self._spool.put(self._host.secrets.close(reading.data) if is_secret else reading.data)
        if entry.unstable:
            self.skipped.append(
                Skipped(path, "unstable: it changed while it was read; captured as last read", True)
            )
        elif entry.kind == FILE and entry.size is not None:
            self.skipped.append(Skipped(path, _UNREAD if entry.digest is None else _DIGESTED, False))
        compared = None if self._exact else compare(self._host, path, row, entry, reading.data)
        is_link = entry.kind != DIRECTORY and reading.stat.st_nlink > 1
        inode = inode_of(reading.stat) if entry.kind != DIRECTORY else None
        signature = b"" if entry.unstable else self._signature(reading.stat)
        if self._spool is not None and (
            row is None or (data is not None and not (compared and compared.is_same))
        ):
            self._host.store.prepare()  # there will be a revision: let Mercurial start while the scan goes on
        self._add(Finding(directory, name, row, entry, signature, inode, is_link, data, compared))

    def _is_as_known(self, row: Row | None, status: stat_result, is_secret: bool = False) -> bool:
        is_known = self._trusting and row is not None and row.signature == _packed(status)
        return is_known and row is not None and self._secrecy.is_as_stored(row, is_secret)

    def _signature(self, status: stat_result) -> bytes:
        """The status packed; empty where the entry is so young that a later change might look the same."""
        coarse = status.st_ctime_ns % _SECOND == 0 and status.st_mtime_ns % _SECOND == 0
        step = _COARSE_STEP_NS if coarse else _STEP_NS
        return b"" if status.st_ctime_ns > self._now - step else _packed(status)

    def _gone(self, row: Row | None) -> None:
        if row is not None:
            self._add(Finding(row.directory, row.name, row, None))

    def _keep(self, path: bytes, reason: str, failed: bool = True) -> None:
        self.skipped.append(Skipped(path, reason, failed))
        self._kept.append(path)

    def _sweep(self, top: bytes) -> None:
        """Directories that the index has at or below `top` and the walk has not met are gone."""
        for directory in self._host.index.directories(top):
            if self.is_cut:
                return  # nor has the walk met all that is there
            if directory in self._visited or any(is_below(directory, kept) for kept in self._kept):
                continue
            for row in self._host.index.rows(directory).values():
                self._gone(row)

    @property
    def is_cut(self) -> bool:
        """Whether it has found all that it may: there may be more."""
        return self._room is not None and self._room <= 0

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        # What differs in dropped lines only is found by every pass: if counted, no pass would get beyond it.
        if self._room is not None and not (finding.compared and finding.compared.is_same):
            self._room -= 1

    def _counted(self) -> None:
        self.count += 1
        if self.count % _PROGRESS_EVERY == 0:
            self._host.report.progress("reading", self.count, None)


def live_line(row: Row) -> bytes:
    """The row's line with the time that the entry has now: a touched file makes no revision, but a rollback
    brings its time back.
    """
    if not row.signature or b"\tmtime=" not in row.line:
        return row.line
    mtime = int.from_bytes(_SIGNATURE.unpack(row.signature)[7], "little", signed=True)
    entry = parse_entry(row.line)
    return row.line if entry.mtime == mtime else render_entry(entry._replace(mtime=mtime))


def _packed(status: stat_result) -> bytes:
    return _SIGNATURE.pack(
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_nlink,
        status.st_size,
        # File systems hold times far beyond what 64 bits of nanoseconds can (year 2262).
        status.st_mtime_ns.to_bytes(16, "little", signed=True),
        status.st_ctime_ns.to_bytes(16, "little", signed=True),
    )
