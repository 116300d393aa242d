"""What a push leaves behind on a host: its record in the history, and a receiver that is ready for the next.

Called by `cli/receive`, when the answer is given, and in the processes that it leaves. The receiver that is
ready has imported what a push needs and forks for each, so that the next ones start in a fraction of the
time; it ends when none has come for `push.ready`. It opens no file and holds no lock: each fork reads the
configuration, and does all the rest, anew.
"""

from __future__ import annotations

import importlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pacha.cli.session import Session
from pacha.core.errors import Busy, PachaError

if TYPE_CHECKING:
    from argparse import Namespace

_PAUSE = 1.0  # seconds until one is ready: the push shall have all of the machine until its end
_REST = 4.0  # more until it is recorded: of many hosts on one machine the last have answered, too
_NS = 1_000_000_000
# What a push imports; what these import themselves need not be named.
MODULES = (
    "pacha.adapters.config_file", "pacha.adapters.files.write", "pacha.adapters.preflight",
    "pacha.adapters.secrets", "pacha.adapters.staging", "pacha.adapters.state", "pacha.agent.wiring",
    "pacha.cli.configured", "pacha.cli.hosting", "pacha.cli.quick", "pacha.cli.received",
    "pacha.cli.tracking", "pacha.core.places", "pacha.core.toml_text", "pacha.ops.receive",
    "pacha.ui.interrupts", "pwd", "tomllib",
)  # fmt: skip


def leave_behind(session: Session, is_to_record: bool) -> None:
    """See to it that the push is recorded where no agent does, and that a receiver is ready for the next."""
    from pacha.adapters import fork

    if fork.is_one:
        if is_to_record:
            fork.afterwards.append(lambda: _record_later(session.options))
    elif session.config.push_ready_ns:
        session.detach(["receive", *(["--record"] if is_to_record else []), "--ready"], _PAUSE)
    elif is_to_record:
        session.detach(["receive", "--record"], _PAUSE + _REST)


def _record_later(options: Namespace) -> None:
    time.sleep(_PAUSE + _REST)
    anew = Session(options, "receive")
    record(anew)
    anew.close()


def stay_ready(session: Session, is_to_record: bool) -> int:
    """Record, and run what is handed over until there has been nothing for `push.ready`."""
    from pacha.adapters.fork_server import ForkServer
    from pacha.cli.main import main
    from pacha.cli.quick import receiver_socket

    if is_to_record and os.fork() == 0:
        time.sleep(_REST)
        os._exit(record(session))
    for name in MODULES:
        importlib.import_module(name)
    with suppress(PachaError):  # another is ready already, or there is no place for a socket
        ForkServer(receiver_socket(session.state_path), main).serve(session.config.push_ready_ns / _NS)
    return 0


def record(session: Session) -> int:
    """Write the pushes of this host into its history, and send that, while there is nothing better to do.

    Who has that lock all the time sees to it: every command does.
    """
    from pacha.adapters.priority import be_idle

    be_idle()
    from pacha.cli.sent import send
    from pacha.ops.pushed import record_pushes

    session.host.lock = session.host.history_lock
    try:
        record_pushes(session.host)
    except Busy:
        return 0
    send(session)
    return 0
