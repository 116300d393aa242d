"""`pacha rebuild HOST --rehearse`: the host is built in a throwaway root, compared, and forgotten.

Called by `cli/rebuild`, which has found the history. Beside `cli/session` it knows an adapter: the root.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pacha.adapters.throwaway import throwaway
from pacha.cli.session import Session
from pacha.core import config
from pacha.core.config_values import is_host_name
from pacha.core.errors import UsageError
from pacha.ops.facts import facts_at
from pacha.ops.rebuild import Manner, rebuild
from pacha.ops.rehearse import Score, has_something, score
from pacha.ui.result import print_object
from pacha.ui.text import printable

if TYPE_CHECKING:
    from pacha.ops.host import Kept
    from pacha.ops.rebuild import Rebuilt
    from pacha.ops.rebuild_plan import Request

_DEBOOTSTRAP = ("debian", "ubuntu")
_TOLD_AT_MOST = 20
_THRESHOLD = 95.0  # per cent


def rehearse(session: Session, options: Namespace, source: Kept, request: Request, position: int) -> int:
    """Build it, tell the score, and 4 where that is below the threshold."""
    from pacha.adapters import state

    started = time.monotonic()
    base = os.path.abspath(options.base) if options.base else None
    threshold = _THRESHOLD if options.threshold is None else options.threshold
    told_then = facts_at(source, source.store.at(position))
    if not has_something(request, told_then):
        raise UsageError("nothing is left to score", hint="rehearse its files, or packages that it has")
    system = told_then.os
    suite = system.get("codename", "") if system.get("id") in _DEBOOTSTRAP else ""
    if not is_host_name(suite):  # debootstrap would run the script of such a path
        suite = ""
    state.make(session.state_path)
    session.report.phase("fresh system")
    with (
        throwaway(session.state_path, base, suite) as (root, folder),
        closing(_below(session, options, root, folder)) as inner,
    ):
        done = rebuild(
            inner.host, source, request, dry_run=False, show=lambda _draft: None, ask=None,
            manner=Manner(rehearsal=True),
        )  # fmt: skip
    assert done is not None  # nobody was asked
    session.report.finish()
    told, seconds = score(done, request), time.monotonic() - started
    code = 4 if told.percent < threshold else 0
    if session.as_json:
        print_object(_object(done, told, seconds, threshold), ok=code == 0)
    else:
        _print(done, told, seconds)
    return code


def _below(session: Session, options: Namespace, root: str, folder: str) -> Session:
    """A session of the system there: nothing of this machine's configuration or hooks."""
    inner = Session(Namespace(**{**vars(options), "state": folder, "config": None}), session.verb)
    inner.report = session.report
    inner.config_path = f"{root}/etc/pacha/pacha.toml"
    inner.config = config.defaults()
    inner.config.root = root.encode("utf-8", "surrogateescape")
    inner.config.hook_timeout_ns = session.config.hook_timeout_ns
    return inner


def _object(done: Rebuilt, told: Score, seconds: float, threshold: float) -> dict[str, Any]:
    return {
        "host": done.name,
        "target": done.draft.desired.target.id,
        "score": round(told.percent, 2),
        "threshold": threshold,
        "identical": told.identical,
        "total": told.total,
        "short": [{"what": what, "reason": reason} for what, reason in told.short],
        "hooks": [{"name": r.name, "exit": r.exit, "output": r.output} for r in done.hooks],
        "seconds": round(seconds, 3),
    }


def _print(done: Rebuilt, told: Score, seconds: float) -> None:
    target = done.draft.desired.target.id
    print(f"{done.name} at {target} would come back: {told.percent:.1f} %, in {seconds:.0f} s")
    print(f"  identical  {told.identical:,} of {told.total:,} packages and files")
    sys.stdout.flush()
    for what, reason in told.short[:_TOLD_AT_MOST]:
        sys.stderr.write(f"  not so     {printable(what)}  {printable(reason)}\n")
    if len(told.short) > _TOLD_AT_MOST:
        sys.stderr.write(f"  … and {len(told.short) - _TOLD_AT_MOST:,} more (--json has all)\n")
