"""How two lines stand to each other, and how much waits."""

from __future__ import annotations

import pytest

from pacha.core.line import Acknowledged, Stand, stand


@pytest.mark.parametrize(
    ("newest", "theirs", "common", "acknowledged", "expected"),
    [
        (-1, -1, -1, -1, "same"),
        (4, 4, 4, 4, "same"),
        (4, 4, 4, -1, "same"),
        (4, -1, -1, -1, "ahead"),
        (4, 2, 2, 2, "ahead"),
        (4, 2, 2, -2, "ahead"),  # what was acknowledged is not in this line any more
        (4, 2, 2, 3, "lost"),
        (4, -1, -1, 0, "lost"),
        (4, -2, 4, 4, "behind"),
        (-1, -2, -1, -1, "behind"),
        (4, -2, 2, 2, "forked"),
        (4, -2, 0, 3, "forked"),
        (4, -2, -1, -1, "foreign"),
    ],
)
def test_every_stand(newest: int, theirs: int, common: int, acknowledged: int, expected: Stand) -> None:
    assert stand(newest=newest, theirs=theirs, common=common, acknowledged=acknowledged) == expected


def test_the_backlog() -> None:
    nothing = Acknowledged("hub")
    assert nothing.backlog("", 0) == 0
    assert nothing.backlog("a" * 40, 3) == 3
    some = nothing._replace(node="a" * 40, seq=3)
    assert some.backlog("a" * 40, 3) == 0
    assert some.backlog("b" * 40, 5) == 2
    assert some.backlog("b" * 40, 3) == 1, "another line of the same length"
