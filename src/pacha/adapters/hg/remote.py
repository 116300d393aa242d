"""A server, as a client reaches it: one Mercurial process of its own that keeps one ssh connection open.

Called by `ops/send`, which gets a `Remote` handed in. What went wrong becomes one sentence that names the
server: NotFound where it has no such history; Refused where it, or ssh, said no, and trying again would not
help; Unreachable where it may be there in a moment. Whether anything is to be sent is not its business.
"""

from __future__ import annotations

import json
from typing import Any

from pacha.adapters.hg.child import Child
from pacha.core.errors import NotFound, PachaError, Refused, Unreachable
from pacha.core.line import Known
from pacha.core.protocol import NO_HISTORY, REFUSED

# A server that moves no byte for so many seconds is given up.
PATIENCE = 60
_FOR_SSH = ("SSH_AUTH_SOCK", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "KRB5CCNAME")
_MOST_WORDS = 500


class Remote:
    """One server of this host's. `words` is the whole command line that starts `pacha serve` there."""

    def __init__(self, address: str, store: bytes, words: list[str], patience: int = PATIENCE) -> None:
        self.address = address
        self._store = store
        self._words = words
        self._patience = patience
        self._child: Child | None = None
        self.is_connected = False

    def prepare(self) -> None:
        """Start the process without waiting for it."""
        if self._child is None:
            self._child = Child(extension="sending.py", kept=_FOR_SSH, explain=self._explain)
            self._is_open = False

    def newest(self) -> tuple[int, str]:
        """`(position, full hash)` of the newest revision here; -1 and nothing where there is none."""
        position, node = self._call("newest")
        return int(position), str(node.decode())

    def position(self, node: str) -> int:
        """Where a revision is in the line here: -1 for no revision at all, -2 where it is not."""
        return int(self._call("position", node.encode())) if node else -1

    def connect(self) -> Known:
        """Make the connection, a new one where there is one already; what the server tells."""
        self.is_connected = False
        known = _known(self._call("connect", self._words))
        self.is_connected = True
        return known

    def ask(self) -> Known:
        """What the server tells now, over the connection that is there."""
        return _known(self._talk("known"))

    def tell(self, health: bytes) -> Known:
        """Tell how this host is; what the server tells then."""
        return _known(self._talk("alive", health))

    def forget(self, path: bytes, keep: bytes) -> str:
        """Have the contents of a store path but that with the file hash `keep` forgotten there; the server's
        refusal in words, empty where it has done it.
        """
        try:
            told = json.loads(self._talk("forget", path, keep))
            words = "" if type(told.get("forgotten")) is int else str(told["refused"])[:_MOST_WORDS]
        except (ValueError, KeyError, AttributeError):
            words = "its answer makes no sense"
        return words

    def common(self) -> int:
        """The last position here that the server has too, -1 where there is none."""
        return int(self._talk("common"))

    def push(self, base: int, node: str) -> Known:
        """Hand over what comes after the position `base` up to `node`; what the server tells afterwards."""
        return _known(self._talk("push", base, node.encode()))

    def fetch(self, path: bytes, common: int, tip: str) -> None:
        """A repository at `path`: the line here up to the position `common`, and the server's to `tip`."""
        self._talk("fetch", path, common, tip.encode())

    def pull(self, tip: str) -> None:
        """Add the server's line up to `tip` to the line here, which is a beginning of it."""
        self._talk("pull", tip.encode())

    def close(self) -> None:
        """End the connection and the process, at once."""
        if self._child is not None:
            self._child.kill()
        self._child = None
        self.is_connected = False

    def _talk(self, operation: str, *arguments: Any) -> Any:
        try:
            return self._call(operation, *arguments)
        except PachaError:
            self.is_connected = False
            raise

    def _call(self, operation: str, *arguments: Any) -> Any:
        self.prepare()
        assert self._child is not None
        try:
            if not self._is_open:
                self._child.call("open", self._store, self._patience)
                self._is_open = True
            return self._child.call(operation, *arguments)
        except PachaError as problem:
            if not isinstance(problem, Refused | Unreachable):
                self.close()  # whatever is wrong with it, the next attempt gets a new one
            raise

    def _explain(self, kind: str, detail: Any) -> PachaError | None:
        """The sentence for an error of `sending.py`'s own kinds."""
        if kind not in ("refused", "silent", "link"):
            return None
        address, words = self.address, detail.decode("utf-8", "replace").strip()[:_MOST_WORDS]
        if words.startswith(REFUSED + NO_HISTORY):
            return NotFound(
                f"{address}: {words.removeprefix(REFUSED)}", hint="pacha host list, on the server"
            )
        if words.startswith(REFUSED):
            told = f"{address} refuses: {words.removeprefix(REFUSED)}"
            return Refused(told, hint="the server's log has it too")
        if kind == "refused":
            return Refused(f"{address}: {words}", hint="is it the right address?")
        if kind == "silent":
            return Unreachable(f"{address}: {words}", hint=f"is it up? ssh {address}")
        if "Host key verification failed" in words:
            told = f"{address} shows a host key that is not the known one, or none is known"
            return Refused(told, hint=f"if that is right: pacha join {address}")
        if "Permission denied" in words:
            hint = f"pacha join {address} says what to run on the server"
            return Refused(f"{address} does not let this host in: {words}", hint=hint)
        return Unreachable(f"{address} cannot be reached: {words}", hint=f"try: ssh {address}")


def _known(text: bytes) -> Known:
    """Raise Refused where it is no such object."""
    kinds = {"protocol": int, "host": str, "tip": str, "seq": int, "machine": str, "used": int, "quota": int}
    try:
        values = json.loads(text)
        found = {**{key: values[key] for key in kinds}, "forgotten": values.get("forgotten", 0)}
    except (ValueError, KeyError, TypeError, AttributeError):
        found = {}
    if not found or any(type(found[key]) is not kind for key, kind in (*kinds.items(), ("forgotten", int))):
        raise Refused("the server's answer makes no sense", hint="is it the same version of Pacha?")
    return Known(**found)
