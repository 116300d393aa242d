"""What a push takes away is never lost: it is put back as it was, or is in the history, or nothing is done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.core.parcel import Wishes
from tests import needs
from tests.receive.parcels import Target, file, stream


@pytest.fixture
def host(tmp_path: Path) -> Target:
    return Target(tmp_path)


# -- what lies below another mount -----------------------------------------------------------------------------


@pytest.fixture
def mounted(host: Target) -> Iterator[Path]:
    """A file system of its own below a folder in which a push changes something, too."""
    place = host.root / "srv/data"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        host.put("/srv/conf", b"old\n")
        host.put("/srv/data/conf", b"precious\n")
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


BOTH = [file("/srv/conf", b"new\n"), file("/srv/data/conf", b"new\n")]


@needs.root
@pytest.mark.parametrize("code", [0, 1])
def test_a_file_system_below_is_tried_and_not_touched(host: Target, mounted: Path, code: int) -> None:
    look = b"cd $PACHA_ROOT/srv && cat conf data/conf; exit %d\n" % code
    answer = host.receive(stream(BOTH, hooks={"check/1": look}))
    assert answer.done["hooks"][0]["output"] == "new\nnew\n"
    assert answer.done["preflight"] == "done"
    wanted = b"precious\n" if code else b"new\n"
    assert ((mounted / "conf").read_bytes(), answer.code) == (wanted, code)


@needs.root
def test_what_a_check_hook_writes_below_another_mount_is_nowhere(host: Target, mounted: Path) -> None:
    hooks = {"check/1": b"echo x > $PACHA_ROOT/srv/data/scratch; exit 0\n"}
    assert host.receive(stream(BOTH[:1], hooks=hooks)).code == 0
    assert not (mounted / "scratch").exists()


# -- what cannot be put back ---------------------------------------------------------------------------------------


@needs.root
def test_what_is_not_put_back_is_said_and_the_next_push_waits_for_it(host: Target) -> None:
    host.put("/etc/a", b"old\n")
    host.put("/etc/b", b"old\n")
    hook = b"chattr +i $PACHA_ROOT/etc/a; exit 3\n"
    files = [file("/etc/a", b"new\n"), file("/etc/b", b"new\n")]
    try:
        host.pacha.ok("watch", "/etc")
        answer = host.receive(stream(files, hooks={"post-push/1": hook}))
        assert (answer.code, answer.done["reverted"]) == (1, False)
        assert "NOT everything could be put back: /etc/a: " in answer.done["error"]["message"]
        assert (host.read("/etc/a"), host.read("/etc/b")) == (b"new\n", b"old\n")

        later = host.receive(stream([file("/etc/b", b"later\n")]))
        assert later.code == 1
        assert "not wholly undone: /etc/a" in later.done["error"]["message"]
        assert host.read("/etc/b") == b"old\n"
        assert host.pacha.run("capture").code == 0
        back = host.pacha.run("rollback", "/etc", "--to", "1s", "-y")
        assert (back.code, "not wholly undone" in back.err) == (1, True), back
    finally:
        subprocess.run(["chattr", "-i", host.root / "etc/a"], check=True)
    assert host.receive(stream([file("/etc/b", b"later\n")])).code == 0
    host.settle()
    assert (host.read("/etc/a"), host.read("/etc/b")) == (b"old\n", b"later\n")


@pytest.mark.parametrize("how", ["replaced", "absent", "both absent", "in a folder that goes"])
@pytest.mark.parametrize("by", ["receiver", "next command"])
def test_names_of_one_file_are_names_of_one_file_again(host: Target, how: str, by: str) -> None:
    first = host.put("/etc/a.conf", b"old\n")
    second = host.put("/etc/sub/b.conf", b"")
    second.unlink()
    second.hardlink_to(first)
    was = (first.stat().st_ino, first.stat().st_mtime_ns)
    files, absent = {
        "replaced": ([file("/etc/a.conf", b"new\n")], ()),
        "absent": ([], (b"/etc/a.conf",)),
        "both absent": ([], (b"/etc/a.conf", b"/etc/sub/b.conf")),
        "in a folder that goes": ([], (b"/etc/sub",)),
    }[how]
    hook = b"exit 7\n" if by == "receiver" else b"kill -9 $PPID; sleep 1\n"
    assert host.begin(stream(files, absent=absent, hooks={"post-push/1": hook})).wait(20) != 0
    host.pacha.run("status")
    for path in (first, second):
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == was
        assert path.read_bytes() == b"old\n"
        assert path.stat().st_nlink == 2


def test_after_a_push_nothing_of_the_old_file_is_left(host: Target) -> None:
    first = host.put("/etc/a.conf", b"old\n")
    (host.root / "etc/b.conf").hardlink_to(first)
    assert host.receive(stream([file("/etc/a.conf", b"new\n")])).code == 0
    assert first.stat().st_nlink == (host.root / "etc/b.conf").stat().st_nlink == 1
    assert not list((host.root / "etc").glob(".pacha.*"))


# -- what would be lost ------------------------------------------------------------------------------------------


def test_what_is_taken_away_is_in_the_history(host: Target) -> None:
    host.put("/opt/app/conf", b"precious\n")
    host.put("/etc/x", b"precious too\n")
    assert host.receive(stream(absent=(b"/opt/app", b"/etc/x"))).code == 0
    for top, path, content in (
        ("/opt/app", "/opt/app/conf", "precious\n"),
        ("/etc/x", "/etc/x", "precious too\n"),
    ):
        newest = host.pacha.ok("log", path)["revisions"]
        assert host.pacha.run("cat", path, "--at", newest[-1]["id"]).out == content
        host.pacha.ok("rollback", top, "--to", newest[-1]["id"], "-y")
        assert host.read(path).decode() == content
    assert host.receive(stream(absent=(b"/opt/app", b"/etc/x"), wishes=Wishes(force=True))).code == 0
    assert host.pacha.run("status", "--check").code == 0


@pytest.mark.parametrize("why", ["ignored", "large"])
def test_what_no_history_has_is_not_lost_without_force(host: Target, why: str) -> None:
    if why == "ignored":
        host.put("/etc/app/conf", b"precious\n")
        config = host.pacha.config
        config.write_text(config.read_text() + 'watch = ["/etc"]\nignore = ["/etc/app/**"]\n')
        path, said = "/etc/app/conf", "is ignored here"
    else:
        host.put("/etc/app/jar", b"x" * 11_000_000)
        path, said = "/etc/app/jar", "is larger than max_file_size"
    old = host.read(path)
    for parcel in (stream([file(path, b"new\n")]), stream(absent=(path.encode(),))):
        answer = host.receive(parcel)
        assert (answer.code, answer.done["error"]["kind"]) == (1, "changed")
        assert f"{path} {said}" in answer.done["error"]["message"]
        assert host.read(path) == old
    assert host.receive(stream([file(path, b"new\n")], wishes=Wishes(force=True))).code == 0
    assert host.receive(stream([file(path, b"newer\n")])).code == 0  # its own by now
    assert host.read(path) == b"newer\n"


def test_a_fix_by_hand_is_seen_where_the_deployment_had_left_the_path(host: Target) -> None:
    both = [file("/etc/a", b"1\n"), file("/etc/b", b"1\n")]
    assert host.receive(stream(both)).code == 0
    assert host.receive(stream(both[:1])).code == 0
    host.put("/etc/b", b"by hand\n")
    answer = host.receive(stream(both))
    assert (answer.code, answer.done["error"]["kind"]) == (1, "changed")
    assert host.read("/etc/b") == b"by hand\n"


def test_a_name_that_no_configuration_can_hold_blocks_nothing(host: Target) -> None:
    item, data = file("/etc/good", b"x\n")
    odd = item._replace(path=b"/etc/bad\xff")
    answer = host.receive(stream([(item, data), (odd, data)]))
    assert answer.code == 0
    told = host.pacha.run("status")
    assert told.code == 0
    assert host.pacha.ok("log", "/etc/good")["revisions"]
    assert (host.root / os.fsdecode(b"etc/bad\xff")).read_bytes() == b"x\n"


def test_a_mode_beside_an_access_list_is_recorded_as_it_is(host: Target) -> None:
    path = host.put("/etc/a", b"x\n")
    subprocess.run(["setfacl", "-m", "u:1000:rw", path], check=True)
    assert host.receive(stream([file("/etc/a", b"y\n", 0o640)])).code == 0
    host.settle()
    assert host.pacha.ok("status")["pending"] == []
    assert host.pacha.run("verify").code == 0


def test_where_signatures_are_asked_for_nothing_unsigned_is_taken(host: Target) -> None:
    config = host.pacha.config
    config.write_text(config.read_text() + '[push]\nallowed_signers = "/etc/allowed"\n')
    answer = host.receive(stream([file("/etc/a", b"x\n")]))
    assert (answer.code, answer.done["error"]["kind"]) == (1, "refused")
    assert not (host.root / "etc/a").exists()
