"""The archive: a store changes places with one that was built beside it, at one instant."""

from __future__ import annotations

import os
from pathlib import Path

from pacha.adapters.archive import Archive


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
