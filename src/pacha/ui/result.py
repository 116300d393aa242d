"""The one JSON object that a command prints with `--json`, and the one sentence that an error becomes.

Called by `cli/main` and the verbs. There is never a second object: what goes wrong after the first is said
on standard error. `docs/reference/json.md` documents every field.
"""

from __future__ import annotations

import sys
from typing import Any

from pacha.core.errors import Failed, PachaError
from pacha.core.shown import printable

FORMAT = 1

_begun: list[bool] = []  # whether there is an object on standard output, or a part of one


def print_object(values: dict[str, Any], ok: bool = True) -> None:
    """Print `values` as one line of JSON on standard output, with `version` and `ok`.

    With that the outcome stands, and no signal makes another of it.
    """
    import json

    from pacha.ui.interrupts import settle

    text = json.dumps({"version": FORMAT, "ok": ok, **values}, ensure_ascii=False, default=str) + "\n"
    settle()
    _begun.append(True)
    sys.stdout.write(text)
    sys.stdout.flush()


def print_event(values: dict[str, Any], ok: bool = True) -> None:
    """Print one line of a stream of such objects; the outcome is the last one, by `print_object`."""
    import json

    sys.stdout.write(
        json.dumps({"version": FORMAT, **values, "ok": ok}, ensure_ascii=False, default=str) + "\n"
    )
    sys.stdout.flush()


def unwritable() -> PachaError | None:
    """What is wrong with standard output, found out by writing what was printed; None where nothing is."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as problem:
        words = f"standard output cannot be written: {problem.strerror}"
        return Failed(words, hint="whether it was done: pacha status and pacha log tell")
    return None


def print_error(error: PachaError, as_json: bool) -> None:
    """Say what went wrong: on standard error, or as a JSON object on standard output where none was begun."""
    if as_json and not _begun:
        print_object({"error": {"kind": error.kind, "message": str(error), "hint": error.hint}}, ok=False)
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    sys.stderr.write(f"pacha: {printable(str(error))}\n")
    if error.hint:
        sys.stderr.write(f"       {printable(error.hint)}\n")
