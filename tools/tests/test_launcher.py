"""./pacha in a fresh checkout: the first run, all later ones, and what may happen in between."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.xdist_group("launcher")


def run(*command, **more):
    return subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, timeout=300, check=False, **more
    )


@pytest.fixture(scope="module")
def checkout(made_checkout):
    """The checkout after its first use: a run killed half-way, and then two at once."""
    first = subprocess.Popen([made_checkout / "pacha"], stderr=subprocess.PIPE, start_new_session=True)
    while not (made_checkout / ".venv/bin").exists():
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    both = [subprocess.Popen([made_checkout / "pacha", "x"], stdout=-1, stderr=-1) for _ in range(2)]
    ends = [(*each.communicate(timeout=300), each.returncode) for each in both]
    assert [end[2] for end in ends] == [7, 7], ends
    assert b"".join(end[1] for end in ends).count(b"(once)") == 1
    assert all(end[0].startswith(f"b'{made_checkout}/pacha'".encode()) for end in ends)
    return made_checkout


def test_later_runs_are_silent_from_anywhere_and_through_links(checkout, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(checkout / "pacha")
    (tmp_path / "second").symlink_to("link")
    expected = f"b'{checkout}/pacha'\n".encode()
    for command, cwd in [
        ([checkout / "pacha"], "/"),
        (["./pacha"], checkout),
        (["sh", "pacha"], checkout),
        (["../pacha"], checkout / "src"),
        ([link], "/"),
        (["./second"], tmp_path),
        ([checkout / ".venv/bin/pacha"], "/"),
    ]:
        result = run(*command, cwd=cwd)
        assert (result.returncode, result.stderr) == (7, b"")
        assert result.stdout.startswith(expected)


def test_arguments_pass_unchanged_in_every_locale(checkout):
    arguments = [b"", b"a b", b"\xff\xfe", b"-n", b"new\nline", "ä".encode()]
    for locale in ("C", "C.UTF-8", "POSIX"):
        result = run(checkout / "pacha", *arguments, env={"PATH": os.environ["PATH"], "LC_ALL": locale})
        assert result.stdout.decode().splitlines()[1:-1] == [ascii(argument) for argument in arguments]


def test_bytecode_is_cached_whatever_the_environment_says_and_the_variable_reaches_children(checkout):
    shutil.rmtree(checkout / "src/pacha/__pycache__")
    result = run(checkout / "pacha", env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert result.stdout.endswith(b"\n1\n")
    assert list((checkout / "src/pacha/__pycache__").glob("__main__.*.pyc"))


def test_a_touched_project_file_asks_nothing_of_pip(checkout):
    os.utime(checkout / "pyproject.toml")
    result = run(checkout / "pacha")
    assert (result.returncode, result.stderr) == (7, b"")


def test_a_changed_project_file_updates_the_environment(checkout):
    with (checkout / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    assert b"up to date" in run(checkout / "pacha").stderr
    assert run(checkout / "pacha").stderr == b""


def test_an_interpreter_that_is_gone_is_replaced(checkout):
    for name in ("python", "python3"):
        link = checkout / ".venv/bin" / name
        link.unlink()
        link.symlink_to("/nonexistent/python3")
    assert b"(once)" in run(checkout / "pacha").stderr
    assert run(checkout / "pacha").returncode == 7


def test_a_moved_checkout_makes_its_environment_anew(checkout, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved, symlinks=True)
    result = run(moved / "pacha")
    assert f"environment in {moved}/.venv (once)".encode() in result.stderr
    assert result.stdout.startswith(f"b'{moved}/pacha'".encode())


def without_environment(checkout, bare, system_python):
    """A copy of the checkout for a machine whose own Python is another, or none."""
    shutil.copytree(checkout, bare, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    script = bare / "tools/environment"
    text = script.read_text()
    assert "/usr/bin/python3 " in text
    script.write_text(text.replace("/usr/bin/python3 ", f"{system_python} "))
    return bare


def test_the_systems_python_comes_before_those_of_the_path(checkout, tmp_path):
    bare, path = tmp_path / "bare", tmp_path / "bin"
    path.mkdir()
    (path / "system").symlink_to(os.path.realpath(sys.executable))
    without_environment(checkout, bare, str(path / "system"))
    (path / "python3").write_text("#!/bin/sh\nexec touch $(dirname $0)/asked\n")
    (path / "python3").chmod(0o755)
    assert run(bare / "pacha", env={"PATH": f"{path}:/usr/bin:/bin"}).returncode == 7
    assert not (path / "asked").exists()


def test_a_system_python_that_can_make_no_environment_is_passed_over(checkout, tmp_path):
    bare, path = tmp_path / "bare", tmp_path / "bin"
    path.mkdir()
    (path / "system").write_text("#!/bin/sh\nexit 1\n")
    (path / "system").chmod(0o755)
    without_environment(checkout, bare, str(path / "system"))
    (path / "python3").symlink_to(os.path.realpath(sys.executable))
    assert run(bare / "pacha", env={"PATH": f"{path}:/usr/bin:/bin"}).returncode == 7


def test_without_a_python_it_says_which_it_needs(checkout, tmp_path):
    bare, path = tmp_path / "bare", tmp_path / "bin"
    path.mkdir()
    without_environment(checkout, bare, "/nonexistent/python3")
    result = run("/bin/sh", bare / "pacha", env={"PATH": str(path)})
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"needs Python 3.11, 3.12 or 3.13" in result.stderr
