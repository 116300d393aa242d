"""A store after a crash: stale locks broken, an abandoned transaction rolled back; and a store made anew,
which is looked at before it is believed.

Loaded by `extension.py` and `sending.py` beside it, into Mercurial's processes, and imported by
`receiving.py`, into a server's; it imports Mercurial and nothing of Pacha. Only who has Pacha's own lock may
have it change a store.
"""

from __future__ import annotations

import os
import shutil

from mercurial import extensions, localrepo, lock, transaction, util

# Loaded by its path, too: Mercurial loads the extension so, and to it there is no package of Pacha's.
_beside = os.fsencode(os.path.dirname(__file__))
durable = util.load_path(os.path.join(_beside, b"durable.py"), "hgext.pacha_durable")


def prepare():
    """Once a process, before a store is opened: the way back from a transaction reaches the disk in order,
    and thousands of files share a compressor.
    """
    extensions.wrapfunction(transaction, "_playback", durable.playback)
    _share_compressors()


def create(ui, path, beside):
    """Make a repository at `path`, by way of `beside`: a process killed meanwhile leaves no half of one."""
    shutil.rmtree(beside, ignore_errors=True)
    os.mkdir(beside, 0o700)
    localrepo.instance(ui, beside, create=True)
    durable.syncfs(beside)
    os.rename(beside, path)
    durable.fsync(os.path.dirname(path))


def is_line(repo, first=0):
    """Whether each revision from `first` on follows the one before it, on the branch that Pacha writes."""
    return all(
        [parent.rev() for parent in each.parents()] == [each.rev() - 1] and each.branch() == b"default"
        for each in map(repo.__getitem__, range(first, len(repo)))
    )


def recover(repo):
    """Break locks whose owners are gone, roll an abandoned transaction back; whether there was one."""
    _break_stale_locks(repo)
    if not (repo.svfs.exists(b"journal") and repo.recover()):
        return False
    durable.syncfs(repo.svfs.base)
    repo.invalidateall()
    return True


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
