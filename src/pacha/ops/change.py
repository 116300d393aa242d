"""Change: a person's maintenance, from `pacha change begin` to `pacha change end`, as one revision.

Called by the verb; the agent looks whether a change is open and captures nothing meanwhile. What was changed
before the beginning is captured first, so that it is not mixed in. One that nobody ends holds nothing back
for longer than `core/maintenance` says.
"""

from __future__ import annotations

from typing import Any

from pacha.core.errors import Refused, UsageError
from pacha.core.maintenance import holds
from pacha.core.quantities import format_when
from pacha.core.who import Origin
from pacha.ops.capture import Captured, capture
from pacha.ops.host import Host


def open_change(host: Host) -> dict[str, Any] | None:
    """`{message, author, begun_ns, holds}` of the open change, None where there is none; `holds`: captures
    wait for its end.
    """
    found = host.change_file.read()
    if found is None:
        return None
    words, begun_ns = found
    return {
        "message": str(words.get("message", "")),
        "author": str(words.get("author", "")),
        "begun_ns": begun_ns,
        "holds": holds(begun_ns, host.now_ns()),
    }


def begin(host: Host, message: str) -> Captured:
    """Open a change under `message`; what was changed before is captured now. Raise Refused where one is
    open.
    """
    if not message.strip():
        raise UsageError("a change needs a message", hint='pacha change begin -m "TICKET: what for"')
    with host.lock:
        already = open_change(host)
        if already is not None:
            since = format_when(already["begun_ns"])
            raise Refused(
                f"a change is open since {since}: {already['message']}", hint="pacha change end captures it"
            )
        before = capture(host, None, cause="capture", message=f"before: {message}")
        host.change_file.write({"message": message, "author": host.author})
    return before


def end(host: Host, message: str = "") -> Captured:
    """Capture everything since the beginning as one revision. Raise Refused where no change is open."""
    with host.lock:
        opened = open_change(host)
        if opened is None:
            raise Refused("no change is open", hint="pacha change begin -m TICKET opens one")
        origin = Origin(opened["author"] or host.author, ())
        done = capture(
            host, None, cause="change", message=message or opened["message"], unpaced=None, origin=origin
        )
        host.change_file.remove()
    return done
