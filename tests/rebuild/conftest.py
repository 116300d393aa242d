"""A host that is lost, for the tests that need no particular one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rebuild.machines import Machine


@pytest.fixture
def web1(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "web1", "web1", {"/etc/hosts": "web1\n", "/etc/app/x": "x\n"})
    machine.pacha.ok("watch", "/etc")
    return machine
