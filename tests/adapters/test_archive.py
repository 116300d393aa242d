"""The archive: a store changes places with one that was built beside it, at one instant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pacha.adapters.archive import Archive
from pacha.adapters.copies import Copies

BUILDER = """
import itertools, os, sys
for n in itertools.count():
    try:
        os.makedirs(f"{sys.argv[1]}/a/{n}")
        open(f"{sys.argv[1]}/a/{n}/f", "w").close()
    except FileNotFoundError:
        pass
"""


@contextmanager
def being_built(place: bytes) -> Iterator[None]:
    """What a Mercurial does whose Pacha was killed."""
    builder = subprocess.Popen([sys.executable, "-c", BUILDER, place])
    try:
        while not os.path.exists(os.path.join(place, b"a/9")):
            assert builder.poll() is None
        yield
    finally:
        builder.kill()
        builder.wait()


def test_a_store_is_replaced_and_kept(tmp_path: Path) -> None:
    archive = Archive(os.fsencode(tmp_path / "archive"))
    store = tmp_path / "store"
    store.mkdir()
    (store / "old").touch()
    built = archive.begin("1")
    os.mkdir(built)
    (Path(os.fsdecode(built)) / "new").touch()
    place = Path(os.fsdecode(archive.put(built, os.fsencode(store))))
    assert (os.listdir(store), os.listdir(place)) == (["new"], ["old"])
    assert os.listdir(tmp_path / "archive") == [place.name]


def test_where_there_was_no_store_none_is_kept(tmp_path: Path) -> None:
    archive = Archive(os.fsencode(tmp_path / "archive"))
    built = archive.begin("1")
    os.mkdir(built)
    archive.put(built, os.fsencode(tmp_path / "store"))
    assert (tmp_path / "store").is_dir()
    assert os.listdir(tmp_path / "archive") == []


def test_what_is_half_built_goes_and_nothing_else(tmp_path: Path) -> None:
    archive = Archive(os.fsencode(tmp_path / "archive"))
    left = archive.begin("1")
    os.mkdir(left)
    (tmp_path / "archive" / "0").mkdir()
    assert archive.begin("2") != left
    assert os.listdir(tmp_path / "archive") == ["0"]
    archive.drop(left)


def test_what_is_still_being_built_by_nobody_stops_nothing(tmp_path: Path) -> None:
    archive = Archive(os.fsencode(tmp_path / "archive"))
    copy = Copies(str(tmp_path / "state")).of("hub", "web1")
    names = iter("123")
    with copy.locked():
        for begin in (lambda: archive.begin(next(names)), copy.begin):
            left = begin()
            with being_built(left):
                place = begin()
                assert place != left and not os.path.exists(place)
            begin()
            assert not os.path.exists(left)
