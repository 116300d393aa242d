"""A deployment: what is read from its directory, what each host gets of it, and what is refused with file and line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pacha.adapters.deployment import read_deployment
from pacha.core.deployment import Prepared
from pacha.core.errors import ConfigError, PachaError, UsageError
from pacha.core.parcel import Item, Unit

NGINX = """\
packages = ["nginx-light"]
absent   = ["/etc/nginx/sites-enabled/default"]
restart  = ["nginx"]
[reload]
issue = ["/etc/mot*"]
[owner."/etc/nginx/**"]
group = "www-data"
mode = "0640"
[owner."/etc/nginx/*.sh"]
mode = "0750"
[vars]
workers = 4
log = true
[vars."web1"]
workers = 8
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The deployment of the how-to."""
    made = tmp_path / "webserver"
    write(made / "pacha.toml", NGINX)
    write(made / "files/etc/nginx/nginx.conf", "user www-data;\n")
    write(made / "files/etc/nginx/reload.sh", "#!/bin/sh\n")
    write(made / "files/etc/motd", "hello\n")
    write(made / "templates/etc/nginx/workers.conf", "worker_processes ${workers};  # $$${pacha_host}\n")
    write(made / "hooks/check/10-nginx", "#!/bin/sh\nnginx -t\n", 0o755)
    return made


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def items(folder: Path, host: str = "web1") -> dict[str, Item]:
    return {os.fsdecode(item.path): item for item in prepare(folder).for_host(host).deployment.items}


def prepare(folder: Path) -> Prepared:
    return Prepared(read_deployment(str(folder)))


def refused(folder: Path, *hosts: str) -> PachaError:
    with pytest.raises(PachaError) as caught:
        for host in hosts or ("web1",):
            prepare(folder).for_host(host)
    return caught.value


# -- what a host gets --------------------------------------------------------------------------------------


def test_the_whole_of_it(folder: Path) -> None:
    deployment, contents = prepare(folder).for_host("admin@web1")
    assert deployment.name == "webserver"
    assert deployment.packages == ("nginx-light",)
    assert deployment.absent == (b"/etc/nginx/sites-enabled/default",)
    assert deployment.restart == (Unit("nginx"),)
    assert deployment.reload == (Unit("issue", ("/etc/mot*",)),)
    assert [(hook.moment, hook.name) for hook in deployment.hooks] == [("check", "10-nginx")]
    assert {item.path: (item.user, item.group, item.mode) for item in deployment.items} == {
        b"/etc/motd": ("", "", 0o644),
        b"/etc/nginx/nginx.conf": ("", "www-data", 0o640),
        b"/etc/nginx/reload.sh": ("", "www-data", 0o750),
        b"/etc/nginx/workers.conf": ("", "www-data", 0o640),
    }
    assert set(contents) == set(deployment.contents())
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in contents.items())


def test_values_of_a_host_win_and_hosts_with_the_same_values_share(folder: Path) -> None:
    def workers(host: str) -> bytes:
        rendered = prepared.for_host(host)
        item = next(one for one in rendered.deployment.items if one.path.endswith(b"workers.conf"))
        return rendered.contents[item.sha256]

    prepared = prepare(folder)
    assert workers("root@web1") == b"worker_processes 8;  # $web1\n"
    assert workers("web2") == b"worker_processes 4;  # $web2\n"
    write(folder / "templates/etc/nginx/workers.conf", "worker_processes ${workers};\n")
    prepared = prepare(folder)
    assert prepared.for_host("web2") is prepared.for_host("web3") is not prepared.for_host("web1")


def test_only_files_and_no_settings(tmp_path: Path) -> None:
    write(tmp_path / "motd/files/etc/motd", "hello\n")
    deployment = prepare(tmp_path / "motd").for_host("web1").deployment
    assert (deployment.name, [item.path for item in deployment.items]) == ("motd", [b"/etc/motd"])


def test_a_mode_is_that_of_the_file_but_for_what_a_checkout_adds(tmp_path: Path) -> None:
    for mode in (0o600, 0o664, 0o4755, 0o440):
        write(tmp_path / f"modes/files/etc/{mode:o}", "", mode)
    found = items(tmp_path / "modes")
    assert {name[5:]: item.mode for name, item in found.items()} == {
        "600": 0o600, "664": 0o644, "4755": 0o755, "440": 0o440,
    }  # fmt: skip


def test_directories_that_are_told_of(tmp_path: Path) -> None:
    write(tmp_path / "dirs/files/etc/app/private/key", "")
    (tmp_path / "dirs/files/etc/app/empty").mkdir()
    write(tmp_path / "dirs/pacha.toml", '[owner."/etc/app/private"]\nmode = "0640"\n')
    found = items(tmp_path / "dirs")
    assert set(found) == {"/etc/app/empty", "/etc/app/private", "/etc/app/private/key"}
    assert found["/etc/app/private"].mode == 0o750
    assert found["/etc/app/private/key"].mode == 0o640


@pytest.mark.parametrize(
    "pattern",
    ["/etc/nginx/**", "/etc/nginx/old", "/etc/nginx/old/**", "/etc/nginx/old/x/y", "/etc/*/old/z", "/etc"],
)
def test_what_goes_may_concern_a_service_too(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / "gone/files/etc/motd", "")
    write(tmp_path / "gone/pacha.toml", f'absent = ["/etc/nginx/old"]\nreload = {{nginx = ["{pattern}"]}}\n')
    assert prepare(tmp_path / "gone").for_host("web1").deployment.reload == (Unit("nginx", (pattern,)),)


def test_links_are_delivered_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "links/files/etc/nginx/sites-available/shop", "")
    enabled = tmp_path / "links/files/etc/nginx/sites-enabled"
    enabled.mkdir()
    (enabled / "shop").symlink_to("/etc/nginx/sites-available/shop")
    (enabled / "zone").symlink_to("../../../usr/share/zoneinfo/UTC")
    found = items(tmp_path / "links")
    assert found["/etc/nginx/sites-enabled/shop"].target == b"/etc/nginx/sites-available/shop"
    assert found["/etc/nginx/sites-enabled/zone"].target == b"../../../usr/share/zoneinfo/UTC"


def test_what_editors_leave_is_left_out(folder: Path) -> None:
    for name in ("files/etc/.motd.swp", "files/etc/motd~", "hooks/check/10-nginx~"):
        write(folder / name, "")
    assert not [path for path in items(folder) if "~" in path or "swp" in path]


def test_the_revision_is_of_the_contents(folder: Path) -> None:
    before = prepare(folder).for_host("web1").deployment.revision
    assert before == prepare(folder).for_host("web1").deployment.revision
    write(folder / "files/etc/motd", "other\n")
    assert before != prepare(folder).for_host("web1").deployment.revision


# -- what is refused ---------------------------------------------------------------------------------------

WRONG = [
    ('packages = "nginx"', 1, "packages: 'nginx' does not fit; allowed is a list of package names"),
    ('packages = [\n"a",\n"-y"]', 3, "packages: '-y' does not fit"),
    ('package = ["nginx"]', 1, "unknown key package; did you mean packages?"),
    ('absent = ["etc/motd"]', 1, "'etc/motd' is not absolute"),
    ('absent = ["/etc/../x"]', 1, "holds .."),
    (
        'absent = ["/a",\n"/etc/nginx/*.conf"]',
        2,
        "/etc/nginx/*.conf is a pattern, and here each path is named",
    ),
    ('absent = ["/"]', 1, "the root cannot be absent"),
    ('absent = ["/etc"]', 1, "/etc shall be absent, and"),
    ('restart = ["a b"]', 1, "restart: 'a b' does not fit"),
    ('restart = ["a"]\nreload = ["a"]', 2, "'a' is in restart too"),
    ('[restart]\nnginx = ["etc"]', 2, "restart.nginx: 'etc' is not absolute"),
    ('[owner."/etc/motd"]\nmode = 640', 2, 'owner."/etc/motd".mode: 640 is a number'),
    ('[owner."/etc/motd"]\nmode = "0888"', 2, "'0888' does not fit; allowed is a mode in octal digits"),
    ('[owner."/etc/motd"]\nusr = "x"', 2, 'unknown key owner."/etc/motd".usr; did you mean user?'),
    ('\n[owner."/etc/mtod"]\nuser = "x"', 2, "'/etc/mtod' matches nothing that is delivered"),
    ('[owner."/etc/motd"]', 1, "says nothing"),
    ('[owner."etc/motd"]\nuser = "x"', 1, "is a relative path"),
    ("[vars]\na-b = 1", 2, "'a-b' cannot stand in ${…}"),
    ("[vars]\nworkers = [1]", 2, "a list does not fit"),
    ("[vars.web1]\nworkers = 1979-05-27", 2, "a date or time does not fit"),
    ("packages = [", 1, "not valid TOML"),
    ('packages = ["a",\n"b=1.2"]', 2, "packages: 'b=1.2' does not fit"),
    ('packages = [" a"]', 1, "packages: ' a' does not fit"),
    ('restart = [" a"]', 1, "restart: ' a' does not fit"),
    ('[reload]\n" a" = ["/etc/motd"]', 2, "reload.\" a\": ' a' does not fit"),
    ("[reload]\nnginx = []", 2, 'reload.nginx: an empty list means never; for any path: reload = ["nginx"]'),
    (
        '[restart]\nnginx = ["/etc/motd",\n"/nope/**"]',
        3,
        "restart.nginx: '/nope/**' matches nothing that is delivered or absent",
    ),
    ('absent = ["/etc/nope"]\nreload = {a = ["/etc/nop"]}', 2, "reload.a: '/etc/nop' matches nothing"),
    (f'[restart]\nnginx = ["/{"x" * 5000}"]', 2, "is too long"),
    ('absent = ["/a",\n"/proc/x"]', 2, "absent: /proc/x belongs to the kernel"),
    (f'absent = ["/{"x" * 300}"]', 1, "is too long a path"),
    ('absent = ["/etc/.pacha.0123456789abcdef.new"]', 1, "one of Pacha's own temporary files"),
    ('absent = ["/b",\n"/etc/motd/x"]', 2, "absent: /etc/motd/x lies below"),
    ('[owner."/etc/motd"]\nuser = 4294967295', 2, "user: 4294967295 does not fit"),
    ('[owner."/etc/motd"]\nuser = "4294967295"', 2, "user: '4294967295' does not fit"),
    ('[owner."/etc/motd"]\ngroup = -1', 2, "group: -1 does not fit"),
    ('[owner."/etc/motd"]\ngroup = "a:b"', 2, "group: 'a:b' does not fit"),
    (f'[owner."/etc/motd"]\ngroup = "{"x" * 65}"', 2, "does not fit"),
    ('[owner."/etc/motd"]\nuser = " www"', 2, "user: ' www' does not fit"),
    ("[vars]\na = 1\nb = 1.10", 3, 'vars.b: 1.1 may not be what was written; write it as a text: "1.10"'),
    ("[vars.web1]\nb = 1.0e400", 2, "inf may not be what was written"),
    ("[vars]\na = 1\na = 2", 3, "is given twice"),
]


@pytest.mark.parametrize(("text", "line", "words"), WRONG, ids=[text for text, _, _ in WRONG])
def test_a_wrong_value_is_named_with_file_and_line(folder: Path, text: str, line: int, words: str) -> None:
    write(folder / "pacha.toml", text)
    (folder / "templates/etc/nginx/workers.conf").unlink()
    problem = refused(folder)
    assert isinstance(problem, ConfigError)
    assert str(problem).startswith(f"{folder}/pacha.toml:{line}: ")
    assert words in str(problem)


def test_a_template_without_a_value(folder: Path) -> None:
    write(folder / "templates/etc/issue", "one\n\n${worker}\n")
    problem = refused(folder, "web2")
    assert str(problem) == f"{folder}/templates/etc/issue:3: worker has no value for web2"
    assert problem.hint == "did you mean workers?; for the text itself write $${worker}"


def test_a_value_that_one_host_alone_lacks(folder: Path) -> None:
    write(folder / "templates/etc/issue", "$only\n")
    write(folder / "pacha.toml", NGINX + "only = 1\n")
    assert (
        str(refused(folder, "web1", "web2")) == f"{folder}/templates/etc/issue:1: only has no value for web2"
    )


def test_a_dollar_before_nothing(folder: Path) -> None:
    write(folder / "templates/etc/issue", "a\nprice: 5$\n")
    problem = refused(folder)
    assert str(problem) == f"{folder}/templates/etc/issue:2: a $ before no name"


def _link(to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "files/etc/link").symlink_to(to)


def _files(**files: str) -> Callable[[Path], object]:
    return lambda folder: [write(folder / name, text) for name, text in files.items()]


HOSTILE: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("link-absolute", _link("/etc/shadow"), "files/etc/link", "points out of the deployment, to /etc/shadow"),
    ("link-up", _link("../../../../etc/shadow"), "files/etc/link", "points out of the deployment"),
    ("link-up-later", _link("x/../../.."), "files/etc/link", "points out of the deployment"),
    ("fifo", lambda folder: os.mkfifo(folder / "files/etc/pipe"), "files/etc/pipe", "is a fifo"),
    ("huge", lambda folder: os.truncate(write(folder / "files/zeros", ""), 10_000_000_000), "files/zeros", "is the most"),
    ("both", _files(**{"templates/etc/motd": ""}), "templates/etc/motd", "is there twice"),
    ("below-file", _files(**{"templates/etc/motd/x": ""}), "templates/etc/motd", "is there twice"),
    ("moment", _files(**{"hooks/chekc/10-x": ""}), "hooks/chekc", "did you mean check?"),
    ("capture-moment", _files(**{"hooks/pre-capture/10-x": ""}), "hooks/pre-capture", "is no moment of a push"),
    ("not-executable", _files(**{"hooks/check/20-x": ""}), "hooks/check/20-x", "is not executable"),
    ("hook-link", lambda folder: (folder / "hooks/check/x").symlink_to("/bin/sh"), "hooks/check/x", "is a symbolic link"),
    ("template-link", lambda folder: (folder / "templates/x").symlink_to("y"), "templates/x", "is a symbolic link"),
    ("typo", lambda folder: (folder / "hooks").rename(folder / "hook"), "hook", "is it meant to be hooks?"),
    ("kernel", _files(**{"files/proc/sys/x": ""}), "files/proc/sys/x", "/proc/sys/x belongs to the kernel"),
    ("ours", _files(**{"templates/x/.pacha.0123456789abcdef.new": ""}), "templates/x/.pacha", "temporary files"),
    ("hook-name", lambda folder: write(folder / "hooks/check/10 x", "", 0o755), "hooks/check/10 x", "cannot be called so"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("do", "where", "words"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_what_no_deployment_may_hold(
    folder: Path, do: Callable[[Path], object], where: str, words: str
) -> None:
    do(folder)
    problem = str(refused(folder))
    assert words in problem
    if where:
        assert problem.startswith(f"{folder}/{where}")


@pytest.mark.root
def test_devices_are_refused(folder: Path) -> None:
    os.mknod(folder / "files/etc/null", 0o20666, os.makedev(1, 3))
    assert "is a char, which is not delivered" in str(refused(folder))


def test_no_deployment_at_all(tmp_path: Path) -> None:
    write(tmp_path / "notes/readme.txt", "")
    assert isinstance(refused(tmp_path / "notes"), UsageError)
    assert str(refused(tmp_path / "gone")) == f"there is no deployment {tmp_path}/gone"
    write(tmp_path / "two words/files/etc/motd", "")
    assert "cannot be called 'two words'" in str(refused(tmp_path / "two words"))
