"""A root for the moment: a fresh system to rehearse a rebuild in, made, used and removed.

Called by `cli/rehearsal`. It lies in the state folder, where nobody else writes, and each rehearsal has a
folder of its own, locked for as long as it is used: so several may go on at once, and what a killed one has
left goes with the next. It must not decide what is done in it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pacha.adapters import inside
from pacha.adapters.files.discard import discard
from pacha.adapters.lock import is_held, try_lock
from pacha.core.errors import Failed, NotFound

_FOLDER = "rehearsal"


@contextmanager
def throwaway(state: str, base: str | None, suite: str) -> Iterator[tuple[str, str]]:
    """(a root, a state folder beside it), both gone afterwards.

    The root is a copy of the folder `base`, what the archive `base` holds, or else made by debootstrap.
    """
    place = os.path.join(state, _FOLDER)
    _clear(place)
    own, lock = _begin(place)
    root = os.path.join(own, "root")
    try:
        os.mkdir(root, mode=0o755)
        _fill(root, base, suite)
        yield root, os.path.join(own, "state")
    finally:
        discard(own)
        os.close(lock)
        _remove_empty(place)


def left(state: str) -> list[str]:
    """The folders of rehearsals that were killed."""
    place = os.path.join(state, _FOLDER)
    return [folder for folder in _folders(place) if not is_held(folder)]


def _begin(place: str) -> tuple[str, int]:
    """(a folder of one's own, the descriptor that locks it).

    Another may take it for a killed one's between the two, and then removes it: it is begun once more.
    """
    while True:
        os.makedirs(place, mode=0o700, exist_ok=True)
        try:
            own = tempfile.mkdtemp(dir=place, prefix="")
            lock = _open(own)
        except FileNotFoundError:
            continue
        if try_lock(lock) and os.path.isdir(own):
            return own, lock
        os.close(lock)
        with suppress(OSError):
            os.rmdir(own)


def _clear(place: str) -> None:
    """Remove what nobody uses."""
    for folder in _folders(place):
        try:
            lock = _open(folder)
        except NotADirectoryError:
            os.unlink(folder)
            continue
        except FileNotFoundError:
            continue
        try:
            if try_lock(lock):
                discard(folder)
        finally:
            os.close(lock)
    _remove_empty(place)


def _folders(place: str) -> list[str]:
    try:
        return [os.path.join(place, name) for name in sorted(os.listdir(place))]
    except FileNotFoundError:
        return []


def _open(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _remove_empty(place: str) -> None:
    with suppress(OSError):  # somebody else's is there, or has just gone
        os.rmdir(place)


def _fill(root: str, base: str | None, suite: str) -> None:
    if base is None:
        if not suite:
            hint = "--base DIR or a tar archive of a fresh system"
            raise Failed("what system it was is not known, or it is none that debootstrap makes", hint=hint)
        # Apart, so that what it mounts there, and runs, ends with it.
        _run([*inside.APART, "debootstrap", "--variant=minbase", suite, root], "debootstrap")
    elif os.path.isdir(base):
        _run(["cp", "-a", "--reflink=auto", os.path.join(base, "."), root])
    elif os.path.isfile(base):
        _run(["tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", root, "-f", base])
    else:
        raise NotFound(f"there is no {base}", hint="--base takes a folder or a tar archive")


def _run(words: list[str], tool: str = "") -> None:
    said: list[bytes] = []
    tool = tool or words[0]
    if shutil.which(tool, path=inside.environment({})["PATH"]) is None:
        raise Failed(f"there is no {tool} here", hint="install it, or give --base DIR")
    code = inside.follow(b"/", words, said.append)
    if code != 0:
        last = said[-1].decode("utf-8", "replace") if said else f"exit {code}"
        raise Failed(f"no fresh system could be made: {tool}: {last}", hint="give --base DIR")
