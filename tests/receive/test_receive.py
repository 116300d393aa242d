"""What a push makes of a host, by the real program: files as the deployment says, what people changed kept, and
the history written afterwards.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.core.parcel import Item, Wishes
from tests import needs
from tests.agents import until
from tests.receive.parcels import Target, file, stream


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path)
    yield target
    target.settle()


def messages(host: Target) -> list[tuple[str, str]]:
    """(author, message) of every revision, newest first."""
    return [(r["author"], r["message"]) for r in host.pacha.ok("log")["revisions"]]


# -- live --------------------------------------------------------------------------------------------------------


def test_files_are_as_the_deployment_says(host: Target) -> None:
    host.put("/etc/nginx/nginx.conf", b"old\n").chmod(0o600)
    host.put("/etc/nginx/sites/default", b"it works\n")
    answer = host.receive(
        stream(
            [file("/etc/nginx/nginx.conf", b"new\n", 0o640), file("/opt/shop/conf/a b", b"\0\1", 0o755)],
            items=[
                Item(b"/etc/nginx/on", b"symlink", 0o777, target=b"nginx.conf"),
                Item(b"/srv", b"dir", 0o1770),
            ],
            absent=(b"/etc/nginx/sites", b"/etc/never"),
        )
    )
    assert (answer.code, answer.done["ok"], answer.err) == (0, True, "")
    assert answer.steps == {
        "/etc/nginx/nginx.conf": "replace", "/etc/nginx/on": "create", "/etc/nginx/sites": "remove",
        "/etc/nginx/sites/default": "remove", "/opt": "create", "/opt/shop": "create",
        "/opt/shop/conf": "create", "/opt/shop/conf/a b": "create", "/srv": "create",
    }  # fmt: skip
    assert host.read("/etc/nginx/nginx.conf") == b"new\n"
    assert host.mode("/etc/nginx/nginx.conf") == 0o640
    assert host.read("/opt/shop/conf/a b") == b"\0\1"
    assert os.readlink(host.root / "etc/nginx/on") == "nginx.conf"
    assert (host.mode("/srv"), host.mode("/opt/shop")) == (0o1770, 0o755)
    assert not (host.root / "etc/nginx/sites").exists()
    assert not list(host.root.rglob(".pacha.*"))


def test_nothing_to_change_starts_nothing(host: Target) -> None:
    parcel = stream([file("/etc/a", b"a\n")], hooks={"post-push/10-x": b"echo ran\n"})
    assert host.receive(parcel).done["hooks"] == [{"name": "post-push/10-x", "exit": 0, "output": "ran\n"}]
    host.settle()
    before = host.store_files()
    again = host.receive(parcel)
    assert (again.code, again.steps, again.done["hooks"], again.phases) == (0, {}, [], ["verify", "plan"])
    assert (host.journals, host.store_files()) == ([], before)


def test_another_hook_runs_though_no_file_changes(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")], hooks={"post-push/10-x": b"echo one\n"}))
    answer = host.receive(stream([file("/etc/a", b"a\n")], hooks={"post-push/10-x": b"echo two\n"}))
    assert (answer.steps, answer.done["hooks"][0]["output"]) == ({}, "two\n")


def test_what_the_deployment_does_not_speak_of_stays(host: Target) -> None:
    live = host.put("/etc/a", b"a\n")
    os.utime(live, ns=(1, 1_700_000_000_000_000_000))
    answer = host.receive(stream([file("/etc/a", b"a\n", 0o600)]))
    assert answer.steps == {"/etc/a": "metadata"}
    assert (live.stat().st_mtime_ns, stat.S_IMODE(live.stat().st_mode)) == (1_700_000_000_000_000_000, 0o600)


def test_a_dry_run_shows_all_and_touches_nothing(host: Target) -> None:
    host.put("/etc/a", b"one\ntwo\n")
    parcel = stream(
        [file("/etc/a", b"one\n2\n"), file("/etc/b", b"b\n")],
        wishes=Wishes("anna@hub", dry_run=True), hooks={"pre-push/1": b"exit 1\n"},
    )  # fmt: skip
    answer = host.receive(parcel)
    assert (answer.code, answer.steps) == (0, {"/etc/a": "replace", "/etc/b": "create"})
    diffs = {each["path"]: each["diff"] for each in answer.done["diffs"]}
    assert diffs["/etc/a"] == "--- /etc/a\n+++ /etc/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    assert host.read("/etc/a") == b"one\ntwo\n"
    assert not (host.root / "etc/b").exists()
    assert host.journals == []


# -- what people changed -----------------------------------------------------------------------------------------


def chmod(host: Target) -> None:
    (host.root / "etc/a").chmod(0o666)


def edit(host: Target) -> None:
    host.put("/etc/a", b"a fix by hand\n")


def remove(host: Target) -> None:
    (host.root / "etc/a").unlink()


@pytest.mark.parametrize(
    ("change", "action", "reason"),
    [
        (edit, "replace", "content"),
        (chmod, "replace", "content, mode 0666 → 0644"),
        (remove, "create", f"file 0644 {os.geteuid()}:{os.getegid()}"),
    ],
)
def test_a_manual_fix_is_not_overwritten(host: Target, change: object, action: str, reason: str) -> None:
    host.receive(stream([file("/etc/a", b"a\n"), file("/etc/b", b"b\n")]))
    host.settle()
    change(host)  # type: ignore[operator]
    answer = host.receive(stream([file("/etc/a", b"newer\n"), file("/etc/b", b"newer\n")]))
    assert (answer.code, answer.done["error"]["kind"]) == (1, "changed")
    assert answer.done["edited"] == [
        {
            "path": "/etc/a",
            "action": action,
            "reason": reason,
            "deployment": None,
            "lost": None,
            "revision": None,
            "author": None,
            "time_ns": None,
        }
    ]
    assert host.read("/etc/b") == b"b\n"
    if change is edit:
        assert host.read("/etc/a") == b"a fix by hand\n"
        assert "-a fix by hand\n+newer\n" in answer.done["diffs"][0]["diff"]
    forced = host.receive(
        stream(
            [file("/etc/a", b"newer\n"), file("/etc/b", b"newer\n")], wishes=Wishes("anna@hub", force=True)
        )
    )
    assert forced.code == 0
    assert host.read("/etc/a") == b"newer\n"


def test_what_another_deployment_delivers_is_not_overwritten(host: Target) -> None:
    shared, own = file("/etc/shared", b"base\n"), file("/etc/own", b"own\n")
    host.receive(stream([shared], name="base"))
    host.settle()
    assert host.receive(stream([shared, own], name="web")).code == 0, "they agree on it"
    other = file("/etc/shared", b"web\n")
    answer = host.receive(stream([other], name="base"))
    assert (answer.code, answer.done["error"]["kind"]) == (1, "changed")
    assert "is delivered by another deployment, web" in answer.done["error"]["message"]
    (edited,) = answer.done["edited"]
    assert (edited["path"], edited["deployment"]) == ("/etc/shared", "web")
    assert edited["author"] == "anna@hub"
    assert host.read("/etc/shared") == b"base\n"
    force = Wishes("anna@hub", force=True)
    assert host.receive(stream([other], name="base", wishes=force)).code == 0
    host.settle()
    newer = file("/etc/shared", b"newer\n")
    assert host.receive(stream([newer], name="base")).code == 0, "it is base's from now on"
    assert host.receive(stream([shared, own], name="web")).code == 1
    assert host.read("/etc/shared") == b"newer\n"


def test_what_was_forced_over_is_in_the_history(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")]))
    host.settle()
    host.put("/etc/a", b"by hand\n")
    host.receive(stream([file("/etc/a", b"newer\n")], wishes=Wishes("anna@hub", force=True)))
    made, found = host.pacha.ok("log", "/etc/a", "-n", "2")["revisions"]
    assert host.pacha.ok("cat", "/etc/a", "--at", made["id"])["content"] == "newer\n"
    assert host.pacha.ok("cat", "/etc/a", "--at", found["id"])["content"] == "by hand\n"


def test_what_came_back_after_a_deployment_removed_it_is_somebodys(host: Target) -> None:
    host.put("/etc/a", b"a\n")
    assert host.receive(stream(absent=(b"/etc/a",))).steps == {"/etc/a": "remove"}
    host.put("/etc/a", b"again\n")
    answer = host.receive(stream(absent=(b"/etc/a",)))
    assert answer.done["error"]["kind"] == "changed"


def test_a_fix_that_is_in_the_deployment_by_now_is_no_conflict(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")]))
    host.put("/etc/a", b"fixed\n")
    answer = host.receive(stream([file("/etc/a", b"fixed\n")]))
    assert (answer.code, answer.steps) == (0, {})


def test_the_next_push_knows_what_the_last_one_wrote_before_that_is_recorded(host: Target) -> None:
    for number in range(4):
        answer = host.receive(stream([file("/etc/a", b"%d\n" % number)]))
        assert answer.code == 0, answer
    assert [message for _, message in messages(host)][:2] == ["push of web", "push of web"]


def test_what_was_written_is_known_though_the_receiver_died_right_after_it(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"1\n")]))
    record = host.pacha.state / "deployed/web"
    before = record.read_bytes()
    host.settle()
    assert host.receive(stream([file("/etc/a", b"2\n")])).code == 0
    record.write_bytes(before)  # as if it had not come to that
    assert host.receive(stream([file("/etc/a", b"3\n")])).code == 0


def test_a_push_does_not_wait_until_another_is_recorded(host: Target) -> None:
    host.put("/etc/a", b"0\n")
    host.pacha.ok("watch", "/etc/a")
    with (host.pacha.state / "lock").open("a") as lock:  # as who records it holds
        fcntl.flock(lock, fcntl.LOCK_EX)
        for number in range(1, 4):
            assert host.receive(stream([file("/etc/a", b"%d\n" % number)])).code == 0
    newest = [host.pacha.ok("log")["revisions"][n]["id"] for n in range(4)]
    assert [host.pacha.ok("cat", "/etc/a", "--at", each)["content"] for each in newest] == [
        "3\n", "2\n", "1\n", "0\n",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["capture", "status"])
def test_what_is_watched_only_since_a_command_began_is_not_taken_for_removed(host: Target, verb: str) -> None:
    """It waits while another records two pushes, the second of which is watched only then."""
    slow = host.pacha.config.parent / "hooks/pre-capture/10-slow"
    slow.parent.mkdir(parents=True)
    host.put("/etc/hosts", b"")
    for path in ("/etc/a", "/etc/b"):
        assert host.receive(stream([file(path, b"1\n")])).code == 0
    slow.write_text("#!/bin/sh\nsleep 1.5\n")
    slow.chmod(0o755)
    recording = host.pacha.start("log")
    until(lambda: "/etc/a" in host.pacha.config.read_text())
    assert "/etc/b" not in host.pacha.config.read_text()
    found = host.pacha.ok(verb)
    assert host.pacha.finish(recording).code == 0
    assert found["pending" if verb == "status" else "changed"] == []


def test_a_push_that_waits_to_be_recorded_is_no_trouble(host: Target) -> None:
    assert host.receive(stream([file("/etc/a", b"1\n")])).code == 0
    assert host.journals
    checks = {check["name"]: check for check in host.pacha.ok("doctor")["checks"]}
    assert checks["left behind"]["state"] == "ok"


# -- the history -------------------------------------------------------------------------------------------------


def test_the_history_has_what_was_there_and_what_was_made(host: Target) -> None:
    host.put("/etc/a", b"old\n")
    answer = host.receive(stream([file("/etc/a", b"new\n"), file("/opt/b", b"b\n")], revision="3f2a"))
    assert answer.done["revision"] is None  # nothing of Mercurial's before the answer
    assert messages(host) == [("anna@hub", "push of web 3f2a"), ("anna@hub", "before the push of web 3f2a")]
    made, found = host.pacha.ok("log")["revisions"]
    assert (made["cause"], found["cause"]) == ("push", "push")
    assert {each["path"]: each["change"] for each in found["paths"]} == {"/etc/a": "added"}
    assert {each["path"]: each["change"] for each in made["paths"]} == {
        "/etc/a": "modified", "/opt": "added", "/opt/b": "added",
    }  # fmt: skip
    assert host.pacha.ok("cat", "/etc/a", "--at", found["id"])["content"] == "old\n"
    assert host.pacha.ok("status")["pending"] == []
    assert [each["path"] for each in host.pacha.ok("status")["watches"]] == ["/etc/a", "/opt"]
    assert host.journals == []
    assert host.pacha.ok("verify")["ok"]


def test_it_is_recorded_though_nobody_asks(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")]))
    until(lambda: not host.journals)
    assert (host.pacha.store / ".hg").is_dir()


def test_what_changed_since_the_push_is_a_revision_of_its_own(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")]))
    host.put("/etc/a", b"by hand\n")
    captured = host.pacha.ok("capture")
    assert captured["changed"] == [{"path": "/etc/a", "change": "modified"}]
    newest, pushed = host.pacha.ok("log", "/etc/a")["revisions"]
    assert (newest["cause"], pushed["message"]) == ("capture", "push of web")
    assert host.pacha.ok("cat", "/etc/a", "--at", pushed["id"])["content"] == "a\n"


def test_a_push_can_be_rolled_back(host: Target) -> None:
    host.put("/etc/a", b"old\n")
    host.receive(stream([file("/etc/a", b"new\n")]))
    found = host.pacha.ok("log")["revisions"][1]
    host.pacha.ok("rollback", "/etc/a", "--to", found["id"], "-y")
    assert host.read("/etc/a") == b"old\n"


def test_hooks_and_their_output_are_kept_with_the_revision(host: Target) -> None:
    host.receive(stream([file("/etc/a", b"a\n")], hooks={"post-push/10-x": b"echo reloaded\n"}))
    (made,) = host.pacha.ok("log", "-n", "1")["revisions"]
    assert made["hooks"] == [{"name": "post-push/10-x", "exit": 0, "output": "reloaded"}]


def test_a_file_larger_than_the_limit_is_recorded_by_its_digest(tmp_path: Path) -> None:
    host = Target(tmp_path, settings='[capture]\nmax_file_size = "1KB"\n')
    host.receive(stream([file("/etc/large", b"x" * 2000)]))
    assert host.receive(stream([file("/etc/large", b"y" * 2000)])).code == 0
    assert messages(host)[0][1] == "push of web"
    assert host.pacha.ok("status")["pending"] == []


def test_secrets_are_encrypted_in_the_journal_and_in_the_history(tmp_path: Path) -> None:
    host = Target(tmp_path, settings='[secrets]\npaths = ["/etc/key"]\n')
    host.put("/etc/key", b"the old secret\n")
    answer = host.receive(stream([file("/etc/key", b"the new secret\n", 0o600)]))
    assert (answer.code, host.read("/etc/key")) == (0, b"the new secret\n")
    kept = b"".join(path.read_bytes() for path in host.pacha.state.rglob("*") if path.is_file())
    assert b"secret\n" not in kept
    shown = host.receive(stream([file("/etc/key", b"another\n", 0o600)], wishes=Wishes("a", dry_run=True)))
    assert shown.done["diffs"] == [{"path": "/etc/key", "diff": "content not shown, as [secrets] says\n"}]
    assert host.pacha.ok("cat", "/etc/key")["content"] == "the new secret\n"
    assert host.receive(stream([file("/etc/key", b"the new secret\n", 0o600)])).steps == {}


# -- who ---------------------------------------------------------------------------------------------------------


@needs.root
def test_owners_are_by_name_or_by_number(host: Target) -> None:
    host.put("/etc/passwd", b"www:x:4711:4712::/:/bin/sh\n")
    host.put("/etc/group", b"www:x:4712:\n")
    answer = host.receive(
        stream(
            [
                file("/etc/a", b"a", user="www", group="www"),
                file("/etc/b", b"b", user="99"),
                file("/etc/c", b"c"),
            ]
        )
    )
    assert answer.code == 0
    owners = {name: (host.root / "etc" / name).stat() for name in "abc"}
    assert {name: (s.st_uid, s.st_gid) for name, s in owners.items()} == {
        "a": (4711, 4712), "b": (99, 0), "c": (0, 0),
    }  # fmt: skip


def test_an_account_that_is_not_there_is_told_before_anything_is_done(host: Target) -> None:
    answer = host.receive(stream([file("/etc/a", b"a"), file("/etc/b", b"b", user="nobody-here")]))
    assert (answer.done["error"]["kind"], answer.done["error"]["message"]) == (
        "refused", "there is no user nobody-here here",
    )  # fmt: skip
    assert not (host.root / "etc").exists()


def test_the_second_of_two_is_told_who_is_at_work(host: Target) -> None:
    slow = stream([file("/etc/a", b"a\n")], hooks={"pre-push/1": b"touch $PACHA_ROOT/at-work; sleep 6\n"})
    first = host.start()
    assert first.stdin is not None
    first.stdin.write(slow)
    first.stdin.close()
    until((host.root / "at-work").exists)
    second = host.receive(stream([file("/etc/a", b"b\n")], wishes=Wishes("ben@laptop")))
    assert (second.code, second.done["error"]["kind"]) == (5, "busy")
    assert "web, pushed by anna@hub" in second.done["error"]["message"]
    assert first.stdout is not None
    assert json.loads(first.stdout.read().splitlines()[-1])["ok"]
    assert first.wait() == 0
    assert host.read("/etc/a") == b"a\n"


def test_a_hook_that_says_much_is_streamed_up_to_a_bound(host: Target) -> None:
    hooks = {"pre-push/1": b"echo before\n", "post-push/1": b"seq 1 50000\n", "post-push/2": b"echo after\n"}
    answer = host.receive(stream([file("/etc/a", b"a\n")], hooks=hooks))
    assert answer.code == 0
    said = [line["line"] for line in answer.lines if line.get("hook") == "post-push/1"]
    assert said[:-1] == [str(number) for number in range(1, 1001)]
    assert "left out" in said[-1]
    assert [line["line"] for line in answer.lines if line.get("hook") == "post-push/2"] == ["after"]
    kept = {hook["name"]: hook["output"] for hook in answer.done["hooks"]}
    assert kept["post-push/1"].endswith("49999\n50000\n"), "the end is kept with the result"
    assert answer.done["notes"] == []
