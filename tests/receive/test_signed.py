"""A host that takes only what listed people have signed: what is refused, in words, and what is kept."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pacha.core.parcel import Item, Wishes
from tests import needs, ready
from tests.agents import until
from tests.faults.kill import strike
from tests.oracle import compare, save_twin
from tests.receive.parcels import Answer, Target, file, stream
from tests.signatures import (
    HOUR,
    SIGNERS,
    Person,
    allowed,
    ask_for_signatures,
    key,
    sign,
    statement,
    with_signature,
)
from tests.unprivileged import USER, interpreter

OLD, NEW = stream([file("/etc/a", b"old\n")]), stream([file("/etc/a", b"new\n")])


@pytest.fixture
def anna(tmp_path: Path) -> Person:
    return Person(key(tmp_path / "keys", "anna"))


@pytest.fixture
def host(tmp_path: Path, anna: Person) -> Target:
    target = Target(tmp_path)
    ask_for_signatures(target.pacha.config, target.root, allowed(("anna@corp", anna.private)))
    return target


def refused(host: Target, parcel: bytes, *words: str) -> Answer:
    """It is refused with these words, and no file of the host is other than before, nor is anything kept."""
    twin = host.place / f"twin{time.monotonic_ns()}"
    save_twin(host.root, twin)
    journals = host.journals
    answer = host.receive(parcel)
    assert (answer.code, answer.err) == (1, ""), answer
    assert answer.done["error"]["kind"] in ("refused", "failed")
    said = f"{answer.done['error']['message']} ({answer.done['error']['hint']})"
    assert all(word in said for word in words), said
    assert answer.phases in (["verify"], ["verify", "plan"]), answer
    assert compare(twin, host.root) == []
    assert set(host.journals) <= set(journals)
    return answer


def taken(host: Target, parcel: bytes) -> Answer:
    answer = host.receive(parcel)
    assert answer.code == 0, answer
    return answer


# -- who ------------------------------------------------------------------------------------------------------


def test_what_a_listed_person_signed_is_taken_and_the_history_says_who(host: Target, anna: Person) -> None:
    parcel = anna.signed(NEW)
    assert taken(host, parcel).done["signed_by"] == "anna@corp"
    assert host.read("/etc/a") == b"new\n"
    host.settle()
    assert host.pacha.ok("log")["revisions"][0]["author"] == "anna@hub, signed by anna@corp"
    again = taken(host, parcel)
    assert (again.steps, again.done["signed_by"]) == ({}, "anna@corp")


@pytest.mark.parametrize(
    "wishes", [Wishes("anna@hub"), Wishes("anna@hub", dry_run=True, diff=True), Wishes(force=True)]
)
def test_unsigned_is_refused_before_a_byte_of_a_live_file_is_shown(host: Target, wishes: Wishes) -> None:
    host.put("/etc/a", b"the secret\n")
    parcel = stream([file("/etc/a", b"new\n")], wishes=wishes)
    answer = refused(host, parcel, "only what is signed is taken here", "pacha sign web --for web1")
    assert "secret" not in json.dumps(answer.lines)
    assert answer.done.get("diffs") in (None, [])


def test_unlisted_and_misused_signatures_do_not_count(host: Target, anna: Person, tmp_path: Path) -> None:
    eve = Person(key(tmp_path / "keys", "eve"))
    refused(host, eve.signed(NEW), "nobody who may sign here has signed this")
    refused(host, anna.signed(NEW, namespace="git"), "namespace")
    text, signature = anna.words(NEW)
    refused(host, with_signature(NEW, text, eve.words(NEW)[1]), "nobody who may sign")
    for broken in ("", "hello", signature[:100], signature.replace("A", "B"), signature + signature):
        answer = host.receive(with_signature(NEW, text, broken))
        assert answer.code == 1 or broken.startswith(signature), (broken, answer)
    assert not (host.root / "etc/a").exists() or broken.startswith(signature)


def test_a_statement_that_was_altered_by_one_byte_is_not_what_was_signed(host: Target, anna: Person) -> None:
    text, signature = anna.words(NEW)
    for at in range(0, len(text), 7):
        other = chr(ord(text[at]) ^ 1)
        altered = text[:at] + other + text[at + 1 :]
        refused_quickly(host, with_signature(NEW, altered, signature))
    assert not (host.root / "etc/a").exists()
    taken(host, with_signature(NEW, text, signature))


def refused_quickly(host: Target, parcel: bytes) -> None:
    answer = host.receive(parcel)
    assert (answer.code, answer.done["error"]["kind"]) == (1, "refused"), answer


LISTS: dict[str, tuple[Callable[[Path], str], str]] = {
    "nobody": (lambda _key: "", "nobody who may sign"),
    "a comment": (lambda one: "# " + allowed(("anna", one)), "nobody who may sign"),
    "no list": (lambda _key: "\0\xff\n" * 50, "nobody who may sign"),
    "expired": (lambda one: allowed(("anna", one), options='valid-before="20200101"'), "expired"),
    "not yet": (lambda one: allowed(("anna", one), options='valid-after="20900101"'), "not yet valid"),
    "for git": (lambda one: allowed(("anna", one), options='namespaces="git,file"'), "namespace"),
    "as a certificate's authority": (lambda one: allowed(("anna", one), options="cert-authority"), "nobody"),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_who_may_sign_is_what_ssh_says_of_the_list(host: Target, anna: Person, case: str) -> None:
    text, words = LISTS[case]
    host.put(SIGNERS, text(anna.private).encode("latin-1"))
    refused(host, anna.signed(NEW), words)


def test_the_same_key_on_several_lines_counts_by_any_of_them(host: Target, anna: Person) -> None:
    lines = [
        allowed(("anna-git", anna.private), options='namespaces="git"'),
        allowed(("anna-then", anna.private), options='valid-before="20200101"'),
        allowed(("anna-now,anna", anna.private), options='namespaces="file,pacha"'),
    ]
    host.put(SIGNERS, "".join(lines).encode())
    assert taken(host, anna.signed(NEW)).done["signed_by"] == "anna-now"


def test_a_key_that_was_taken_out_of_the_list_counts_no_more(
    host: Target, anna: Person, tmp_path: Path
) -> None:
    parcel = anna.signed(OLD)
    taken(host, parcel)
    host.put(SIGNERS, allowed(("bob", key(tmp_path / "keys", "bob"))).encode())
    refused(host, parcel, "nobody who may sign")
    refused(host, anna.signed(NEW), "nobody who may sign")
    assert (
        taken(host, Person(key(tmp_path / "keys", "bob"), anna.serial).signed(NEW)).done["signed_by"] == "bob"
    )


def test_certificates_of_a_listed_authority(host: Target, anna: Person, tmp_path: Path) -> None:
    authority = key(tmp_path / "keys", "ca")
    host.put(SIGNERS, allowed(("*@corp", authority), options="cert-authority").encode())
    public = anna.private.with_name(anna.private.name + ".pub")
    words = ["ssh-keygen", "-q", "-s", authority, "-I", "anna", "-n", "anna@corp"]
    certificate = anna.private.with_name(anna.private.name + "-cert.pub")
    subprocess.run([*words, "-V", "-2d:-1d", public], check=True)
    expired = Person(certificate).signed(OLD)
    refused(host, expired, "nobody who may sign")
    subprocess.run([*words, "-V", "-2d:+1d", public], check=True)
    assert taken(host, Person(certificate).signed(OLD)).done["signed_by"] == "anna@corp"
    refused(host, anna.signed(NEW), "nobody who may sign")


# -- the list itself ------------------------------------------------------------------------------------------


def writable(path: Path) -> None:
    path.chmod(0o664)


def foreign(path: Path) -> None:
    os.chown(path, 4711, 4711)


def linked(path: Path) -> None:
    real = path.with_name("elsewhere")
    path.rename(real)
    path.symlink_to("elsewhere")


def linked_above(path: Path) -> None:
    real = path.parent.with_name("pacha.real")
    path.parent.rename(real)
    path.parent.symlink_to("pacha.real")


def named_twice(path: Path) -> None:
    path.with_name("again").hardlink_to(path)


def open_above(path: Path) -> None:
    path.parent.chmod(0o777)


def foreign_above(path: Path) -> None:
    os.chown(path.parent, 4711, 4711)


def gone(path: Path) -> None:
    path.unlink()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def acl(path: Path) -> None:
    subprocess.run(["setfacl", "-m", "u:4711:rw", path], check=True)


SPOILT: dict[Callable[[Path], None], str] = {
    writable: "can be written by others", foreign: "is not root's", linked: "is no file",
    linked_above: "cannot be read", named_twice: "has another name", open_above: "can be written by others",
    foreign_above: "is not root's", gone: "there is no", fifo: "is no file", acl: "can be written by others",
}  # fmt: skip


@needs.root
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda one: one.__name__)
def test_a_list_that_others_could_have_written_counts_for_nothing(
    host: Target, anna: Person, spoil: Callable[[Path], None]
) -> None:
    spoil(host.root / SIGNERS.lstrip("/"))
    refused(host, anna.signed(NEW), SPOILT[spoil], "who may sign")


def test_the_list_is_never_delivered_whatever_it_is_called(host: Target, anna: Person) -> None:
    hostile = {
        "itself": stream([file(SIGNERS, b"eve\n")]),
        "what it lies in, absent": stream(absent=(b"/etc/pacha",)),
        "itself, absent": stream(absent=(SIGNERS.encode(),)),
        "below it": stream([file(f"{SIGNERS}/x", b"eve\n")]),
        "a link in its place": stream(items=[Item(SIGNERS.encode(), b"symlink", 0o777, target=b"/etc/eve")]),
        "a link for its directory": stream(items=[Item(b"/etc/pacha", b"symlink", 0o777, target=b"eve")]),
        "a file for its directory": stream([file("/etc/pacha", b"x")]),
        "a directory in its place": stream(items=[Item(SIGNERS.encode(), b"dir", 0o755)]),
        "its directory for all": stream(items=[Item(b"/etc/pacha", b"dir", 0o777)]),
        "its directory for somebody": stream(items=[Item(b"/etc/pacha", b"dir", 0o755, user="4711")]),
    }
    for case, parcel in hostile.items():
        answer = refused(host, anna.signed(parcel), "who may sign")
        assert "is not delivered" in answer.done["error"]["message"], case
    line = json.loads(NEW.partition(b"\n")[0])
    for path in (
        "/etc/x/../pacha/allowed_signers",
        "/etc//pacha/allowed_signers",
        "/etc/./pacha/allowed_signers",
    ):
        line["deployment"]["items"][0]["path"] = path
        assert "plain form" in host.receive(json.dumps(line).encode() + b"\n").done["error"]["message"]


def test_the_list_is_not_reached_by_another_name(host: Target, anna: Person) -> None:
    (host.root / "alias").symlink_to("etc/pacha")
    refused(host, anna.signed(stream([file("/alias/allowed_signers", b"eve\n")])), "symbolic link")
    (host.root / "etc/other").symlink_to("pacha/allowed_signers")
    before = host.read(SIGNERS)
    taken(host, anna.signed(stream([file("/etc/other", b"eve\n")])))  # replaced, not followed
    assert host.read(SIGNERS) == before
    assert not (host.root / "etc/other").is_symlink()


# -- what, where and when -------------------------------------------------------------------------------------


def test_another_deployment_host_digest_or_revision_is_not_what_was_signed(
    host: Target, anna: Person
) -> None:
    refused(host, anna.signed(NEW, "web2", "web3"), "was signed for web2 web3, and this host is web1")
    refused(host, anna.signed(NEW, deployment="db"), "what was signed is the deployment db, and this is web")
    refused(host, anna.signed(NEW, digest="0" * 64), "is not what was signed for web1")
    refused(host, with_signature(OLD, *anna.words(NEW)), "is not what was signed for web1")
    renamed = stream([file("/etc/a", b"new\n")], revision="000000000000")
    refused(host, anna.signed(renamed), "is not what was signed for web1")
    many = [f"h{number}" for number in range(300)]
    refused(host, anna.signed(NEW, *many), "h0 h1 h10 h100 h101 and 295 more")


def test_times(host: Target, anna: Person) -> None:
    now = time.time()
    refused(
        host,
        anna.signed(NEW, begin=now - 2 * HOUR, until=now - 1, serial=int(now) - 2 * HOUR),
        "held until",
        "pacha sign web",
    )
    refused(host, anna.signed(NEW, begin=now + HOUR), "for a time from", "clock")
    taken(host, anna.signed(NEW, begin=now + 120))  # a clock may be some minutes apart
    mark = host.pacha.state / "signed/web"
    known = json.loads(mark.read_text())
    mark.write_text(json.dumps({**known, "time_ns": time.time_ns() + 2 * HOUR * 10**9}))
    refused(host, anna.signed(OLD), "whether the signature holds is not known", "clock")


FORMS = {
    "no JSON": "web1\n",
    "a list": "[]\n",
    "nested": "[" * 100_000 + "\n",
    "another kind": {"kind": "letter"},
    "another format": {"format": 2},
    "a name that is a path": {"deployment": "../web"},
    "a serial in words": {"serial": "7"},
    "a serial below 1": {"serial": 0},
    "a serial of the far future": {"serial": 2**62},
    "no time": {"until": "tomorrow"},
    "a time of another zone": {"until": "2099-01-01T00:00:00+01:00"},
    "it ends before it begins": {"until": "2001-01-01T00:00:00Z"},
    "a digest in upper case": {"hosts": {"web1": "A" * 64}},
    "no digest": {"hosts": {"web1": None}},
    "more than that": {"also": 1},
}


@pytest.mark.parametrize("case", FORMS)
def test_a_listed_person_signs_nonsense(host: Target, anna: Person, case: str) -> None:
    changed = FORMS[case]
    if isinstance(changed, str):
        text = changed
    else:
        sound = json.loads(anna.words(NEW)[0])
        text = json.dumps({**sound, **changed}, sort_keys=True, indent=1) + "\n"
    answer = refused(host, with_signature(NEW, text, sign(text, anna.private)))
    assert "Traceback" not in json.dumps(answer.lines)


def test_there_is_one_form_of_a_statement(host: Target, anna: Person) -> None:
    text = anna.words(NEW)[0]
    for other in (
        json.dumps(json.loads(text)),
        text + " ",
        text.replace('"serial"', '"serial": 1,\n "serial"'),
    ):
        refused(host, with_signature(NEW, other, sign(other, anna.private)), "has not the form")


def test_a_huge_statement_is_cut_off(host: Target, anna: Person) -> None:
    text, signature = anna.words(NEW, contents={f"files/{n}": "0" * 64 for n in range(60_000)})
    line = json.loads(NEW.partition(b"\n")[0])
    line["signed"] = {"statement": text, "signature": signature}
    refused(host, json.dumps(line).encode() + b"\n", "at most 4,000,000 bytes")
    large = anna.signed(NEW, contents={f"files/{n}": "0" * 64 for n in range(40_000)})
    assert len(large) > 3_000_000
    taken(host, large)


# -- never older ----------------------------------------------------------------------------------------------


def test_never_older_and_never_two_of_one_serial(host: Target, anna: Person) -> None:
    first, second = anna.signed(OLD), anna.signed(NEW)
    taken(host, first)
    taken(host, first)
    taken(host, second)
    refused(host, first, "was signed before what this host has already", "pacha sign web")
    refused(host, anna.signed(OLD, serial=anna.serial), "under the same serial")
    taken(host, second)
    taken(host, anna.signed(OLD))  # who goes back on purpose signs that
    assert host.read("/etc/a") == b"old\n"


def test_signed_again_and_there_already_nothing_older_is_taken(host: Target, anna: Person) -> None:
    first = anna.signed(NEW)
    taken(host, first)
    assert taken(host, anna.signed(NEW)).steps == {}
    refused(host, first, "was signed before")


def test_what_is_taken_is_known_whatever_becomes_of_the_files_or_the_record(
    host: Target, anna: Person
) -> None:
    first, second = anna.signed(OLD), anna.signed(NEW)
    taken(host, first)
    host.settle()
    before = host.pacha.ok("log")["revisions"][0]["id"]
    taken(host, second)
    host.settle()
    assert host.pacha.run("rollback", "/etc/a", "--to", before, "-y").code == 0
    assert host.read("/etc/a") == b"old\n"
    (host.pacha.state / "deployed/web").unlink()
    refused(host, first, "was signed before")
    text = host.pacha.config.read_text()
    host.pacha.config.write_text(text.replace("allowed_signers", "#allowed_signers"))
    assert host.receive(stream([file("/etc/a", b"unsigned\n")], wishes=Wishes(force=True))).code == 0
    host.pacha.config.write_text(text)
    refused(host, first, "was signed before")
    (host.pacha.state / "signed/web").write_text("{")
    refused(host, second, "signed/web is damaged")
    # Only where that is gone can be taken what is older, as long as its signature holds: as the design says.
    (host.pacha.state / "signed/web").unlink()
    assert (
        host.receive(anna.signed(stream([file("/etc/a", b"x\n")], wishes=Wishes(force=True)), serial=1)).code
        == 0
    )


def test_what_was_not_kept_does_not_count_as_taken(host: Target, anna: Person) -> None:
    first = anna.signed(OLD)
    taken(host, first)
    failing = stream([file("/etc/a", b"new\n")], hooks={"post-push/1": b"exit 1\n"})
    assert host.receive(anna.signed(failing)).done["reverted"] is True
    taken(host, first)
    wishes = Wishes("anna@hub", confirm_ns=10**9, ticket="0123456789abcdef")
    waiting = anna.signed(stream([file("/etc/a", b"new\n")], wishes=wishes))
    assert taken(host, waiting).done["confirm"]
    deadline = time.monotonic() + 30
    while host.read("/etc/a") != b"old\n" and time.monotonic() < deadline:
        time.sleep(0.05)
    host.settle()
    taken(host, first)
    assert taken(host, waiting).done["confirm"], "the same may be tried again"


def test_what_was_confirmed_counts_as_taken(host: Target, anna: Person) -> None:
    first = anna.signed(OLD)
    taken(host, first)
    wishes = Wishes("anna@hub", confirm_ns=60 * 10**9, ticket="0123456789abcdef")
    taken(host, anna.signed(stream([file("/etc/a", b"new\n")], wishes=wishes)))
    assert host.receive(b'{"format":1,"confirm":"0123456789abcdef"}\n').code == 0
    refused(host, first, "was signed before")
    host.settle()


def test_of_two_at_once_the_older_does_not_come_last(host: Target, anna: Person) -> None:
    first = anna.signed(OLD)
    began, go = host.place / "began", host.place / "go"
    hook = f"touch {began}; until [ -e {go} ]; do sleep 0.05; done\n".encode()
    process = host.begin(anna.signed(stream([file("/etc/a", b"new\n")], hooks={"pre-push/1": hook})))
    until(began.exists)
    second = host.begin(first)  # looked at while nothing newer is there, and done when it is
    time.sleep(1)
    go.touch()
    assert process.wait(60) == 0
    assert second.wait(60) == 1
    assert host.read("/etc/a") == b"new\n"


def test_where_it_cannot_be_written_down_nothing_older_slips_in(host: Target, anna: Person) -> None:
    first, second = anna.signed(OLD), anna.signed(NEW)
    taken(host, first)
    host.settle()
    mark = host.pacha.state / "signed"
    mark.rename(mark.with_name("aside"))
    mark.write_text("in the way\n")
    assert host.receive(second).code == 1
    mark.unlink()
    mark.with_name("aside").rename(mark)
    # It was live when the mark could not be written, as on a full disk: the journal has it.
    hook = f"mv {mark} {mark}.aside; touch {mark}\n".encode()
    third = stream([file("/etc/a", b"newer\n")], hooks={"post-push/1": hook})
    taken(host, anna.signed(third))
    for parcel in (first, second):
        assert host.receive(parcel).code == 1
    mark.unlink()
    Path(f"{mark}.aside").rename(mark)
    for parcel in (first, second):
        refused(host, parcel, "was signed before")
    assert host.read("/etc/a") == b"newer\n"


def test_killed_anywhere_what_is_live_is_what_counts_as_taken(host: Target, anna: Person) -> None:
    choice, began = random.Random(8), time.monotonic()
    serials = {}
    for version in range(12):
        parcel = anna.signed(
            stream([file("/etc/a", b"%d" % version)], hooks={"post-push/1": b"sleep 0.05\n"})
        )
        serials[b"%d" % version] = anna.serial
        if version == 0:
            taken(host, parcel)
            span = time.monotonic() - began
            continue
        process = host.begin(parcel)
        time.sleep(choice.uniform(span / 4, span))
        for victim in (process.pid, *ready.workers(host.place)):
            strike(victim)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        host.settle()
        mark = json.loads((host.pacha.state / "signed/web").read_text())
        assert mark["serial"] == serials[host.read("/etc/a")]


def test_doctor_looks_at_the_list(host: Target) -> None:
    def told() -> tuple[str, str]:
        checks = json.loads(host.pacha.run("doctor", "--json").out)["checks"]
        found = next(check for check in checks if check["name"] == "signers")
        return found["state"], found["words"]

    assert told() == ("ok", f"only what one of 1 in {SIGNERS} has signed is taken")
    host.put(SIGNERS, b"# nobody yet\n")
    assert told()[0] == "warning"
    writable(host.root / SIGNERS.lstrip("/"))
    assert told() == ("bad", f"{SIGNERS} can be written by others, and it tells who may sign")


def test_a_dry_run_takes_nothing(host: Target, anna: Person) -> None:
    parcel = anna.signed(stream([file("/etc/a", b"new\n")], wishes=Wishes(dry_run=True)))
    assert taken(host, parcel).steps == {"/etc/a": "create"}
    assert not (host.pacha.state / "signed").exists()


def test_where_nobody_asks_a_signature_is_passed_over(tmp_path: Path, anna: Person) -> None:
    host = Target(tmp_path / "other")
    text = statement({}, serial=1, begin=1, until=2)
    assert taken(host, with_signature(NEW, text, "none")).done["signed_by"] is None


def test_no_pusher_says_who_signed(host: Target) -> None:
    with pytest.raises(Exception, match="does not say who signed"):
        with_signature(stream(wishes=Wishes("eve, signed by anna")), "", "")
    line = json.loads(NEW.partition(b"\n")[0])
    line["push"]["by"] = "eve, signed by anna"
    refused(host, json.dumps(line).encode() + b"\n", "does not say who signed")


@needs.root
def test_as_an_ordinary_user_the_list_is_root_s_or_his_own(open_arena: Path) -> None:
    python = interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    anna = Person(key(open_arena / "keys", "anna"))
    host = Target(open_arena / "host", interpreter=python, user=USER)
    ask_for_signatures(host.pacha.config, host.root, allowed(("anna", anna.private)))
    owner = {"user": str(USER), "group": str(USER)}
    (host.root / "app").mkdir()
    os.chown(host.root / "app", USER, USER)
    place = host.root / SIGNERS.lstrip("/")
    for content, account in ((b"one", 0), (b"two", USER)):
        os.chown(place, account, account)
        taken(host, anna.signed(stream([file("/app/a", content, **owner)])))
        assert host.read("/app/a") == content
    os.chown(place, USER + 1, USER + 1)
    refused(host, anna.signed(OLD), f"is not the account {USER}'s")
    ready.end(open_arena)
