"""Rebuilding from a store that somebody made for it: nothing outside the root is touched, and it is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pacha.core.revision import Stamp
from tests import needs
from tests.adapters import stores
from tests.command import Pacha, spoke_plainly
from tests.oracle import compare, save_twin
from tests.rebuild.machines import Machine

pytestmark = [needs.root, needs.tools]

OWNER = b"owner=root:0\tgroup=root:0"
DIR = b".\tdir\tmode=0755\t" + OWNER + b"\n"
RULES = b"watch /etc\nsize 10000000\n"


def file_line(
    name: bytes, data: bytes, more: bytes = b"", mode: bytes = b"0644", owner: bytes = OWNER
) -> bytes:
    digest = hashlib.sha256(data).hexdigest().encode()
    return b"%s\tfile\tmode=%s\t%s\tmtime=1700000000.000000000\tsha256=%s%s\n" % (
        name,
        mode,
        owner,
        digest,
        more,
    )


DATA = b"evil\n"
GOOD = file_line(b"zz", DATA)


def made(place: Path, contents: dict[bytes, bytes]) -> Path:
    """A store of host web1 with one revision of these store paths, which nobody admitted."""
    store = stores.made(place)
    stamp = Stamp("web1", "m", 1, stores.TIME_NS, "capture")
    stores.commit(store, {b"facts/rules": RULES, **contents}, stamp=stamp)
    store.close()
    return place


def etc(*lines: bytes, **files: bytes) -> dict[bytes, bytes]:
    return {
        b"meta/etc/%meta": DIR + b"".join(lines),
        **{b"files/etc/" + n.encode(): d for n, d in files.items()},
    }


def other(name: bytes, kind: bytes, more: bytes, time: bytes = b"1700000000.000000000") -> bytes:
    return b"%s\t%s\tmode=0777\t%s\tmtime=%s\t%s\n" % (name, kind, OWNER, time, more)


BELOW = {b"meta/etc/nginx/%meta": DIR + file_line(b"x", DATA), b"files/etc/nginx/x": DATA}
REFUSED = {
    "a path with ..": {
        b"meta/etc/../../out/%meta": DIR + file_line(b"x", DATA),
        b"files/etc/../../out/x": DATA,
    },
    "a content with ..": {**etc(GOOD, zz=DATA), b"files/../out/x": DATA},
    "another spelling of a path": {**etc(GOOD, zz=DATA), b"files/etc/%2e%2e/x": DATA},
    "a line that is none": etc(b"x\tfile\tmode=0644\n"),
    "a pattern that is none": {**etc(GOOD, zz=DATA), b"facts/rules": b"ignore a[\n" + RULES},
    "a mode below nothing": etc(file_line(b"x", DATA, mode=b"-1"), GOOD, x=DATA, zz=DATA),
    "a name with ..": etc(file_line(b"..", DATA)),
    "a number that is none": etc(file_line(b"x", DATA, owner=b"owner=root:zero\tgroup=root:0"), x=DATA),
    "rules that are none": {**etc(GOOD, zz=DATA), b"facts/rules": b"watch /\nrun /bin/sh\n"},
    "a rule for a path with ..": {**etc(GOOD, zz=DATA), b"facts/rules": b"watch ../..\n" + RULES},
    "a rule that is not clean": {**etc(GOOD, zz=DATA), b"facts/rules": b"watch /srv//x\n" + RULES},
    "a configuration elsewhere": {**etc(GOOD, zz=DATA), b"facts/rules": b"own /etc/../../out\n" + RULES},
    "what is owed in no form": {**etc(GOOD, zz=DATA), b"facts/owed": b"aim ../../etc\nsince 1\n"},
    "facts that are none": {**etc(GOOD, zz=DATA), b"facts/packages/apt": b"--option 1.0\n"},
    "a wish that is an option": {**etc(GOOD, zz=DATA), b"facts/wanted": b"-oDir=/tmp\n"},
    "a link that is a directory, too": {**etc(other(b"nginx", b"symlink", b"target=/x"), GOOD, zz=DATA), **BELOW},
    "the same without a time": {**etc(other(b"nginx", b"symlink", b"target=/x", b"1.0"), GOOD, zz=DATA), **BELOW},
    "a file above a directory": {**etc(file_line(b"a", DATA), a=DATA), b"meta/etc/a/b/%meta": DIR},
    "a directory in another place": etc(b"x\tdir\tmode=0755\t" + OWNER + b"\n", GOOD, zz=DATA),
    "a directory that is none": {**etc(GOOD, zz=DATA), b"meta/etc/x/%meta": DIR.replace(b"dir", b"fifo")},
    "a target that the system has not": etc(other(b"x", b"symlink", b"target=a%00b"), GOOD, zz=DATA),
    "an access list that is none": etc(file_line(b"x", DATA, b"\tacl=u::rwx,all"), GOOD, x=DATA, zz=DATA),
    "a line outside its rules": {**etc(GOOD, zz=DATA), b"meta/srv/%meta": DIR + b"x\tfile\tmode=0644\n"},
}  # fmt: skip


@pytest.mark.parametrize("contents", REFUSED.values(), ids=REFUSED)
def test_a_store_that_makes_no_sense_is_refused_whole(tmp_path: Path, contents: dict[bytes, bytes]) -> None:
    source = made(tmp_path / "evil", contents)
    fresh = Machine(tmp_path / "place" / "fresh", None, {"/etc/hosts": "fresh\n"})
    save_twin(tmp_path / "place", tmp_path / "twin")
    for words in (("-n",), ()):
        result = fresh.rebuild(source, *words)
        assert result.code == 1 and spoke_plainly(result) == [], result
        assert result.json["error"]["kind"] in ("damaged", "refused")
    assert compare(tmp_path / "twin" / "fresh" / "root", fresh.root) == []
    assert compare(tmp_path / "twin/fresh/pacha/conf", fresh.pacha.config.parent) == []
    assert not fresh.pacha.store.exists()
    assert not (tmp_path / "place" / "out").exists()


def test_what_stands_last_is_looked_at_wherever_it_goes_to(tmp_path: Path) -> None:
    """The machine goes on from there: nothing could be captured on such a state."""
    store = stores.made(tmp_path / "evil")
    link = other(b"nginx", b"symlink", b"target=/x", b"1.0")
    good = {b"facts/rules": RULES, **etc(GOOD, zz=DATA), **BELOW}
    revisions = [(1, good, "capture"), (2, etc(link, GOOD), "before-rebuild")]
    for number, contents, cause in revisions:
        stamp = Stamp("web1", "m", number, stores.TIME_NS + number, cause)
        stores.commit(store, contents, stamp=stamp)
    store.close()
    fresh = Machine(tmp_path / "fresh", None)
    result = fresh.rebuild(tmp_path / "evil")
    assert (result.code, result.json["error"]["kind"]) == (1, "damaged"), result
    assert not fresh.has("/etc") and not fresh.pacha.store.exists()


def test_a_rehearsal_is_told_the_same(tmp_path: Path, pacha: Pacha) -> None:
    """And the name of a system is none of a script anywhere on the disk."""
    facts = {b"facts/os": b"id debian\ncodename ../../../../tmp/x\n"}
    source = made(tmp_path / "evil", {**etc(GOOD, zz=DATA), **facts})
    result = pacha.run("rebuild", "--from", source, "--rehearse", "--json")
    assert (result.code, result.json["error"]["kind"]) == (1, "failed"), result
    assert "debootstrap" in result.json["error"]["message"]
    bad = made(tmp_path / "worse", {**etc(GOOD, zz=DATA), b"facts/packages/apt": b"- 1\n"})
    result = pacha.run("rebuild", "--from", bad, "--rehearse", "--json")
    assert (result.code, result.json["error"]["kind"]) == (1, "damaged"), result


PARTLY = {
    "a device": etc(b"sda\tblock\tmode=0666\t" + OWNER + b"\tmtime=1700000000.000000000\tdevice=8:0\n", GOOD, zz=DATA),
    "content that is another": etc(file_line(b"x", b"other"), GOOD, x=DATA, zz=DATA),
    "setuid for nobody": etc(file_line(b"x", DATA, mode=b"4755", owner=b"owner=:4711\tgroup=root:0"), GOOD, x=DATA, zz=DATA),
    "a link to a file outside": etc(file_line(b"x", DATA, b"\tlink=/../../outside/victim"), GOOD, x=DATA, zz=DATA),
    "a size beyond all": etc(b"x\tfile\tmode=0644\t" + OWNER + b"\tmtime=1700000000.000000000\tsize=9%s\n" % (b"9" * 30), GOOD, zz=DATA),
    "a time beyond all": etc(b"x\tfifo\tmode=0644\t" + OWNER + b"\tmtime=9%s.000000000\n" % (b"9" * 25), GOOD, zz=DATA),
    "an owner beyond all": etc(file_line(b"x", DATA, owner=b"owner=:4294967296\tgroup=root:0"), GOOD, x=DATA, zz=DATA),
}  # fmt: skip


@pytest.mark.parametrize("contents", PARTLY.values(), ids=PARTLY)
def test_what_must_not_be_made_is_named_and_the_rest_is_done(
    tmp_path: Path, contents: dict[bytes, bytes]
) -> None:
    source = made(tmp_path / "evil", contents)
    fresh = Machine(tmp_path / "fresh", None)
    fresh.accounts(users={})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").write_text("untouched\n")
    result = fresh.rebuild(source)
    assert result.code == 3, result
    assert "Traceback" not in result.err
    assert fresh.read("/etc/zz") == "evil\n"
    bad = [step for step in result.json["steps"] if not step["ok"]] + result.json["left"]
    assert {step["path"] for step in bad} <= {"/etc/sda", "/etc/x"} and bad, result
    assert (tmp_path / "outside" / "victim").read_text() == "untouched\n"


def test_a_symlink_is_never_a_parent(tmp_path: Path) -> None:
    """Both are said to be at /etc/x: a link that leads out, and a directory with a file."""
    (tmp_path / "outside").mkdir()
    target = str(tmp_path / "outside").encode()
    link = b"x\tsymlink\tmode=0777\t" + OWNER + b"\tmtime=1700000000.000000000\ttarget=" + target + b"\n"
    contents = {**etc(link), b"meta/etc/x/%meta": DIR + file_line(b"y", DATA), b"files/etc/x/y": DATA}
    fresh = Machine(tmp_path / "fresh", None, {"/etc/hosts": "fresh\n"})
    result = fresh.rebuild(made(tmp_path / "evil", contents))
    assert "Traceback" not in result.err
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_that_is_there_already_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    contents = {
        **etc(GOOD, zz=DATA),
        b"meta/etc/x/%meta": DIR + file_line(b"y", DATA),
        b"files/etc/x/y": DATA,
    }
    fresh = Machine(tmp_path / "fresh", None, {"/etc/hosts": "fresh\n"})
    (fresh.root / "etc" / "x").symlink_to(tmp_path / "outside")
    result = fresh.rebuild(made(tmp_path / "evil", contents))
    assert list((tmp_path / "outside").iterdir()) == []
    assert result.code == 0 and fresh.read("/etc/x/y") == "evil\n"
