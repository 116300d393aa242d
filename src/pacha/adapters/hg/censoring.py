"""Forgetting: a content is taken out of a store for good, here and on a server by the same hands; and two
stores of one line go on understanding each other where only one of them has forgotten.

Loaded by `extension.py` and `sending.py` beside it, into Mercurial's processes, and imported by
`receiving.py` and `wire.py`, into a server's; it imports Mercurial and nothing of Pacha. Only who has Pacha's
own lock may call `censor`.
"""

from __future__ import annotations

import os

from mercurial import extensions, filelog, util
from mercurial.interfaces import repository

# Loaded by its path, too: Mercurial loads the extension so, and to it there is no package of Pacha's.
_beside = os.fsencode(os.path.dirname(__file__))
durable = util.load_path(os.path.join(_beside, b"durable.py"), "hgext.pacha_durable")


def prepare():
    """Once a process, before a store is opened: of a file with forgotten contents whole texts are sent.

    A difference is one from a content that the other end has, and that may be the very content which either
    has forgotten.
    """
    extensions.wrapfunction(filelog.filelog, "emitrevisions", _emit)


def _emit(original, log, nodes, *args, **more):
    if any(map(log.iscensored, log)):
        more["deltamode"] = repository.CG_DELTAMODE_FULL
    return original(log, nodes, *args, **more)


def stored(repo, path, keep=b""):
    """The file hashes of the contents of `path` that are there, but for `keep`."""
    log = repo.file(path)
    return {log.node(rev) for rev in log if not log.iscensored(rev)} - {keep}


def censor(repo, path, keep=b""):
    """Replace every stored content of `path` but the one with the hash `keep` (empty: none) by nothing;
    returns how many there were.
    """
    with repo.lock():
        nodes = stored(repo, path, keep)
        if nodes:
            with repo.transaction(b"pacha-censor") as transaction:
                written = durable.Durable(repo, transaction, [], replaced=[path])
                repo.file(path).censorrevision(transaction, nodes, tombstone=b"forgotten by pacha")
            written.closed()
        _clean(repo.svfs, b"data/" + path)
        return len(nodes)


def _clean(store, log):
    """Remove what Mercurial keeps of a filelog to undo a transaction, and what one that was killed has left
    of that: it may still hold what was to be forgotten.

    By its exact names: beside it are the filelogs of files that are called as people like.
    """
    folder, name = os.path.split(log)
    for kind in (b".i", b".d"):
        store.tryunlink(log + kind + b".tmpcensored")
        for prefix in (b"journal", b"undo"):
            store.tryunlink(b"%s/%s.backup.%s%s.bck" % (folder, prefix, name, kind))
    for name in filter(lambda name: name.startswith(b"undo"), store.listdir()):
        store.unlink(name)
    for folder in {os.path.dirname(store.join(log + b".i")), store.base}:
        if os.path.isdir(folder):
            durable.fsync(folder)
