"""Who made a change: real programs under real users, named rightly or not at all."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.agent.processes import login_of, may_log_in
from tests.agents import running, until
from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import revisions, watch_first

pytestmark = [needs.root, pytest.mark.alone]

USERS = (0, 1, 65_534, 12_345)  # the last has no name
CHANGES = 200
NAMED = 0.8
TOKEN = "hunter2hunter2"
UNSET = "4294967295"


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# The words of a command that writes to a file, the same ready under another name being at hand.
WAYS: dict[str, Callable[[Path, Path], list[str]]] = {
    "sed": lambda path, ready: ["sed", "-i", "s/old/new/", str(path)],
    "tee": lambda path, ready: ["tee", str(path)],
    "cp": lambda path, ready: ["cp", str(ready), str(path)],
    "mv": lambda path, ready: ["mv", str(ready), str(path)],
    "dd": lambda path, ready: ["dd", f"if={ready}", f"of={path}", "status=none"],
    "install": lambda path, ready: ["install", "-m", "644", str(ready), str(path)],
    "sh": lambda path, ready: ["sh", "-c", f"echo new >> '{path}'"],
    "tee in sh": lambda path, ready: ["sh", "-c", f"echo new | tee '{path}'"],
    "python": lambda path, ready: [sys.executable, "-c", f"open({str(path)!r}, 'a').write('new')"],
    "perl": lambda path, ready: ["perl", "-i", "-pe", "s/old/new/", str(path)],
    "chmod": lambda path, ready: ["chmod", "600", str(path)],
    "rm": lambda path, ready: ["rm", str(path)],
    "ln": lambda path, ready: ["ln", "-sf", "nowhere", str(path)],
    "vim": lambda path, ready: ["vim", "-u", "NONE", "-es", "-c", "%s/old/new/", "-c", "wq", str(path)],
}
PROGRAMS = {"tee in sh": "tee"}


@pytest.fixture
def live(open_arena: Path) -> Path:
    tree = open_arena / "live"
    tree.mkdir()
    return tree


def run_as(uid: int, argv: list[str]) -> None:
    """Run a command as that user, to its end."""
    change = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    done = subprocess.run([*change, *argv], input=b"new\n", capture_output=True)
    assert done.returncode == 0, (argv, done)


def everyones_files(live: Path, ready: Path) -> list[tuple[int, str, Path, Path]]:
    """(user, way, file, the same made ready elsewhere) of each change that is to be made."""
    ways = [way for way in WAYS if shutil.which(way.split()[0]) or way == "python"]
    found = []
    for user in USERS:
        for folder in (live, ready):
            (folder / str(user)).mkdir(parents=True)
            os.chown(folder / str(user), user, user)
    for number in range(CHANGES):
        user = USERS[number % len(USERS)]
        way = ways[number // len(USERS) % len(ways)]
        paths = [folder / str(user) / f"file{number}" for folder in (live, ready)]
        for path, text in zip(paths, ("old\n", "new\n"), strict=True):
            path.write_text(text)
            os.chown(path, user, user)
        found.append((user, way, paths[0], paths[1]))
    return found


def told_of(pacha: Pacha) -> dict[str, list[dict[str, Any]]]:
    """The agent's revisions of each path."""
    found: dict[str, list[dict[str, Any]]] = {}
    for revision in revisions(pacha):
        if revision["cause"] == "agent":
            for change in revision["paths"]:
                found.setdefault(change["path"], []).append(revision)
    return found


def judge(pacha: Pacha, made: list[tuple[int, str, Path, Path]]) -> tuple[Counter[str], list[str]]:
    """How many changes are named, unknown, or of a known program; and every wrong word."""
    count: Counter[str] = Counter()
    wrong = []
    told = told_of(pacha)
    for user, way, path, _ in made:
        for revision in told.get(str(path), []):
            users = {who["user"] for who in revision["who"]}
            wrong += [f"{path} by {way}: {revision}"] if users - {name_of(user)} else []
        last = told.get(str(path), [{"who": [], "author": "nothing captured"}])[0]
        is_named = bool(last["who"]) and "unknown" not in last["author"]
        count["named" if is_named else f"unknown {way}"] += 1
        program = PROGRAMS.get(way, way.split()[0])
        # Of one that has just ended only the name is left.
        words = " ".join(f"{who['exe']} {who['command'].split(' ')[0]}" for who in last["who"])
        count["program"] += program in words
        for who in last["who"]:
            if who["login"] is None and who["user"] not in last["author"].split(", "):
                wrong.append(f"{path}: {who['user']} is no author: {last}")
    return count, wrong


def test_nobody_is_taken_for_another(pacha: Pacha, live: Path, open_arena: Path) -> None:
    made = everyones_files(live, open_arena / "ready")
    watch_first(pacha, live)
    with running(pacha) as agent:
        for user, way, path, ready in made:
            run_as(user, WAYS[way](path, ready))
        agent.settle()
    count, wrong = judge(pacha, made)
    print(
        f"\nauthors: {count['named'] / CHANGES:.0%} named, {count['program'] / CHANGES:.0%} with the program; {count}"
    )
    assert wrong == []
    assert count["named"] >= NAMED * CHANGES
    assert count["program"] >= NAMED * CHANGES


LONG_LIVED = """
import sys, time
for number in range(8):
    with open(f"{sys.argv[1]}/long{number}", "w") as file:
        file.write(sys.argv[2])
    time.sleep(0.15)
"""


def test_people_who_work_at_the_same_time(pacha: Pacha, live: Path) -> None:
    """Programs that live long are always named; and each person's changes are their own revisions."""
    for user in USERS:
        (live / str(user)).mkdir()
        os.chown(live / str(user), user, user)
    watch_first(pacha, live)
    with running(pacha) as agent:
        change = ["setpriv", "--clear-groups"]
        started = [
            subprocess.Popen(
                [
                    *change,
                    f"--reuid={user}",
                    f"--regid={user}",
                    sys.executable,
                    "-c",
                    LONG_LIVED,
                    live / str(user),
                    "x",
                ]
            )
            for user in USERS
        ]
        assert [process.wait(30) for process in started] == [0] * len(USERS)
        agent.settle()
    told = told_of(pacha)
    for user in USERS:
        for number in range(8):
            for revision in told[f"{live}/{user}/long{number}"]:
                assert [who["user"] for who in revision["who"]] == [name_of(user)], revision
                assert {change["path"].split("/")[-2] for change in revision["paths"]} == {str(user)}


def test_su_to_nobody(pacha: Pacha, live: Path) -> None:
    """Root did it, as nobody."""
    path = live / "file"
    path.write_text("old\n")
    path.chmod(0o666)
    watch_first(pacha, live)
    with running(pacha) as agent:
        script = f"echo new > {path}; sleep 0.2"
        subprocess.run(["su", "-s", "/bin/sh", "nobody", "-c", script], check=True)
        agent.settle()
    (revision,) = told_of(pacha)[str(path)]
    assert [who["user"] for who in revision["who"]] == ["nobody"]
    assert revision["who"][0]["login"] in ("root", None) or may_log_in()


# -- who had logged in ---------------------------------------------------------------------------------

# The shell of a person who has logged in, and whose sudo has made itself root.
LOGGED_IN = """
import os, sys
reading, writing = os.pipe()
uid = int(sys.argv[1])
if os.fork() == 0:
    os.read(reading, 1)
    os.execv(sys.argv[2], sys.argv[2:])
os.setresuid(uid, uid, uid)
os.write(writing, b"x")
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.fixture
def sudo(open_arena: Path) -> Path:
    """What can't be told from the real one by its name and its place among the processes."""
    path = open_arena / "bin" / "sudo"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\n"$@"\nexit $?\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("audited", [True, False])
def test_the_person_behind_sudo(pacha: Pacha, live: Path, sudo: Path, audited: bool) -> None:
    if audited and not may_log_in():
        pytest.skip("the login uid can't be set here")
    if not audited and Path("/proc/self/loginuid").read_text() != UNSET:
        pytest.skip("somebody has logged in: the kernel tells who")
    path = live / "ports.conf"
    path.write_text("old\n")
    watch_first(pacha, live)
    argv = [sys.executable, "-c", LOGGED_IN, "1", str(sudo), "sed", "-i", "s/old/new/", str(path)]
    with running(pacha) as agent:
        if audited:
            with login_of(1):
                subprocess.run(argv, check=True)
        else:
            subprocess.run(argv, check=True)
        agent.settle()
    (revision,) = told_of(pacha)[str(path)]
    if revision["author"] == "unknown":
        pytest.skip("sed was too quick this time")
    login = name_of(1)
    assert revision["author"] == login
    (who,) = revision["who"]
    if "via" not in who:
        pytest.skip("sudo had gone with it")
    assert (who["user"], who["login"], who["via"]) == ("root", login, "sudo")
    assert os.path.basename(who["exe"]) == "sed"
    assert revision["message"] == f"{login} via sudo: sed -i s/old/new/ {path}"


# -- secrets -------------------------------------------------------------------------------------------


@pytest.fixture
def heard(pacha: Pacha, tmp_path: Path) -> Path:
    """A file with all that hooks have been told on standard input."""
    path = tmp_path / "heard"
    path.touch()
    for moment in ("pre-capture", "post-capture", "on-failure"):
        hook = pacha.config.parent / "hooks" / moment / "50-note"
        hook.parent.mkdir(parents=True)
        hook.write_text(f"#!/bin/sh\ncat >> '{path}'\n")
        hook.chmod(0o755)
    return path


MOVER = """
import os, sys, time
open(f"{sys.argv[1]}/half", "w").write("c")
os.rename(f"{sys.argv[1]}/half", f"{sys.argv[1]}/secret4")
time.sleep(0.1)
"""


def test_the_arguments_of_a_secret_are_nowhere(pacha: Pacha, live: Path, heard: Path, tmp_path: Path) -> None:
    pacha.config.write_text(f'[secrets]\npaths = ["{live}/secret*"]\n')
    for name in ("secret1", "secret2", "secret3", "public"):
        (live / name).write_text("old\n")
    watch_first(pacha, live)
    with running(pacha) as agent:
        commands = [
            ["sh", "-c", f"echo new > '{live}/secret1'; sleep 0.1; : {TOKEN}"],
            [
                sys.executable,
                "-c",
                f"import time; open('{live}/secret2', 'a').write('x'); time.sleep(.1) # {TOKEN}",
            ],
            ["sh", "-c", f"echo a > '{live}/public'; echo b > '{live}/secret3'; sleep 0.1; : {TOKEN}"],
            [sys.executable, "-c", MOVER, str(live), TOKEN],
        ]
        for argv in commands:
            subprocess.run(argv, check=True)
            agent.settle()
        said = [agent.said(), pacha.run("log", "--json").out, pacha.run("status", "--json").out]
        # What is no secret shows that there was something to hide.
        subprocess.run(["sh", "-c", f"echo d > '{live}/public'; sleep 0.1; : not{TOKEN[:4]}"], check=True)
        agent.settle()
    found = revisions(pacha)
    said += [pacha.run("show", revision["id"], "--json").out for revision in found]
    said += [pacha.run("show", revision["id"]).out for revision in found]
    assert f"not{TOKEN[:4]}" in found[0]["message"]
    assert f"not{TOKEN[:4]}" in heard.read_text()
    for text in (*said, heard.read_text()):
        assert TOKEN not in text
    taken = {change["path"]: revision for revision in reversed(found) for change in revision["paths"]}
    for name in ("secret1", "secret2", "secret3", "secret4"):
        (who,) = taken[f"{live}/{name}"]["who"]
        assert who["command"].endswith(" …"), who
    assert not StoreCopy(pacha.store, tmp_path / "copy").holds(TOKEN.encode())
    for path in pacha.state.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path


# -- package managers ----------------------------------------------------------------------------------

# It has its log open before it changes anything, as they all do.
APT = """#!/bin/sh
echo begin > "$LIVE/pkg/log"
i=0
while [ $i -lt 30 ]; do
    case $((i % 3)) in
    0) cp "$READY" "$LIVE/pkg/new$i.dpkg-new"; mv "$LIVE/pkg/new$i.dpkg-new" "$LIVE/pkg/new$i" ;;
    1) sed -i s/old/new/ "$LIVE/pkg/file$i" ;;
    2) cp "$READY" "$LIVE/pkg/file$i" ;;
    esac
    sleep 0.05
    i=$((i + 1))
done
"""


@pytest.fixture
def apt(open_arena: Path) -> Path:
    """A package manager that takes a second and a half."""
    path = open_arena / "bin" / "apt"
    path.parent.mkdir()
    path.write_text(APT)
    path.chmod(0o755)
    return path


def test_a_package_manager_makes_one_revision(pacha: Pacha, live: Path, apt: Path, open_arena: Path) -> None:
    (live / "pkg").mkdir()
    for number in range(30):
        (live / "pkg" / f"file{number}").write_text("old\n")
    (live / "other").mkdir()
    os.chown(live / "other", 1, 1)
    ready = open_arena / "ready"
    ready.write_text("new\n")
    watch_first(pacha, live)
    with running(pacha) as agent:
        environment = {**os.environ, "LIVE": str(live), "READY": str(ready)}
        process = subprocess.Popen([apt, "install", "nginx"], env=environment)
        time.sleep(0.5)
        script = f"echo mine > '{live}/other/file'; sleep 0.1"
        subprocess.run(
            ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "sh", "-c", script], check=True
        )
        until(lambda: revisions(pacha, live / "other"))
        assert process.poll() is None, "the other's change had to wait for the package manager"
        assert process.wait(30) == 0
        agent.settle()
        until(lambda: revisions(pacha, live / "pkg" / "new27"))
    runs = [revision for revision in revisions(pacha) if revision["cause"] == "apt install nginx"]
    touched = {change["path"] for change in runs[0]["paths"]}
    expected = {f"{live}/pkg/{'file' if number % 3 else 'new'}{number}" for number in range(30)}
    assert len(runs) == 1, [revision["time"] for revision in runs]
    assert expected <= touched
    assert not any("other" in path or "dpkg-new" in path for path in touched)
    assert "apt install nginx" in runs[0]["message"]
    assert all(len(revisions(pacha, path)) <= 2 for path in expected)
    (others,) = told_of(pacha)[f"{live}/other/file"]
    assert (others["author"], others["cause"]) == (name_of(1), "agent")
