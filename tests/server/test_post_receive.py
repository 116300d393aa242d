"""`post-receive` hooks: told of every revision, in order, by nobody who has to wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import until
from tests.server.hub import Client, Hub, hub

HOOK = """\
#!/bin/sh
{first}
cat >> {told}
echo "$PACHA_EVENT $PACHA_HOST $PACHA_REVISION $HOME" >> {seen}
{last}
"""


class Hooked:
    """A server with one host, and a hook that notes what it is told."""

    def __init__(self, server: Hub, place: Path) -> None:
        self.server, self.place = server, place
        self.key = server.add("web1")
        self.client = Client(place / "web1", "web1")
        self.told_path, self.seen_path = place / "told", place / "seen"

    def hook(self, first: str = "", last: str = "") -> None:
        path = self.server.pacha.config.parent / "hooks" / "post-receive" / "50-tell"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HOOK.format(first=first, last=last, told=self.told_path, seen=self.seen_path))
        for one in (path, path.parent, path.parent.parent):
            one.chmod(0o755)

    def push(self) -> None:
        done = self.server.push(self.key, self.client.store, "web1")
        assert done.returncode == 0, done

    def told(self, field: str = "revision") -> list[Any]:
        """The revisions that the hook was told of, or what it was told of each."""
        text = self.told_path.read_text() if self.told_path.exists() else ""
        return [json.loads(line)[field] for line in text.splitlines()]


@pytest.fixture
def hooked(tmp_path: Path) -> Iterator[Hooked]:
    with hub(tmp_path / "hub") as server:
        yield Hooked(server, tmp_path)


def test_every_revision_is_told_once_and_in_order(hooked: Hooked) -> None:
    hooked.hook()
    first = hooked.client.pacha.ok("log")["revisions"][0]["id"]
    made = [first, *(hooked.client.capture({"hosts": f"10.0.0.{at}\n".encode()}) for at in range(3))]
    hooked.push()
    until(lambda: len(hooked.told()) == len(made))
    assert hooked.told() == made
    assert hooked.told("waiting") == [3, 2, 1, 0]
    line = hooked.told_path.read_text().splitlines()[-1]
    told = json.loads(line)
    assert told["host"] == "web1" and told["author"] and told["time"]
    assert [one["change"] for one in told["paths"]] == ["modified"]
    assert "-10.0.0.1\n+10.0.0.2\n" in told["diff"] and told["diff_cut"] is False
    until(lambda: len(hooked.seen_path.read_text().splitlines()) == len(made))  # written after the other
    event, host, revision, home = hooked.seen_path.read_text().splitlines()[-1].split()
    assert (event, host, revision) == ("post-receive", "web1", made[-1])
    assert home not in ("", "/nonexistent")
    made.append(hooked.client.capture({"hosts": b"again\n"}))
    hooked.push()
    until(lambda: len(hooked.told()) == len(made))
    assert hooked.told() == made


def test_a_slow_hook_delays_nobody_and_two_pushes_are_told_in_turn(hooked: Hooked) -> None:
    gate = hooked.place / "gate"
    hooked.hook(first=f"while ! [ -e {gate} ]; do sleep 0.05; done")
    first = hooked.client.pacha.ok("log")["revisions"][0]["id"]
    hooked.push()
    second = hooked.client.capture({"hosts": b"10.0.0.2\n"})
    hooked.push()
    assert hooked.told() == [], "both were acknowledged, and the first hook has not ended yet"
    gate.touch()
    until(lambda: hooked.told() == [first, second])


def test_what_comes_without_a_hook_is_not_told_later(hooked: Hooked) -> None:
    hooked.push()
    hooked.hook()
    second = hooked.client.capture({"hosts": b"10.0.0.2\n"})
    hooked.push()
    until(lambda: hooked.told() == [second])


def test_a_failing_hook_is_in_the_log_and_stops_nothing(hooked: Hooked) -> None:
    hooked.hook(last="echo broken; exit 3")
    hooked.push()
    (line,) = until(lambda: hooked.server.log("hook"))
    assert line["host"] == "web1" and "50-tell exit 3: broken" in line["words"]
    again = hooked.server.pacha.ok("host", "post-receive", "web1")
    assert again["told"] == 0
