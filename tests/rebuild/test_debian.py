"""The proof: a Debian host with real packages is captured, and a fresh Debian becomes it."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests import needs
from tests.command import Pacha
from tests.faults.kill import VICTIMS, kill
from tests.faults.shares import DAY
from tests.oracle import compare
from tests.rebuild import debian
from tests.trees import build

pytestmark = [
    needs.tools,
    pytest.mark.skipif(bool(debian.why_not()), reason=debian.why_not() or "-"),
    pytest.mark.xdist_group("debian"),
]
WATCHED = ("etc", "srv/shop")


def prepare(root: Path) -> None:
    """The host as people have made it: configuration, accounts, ACLs, capabilities, awkward names, hooks."""
    for path, text in {
        "etc/nginx/sites-available/shop": "server { listen 8080 default_server; root /var/www/html; }\n",
        "etc/ssh/sshd_config.d/local.conf": "PermitRootLogin no\n",
        "etc/sudoers.d/deploy": "deploy ALL=(ALL) NOPASSWD: ALL\n",
        "etc/cron.d/shop": "5 4 * * * deploy /bin/true\n",
        "etc/pacha/hooks/pre-rebuild/10-who": '#!/bin/sh\necho "uid $(id -u) $(cat /etc/debian_version)"\n',
        "etc/pacha/hooks/post-rebuild/10-nginx": "#!/bin/sh\nnginx -t\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for hook in (root / "etc/pacha/hooks").glob("*/*"):
        hook.chmod(0o755)
    (root / "etc/sudoers.d/deploy").chmod(0o440)
    (root / "etc/nginx/sites-enabled/default").unlink()
    (root / "etc/nginx/sites-enabled/shop").symlink_to("../sites-available/shop")
    debian.inside(root, "useradd", "-m", "-u", "1500", "-s", "/bin/bash", "deploy")
    debian.inside(root, "groupadd", "-g", "2500", "ops")
    debian.inside(root, "apt-mark", "hold", "cron")
    (root / "srv/shop").mkdir()
    build(root / "srv/shop/awkward")
    for path in [p for p in (root / "srv/shop").rglob("*") if p.is_block_device() or p.is_char_device()]:
        path.unlink()  # a rebuild makes none
    for path in (root / "srv/shop").rglob("*"):
        status = path.lstat()  # a setuid file of an account that is not there is not made
        if status.st_mode & 0o6000 and not path.is_dir() and max(status.st_uid, status.st_gid) > 0:
            path.unlink()
    shop = root / "srv/shop"
    os.chown(shop, 1500, 2500)
    shop.chmod(0o2775)
    (shop / "conf").write_text("shop\n")
    os.link(shop / "conf", shop / "conf too")
    subprocess.run(["setfacl", "-m", "u:1500:rw", shop / "conf"], check=True)
    subprocess.run(["cp", root / "usr/bin/true", shop / "tool"], check=True)
    subprocess.run(["setcap", "cap_net_bind_service+ep", shop / "tool"], check=True)


def captured(place: Path) -> tuple[Pacha, Path]:
    """The host, captured as if it were this machine, with its configuration where it belongs."""
    root = debian.copy(debian.host(), place / "host")
    prepare(root)
    config = root / "etc/pacha/pacha.toml"
    config.write_text(f'host = "shop1"\nroot = "{root}"\nwatch = ["/etc", "/srv/shop"]\n')
    made = Pacha.at(place / "captured")
    pacha = Pacha(made.state, config, made.home)
    pacha.ok("capture")
    return pacha, root


def same(host: Path, rebuilt: Path) -> list[str]:
    """All differences of what is watched."""
    return [line for folder in WATCHED for line in compare(host / folder, rebuilt / folder)]


def words(pacha: Pacha, root: Path) -> tuple[str | Path, ...]:
    return "rebuild", "shop1", "--from", pacha.state, "--root", root, "-y", "--json"


def selections(root: Path) -> list[str]:
    """What dpkg says is to be installed or held."""
    return debian.inside(root, "dpkg", "--get-selections").stdout.splitlines()


def manual(root: Path) -> list[str]:
    """What apt says was installed on purpose."""
    return sorted(debian.inside(root, "apt-mark", "showmanual").stdout.split())


def test_a_fresh_debian_becomes_the_host(tmp_path: Path) -> None:
    pacha, host = captured(tmp_path)
    fresh = debian.copy(debian.base(), tmp_path / "fresh")
    second = Pacha.at(tmp_path / "second")
    result = second.run(*words(pacha, fresh))
    assert result.code == 0, result
    done = result.json
    assert (done["left"], done["deviations"]) == ([], [])
    assert {p["name"] for p in done["packages"] if p["action"] == "install"} >= {*debian.PACKAGES, "acl"}
    assert [(h["name"], h["exit"]) for h in done["hooks"]] == [
        ("pre-rebuild/10-who", 0),
        ("post-rebuild/10-nginx", 0),
    ]
    assert done["hooks"][0]["output"].startswith("uid 0 1")

    assert same(host, fresh) == []
    assert selections(fresh) == selections(host)
    assert "cron hold" in [" ".join(line.split()) for line in selections(fresh)]
    assert manual(fresh) == manual(host)
    debian.inside(fresh, "nginx", "-t")
    debian.inside(fresh, "sh", "-c", "mkdir -p /run/sshd && /usr/sbin/sshd -t")
    debian.inside(fresh, "visudo", "-c")
    assert not (fresh / "usr/sbin/policy-rc.d").exists()
    assert [name for name in os.listdir(fresh / "run") if name.startswith(".pacha")] == []

    again = second.run(*words(pacha, fresh)).json
    assert (again["ok"], again["revision"], again["steps"], again["packages"]) == (True, None, [], [])


@pytest.mark.soak
@pytest.mark.timeout(DAY)
@pytest.mark.parametrize("kills", [50])
def test_killed_at_any_instant_the_same_again_finishes(tmp_path: Path, kills: int) -> None:
    """Packages too: dpkg killed half-way is mended by the next run."""
    pacha, host = captured(tmp_path)
    choice = random.Random(kills)
    span = 25.0
    for number in range(kills):
        fresh = debian.copy(debian.base(), tmp_path / f"fresh{number}")
        second = Pacha.at(tmp_path / f"second{number}")
        process = second.start(*words(pacha, fresh))
        try:
            process.wait(choice.uniform(0.3, span))
        except subprocess.TimeoutExpired:
            pass
        kill(process, choice.choice(VICTIMS))
        second.finish(process)
        result = second.run(*words(pacha, fresh))
        assert result.code == 0, result
        assert same(host, fresh) == []
        assert selections(fresh) == selections(host)
        assert manual(fresh) == manual(host)
        subprocess.run(["rm", "-rf", fresh, second.state], check=True)
