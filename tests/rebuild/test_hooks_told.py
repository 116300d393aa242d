"""Which hooks a plan lists: those that will run."""

from __future__ import annotations

from pathlib import Path

from tests import needs
from tests.rebuild.hooked import small_system, with_hooks
from tests.rebuild.machines import Machine

pytestmark = [needs.root, needs.tools]


def listed(machine: Machine, source: Path) -> list[str]:
    """The hooks that a plan lists."""
    said = machine.pacha.run("rebuild", "--from", source, "-n")
    assert said.code == 0, said
    _, _, hooks = said.out.partition("\nhooks: ")
    return [line.strip() for line in hooks.splitlines()[1:]]


def test_a_plan_lists_the_hooks_that_will_run(tmp_path: Path) -> None:
    """None of a rehearsal alone, and when it goes on none that has run already."""
    bodies = {"pre-rebuild/10-a": "exit 0", "post-rebuild/10-b": "test -e /gate", "check/10-c": "exit 1"}
    web1 = with_hooks(tmp_path / "web1", bodies)
    fresh = Machine(tmp_path / "fresh", None)
    small_system(fresh.root)
    source, folder = web1.pacha.store, "/etc/pacha/hooks/"
    assert listed(fresh, source) == [f"{folder}post-rebuild/10-b", f"{folder}pre-rebuild/10-a"]
    assert fresh.rebuild(source).json["error"]["kind"] == "hook"
    assert listed(fresh, source) == [f"{folder}post-rebuild/10-b"]
    (fresh.root / "gate").touch()
    fresh.rebuilt(source)
