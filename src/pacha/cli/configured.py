"""The configuration that a command goes by, and what is still seen to where it cannot be had.

Called by `cli/session` alone; a part of it, and no verb. It writes nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pacha.adapters.config_file import load
from pacha.core.errors import ConfigError

if TYPE_CHECKING:
    from pacha.adapters.journal import Journals
    from pacha.cli.session import Session
    from pacha.core.config import Config


def config_of(session: Session) -> Config:
    """What is in force, or what was when that began which is to be undone; ConfigError where that cannot
    be.
    """
    if session.undoes:
        from pacha.ops.undo_config import config_to_undo_by

        return config_to_undo_by(_journals(session), lambda: load(session.config_path))
    try:
        _refuse_if_missing(session)
        return load(session.config_path)
    except ConfigError:
        _see_to_what_waits(session)
        raise


def _refuse_if_missing(session: Session) -> None:
    is_there = not session.options.config or os.path.exists(session.config_path)
    if not is_there and session.verb not in ("watch", "config"):
        raise ConfigError(f"there is no configuration {session.config_path}", hint="check --config")


def _see_to_what_waits(session: Session) -> None:
    """What this command cannot heal may be what has made the configuration wrong."""
    with suppress(OSError):
        if _journals(session).any():
            session.detach(["confirm", "--expire", "all"])


def _journals(session: Session) -> Journals:
    from pacha.adapters.journal import Journals

    return Journals(os.path.join(session.state_path, "journal"))
