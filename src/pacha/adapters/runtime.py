"""Where this user's sockets are, those of one state folder among them.

Called wherever something listens or calls, also before a command has begun: it imports nothing that the
interpreter has not in memory anyway.
"""

from __future__ import annotations

import os


def socket_path(state: str, purpose: str = "sock") -> str:
    """Where the socket of a state folder is: short whatever the folder is called, and no one else's. OSError
    where there is no such folder.
    """
    status = os.stat(state)
    return os.path.join(runtime_folder(state), f"{status.st_dev:x}-{status.st_ino:x}.{purpose}")


def runtime_folder(state: str) -> str:
    """The folder of this user's sockets; without one the state folder itself must do."""
    if os.geteuid() == 0:
        return "/run/pacha"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(runtime, "pacha") if runtime else state
