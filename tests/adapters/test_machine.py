"""What the machine and the person at it are called, asked of the real system."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacha.adapters import machine
from tests import needs

SET_NAME = 'printf %s "$0" > /proc/sys/kernel/hostname && exec "$@"'


def asked(what: str, *before: str, **environment: str) -> str:
    """What a function of the module says in a process with this environment."""
    script = f"from pacha.adapters import machine; print(machine.{what}())"
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [*before, sys.executable, "-c", script], env={**kept, **environment}, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.strip()


def test_the_clock_is_the_real_one() -> None:
    before = time.time_ns()
    assert before <= machine.now_ns() <= time.time_ns()


def test_the_machine_id_is_the_systems() -> None:
    path = Path("/etc/machine-id")
    if not path.exists() or not path.read_text().strip():
        path = Path("/var/lib/dbus/machine-id")
    expected = path.read_text().strip() if path.exists() else ""
    assert machine.machine_id() == expected


def test_the_host_is_named_after_the_machine() -> None:
    name = machine.host_name()
    assert name == os.uname().nodename.partition(".")[0] or not os.uname().nodename.replace("-", "").isalnum()


@needs.root
@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("web1.example.com", "web1"),
        ("web_1-x", "web_1-x"),
        ("-web-", "web"),
        ("we b;1", "web1"),
        ("...", "localhost"),
        ("x" * 64, "x" * 64),
    ],
)
def test_a_name_becomes_what_a_host_may_be_called(hostname: str, expected: str) -> None:
    try:
        said = asked("host_name", "unshare", "--uts", "sh", "-c", SET_NAME, hostname)
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"no name space of its own for the host name: {problem.stderr}")
    assert said == expected


def test_the_person_is_the_one_who_called_sudo() -> None:
    expected = "alice" if needs.AM_ROOT else machine.person()
    assert asked("person", SUDO_USER="alice") == expected


def test_root_who_calls_sudo_is_nobody_in_particular() -> None:
    assert asked("person", SUDO_USER="root") == asked("person")


def test_without_sudo_it_is_who_logged_in_or_the_account() -> None:
    login = Path("/proc/self/loginuid")
    number = int(login.read_text()) if login.exists() else 0xFFFFFFFF
    number = os.getuid() if number == 0xFFFFFFFF else number
    assert asked("person") == pwd.getpwuid(number).pw_name


@needs.root
def test_an_account_without_a_name_is_its_number() -> None:
    if Path("/proc/self/loginuid").exists() and int(Path("/proc/self/loginuid").read_text()) != 0xFFFFFFFF:
        pytest.skip("somebody has logged in")
    script = """
import codecs, os
from pacha.adapters import machine
codecs.lookup("ascii"), machine.person()  # imported while the interpreter may still be read
os.setresuid(54_321, 54_321, 54_321)
print(machine.person())
"""
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "54321\n"
