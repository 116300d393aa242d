"""Admission: every way in which a revision may not extend the line is told, and a sound one passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import names

from pacha.core.admission import Limits, Proposal, judge
from pacha.core.entry import DIRECTORY, FILE, SYMLINK, Entry, render_directory, render_entry
from pacha.core.names import content_path, meta_path
from pacha.core.revision import Stamp

TIP = "ab" * 20
STAMP = Stamp("web1", "m", 1, 0, "capture")
FILE_LINE = render_entry(Entry(FILE, 0o644, 0, b"root", 0, b"root", 1, b"00" * 32))
LARGE_LINE = render_entry(Entry(FILE, 0o644, 0, b"root", 0, b"root", 1, b"00" * 32, size=5))
FOLDER_LINE = render_entry(Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root"))
LINK_LINE = render_entry(Entry(SYMLINK, 0o777, 0, b"", 0, b"", 1, target=b"x"))
ETC = {b".": FOLDER_LINE, b"hosts": FILE_LINE}

Texts = dict[bytes, bytes]


def reasons(
    sizes: dict[bytes, int | None], texts: Texts | None = None, *, tip: str = TIP, limits: Limits | None = None, **more: object
) -> list[str]:  # fmt: skip
    """What is said against a revision that changes `sizes`, where `texts` is the metadata after it."""
    known = {meta_path(b"/etc"): render_directory(ETC), **(texts or {})}
    proposal = Proposal([tip] if tip else [], "default", STAMP, sizes)._replace(**more)  # type: ignore[arg-type]
    return judge(proposal, host="web1", tip=tip, text_of=known.get, limits=limits or Limits())


SOUND: dict[bytes, int | None] = {b"files/etc/hosts": 10, b"meta/etc/%meta": 100}


def test_a_sound_revision_is_admitted() -> None:
    assert reasons(SOUND) == []
    assert reasons(SOUND, tip="") == []
    assert reasons({b"meta/etc/%meta": 100}) == []
    assert reasons({b"facts/rules": 30}) == []


def test_a_wrong_date_is_no_ground() -> None:
    for time_ns in (-(10**20), 0, 10**20):
        assert reasons(SOUND, stamp=STAMP._replace(time_ns=time_ns, seq=99)) == []


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"stamp": STAMP._replace(host="web2")}, "host 'web2'"),
        ({"parents": []}, "extend the line"),
        ({"parents": ["cd" * 20]}, "extend the line"),
        ({"parents": [TIP, "cd" * 20]}, "extend the line"),
        ({"branch": "other"}, "branch"),
    ],
)
def test_what_breaks_the_line_is_refused(more: dict[str, object], word: str) -> None:
    found = reasons(SOUND, **more)
    assert len(found) == 1
    assert word in found[0]


def test_a_revision_that_changes_nothing_is_refused() -> None:
    assert reasons({}) == ["it changes nothing"]


def test_a_first_revision_has_no_parent() -> None:
    assert len(reasons(SOUND, tip="", parents=[TIP])) == 1


@pytest.mark.parametrize(
    "path",
    [
        *(b"x", b"files/../x", b"files/etc/.hg/hgrc", b"files/etc//hosts", b".hgsub", b"files/etc/a\nb", b"files/%61"),
        *(b"meta/etc/x", b"meta//%meta", b"facts/", b"files/" + b"x/" * 10_000 + b"x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [5, None])
def test_an_illegal_path_is_refused(path: bytes, size: int | None) -> None:
    found = reasons({path: size})
    assert len(found) == 1
    assert "no legal path" in found[0]
    assert len(found[0]) < 300


def test_all_reasons_are_told_at_once() -> None:
    found = reasons(
        {b"x": 1, b"y": 1, b"files/etc/none": 1}, branch="b", stamp=STAMP._replace(host="x"), parents=[]
    )
    assert len(found) == 6


def test_sizes_have_bounds() -> None:
    limits = Limits(content=10, metadata=100, path=16)
    assert reasons(SOUND, limits=limits) == []
    assert "larger than 10 bytes" in reasons({**SOUND, b"files/etc/hosts": 11}, limits=limits)[0]
    assert "larger than 100 bytes" in reasons({b"meta/etc/%meta": 101}, limits=limits)[0]
    assert "larger than 100 bytes" in reasons({b"facts/x": 101}, limits=limits)[0]
    assert "no legal path" in reasons({b"facts/rules/longer": 5}, limits=limits)[0]


@pytest.mark.parametrize("line", [LINK_LINE, LARGE_LINE])
def test_content_needs_a_line_that_says_it_is_stored(line: bytes) -> None:
    texts = {meta_path(b"/etc"): render_directory({**ETC, b"x": line})}
    assert "content without its metadata" in reasons({b"files/etc/x": 5}, texts)[0]
    assert reasons({b"files/etc/x": None}, texts) == []


def test_content_without_any_line_is_refused() -> None:
    assert "content without its metadata" in reasons({b"files/etc/none": 5})[0]
    assert "content without its metadata" in reasons({b"files/srv/none": 5})[0]
    assert reasons({b"files/srv/none": None}) == []


def test_a_line_without_its_content_is_refused() -> None:
    assert "metadata without its content" in reasons({b"files/etc/hosts": None})[0]


@pytest.mark.parametrize(
    "text",
    [
        b"hosts\tjunk\n",
        b"hosts\t" + FILE_LINE + b"\textra=1\n",
        b"..\t" + FILE_LINE + b"\n",
        b"hosts\t" + FOLDER_LINE + b"\n",
        b".\t" + FILE_LINE + b"\n",
        b"hosts\t" + FILE_LINE + b"\nhosts\t" + FILE_LINE + b"\n",
        b"no line that ends",
        b"hosts\t" + FILE_LINE + b"\n.\t" + FOLDER_LINE + b"\n",
    ],
)
def test_metadata_must_be_in_its_legal_form(text: bytes) -> None:
    found = reasons({b"meta/etc/%meta": len(text)}, {meta_path(b"/etc"): text})
    assert len(found) == 1
    assert found[0].startswith("meta/etc/%meta: ")


@settings(max_examples=66, deadline=None)
@given(st.lists(names, unique=True, min_size=1, max_size=4), names)
def test_whatever_pacha_writes_is_admitted(entries: list[bytes], folder: bytes) -> None:
    directory = b"/" + folder
    text = render_directory({b".": FOLDER_LINE, **dict.fromkeys(entries, FILE_LINE)})
    sizes = {
        meta_path(directory): len(text),
        **{content_path(directory + b"/" + name): 1 for name in entries},
    }
    assert reasons(dict(sizes), {meta_path(directory): text}) == []


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.binary(max_size=30), st.none() | st.integers(0, 9), max_size=3), st.binary(max_size=60)
)
def test_junk_is_judged_without_an_error(sizes: dict[bytes, int | None], text: bytes) -> None:
    found = reasons({**sizes, b"meta/etc/%meta": 5}, {meta_path(b"/etc"): text + b"\n"})
    assert all(isinstance(reason, str) and reason for reason in found)
    assert len(found) >= 1


@pytest.mark.parametrize(
    ("present", "texts", "word"),
    [
        ({b"files/etc/hosts"}, {}, ""),
        (set(), {}, "without its content"),
        ({b"files/etc/hosts", b"meta/etc/hosts/%meta"}, {}, "a directory and something else"),
        ({b"files/etc/hosts"}, {meta_path(b"/"): render_directory({b".": FOLDER_LINE, b"etc": LINK_LINE})}, "else as well"),
        ({b"files/etc/hosts"}, {meta_path(b"/"): b"x\n"}, "malformed"),
    ],
)  # fmt: skip
def test_a_server_refuses_metadata_that_could_not_be_restored(
    present: set[bytes], texts: Texts, word: str
) -> None:
    known = {meta_path(b"/etc"): render_directory(ETC), **texts}
    proposal = Proposal([TIP], "default", STAMP, {b"meta/etc/%meta": 100})
    said = judge(proposal, host="web1", tip=TIP, text_of=known.get, has=present.__contains__)
    assert [word in reason for reason in said] == ([True] if word else [])
