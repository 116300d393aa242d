"""How a Mercurial process of Pacha's answers requests: the frames on the pipe, and errors as values.

Loaded by `extension.py` (the store) and `sending.py` (a server), which add the requests;
`adapters/hg/child.py` is the pipe's other end. It must not import Pacha or know what the requests mean.

The protocol is one command, `pacha`, added to Mercurial's command server. A request is a 32-bit big-endian
length and a marshalled tuple `(operation, arguments)`; the answer is any number of `("items", values)`
frames on the result channel and one last `("done", value)` or `("error", kind, text)`. Marshal, because both
ends are the same interpreter and paths are bytes. A second command, `pacha-end`, ends the process at once.
"""

from __future__ import annotations

import gc
import marshal
import os
import struct

from mercurial import commandserver, error
from mercurial.utils import stringutil

# Items go in frames of about this many bytes or items.
_FRAME_BYTES, _FRAME_ITEMS = 64_000, 256

# A flipped bit may send Mercurial anywhere.
_WHAT_DAMAGE_RAISES = (
    error.Error, error.RepoError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, struct.error,
)  # fmt: skip


class Told(Exception):
    """An error of a kind of its own: `Told(kind, detail)`."""


class Answering:
    """The requests, each a method `do_NAME`."""

    def __init__(self, server):
        self._server = server
        self._items = []
        self._size = 0

    def read(self, size):
        """So many bytes of what follows a request."""
        data = self._server.client.read(size) if size else b""
        if len(data) != size:
            raise EOFError
        return data

    def _frame(self, *value):
        self._server.cresult.write(marshal.dumps(value))

    def item(self, value, size=0):
        """Give one item; a full frame goes out."""
        self._items.append(value)
        self._size += size
        if self._size > _FRAME_BYTES or len(self._items) >= _FRAME_ITEMS:
            self._flush()

    def _flush(self):
        if self._items:
            self._frame("items", self._items)
        self._items, self._size = [], 0

    def begin(self):
        """Called before each request."""

    def serve(self):
        """Answer one request."""
        operation, arguments = marshal.loads(self.read(struct.unpack(">I", self.read(4))[0]))
        self._items, self._size = [], 0
        try:
            self.begin()
            value = getattr(self, "do_" + operation)(*arguments)
            self._flush()
            self._frame("done", value)
        except Told as told:
            self._frame("error", *told.args)
        except error.LockHeld as problem:
            self._frame("error", "busy", stringutil.forcebytestr(problem))
        except OSError as problem:
            self._frame("error", "os", (problem.errno or 0, stringutil.forcebytestr(problem)))
        except _WHAT_DAMAGE_RAISES as problem:
            self._frame("error", "store", stringutil.forcebytestr(problem))


def add_command(kind):
    """Add `pacha` to Mercurial's command server, answered by one `kind` of Answering for each server."""
    sessions = {}

    def handle(server):
        if server not in sessions:
            sessions[server] = kind(server)
        sessions[server].serve()

    commandserver.server.capabilities[b"pacha"] = handle
    commandserver.server.capabilities[b"pacha-end"] = lambda _: os._exit(0)
    gc.enable()  # `child.py` has it off while modules are imported
