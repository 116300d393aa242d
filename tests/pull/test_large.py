"""A deployment that is large: it goes through a session's limits, or is refused in words, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pull.places import Puller, offer
from tests.server.hub import Hub

MB = 1_000_000
pytestmark = pytest.mark.xdist_group("pull-large")


def fill(folder: Path, sizes: list[int]) -> None:
    """Files of these sizes, with holes: they cost no disk."""
    for number, size in enumerate(sizes):
        path = folder / "files" / "opt" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"%d" % number)
            file.truncate(size)


def test_what_fits_into_a_session_comes(own: Hub) -> None:
    host = Puller(own)
    fill(offer(own), [60 * MB] * 3)
    done = host.pacha.ok("pull", "base", "-n")
    assert len([step for step in done["steps"] if step["kind"] == "file"]) == 4


@pytest.mark.parametrize(
    ("sizes", "words"),
    [([60 * MB] * 8, "more memory than a session may use"), ([65 * MB], "64MB is the most")],
)
def test_what_does_not_is_refused_in_words(own: Hub, sizes: list[int], words: str) -> None:
    host = Puller(own)
    fill(offer(own), sizes)
    result = host.refused()
    assert result.code == 1
    assert words in result.json["error"]["message"], result
    assert not host.has("/opt")
