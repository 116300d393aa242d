"""Fetch: a history that a server keeps is copied here, or the copy brought up to date, before it is read.

Called by whatever looks at another host's history through ssh, and by rebuild. The copy is a cache, in a
place of its own: it is never this host's store, and nothing is ever sent from it. Where it is not a beginning
of the server's line, or contents were forgotten there since, it is made anew, so that it holds no more than
the server does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pacha.core.errors import DamagedStore, NotFound, PachaError, Refused, Unreachable
from pacha.core.line import Known, Listing
from pacha.core.names import is_legal
from pacha.core.protocol import PROTOCOL, check_protocols
from pacha.ops.host import Kept
from pacha.ops.ports import Copy, Server, Store


class Fetched:
    """Every history that the servers of this configuration let this key read."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        ask: Callable[[str], Sequence[Listing]],
        copy: Callable[[str, str], Copy],
        reach: Callable[[str, Copy, str, bool], Server],
        store: Store,
        now_ns: Callable[[], int],
    ) -> None:
        """`ask(address)` lists what a server has; `reach(address, copy, host, rebuild)` is a server, asked
        about one host; `store` turns to one copy after the other.
        """
        self._addresses = addresses
        self._ask = ask
        self._copy = copy
        self._reach = reach
        self._store = store
        self._now_ns = now_ns
        self._current: dict[str, Copy] = {}  # as of this process
        self._listed: dict[str, tuple[str, Listing]] = {}

    def names(self) -> list[str]:
        """Every host that a server has a history of, sorted; Refused where this key may not ask."""
        for address in self._addresses:
            for one in self._ask(address):
                self._listed.setdefault(one.host, (address, one))
        return sorted(self._listed)

    def past(self, name: str, *, rebuild: bool = False) -> Kept:
        """One host's history as a server has it now, until the next is asked for.

        With `rebuild` the servers are told that this is to become that host. NotFound, Refused or Unreachable
        where no server gives it.
        """
        if name not in self._current or rebuild:
            self._current[name] = self._bring(name, rebuild)
        self._store.turn_to(self._current[name].path)
        return Kept(name, self._store, self._now_ns)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _bring(self, name: str, rebuild: bool) -> Copy:
        """The copy from the first server that gives one."""
        if name in self._listed and not rebuild:
            address, told = self._listed[name]
            copy = self._copy(address, name)
            if told.tip and _is_as_forgetful(copy, told.forgotten) and self._tip(copy) == told.tip:
                return copy
        problem: PachaError = NotFound(f"there is no history of {name} here")
        for number, address in enumerate(self._addresses):
            copy = self._copy(address, name)
            try:
                with copy.locked():
                    self._bring_from(self._reach(address, copy, name, rebuild), copy, name)
                return copy
            except PachaError as found:
                problem = found if number == 0 else problem
        raise problem

    def _tip(self, copy: Copy) -> str:
        self._store.turn_to(copy.path)
        return self._store.tip()

    def _bring_from(self, server: Server, copy: Copy, name: str) -> None:
        try:
            known = server.connect()
            check_protocols(PROTOCOL, known.protocol)
            if known.host != name:
                raise Refused(f"{server.address} tells of {known.host!a} where {name} was asked for")
            if not self._bring_up(server, copy, name, known):
                if not server.is_connected:
                    known = server.connect()
                built = copy.begin()
                server.fetch(built, -1, known.tip)
                self._check(server, built, name, -1)
                copy.put(built, known.forgotten)
        finally:
            server.close()

    def _bring_up(self, server: Server, copy: Copy, name: str, known: Known) -> bool:
        """Add what is new; False where the copy must be made anew."""
        if not _is_as_forgetful(copy, known.forgotten):
            return False
        try:
            self._store.turn_to(copy.path)
            if self._store.is_abandoned:
                self._store.recover()
            newest, _ = server.newest()
            theirs = server.position(known.tip)
            if theirs == newest:
                return True
            if theirs >= -1 or server.common() != newest:
                return False
            server.pull(known.tip)
            self._check(server, copy.path, name, newest)
        except (DamagedStore, Refused, Unreachable):  # what is new may not fit to what was forgotten
            return False
        return True

    def _check(self, server: Server, path: bytes, name: str, common: int) -> None:
        self._store.turn_to(path)
        check_line(self._store, name, common, server.address)


def _is_as_forgetful(copy: Copy, forgotten: int) -> bool:
    """Whether the copy holds no content that its server has forgotten, or is forgetting at this moment."""
    return forgotten >= 0 and copy.mark() == forgotten


def check_line(store: Store, name: str, common: int, address: str) -> None:
    """What a server says is not believed: every revision after the position `common` must be of this host,
    and have paths that can be restored.
    """
    for revision in store.history():
        if revision.position <= common:
            return
        if revision.stamp.host != name or not all(map(is_legal, revision.files)):
            raise Refused(
                f"{address} has a revision of {name} that is none: {revision.id}",
                hint=f"pacha host reset {name} on the server keeps its history aside and begins anew",
            )
