"""Command lines that are run once for each host of a push: read, and handed over, before anything of Pacha is
imported.

Called by `__main__` and `cli/main`. It imports what the interpreter has in memory anyway, and not `typing`:
that alone takes half as long as the bare interpreter. Whatever is not one of these few forms is left to
`argparse`.
"""

from __future__ import annotations

import os

WITH_VALUE = ("--config", "--state")


def places(words: list[str]) -> dict[str, str] | None:
    """What a command line gives that names places and nothing else; None for any other."""
    if len(words) % 2 or any(word not in WITH_VALUE for word in words[::2]):
        return None
    return {word.removeprefix("--"): value for word, value in zip(words[::2], words[1::2], strict=True)}


def state_folder(given: str | None) -> str:
    """The state folder of who this process is now: as given, as the environment says, or the usual one."""
    named = given or os.environ.get("PACHA_STATE")
    if named:
        return os.path.abspath(named)
    from pacha.core.places import default_state

    return default_state(os.geteuid() == 0, os.environ)


def receiver_socket(state: str) -> str:
    """Where a receiver that is ready for the next push listens. OSError where there is no state folder."""
    from pacha.adapters.runtime import socket_path

    return socket_path(state, "receive")


def receive_elsewhere(words: list[str], given: dict[str, str]) -> int | None:
    """Give a command line, which names these places, to the receiver that is ready: its exit code; None where
    there is none.
    """
    try:
        path = receiver_socket(state_folder(given.get("state")))
        os.stat(path)
    except OSError:
        return None
    from pacha.adapters.handover import hand_over

    return hand_over(path, [os.fsencode(word) for word in words])
