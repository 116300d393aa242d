"""Facts in the history: they come with what changed, make a revision where only they changed, and cost nothing."""

from __future__ import annotations

from pathlib import Path

from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import revisions

from tests import needs

pytestmark = needs.root

STANZA = "Package: {0}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {1}\n\n"


def system(root: Path, *packages: tuple[str, str]) -> None:
    """A root with these packages installed by dpkg."""
    for folder in ("etc", "usr/lib", "var/lib/dpkg"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    status = root / "var/lib/dpkg/status-new"
    status.write_text("".join(STANZA.format(*package) for package in packages))
    status.rename(root / "var/lib/dpkg/status")


def facts(pacha: Pacha, place: Path, name: str) -> str:
    """A fact of the newest revision, by plain hg."""
    return StoreCopy(pacha.store, place).hg("cat", "-r", "tip", f"path:facts/{name}").decode()


def test_facts_come_with_the_revision_and_alone(pacha: Pacha, tmp_path: Path) -> None:
    root = tmp_path / "root"
    system(root, ("nginx", "1.22"))
    (root / "etc/hosts").write_text("a\n")
    pacha.config.write_text(f'root = "{root}"\n[rebuild]\npackages = ["postgresql"]\n')
    pacha.ok("watch", "/etc")
    assert facts(pacha, tmp_path / "copy", "packages/apt") == "nginx 1.22\n"
    assert facts(pacha, tmp_path / "copy", "os").startswith("id debian\nversion 12\n")
    assert facts(pacha, tmp_path / "copy", "wanted") == "postgresql\n"
    assert pacha.ok("capture")["revision"] is None

    system(root, ("nginx", "1.22"))  # written again, and nothing is another
    assert pacha.ok("capture")["revision"] is None

    system(root, ("nginx", "1.24"), ("vim", "9"))
    done = pacha.ok("capture", "/etc/hosts")
    assert done["revision"] and done["changed"] == []
    assert revisions(pacha)[0]["message"] == "nginx now 1.24, vim installed"
    assert pacha.ok("capture")["revision"] is None

    (pacha.state / "index.sqlite").unlink()  # a cache: the store has the facts
    assert pacha.ok("capture")["revision"] is None
    assert pacha.ok("verify")["ok"]


def test_a_package_manager_that_makes_no_sense_stops_no_capture(pacha: Pacha, tmp_path: Path) -> None:
    root = tmp_path / "root"
    system(root)
    (root / "etc/hosts").write_text("a\n")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/dnf").write_text("#!/bin/false\n")
    pacha.config.write_text(f'root = "{root}"\n')
    done = pacha.run("watch", "/etc")
    assert done.code == 0
    assert "what dnf has installed cannot be told" in done.err
