"""How one transaction of Mercurial reaches the disk, in an order that survives a power cut at any instant.

Loaded by `extension.py` beside it, into Mercurial's process; it imports neither Mercurial nor Pacha.
Mercurial never calls fsync. `Durable` first announces every file that the transaction will touch in
Mercurial's own journal and brings that to the disk. Then it hangs two finalizers on the transaction. The
first sorts before the changelog's own (`000-cl-…`): by then everything but the changelog is written, so data
and directories go to the disk before any revision can be seen. The second runs last, while the journal is
still there: the changelog goes to the disk before the journal may vanish. After the close the directory is
synced once more, or a crash would bring the journal back and undo an acknowledged revision. `playback` does
the like for the way back, so that it can be cut short and begun anew.
"""

from __future__ import annotations

import ctypes
import os

# More filelogs than this in one transaction: one syncfs is cheaper than an fsync each.
SYNC_EACH_AT_MOST = 64

_libc = ctypes.CDLL(None, use_errno=True)


def fsync(path: bytes) -> None:
    """Write one file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def syncfs(path: bytes) -> None:
    """Write everything of the file system that the directory `path` is on to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def playback(original, journal, report, opener, places, offsets, copies, **options):
    """Mercurial's own way back to before a transaction, on the disk before the journal that knows it goes.

    Else a power cut could leave a file that was put back without its bytes, and nothing to put it back from.
    Copies are put back as links, which needs no space, or a full disk would stay full. What can't be put back
    ends it, with the journal still there: to Mercurial, which reads the `0` of a copy in the journal as true,
    each is of a cache, and may fail.
    """
    unlink = opener.unlink

    def unlink_after_sync(name):
        if name.startswith(journal):
            opener.unlink = unlink
            syncfs(opener.base)
        unlink(name)

    opener.unlink = unlink_after_sync
    try:
        truncated = dict(offsets)
        linked = [
            (places[location], copy)
            for location, name, copy, _ in copies
            if name and copy and name not in truncated and _link_back(places[location], copy, name)
        ]
        done = {copy for _, copy in linked}
        others = [(*entry[:3], False) for entry in copies if entry[2] not in done]
        original(journal, report, opener, places, offsets, others, **options)
    finally:
        del opener.unlink
    for place, copy in linked:
        place.tryunlink(copy)


def _link_back(place, copy, name):
    """Put a copy in the place of its original; False where that can't be done so."""
    beside = place.join(copy + b".link")
    try:
        os.link(place.join(copy), beside)
        os.rename(beside, place.join(name))
        # Of two names of one file, as after a first attempt, a rename removes none.
        if os.path.lexists(beside):
            os.unlink(beside)
    except OSError:
        return False
    return True


class Durable:
    """Puts one transaction on the disk in the order that survives a power cut at any instant."""

    def __init__(self, repo, transaction, filelogs, replaced=()):
        """Announce everything that the transaction will write, before the first byte of it is written: the
        files to which `filelogs` are appended, and those of `replaced`, whose place others will take.

        Mercurial notes a file in its journal only when it appends to it. Any flush of the file system, by
        whatever program, may then bring the longer file to the disk and leave the journal behind. Of a file
        whose length it knows it keeps no copy, and cuts whatever has taken its place to that length.
        """
        self._repo = repo
        self._store = repo.svfs
        self._transaction = transaction
        transaction.addfinalize(b"000-a-pacha-data", self._data)
        transaction.addfinalize(b"~pacha-changelog", self._changelog)
        self._are_many = len(filelogs) > SYNC_EACH_AT_MOST
        for log in [b"00changelog", b"00manifest", *(b"data/" + path for path in filelogs)]:
            index = self._size(log + b".i")
            transaction.add(log + b".i", index)
            transaction.add(log + b".d", self._size(log + b".d") if index else 0)
        self._replaced = [b"data/" + path + kind for path in replaced for kind in (b".i", b".d")]
        for name in filter(self._store.exists, [b"fncache", *self._replaced]):
            transaction.addbackup(name)
        self._sync_journal()

    def _size(self, name):
        try:
            return self._store.stat(name).st_size
        except FileNotFoundError:
            return 0

    def _sync_journal(self):
        transaction = self._transaction
        copies = [entry[2] for entry in transaction._backupentries if entry[2]]
        for name in (transaction._journal, transaction._backupjournal, *copies):
            path = self._store.join(name)
            if os.path.exists(path):
                fsync(path)
        for folder in {os.path.dirname(self._store.join(name)) for name in (b"journal", *copies)}:
            fsync(folder)

    def _data(self, transaction):
        self._repo.store.fncache.write(transaction)
        self._sync_journal()
        if self._are_many:
            syncfs(self._store.base)
            return
        new = {name for name in transaction._newfiles | transaction._tmp_files if self._store.exists(name)}
        touched = new | {*transaction._offsetmap} | {entry[1] for entry in transaction._backupentries}
        folders = {os.path.dirname(self._store.join(name)) for name in self._replaced}
        for name in filter(self._store.exists, touched):
            path = self._store.join(name)
            fsync(path)
            # A new file's directory may itself be new: sync the chain up to the store.
            while name in new and len(path) > len(self._store.base):
                path = os.path.dirname(path)
                folders.add(path)
        for folder in folders:
            fsync(folder)

    def _changelog(self, transaction):
        for name in (b"00changelog.d", b"00changelog.i"):
            if self._store.exists(name):
                fsync(self._store.join(name))
        # A revlog that was split got its new index by a rename.
        split = {os.path.dirname(self._store.join(name)) for name in transaction._tmp_files}
        for folder in split | {self._store.base}:
            if os.path.exists(folder):
                fsync(folder)

    def closed(self):
        """After the transaction's close: make the journal's end as lasting as its beginning was."""
        fsync(self._store.base)
