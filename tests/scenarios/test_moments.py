"""Hooks at their moments, seen from the command line: what runs, what it is told, and what its failing stops."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.oracle import compare, save_twin
from tests.steps import pending, revisions, watch_first

from tests import needs

MOMENTS = ("pre-capture", "post-capture", "pre-rollback", "post-rollback", "check")


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("old\n")
    watch_first(pacha, tree)
    return tree


def hook(pacha: Pacha, moment: str, script: str, name: str = "50-test", mode: int = 0o755) -> Path:
    """Put a hook in its place, and capture that so that it is no change of the test's own."""
    path = pacha.config.parent / "hooks" / moment / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


def first(pacha: Pacha) -> str:
    return str(revisions(pacha)[-1]["id"])


def test_what_a_hook_is_told(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for moment in MOMENTS:
        hook(
            pacha,
            moment,
            f'echo "$PACHA_EVENT $PACHA_HOST $PACHA_ROOT $PACHA_DRY_RUN" >> {log}; cat > {log}.{moment}',
        )
    pacha.ok("capture")
    (live / "file").write_text("new\n")
    host = pacha.ok("status")["host"]
    pacha.ok("rollback", live, "--to", first(pacha), "-n")
    before = len(log.read_text().splitlines())
    pacha.ok("rollback", live, "--to", first(pacha), "-y")
    told = [line.split() for line in log.read_text().splitlines()[before:]]
    events = [line[0] for line in told]
    for moment in MOMENTS:
        assert moment in events
    assert events.index("pre-rollback") < events.index("post-rollback")
    assert all(line[1:] == [host, "/", "0"] for line in told), told
    plan = json.loads((tmp_path / "log.pre-rollback").read_text())
    assert str(live / "file") in json.dumps(plan)
    assert str(live / "file") in (tmp_path / "log.pre-capture").read_text()


@pytest.mark.parametrize("moment", ["pre-rollback", "check"])
def test_a_failing_hook_stops_a_rollback(
    pacha: Pacha, live: Path, arena: Path, moment: str, tmp_path: Path
) -> None:
    hook(pacha, moment, "echo 'the reason'; exit 7")
    hook(pacha, "on-failure", f"cat > {tmp_path}/failure")
    (live / "file").write_text("new\n")
    save_twin(live, arena / "twin")
    result = pacha.run("rollback", live, "--to", first(pacha), "-y")
    assert result.code == 1, result
    assert "50-test" in result.err
    assert "the reason" in result.out + result.err
    assert compare(arena / "twin", live) == []
    assert (tmp_path / "failure").exists()
    json.loads((tmp_path / "failure").read_text())


def test_a_failing_pre_capture_records_nothing(pacha: Pacha, live: Path) -> None:
    hook(pacha, "pre-capture", "exit 1")
    (live / "file").write_text("new\n")
    count = len(revisions(pacha))
    result = pacha.run("capture", "--json")
    assert result.code == 1
    assert result.json["ok"] is False
    assert len(revisions(pacha)) == count
    assert ("modified", str(live / "file")) in pending(pacha)


def test_a_failing_post_rollback_undoes_it_all(pacha: Pacha, live: Path, arena: Path) -> None:
    hook(pacha, "post-rollback", "echo 'it does not start'; exit 9")
    (live / "file").write_text("new\n")
    (live / "folder").mkdir()
    (live / "folder" / "x").write_text("x\n")
    save_twin(live, arena / "twin")
    result = pacha.run("rollback", live, "--to", first(pacha), "-y")
    assert result.code == 1, result
    assert "it does not start" in result.out + result.err
    assert compare(arena / "twin", live) == []
    assert pacha.run("verify").code in (0, 4)
    assert not any(str(live) in path for _, path in pending(pacha))


def test_output_is_kept_with_the_revision(pacha: Pacha, live: Path) -> None:
    hook(pacha, "post-rollback", "echo 'said by the hook'")
    (live / "file").write_text("new\n")
    answer = pacha.ok("rollback", live, "--to", first(pacha), "-y")
    told = {entry["name"]: entry for entry in answer["hooks"]}
    assert any("50-test" in name for name in told)
    assert any("said by the hook" in entry["output"] for entry in told.values())
    shown = pacha.run("show", answer["revision"]).out
    assert "said by the hook" in shown
    assert "post-rollback" in shown, "which moment's hook said it"


@needs.root
@pytest.mark.parametrize("how", ["file", "folder", "owner", "all hooks"])
def test_as_root_no_hook_of_others_runs(pacha: Pacha, live: Path, tmp_path: Path, how: str) -> None:
    path = hook(pacha, "pre-rollback", f"touch {tmp_path}/ran")
    if how == "owner":
        os.chown(path, 65_534, 65_534)
    else:
        {"file": path, "folder": path.parent, "all hooks": path.parent.parent}[how].chmod(0o777)
    (live / "file").write_text("new\n")
    result = pacha.run("rollback", live, "--to", first(pacha), "-y")
    assert result.code == 1, result
    assert not (tmp_path / "ran").exists()
    assert (live / "file").read_text() == "new\n"
    assert pacha.run("doctor").code == 4


def test_a_hook_that_hangs_is_stopped_with_its_children(pacha: Pacha, live: Path) -> None:
    pacha.config.write_text(pacha.config.read_text() + '[hooks]\ntimeout = "1s"\n')
    hook(pacha, "pre-rollback", "sleep 31.4159 & sleep 31.4159")
    (live / "file").write_text("new\n")
    started = time.monotonic()
    result = pacha.run("rollback", live, "--to", first(pacha), "-y")
    assert result.code == 1, result
    assert time.monotonic() - started < 15
    running = [entry.read_bytes() for entry in Path("/proc").glob("[0-9]*/cmdline") if _readable(entry)]
    assert not any(b"31.4159" in line for line in running)


def _readable(entry: Path) -> bool:
    try:
        entry.read_bytes()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("content", ["no interpreter line\n", "#!/nonexistent\n"])
def test_what_cannot_run_is_a_failure(pacha: Pacha, live: Path, content: str) -> None:
    hook(pacha, "pre-capture", "").write_text(content)
    (live / "file").write_text("new\n")
    result = pacha.run("capture")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "50-test" in result.err


def test_an_unknown_moment_is_pointed_out(pacha: Pacha, live: Path) -> None:
    hook(pacha, "pre-bogus", "true")
    assert "pre-bogus" in pacha.run("doctor").out
