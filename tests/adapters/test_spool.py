"""The spool: what was put in comes out, in whatever order and size, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.adapters.spool import Spool

MEMORY = 8_000_000


def test_small_contents_never_touch_the_disk(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "nowhere"))
    blobs = [spool.put(data) for data in (b"", b"a", b"", b"bc")]
    assert [spool.get(blob) for blob in blobs] == [b"", b"a", b"", b"bc"]
    assert [blob.length for blob in blobs] == [0, 1, 0, 2]
    spool.close()


def nameless(folder: Path) -> list[str]:
    """What this process has open below `folder`."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [
        name
        for name in (os.readlink(link) for link in links if os.path.lexists(link))
        if name.startswith(str(folder))
    ]


def test_large_contents_go_to_a_file_without_a_name(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    first, second = os.urandom(MEMORY), os.urandom(1_000_000)
    blobs = [spool.put(first), spool.put(second)]
    assert [name for name in nameless(tmp_path) if name.endswith("(deleted)")]
    assert list(tmp_path.iterdir()) == []
    assert [spool.get(blob) for blob in blobs] == [first, second]
    spool.close()
    assert nameless(tmp_path) == []


def test_one_content_larger_than_the_memory(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    data = os.urandom(MEMORY + 1)
    blob, small = spool.put(data), spool.put(b"small")
    assert spool.get(blob) == data
    assert spool.get(small) == b"small"
    spool.close()


def test_an_empty_content_before_one_that_goes_to_the_file(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    first, last = b"a" * 5_000_000, b"c" * 5_000_000
    blobs = [spool.put(data) for data in (first, b"", last)]
    assert spool.get(blobs[2]) == last
    assert spool.get(blobs[1]) == b""
    assert spool.get(blobs[0]) == first
    spool.close()


MEBI = 1 << 20
sizes = st.lists(
    st.sampled_from((0, 0, 1, 5, MEBI, 3 * MEBI, MEMORY - 1, MEMORY, MEMORY + 1)), min_size=1, max_size=7
)


@settings(max_examples=25, deadline=None)
@given(sizes, st.randoms(use_true_random=False))
def test_any_sizes_come_back_in_any_order(lengths: list[int], random: object) -> None:
    spool = Spool("/tmp")
    kept = {spool.put(data): data for data in (bytes([at + 1]) * n for at, n in enumerate(lengths)) if data}
    spool.put(b"")
    blobs = list(kept)
    random.shuffle(blobs)  # type: ignore[attr-defined]
    for blob in blobs:
        assert spool.get(blob) == kept[blob]
    spool.close()


@settings(max_examples=15, deadline=None)
@given(sizes)
def test_empty_contents_between_the_others_change_nothing(lengths: list[int]) -> None:
    spool = Spool("/tmp")
    put = []
    for at, length in enumerate(lengths):
        data = bytes([at + 1]) * length
        put.append((spool.put(data), data))
        put.append((spool.put(b""), b""))
    assert all(spool.get(blob) == data for blob, data in put)
    spool.close()
