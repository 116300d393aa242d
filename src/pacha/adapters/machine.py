"""What this machine and the person at it are called, and what time it is.

Called when an operation is set up (`cli/session`). It only asks; it changes nothing.
"""

from __future__ import annotations

import os
import time


def now_ns() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def host_name() -> str:
    """The machine's name without its domain, cleaned to what a host may be called."""
    name = os.uname().nodename.partition(".")[0]
    return (
        "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-_")).strip("-_")[:64] or "localhost"
    )


def machine_id() -> str:
    """The id of this machine (machine-id(5)); empty where it has none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        text = _first_line(path)
        if text:
            return text[:64]
    return ""


def person() -> str:
    """The human behind this process: who called sudo, else who logged in, else the account it runs as."""
    if os.environ.get("SUDO_USER", "root") != "root" and os.geteuid() == 0:
        return os.environ["SUDO_USER"]
    text = _first_line("/proc/self/loginuid")
    login = int(text) if text.isdigit() else 0xFFFFFFFF
    number = os.getuid() if login == 0xFFFFFFFF else login
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as handle:
            return handle.readline().strip()
    except (OSError, ValueError):
        return ""
