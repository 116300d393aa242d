"""The hooks of a rebuild: those that the history holds, else this machine's own.

Called by `ops/rebuild` at its moments. It decides nothing about when.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pacha.ops.host import Host, Kept
from pacha.ops.moments import Ran, must_succeed, run_hooks
from pacha.ops.rebuild_plan import Desired, Request, texts_of

AT_FIRST, AT_LAST = "hooks before", "hooks after"  # the phases that run them


class RebuildHooks:
    """Of one rebuild; in `ran` are those that have run."""

    def __init__(
        self, host: Host, source: Kept, request: Request, desired: Desired, *, rehearsal: bool
    ) -> None:
        self._host = host
        self._source = source
        self._request = request
        self._desired = desired
        self._rehearsal = rehearsal
        self.ran: list[Ran] = []

    def to_run(self, done: Collection[str]) -> tuple[bytes, ...]:
        """Those of the history whose phase is not done, at moments that come."""
        moments = [] if AT_FIRST in done else [b"pre-rebuild"]
        moments += [] if AT_LAST in done else [b"post-rebuild", *([b"check"] * self._rehearsal)]
        return tuple(path for path in self._desired.hooks if path.split(b"/")[-2] in moments)

    @contextmanager
    def laid_out(self) -> Iterator[None]:
        """While they are below the root, and in force there; where the history holds none, the host's are."""
        texts = texts_of(self._source, self._desired, self._desired.hooks)
        if not texts:
            yield
            return
        host = self._host
        files = {b"/".join(path.split(b"/")[-2:]): data for path, data in texts.items()}
        environment = {"PACHA_REHEARSAL": "1"} if self._rehearsal else {}
        with host.system.staged(files, host.config.hook_timeout_ns, environment) as hooks:
            host.hooks, kept = hooks, host.hooks
            try:
                yield
            finally:
                host.hooks = kept

    def run_first(self, payload: dict[str, Any]) -> None:
        """Before anything is written; raise HookFailed where one says no."""
        self._run(("pre-rebuild",), payload, "nothing was written")

    def run_last(self, payload: dict[str, Any]) -> None:
        """When all is there; in a rehearsal also those that judge whether it works."""
        checks = ["check"] if self._rehearsal else []
        self._run(("post-rebuild", *checks), payload, "the files are there")

    def _run(self, moments: Sequence[str], payload: dict[str, Any], what: str) -> None:
        if not self._request.wants("hooks"):
            return
        for moment in moments:
            results = run_hooks(self._host, moment, payload, revision=self._desired.target.id, stop=True)
            self.ran += results
            if not self._rehearsal:  # there it is in the score
                must_succeed(
                    results, what, "mend what it complains about, then run the same again: it goes on"
                )
