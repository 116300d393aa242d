"""Keep files and functions of Pacha small enough to be read at one go. Called by `make lint`."""

from __future__ import annotations

import ast
import sys

from sources import sources

FILE_LINES = 400
FUNCTION_LINES = 60


def too_long(name: str, text: str, tree: ast.Module) -> list[str]:
    """Every breach as one line; a function's docstring does not count, the code does."""
    lines = len(text.splitlines())
    found = [f"{name}: {lines} lines, at most {FILE_LINES}: it has two jobs"] if lines > FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            prose = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            lines = node.end_lineno - node.lineno + 1 - prose
            if lines > FUNCTION_LINES:
                found.append(f"{name}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    return found


if __name__ == "__main__":
    breaches = [line for source in sources() for line in too_long(*source)]
    print("\n".join(breaches) or "sizes: all files and functions are short enough")
    sys.exit(bool(breaches))
