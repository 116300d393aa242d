"""The Python sources of Pacha, as the checks in this directory walk them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src/pacha"


def sources() -> Iterator[tuple[str, str, ast.Module]]:
    """Each file as its path below src/pacha, its text and its tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        yield str(path.relative_to(PACKAGE)), text, ast.parse(text, path)
