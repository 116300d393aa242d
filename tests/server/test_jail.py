"""The jail, tried with real clients: ssh that asks for anything, Mercurial that pushes by force, and bytes of the
wire protocol that no client sends; with a host's key, a reader's and an admin's. Whatever is refused is refused in
one line, with one in the server's log.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plainhg import StoreCopy, mercurial
from tests.server.forge import NULL, Forged, Wire, container
from tests.server.hub import Client, Hub, hub

pytestmark = pytest.mark.xdist_group("jail")

MACHINE = "m" * 32
# What each role asks for, and is given: the history of web1.
ASKS = {
    "host": "pacha serve --protocol 1",
    "reader": "pacha serve --protocol 1 --read web1",
    "admin": "pacha serve --protocol 1 --read web1 --rebuild",
}
READS = ("reader", "admin")
all_roles = pytest.mark.parametrize("role", ASKS)
# An admin's session is a reader's, but for the word that it begins with: the long lists are for the soak.
roles = pytest.mark.parametrize("role", ["host", "reader", pytest.param("admin", marks=pytest.mark.soak)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jail")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Hub]:
    """With two hosts, whose stores must be at the end what they were at the beginning."""
    # A server set up carelessly: whatever the client sends as its environment is taken.
    with hub(place / "hub", "AcceptEnv *", "PermitUserEnvironment yes", "X11Forwarding yes") as made:
        for name in ("web1", "web2"):
            client = Client(place / name, name)
            client.capture({"more": b"second\n"})
            assert made.push(made.add(name), client.store, name).returncode == 0
        for role in READS:
            made.let_read(role, role)
        yield made


def key_of(server: Hub, role: str) -> Path:
    """The private key of who has that role."""
    return server.sshd.key("web1" if role == "host" else role)


@pytest.fixture
def unchanged(server: Hub) -> Iterator[None]:
    """Nothing of either store may change, nor anything appear beside them."""
    before = [server.digest(name) for name in ("web1", "web2")]
    yield
    assert [server.digest(name) for name in ("web1", "web2")] == before
    assert set(os.listdir(server.place / "hosts")) <= set(server.registry.names())


# More of them in tests/unit/test_protocol.py, where each costs no connection.
WORDS = [
    "", "id", "hg -R web2 serve --stdio", "hg -R web1/../web2 serve --stdio", "hg -R {hosts}/web2 serve --stdio",
    "hg -R --debugger serve --stdio", "hg -R web1 serve --stdio; id", "hg -R web1 serve --stdio --config hooks.x=id",
    "pacha serve --host web2", "pacha serve --protocol 3", "scp -t /tmp", "hg -R web1 serve --stdio\nid",
    "pacha serve --protocol 1 --read ../web2", "pacha serve --protocol 1 --read web9", "pacha serve --role admin --name x",
]  # fmt: skip
MORE_WORDS = {
    "host": ["pacha serve --protocol 1 --read web2", "pacha serve --protocol 1 --list"],
    "reader": ["pacha serve --protocol 1", f"pacha serve --protocol 1 --machine {MACHINE}", ASKS["admin"]],
    "admin": [
        "pacha serve --protocol 1",
        f"pacha serve --protocol 1 --machine {MACHINE}",
        "hg -R admin serve --stdio",
    ],
}


@all_roles
@pytest.mark.usefixtures("unchanged")
def test_no_other_command_is_run(server: Hub, place: Path, role: str) -> None:
    key = key_of(server, role)
    # One connection for all of them: each is a session of its own all the same.
    shared = ("-o", f"ControlPath={place}/c", "-o", "ControlMaster=auto", "-o", "ControlPersist=60")
    told = len(server.log("refused"))
    asks = [*WORDS, *MORE_WORDS[role]]
    if role in READS:
        asks.remove("hg -R web2 serve --stdio")  # theirs to read
    for words in asks:
        asked = words.format(hosts=server.place / "hosts")
        answer = server.ssh(key, *([asked] if asked else []), options=shared)
        assert answer.returncode == 1, (asked, answer)
        assert answer.stdout == b""
        assert answer.stderr.startswith(b"pacha: refused: "), (asked, answer)
        assert b"uid=" not in answer.stderr
    assert len(server.log("refused")) == told + len(asks)
    server.ssh(key, "-O", "exit", options=("-o", f"ControlPath={place}/c"))


@roles
@pytest.mark.usefixtures("unchanged")
def test_no_terminal_no_forwarding_no_file_transfer(server: Hub, role: str) -> None:
    key = key_of(server, role)
    assert b"PTY allocation request failed" in server.ssh(key, options=("-tt", "-o", "LogLevel=INFO")).stderr
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.5)
        port = listener.getsockname()[1]
        forwarded = server.ssh(key, options=("-W", f"127.0.0.1:{port}"))
        assert forwarded.returncode == 255
        assert b"forwarding failed" in forwarded.stderr
        with pytest.raises(TimeoutError):
            listener.accept()
    remote = server.ssh(key, ASKS[role], options=("-R", "0:127.0.0.1:9", "-o", "ExitOnForwardFailure=yes"))
    assert remote.returncode == 255
    sftp = subprocess.run(
        ["sftp", "-F", str(server.sshd.client(key)), "hub"], input=b"ls /\n", capture_output=True, timeout=60
    )
    assert sftp.returncode != 0
    assert b"etc" not in sftp.stdout


@roles
@pytest.mark.usefixtures("unchanged")
def test_the_clients_environment_does_nothing(server: Hub, place: Path, role: str) -> None:
    """Even where sshd lets all of it through; the interpreter itself is told to ignore its own."""
    canary = place / "canary"
    (place / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    (place / "evilrc").write_text(f"[extensions]\nevil={place}/evil.py\n[hooks]\nincoming=touch {canary}\n")
    names = {
        "HGRCPATH": place / "evilrc", "HGUSER": "x", "HGPLAINEXCEPT": "alias", "HGENCODING": "utf-16", "HG_PENDING": place,
        "HOME": place, "PYTHONSTARTUP": place / "evil.py", "PYTHONPATH": place, "PYTHONINSPECT": "1", "PATH": place,
        "PACHA_STATE": place, "PACHA_CONFIG": place / "none", "EDITOR": "id", "TMPDIR": place, "HGDEMANDIMPORT": "disable",
        "HGMODULEPOLICY": "py", "HGPROF": "ls", "LC_ALL": "tr_TR.UTF-8", "CHGINTERNALMARK": "1", "HGRCSKIPREPO": "",
    }  # fmt: skip
    options = [word for name, value in names.items() for word in ("-o", f"SetEnv={name}={value}")]
    for some in (options[:2], *(options[at : at + 10] for at in range(2, len(options), 10))):
        answer = server.ssh(key_of(server, role), ASKS[role], options=tuple(some), input=b"pacha\n")
        assert json.loads(answer.stdout.partition(b"\n")[2])["host"] == "web1", (some, answer)
    assert not canary.exists()


COMMANDS: dict[str, bytes] = {
    "pushkey": b"pushkey\nnamespace 9\nbookmarkskey 1\nxold 0\nnew 40\n" + b"0" * 40,
    "stream": b"stream_out\n",
    "cached bundle": b"get_cached_bundle_inline\npath 11\n../../hgrc",
    "upgrade": b"upgrade x proto=y\n",
    "unknown": b"\xff\x1b[2J\n",
    "without an end": b"x" * 100_000,
    "batch of pushkey": b"batch\ncmds 37\npushkey namespace=phases,key=,old=,new=* 0\n",
    "batch of unbundle": b"batch\ncmds 14\nunbundle heads=* 0\n",
    "batch of batch": b"batch\ncmds 11\nbatch cmds=* 0\n",
    "batch without arguments": b"batch\ncmds 5\nknown* 0\n",
    "huge argument": b"lookup\nkey 99999999999\n",
    "no length": b"lookup\nkey x\n",
    "many arguments": b"getbundle\n* 1000000\n",
    "unknown node": b"getbundle\n* 1\nheads 40\n" + b"1" * 40,
    "negative bundle": b"unbundle\nheads 0\n-5\n",
    "huge bundle": b"unbundle\nheads 0\n99999999999999\n",
    "bundle cut off": b"unbundle\nheads 0\n100\nxxx",
    "no bundle": b"unbundle\nheads 0\n",
}  # fmt: skip
# What a host may say; who reads may not.
ADDING = {
    "unbundle": b"unbundle\nheads 0\n0\n",
    "alive": b"alive\nhealth 2\n{}",
    "forget": b"forget\npath 7\nfiles/fkeep 0\n",
    "batch of forget": b"batch\ncmds 27\nforget path=files/f,keep=;x* 0\n",
}


@roles
@pytest.mark.usefixtures("unchanged")
def test_no_other_wire_command_is_answered(server: Hub, place: Path, role: str) -> None:
    key = key_of(server, role)
    shared = ("-o", f"ControlPath={place}/w", "-o", "ControlMaster=auto", "-o", "ControlPersist=60")
    for name, said in (COMMANDS if role == "host" else COMMANDS | ADDING).items():
        told = len(server.log("refused"))
        answer = server.ssh(key, ASKS[role], options=shared, input=said)
        assert answer.returncode == 1, (name, answer)
        assert answer.stderr.startswith(b"pacha: refused: "), (name, answer)
        assert answer.stderr.count(b"\n") == 1, (name, answer)
        assert b"\x1b" not in answer.stderr
        assert len(server.log("refused")) == told + 1, name
    server.ssh(key, "-O", "exit", options=("-o", f"ControlPath={place}/w"))


def local(store: Path, *words: str) -> None:
    """A command of plain Mercurial's in a hostile copy."""
    code, _, errors = mercurial().run("-R", store, "--config", "ui.username=somebody", *words)
    assert code == 0, (words, errors)


ATTACKS = {
    "second head": [["update", "0"], ["branch", "-f", "default"], ["commit", "-Am", "x"]],
    "named branch": [["update", "tip"], ["branch", "other"], ["commit", "-Am", "x"]],
    "closed": [["update", "tip"], ["commit", "--close-branch", "-m", "x"]],
    "tag": [["update", "tip"], ["tag", "v1"]],
    "merge": [["update", "0"], ["commit", "-Am", "x"], ["merge", "1"], ["commit", "-m", "y"]],
}


@pytest.fixture(scope="module")
def attacks(server: Hub, place: Path) -> dict[str, Path]:
    """Copies of web1's line, each with one of the attacks behind it."""
    assert server
    found = {}
    for name, attack in ATTACKS.items():
        copy = StoreCopy(place / "web1" / "state" / "store", place / f"attack {name}").path
        for words in attack:
            if words[0] == "commit" and "-Am" in words:
                (copy / "files" / "mine").write_text(words[-1])
            local(copy, *words)
        found[name] = copy
    return found


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", ATTACKS)
@roles
def test_a_push_by_force_adds_nothing(server: Hub, attacks: dict[str, Path], role: str, name: str) -> None:
    pushed = server.push(key_of(server, role), attacks[name], "web1", "--force", "--new-branch")
    assert pushed.returncode != 0
    assert b"pacha: refused: " in pushed.stdout + pushed.stderr


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("role", READS)
def test_who_reads_adds_nothing_that_a_host_might(server: Hub, role: str) -> None:
    session = Wire(server, key_of(server, role), ASKS[role])
    tip = bytes.fromhex(session.told()["tip"])
    good = Forged("web1", parents=(tip, NULL), contents={b"f": b"x\n"})
    session.say(
        b"unbundle\nheads 10\n" + b"force".hex().encode() + b"%d\n" % len(good.bundle()) + good.bundle()
    )
    code, said = session.end()
    assert (code, said) == (1, b"pacha: refused: this session reads, and writes nothing\n")


@pytest.mark.parametrize("role", READS)
def test_to_read_leaves_no_trace_in_any_history(server: Hub, tmp_path: Path, role: str) -> None:
    def seen() -> list[tuple[str, int, int]]:
        found = [path for path in (server.place / "hosts").rglob("*") if path.is_file()]
        return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found)

    before = seen()
    cloned = server.hg(key_of(server, role), "clone", "ssh://hub/web2", tmp_path / "clone")
    assert cloned.returncode == 0, cloned
    said = b"heads\nbranchmap\npacha\nlistkeys\nnamespace 6\nphaseslookup\nkey 3\ntip"
    assert server.ssh(key_of(server, role), ASKS[role], input=said).returncode == 0
    assert seen() == before


@pytest.mark.usefixtures("unchanged")
def test_an_unrelated_or_anothers_line_adds_nothing(server: Hub, place: Path) -> None:
    key = server.sshd.key("web1")
    anothers = server.push(key, place / "web2" / "state" / "store", "web1", "--force")
    assert anothers.returncode != 0
    assert b"does not extend the line" in anothers.stderr
    # One that is another's from its very beginning, into an empty store.
    fresh = server.push(server.add("fresh"), place / "web2" / "state" / "store", "fresh")
    assert b"of host 'web2', not of 'fresh'" in fresh.stderr
    assert StoreCopy(server.store("fresh"), place / "fresh-copy").nodes() == []


@roles
@pytest.mark.usefixtures("unchanged")
def test_bookmarks_phases_and_push_variables_change_nothing(
    server: Hub, place: Path, tmp_path: Path, role: str
) -> None:
    key, copy = key_of(server, role), StoreCopy(place / "web1" / "state" / "store", tmp_path / "copy").path
    local(copy, "bookmark", "-r", "0", "mine")
    local(copy, "phase", "--force", "--draft", "-r", "all()")
    server.push(key, copy, "web1", "-B", "mine")
    server.push(key, copy, "web1", "--pushvars", "DEBUG=1")
    seen = StoreCopy(server.store("web1"), tmp_path / "seen")
    assert b"no bookmarks" in seen.hg("bookmarks")
    assert set(seen.hg("log", "-T", "{phase}\n").split()) == {b"public"}


@pytest.mark.usefixtures("unchanged")
def test_another_machine_under_the_same_key_is_refused_in_words(server: Hub) -> None:
    answer = server.ssh(
        server.sshd.key("web1"), f"pacha serve --protocol 1 --machine {MACHINE}", input=b"pacha\n"
    )
    assert answer.returncode == 1
    assert answer.stdout == b""
    assert b"another machine has sent as web1 before" in answer.stderr
    assert b"pacha host reset web1" in answer.stderr


def test_no_url_is_fetched(server: Hub) -> None:
    """A canary listens where the bundle points to."""
    from tests.server.forge import part

    heard: list[bytes] = []
    with socket.socket() as canary:
        canary.bind(("127.0.0.1", 0))
        canary.listen()
        canary.settimeout(5)

        def listen() -> None:
            try:
                heard.append(canary.accept()[0].recv(100))
            except OSError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"http://127.0.0.1:{canary.getsockname()[1]}/x".encode()
        session = Wire(server, server.sshd.key("web1"))
        fetch = part(b"remote-changegroup", b"", {b"url": url, b"size": b"1", b"digests": b""})
        assert session.unbundle(container([fetch]))[0] == "error:abort"
        assert session.end()[0] == 0
        canary.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert heard == []


def test_a_quota_is_kept_and_told(server: Hub) -> None:
    key = server.add("small", quota=300_000)
    session = Wire(server, key)
    first = Forged("small", contents={b"f": os.urandom(100_000)})
    assert session.unbundle(first.bundle())[0] == "reply:changegroup"
    told = session.told()
    assert 100_000 < told["used"] < told["quota"] == 300_000
    # More than is left: told in words, and the session ends before all of it was sent.
    session.say(b"unbundle\nheads 0\n")
    assert session.answer() == b""
    session.say(b"999999\n")
    code, said = session.end()
    assert code == 1
    assert b"the quota of this host would be exceeded" in said
    # It fits over the wire, and not on the disk: each of a hundred files takes a block.
    names = [b"%d" % number for number in range(100)]
    many = Forged(
        "small", parents=(first.id, NULL), contents=dict.fromkeys(names, b""),
        named=[b"files/" + name for name in sorted([*names, b"f"])] + [b"meta/%meta"],
    )  # fmt: skip
    session = Wire(server, key)
    kind, why = session.unbundle(many.bundle())
    assert (kind, why["message"]) == (
        "error:abort",
        "pacha: refused: the quota of this host would be exceeded",
    )
    assert session.told()["tip"] == first.id.hex()
    assert session.end()[0] == 0
    assert StoreCopy(server.store("small"), server.place / "small-copy").complaints() == []
