"""The state folder: made private, and kept so.

Called when a command is set up (`cli/session`). What lies in the folder is other adapters' business.
"""

from __future__ import annotations

import os

from pacha.core.errors import ReadOnly


def make(path: str) -> None:
    """Make the folder with mode 0700, and take other people's rights away where it has some.

    Raise ReadOnly where that cannot be done.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            os.chmod(path, 0o700)
    except OSError as problem:
        hint = "name another with --state or PACHA_STATE"
        raise ReadOnly(f"cannot make the state folder {path}: {problem.strerror}", hint=hint) from problem
