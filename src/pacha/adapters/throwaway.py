"""A root for the moment: a fresh system to rehearse a rebuild in, made, used and removed.

Called by `cli/rehearsal`. It lies in the state folder, where nobody else writes. It must not decide what is
done in it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from pacha.adapters import inside
from pacha.core.errors import Failed, NotFound


@contextmanager
def throwaway(state: str, base: str | None, suite: str) -> Iterator[tuple[str, str]]:
    """(a root, a state folder beside it), both gone afterwards.

    The root is a copy of the folder `base`, what the archive `base` holds, or else made by debootstrap.
    """
    place = os.path.join(state, "rehearsal")
    shutil.rmtree(place, ignore_errors=True)  # a killed one's
    root = os.path.join(place, "root")
    os.makedirs(root, mode=0o755)
    try:
        _fill(root, base, suite)
        yield root, os.path.join(place, "state")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _fill(root: str, base: str | None, suite: str) -> None:
    if base is None:
        if not suite:
            hint = "--base DIR or a tar archive of a fresh system"
            raise Failed("what system it was is not known, or it is none that debootstrap makes", hint=hint)
        _run(["debootstrap", "--variant=minbase", suite, root])
    elif os.path.isdir(base):
        _run(["cp", "-a", "--reflink=auto", os.path.join(base, "."), root])
    elif os.path.isfile(base):
        _run(["tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", root, "-f", base])
    else:
        raise NotFound(f"there is no {base}", hint="--base takes a folder or a tar archive")


def _run(words: list[str]) -> None:
    said: list[bytes] = []
    try:
        code = inside.follow(b"/", words, said.append)
    except FileNotFoundError as problem:
        raise Failed(f"there is no {words[0]} here", hint="install it, or give --base DIR") from problem
    if code != 0:
        last = said[-1].decode("utf-8", "replace") if said else f"exit {code}"
        raise Failed(f"no fresh system could be made: {words[0]}: {last}", hint="give --base DIR")
