"""The entry point: `pacha`, `python -m pacha`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Run this process's command; its exit code."""
    is_receiver = sys.argv[-1] == "receive"
    if is_receiver:
        gc.disable()  # there is nothing to collect before the end, which is near
        from pacha.cli.quick import receive_elsewhere

        code = receive_elsewhere(sys.argv[1:])
        if code is not None:
            os._exit(code)
    from pacha.cli.main import main as run

    code = run()
    if is_receiver:
        os._exit(code)  # taking the interpreter apart takes longer than most pushes do
    return code


if __name__ == "__main__":
    sys.exit(main())
