"""The Mercurial side of sending: bundles what a server lacks, hands it over, and fetches what only the server
has.

Loaded by Mercurial alone, in a command server of its own for each server; `adapters/hg/remote.py` is the
pipe's other end, `answering.py` has the protocol. The local store is read without any lock, so a slow server
never delays a commit. Of what a server says only changegroups, refusals and one JSON object are taken:
Mercurial's own handling of bundles would fetch any URL that a server names. It must not import Pacha or write
to the store.

Mercurial waits for ever on a server that has stopped: here a server that moves no byte for `patience`
seconds, and one more for each megabyte that it was sent and may be at work on, is given up.
"""

from __future__ import annotations

import os
import signal
import subprocess

from mercurial import (
    bundle2,
    changegroup,
    discovery,
    error,
    hg,
    phases,
    sshpeer,
    util,
    wireprotov1server,
)  # fmt: skip
from mercurial.node import bin as unhex
from mercurial.node import hex as tohex
from mercurial.util import urlreq
from mercurial.utils import stringutil, urlutil

testedwith = b"7.2"

_beside = os.fsencode(os.path.dirname(__file__))
answering = util.load_path(os.path.join(_beside, b"answering.py"), "hgext.pacha_answering")
censoring = util.load_path(os.path.join(_beside, b"censoring.py"), "hgext.pacha_censoring")
healing = util.load_path(os.path.join(_beside, b"healing.py"), "hgext.pacha_healing")
durable = healing.durable

_BYTES_A_SECOND = 1_000_000
_DAMAGED = b"it is damaged"  # how a server calls what does not fit to what it has
_CAPABILITIES = {b"HG20": (), b"changegroup": (b"02", b"03")}


class _Silent(Exception):
    """Nothing came, and nothing could be sent, for too long."""


class _Pipes(sshpeer.doublepipe):
    """Mercurial's own pair of pipes; each call that waits has the patience of the moment."""

    patience = 60

    def _call(self, methname, data=None):
        signal.alarm(_Pipes.patience)
        try:
            return super()._call(methname, data)
        finally:
            signal.alarm(0)


def _give_up(_number, _frame):
    raise _Silent


class _Server(answering.Answering):  # type: ignore[name-defined]
    """The requests that concern one server."""

    def __init__(self, server):
        super().__init__(server)
        self._path = None
        self._repo = self._identity = None
        self._peer = None
        self._process = None
        self._ui = None
        self._patience = _Pipes.patience

    def begin(self):
        """Another process may have written to the store, or put another in its place."""
        if self._repo is not None:
            self._repo.invalidateall()

    # -- the local line ----------------------------------------------------------------------------

    def do_open(self, path, patience):
        """Name the store, which need not exist yet, and how long to wait."""
        self._path, self._patience = path, patience

    def do_newest(self):
        """`(position, hash)` of the newest revision, -1 and nothing where there is none."""
        if not os.path.exists(os.path.join(self._path, b".hg")):
            self._repo = self._identity = None
            return -1, b""
        status = os.stat(os.path.join(self._path, b".hg"))
        if self._identity != (status.st_dev, status.st_ino):
            self._identity = status.st_dev, status.st_ino
            self._repo = hg.repository(self._server.ui.copy(), self._path).unfiltered()
        changelog = self._repo.changelog
        return len(changelog) - 1, tohex(changelog.tip()) if len(changelog) else b""

    def do_position(self, node):
        """Where a revision is in the local line; -2 where it is not."""
        found = self._repo is not None and self._repo.changelog.hasnode(unhex(node))
        return self._repo.changelog.rev(unhex(node)) if found else -2

    # -- the server --------------------------------------------------------------------------------

    def do_connect(self, words):
        """Start ssh, and say hello; what the server tells of itself, as JSON."""
        self.do_disconnect()
        self._ui = self._server.ui.copy()
        self._ui.pushbuffer(error=True)
        return self._with_server(lambda: self._connect(words))

    def _connect(self, words):
        self._process = subprocess.Popen(
            words,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: _die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - there are no threads
        )
        _Pipes.patience = self._patience
        signal.alarm(self._patience)
        try:
            self._peer = sshpeer._make_peer(
                self._ui,
                urlutil.path(self._ui, rawloc=b"ssh://pacha"),
                self._process,
                self._process.stdin,
                self._process.stdout,
                self._process.stderr,
            )
        finally:
            signal.alarm(0)
        if not self._peer.capable(b"pacha"):
            raise answering.Told("refused", b"it is no server of Pacha's: its ssh runs a plain Mercurial")
        return self._peer._call(b"pacha")

    def do_known(self):
        """What the server tells of itself now, as JSON."""
        return self._with_server(lambda: self._peer._call(b"pacha"))

    def do_alive(self, health):
        """Tell how this host is, to a server that knows of it; what the server tells then."""
        return self._with_server(lambda: self._alive(health))

    def _alive(self, health):
        if self._peer.capable(b"pacha-alive"):
            return self._peer._call(b"alive", health=health)
        return self._peer._call(b"pacha")

    def do_forget(self, path, keep):
        """Ask the server to forget the contents of a store path; its answer, as JSON."""
        return self._with_server(lambda: self._forget(path, keep))

    def _forget(self, path, keep):
        if not self._peer.capable(b"pacha-forget"):
            return b'{"refused": "its Pacha is too old to forget"}'
        return self._peer._call(b"forget", path=path, keep=tohex(keep) if keep else b"")

    def do_common(self):
        """The last position of the local line that the server has too, -1 where there is none.

        Both are lines: what it has of this one is a beginning of it.
        """
        return self._with_server(self._common)

    def _common(self):
        changelog = self._repo.changelog
        low, high = -1, len(changelog) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._peer.known([changelog.node(middle)])[0]:
                low = middle
            else:
                high = middle - 1
        return low

    def do_push(self, base, node):
        """Hand over what comes after the position `base` up to a revision; what the server tells then."""
        return self._with_server(lambda: self._push(base, unhex(node)))

    def _push(self, base, node):
        try:
            return self._push_bundle(base, node)
        except answering.Told as told:
            if _DAMAGED not in told.args[1]:
                raise
        # The server may have forgotten a content that this end sent a difference from: whole texts, then.
        self._repo.ui.setconfig(b"devel", b"bundle.delta", b"full", b"pacha")
        try:
            return self._push_bundle(base, node)
        finally:
            self._repo.ui.setconfig(b"devel", b"bundle.delta", b"", b"pacha")

    def _push_bundle(self, base, node):
        changelog = self._repo.changelog
        before = changelog.node(base) if base >= 0 else self._repo.nullid
        outgoing = discovery.outgoing(self._repo, [before], [node])
        capabilities = bundle2.bundle2caps(self._peer)
        version = max({*capabilities.get(b"changegroup", ())} & {b"02", b"03"}, default=b"02")
        bundle = bundle2.bundle20(self._ui, capabilities)
        bundle.newpart(b"replycaps", data=bundle2.encodecaps(_CAPABILITIES))
        part = bundle.newpart(
            b"changegroup", data=changegroup.makestream(self._repo, outgoing, version, b"push")
        )
        part.addparam(b"version", version)
        part.addparam(b"nbchanges", b"%d" % len(outgoing.missing), mandatory=False)
        reply = self._peer.unbundle(util.chunkbuffer(self._counted(bundle.getchunks())), [b"force"], b"")
        refusal = None
        for part in reply.iterparts():  # to its end: the connection is used again
            if part.type in (b"error:abort", b"error:unsupportedcontent", b"error:pushraced"):
                refusal = part.params.get(b"message", b"it says no, and not why")
            elif part.type == b"output":
                self._ui.status(part.read())
        if refusal is not None:
            raise answering.Told("refused", refusal)
        _Pipes.patience = self._patience
        return self._peer._call(b"pacha")

    def _counted(self, chunks):
        """The same chunks: the more there are, the longer the server may be at work."""
        size = 0
        for chunk in chunks:
            size += len(chunk)
            _Pipes.patience = self._patience + size // _BYTES_A_SECOND
            yield chunk

    def do_fetch(self, path, common, tip):
        """Make a repository at `path`: the local line up to the position `common`, and the server's up to
        `tip`.
        """
        made = hg.repository(self._server.ui.copy(), path, create=True).unfiltered()
        before = made.nullid
        if common >= 0:
            before = self._repo.changelog.node(common)
            outgoing = discovery.outgoing(self._repo, [self._repo.nullid], [before])
            chunks = util.chunkbuffer(changegroup.makestream(self._repo, outgoing, b"03", b"bundle"))
            _add(made, changegroup.getunbundler(b"03", chunks, None))
        self._with_server(lambda: self._fetch(made, before, unhex(tip)))
        _must_be_a_line(made, 0)
        durable.syncfs(path)

    def do_pull(self, tip):
        """Add the server's line up to `tip` to the local line, which must be a beginning of it."""
        before = len(self._repo)
        self._with_server(lambda: self._fetch(self._repo, self._repo.changelog.tip(), unhex(tip)))
        _must_be_a_line(self._repo, before)
        durable.syncfs(self._path)

    def _fetch(self, made, common, tip):
        capabilities = {b"HG20", b"bundle2=" + urlreq.quote(bundle2.encodecaps(_CAPABILITIES))}
        reply = self._peer.getbundle(
            b"pull", heads=[tip], common=[common], bundlecaps=capabilities, cg=True
        )  # fmt: skip
        for part in reply.iterparts():
            if part.type == b"changegroup":
                _add(made, changegroup.getunbundler(part.params.get(b"version", b"01"), part, None))
            elif part.type.startswith(b"error:"):
                raise answering.Told("refused", part.params.get(b"message", b"it says no, and not why"))

    def do_disconnect(self):
        """End the connection, if there is one."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                pipe.close()
            self._process.wait()
        self._peer = self._process = None

    def _with_server(self, work):
        """Run `work`; a failure ends the connection, and becomes the server's own words or ssh's."""
        try:
            value = work()
        except _Silent:
            words = b"it does not answer: not a byte for %d s" % _Pipes.patience
            problem = answering.Told("silent", words)
        except answering.Told as told:
            problem = answering.Told(told.args[0], self._said() or told.args[1])
        except (error.Error, error.RepoError, OSError, ValueError, AttributeError) as found:
            problem = answering.Told("link", self._said() or stringutil.forcebytestr(found))
        else:
            self._ui.popbuffer()
            self._ui.pushbuffer(error=True)
            return value
        self.do_disconnect()
        raise problem

    def _said(self):
        """What came by the side of the protocol: of a server's refusal that line, else the last one."""
        if self._process is not None:
            # It has ended, or is no use any more: what it still had to say is in the pipe.
            for pipe in (self._process.stdin, self._process.stdout):
                pipe.close()
            signal.alarm(5)
            try:
                sshpeer._forwardoutput(self._ui, self._process.stderr)
                if not self._process.stderr.closed:
                    self._ui.status(self._process.stderr.read())
            except (_Silent, OSError, ValueError):
                pass
            finally:
                signal.alarm(0)
        lines = [line.removeprefix(b"remote: ").strip() for line in self._ui.popbuffer().splitlines()]
        self._ui.pushbuffer(error=True)
        lines = [line for line in lines if line]
        refused = [line for line in lines if line.startswith(b"pacha: refused: ")]
        return b"\n".join(refused[:1] or lines[-1:])


def _add(repo, unpacked):
    with repo.lock(), repo.transaction(b"pacha-fetch") as transaction:
        unpacked.apply(repo, transaction, b"pull", b"pacha", targetphase=phases.public)


def _must_be_a_line(repo, first):
    if not healing.is_line(repo, first):
        raise answering.Told("refused", b"what it has of this host is not one line of revisions")


def _die_with_parent(number=signal.SIGKILL):
    """Not outlive who waits for it, however that ends: nobody else would ever end it."""
    durable._libc.prctl(1, number)  # PR_SET_PDEATHSIG


def uisetup(ui):
    """Add the `pacha` command to Mercurial's command server, and the wire commands of a server of Pacha's."""
    _die_with_parent()
    censoring.prepare()
    sshpeer.doublepipe = _Pipes
    for name, arguments in ((b"pacha", b""), (b"alive", b"health"), (b"forget", b"path keep")):
        wireprotov1server.wireprotocommand(name, arguments)(lambda *_: None)
    signal.signal(signal.SIGALRM, _give_up)
    answering.add_command(_Server)
