"""What waits, for how long, and what belongs together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pacha.agent.batch import PATHS_AT_MOST, RUN_LIMIT_NS, Batch, Group, Settings
from pacha.core.who import Run, Who

MS = 1_000_000
QUIET, LIMIT = 50 * MS, 2_000 * MS
APT = Run(7, 1, "apt install nginx")


def who(login: str, command: str = "vi", run: Run | None = None) -> Who:
    return Who(1, "root", login, "/usr/bin/vi", command, run=run)


ALICE, BOB = who("alice"), who("bob")


def batch() -> Batch:
    return Batch(Settings(QUIET, LIMIT))


def paths(groups: list[Group]) -> list[list[bytes]]:
    return [sorted(group.paths) for group in groups]


def test_a_change_waits_for_a_moment_of_silence() -> None:
    waiting = batch()
    waiting.add(b"/a", ALICE, 0)
    waiting.add(b"/b", ALICE, 40 * MS)
    assert waiting.deadline_ns() == 90 * MS
    assert waiting.due(89 * MS) == []
    assert paths(waiting.due(90 * MS)) == [[b"/a", b"/b"]]
    assert (len(waiting), waiting.deadline_ns(), waiting.due(10**12)) == (0, None, [])


def test_but_never_longer_than_the_limit() -> None:
    waiting = batch()
    for at in range(0, 3_000, 10):
        waiting.add(b"/a", ALICE, at * MS)
        if taken := waiting.due(at * MS):
            break
    assert (at, paths(taken)) == (2_000, [[b"/a"]])


def test_each_person_has_a_revision_of_their_own() -> None:
    waiting = batch()
    waiting.add(b"/a", ALICE, 0)
    waiting.add(b"/b", BOB, 1)
    waiting.add(b"/c", None, 2)
    waiting.add(b"/d", who("alice", "tee /d"), 3)
    due = waiting.due(LIMIT)
    assert paths(due) == [[b"/a", b"/d"], [b"/b"], [b"/c"]]
    assert [[w.words() for w in group.writers.values()] for group in due] == [
        ["alice as root: vi", "alice as root: tee /d"],
        ["bob as root: vi"],
        [],
    ]
    assert [group.has_unknown for group in due] == [False, False, True]


def test_who_touched_the_same_path_shares_a_revision() -> None:
    waiting = batch()
    waiting.add(b"/a", ALICE, 0)
    waiting.add(b"/b", BOB, 0)
    waiting.add(b"/b", ALICE, 1)
    waiting.add(b"/c", BOB, 2)
    (group,) = waiting.due(LIMIT)
    assert sorted(group.paths) == [b"/a", b"/b", b"/c"]
    assert {w.login for w in group.writers.values()} == {"alice", "bob"}


def test_a_package_manager_is_waited_for_and_others_are_not() -> None:
    waiting = batch()
    waiting.add(b"/etc/nginx", who("alice", "dpkg --unpack", APT), 0)
    waiting.add(b"/etc/nginx/x", who("alice", "cp a b", APT), 1)
    waiting.add(b"/etc/hosts", ALICE, 2)
    assert waiting.runs() == {APT}
    assert paths(waiting.due(LIMIT)) == [[b"/etc/hosts"]]
    waiting.end_run(APT)
    assert waiting.runs() == set()
    (group,) = waiting.due(LIMIT)
    assert (sorted(group.paths), group.run) == ([b"/etc/nginx", b"/etc/nginx/x"], APT)


def test_what_nobody_is_known_for_counts_with_the_run_that_is_at_work() -> None:
    waiting = batch()
    waiting.add(b"/etc/first", None, 0)
    waiting.add(b"/etc/nginx", who("alice", "dpkg --unpack", APT), 1)
    waiting.add(b"/etc/lost", None, 2)
    waiting.end_run(APT)
    (group,) = waiting.due(LIMIT)
    assert sorted(group.paths) == [b"/etc/first", b"/etc/lost", b"/etc/nginx"]
    assert (group.run, group.has_unknown) == (APT, True)


def test_one_that_waits_for_an_answer_does_not_hold_changes_back_for_ever() -> None:
    waiting = batch()
    waiting.add(b"/a", who("alice", run=APT), 5)
    assert waiting.deadline_ns() == 5 + RUN_LIMIT_NS
    assert paths(waiting.due(5 + RUN_LIMIT_NS)) == [[b"/a"]]


def test_memory_is_bounded() -> None:
    waiting = batch()
    for at in range(PATHS_AT_MOST):
        waiting.add(b"/%d" % at, None, 0)
    assert not waiting.is_everything
    waiting.add(b"/0", ALICE, 0)
    assert not waiting.is_everything
    waiting.add(b"/more", None, 0)
    assert (waiting.is_everything, len(waiting), waiting.groups) == (True, 0, [])
    waiting.add(b"/again", None, 0)
    assert len(waiting) == 0


def test_what_could_not_be_captured_waits_again_with_its_author() -> None:
    waiting = batch()
    waiting.add(b"/a", ALICE, 0)
    (failed,) = waiting.due(LIMIT)
    waiting.add(b"/a", BOB, LIMIT)
    waiting.add(b"/b", BOB, LIMIT)
    waiting.put_back(failed)
    (group,) = waiting.due(2 * LIMIT)
    assert sorted(group.paths) == [b"/a", b"/b"]
    assert {w.login for w in group.writers.values()} == {"alice", "bob"}


writers = st.sampled_from([None, ALICE, BOB, who("alice", run=APT), who("carol", "cp")])
additions = st.lists(st.tuples(st.integers(0, 9).map(lambda n: b"/%d" % n), writers), max_size=40)


@given(additions)
def test_no_path_is_lost_or_in_two_revisions_and_no_author_is_on_another_s_path(
    made: list[tuple[bytes, Who | None]],
) -> None:
    waiting = batch()
    for at, (path, writer) in enumerate(made):
        waiting.add(path, writer, at)
    assert set(waiting.paths()) == {path for path, _ in made}
    groups = waiting.all()
    taken = [path for group in groups for path in group.paths]
    assert sorted(taken) == sorted({path for path, _ in made})
    for path, writer in made:
        (group,) = [group for group in groups if path in group.paths]
        if writer is None:
            assert group.has_unknown
        else:
            assert (writer.actor, writer.command) in group.writers
    assert (len(waiting), waiting.groups, waiting.deadline_ns()) == (0, [], None)
