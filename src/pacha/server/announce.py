"""Start what is to happen after a revision was received and acknowledged: the `post-receive` hooks.

Called by the session that received, which does not wait: without hooks it costs one look at a folder, with
hooks a process that goes on when the session has ended.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Sequence

from pacha.adapters.hooks import Hooks
from pacha.core.revision import Revision
from pacha.ops.after_receive import MOMENT, after_receive
from pacha.server.kept import KeptHistories
from pacha.server.limits import lift
from pacha.server.registry import Registry


class Announcer:
    """`program` is the command line of this Pacha up to the verb."""

    def __init__(self, program: Sequence[str], hooks: Hooks, registry: Registry) -> None:
        self._program = list(program)
        self._hooks = hooks
        self._registry = registry

    def received(self, name: str, old: str) -> None:
        """A host's line, whose tip was `old` (empty: none), has grown."""
        try:
            if not self._hooks.names(MOMENT):
                self._registry.set_hooked(name, None)  # hooks made later are told of what comes then
                return
            if self._registry.hooked(name) is None:
                self._registry.set_hooked(name, old)
            subprocess.Popen(
                [*self._program, "host", MOMENT, name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "HOME": pwd.getpwuid(os.geteuid()).pw_dir},
                start_new_session=True,
            )
        except OSError as problem:
            self._registry.log("hook", name, words=f"post-receive could not be run: {problem}")


def run_hooks(
    kept: KeptHistories, name: str, hooks: Hooks, secrets: Sequence[str], note: Callable[[str], None]
) -> int:
    """Run a host's hooks for what they were not told of yet; how many revisions that were."""
    registry = kept.registry

    def told(revision: Revision, hook: str, code: int, output: str) -> None:
        if code != 0:
            registry.log("hook", name, new=revision.node, words=f"{MOMENT}/{hook} exit {code}: {output}")

    lift()  # a session's limits are for what a client sends
    return after_receive(lambda: kept.past(name), hooks, registry, told, secrets, note)
