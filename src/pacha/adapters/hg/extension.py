"""The Mercurial side of Pacha: runs inside `hg serve --cmdserver pipe` and answers a handful of requests.

Called by Mercurial alone, which loads this file by its path; `adapters/hg/child.py` is the pipe's other end.
It must not import Pacha, touch a live file, keep a working copy, or decide what may be committed.

`answering.py` beside it has the protocol. After a request to commit come the contents without being asked
for, in the order of the paths, each a 64-bit length and the bytes: both processes work at the same time. What
a failed commit has not read it passes over before it answers.
"""

from __future__ import annotations

import gc
import os
import struct

from mercurial import commit, context, error, extensions, hg, util, verify
from mercurial.node import bin as unhex
from mercurial.node import hex as tohex
from mercurial.utils import dag_util

testedwith = b"7.2"

_beside = os.fsencode(os.path.dirname(__file__))
healing = util.load_path(os.path.join(_beside, b"healing.py"), "hgext.pacha_healing")
durable = healing.durable
censoring = util.load_path(os.path.join(_beside, b"censoring.py"), "hgext.pacha_censoring")
answering = util.load_path(os.path.join(_beside, b"answering.py"), "hgext.pacha_answering")


class _Revision(context.memctx):
    """A memctx that knows which paths are new, so contents are read once and never all held in memory."""

    def __init__(self, repo, request, contents):
        self._contents = contents
        self._known = request["known"]
        paths = request["present"] + request["removed"]
        parents = (repo.changelog.tip(), None)
        super().__init__(
            repo, parents, request["text"], paths, self._file, request["user"], request["date"],
            request["extra"],
        )  # fmt: skip
        self._filectxfn = self._file
        base = self.p1().manifest()
        present = request["present"]
        # Assigning over Mercurial's property cache is what spares the second reading of every changed file.
        self._status = context.scmutil.status(
            [path for path in present if path in base],
            [path for path in present if path not in base],
            [path for path in request["removed"] if path in base],
            [], [], [], [],
        )  # fmt: skip

    def _file(self, repo, ctx, path):
        if path not in self._known:
            return _File(repo, ctx, path, self._contents.of(path))
        file = _File(repo, ctx, path, b"")
        file.known = self._known[path]
        return file


class _File(context.memfilectx):
    """A file of a `_Revision`; `known` is the hash of its content where the store has that already."""

    known = None


def _commit_file(original, repo, file, before, beyond, revision, transaction, *rest):
    """Mercurial's own for the contents of a `_Revision`: one parent, no copies, and known to be new."""
    if not isinstance(file, _File):
        return original(repo, file, before, beyond, revision, transaction, *rest)
    path = file.path()
    parent = before.get(path, repo.nullid)
    node = file.known or repo.file(path, writable=True).add(
        file.data(), {}, transaction, revision, parent, repo.nullid
    )
    return node, None if node == parent else "added" if parent == repo.nullid else "modified"


class _Contents:
    """The contents that follow a request to commit, in the order of `paths`."""

    def __init__(self, paths, read):
        self.paths = paths
        self._left = iter(paths)
        self._read = read

    def of(self, path):
        if path != next(self._left, None):
            raise error.ProgrammingError(b"contents are asked for out of their order: " + path)
        return self._next()

    def _next(self):
        return self._read(struct.unpack(">Q", self._read(8))[0])

    def pass_over(self):
        for _ in self._left:
            self._next()


class _Verifier(verify.verifier):
    """Mercurial's verification, to which what `do_censor` took out is no error."""

    def _err(self, linkrev, msg, filename=None):
        if msg != b"censored file data":
            super()._err(linkrev, msg, filename)


class _Session(answering.Answering):  # type: ignore[name-defined]
    """The requests that concern the store."""

    def __init__(self, server):
        super().__init__(server)
        self._repo = None

    def begin(self):
        if self._repo is not None:
            self._repo.invalidateall()

    # -- requests ----------------------------------------------------------------------------------

    def do_open(self, path, create):
        """Open the repository at `path`, made first where `create` is true and there is none."""
        ui = self._server.ui.copy()
        if create and not os.path.exists(os.path.join(path, b".hg")):
            healing.create(ui, path, path + b".new")
        self._repo = hg.repository(ui, path).unfiltered()

    def do_recover(self):
        """Break locks whose owners are gone, roll an abandoned transaction back; whether there was one."""
        return healing.recover(self._repo)

    def do_tip(self):
        """The newest revision's hash, hexadecimal and empty for an empty store."""
        return b"" if not len(self._repo) else tohex(self._repo.changelog.tip())

    def do_commit(self, request):
        """Add one revision after the tip `request["parent"]`; returns its hash once it is on the disk.

        Of the `present` paths those in `known`, `{path: file hash}`, have a content that the store has
        already; the contents of all others follow the request.
        """
        unknown = [path for path in request["present"] if path not in request["known"]]
        contents = _Contents(unknown, self.read)
        try:
            return self._commit(request, contents)
        except EOFError:
            raise
        except BaseException:
            contents.pass_over()
            raise

    def _commit(self, request, contents):
        if self.do_tip() != request["parent"]:
            raise error.Abort(b"the store has moved on since this revision was prepared")
        repo = self._repo
        with repo.lock():
            with repo.transaction(b"pacha") as transaction:
                written = durable.Durable(repo, transaction, contents.paths)
                node = repo.commitctx(_Revision(repo, request, contents))
            written.closed()
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
            self.item(
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
                data = self._repo.file(path).read(node)
                self.item(data, len(data))
            except error.CensoredNodeError:
                self.item(None)

    def do_annotate(self, path, rev):
        """One item `(rev, bytes)` for each line of `path` at `rev`: what `hg annotate` says of it.

        Of versions that were forgotten nothing is known: the lines of the next one count as new.
        """
        for line in dag_util.annotate(self._repo[rev][path].introfilectx(), _known_parents):
            self.item((line.fctx.rev(), line.text), len(line.text))

    def do_copy(self, path, is_foreign):
        """Make a repository at `path` with every revision of this one, and nothing else of it. Of a foreign
        one each revision is made again, and its hash with it; others are copied file by file.
        """
        made = hg.repository(self._server.ui.copy(), path, create=True).unfiltered()
        if is_foreign:
            _make_again(self._repo, made)
        else:
            _copy_files(self._repo, made)
            made = hg.repository(self._server.ui.copy(), path).unfiltered()
        if not healing.is_line(made):
            raise error.Abort(b"it is not one line of revisions")
        durable.syncfs(path)

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
        list(map(self.item, complaints.splitlines()))
        return verifier.errors + verifier.warnings

    def do_censor(self, path, keep):
        """Replace every stored content of `path` but the one with the hash `keep` (empty: none) by nothing;
        returns how many there were.
        """
        return censoring.censor(self._repo, path, keep)


def _make_again(repo, made):
    from mercurial import changegroup, discovery, phases

    outgoing = discovery.outgoing(repo, [repo.nullid], [repo.changelog.tip()])
    chunks = util.chunkbuffer(changegroup.makestream(repo, outgoing, b"03", b"bundle"))
    unpacked = changegroup.getunbundler(b"03", chunks, None)
    with made.lock(), made.transaction(b"pacha-copy") as transaction:
        unpacked.apply(made, transaction, b"pull", b"pacha", targetphase=phases.public)


def _copy_files(repo, made):
    with repo.lock():
        for name in repo.store.copylist():
            if repo.vfs.exists(name) and not made.vfs.exists(name):
                util.copyfiles(repo.vfs.join(name), made.vfs.join(name), hardlink=False)


def _known_parents(file):
    """The versions before one of a file, but for those that were forgotten."""
    file.rev()  # known before its parents are, or each would look through the whole history for its own
    return [parent for parent in file.parents() if not parent.filelog().iscensored(parent.filerev())]


def uisetup(ui):
    """Add the `pacha` command to Mercurial's command server."""
    healing.prepare()
    extensions.wrapfunction(commit, "_filecommit", _commit_file)
    # A commit of thousands of files makes many objects and hardly any cycle: collect seldom.
    gc.set_threshold(50_000, 20, 50)
    answering.add_command(_Session)
