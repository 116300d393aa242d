"""A process that systemd starts and keeps, in a unit of its own.

Called through the host for what must go on whatever becomes of who has started it: where a session ends, or
the service that it came by is restarted, systemd may kill everything that they have started, detached or not.
It must not be asked for what belongs to another root.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pacha.adapters.units import has_systemd, path_of

_PATIENCE_NS = 5_000_000_000
# It starts while the machine still does. It keeps it from stopping for no long: the wait goes on afterwards.
# Killed for want of memory it is started again.
_PROPERTIES = (
    "Type=exec",
    "DefaultDependencies=no",
    "Conflicts=shutdown.target",
    "Before=shutdown.target",
    "IgnoreOnIsolate=yes",
    "Restart=on-failure",
    "RestartSec=1",
    "TimeoutStopSec=10",
    "UMask=0077",
)
_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL")


def start(name: str, words: Sequence[str]) -> bool:
    """Whether a unit of that name runs the command by now. False, too, where there is no systemd that this
    process may ask, or none that answers in time.
    """
    program = path_of("systemd-run") if os.geteuid() == 0 and has_systemd() else ""
    if not program:
        return False
    from pacha.adapters.hooks import run_command

    properties = [f"--property={each}" for each in _PROPERTIES]
    settings = [
        f"--setenv={key}={value}"
        for key, value in os.environ.items()
        if key in _HANDED_ON or key.startswith("PACHA_")
    ]
    options = ["--quiet", "--collect", f"--unit={name}", f"--description=Pacha: {name}", "--no-ask-password"]
    command = [program, *options, *properties, *settings, "--", *words]
    return run_command(command, _PATIENCE_NS, lambda _line: None) == 0
