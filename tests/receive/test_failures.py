"""A push that fails leaves the tree as it was, by the oracle: hooks that say no, or never end, services that do
not start, disks that are full.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pacha.core.parcel import Item, Unit, Wishes
from tests import needs
from tests.agents import until
from tests.faults.loopfs import loop_fs
from tests.oracle import compare, save_twin
from tests.receive.parcels import Answer, Target, file, stream

FILES = [
    file("/etc/nginx/nginx.conf", b"new\n", 0o640),
    file("/etc/nginx/extra/more.conf", b"more\n"),
    file("/opt/app/run", b"#!/bin/sh\n", 0o755),
]
MORE = {
    "items": [
        Item(b"/etc/nginx/on", b"symlink", 0o777, target=b"nginx.conf"),
        Item(b"/etc/was-a-file", b"dir", 0o750),
    ],
    "absent": (b"/etc/nginx/sites",),
}


@pytest.fixture
def host(tmp_path: Path) -> Target:
    """A host with something of each kind in the way."""
    target = Target(tmp_path, settings='[hooks]\ntimeout = "1s"\n')
    target.put("/etc/nginx/nginx.conf", b"old\n").chmod(0o600)
    target.put("/etc/nginx/on", b"a file where a link is to be\n")
    target.put("/etc/was-a-file", b"a file where a directory is to be\n")
    target.put("/etc/nginx/sites/default", b"it works\n")
    target.put("/etc/nginx/sites/deeper/x", b"x\n")
    os.utime(target.root / "etc/nginx/nginx.conf", ns=(1, 1_600_000_000_123_456_789))
    return target


@contextmanager
def unchanged(host: Target) -> Iterator[None]:
    """What is done meanwhile leaves the whole tree as it is."""
    twin = host.place / "twin"
    save_twin(host.root, twin)
    yield
    assert compare(twin, host.root) == []
    assert host.journals == []


def failed(answer: Answer, kind: str, phase: str) -> None:
    assert (answer.code, answer.done["ok"]) == (1, False), answer
    assert (answer.done["error"]["kind"], answer.done["step"]) == (kind, phase), answer


@needs.tools
@pytest.mark.parametrize(("moment", "reverted"), [("pre-push", False), ("check", False), ("post-push", True)])
def test_a_hook_that_fails_leaves_the_tree_as_it_was(host: Target, moment: str, reverted: bool) -> None:
    with unchanged(host):
        answer = host.receive(stream(FILES, hooks={f"{moment}/10-no": b"echo no way; exit 3\n"}, **MORE))
        failed(answer, "hook", moment)
    assert answer.done["hooks"] == [{"name": f"{moment}/10-no", "exit": 3, "output": "no way\n"}]
    assert (answer.done["steps"], answer.done["reverted"]) == ([], reverted)


@needs.tools
def test_a_hook_that_hangs_is_ended_and_everything_put_back(host: Target) -> None:
    with unchanged(host):
        answer = host.receive(stream(FILES, hooks={"post-push/10-hang": b"sleep 60\n"}, **MORE))
        failed(answer, "hook", "post-push")
    assert "longer than 1 seconds" in answer.done["hooks"][0]["output"]


@needs.tools
def test_what_a_failing_hook_did_to_deployed_files_is_put_back_and_kept(host: Target) -> None:
    hooks = {"post-push/10-no": b"echo meddled >$PACHA_ROOT/etc/nginx/nginx.conf; exit 1\n"}
    with unchanged(host):
        failed(host.receive(stream(FILES, hooks=hooks)), "hook", "post-push")
    undone = host.pacha.ok("log")["revisions"][-1]
    assert undone["message"].startswith("before undoing the push of web")
    content = host.pacha.ok("cat", "/etc/nginx/nginx.conf", "--at", undone["id"])["content"]
    assert content == "meddled\n"


def test_on_failure_hooks_are_told_what_failed(host: Target) -> None:
    hooks = {"post-push/1": b"exit 1\n", "on-failure/1": b"cat >$PACHA_ROOT/told\n"}
    host.receive(stream(FILES, hooks=hooks))
    told = (host.root / "told").read_text()
    assert '"operation": "push"' in told
    assert '"phase": "post-push"' in told


def test_the_hosts_own_hooks_say_no_too(host: Target) -> None:
    hook = host.pacha.config.parent / "hooks/check/10-freeze"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\necho frozen; exit 1\n")
    for path in (hook, hook.parent, hook.parent.parent):
        path.chmod(0o755)
    failed(host.receive(stream(FILES)), "hook", "check")


# -- before it is live -------------------------------------------------------------------------------------------


@needs.root
def test_check_hooks_see_the_new_tree_whole(host: Target) -> None:
    mounted = host.root / "etc/nginx/mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=True)
    try:
        (mounted / "inside").write_text("bound back\n")
        script = b"""cd $PACHA_ROOT/etc/nginx && cat nginx.conf extra/more.conf mounted/inside && readlink on && ls sites
ls -d $PACHA_ROOT/opt/app/run
exit 7
"""
        answer = host.receive(stream(FILES, hooks={"check/10-look": script}, **MORE))
    finally:
        subprocess.run(["umount", mounted], check=True)
    (hook,) = answer.done["hooks"]
    assert hook["exit"] == 7
    seen = hook["output"].splitlines()
    assert seen[:4] == ["new", "more", "bound back", "nginx.conf"]
    assert "No such file" in seen[4]
    assert seen[5].endswith("/opt/app/run")
    assert answer.done["preflight"] == "done"


@needs.root
def test_nobody_else_sees_what_is_only_tried(host: Target) -> None:
    ready, go = host.place / "ready", host.place / "go"
    script = (
        f"touch {ready}; while [ ! -e {go} ]; do sleep 0.02; done; cat $PACHA_ROOT/etc/nginx/nginx.conf\n"
    )
    process = host.start()
    assert process.stdin and process.stdout
    process.stdin.write(stream(FILES, hooks={"check/1": script.encode()}))
    process.stdin.close()
    until(ready.exists)
    assert host.read("/etc/nginx/nginx.conf") == b"old\n"
    go.touch()
    done = json.loads(process.stdout.read().splitlines()[-1])
    assert process.wait() == 0
    assert done["hooks"][0]["output"] == "new\n"


@needs.root
def test_what_a_check_hook_writes_is_nowhere(host: Target) -> None:
    hooks = {"check/1": b"echo x >$PACHA_ROOT/etc/nginx/scratch; echo y >$PACHA_ROOT/etc/nginx/nginx.conf\n"}
    assert host.receive(stream(FILES, hooks=hooks)).code == 0
    assert not (host.root / "etc/nginx/scratch").exists()
    assert host.read("/etc/nginx/nginx.conf") == b"new\n"


CONFINED = (
    'mount --rbind / "$1" && mount --make-rslave "$1" && mount -t tmpfs none "$1/mnt" && mkdir "$1/mnt/inside"'
    ' && exec chroot "$@"'
)


@needs.root
def test_in_a_chroot_it_comes_back_into_that(host: Target, tmp_path: Path) -> None:
    """setns(2) leads out of one."""
    root = tmp_path / "chroot"
    root.mkdir()
    confined = ("unshare", "--mount", "sh", "-c", CONFINED, "sh", str(root))
    hooks = {"check/1": b"ls /mnt\n", "post-push/1": b"ls /mnt\n"}
    answer = host.receive(stream([file("/etc/a", b"new\n")], hooks=hooks), before=confined)
    assert (answer.code, answer.done["preflight"]) == (0, "done")
    assert [(hook["name"], hook["output"]) for hook in answer.done["hooks"]] == [
        ("check/1", "inside\n"),
        ("post-push/1", "inside\n"),
    ]
    assert host.read("/etc/a") == b"new\n"


@needs.root
@needs.tools
def test_where_it_cannot_be_tried_it_is_checked_afterwards_and_undone(host: Target) -> None:
    # Without the right to mount, as in most containers.
    def receive(parcel: bytes) -> Answer:
        return host.receive(parcel, before=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"))

    with unchanged(host):
        failed(
            receive(stream(FILES, hooks={"check/1": b"cat $PACHA_ROOT/opt/app/run; exit 1\n"}, **MORE)),
            "hook",
            "check",
        )
    answer = receive(stream(FILES, hooks={"check/1": b"cat $PACHA_ROOT/opt/app/run\n"}, **MORE))
    assert (answer.code, answer.done["preflight"]) == (
        0,
        "a mount namespace of its own: Operation not permitted",
    )
    assert answer.done["hooks"][0]["output"] == "#!/bin/sh\n"


@needs.root
@needs.tools
def test_where_it_cannot_be_tried_and_must_be_nothing_is_done(host: Target) -> None:
    with host.pacha.config.open("a") as settings:
        settings.write('[push]\npreflight = "require"\n')
    with unchanged(host):
        parcel = stream(FILES, hooks={"check/1": b"true\n"})
        answer = host.receive(
            parcel, before=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
        )
        failed(answer, "unavailable", "live" if "live" in answer.phases else "plan")


# -- services ----------------------------------------------------------------------------------------------------


@pytest.fixture
def services(tmp_path: Path) -> tuple[Target, Path]:
    """A host whose root is the machine's own, with a `service` that writes down what it is told."""
    target = Target(tmp_path)
    target.pacha.config.write_text('host = "web1"\n')
    program, log = tmp_path / "bin/service", tmp_path / "services"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1 $2" >>{log}\ncase $1 in bad) echo broken; exit 1;; esac\n')
    program.chmod(0o755)
    return target, log


def receive_with_services(target: Target, parcel: bytes) -> Answer:
    return target.receive(parcel, env={"PATH": f"{target.place}/bin:{os.environ['PATH']}"})


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd is asked here")
def test_services_of_what_changed_are_restarted_and_reloaded(services: tuple[Target, Path]) -> None:
    target, log = services
    one, other = f"{target.root}/etc/one", f"{target.root}/etc/other"
    units = {
        "restart": (Unit("web"), Unit("db", (f"{target.root}/etc/other",))),
        "reload": (Unit("web"), Unit("proxy", (f"{target.root}/**",))),
    }
    files = [file(one, b"1"), file(other, b"1")]
    answer = receive_with_services(target, stream(files, **units))
    assert log.read_text().splitlines() == ["web restart", "db restart", "proxy reload"]
    assert [each["name"] for each in answer.done["services"]] == ["web", "db", "proxy"]
    log.unlink()
    assert receive_with_services(target, stream(files, **units)).steps == {}
    assert not log.exists()
    receive_with_services(target, stream([file(one, b"2"), file(other, b"1")], **units))
    assert log.read_text().splitlines() == ["web restart", "proxy reload"]


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd is asked here")
def test_a_service_that_does_not_start_takes_everything_back(services: tuple[Target, Path]) -> None:
    target, log = services
    live = target.put("/etc/one", b"old")
    parcel = stream([file(str(live), b"new")], restart=(Unit("web"), Unit("bad")))
    answer = receive_with_services(target, parcel)
    failed(answer, "failed", "services")
    assert live.read_bytes() == b"old"
    assert log.read_text().splitlines() == ["web restart", "bad restart", "web restart", "bad restart"]
    assert {"phase": "services", "line": "broken"} in answer.lines
    assert answer.done["output"] == ["broken"], "what undid it says nothing of why"
    assert answer.done["notes"] == ["the service bad could not be restarted again"]


# -- disks -------------------------------------------------------------------------------------------------------


@needs.loop
@needs.tools
def test_a_full_disk_of_the_host_leaves_it_as_it_was(tmp_path: Path) -> None:
    with loop_fs(tmp_path, 32) as disk:
        host = Target(tmp_path)
        host.root.rmdir()
        live = disk.at / "live"
        live.mkdir()
        host.root.symlink_to(live)
        host.put("/etc/a", b"old\n")
        disk.fill(leave=300_000)
        files = [file("/etc/a", b"new\n")] + [file(f"/etc/{n}", bytes([n]) * 100_000) for n in range(9)]
        answer = host.receive(stream(files))
        failed(answer, "no-space", "live")
        assert [path.name for path in live.rglob("*")] == ["etc", "a"]
        assert host.read("/etc/a") == b"old\n"
        (disk.at / "ballast").unlink()
        assert host.receive(stream(files)).code == 0


@needs.loop
def test_a_full_disk_of_the_state_is_told_and_nothing_is_touched(tmp_path: Path) -> None:
    with loop_fs(tmp_path, 32) as disk:
        host = Target(tmp_path)
        host.pacha.state.rmdir()
        host.pacha.state.symlink_to(disk.at)
        host.put("/etc/a", b"old\n")
        disk.fill()
        answer = host.receive(stream([file("/etc/a", b"new\n" * 20_000)]))
        failed(answer, "no-space", answer.done["step"])
        assert host.read("/etc/a") == b"old\n"


@needs.loop
def test_a_disk_of_the_state_that_fills_up_meanwhile_keeps_nothing_from_being_put_back(
    tmp_path: Path,
) -> None:
    with loop_fs(tmp_path, 32) as disk:
        host = Target(tmp_path)
        host.pacha.state.rmdir()
        host.pacha.state.symlink_to(disk.at)
        host.put("/etc/a", b"old\n" * 1000)
        full = f"dd if=/dev/zero of={disk.at}/ballast bs=4k 2>/dev/null\n".encode()
        answer = host.receive(stream([file("/etc/a", b"new\n")], hooks={"post-push/1": full}))
        assert (answer.code, answer.done["ok"], answer.done["reverted"]) == (1, False, True)
        assert host.read("/etc/a") == b"old\n" * 1000


def test_a_file_that_must_not_change_is_refused_with_the_way_out(host: Target) -> None:
    (host.root / "etc/nginx/on").unlink()
    (host.root / "etc/nginx/on").mkdir()
    host.put("/etc/nginx/on/file", b"x")
    answer = host.receive(stream(FILES, **MORE))
    failed(answer, "refused", "plan")
    assert "not empty" in answer.done["error"]["message"]


def test_whoever_listens_may_be_gone(host: Target) -> None:
    process = host.start()
    assert process.stdin and process.stdout
    process.stdout.close()
    process.stdin.write(
        stream(FILES, hooks={"post-push/1": b"echo said to nobody\n"}, wishes=Wishes("anna@hub"))
    )
    process.stdin.close()
    assert process.wait(30) == 0
    assert host.read("/opt/app/run") == b"#!/bin/sh\n"


# -- packages ----------------------------------------------------------------------------------------------------


def test_packages_that_are_there_are_not_installed(host: Target) -> None:
    host.put("/var/lib/dpkg/status", b"Package: nginx\nStatus: install ok installed\nVersion: 1.2\n\n")
    answer = host.receive(stream(FILES, packages=("nginx",)))
    assert (answer.code, answer.done["packages"]) == (0, [])
    assert "packages" not in answer.phases


@needs.tools
def test_packages_that_nothing_can_install_stop_it_before_it_is_live(host: Target) -> None:
    hooks = {"pre-push/1": b"true\n"}
    with unchanged(host):
        answer = host.receive(stream(FILES, packages=("nginx",), hooks=hooks, **MORE))
        failed(answer, "failed", "packages")
    dry = host.receive(stream(FILES, packages=("nginx",), wishes=Wishes("anna@hub", dry_run=True)))
    assert (dry.code, dry.done["packages"]) == (0, ["nginx"])


@needs.root
def test_the_machines_own_root_is_tried_too(services: tuple[Target, Path]) -> None:
    target, _ = services
    live = target.put("/etc/one", b"old\n")
    hooks = {"check/1": f"cat {live}; ls {live.parent}; exit 1\n".encode()}
    answer = target.receive(stream([file(str(live), b"new\n"), file(f"{live}.d/two", b"2")], hooks=hooks))
    failed(answer, "hook", "check")
    assert answer.done["hooks"][0]["output"] == "new\none\none.d\n"
    assert live.read_bytes() == b"old\n"
