"""Which path is meant: symlinked parents, links themselves, relative and nested paths, and another root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.steps import newest, on_terminal, pending, watch_first

from tests import needs


@pytest.fixture
def live(arena: Path) -> Path:
    tree = arena / "live"
    (tree / "real" / "sub").mkdir(parents=True)
    (tree / "real" / "file").write_text("file\n")
    (tree / "real" / "sub" / "deep").write_text("deep\n")
    (tree / "to folder").symlink_to("real")
    (tree / "to file").symlink_to("real/file")
    return tree


def watched(pacha: Pacha) -> list[str]:
    """The watches, as `status` gives them."""
    return [watch["path"] for watch in pacha.ok("status")["watches"]]


def test_parents_are_resolved_and_the_last_component_never(pacha: Pacha, live: Path) -> None:
    pacha.ok("watch", live / "to folder" / "sub")
    pacha.ok("watch", live / "to file")
    assert watched(pacha) == [str(live / "real" / "sub"), str(live / "to file")]
    assert pacha.run("cat", live / "to folder" / "sub" / "deep").out == "deep\n"
    assert pacha.run("cat", live / "real" / "file").code == 2
    assert pacha.run("unwatch", live / "to folder" / "sub").code == 0


def test_relative_and_untidy_paths(pacha: Pacha, live: Path) -> None:
    relative = os.path.relpath(live / "real", pacha.home)
    pacha.ok("watch", relative)
    again = pacha.ok("watch", f"{live}//real/./sub/..//")
    assert again["revision"] is None
    assert watched(pacha) == [str(live / "real")]
    assert pacha.run("cat", f"{relative}/file").out == "file\n"


def test_nested_watches_are_stored_once(pacha: Pacha, live: Path) -> None:
    pacha.ok("watch", live / "real" / "sub", live / "real")
    (live / "real" / "sub" / "deep").write_text("changed\n")
    assert pending(pacha) == [("modified", str(live / "real" / "sub" / "deep"))]
    changed = pacha.ok("capture")["changed"]
    assert len(changed) == 1
    assert pacha.run("unwatch", live / "real" / "sub").code == 0
    assert pacha.ok("status")["pending"] == []
    (live / "real" / "sub" / "deep").write_text("again\n")
    assert len(pacha.ok("capture")["changed"]) == 1


def test_unwatch_inside_a_watch_points_to_ignore(pacha: Pacha, live: Path) -> None:
    pacha.ok("watch", live)
    result = pacha.run("unwatch", live / "real" / "file", "--json")
    assert result.code == 2
    assert "ignore" in result.json["error"]["hint"]
    assert str(live / "real" / "file") in result.json["error"]["hint"]


def test_comments_in_the_configuration_stay(pacha: Pacha, live: Path) -> None:
    pacha.config.write_text('# mine\nauthor = "me"  # and this\n')
    pacha.ok("watch", live / "real")
    pacha.ok("watch", live / "to file")
    pacha.ok("unwatch", live / "real")
    text = pacha.config.read_text()
    assert text.startswith('# mine\nauthor = "me"  # and this\n')
    assert str(live / "to file") in text
    assert f'"{live / "real"}"' not in text


@pytest.mark.parametrize("path", ["/nosuch", "nosuch", "", "/etc/passwd/below"])
def test_what_is_not_there_cannot_be_watched(pacha: Pacha, path: str) -> None:
    result = pacha.run("watch", path)
    assert result.code == 2
    assert not pacha.config.exists() or "watch = [" not in pacha.config.read_text()


def test_a_parent_that_became_a_link_hides_no_history(pacha: Pacha, live: Path, arena: Path) -> None:
    first = watch_first(pacha, live)
    outside = arena / "outside"
    shutil.move(live / "real", outside)
    (live / "real").symlink_to(outside)
    (outside / "file").write_text("not Pacha's business\n")
    assert pacha.run("log", live / "real" / "file").code == 0
    assert pacha.run("cat", live / "real" / "file", "--at", first).out == "file\n"
    result = pacha.run("rollback", live / "real" / "file", "--to", first, "-y")
    assert "Traceback" not in result.err
    assert (outside / "file").read_text() == "not Pacha's business\n"
    pacha.ok("rollback", live, "--to", first, "-y")
    assert (live / "real" / "file").read_text() == "file\n"
    assert not (live / "real").is_symlink()
    assert (outside / "file").read_text() == "not Pacha's business\n"


def container(arena: Path, pacha: Pacha) -> Path:
    """Another root with accounts and links of its own."""
    root = arena / "root"
    (root / "etc" / "sub").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nbob:x:1234:1234::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nbobs:x:1234:\n")
    (root / "etc" / "sub" / "file").write_text("in the container\n")
    (root / "absolute").symlink_to("/etc/sub")
    (root / "up").symlink_to("../../../../../../../../etc")
    pacha.config.write_text(f'root = "{root}"\n')
    return root


def test_another_root(pacha: Pacha, arena: Path) -> None:
    root = container(arena, pacha)
    first = watch_first(pacha, "/etc")
    assert watched(pacha) == ["/etc"]
    assert pacha.run("cat", "/etc/sub/file").out == "in the container\n"
    (root / "etc" / "sub" / "file").write_text("changed\n")
    assert pending(pacha) == [("modified", "/etc/sub/file")]
    shutil.rmtree(root / "etc")
    pacha.ok("rollback", "/etc", "--to", first, "-y")
    assert (root / "etc" / "sub" / "file").read_text() == "in the container\n"
    assert (root / "etc" / "passwd").read_text().startswith("root:x:0:0")


def test_links_never_lead_out_of_another_root(pacha: Pacha, arena: Path) -> None:
    container(arena, pacha)
    for link in ("/absolute/file", "/up/sub/file"):
        pacha.run("watch", link)
    assert set(watched(pacha)) <= {"/etc/sub/file"}


@needs.root
def test_owners_go_by_the_names_of_that_root(pacha: Pacha, arena: Path) -> None:
    root = container(arena, pacha)
    file = root / "etc" / "sub" / "file"
    os.chown(file, 1234, 1234)
    first = watch_first(pacha, "/etc/sub")
    (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nbob:x:4321:4321::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nbobs:x:4321:\n")
    file.unlink()
    pacha.run("rollback", "/etc/sub", "--to", first, "-y")
    assert (file.stat().st_uid, file.stat().st_gid) == (4321, 4321)


@needs.root
def test_an_owner_without_a_name_falls_back_to_the_number(pacha: Pacha, arena: Path) -> None:
    root = container(arena, pacha)
    file = root / "etc" / "sub" / "file"
    os.chown(file, 1234, 1234)
    first = watch_first(pacha, "/etc/sub")
    (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    file.unlink()
    result = pacha.run("rollback", "/etc/sub", "--to", first, "-y")
    assert result.code == 3, result
    assert "bob" in result.out + result.err
    assert "number" in result.out + result.err
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1234)
    assert file.read_text() == "in the container\n"


def test_a_terminal_shows_each_watch(pacha: Pacha, live: Path) -> None:
    pacha.ok("watch", live / "real")
    pacha.ok("watch", live / "to file")
    code, shown = on_terminal(pacha, "status")
    assert code == 0
    assert str(live / "real") in shown
    assert str(live / "to file") in shown
    assert newest(pacha)[:8] in shown
