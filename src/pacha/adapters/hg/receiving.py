"""One push, from the file that it was read into to the disk: all of it, or nothing.

Called by `wire.py`. The order is the safety: `bundle.look_through` (before any file is opened) → the
transaction is announced and applied → every revision, as the store has it now, is judged → what it takes is
held against the quota → only then the transaction closes, on the disk when it does. It imports Mercurial and
nothing of Pacha but its neighbours; what may be added is decided by the `Keeper` that it is given.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, NamedTuple, Protocol

from mercurial import changegroup, error, localrepo, phases, ui
from mercurial.node import hex as tohex
from mercurial.node import nullrev
from mercurial.utils import storageutil

from pacha.adapters.hg import censoring, healing
from pacha.adapters.hg.bundle import NULL, Limits, Payload, Unfit, look_through

_SETTINGS = (
    (b"ui", b"interactive", b"no"),
    (b"ui", b"quiet", b"yes"),
    (b"ui", b"timeout", b"20"),
    (b"ui", b"timeout.warn", b"0"),
    (b"worker", b"enabled", b"no"),
    (b"phases", b"publish", b"yes"),
    (b"server", b"uncompressed", b"no"),
    (b"server", b"bundle1", b"no"),
)
_BLOCK = 4096


class Arrival(NamedTuple):
    """One revision that wants to be added, as `core/admission` wants to see it."""

    node: str
    parents: Sequence[str]
    branch: str
    stamp: bytes
    place: int  # in the line, from 1
    sizes: Mapping[bytes, int | None]
    digests: Mapping[bytes, bytes]  # SHA-256 of new contents, hexadecimal
    text_of: Callable[[bytes], bytes | None]
    has: Callable[[bytes], bool]


class Received(NamedTuple):
    """What a push added."""

    old: str  # the tip before, hexadecimal; empty for none
    new: str
    revisions: int
    grown: int  # bytes, in whole blocks, by which the store is larger


class Teller(Protocol):
    """What every session needs to know and to have done; of one that only reads, `server/reading` is it."""

    @property
    def writes(self) -> bool:
        """Whether this session may add anything at all: then it is a Keeper."""

    def told(self, tip: str, stamp: bytes, revisions: int) -> bytes:
        """The answer to the wire command `pacha`."""

    def refused(self, words: str) -> None:
        """Called with each refusal."""


class Keeper(Teller, Protocol):
    """The same of one that adds; `server/serve` is it."""

    limits: Limits
    folder: str  # where what a client sends is put meanwhile

    def locked(self) -> AbstractContextManager[None]:
        """Pacha's own lock on this host's store."""

    def room(self) -> int:
        """Bytes that this host may still take."""

    def is_legal(self, path: bytes) -> bool:
        """Whether a store may have a file of this name."""

    def admit(self, arrival: Arrival, tip: str) -> Sequence[str]:
        """Every reason against it, each one sentence."""

    def alive(self, health: bytes) -> None:
        """Called with what the host says of itself; ValueError where that makes no sense."""

    def aside(self) -> Sequence[bytes]:
        """The stores of this host that were put aside."""

    def forgetting(self, path: bytes, count: int) -> AbstractContextManager[None]:
        """Entered to take so many contents of a store path away; Unfit where this server does not do that."""

    def received(self, received: Received) -> None:
        """Called when it is on the disk, before the client is told."""

    def acknowledged(self, received: Received) -> None:
        """Called when the client has been told."""


class Opened:
    """The store that a session is about."""

    def __init__(self, path: bytes, teller: Teller) -> None:
        """Open it as it is: what a crash has left is healed by who adds."""
        self._teller = teller
        self._ui = ui.ui.load()
        for section, name, value in _SETTINGS:
            self._ui.setconfig(section, name, value, b"pacha")
        healing.prepare()
        self.repo = self._open(path)

    def _open(self, path):
        return localrepo.instance(self._ui, path, create=False).unfiltered()

    def refresh(self) -> None:
        """See what other sessions have done."""
        self.repo.invalidateall()

    def tip(self) -> bytes:
        """The newest revision; NULL where there is none."""
        tip: bytes = self.repo.changelog.tip()
        return tip

    def told(self) -> bytes:
        """The answer to the wire command `pacha`."""
        changelog = self.repo.changelog
        stamp = changelog.changelogrevision(self.tip()).extra.get(b"pacha", b"") if len(changelog) else b""
        return self._teller.told(_hexadecimal(self.tip()), stamp, len(changelog))


class Store(Opened):
    """The same of one that may be added to."""

    def __init__(self, path: bytes, keeper: Keeper) -> None:
        """Open it, made and healed first where it must be."""
        self._keeper = keeper
        super().__init__(path, keeper)

    def _open(self, path):
        is_there = os.path.exists(os.path.join(path, b".hg"))
        if is_there and not os.path.lexists(os.path.join(path, b".hg", b"store", b"journal")):
            return super()._open(path)
        try:
            with self._keeper.locked():
                repo = self._made(path)
                healing.recover(repo)
                return repo
        except Unfit:
            # The journal is that of another session at work: this one can read meanwhile.
            if not is_there:
                raise
            return super()._open(path)

    def _made(self, path):
        if not os.path.exists(os.path.join(path, b".hg")):
            folder, name = os.path.split(path)
            # By way of a name that no host can have.
            healing.create(self._ui, path, os.path.join(folder, b"." + name + b".new"))
        return super()._open(path)

    def receive(self, spool: BinaryIO, size: int) -> tuple[Received, int]:
        """Add what a bundle of `size` bytes in `spool` brings; and the number of the part that brought it.

        Raise Unfit, with the store as it was, where it may not be.
        """
        with self._at_work():
            return self._receive(spool, size)

    def forget(self, path: bytes, keep: bytes) -> int:
        """Take every content of a store path but that with the file hash `keep` out of the history, and out
        of what was put aside of it; how many there were. Unfit where that may not be.
        """
        with self._at_work():
            if not path.startswith(b"files/") or not self._keeper.is_legal(path):
                raise Unfit("it names no content of a store")
            repos = [self.repo, *map(self._open_healed, self._keeper.aside())]
            count = sum(len(censoring.stored(repo, path, keep)) for repo in repos)
            with self._keeper.forgetting(path, count):
                for repo in repos:
                    censoring.censor(repo, path, keep)
            return count

    def _open_healed(self, path):
        repo = super()._open(path)
        healing.recover(repo)
        return repo

    @contextmanager
    def _at_work(self):
        """The host's lock, and the store healed; whatever goes wrong becomes Unfit, in words."""
        with self._keeper.locked():
            healing.recover(self.repo)
            self.refresh()
            try:
                yield
                return
            except Unfit as inner:
                problem = str(inner)
            except MemoryError:
                problem = "it needs more memory than a session may have"
            except OSError as inner:
                problem = f"the server has a problem: {inner.strerror}"
            except error.LockHeld:
                problem = "a Mercurial process on the server holds the store's lock"
            except Exception as inner:  # noqa: BLE001 - forged bytes may send Mercurial anywhere
                problem = f"it is damaged: {words_of(inner)}"
            # Outside of the handlers, whose tracebacks hold on to all that was read.
            self.refresh()
            raise Unfit(problem)

    def _receive(self, spool: BinaryIO, size: int) -> tuple[Received, int]:
        repo, before = self.repo, self.tip()
        bundle = look_through(spool, size, before, self._keeper.is_legal, self._keeper.limits)
        payload = Payload(spool, bundle.start, size)
        unpacker = changegroup.getunbundler(bundle.version, payload, b"UN")
        with repo.lock():
            # A refusal is one line: nothing is reported of the way back.
            with repo.transaction(b"pacha-receive", report=lambda *_: None) as transaction:
                written = healing.durable.Durable(repo, transaction, bundle.files)
                first = len(repo.changelog)
                unpacker.apply(repo, transaction, b"serve", b"pacha", targetphase=phases.public)
                _Judge(repo, self._keeper, first).judge(bundle.files)
                grown = _growth(repo, transaction)
                if grown > self._keeper.room():
                    raise Unfit("the quota of this host would be exceeded")
            written.closed()
        new = _hexadecimal(self.tip())
        return Received(_hexadecimal(before), new, len(bundle.changesets), grown), bundle.part


class _Judge:
    """Looks at what was applied, before it is final, as anybody would read it."""

    def __init__(self, repo, keeper, first):
        self._repo = repo
        self._keeper = keeper
        self._first = first
        self._brought = {}  # {(path, file revision): the first revision that has it}

    def judge(self, files):
        """Raise Unfit where a new revision, or a new content of `files`, may not be."""
        changelog = self._repo.changelog
        before = self._manifest(self._first - 1)
        for rev in range(self._first, len(changelog)):
            before = self._revision(rev, before)
        manifests = self._repo.manifestlog.getstorage(b"")
        self._all_belong(b"", manifests)
        for path in files:
            self._all_belong(path, self._repo.file(path))

    def _manifest(self, rev):
        if rev == nullrev:
            return self._repo.manifestlog[NULL].read()
        return self._repo.manifestlog[self._repo.changelog.changelogrevision(rev).manifest].read()

    def _revision(self, rev, before):
        entry = self._repo.changelog.changelogrevision(rev)
        after = self._manifest(rev)
        self._brought.setdefault((b"", entry.manifest), rev)
        sizes, digests = {}, {}
        for path, (_, (node, flags)) in before.diff(after).items():
            if flags:
                raise Unfit("a manifest has flags")
            sizes[path] = None
            if node is not None:
                if (path, node) not in self._brought:
                    self._brought[path, node] = rev
                sizes[path], digest = self._content(path, node)
                if digest:
                    digests[path] = digest
        if sorted(sizes) != list(entry.files):
            raise Unfit("a revision names other files than it changes")
        if entry.extra.keys() != {b"branch", b"pacha"}:
            raise Unfit("a revision was not made by Pacha, or closes its branch")

        def text_of(path):
            return self._repo.file(path).read(after[path]) if path in after else None

        parents = [
            node for node in self._repo.changelog.parents(self._repo.changelog.node(rev)) if node != NULL
        ]
        arrival = Arrival(
            _hexadecimal(self._repo.changelog.node(rev)), list(map(_hexadecimal, parents)),
            entry.extra[b"branch"].decode("utf-8", "backslashreplace"), entry.extra[b"pacha"], rev + 1, sizes,
            digests, text_of, after.__contains__,
        )  # fmt: skip
        tip = self._repo.changelog.node(rev - 1) if rev else NULL
        for reason in self._keeper.admit(arrival, _hexadecimal(tip)):
            raise Unfit(reason)
        return after

    def _content(self, path, node):
        """Length and SHA-256 of a content; being read, it is known to have the hash that it goes by."""
        log = self._repo.file(path)
        rev = log.rev(node)
        if log.iscensored(rev):
            if not path.startswith(b"files/") or not _is_forgotten(log, rev):
                raise Unfit("a content says that it was forgotten, and was not")
            return 0, b""
        text = log.revision(rev)
        values, start = storageutil.parsemeta(text)
        if values:
            raise Unfit("a content has a history of another name, which Pacha does not record")
        content = text[start:] if start else text
        return len(content), hashlib.sha256(content).hexdigest().encode()

    def _all_belong(self, path, log):
        """Every new entry of a log must be what the revision that it is linked with brought."""
        for rev in range(len(log) - 1, -1, -1):
            link = log.linkrev(rev)
            if link < self._first:
                break
            if self._brought.get((path, log.node(rev))) != link:
                raise Unfit("it brings a content that no revision has")


def _is_forgotten(log, rev):
    """Whether only a tombstone is there: Mercurial then raises, even where the raw data is asked for."""
    try:
        return storageutil.iscensoredtext(log.rawdata(rev))
    except error.CensoredNodeError:
        return True


def _growth(repo, transaction):
    """The bytes, in whole blocks, by which the files of a transaction have grown."""
    grown = 0
    for name, start in {**dict.fromkeys(transaction._newfiles, 0), **transaction._offsetmap}.items():
        try:
            size = repo.svfs.stat(name).st_size
        except FileNotFoundError:
            continue
        grown += -(-size // _BLOCK) * _BLOCK - -(-start // _BLOCK) * _BLOCK
    return grown


def _hexadecimal(node: bytes) -> str:
    return "" if node == NULL else tohex(node).decode()


def words_of(problem: BaseException) -> str:
    """A message of Mercurial's, short and without what a terminal would obey."""
    text = getattr(problem, "message", None) or (problem.args[0] if problem.args else b"")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return ascii(str(text)[:120])[1:-1] or type(problem).__name__
