"""Deployments that mean harm, or are cut off: refused in words, nothing written."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from pacha.core.parcel import Item
from tests.oracle import compare, save_twin
from tests.receive.parcels import Target, digest, file, stream

GOOD = [file("/etc/a", b"a\n"), file("/etc/b", b"b\n" * 5000)]


@pytest.fixture
def host(tmp_path: Path) -> Target:
    target = Target(tmp_path)
    target.put("/etc/a", b"old\n")
    target.put("/outside", b"not to be touched\n")
    return target


def altered(**changes: Any) -> bytes:
    """The good stream, the first of its files other than it may be."""
    line, _, body = stream(GOOD).partition(b"\n")
    values = json.loads(line)
    values["deployment"]["items"][0] |= changes
    return json.dumps(values).encode() + b"\n" + body


def tending(pattern: str) -> bytes:
    """The good stream, with a service and a pattern of its paths."""
    line, _, body = stream(GOOD).partition(b"\n")
    values = json.loads(line)
    values["deployment"]["restart"] = [{"name": "web", "paths": [pattern]}]
    return json.dumps(values).encode() + b"\n" + body


HOSTILE = {
    "dot-dot": altered(path="/etc/../outside"),
    "relative": altered(path="outside"),
    "another spelling": altered(path="/etc/%2E%2E/outside"),
    "a device node": altered(kind="char"),
    "the kernel": altered(path="/proc/sys/kernel/core_pattern"),
    "an account that no bytes can name": altered(user="\ud800"),
    "a pattern that is none": tending("/etc/../outside"),
    "10 GB": altered(size=10_000_000_000),
    "cut in the line": stream(GOOD)[:100],
    "cut in the contents": stream(GOOD)[:-10],
    "nothing": b"",
    "a shell": b"rm -rf /\n",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_and_nothing_is_written(host: Target, case: str) -> None:
    twin = host.place / "twin"
    save_twin(host.root, twin)
    answer = host.receive(HOSTILE[case])
    assert (answer.code, answer.done["error"]["kind"], answer.err) == (1, "refused", ""), answer
    assert compare(twin, host.root) == []
    assert host.journals == []


def test_10_gb_of_zeros_are_cut_off_where_the_line_says_they_end(host: Target) -> None:
    line = json.loads(stream([file("/etc/a", b"\0" * 1000)]).partition(b"\n")[0])
    line["packing"] = "zlib"
    process = host.start()
    assert process.stdin is not None
    packer = zlib.compressobj(9)
    try:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        for _ in range(10_000):
            process.stdin.write(packer.compress(bytes(1_000_000)))
    except BrokenPipeError:
        pass
    out, _ = process.communicate()
    assert json.loads(out.splitlines()[-1])["error"]["kind"] == "refused"
    assert host.read("/etc/a") == b"old\n"


@pytest.mark.parametrize("target", ["../outside-dir", "/outside-dir"])
def test_a_link_among_the_parents_is_not_followed(host: Target, target: str) -> None:
    (host.root / "outside-dir").mkdir()
    (host.root / "etc/link").symlink_to(target)
    for parcel in (stream([file("/etc/link/x", b"x")]), stream(absent=(b"/etc/link/x",))):
        answer = host.receive(parcel)
        assert "symbolic link" in answer.done["error"]["message"]
        assert answer.done["error"]["hint"] == "deliver to where it leads: /outside-dir"
    assert list((host.root / "outside-dir").iterdir()) == []


def test_a_link_where_a_file_is_to_be_is_replaced_and_not_followed(host: Target) -> None:
    (host.root / "etc/a").unlink()
    (host.root / "etc/a").symlink_to("../outside")
    assert host.receive(stream([file("/etc/a", b"new\n")])).steps == {"/etc/a": "replace"}
    assert (host.read("/outside"), (host.root / "etc/a").is_symlink()) == (b"not to be touched\n", False)


def test_pachas_own_state_is_not_delivered(tmp_path: Path) -> None:
    host = Target(tmp_path)
    host.pacha.config.write_text('host = "web1"\n')  # the machine's own root
    for parcel in (
        stream([file(f"{host.pacha.state}/x", b"x")]),
        stream(absent=(os.fsencode(host.pacha.state),)),
        stream(absent=(os.fsencode(host.place),)),
    ):
        answer = host.receive(parcel)
        assert "Pacha's own state" in answer.done["error"]["message"]
    assert host.pacha.state.is_dir()


def test_a_stream_that_stops_holds_nobody_up(host: Target) -> None:
    stuck = host.start()
    assert stuck.stdin is not None
    stuck.stdin.write(stream(GOOD)[:-10])
    stuck.stdin.flush()
    assert host.receive(stream(GOOD)).code == 0
    stuck.stdin.close()
    assert stuck.wait(20) == 1


def test_the_line_of_another_version_is_told_as_that(host: Target) -> None:
    line, _, body = stream(GOOD).partition(b"\n")
    values = json.loads(line)
    values["deployment"]["serial"] = 4
    error = host.receive(json.dumps(values).encode() + b"\n" + body).done["error"]
    assert "'serial', which is unknown here" in error["message"]
    assert error["hint"] == "the same version of Pacha on both machines"


def test_a_damaged_record_of_what_was_deployed_is_not_passed_over(host: Target) -> None:
    host.receive(stream(GOOD))
    host.settle()
    (host.pacha.state / "deployed/web").write_text("{")
    answer = host.receive(stream([file("/etc/a", b"newer\n")]))
    assert "deployed/web is damaged" in answer.done["error"]["message"]
    assert host.read("/etc/a") == b"a\n"


def test_an_item_below_a_link_that_comes_along_is_refused(host: Target) -> None:
    link = Item(b"/etc/dir", b"symlink", 0o777, target=b"/outside-dir")
    answer = host.receive(stream([file("/etc/dir/x", b"x")], items=[link]))
    assert "lies below" in answer.done["error"]["message"]


def test_contents_must_be_what_their_digests_say(host: Target) -> None:
    plain = stream([file("/etc/a", b"1234")])
    assert digest(b"1234").encode() in plain
    assert plain.endswith(b"\n1234")
    answer = host.receive(plain[:-1] + b"5")
    assert "digest" in answer.done["error"]["message"]
