"""Who is pushed to when, and what it means how it ended: with a transport that does as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from pacha.core.answer import Ended, Line, Outcome
from pacha.core.destinations import expand, host_of
from pacha.core.errors import UsageError
from pacha.core.ssh_command import kept_words
from pacha.core.ssh_trouble import explain
from pacha.ops.bootstrap import bootstrap
from pacha.ops.push import RECEIVE, Pace, Push, Pushed

DONE = b'{"phase": "done", "ok": true, "steps": []}'
FAILED = b'{"phase": "done", "ok": false, "error": {"kind": "hook", "message": "no", "hint": ""}}'


class Transport:
    """Says for each host what the script has for it, one event at each `wait`, the first host first."""

    def __init__(self, script: Mapping[str, Sequence[bytes | Ended]]) -> None:
        self.script = {host: list(events) for host, events in script.items()}
        self.started: list[str] = []
        self.running: list[str] = []
        self.most = 0
        self.streams: dict[str, bytes] = {}

    def start(self, destination: str, remote: str, stream: Iterable[bytes]) -> None:
        assert remote == RECEIVE
        self.started.append(destination)
        self.running.append(destination)
        self.streams[destination] = b"".join(stream)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> Sequence[Line | Ended]:
        host = self.running[0]
        event = self.script.get(host, [DONE]).pop(0) if self.script.get(host, [DONE]) else DONE
        if isinstance(event, Ended):
            self.running.remove(host)
            return [event]
        if b'"done"' in event:
            self.running.remove(host)
        return [Line(host, event)]


class Witness:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def begun(self, destination: str) -> None:
        self.told.append(("begun", destination))

    def said(self, destination: str, line: Mapping[str, Any]) -> None:
        self.told.append((line["phase"], destination))

    def ended(self, outcome: Outcome) -> None:
        self.told.append((outcome.state, outcome.destination))

    def tick(self) -> None:
        pass


def push(transport: Transport, hosts: Sequence[str], *pace: Any) -> Pushed:
    witness = Witness()
    return Push(transport, hosts, lambda host: [host.encode()], Pace(*pace), witness, lambda: 0.0).run()


def lost(host: str, words: str, code: int = 255) -> Ended:
    return Ended(host, code, words)


# -- who, when ---------------------------------------------------------------------------------------------


def test_everybody_gets_what_is_theirs_no_more_than_so_many_at_once() -> None:
    hosts = [f"web{number}" for number in range(20)]
    transport = Transport({})
    pushed = push(transport, hosts, 3)
    assert [one.destination for one in pushed.outcomes] == hosts
    assert {one.state for one in pushed.outcomes} == {"ok"}
    assert transport.most == 3
    assert transport.streams == {host: host.encode() for host in hosts}


def test_a_batch_waits_for_the_one_before() -> None:
    transport = Transport({"a": [b'{"phase": "plan"}'] * 5 + [DONE]})
    running: list[int] = []
    start = transport.start

    def noted(destination: str, remote: str, stream: Iterable[bytes]) -> None:
        running.append(len(transport.running))
        start(destination, remote, stream)

    transport.start = noted  # type: ignore[method-assign]
    push(transport, list("abcdef"), 50, 2)
    assert running == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(("most", "begun"), [(0, "ab"), (1, "abcd"), (None, "abcdef")])
def test_too_many_failures_begin_no_more(most: int | None, begun: str) -> None:
    transport = Transport({host: [FAILED] for host in "ad"})
    pushed = push(transport, list("abcdef"), 50, 2, most)
    assert "".join(transport.started) == begun
    assert "".join(pushed.left) == "abcdef".removeprefix(begun)


def test_without_batches_failures_stop_those_that_wait() -> None:
    pushed = push(Transport({"a": [FAILED]}), list("abcd"), 1, 0, 0)
    assert pushed.left == ["b", "c", "d"]


# -- what it means -----------------------------------------------------------------------------------------


def outcome(*events: bytes | Ended) -> Outcome:
    return push(Transport({"web1": events}), ["web1"]).outcomes[0]


def test_a_change_is_told_from_nothing_to_do() -> None:
    changed = {"phase": "done", "ok": True, "steps": [{"action": "create", "path": "/etc/motd"}]}
    assert outcome(json.dumps(changed).encode()).state == "changed"
    assert outcome(b"Welcome to web1", b'{"phase": "plan"}', DONE).state == "ok"


def test_what_a_host_says_is_no_more_than_words() -> None:
    for line in (b"[1]", b'{"phase": 1, "ok": true}', b"{" * 5000, b"\xff", b'"ok"', b'{"ok": true}'):
        assert outcome(line, lost("web1", "", 1)).state == "failed", line
    odd = outcome(b'{"phase": "done", "ok": false, "error": [1], "steps": [2, {"path": 3}], "hooks": "x"}')
    assert (odd.state, odd.listed("steps"), odd.listed("hooks")) == ("failed", [{"path": 3}], [])
    assert odd.trouble and odd.trouble.message == "it failed, and did not say why"


def test_an_undone_push_is_not_one_that_did_nothing() -> None:
    assert outcome(FAILED.replace(b"false,", b'false, "reverted": true,')).state == "reverted"


ENDS = [
    ("Host key verification failed.", 255, "unreachable", "host-key"),
    ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", 255, "unreachable", "host-key"),
    ("root@web1: Permission denied (publickey).", 255, "unreachable", "permission"),
    ("ssh: Could not resolve hostname web1: Name or service not known", 255, "unreachable", "unreachable"),
    ("ssh: connect to host web1 port 22: Connection refused", 255, "unreachable", "unreachable"),
    ("ssh: connect to host web1 port 22: Connection timed out", 255, "unreachable", "unreachable"),
    ("bash: line 1: pacha: command not found", 127, "failed", "no-pacha"),
    ("env: 'pacha': No such file or directory", 126, "failed", "no-pacha"),
    ("pacha: 'receive' is no verb of pacha\n       did you mean rekey?", 2, "failed", "no-pacha"),
    ("", 255, "failed", "lost"),
    ("Traceback (most recent call last):\nMemoryError", 1, "failed", "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "state", "kind"), ENDS, ids=[row[0][:40] for row in ENDS])
def test_how_ssh_ends_is_told_apart(words: str, code: int, state: str, kind: str) -> None:
    found = outcome(lost("web1", words, code))
    assert found.trouble is not None
    assert (found.state, found.trouble.kind) == (state, kind)
    assert found.trouble.message


def test_a_wrong_host_key_is_forgotten_where_ssh_found_it() -> None:
    said = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n{}Host key verification failed."
    found = "Offending ECDSA key in /home/me/a b/known_hosts:3\r\nHost key for [web.example]:2222 has changed and …\n"
    for words, command in (
        (found, "ssh-keygen -f '/home/me/a b/known_hosts' -R '[web.example]:2222'"),
        ("", "ssh-keygen -R web1"),
    ):
        trouble = explain("ssh://me@web1:2222", said.format(words))
        assert trouble.hint == f"compare its key; if it is the right one: {command}"


def test_a_connection_that_breaks_names_the_phase() -> None:
    found = outcome(b'{"phase": "live"}', lost("web1", "client_loop: send disconnect: Broken pipe"))
    assert found.state == "failed"
    assert found.trouble and found.trouble.message == "the connection was lost during live"


def test_a_kept_connection_that_is_gone_is_made_anew_once() -> None:
    stale = lost("web1", "mux_client_request_session: read from master failed: Broken pipe")
    transport = Transport({"web1": [stale, DONE]})
    assert push(transport, ["web1"]).outcomes[0].state == "ok"
    assert transport.started == ["web1", "web1"]
    assert outcome(stale, stale).state == "unreachable"


class Silence(Transport):
    """Some hosts never say a word; a second passes at each `wait`."""

    def __init__(self, script: Mapping[str, Sequence[bytes | Ended]], *silent: str) -> None:
        super().__init__(script)
        self.silent = silent
        self.now = 0.0
        self.stopped: list[tuple[str, float]] = []

    def wait(self, seconds: float) -> Sequence[Line | Ended]:
        self.now += 1.0
        self.running = [host for host in self.running if host not in self.silent]
        return super().wait(seconds) if self.running else []

    def stop(self, destination: str) -> None:
        self.stopped.append((destination, self.now))

    def push(self, hosts: Sequence[str], *pace: Any) -> Pushed:
        return Push(self, hosts, lambda host: [b""], Pace(*pace), Witness(), lambda: self.now).run()


def test_a_host_that_never_says_a_word_is_given_up_and_the_next_is_begun() -> None:
    transport = Silence({}, "a")
    first, second = transport.push("ab", 50, 1).outcomes
    assert transport.stopped == [("a", 121.0)]
    assert (first.state, first.trouble and first.trouble.kind) == ("failed", "silent")
    assert first.trouble and first.trouble.message == "it has said nothing for 120 s"
    assert second.state == "ok"


def test_what_a_login_prints_is_no_word_of_the_receivers() -> None:
    transport = Silence({"a": [b"Welcome"] * 200})
    assert transport.push("a").outcomes[0].trouble
    assert transport.stopped == [("a", 121.0)]


def test_who_has_spoken_may_take_its_time() -> None:
    transport = Silence({"a": [b'{"phase": "post-push"}', *[b"no word"] * 1000, DONE]})
    assert transport.push("a").outcomes[0].state == "ok"
    assert transport.stopped == []


def test_a_connection_that_is_made_anew_has_its_own_time() -> None:
    stale = lost("a", "mux_client_request_session: read from master failed: Broken pipe")
    transport = Silence({"a": [*[b"Welcome"] * 100, stale, *[b"Welcome"] * 100, DONE]})
    assert transport.push("a").outcomes[0].state == "ok"
    assert transport.started == ["a", "a"]


# -- bringing Pacha ----------------------------------------------------------------------------------------

LOOK = b'["/usr/bin/python3", [3, 11], "x86_64", "glibc", true]'
INSTALLED = b'{"ok": true, "version": "1"}'


class Bare(Silence):
    """Hosts without Pacha: each command says what the script has next for its host, and ends; None: it hangs."""

    def __init__(self, script: Mapping[str, Sequence[Sequence[bytes | None]]]) -> None:
        super().__init__({})
        self.commands = {host: list(commands) for host, commands in script.items()}
        self.saying: dict[str, list[bytes | None]] = {}

    def start(
        self, destination: str, remote: str, stream: Iterable[bytes], *, is_fresh: bool = False
    ) -> None:
        self.started.append(destination)
        self.saying[destination] = list(self.commands[destination].pop(0))

    def stop(self, destination: str) -> None:
        super().stop(destination)
        del self.saying[destination]

    def wait(self, seconds: float) -> Sequence[Line | Ended]:
        self.now += 10.0
        for host, words in self.saying.items():
            if not words:
                del self.saying[host]
                return [Ended(host, 0, "")]
            if words[0] is not None:
                return [Line(host, words.pop(0) or b"")]
        return []

    def bring(self, jobs: int = 50) -> dict[str, str]:
        """The words of what kept each host from having it."""
        hosts = list(self.commands)
        told = bootstrap(self, hosts, b"", lambda *_machine: b"", jobs, lambda: self.now)
        return {host: trouble.message if trouble else "" for host, trouble in told.items()}


@pytest.mark.parametrize("hanging", [[[None]], [[LOOK], [None]], [[LOOK], [b'{"phase": "files"}', None]]])
def test_a_host_that_hangs_while_it_gets_pacha_is_given_up(hanging: list[list[bytes | None]]) -> None:
    transport = Bare({"a": hanging, "b": [[LOOK], [INSTALLED]]})
    assert transport.bring(jobs=1) == {"a": "it has said nothing for 120 s", "b": ""}
    assert [host for host, _ in transport.stopped] == ["a"]


def test_one_that_tells_what_it_does_may_take_its_time() -> None:
    transport = Bare({"a": [[LOOK], [b'{"phase": "archive"}'] * 20 + [INSTALLED]]})
    assert transport.bring() == {"a": ""}
    assert transport.now > 200
    assert transport.stopped == []


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"{}", id="empty"),
        pytest.param(b'{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}', id="object"),
        pytest.param(b'["p", [Infinity, 3], "x", "glibc", true]', id="endless"),
        pytest.param(b'["p", {}, "x", "glibc", true]', id="no-version"),
        pytest.param(b'["p\\u0000", [3, 11], "x", "glibc", true]', id="nul"),
        pytest.param(b'["p\\ud800", [3, 11], "x", "glibc", true]', id="surrogate"),
        pytest.param(b'["' + b"p" * 1_000_000 + b'", [3, 11], "x", "glibc", true]', id="long"),
    ],
)
def test_what_a_host_says_of_itself_is_no_others_business(said: bytes) -> None:
    told = Bare({"a": [[said]], "b": [[LOOK], [said]], "c": [[LOOK], [INSTALLED]]}).bring()
    assert "does not say what it is" in told["a"]
    assert "could not be installed" in told["b"]
    assert told["c"] == ""


# -- which hosts -------------------------------------------------------------------------------------------


def test_groups_and_hosts_each_once() -> None:
    groups = {"web": ["web1", "admin@web2"], "none": []}
    assert expand(["web2", "@web", "web1", "ssh://db1:22"], groups) == [
        "web2",
        "web1",
        "admin@web2",
        "ssh://db1:22",
    ]
    for word, words in (
        ("@wbe", "no group @wbe"),
        ("@none", "has no hosts"),
        ("-oProxyCommand=x", "no destination"),
    ):
        with pytest.raises(UsageError, match=words):
            expand([word], groups)


@pytest.mark.parametrize(
    ("destination", "host"),
    [("web1", "web1"), ("admin@web1", "web1"), ("ssh://admin@web1:2222/", "web1"), ("ssh://web1", "web1")],
)
def test_the_host_of_a_destination(destination: str, host: str) -> None:
    assert host_of(destination) == host


def test_a_socket_that_no_path_can_name_keeps_no_connection() -> None:
    assert f'ControlPath="/run/pacha/{"x" * 39}%C"' in kept_words(f"/run/pacha/{'x' * 39}%C")
    assert kept_words(f"/run/pacha/{'x' * 40}%C") == []
