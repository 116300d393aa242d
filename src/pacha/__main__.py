"""The entry point: `pacha`, `python -m pacha`."""

from __future__ import annotations

import sys

from pacha.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
