"""What an operation says while it works, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SAY = """
from pacha.ui.report import Report
report = Report(quiet=False, as_json=False)
report.phase("packages")
report.tool_output(b"Unpacking nginx \\x1b[31m(1.22)")
report.phase("files")
"""


def said(err: int) -> None:
    """Run it, with that standard error."""
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    subprocess.run([sys.executable, "-c", SAY], stderr=err, env={**kept, "TERM": "xterm"}, check=True)


def test_a_terminal_shows_the_last_line_of_a_tool_and_takes_it_away() -> None:
    ours, theirs = pty.openpty()
    try:
        said(theirs)
        text = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    before, shown, after = text.partition("  Unpacking nginx \\x1b[31m(1.22)")
    assert before.startswith("pacha: packages\r\n")
    assert shown
    assert after.index("\x1b[1F\x1b[J") < after.index("pacha: files")


def test_elsewhere_it_is_not_shown() -> None:
    ours, theirs = os.pipe()
    said(theirs)
    os.close(theirs)
    with open(ours, "rb") as stream:
        assert stream.read() == b"pacha: packages\npacha: files\n"
