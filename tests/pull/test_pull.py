"""Pulling through a real sshd: what arrives, what is told, and what is left alone."""

from __future__ import annotations

import itertools
import json
import os
import pty
import stat
import subprocess
from contextlib import suppress

import pytest

from tests.agents import until
from tests.docs.test_json import GENERAL, documented, fields, section
from tests.pull.places import Puller, offer
from tests.server.hub import Hub
from tests.steps import revisions

NUMBERS = itertools.count()
pytestmark = pytest.mark.xdist_group("pull")


@pytest.fixture
def web1(server: Hub, request: pytest.FixtureRequest) -> Puller:
    """A host of this test's own."""
    name = "".join(
        c for c in request.node.name.removeprefix("test_") if c.isascii() and (c.isalnum() or c == "_")
    )
    return Puller(server, f"{name[:40]}{next(NUMBERS)}")


def test_the_first_time_everything_comes_and_is_recorded_with_who_and_from_where(web1: Puller) -> None:
    offer(web1.hub, {
        "files/etc/motd": "welcome\n",
        "files/usr/local/bin/tool": "#!/bin/sh\n",
        "pacha.toml": '[owner."/usr/local/bin/tool"]\nmode = "0750"\n',
        "hooks/post-push/10-tell": "#!/bin/sh\necho told\n",
    })  # fmt: skip
    done = web1.pull()
    assert web1.read("/etc/motd") == "welcome\n"
    assert stat.S_IMODE(os.stat(web1.root / "usr/local/bin/tool").st_mode) == 0o750
    assert {step["path"] for step in done["steps"]} >= {"/etc/motd", "/usr/local/bin/tool"}
    assert [hook["name"] for hook in done["hooks"]] == ["post-push/10-tell"]
    assert (done["deployment"], done["server"], done["host"]) == ("base", "hub", web1.name)
    (newest, *_) = revisions(web1.pacha, "/etc/motd")
    assert newest["id"] == done["revision"]
    assert newest["author"].endswith(", pulled from hub")
    assert [one["backlog"] for one in done["servers"]] == [0]
    (told,) = [one for one in web1.hub.log("pulled") if one["host"] == web1.name]
    assert told["words"] == "base"


def test_again_there_is_nothing_to_do_and_no_mercurial_is_started(web1: Puller) -> None:
    web1.write("/etc/motd", "welcome\n")
    offer(web1.hub)
    (web1.root / "etc/motd").chmod(0o644)
    done = web1.pull()
    assert (done["steps"], done["revision"], done["servers"]) == ([], None, [])
    assert not web1.has_history
    said = web1.said("base", "-y")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("  nothing to do\n")
    assert web1.said("base", "-y", "-q").out == ""


def test_a_changed_file_comes_with_its_difference(web1: Puller) -> None:
    offer(web1.hub)
    web1.pull()
    offer(web1.hub, {"files/etc/motd": "other\n"})
    before = web1.tree()
    looked = web1.said("base", "-n")
    assert looked.code == 0
    assert "-welcome" in looked.out and "+other" in looked.out
    assert web1.tree() == before
    said = web1.said("base", "-y", "--diff")
    assert "-welcome" in said.out and "recorded as" in said.out
    assert web1.read("/etc/motd") == "other\n"


def test_a_look_beforehand_touches_nothing_and_leaves_no_record(web1: Puller) -> None:
    offer(web1.hub)
    before = web1.tree()
    done = web1.pacha.ok("pull", "base", "-n")
    assert [step["path"] for step in done["steps"]] == ["/etc/motd"]
    assert done["dry_run"] is True
    assert done["diffs"]
    assert web1.tree() == before
    assert not (web1.pacha.state / "deployed").exists()
    assert not (web1.pacha.state / "journal").exists() or not os.listdir(web1.pacha.state / "journal")


def test_without_a_terminal_it_asks_nobody(web1: Puller) -> None:
    offer(web1.hub)
    said = web1.said("base")
    assert said.code == 2
    assert "-y" in said.err
    assert not web1.has("/etc/motd")


def answered(host: Puller, answer: str, *words: str) -> tuple[int, str]:
    """Pull on a terminal, where a person answers: the exit code, and what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        host.pacha.argv("pull", *words),
        env=host.pacha.environment(), cwd=host.pacha.home, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    with suppress(OSError):  # it is at its end
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    return process.wait(60), shown.decode()


def test_a_person_sees_the_differences_and_is_asked(web1: Puller) -> None:
    web1.write("/etc/motd", "as it was\n")
    offer(web1.hub)
    code, shown = answered(web1, "no\n", "base")
    assert code == 1
    assert "-as it was" in shown and "+welcome" in shown and "do it? [y/N]" in shown
    assert web1.read("/etc/motd") == "as it was\n"
    code, shown = answered(web1, "yes\n", "base")
    assert code == 0
    assert "recorded as" in shown
    assert web1.read("/etc/motd") == "welcome\n"
    code, shown = answered(web1, "", "base")
    assert code == 0
    assert "nothing to do" in shown and "do it?" not in shown
    web1.write("/etc/motd", "by hand\n")
    code, shown = answered(web1, "yes\n", "base")
    assert code == 1
    assert "--force" in shown and "-by hand" in shown and "do it?" not in shown
    assert answered(web1, "yes\n", "base", "--force")[0] == 0
    assert web1.read("/etc/motd") == "welcome\n"


def test_a_host_gets_the_values_of_its_own_key_and_no_others(server: Hub) -> None:
    vault, other = Puller(server, "vault"), Puller(server, "other")
    offer(server, {
        "templates/etc/secret": "${pacha_host} ${word}\n",
        "pacha.toml": '[vars.vault]\nword = "open-sesame"\n[vars.other]\nword = "none"\n',
    })  # fmt: skip
    vault.pull()
    assert vault.read("/etc/secret") == "vault open-sesame\n"
    # It says that it is another, everywhere that it can say something.
    other.pacha.config.write_text(other.pacha.config.read_text().replace('host = "other"', 'host = "vault"'))
    assert other.pacha.run("pull", "base", "-y").code == 3  # its history is not taken under that name
    assert other.read("/etc/secret") == "other none\n"
    for words in (
        "pacha serve --protocol 1 --deployment base --host vault",
        "pacha serve --host vault --protocol 1 --deployment base",
        "pacha serve --protocol 1 --deployment base --machine vault",
        "pacha serve --protocol 1 --deployment base\n--host vault",
        "pacha serve --protocol 1 --deployment 'base'",
        "pacha serve --protocol 1 --deployment ../deployments/base",
        "pacha serve --protocol 1 --deployment base/../base",
        "pacha serve --protocol 1 --deployment .",
        "pacha serve --protocol 1 --deployment ..",
        "pacha serve --protocol 1 --deployment",
    ):
        got = server.ssh(other.key, words)
        assert got.returncode != 0
        assert got.stdout == b""
        assert got.stderr.startswith(b"pacha: refused: ")


def test_who_reads_gets_no_deployment(server: Hub) -> None:
    offer(server)
    for role in ("reader", "admin"):
        key = server.let_read(f"some-{role}", role)
        got = server.ssh(key, "pacha serve --protocol 1 --deployment base")
        assert (got.returncode, got.stdout) == (1, b"")
        assert b"goes to a host" in got.stderr


def test_what_is_not_there_is_told_with_where_it_would_be(web1: Puller) -> None:
    result = web1.refused("nothing-of-that-name")
    assert result.code == 2
    assert result.json["error"]["kind"] == "not-found"
    assert "there is no deployment nothing-of-that-name here" in result.json["error"]["message"]
    assert str(web1.hub.pacha.state / "deployments") in result.json["error"]["hint"]


@pytest.mark.parametrize("name", ["../base", "/etc", "a/b", "", ".", "..", "-x", "a b", "x" * 65, "naïve"])
def test_a_name_that_is_none_never_leaves_this_host(web1: Puller, name: str) -> None:
    web1.configure(ssh="false")
    result = web1.pacha.run("pull", "-y", "--json", "--", name)
    assert result.code == 2
    assert result.json["error"]["kind"] == "usage"


def test_a_deployment_that_is_wrong_is_told_with_file_and_line(web1: Puller) -> None:
    offer(web1.hub, {"files/etc/motd": "x\n", "pacha.toml": '# one\npackages = "nginx"\n'})
    result = web1.refused()
    assert result.code == 1
    assert "base/pacha.toml:2: packages" in result.json["error"]["message"]
    assert not web1.has("/etc/motd")
    assert any("base/pacha.toml:2" in one["words"] for one in web1.hub.log("refused"))


def test_a_template_that_names_what_this_host_has_not_is_told(web1: Puller) -> None:
    offer(web1.hub, {"templates/etc/motd": "fine\n${nothing}\n"})
    message = web1.refused().json["error"]["message"]
    assert "base/templates/etc/motd:2" in message
    assert "nothing" in message


def test_the_folder_may_be_a_link_and_keeps_its_name_but_nothing_in_it_is_followed(web1: Puller) -> None:
    folder = offer(web1.hub, {"files/etc/motd": "by a link\n"}, "release-7")
    link = folder.with_name("current")
    link.unlink(missing_ok=True)
    link.symlink_to("release-7")
    done = web1.pull("current")
    assert done["deployment"] == "current"
    assert web1.read("/etc/motd") == "by a link\n"
    (folder / "files/etc/leak").symlink_to("/etc/shadow")
    message = web1.refused("current").json["error"]["message"]
    assert "current/files/etc/leak: points out of the deployment" in message
    (folder / "files/etc/leak").unlink()
    (folder / "pacha.toml").symlink_to("/etc/hostname")
    assert "current/pacha.toml: is no file" in web1.refused("current").json["error"]["message"]


def test_a_hook_that_fails_undoes_it(web1: Puller) -> None:
    web1.write("/etc/motd", "as it was\n")
    offer(web1.hub, {
        "files/etc/motd": "new\n", "files/etc/more": "more\n",
        "hooks/post-push/10-no": "#!/bin/sh\necho it is no good\nexit 7\n",
    })  # fmt: skip
    before = web1.tree()
    result = web1.refused()
    assert result.code == 1
    assert result.json["reverted"] is True
    assert result.json["step"] == "post-push"
    assert result.json["error"]["kind"] == "hook"
    assert result.json["hooks"][0]["output"] == "it is no good\n"
    assert web1.tree() == before
    said = web1.said("base", "-y")
    assert "it is no good" in said.err and said.out == ""


def test_a_check_that_fails_touches_nothing(web1: Puller) -> None:
    offer(web1.hub, {"files/etc/motd": "new\n", "hooks/check/10-no": "#!/bin/sh\nexit 1\n"})
    before = web1.tree()
    result = web1.refused()
    assert result.json["step"] == "check"
    assert web1.tree() == before


def test_a_manual_fix_is_kept_unless_it_is_forced(web1: Puller) -> None:
    offer(web1.hub)
    web1.pull()
    web1.write("/etc/motd", "mended by hand\n")
    offer(web1.hub, {"files/etc/motd": "other\n"})
    result = web1.refused()
    assert result.json["error"]["kind"] == "changed"
    assert "--force" in result.json["error"]["hint"]
    assert [one["path"] for one in result.json["edited"]] == ["/etc/motd"]
    assert "mended by hand" in json.dumps(result.json["diffs"])
    assert web1.read("/etc/motd") == "mended by hand\n"
    web1.pull("base", "--force")
    assert web1.read("/etc/motd") == "other\n"
    assert web1.pacha.run("cat", "/etc/motd", "--at", "1h").code != 0
    ids = [one["id"] for one in revisions(web1.pacha, "/etc/motd")]
    assert any(web1.pacha.run("cat", "/etc/motd", "--at", one).out == "mended by hand\n" for one in ids)


def test_only_what_is_signed_is_taken_also_for_a_look(web1: Puller) -> None:
    offer(web1.hub)
    web1.configure(f'[push]\nallowed_signers = "{web1.place}/signers"\n')
    for words in (("-y",), ("-n",)):
        result = web1.pacha.run("pull", "base", "--json", *words)
        assert result.code == 1
        assert "signed" in result.json["error"]["message"]
    assert not web1.has("/etc/motd")


def test_a_host_without_a_server_says_so(web1: Puller) -> None:
    web1.configure(server="[]")
    result = web1.refused()
    assert result.code == 2
    assert "pacha join" in result.json["error"]["hint"]


def test_another_at_work_is_exit_5_and_nothing_is_done(web1: Puller) -> None:
    offer(web1.hub, {"files/etc/motd": "x\n", "hooks/post-push/10-wait": "#!/bin/sh\nsleep 9\n"})
    first = web1.pacha.start("pull", "base", "-y", "--json")
    until(lambda: web1.has("/etc/motd"))
    second = web1.refused()
    assert second.code == 5
    assert "pull: base" in second.json["error"]["message"]
    assert web1.pacha.finish(first).code == 0


def test_doctor_finds_what_no_host_can_pull(own: Hub) -> None:
    offer(own)
    offer(own, {"pacha.toml": "nonsense = 1\n", "files/etc/x": "x"}, "broken")
    checks = own.pacha.run("doctor", "--json").json["checks"]
    (found,) = [one for one in checks if one["name"] == "deployments"]
    assert found["state"] != "ok"
    assert "broken/pacha.toml:1" in json.dumps(found)


def test_every_field_is_documented(web1: Puller) -> None:
    web1.configure('[push]\npull = ["base"]\nevery = "1s"\n')
    offer(web1.hub, {"files/etc/motd": "x\n", "hooks/post-push/1": "#!/bin/sh\necho fine\n"})
    said = [web1.pacha.ok("pull", "base", "-n"), web1.pull()]
    offer(web1.hub, {"files/etc/motd": "y\n", "hooks/post-push/1": "#!/bin/sh\necho no\nexit 1\n"})
    said += [web1.refused().json]
    web1.write("/etc/motd", "by hand\n")
    said += [web1.refused().json]
    known = documented(GENERAL) | documented(section("pull")) | documented(section("receive"))
    known |= documented(section("capture")) | documented(section("rollback")) | documented(section("status"))
    assert not {name for one in said for name in fields(one)} - known
    status = web1.pacha.ok("status")
    assert status["pulls"][0]["error"]
    assert not set(fields(status)) - documented(GENERAL) - documented(section("status"))
    once = web1.pacha.run("agent", "--once", "--json").json
    assert once["pulls"]
    assert not set(fields(once["pulls"])) - documented(GENERAL) - documented(section("agent"))
