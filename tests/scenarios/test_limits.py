"""Files at, over and under `max_file_size`, ignored entries, and files that never rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.steps import capture, pending, watch_first

LIMIT = 1_000_000


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    pacha.config.write_text('ignore = ["*.log"]\n[capture]\nmax_file_size = "1MB"\n')
    return tree


def skipped(pacha: Pacha) -> list[str]:
    return [entry["path"] for entry in pacha.ok("status")["skipped"]]


def test_exactly_the_limit_is_stored(pacha: Pacha, live: Path) -> None:
    (live / "at").write_bytes(b"x" * LIMIT)
    (live / "over").write_bytes(b"x" * (LIMIT + 1))
    first = watch_first(pacha, live)
    assert len(pacha.run("cat", live / "at").out) == LIMIT
    assert pacha.run("cat", live / "over").code == 2
    assert skipped(pacha) == [str(live / "over")]
    assert pacha.run("status", "--check").code == 4
    (live / "at").unlink()
    pacha.ok("rollback", live, "--to", first, "-y")
    assert (live / "at").stat().st_size == LIMIT


def test_growing_over_and_shrinking_below(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("small\n")
    first = watch_first(pacha, live)
    (live / "file").write_bytes(os.urandom(LIMIT + 5))
    capture(pacha)
    assert skipped(pacha) == [str(live / "file")]
    assert pacha.run("cat", live / "file", "--at", first).out == "small\n"
    (live / "file").write_text("small again\n")
    capture(pacha)
    assert skipped(pacha) == []
    assert pacha.run("cat", live / "file").out == "small again\n"


def test_a_change_of_the_same_size_over_the_limit_is_seen(pacha: Pacha, live: Path) -> None:
    (live / "file").write_bytes(b"x" * (LIMIT + 5))
    watch_first(pacha, live)
    (live / "file").write_bytes(b"y" * (LIMIT + 5))
    assert pending(pacha) == [("modified", str(live / "file"))]
    capture(pacha)
    assert "sha256" in pacha.run("show", "0s").out


def test_what_is_stored_nowhere_is_not_destroyed(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("small\n")
    first = watch_first(pacha, live)
    large = os.urandom(LIMIT + 5)
    (live / "file").write_bytes(large)
    (live / "new").write_bytes(large)
    plan = pacha.run("rollback", live, "--to", first, "-n", "--json")
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3, result
    assert (live / "file").read_bytes() == large
    assert (live / "new").read_bytes() == large
    refused = {step["path"] for step in result.json["steps"] if not step["ok"]}
    assert refused == {str(live / "file"), str(live / "new")}
    assert {step["path"] for step in plan.json["steps"] if not step["ok"]} == refused, (
        "the dry run promised more"
    )


def test_five_gigabytes_of_nothing(pacha: Pacha, live: Path) -> None:
    with (live / "sparse").open("wb") as file:
        file.truncate(5_000_000_000)
    (live / "large").write_bytes(bytes(10_000_001))
    watch_first(pacha, live)
    # A file of over 1 GB is not read, so there is no digest of it.
    assert {item["path"]: item["reason"].partition(": ")[2] for item in pacha.ok("status")["skipped"]} == {
        str(live / "large"): "metadata and digest only", str(live / "sparse"): "metadata only"
    }  # fmt: skip
    assert pacha.run("diff").code == 0
    assert (live / "sparse").stat().st_blocks < 100


def test_ignored_entries_are_never_removed(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("file\n")
    first = watch_first(pacha, live)
    for folder in ("made", "made/deep", "empty"):
        (live / folder).mkdir()
    for name in ("a.log", "made/deep/b.log", "file~", ".file.swp", "4913", "x.dpkg-new"):
        (live / name).write_text("ignored\n")
    (live / "made" / "file").write_text("new\n")
    changed = {change["path"] for change in pacha.ok("capture")["changed"]}
    assert changed == {str(live / name) for name in ("made", "made/deep", "made/file", "empty")}
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3
    for name in ("a.log", "made/deep/b.log", "file~", ".file.swp", "4913", "x.dpkg-new"):
        assert (live / name).read_text() == "ignored\n"
    assert not (live / "made" / "file").exists()
    assert not (live / "empty").exists()


def test_a_folder_with_something_ignored_is_no_file_again(pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("file\n")
    first = watch_first(pacha, live)
    (live / "file").unlink()
    (live / "file").mkdir()
    (live / "file" / "x.log").write_text("ignored\n")
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3
    assert (live / "file" / "x.log").read_text() == "ignored\n"
    reason = next(step["reason"] for step in result.json["steps"] if not step["ok"])
    assert "ignored" in reason, reason


def test_ignored_later_is_kept_in_both_places(pacha: Pacha, live: Path) -> None:
    (live / "x.conf").write_text("captured\n")
    first = watch_first(pacha, live)
    pacha.config.write_text(pacha.config.read_text().replace('"*.log"', '"*.log", "*.conf"'))
    revision = capture(pacha)
    (live / "x.conf").write_text("newer\n")
    assert pending(pacha) == []
    assert pacha.run("cat", live / "x.conf", "--at", first).out == "captured\n"
    pacha.ok("rollback", live, "--to", revision, "-y")
    assert (live / "x.conf").read_text() == "newer\n"


def test_a_file_that_never_rests(pacha: Pacha, live: Path) -> None:
    hot = live / "hot"
    hot.write_text("0\n")
    first = watch_first(pacha, live)
    for number in range(1, 24):
        hot.write_text(f"{number}\n")
        answer = pacha.ok("capture")
        if answer["revision"] is None:
            break
    assert 20 <= number <= 22, "the pace was not kept"
    assert [entry["path"] for entry in answer["deferred"]] == [str(hot)]
    status = pacha.run("status")
    assert str(hot) in status.out
    assert "10 minutes" in status.out
    assert pacha.run("status", "--check").code == 4, "a change waits, and the check is content"
    pacha.ok("rollback", hot, "--to", first, "-y")
    contents = [
        pacha.run("cat", hot, "--at", entry["id"]).out
        for entry in pacha.ok("log", hot, "-n", "3")["revisions"]
    ]
    assert f"{number}\n" in contents, "going back lost what was there"
