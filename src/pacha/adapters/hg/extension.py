"""The Mercurial side of Pacha: runs inside `hg serve --cmdserver pipe` and answers a handful of requests.

Called by Mercurial alone, which loads this file by its path; `adapters/hg/child.py` is the pipe's other end.
It must not import Pacha, touch a live file, keep a working copy, or decide what may be committed.

The protocol is one command, `pacha`, added to Mercurial's command server. A request is a 32-bit big-endian
length and a marshalled tuple `(operation, arguments)`; the answer is any number of `("item", value)` frames
on the result channel and one last `("done", value)` or `("error", kind, text)`. While a commit runs,
`("need", path)` frames ask for contents, each answered by a length and the bytes. Marshal, because both ends
are the same interpreter and paths are bytes.

Durability: Mercurial never calls fsync. `_Durable` first announces every file that the transaction will touch
in Mercurial's own journal and brings that to the disk. Then it hangs two finalizers on the transaction. The
first sorts before the changelog's own (`000-cl-…`): by then everything but the changelog is written, so data
and directories go to the disk before any revision can be seen. The second runs last, while the journal is
still there: the changelog goes to the disk before the journal may vanish. After the close the directory is
synced once more, or a crash would bring the journal back and undo an acknowledged revision.
"""

from __future__ import annotations

import ctypes
import gc
import marshal
import os
import shutil
import struct

from mercurial import commandserver, context, error, hg, lock, util, verify
from mercurial.node import bin as unhex
from mercurial.node import hex as tohex
from mercurial.utils import stringutil

testedwith = b"7.2"

# More files than this in one transaction: one syncfs is cheaper than an fsync each.
SYNC_EACH_AT_MOST = 64

# A flipped bit may send Mercurial anywhere.
_WHAT_DAMAGE_RAISES = (
    error.Error, error.RepoError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, struct.error,
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def _fsync(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


class _Durable:
    """Puts one transaction on the disk in the order that survives a power cut at any instant."""

    def __init__(self, repo, transaction, filelogs):
        """Announce everything that the transaction will write, before the first byte of it is written.

        Mercurial notes a file in its journal only when it appends to it. Any flush of the file system, by
        whatever program, may then bring the longer file to the disk and leave the journal behind.
        """
        self._repo = repo
        self._store = repo.svfs
        self._transaction = transaction
        transaction.addfinalize(b"000-a-pacha-data", self._data)
        transaction.addfinalize(b"~pacha-changelog", self._changelog)
        for log in [b"00changelog", b"00manifest", *(b"data/" + path for path in filelogs)]:
            for name in (log + b".i", log + b".d"):
                transaction.add(name, self._size(name))
        if self._store.exists(b"fncache"):
            transaction.addbackup(b"fncache")
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
                _fsync(path)
        for folder in {os.path.dirname(self._store.join(name)) for name in (b"journal", *copies)}:
            _fsync(folder)

    def _data(self, transaction):
        self._repo.store.fncache.write(transaction)
        self._sync_journal()
        new = {name for name in transaction._newfiles | transaction._tmp_files if self._store.exists(name)}
        touched = new | {*transaction._offsetmap} | {entry[1] for entry in transaction._backupentries}
        if len(touched) > SYNC_EACH_AT_MOST:
            _syncfs(self._store.base)
            return
        folders = set()
        for name in filter(self._store.exists, touched):
            path = self._store.join(name)
            _fsync(path)
            # A new file's directory may itself be new: sync the chain up to the store.
            while name in new and len(path) > len(self._store.base):
                path = os.path.dirname(path)
                folders.add(path)
        for folder in folders:
            _fsync(folder)

    def _changelog(self, transaction):
        for name in (b"00changelog.d", b"00changelog.i"):
            if self._store.exists(name):
                _fsync(self._store.join(name))
        # A revlog that was split got its new index by a rename.
        split = {os.path.dirname(self._store.join(name)) for name in transaction._tmp_files}
        for folder in split | {self._store.base}:
            if os.path.exists(folder):
                _fsync(folder)

    def closed(self):
        """After the transaction's close: make the journal's end as lasting as its beginning was."""
        _fsync(self._store.base)


class _Revision(context.memctx):
    """A memctx that knows which paths are new, so contents are asked for once and never all held in
    memory.
    """

    def __init__(self, repo, request, supply):
        paths = request["present"] + request["removed"]
        parents = (repo.changelog.tip(), None)
        super().__init__(
            repo, parents, request["text"], paths, supply, request["user"], request["date"], request["extra"]
        )
        self._filectxfn = supply
        base = self.p1().manifest()
        present = request["present"]
        # Assigning over Mercurial's property cache is what spares the second reading of every changed file.
        self._status = context.scmutil.status(
            [path for path in present if path in base],
            [path for path in present if path not in base],
            [path for path in request["removed"] if path in base],
            [], [], [], [],
        )  # fmt: skip


class _Verifier(verify.verifier):
    """Mercurial's verification, to which what `do_censor` took out is no error."""

    def _err(self, linkrev, msg, filename=None):
        if msg != b"censored file data":
            super()._err(linkrev, msg, filename)


class _Session:
    """The requests, each a method; `serve` is the command server's handler."""

    def __init__(self, server):
        self._server = server
        self._repo = None

    # -- frames ------------------------------------------------------------------------------------

    def _read(self, size):
        data = self._server.client.read(size) if size else b""
        if len(data) != size:
            raise EOFError
        return data

    def _frame(self, *value):
        self._server.cresult.write(marshal.dumps(value))

    def _item(self, value):
        self._frame("item", value)

    def serve(self):
        operation, arguments = marshal.loads(self._read(struct.unpack(">I", self._read(4))[0]))
        try:
            if self._repo is not None:
                self._repo.invalidateall()
            self._frame("done", getattr(self, "do_" + operation)(*arguments))
        except error.LockHeld as problem:
            self._frame("error", "busy", stringutil.forcebytestr(problem))
        except OSError as problem:
            self._frame("error", "os", (problem.errno or 0, stringutil.forcebytestr(problem)))
        except _WHAT_DAMAGE_RAISES as problem:
            self._frame("error", "store", stringutil.forcebytestr(problem))

    # -- requests ----------------------------------------------------------------------------------

    def do_open(self, path, create):
        """Open the repository at `path`, made first where `create` is true and there is none.

        It is made beside its place: a process killed meanwhile leaves no half of one.
        """
        ui = self._server.ui.copy()
        if create and not os.path.exists(os.path.join(path, b".hg")):
            made = path + b".new"
            shutil.rmtree(made, ignore_errors=True)
            os.mkdir(made, 0o700)
            hg.repository(ui, made, create=True)
            _syncfs(made)
            os.rename(made, path)
            _fsync(os.path.dirname(path))
        self._repo = hg.repository(ui, path).unfiltered()

    def do_recover(self):
        """Break locks whose owners are gone, roll an abandoned transaction back; whether there was one."""
        _break_stale_locks(self._repo)
        if not (self._repo.svfs.exists(b"journal") and self._repo.recover()):
            return False
        _syncfs(self._repo.svfs.base)
        self._repo.invalidateall()
        return True

    def do_tip(self):
        """The newest revision's hash, hexadecimal and empty for an empty store."""
        return b"" if not len(self._repo) else tohex(self._repo.changelog.tip())

    def do_commit(self, request):
        """Add one revision after the tip `request["parent"]`; returns its hash once it is on the disk."""
        if self.do_tip() != request["parent"]:
            raise error.Abort(b"the store has moved on since this revision was prepared")

        def supply(repo, ctx, path):
            self._frame("need", path)
            data = self._read(struct.unpack(">Q", self._read(8))[0])
            return context.memfilectx(repo, ctx, path, data)

        repo = self._repo
        with repo.lock():
            with repo.transaction(b"pacha") as transaction:
                durable = _Durable(repo, transaction, request["present"])
                node = repo.commitctx(_Revision(repo, request, supply))
            durable.closed()
        return tohex(node)

    def do_history(self, prefixes, newest, limit):
        """Items `(rev, hash, user, date, text, extra, files)` from revision `newest` (-1: tip) downwards.

        With `prefixes` only revisions that touch a file which equals one or lies below one ending in a slash;
        `limit` of 0 is no limit.
        """
        changelog = self._repo.changelog
        exact = {prefix for prefix in prefixes if not prefix.endswith(b"/")}
        below = tuple(prefix for prefix in prefixes if prefix.endswith(b"/"))
        found = 0
        for rev in range(len(changelog) - 1 if newest < 0 else newest, -1, -1):
            entry = changelog.changelogrevision(rev)
            files = entry.files
            if prefixes and not any(name in exact or name.startswith(below) for name in files):
                continue
            self._item(
                (rev, tohex(changelog.node(rev)), bytes(entry.user), tuple(map(int, entry.date)),
                 bytes(entry.description), entry.extra.get(b"pacha", b""), files)
            )  # fmt: skip
            found += 1
            if found == limit:
                return

    def do_resolve(self, prefix):
        """`(rev, hash)` of each revision whose hash starts with the hexadecimal `prefix`, at most two."""
        changelog = self._repo.changelog
        if len(prefix) == 40 and prefix != b"f" * 40:  # all f: Mercurial's name for a working copy
            return [(changelog.rev(unhex(prefix)), prefix)] if changelog.hasnode(unhex(prefix)) else []
        found = []
        for rev in changelog:
            node = tohex(changelog.node(rev))
            if node.startswith(prefix):
                found.append((rev, node))
                if len(found) == 2:
                    break
        return found

    def do_files(self, rev, prefixes):
        """`{path: file hash}` of the manifest of `rev`, restricted like `do_history`; rev -1 is the empty
        one.
        """
        manifest = self._repo[rev].manifest() if rev >= 0 else {}
        if not prefixes:
            return dict(manifest.items())
        exact = [prefix for prefix in prefixes if not prefix.endswith(b"/")]
        below = tuple(prefix for prefix in prefixes if prefix.endswith(b"/"))
        found = {name: manifest[name] for name in exact if name in manifest}
        if below:
            found.update((name, node) for name, node in manifest.items() if name.startswith(below))
        return found

    def do_difference(self, old, new):
        """`{path: (old file hash or None, new file hash or None)}` between two revisions; -1 is the empty
        one.
        """
        changed = self._repo[old].manifest().diff(self._repo[new].manifest())
        return {path: (before[0], after[0]) for path, (before, after) in changed.items()}

    def do_contents(self, wanted):
        """One item for each `(path, file hash)`, in order: its bytes, or None where it was forgotten."""
        for path, node in wanted:
            try:
                self._item(self._repo.file(path).read(node))
            except error.CensoredNodeError:
                self._item(None)

    def do_verify(self):
        """Mercurial's own verification; items are its complaints, the value is their number."""
        repo = self._repo
        repo.ui.pushbuffer(error=True)
        try:
            with repo.lock():
                verifier = _Verifier(repo)
                verifier.verify()
        finally:
            complaints = repo.ui.popbuffer()
        list(map(self._item, complaints.splitlines()))
        return verifier.errors + verifier.warnings

    def do_censor(self, path):
        """Replace every stored content of `path` by nothing; returns how many there were."""
        repo = self._repo
        with repo.lock():
            filelog = repo.file(path)
            nodes = {filelog.node(rev) for rev in filelog if not filelog.iscensored(rev)}
            if nodes:
                with repo.transaction(b"pacha-censor") as transaction:
                    durable = _Durable(repo, transaction, [path])
                    filelog.censorrevision(transaction, nodes, tombstone=b"forgotten by pacha")
                # The undo files may still hold what was to be forgotten.
                for name in filter(lambda name: name.startswith(b"undo"), repo.svfs.listdir()):
                    repo.svfs.unlink(name)
                directory = os.path.dirname(repo.svfs.join(filelog._revlog._indexfile))
                for name in os.listdir(directory):
                    if name.startswith(b"undo.backup.") or b".tmpcensored" in name:
                        os.unlink(os.path.join(directory, name))
                _fsync(directory)
                durable.closed()
            return len(nodes)


def _break_stale_locks(repo):
    """Remove Mercurial's locks, but for one that a living Mercurial process of this system holds.

    Mercurial knows a lock by host and process number alone. After a crash another process may have the
    number, or the host another name, and the lock would hold for ever. Pacha's own lock keeps other Pachas
    away meanwhile.
    """
    own = lock._getlockprefix() + b":"
    for vfs, name in ((repo.svfs, b"lock"), (repo.vfs, b"wlock")):
        try:
            holder = vfs.readlock(name)
        except FileNotFoundError:
            continue
        try:
            with open(b"/proc/%s/cmdline" % holder.removeprefix(own), "rb") as handle:
                command = handle.read()
        except OSError:
            command = b""
        words = map(os.path.basename, command.split(b"\0"))
        if not holder.startswith(own) or {b"hg", b"mercurial"}.isdisjoint(words):
            vfs.tryunlink(name)


def _share_compressors():
    """Make a revlog's compressor once, not for each of thousands of files: its buffers are what costs."""
    for engine in (util.compengines[name] for name in (b"zstd", b"zlib") if name in util.compengines):

        def shared(opts=None, make=engine.revlogcompressor, made={}):  # noqa: B006 - meant to be kept
            key = repr(opts)
            if key not in made:
                made[key] = make(opts)
            return made[key]

        engine.revlogcompressor = shared


def uisetup(ui):
    """Add the `pacha` command to Mercurial's command server."""
    _share_compressors()
    # A commit of thousands of files makes many objects and hardly any cycle: collect seldom.
    gc.set_threshold(50_000, 20, 50)
    sessions = {}

    def handle(server):
        if server not in sessions:
            sessions[server] = _Session(server)
        sessions[server].serve()

    commandserver.server.capabilities[b"pacha"] = handle
