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
            log = repo.file(path)
            with repo.transaction(b"pacha-censor") as transaction:
                written = durable.Durable(repo, transaction, [path])
                log.censorrevision(transaction, nodes, tombstone=b"forgotten by pacha")
            # The undo files may still hold what was to be forgotten.
            for name in filter(lambda name: name.startswith(b"undo"), repo.svfs.listdir()):
                repo.svfs.unlink(name)
            directory = os.path.dirname(repo.svfs.join(log._revlog._indexfile))
            for name in os.listdir(directory):
                if name.startswith(b"undo.backup.") or b".tmpcensored" in name:
                    os.unlink(os.path.join(directory, name))
            durable.fsync(directory)
            written.closed()
        return len(nodes)
