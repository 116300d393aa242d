"""`make install` and `make uninstall` into a place of their own."""

import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.xdist_group("launcher")


def make(checkout, *arguments):
    # A make above this one must not hand down its variables.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    return subprocess.run(
        ["make", "-C", checkout, *arguments],
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.fixture(scope="module")
def prefix(made_checkout, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix") / "usr"
    make(made_checkout, "install", f"PREFIX={prefix}")
    return prefix


def outside_the_environment(prefix):
    return [name for name in files(prefix) if not name.startswith("lib/pacha/")]


def test_it_installs_command_units_pages_and_completions(prefix):
    assert outside_the_environment(prefix) == [
        "bin/pacha",
        "lib/systemd/system/pacha-confirm.service",
        "lib/systemd/system/pacha-once.service",
        "lib/systemd/system/pacha-once.timer",
        "lib/systemd/system/pacha.service",
        "lib/systemd/system/sysinit.target.wants/pacha-confirm.service",
        "share/bash-completion/completions/pacha",
        "share/fish/vendor_completions.d/pacha.fish",
        "share/man/man1/pacha-host.1",
        "share/man/man1/pacha-watch.1",
        "share/man/man1/pacha.1",
        "share/zsh/site-functions/_pacha",
    ]
    for name in outside_the_environment(prefix):
        assert not re.search(rb"@[A-Z]+@", (prefix / name).read_bytes()), name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_understands_the_units(prefix):
    units = sorted((prefix / "lib/systemd/system").glob("pacha*"))
    command = ["systemd-analyze", "verify", "--man=no", *units]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    faults = [line for line in (verified.stdout + verified.stderr).splitlines() if "pacha" in line]
    assert faults == []
    assert verified.returncode == 0, verified.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_the_agent_is_confined_as_far_as_its_work_allows(prefix):
    unit = prefix / "lib/systemd/system/pacha.service"
    # At most 8.2 of 10 points of exposure; what is left out, and why, is in the unit.
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=82", unit]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_what_undoes_after_a_restart_needs_no_enabling(prefix):
    wanted = prefix / "lib/systemd/system/sysinit.target.wants/pacha-confirm.service"
    assert wanted.read_text() == (prefix / "lib/systemd/system/pacha-confirm.service").read_text()
    assert not os.path.isabs(os.readlink(wanted))


def test_the_agent_sees_the_file_systems_of_the_host(prefix):
    """Nothing in the unit gives it a mount namespace of its own, or hides anything from it."""
    text = (prefix / "lib/systemd/system/pacha.service").read_text()
    keys = {line.partition("=")[0] for line in text.splitlines() if line[:1].isupper()}
    hiding = re.compile("^(Protect|Private|ProcSubset|Root|Bind|Mount|Dynamic|TemporaryF)|Paths$")
    assert not [key for key in keys if hiding.search(key)]
    assert not keys & {"NoNewPrivileges", "RestrictSUIDSGID", "User", "DeviceAllow", "DevicePolicy"}
    assert {"Type=notify", "KillMode=mixed", f"ExecStart={prefix}/bin/pacha agent"} <= set(text.splitlines())


def test_the_command_runs_and_knows_its_own_path(prefix):
    result = subprocess.run([prefix / "bin/pacha", b"\xff"], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (7, b"")
    assert result.stdout.splitlines()[:2] == [f"b'{prefix}/bin/pacha'".encode(), rb"b'\xff'"]


def test_installing_again_replaces_it(made_checkout, prefix):
    (prefix / "lib/pacha/left-over").touch()
    make(made_checkout, "install", f"PREFIX={prefix}")
    assert not (prefix / "lib/pacha/left-over").exists()
    assert set(os.listdir(prefix / "lib")) == {"pacha", "systemd"}


def test_without_its_python_it_says_what_to_run(made_checkout, prefix):
    python = prefix / "lib/pacha/bin/python"
    target = os.readlink(python)
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    result = subprocess.run([prefix / "bin/pacha"], capture_output=True, text=True, check=False)
    python.unlink()
    python.symlink_to(target)
    assert result.returncode == 1
    assert f"run: make -C '{made_checkout}' install PREFIX='{prefix}'" in result.stderr


def test_the_manual_has_all_options_and_no_hidden_ones(prefix):
    page = (prefix / "share/man/man1/pacha-host.1").read_text()
    assert "\\-\\-skip" in page
    assert "100% [left] out" in page
    assert "pacha host add" in page
    assert "hidden" not in page
    if shutil.which("man"):
        command = ["man", "--warnings", "-E", "UTF-8", "-l", prefix / "share/man/man1/pacha-host.1"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        assert shown.stderr == ""
        assert "  pacha host one\n" in shown.stdout
        assert "pacha-host - keep [hosts]: 'all' of them" in shown.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["pacha", ""], {"host", "watch", "--help", "--version"}),
        (["pacha", "wa"], {"watch"}),
        (["pacha", "watch", "--s"], {"--skip"}),
        (["pacha", "watch", "--skip", "u"], {"users"}),
        (["pacha", "host", "a"], {"add"}),
        (["pacha", "host", "add", "--k"], {"--key"}),
        (["pacha", "watch", "/et"], set()),  # left to bash: paths
    ],
)
def test_bash_offers_what_fits(prefix, typed, offered):
    script = """
        . "$1"; shift
        compopt() { :; }   # only works while a person completes
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pacha
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    completions = prefix / "share/bash-completion/completions/pacha"
    result = subprocess.run(
        ["bash", "-c", script, "bash", completions, *typed], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.split()) == offered
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("shell", "name"),
    [("bash", "bash-completion/completions/pacha"), ("zsh", "zsh/site-functions/_pacha"),
     ("fish", "fish/vendor_completions.d/pacha.fish")],
)  # fmt: skip
def test_each_shell_can_read_its_completions(prefix, shell, name):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", prefix / "share" / name], check=True)


def test_uninstall_leaves_nothing(made_checkout, tmp_path):
    make(made_checkout, "install", f"DESTDIR={tmp_path}")
    assert (tmp_path / "usr/bin/pacha").read_text().count("/usr/lib/pacha/bin/python") == 2
    assert str(tmp_path) not in (tmp_path / "usr/bin/pacha").read_text()
    make(made_checkout, "uninstall", f"DESTDIR={tmp_path}")
    assert files(tmp_path) == []
