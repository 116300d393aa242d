"""The entry point: `pacha`, `python -m pacha`."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # `typing` is not imported before it must be
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> int:
    """Run this process's command; its exit code."""
    words = sys.argv[1:]
    if words[-1:] == ["receive"]:
        from pacha.cli.quick import places

        given = places(words[:-1])
        if given is not None:
            _receive(words, given)
    from pacha.cli.main import main as run

    return run()


def _receive(words: list[str], given: dict[str, str]) -> NoReturn:
    """Elsewhere, where it is quicker, else here; without taking the interpreter apart at the end, which takes
    longer than most pushes do.
    """
    gc.disable()  # there is nothing to collect before the end, which is near
    from pacha.cli.quick import receive_elsewhere

    code = receive_elsewhere(words, given)
    if code is None:
        from pacha.cli.main import main as run

        code = run(words)
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
