"""The configuration file: read in whatever state it is, edited so that only the list of watches changes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacha.adapters.config_file import add_watch, load, remove_watch
from pacha.core.errors import ConfigError, NoSpace, PachaError, ReadOnly, UsageError


def file_with(directory: Path, text: str | bytes) -> str:
    path = directory / "pacha.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def content(path: str) -> str:
    return Path(path).read_bytes().decode()


def test_a_missing_file_is_all_defaults(tmp_path: Path) -> None:
    config = load(str(tmp_path / "none" / "pacha.toml"))
    assert config.watch == []
    assert config.source.endswith("pacha.toml")


def test_dev_null_is_an_empty_file_and_stays_a_device() -> None:
    assert load("/dev/null").watch == []
    with pytest.raises(ConfigError, match="no file"):
        add_watch("/dev/null", [b"/etc"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_fifo_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert load(str(tmp_path / "fifo")).watch == []


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = file_with(tmp_path, b'\xef\xbb\xbfhost = "a"\r\n')
    assert load(path).host == "a"
    assert add_watch(path, [b"/etc"]) == [b"/etc"]
    assert Path(path).read_bytes().startswith(b'\xef\xbb\xbfhost = "a"\r\n')
    assert load(path).watch == [b"/etc"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"host = 1", ":1: host: 1 does not fit"),
        (b"a\n", ":1: not valid TOML"),
        (b'host = "a"\nx = "\xff"', ":2: is not UTF-8"),
        (b"#" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_wrong_file_is_named_and_never_edited(tmp_path: Path, data: bytes, words: str) -> None:
    path = file_with(tmp_path, data)
    for act in (
        lambda: load(path),
        lambda: add_watch(path, [b"/etc"]),
        lambda: remove_watch(path, [b"/etc"]),
    ):
        with pytest.raises(ConfigError) as caught:
            act()
        assert str(caught.value).startswith(path)
        assert words in str(caught.value)
    assert Path(path).read_bytes() == data


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(str(tmp_path))


def test_the_first_watch_makes_directories_and_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b" / "pacha.toml")
    previous = os.umask(0o077)
    try:
        assert add_watch(path, [b"/etc", b"/root/.bashrc", b"/etc"]) == [b"/etc", b"/root/.bashrc"]
    finally:
        os.umask(previous)
    assert content(path).startswith("# What Pacha does")
    assert content(path).endswith('\n\nwatch = ["/etc", "/root/.bashrc"]\n')
    assert load(path).watch == [b"/etc", b"/root/.bashrc"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(tmp_path / "a" / "b").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o755


ADDITIONS = [
    ("", 'watch = ["/new"]\n'),
    ("# all about it", '# all about it\nwatch = ["/new"]\n'),
    ('watch = ["/etc"] # main\nhost = "a"', 'watch = ["/etc", "/new"] # main\nhost = "a"'),
    ('"watch" = [ "/etc", ]\n', '"watch" = [ "/etc", "/new" ]\n'),
    ("watch = []\n[capture]\n", 'watch = ["/new"]\n[capture]\n'),
    (
        'watch = [\n  "/etc", # main\n  # why\n  "/opt"  # last\n]\n',
        'watch = [\n  "/etc", # main\n  # why\n  "/opt",  # last\n  "/new"\n]\n',
    ),
    ('watch = [\n  "/etc",\n  "/opt",\n]\n', 'watch = [\n  "/etc",\n  "/opt",\n  "/new",\n]\n'),
    (
        'host = "a"  # me\n\n# how fast\n[capture]\nquiet = "1s"\n',
        'host = "a"  # me\n\nwatch = ["/new"]\n\n# how fast\n[capture]\nquiet = "1s"\n',
    ),
    ("# file\n[capture]\n", '# file\nwatch = ["/new"]\n\n[capture]\n'),
    ('server = [\n["x"][0]\n', None),
    (
        'author = "[x]"\nserver = [\n  "a",\n  "[b]",\n]\n  [push]\n',
        'author = "[x]"\nserver = [\n  "a",\n  "[b]",\n]\nwatch = ["/new"]\n\n  [push]\n',
    ),
]


@pytest.mark.parametrize(("before", "after"), ADDITIONS)
def test_adding_changes_nothing_else(tmp_path: Path, before: str, after: str | None) -> None:
    path = file_with(tmp_path, before)
    if after is None:
        with pytest.raises(ConfigError):
            add_watch(path, [b"/new"])
        after = before
    else:
        assert add_watch(path, [b"/new"]) == [b"/new"]
        assert add_watch(path, [b"/new"]) == []
    assert content(path) == after


def test_removing_changes_nothing_else(tmp_path: Path) -> None:
    path = file_with(
        tmp_path,
        '# a\nwatch = [\n  "/etc/", # main\n  # why\n  "/opt",\n]  # b\n\n[push]\nevery = "1h" # c\n',
    )
    assert remove_watch(path, [b"/etc", b"/never"]) == [b"/etc"]
    assert content(path) == '# a\nwatch = [\n  # why\n  "/opt",\n]  # b\n\n[push]\nevery = "1h" # c\n'
    assert remove_watch(path, [b"/etc"]) == []
    assert remove_watch(path, [b"/opt"]) == [b"/opt"]
    assert load(path).watch == []
    assert "# why" in content(path)


def test_removing_from_a_missing_file_makes_none(tmp_path: Path) -> None:
    assert remove_watch(str(tmp_path / "x" / "pacha.toml"), [b"/etc"]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_long_list_gets_one_path_a_line(tmp_path: Path) -> None:
    path = file_with(tmp_path, 'watch = ["/etc"] # main\n')
    paths = [f"/srv/application-{number}/etc".encode() for number in range(6)]
    add_watch(path, paths)
    assert max(len(line) for line in content(path).splitlines()) < 40
    assert load(path).watch == [b"/etc", *paths]
    assert "# main" in content(path)


def test_a_path_that_is_not_utf8_is_refused_with_its_directory(tmp_path: Path) -> None:
    path = file_with(tmp_path, "")
    with pytest.raises(UsageError) as caught:
        add_watch(path, [b"/etc", b"/srv/caf\xe9/x"])
    assert "/srv/caf\\xe9" in caught.value.hint
    assert content(path) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_mode_attributes_and_acl_stay(tmp_path: Path) -> None:
    path = file_with(tmp_path, "")
    os.chown(path, 1, 2)
    os.chmod(path, 0o640)
    # u::rw-, u:3:rw-, g::r--, m::rw-, o::--- in the kernel's form
    entries = [(1, 6, 2**32 - 1), (2, 6, 3), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1)]
    acl = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, mode, who in entries
    )
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no ACLs or attributes")
    add_watch(path, [b"/etc"])
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1, 2, 0o660)
    assert os.getxattr(path, "system.posix_acl_access") == acl
    assert os.getxattr(path, "user.note") == b"kept"


def test_a_symlinked_file_stays_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "pacha.toml"
    path.symlink_to("real/there.toml")
    assert add_watch(str(path), [b"/etc"]) == [b"/etc"]  # the target does not exist yet
    assert add_watch(str(path), [b"/opt"]) == [b"/opt"]
    assert path.is_symlink()
    assert load(str(tmp_path / "real" / "there.toml")).watch == [b"/etc", b"/opt"]
    assert os.listdir(tmp_path / "real") == ["there.toml"]


WRITER = "import sys; from pacha.adapters.config_file import add_watch; add_watch(sys.argv[1], [b'/srv/' + sys.argv[2].encode()])"


def test_edits_at_once_leave_a_whole_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = file_with(tmp_path, "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for round_ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, path, f"{round_}-{number}"], env=environment)
            for number in range(3)
        ]
        assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert 3 <= len(load(path).watch) <= 9
    assert os.listdir(tmp_path) == ["pacha.toml"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises((ReadOnly, PachaError)) as caught:
        add_watch("/proc/pacha/pacha.toml", [b"/etc"])
    assert str(caught.value).startswith("/proc/pacha/pacha.toml cannot be written")


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK) or os.geteuid() != 0, reason="needs to mount")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("cannot mount")
    try:
        path = file_with(disk, 'host = "a"\n')
        with (disk / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError, match="No space"):
            while True:
                fill.write(bytes(4096))
        with pytest.raises(NoSpace):
            add_watch(path, [b"/etc"])
        assert content(path) == 'host = "a"\n'
        assert sorted(os.listdir(disk)) == ["fill", "pacha.toml"]
    finally:
        subprocess.run(["umount", disk], check=True)


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
LINES = st.sampled_from(['"/etc",', '"/opt", # c', "# own", "", '  "/srv/x" ,', '\t"/y",#'])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6), st.lists(PATHS, max_size=4, unique=True), st.sampled_from(["\n", "\r\n"]))
def test_any_list_takes_and_gives_back_any_path(
    tmp_path: Path, lines: list[str], names: list[str], end: str
) -> None:
    path = file_with(
        tmp_path, end.join(["# top", "watch = [", *lines, "] # end", "[capture]", "quiet = '1ms'", ""])
    )
    before = load(path).watch
    new = [f"/new/{name}".encode() for name in names]
    assert add_watch(path, new) == new
    assert load(path).watch == [*before, *new]
    assert content(path).count("#") - "".join(names).count("#") == 2 + "".join(lines).count("#")
    assert tomllib.loads(content(path))["capture"] == {"quiet": "1ms"}
    assert set(remove_watch(path, new)) == set(new)
    assert load(path).watch == before
