"""A rebuild that is stopped while the package manager works: services start again when packages are installed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.faults.kill import GROUP, kill
from tests.rebuild.hooked import dpkg, small_system
from tests.rebuild.machines import Machine

pytestmark = [needs.root, needs.tools]

POLICY = "usr/sbin/policy-rc.d"
WAITS = ": > /waits; n=0; while test -e /waits && test $((n += 1)) -lt 300; do sleep 0.1; done"


def installing(tmp_path: Path, apt_get: str) -> tuple[subprocess.Popen[str], Machine]:
    """A rebuild whose apt-get is these commands, when it has come to them."""
    web1 = Machine(tmp_path / "web1", "web1", {"/etc/app": "x\n", "/var/lib/dpkg/status": dpkg("app")})
    web1.pacha.ok("watch", "/etc/app")
    fresh = Machine(tmp_path / "fresh", None, {"/var/lib/dpkg/status": dpkg()})
    small_system(fresh.root)
    for tool in ("apt-get", "apt-cache", "apt-mark", "dpkg"):
        fresh.write({f"/bin/{tool}": f"#!/bin/sh\n{apt_get if tool == 'apt-get' else 'exit 0'}\n"})
        (fresh.root / "bin" / tool).chmod(0o755)
    process = fresh.pacha.start("rebuild", "--from", web1.pacha.store, "-y", "--json")
    deadline = time.monotonic() + 60
    while not fresh.has("/waits"):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    assert fresh.has(f"/{POLICY}")
    return process, fresh


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["heeds", "must be killed"])
def test_told_to_end_it_lets_services_start_again(tmp_path: Path, trap: str) -> None:
    process, fresh = installing(tmp_path, trap + WAITS)
    process.terminate()
    result = fresh.pacha.finish(process)
    assert (result.code, "Traceback" in result.err) == (143, False), result
    assert not fresh.has(f"/{POLICY}")


def test_what_a_killed_one_has_left_is_told(tmp_path: Path) -> None:
    process, fresh = installing(tmp_path, WAITS)
    kill(process, GROUP)
    fresh.pacha.finish(process)
    assert fresh.has(f"/{POLICY}")
    assert "rm /usr/sbin/policy-rc.d" in fresh.pacha.run("doctor").out
    fresh.write({f"/{POLICY}": "#!/bin/sh\nexit 101\n"})
    assert "policy-rc.d" not in fresh.pacha.run("doctor").out, "that is somebody else's"
