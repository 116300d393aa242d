"""Which deployed files are no longer as they were deployed, who changed them, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacha.core.parcel import Item
from tests.receive.parcels import Target, file, stream

FILES = [file("/etc/a", b"1\n"), file("/etc/b", b"1\n", 0o640), file("/srv/c", b"1\n")]
MORE = {"items": [Item(b"/etc/on", b"symlink", 0o777, target=b"a")], "absent": (b"/etc/old",)}


@pytest.fixture
def host(tmp_path: Path) -> Target:
    made = Target(tmp_path)
    made.put("/etc/old", b"x\n")
    assert made.receive(stream(FILES, **MORE)).code == 0
    made.settle()
    return made


def drift(host: Target) -> dict[str, str]:
    return {item["path"]: item["change"] for item in host.pacha.ok("status")["drift"]}


def test_what_is_as_it_was_pushed_is_none(host: Target) -> None:
    assert drift(host) == {}
    assert host.pacha.run("status", "--check").code == 0
    assert host.pacha.ok("verify", "--deployment", "web")["drift"] == []
    assert host.pacha.run("verify", "--deployment", "nosuch").code == 2


def test_every_kind_of_it(host: Target) -> None:
    host.put("/etc/a", b"by hand\n")
    (host.root / "etc/b").chmod(0o600)
    (host.root / "srv/c").unlink()
    (host.root / "etc/on").unlink()
    (host.root / "etc/on").symlink_to("b")
    host.put("/etc/old", b"back\n")
    found = {
        "/etc/a": "modified", "/etc/b": "metadata", "/etc/old": "added", "/etc/on": "modified",
        "/srv/c": "removed",
    }  # fmt: skip
    told = host.pacha.run("verify", "--deployment", "web", "--json")
    assert (told.code, {item["path"]: item["change"] for item in told.json["drift"]}) == (4, found)
    assert drift(host) == found
    assert all(item["author"] is None for item in told.json["drift"]), "it is not the work of who has pushed"
    assert all(item["revision"] is None for item in host.pacha.ok("status")["drift"])

    made = host.pacha.ok("capture", "--author", "berta")["revision"]
    (item,) = (one for one in host.pacha.ok("status")["drift"] if one["path"] == "/etc/a")
    assert (item["deployment"], item["revision"], item["author"]) == ("web", made, "berta")
    read = host.pacha.run("verify", "--deployment", "web", "--json").json["drift"]
    assert {(one["revision"], one["author"]) for one in read} == {(made, "berta")}
    assert drift(host) == found
    assert host.pacha.run("status", "--check").code == 4
    words = host.pacha.run("status").out
    assert "/etc/a  is another than web delivered: berta, " in words
    assert "/srv/c  is gone, which web delivered: berta, " in words


def test_another_push_ends_it(host: Target) -> None:
    host.put("/etc/a", b"by hand\n")
    again = stream([file("/etc/a", b"by hand\n"), *FILES[1:]], **MORE)
    assert host.receive(again).code == 0
    assert drift(host) == {}


def test_what_a_deployment_has_left_is_none(host: Target) -> None:
    assert host.receive(stream(FILES[1:], **MORE)).code == 0
    host.put("/etc/a", b"by hand\n")
    host.pacha.ok("capture")
    assert drift(host) == {}


def test_a_touched_file_is_none(host: Target) -> None:
    (host.root / "etc/a").touch()
    assert drift(host) == {}
    assert host.pacha.run("verify", "--deployment", "web").code == 0


def test_a_push_tells_whose_work_it_would_overwrite(host: Target) -> None:
    host.put("/etc/a", b"by hand\n")
    made = host.pacha.ok("capture", "--author", "berta")["revision"]
    host.put("/etc/b", b"not captured yet\n")
    answer = host.receive(stream([file(path, b"2\n") for path in ("/etc/a", "/etc/b")]))
    assert answer.code == 1
    whose = {one["path"]: (one["author"], one["revision"]) for one in answer.done["edited"]}
    assert whose == {"/etc/a": ("berta", made), "/etc/b": (None, None)}
