"""What a person reads of a push: what the host said of it, once where it is the same, and no more than fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.push.fleet import Fleet, fleet

FAILED = {
    "kind": "failed",
    "message": "not installed: nginxx",
    "hint": "what the package manager said is above",
}


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        made.deploy("web", {"files/etc/motd": "hello\n"})
        yield made


def answering(them: Fleet, name: str, **said: Any) -> None:
    """A host whose last line this is."""
    answer = them.place / f"answer-{name}"
    answer.write_text(json.dumps({"phase": "done", "ok": "error" not in said, "steps": [], **said}) + "\n")
    them.host(name, f"sh -c 'cat >/dev/null; cat {answer}'")


def test_what_a_tool_said_stands_above_the_hint_and_notes_below(them: Fleet) -> None:
    output = ["Reading package lists...", "E: Unable to locate package nginxx\u001b[2J"]
    note = "the packages stay: " + ", ".join(["postgresql-15"] * 7)
    for name in ("web1", "web2"):
        answering(them, name, error=FAILED, step="packages", output=output, notes=[note])
    answering(them, "web3", error=FAILED, step="packages", output=["E: no network"])
    result = them.push("web", "web1", "web2", "web3")
    assert result.code == 1
    assert result.out.splitlines() == [
        "3 hosts  FAILED during packages: not installed: nginxx  web1 web2 web3",
        "  web1 web2:",
        "      Reading package lists...",
        "      E: Unable to locate package nginxx\\x1b[2J",
        "  web3:",
        "      E: no network",
        "  what the package manager said is above",
        "  web1 web2:",
        "    the packages stay: postgresql-15, postgresql-15, postgresql-15,",
        "      postgresql-15, postgresql-15, postgresql-15, postgresql-15",
        result.out.splitlines()[-1],
    ]


def test_notes_of_what_went_well_are_shown_unless_quiet(them: Fleet) -> None:
    answering(
        them,
        "web1",
        steps=[{"action": "create", "path": "/etc/motd"}],
        notes=["checked after going live: no"],
    )
    assert "  checked after going live: no\n" in them.push("web", "web1").out
    assert them.push("web", "web1", "-q").out == ""
    answering(them, "web2", error=FAILED, output=["E: no"] * 30, notes=["one"] * 30)
    quiet = them.push("web", "web1", "web2", "-q").out
    assert "checked" not in quiet
    assert (quiet.count("E: no"), quiet.count("  one\n")) == (20, 19)
    assert "and 11 more of these, which --json has" in quiet
    assert them.told("web", "web2")[1]["web2"]["notes"] == ["one"] * 30


def test_what_is_no_list_of_sentences_is_passed_over(them: Fleet) -> None:
    answering(them, "web1", error=FAILED, output="abc", notes={"a": 1})
    answering(them, "web2", error=FAILED, output=[1, None], notes=[[], "", " "])
    assert them.push("web", "web1", "web2").code == 1
