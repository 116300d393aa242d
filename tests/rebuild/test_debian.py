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
from tests.rebuild.machines import Machine
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


LOCALTOOL = "\n".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n"
    for name in ("acl", "dpkg", "localtool")
)


def test_no_plan_promises_what_is_not_to_be_had(tmp_path: Path) -> None:
    """Where apt knows; where it cannot know yet, that is said."""
    web1 = Machine(tmp_path / "web1", "web1", {"/var/lib/dpkg/status": LOCALTOOL, "/etc/app/x": "x\n"})
    web1.pacha.ok("watch", "/etc/app")
    fresh = debian.copy(debian.base(), tmp_path / "fresh")
    near = Pacha.at(tmp_path / "near")
    plan = near.run("rebuild", "web1", "--from", web1.pacha.store, "--root", fresh, "-n", "--json")
    missing = [told for told in plan.json["deviations"] if told["version"] is None]
    assert plan.code == 3, plan
    assert [(one["name"], one["reason"]) for one in missing] == [("localtool", "it is not to be had")]
    (told,) = [one for one in plan.json["packages"] if one["name"] == "localtool"]
    assert told["reason"] == "1.0, which is not to be had"

    web1.write({"/etc/apt/sources.list.d/own.list": "deb http://own.example/ x main\n"})
    web1.pacha.ok("watch", "/etc/apt/sources.list.d")
    assert not_known(near, web1, fresh) == ["localtool"], "that repository may have it"
    (web1.root / "etc/apt/sources.list.d/own.list").unlink()
    web1.pacha.ok("capture")
    for path in (fresh / "var/lib/apt/lists").glob("*_Packages*"):
        path.unlink()
    assert not_known(near, web1, fresh) == ["acl, localtool"], "apt has no lists yet"


def not_known(near: Pacha, web1: Machine, fresh: Path) -> list[str]:
    """Of which packages a plan says that it does not know yet."""
    done = near.ok("rebuild", "web1", "--from", web1.pacha.store, "--root", fresh, "-n")
    first, last = "whether ", " can be had is known once the repositories are there"
    return [one.removeprefix(first).removesuffix(last) for one in done["notes"] if one.endswith(last)]


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
