"""`pacha sign`, and pushes of what was signed: real keys, a real agent, a real sshd."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Result
from tests.docs.test_json import GENERAL, documented, fields, section
from tests.push.fleet import Fleet, fleet
from tests.receive.parcels import digest
from tests.signatures import allowed, ask_for_signatures, key

WEB = {
    "pacha.toml": '[vars]\nworkers = 4\n[vars."web1"]\nworkers = 8\n',
    "files/etc/motd": "hello\n",
    "templates/etc/workers": "${workers}\n",
    "hooks/post-push/10-yes": "#!/bin/sh\ntrue\n",
}


@pytest.fixture
def anna(tmp_path: Path) -> Path:
    return key(tmp_path / "keys", "anna")


@pytest.fixture
def them(tmp_path: Path, anna: Path) -> Iterator[Fleet]:
    """Two hosts that ask for Anna's signature, and one that asks for none."""
    with fleet(tmp_path, "web1", "web2", "free") as made:
        for name in ("web1", "web2"):
            host = made.hosts[name]
            ask_for_signatures(host.pacha.config, host.root, allowed(("anna@corp", anna)))
        made.configure('[groups]\nweb = ["web1", "web2"]\n')
        made.deploy("web", WEB)
        yield made


def signed(them: Fleet, anna: Path, *words: str) -> dict[str, Any]:
    told = them.pusher.ok("sign", "web", "--key", anna, *(words or ("--for", "@web")))
    told["hosts"] = {one["host"]: one["digest"] for one in told["hosts"]}
    told["contents"] = {one["path"]: one["digest"] for one in told["contents"]}
    return told


def test_signed_it_is_taken_and_unsigned_it_is_not(them: Fleet, anna: Path) -> None:
    refused = them.push("web", "web1", "free")
    assert refused.code == 3, refused
    assert "only what is signed is taken here" in refused.out
    assert (them.hosts["web1"].has("/etc/motd"), them.hosts["free"].has("/etc/motd")) == (False, True)
    told = signed(them, anna)
    assert set(told["hosts"]) == {"web1", "web2"}
    assert told["hosts"]["web1"] != told["hosts"]["web2"], "each has values of its own"
    assert told["contents"] == {name: digest(text.encode()) for name, text in WEB.items()}
    result, hosts, last = them.told("web", "web1", "web2", "free")
    assert result.code == 0, result
    assert [hosts[name]["signed_by"] for name in ("web1", "web2", "free")] == ["anna@corp", "anna@corp", None]
    assert them.hosts["web1"].read("/etc/workers") == "8\n"
    assert "free: it was not signed for them" in result.err
    assert last["hosts"]["changed"] == ["web1", "web2"]


def test_what_no_longer_fits_is_told_and_stops_nobody_who_does_not_ask(them: Fleet, anna: Path) -> None:
    signed(them, anna, "--for", "@web", "free")
    them.deploy("web", {"files/etc/motd": "good day\n"})
    result = them.push("web", "@web", "free")
    assert result.code == 3
    assert "goes without a signature to web1 web2 free: it has changed since it was signed" in result.err
    assert "pacha sign web --for" in result.err
    assert (them.hosts["free"].read("/etc/motd"), them.hosts["web1"].has("/etc/motd")) == (
        "good day\n",
        False,
    )
    signed(them, anna)
    assert them.push("web", "@web").code == 0
    assert them.hosts["web1"].read("/etc/motd") == "good day\n"


def test_a_look_and_a_confirmation_go_with_the_signature(them: Fleet, anna: Path) -> None:
    signed(them, anna)
    looked = them.pusher.run("push", "web", "@web", "-n")
    assert looked.code == 0, looked
    assert "would change: 2 files" in looked.out
    assert not them.hosts["web1"].has("/etc/motd")
    result = them.push("web", "@web", "--confirm", "30s")
    assert (result.code, "confirmed" in result.out) == (0, True), result
    old = (
        (them.pusher.home / "web/signed.json").read_text(),
        (them.pusher.home / "web/signed.json.sig").read_text(),
    )
    them.deploy("web", {"files/etc/motd": "good day\n"})
    signed(them, anna)
    assert them.push("web", "@web").code == 0
    them.deploy("web", {"files/etc/motd": "hello\n"})
    for name, text in zip(("signed.json", "signed.json.sig"), old, strict=True):
        (them.pusher.home / "web" / name).write_text(text)
    result = them.push("web", "@web")
    assert result.code == 1
    assert "was signed before what this host has already" in result.out


def test_signing_again_counts_on(them: Fleet, anna: Path) -> None:
    serials = [signed(them, anna)["serial"] for _ in range(3)]
    assert serials == sorted(set(serials))
    assert abs(serials[0] - time.time()) < 60
    place = them.pusher.home / "web"
    assert sorted(os.listdir(place)) == sorted(
        ["pacha.toml", "files", "templates", "hooks", "signed.json", "signed.json.sig"]
    )
    known = json.loads((place / "signed.json").read_text())
    assert known["serial"] == serials[-1]
    assert signed(them, anna)["contents"] == known["contents"], "what was signed is no part of it"


BROKEN: dict[str, tuple[str | None, str | None, str]] = {
    "no signature": ("", None, "signed.json.sig: is missing"),
    "no statement": (None, "", "signed.json: is missing"),
    "another statement": ("later", "", "signed.json.sig is not the signature of signed.json"),
    "no text": ("\xff", "", "is not the signature"),
    "a broken signature": ("", "hello", "is not the signature"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_do_not_fit_each_other_are_told(them: Fleet, anna: Path, case: str) -> None:
    signed(them, anna, "--for", "free", "web1")
    statement, signature, words = BROKEN[case]
    for name, change in (("signed.json", statement), ("signed.json.sig", signature)):
        place = them.pusher.home / "web" / name
        if change is None:
            place.unlink()
        elif change:
            place.write_bytes(
                place.read_bytes() + change.encode("latin-1") if name.endswith("n") else change.encode()
            )
    result = them.push("web", "free")
    assert result.code == 0, result
    assert f"{words}" in result.err
    assert "pacha sign web" in result.err
    assert signed(them, anna, "--for", "free")["hosts"]
    again = them.push("web", "free")
    assert (again.code, "without" in again.err) == (0, False), again


def test_what_is_wrong_is_told_before_anything_is_signed(them: Fleet, anna: Path) -> None:
    wrong = {
        ("web", "--for", "@nobody"): "there is no group @nobody",
        ("web",): "for which hosts?",
        ("gone", "--for", "web1"): "there is no deployment gone",
        ("web", "--for", "web1", "--valid", "soon"): "is not a duration",
        ("web", "--for", "web1", "--valid", "1s"): "at least 1m and at most 366d",
        ("web", "--for", "web1", "--valid", "100w"): "at least 1m and at most 366d",
        ("web", "--for", "web1", "--key", "/nowhere/key"): "there is no key /nowhere/key",
    }
    for words, said in wrong.items():
        result = them.pusher.run("sign", *words, *(() if "--key" in words else ("--key", anna)))
        assert (result.code, said in result.err) == (2, True), result
    them.deploy("web", {"templates/etc/workers": "${nothing}\n"})
    assert "nothing" in them.pusher.run("sign", "web", "--for", "web1", "--key", anna).err
    assert not (them.pusher.home / "web/signed.json").exists()


def test_one_host_by_two_names_with_other_values_is_no_one_host(them: Fleet, anna: Path) -> None:
    them.deploy("web", {"pacha.toml": '[vars]\nworkers = 4\n[vars."admin@web1"]\nworkers = 8\n'})
    result = them.pusher.run("sign", "web", "--for", "web1", "admin@web1", "--key", anna)
    assert (result.code, "web1 is named twice" in result.err) == (2, True), result
    them.deploy("web", {"pacha.toml": "[vars]\nworkers = 4\n"})
    assert list(signed(them, anna, "--for", "web1", "admin@web1")["hosts"]) == ["web1"]


def test_a_clock_that_was_in_the_future_when_it_was_signed(them: Fleet, anna: Path) -> None:
    place = them.pusher.home / "web"
    signed(them, anna)
    later = time.time() + 7 * 86_400
    empty = json.loads((place / "signed.json").read_text())
    text = json.dumps(
        {**empty, "serial": int(later), "from": "2090-01-01T00:00:00Z", "until": "2090-02-01T00:00:00Z"},
        sort_keys=True, indent=1,
    )  # fmt: skip
    (place / "signed.json").write_text(text + "\n")
    result = them.pusher.run("sign", "web", "--for", "web1", "--key", anna)
    assert (result.code, "was signed in the future" in result.err) == (2, True), result


def test_200_hosts_at_once(tmp_path: Path, anna: Path) -> None:
    with fleet(tmp_path, "h7") as them:
        host = them.hosts["h7"]
        ask_for_signatures(host.pacha.config, host.root, allowed(("anna", anna)))
        names = [f"h{number}" for number in range(200)]
        them.deploy("web", {"templates/etc/name": "${pacha_host}\n"})
        told = signed(them, anna, "--for", *names)
        assert len(set(told["hosts"].values())) == 200
        assert them.push("web", "h7").code == 0
        assert host.read("/etc/name") == "h7\n"


def test_every_field_is_documented(them: Fleet, anna: Path) -> None:
    seen = set(fields(them.pusher.ok("sign", "web", "--for", "web1", "--key", anna)))
    assert not seen - documented(GENERAL) - documented(section("sign"))


# -- keys -----------------------------------------------------------------------------------------------------


def with_agent(them: Fleet, *words: str) -> Result:
    """A command of the pusher's within a fresh agent."""
    shell = " && ".join([*words[:-1], f"exec {' '.join(them.pusher.argv())} {words[-1]}"])
    done = subprocess.run(
        ["ssh-agent", "sh", "-c", shell], env=them.pusher.environment(), cwd=them.pusher.home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, start_new_session=True,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_key_that_only_the_agent_has(them: Fleet, anna: Path, tmp_path: Path) -> None:
    kept = tmp_path / "taken-away"
    add = f"ssh-add -q {anna} && mv {anna} {kept}"
    public = f"{anna}.pub"
    result = with_agent(them, add, f"sign web --for web1 --key {public}")
    assert result.code == 0, result
    assert them.push("web", "web1").code == 0
    kept.rename(anna)
    them.deploy("web", {"files/etc/motd": "by the first of the agent\n"})
    result = with_agent(them, add, "sign web --for web1")
    assert result.code == 0, result
    assert them.push("web", "web1").code == 0
    assert them.hosts["web1"].read("/etc/motd") == "by the first of the agent\n"
    assert "no private key" in with_agent(them, "true", f"sign web --for web1 --key {public}").err.lower()


def test_without_an_agent_it_is_the_persons_own_key(them: Fleet, anna: Path) -> None:
    result = them.pusher.run("sign", "web", "--for", "web1")
    assert (result.code, "there is no key to sign with" in result.err) == (2, True), result
    folder = them.pusher.home / ".ssh"
    folder.mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        (folder / name).write_bytes(anna.with_name(anna.name + Path(name).suffix).read_bytes())
        (folder / name).chmod(0o600)
    assert them.pusher.run("sign", "web", "--for", "web1").code == 0
    assert them.push("web", "web1").code == 0


def test_a_passphrase_is_asked_for_on_a_terminal_and_nowhere_else(them: Fleet, tmp_path: Path) -> None:
    locked = tmp_path / "keys" / "locked"
    locked.parent.mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", locked], check=True)
    result = them.pusher.run("sign", "web", "--for", "web1", "--key", locked)
    assert result.code == 1, result
    assert "ssh-keygen has not signed" in result.err
    assert "there is no terminal to ask for its passphrase on" in result.err
    assert not (them.pusher.home / "web/signed.json").exists()
    code, seen = on_terminal(them, ["sign", "web", "--for", "web1", "--key", str(locked)], "open sesame\n")
    assert (code, "assphrase" in seen, "signed web for 1 host" in seen) == (0, True, True), seen
    before = (them.pusher.home / "web/signed.json").read_bytes()
    code, seen = on_terminal(them, ["sign", "web", "--for", "web1", "--key", str(locked)], "abracadabra\n")
    assert (code, "incorrect passphrase" in seen, "has not signed" in seen) == (1, True, True), seen
    assert (them.pusher.home / "web/signed.json").read_bytes() == before


def on_terminal(them: Fleet, words: list[str], typed: str) -> tuple[int, str]:
    """(exit code, what was shown) of a command at whose first question something is typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(them.pusher.home)
        argv = them.pusher.argv(*words)
        os.execvpe(argv[0], argv, them.pusher.environment())
    seen = ""
    try:
        while part := os.read(terminal, 4096):
            seen += part.decode()
            if "assphrase" in seen and typed:
                time.sleep(0.2)
                os.write(terminal, typed.encode())
                typed = ""
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_kept_whole_or_not_at_all(them: Fleet, anna: Path) -> None:
    signed(them, anna)
    place = them.pusher.home / "web"
    before = {name: (place / name).read_bytes() for name in ("signed.json", "signed.json.sig")}
    (place / "signed.json.sig").unlink()
    (place / "signed.json.sig").mkdir()
    result = them.pusher.run("sign", "web", "--for", "web1", "--key", anna)
    assert result.code == 1, result
    assert "Traceback" not in result.err
    (place / "signed.json.sig").rmdir()
    (place / "signed.json.sig").write_bytes(before["signed.json.sig"])
    told = them.push("web", "free")
    assert told.code == 0
    assert "is not the signature of signed.json" in told.err or "not signed for" in told.err
    assert not [name for name in os.listdir(place) if name.startswith(".")]
