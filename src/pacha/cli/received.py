"""What making a deployment live has done, or would do, as the fields of the contract.

Called by `cli/receive` and `cli/pulled`, whatever the end was; itself no verb. Nothing is imported that a
push which goes well does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pacha.ops.told import path_object, step_objects

if TYPE_CHECKING:
    from pacha.ops.apply import Done
    from pacha.ops.host import Host
    from pacha.ops.receive import Receiving
    from pacha.ops.receive_plan import Others


def received(host: Host, work: Receiving) -> dict[str, Any]:
    """`{revision, steps, hooks, packages …}`; the revision is not known yet."""
    return {
        "revision": None,
        "steps": [
            {**told, "kind": _kind(done)}
            for told, done in zip(step_objects(work.results), work.results, strict=True)
        ],
        "hooks": [{"name": ran.name, "exit": ran.exit, "output": ran.output} for ran in work.hooks],
        "packages": work.packages,
        "services": [service._asdict() for service in work.services],
        "preflight": work.preflight,
        "edited": [_edited(host, one) for one in work.planned.others],
        "diffs": work.diffs,
        "reverted": work.is_reverted,
        "confirm": work.confirm or None,
        "signed_by": work.signer or None,
        "would_run": work.would_run,
        "seconds": round(work.seconds, 3),
    }


def _kind(done: Done) -> str:
    """What an entry will be, or was."""
    entry = done.step.after or done.step.before
    return entry.kind.decode() if entry is not None else ""


def _edited(host: Host, one: Others) -> dict[str, Any]:
    """What only force overwrites, and who changed it, where the history knows."""
    from pacha.ops.drift import by_object, changed_by

    return {
        **path_object(one.step.path),
        "action": one.step.action,
        "reason": one.step.reason,
        "deployment": one.deployment or None,
        "lost": one.lost or None,
        **by_object(changed_by(host, one.step.path, one.step.before)),
    }
