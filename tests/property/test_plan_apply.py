"""Any tree can be made any other: captured, changed, rolled back, and compared by the oracle's word."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.command import Pacha
from tests.oracle import compare, save_twin, wipe
from tests.property.worlds import Node, Tree, build, trees, watching

from pacha.ops.capture import capture
from pacha.ops.host import Host
from pacha.ops.rollback import RolledBack, rollback
from tests import needs

pytestmark = [needs.root, needs.tools]
# The trees are small already: to make a failing pair still smaller takes minutes.
few = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)

FOLDER, FILE = Node("dir", 0o755), Node("file", content=b"x\n")
TOP = {b"": FOLDER}


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one example, wiped afterwards."""
    place = Path(tempfile.mkdtemp(prefix="pacha-property-"))
    try:
        yield place
    finally:
        wipe(place)


def back(host: Host, live: Path, revision: str, *, dry_run: bool = False) -> RolledBack:
    """Roll back without asking."""
    done = rollback(
        host, [os.fsencode(live)], revision, dry_run=dry_run, show=lambda target, planned: None, ask=None
    )
    assert done is not None
    return done


def same(twin: Path, live: Path) -> None:
    differences = compare(twin, live)
    assert not differences, "\n".join(differences)


@few
@given(trees(), trees())
@example({**TOP, b"/a": FOLDER, b"/a/b": FILE}, {**TOP, b"/a": FILE})
@example({**TOP, b"/a": FILE}, {**TOP, b"/a": FOLDER, b"/a/b": FILE})
@example(
    {**TOP, b"/a": FILE._replace(group=1), b"/b": FILE._replace(group=1)},
    {**TOP, b"/a": FILE, b"/b": FILE._replace(content=b"other\n")},
)
@example(
    {**TOP, b"/a": FILE._replace(group=1), b"/b": FILE._replace(group=1), b"/d": FILE._replace(group=2), b"/e": FILE._replace(group=2)},
    {**TOP, b"/a": FILE._replace(group=1), b"/b": FILE._replace(group=2), b"/d": FILE._replace(group=1), b"/e": FILE._replace(group=2)},
)  # fmt: skip
@example(
    {**TOP, b"/a": Node("symlink", content=b"b"), b"/b": FOLDER},
    {**TOP, b"/a": FOLDER, b"/b": Node("symlink", content=b"a"), b"/a/x": FILE},
)
def test_any_tree_comes_back_from_any_other_and_forth_again(one: Tree, other: Tree) -> None:
    with scratch() as place, watching(place) as (host, live):
        build(live, one)
        first = capture(host, cause="test")
        assert first.revision
        save_twin(live, place / "one")
        build(live, other)
        save_twin(live, place / "other")
        second = capture(host, cause="test").revision or first.revision
        for twin, revision in (("one", first.revision), ("other", second), ("one", first.revision)):
            done = back(host, live, revision)
            assert [result for result in done.results if not result.ok] == []
            same(place / twin, live)
            assert back(host, live, revision, dry_run=True).planned.steps == []
            assert capture(host, cause="test").revision is None


@few
@given(trees(), trees())
def test_what_was_never_captured_is_captured_before_it_goes(one: Tree, other: Tree) -> None:
    with scratch() as place, watching(place) as (host, live):
        build(live, one)
        first = capture(host, cause="test").revision or ""
        build(live, other)
        save_twin(live, place / "other")
        planned = back(host, live, first, dry_run=True)
        same(place / "other", live)
        done = back(host, live, first)
        assert done.planned.steps == planned.planned.steps
        assert [result.step for result in done.results] == planned.planned.steps
        kept = next((r for r in host.store.history() if r.message == f"before rollback to {first}"), None)
        if kept is not None:
            back(host, live, kept.id)
            same(place / "other", live)
        assert host.store.verify() == []


@few
@given(trees(), trees(), st.integers(1, 4))
def test_what_is_captured_in_parts_is_in_the_end_all_of_it(one: Tree, other: Tree, at_most: int) -> None:
    with scratch() as place, watching(place) as (host, live):
        for tree in (one, other):
            build(live, tree)
            parts = [capture(host, cause="test", at_most=at_most)]
            while parts[-1].is_partial:
                assert len(parts) < 100, "it does not get on"
                parts.append(capture(host, cause="test", at_most=at_most))
        save_twin(live, place / "other")
        assert capture(host, cause="test").revision is None
        newest = next(iter(host.store.history())).id
        wipe(live)
        done = back(host, live, newest)
        assert [result for result in done.results if not result.ok] == []
        same(place / "other", live)


def test_what_a_part_lacks_is_not_absent_in_it(arena: Path) -> None:
    with watching(arena) as (host, live):
        for name in ("a", "b", "c"):
            (live / name).mkdir(parents=True)
            (live / name / "file").write_text("kept\n")
        part = capture(host, cause="test", at_most=1)
        assert part.is_partial
        assert part.revision
        save_twin(live, arena / "twin")
        back(host, live, part.revision)
        same(arena / "twin", live)


@pytest.mark.parametrize("seed", range(3))
def test_the_command_line_does_the_same(pacha: Pacha, arena: Path, seed: int) -> None:
    shapes: list[tuple[Tree, Tree]] = [
        ({**TOP, b"/a": FOLDER, b"/a/b": FILE}, {**TOP, b"/a": FILE._replace(mode=0o4755)}),
        ({**TOP, b"/a": FILE._replace(group=1), b"/.hg": FILE._replace(group=1)}, {**TOP, b"/.hg": FOLDER, b"/.hg/a": FILE}),
        ({**TOP, b"/d": FOLDER._replace(mode=0o500), b"/d/x": FILE}, TOP),
    ]  # fmt: skip
    live = arena / "live"
    build(live, shapes[seed][0])
    first = pacha.ok("watch", live)["revision"]
    save_twin(live, arena / "twin")
    build(live, shapes[seed][1])
    pacha.ok("rollback", live, "--to", first, "-y")
    same(arena / "twin", live)


CONTENT_SIZES = (5_000_000, 0, 5_000_000, 0, 1, 9_000_000)


def test_large_and_empty_contents_side_by_side_come_back(arena: Path) -> None:
    with watching(arena) as (host, live):
        live.mkdir()
        for at, size in enumerate(CONTENT_SIZES):
            (live / f"{at}").write_bytes(bytes([at + 65]) * size)
        first = capture(host, cause="test").revision or ""
        save_twin(live, arena / "twin")
        for path in live.iterdir():
            path.write_bytes(b"edited\n")
        back(host, live, first)
        same(arena / "twin", live)


@pytest.mark.parametrize(
    "mtime", [-(2**31) * 10**9, -1, 0, 2**31 * 10**9, 10_413_792_000 * 10**9, 15 * 10**18]
)
def test_a_file_of_any_time_is_captured_and_comes_back(arena: Path, mtime: int) -> None:
    with watching(arena) as (host, live):
        build(live, {**TOP, b"/a": FILE})
        os.utime(live / "a", ns=(0, mtime))
        if (live / "a").lstat().st_mtime_ns != mtime:
            pytest.skip("a file system that cannot hold this time")
        first = capture(host, cause="test").revision or ""
        save_twin(live, arena / "twin")
        (live / "a").write_bytes(b"edited\n")
        back(host, live, first)
        same(arena / "twin", live)
        assert capture(host, cause="test").revision is None
