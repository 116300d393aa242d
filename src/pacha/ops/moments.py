"""The moments at which hooks run, and what each is told.

Called by the operations. A hook gets the event's object on standard input and the same few variables
everywhere; what a failure means is the operation's own business, but for `on-failure`, which runs whenever
one fails for another reason than wrong usage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pacha.core.errors import Busy, ConfigError, HookFailed, PachaError, UsageError

if TYPE_CHECKING:
    from pacha.ops.host import Host
    from pacha.ops.ports import Hooks


class Ran(NamedTuple):
    """A hook that ran, named `moment/NN-name` as it lies in the hooks directory."""

    name: str
    exit: int
    output: str
    seconds: float


def run_hooks(
    host: Host,
    moment: str,
    payload: dict[str, Any],
    *,
    revision: str | None,
    stop: bool = False,
    more: Callable[[], Mapping[str, Any]] | None = None,
    hooks: Hooks | None = None,
) -> list[Ran]:
    """Run the hooks of a moment, their output streamed to whoever asked; `stop` at the first that fails.

    They are the host's own, unless `hooks` are others. `more` adds to the payload what is worth finding out
    only where there is a hook.
    """
    results = (hooks or host.hooks).run(
        moment,
        {"host": host.name, **payload},
        event=moment,
        host=host.name,
        revision=revision,
        root=host.tree.root.decode("utf-8", "surrogateescape"),
        dry_run=False,
        output=host.report.hook_output,
        stop=stop,
        more=more,
    )
    return [Ran(f"{moment}/{r.name}", r.exit, r.output, r.seconds) for r in results]


def must_succeed(results: list[Ran], outcome: str, hint: str) -> None:
    """Raise HookFailed where one of `results` failed; `outcome` says what that means: `nothing was
    changed`.
    """
    for result in results:
        if result.exit != 0:
            raise HookFailed(f"the hook {result.name} failed (exit {result.exit}); {outcome}", hint=hint)


@contextmanager
def on_failure(host: Host, verb: str) -> Iterator[None]:
    """Run the `on-failure` hooks where the operation inside fails, and let its error go on."""
    try:
        yield
    except (UsageError, ConfigError, Busy):
        raise
    except (PachaError, OSError) as problem:
        error = {"kind": getattr(problem, "kind", "failed"), "message": str(problem)}
        run_hooks(host, "on-failure", {"operation": verb, "error": error}, revision=None)
        raise
