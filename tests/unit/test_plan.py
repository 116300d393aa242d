"""Plans: each is exactly what differs, in an order in which every step can be done."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pacha.core.entry import DIRECTORY, FIFO, FILE, SYMLINK, Entry
from pacha.core.names import split
from pacha.core.plan import CREATE, LINK, METADATA, REMOVE, REPLACE, Step, build, decide, reverse

State = dict[bytes, Entry]
TOP = Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root")
PLAIN = Entry(FILE, 0o644, 0, b"root", 0, b"root", 1, b"00" * 32)
OTHER = PLAIN._replace(sha256=b"11" * 32)
LINKED = PLAIN._replace(link=b"/t/a")
KINDS = [
    PLAIN,
    OTHER,
    PLAIN._replace(mode=0o600),
    PLAIN._replace(mtime=9),
    PLAIN._replace(holes=((0, 4096),)),
    Entry(SYMLINK, 0o777, 0, b"root", 0, b"root", 1, target=b"a"),
    Entry(FIFO, 0o644, 0, b"root", 0, b"root", 1),
    TOP,
    TOP._replace(mode=0o500),
    TOP._replace(flags=b"i"),
]


@st.composite
def states(draw: st.DrawFn) -> State:
    """A tree below `/t`: every entry's parent is a directory, groups of hard links have their first name."""
    found: State = {b"/t": TOP}
    for depth in range(3):
        parents = [p for p, e in found.items() if e.kind == DIRECTORY and p.count(b"/") == depth + 1]
        for parent in parents:
            for name in draw(st.lists(st.sampled_from(b"a b c d".split()), unique=True, max_size=4)):
                found[parent + b"/" + name] = draw(st.sampled_from(KINDS))
    for digest in (PLAIN.sha256, OTHER.sha256):
        group = sorted(p for p, e in found.items() if e.sha256 == digest and draw(st.booleans()))
        for path in group if len(group) > 1 else []:
            found[path] = found[group[0]]._replace(link=group[0])
    return found


def everything(path: bytes, entry: Entry) -> bool:
    return True


def do(step: Step, state: State) -> None:
    """Do a step to a state, as a file system would; raise AssertionError where it could not be done."""
    parent, _ = split(step.path)
    assert state.get(parent, TOP).kind == DIRECTORY or step.path == b"/t", f"{step.path!r} has no parent"
    below = [path for path in state if path.startswith(step.path + b"/")]
    if step.action == REMOVE:
        assert not below, f"{step.path!r} is not empty"
        del state[step.path]
        return
    assert step.after is not None
    present = state.get(step.path)
    assert (step.action == CREATE) == (present is None)
    if step.action == REPLACE:
        assert not below, f"{step.path!r} still holds entries"
    if step.action == METADATA and step.after.kind == DIRECTORY:
        assert present is not None
        assert present.kind == DIRECTORY
    if step.action in (CREATE, REPLACE, LINK) and step.after.link not in (None, step.path):
        leader = state.get(step.after.link or b"")
        assert leader is not None, f"{step.path!r} comes before the first of its group"
        assert leader.sha256 == step.after.sha256
    state[step.path] = step.after


@settings(max_examples=133, deadline=None)
@given(states(), states())
def test_each_step_can_be_done_when_its_turn_comes(actual: State, desired: State) -> None:
    state = dict(actual)
    for step in build(actual, desired, everything):
        assert step.before == actual.get(step.path)
        assert step.after == desired.get(step.path)
        assert not step.refused
        do(step, state)
    assert state.keys() == desired.keys()
    for path, entry in desired.items():
        # The first of a group needs no step of its own: its followers are linked to it.
        leads = entry.link in (None, path)
        assert state[path] == entry or (leads and state[path]._replace(link=entry.link) == entry)


def groups(files: dict[bytes, object]) -> set[frozenset[bytes]]:
    """Which paths are names of one file, from what they are names of."""
    return {frozenset(path for path, other in files.items() if other == one) for one in files.values()}


def names_of(state: State) -> dict[bytes, object]:
    return {path: entry.link or path for path, entry in state.items() if entry.kind == FILE}


TWO_PAIRS = {path: PLAIN._replace(link=b"/t/a" if path in (b"/t/a", b"/t/b") else b"/t/c") for path in (b"/t/a", b"/t/b", b"/t/c", b"/t/d")}  # fmt: skip
CROSSED = {
    path: PLAIN._replace(link=b"/t/a" if path in (b"/t/a", b"/t/c") else b"/t/b") for path in TWO_PAIRS
}
ALL_ONE = {path: PLAIN._replace(link=b"/t/a") for path in TWO_PAIRS}


@settings(max_examples=100, deadline=None)
@given(states(), states())
@example(TWO_PAIRS, CROSSED)
@example(ALL_ONE, TWO_PAIRS)
@example(TWO_PAIRS, ALL_ONE)
def test_what_was_one_file_is_one_file_again_and_no_other_is(actual: State, desired: State) -> None:
    inodes = names_of(actual)
    for number, step in enumerate(build(actual, desired, everything)):
        if step.after is None or step.after.kind != FILE:
            inodes.pop(step.path, None)
        elif step.after.link not in (None, step.path):
            inodes[step.path] = inodes[step.after.link or b""]
        elif step.action in (CREATE, REPLACE):
            inodes[step.path] = number
    assert groups(inodes) == groups(names_of(desired))


@settings(max_examples=66, deadline=None)
@given(states(), states())
def test_a_plan_has_a_step_for_what_differs_alone(actual: State, desired: State) -> None:
    steps = build(actual, desired, everything)
    assert len({step.path for step in steps}) == len(steps)
    same = {path for path, entry in actual.items() if desired.get(path) == entry}
    assert not same & {step.path for step in steps}
    assert all(step.reason for step in steps)
    assert build(desired, desired, everything) == []


@settings(max_examples=66, deadline=None)
@given(states(), states())
def test_what_may_not_be_removed_stays(actual: State, desired: State) -> None:
    assert [s for s in build(actual, desired, lambda path, entry: False) if s.action == REMOVE] == []
    asked = []

    def note(path: bytes, entry: Entry) -> bool:
        asked.append((path, entry))
        return True

    removed = {s.path for s in build(actual, desired, note) if s.action == REMOVE}
    assert removed == actual.keys() - desired.keys()
    assert sorted(asked) == sorted((path, actual[path]) for path in removed)


@settings(max_examples=66, deadline=None)
@given(states(), states())
def test_directories_are_finished_after_everything_below(actual: State, desired: State) -> None:
    steps = build(actual, desired, everything)
    for at, step in enumerate(steps):
        if step.action == METADATA and step.before is not None and step.before.kind == DIRECTORY:
            assert not [s for s in steps[at + 1 :] if s.path.startswith(step.path + b"/")]


@settings(max_examples=60, deadline=None)
@given(states(), states())
def test_the_reverse_leads_back(actual: State, desired: State) -> None:
    steps = build(actual, desired, everything)
    assert reverse(steps) == [(step.path, step.after, step.before) for step in steps]
    back = build(desired, actual, everything)
    missing = {step.path for step in steps} - {step.path for step in back}
    # Again but for the first of a group, whose link no step of its own changes.
    assert all(desired[path].link == path or actual[path].link == path for path in missing)


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        (None, PLAIN, CREATE),
        (PLAIN, None, REMOVE),
        (PLAIN, OTHER, REPLACE),
        (PLAIN, TOP, REPLACE),
        (TOP, PLAIN, REPLACE),
        (PLAIN, PLAIN._replace(mode=0), METADATA),
        (PLAIN, PLAIN._replace(mtime=2), METADATA),
        (PLAIN, PLAIN._replace(acl=b"u::r--"), METADATA),
        (TOP, TOP._replace(mode=0o700), METADATA),
        (PLAIN, LINKED, LINK),
        (LINKED, PLAIN, REPLACE),
        (LINKED._replace(link=b"/t/c"), LINKED, LINK),
        (PLAIN, PLAIN._replace(holes=((0, 1),)), REPLACE),
        (KINDS[5], KINDS[5]._replace(target=b"b"), REPLACE),
    ],
)
def test_the_action_of_a_step(before: Entry | None, after: Entry | None, action: str) -> None:
    step = decide(b"/t/x", before, after)
    assert step is not None
    assert (step.action, step.path, step.before, step.after) == (action, b"/t/x", before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, PLAIN),
        (PLAIN._replace(unstable=True), PLAIN),
        (PLAIN, PLAIN._replace(link=b"/t/x")),
    ],
)
def test_nothing_to_do(before: Entry, after: Entry) -> None:
    assert decide(b"/t/x", before, after) is None


def test_reasons_are_words() -> None:
    step = decide(b"/t/x", PLAIN, OTHER._replace(mode=0o600))
    assert step is not None
    assert step.reason == "content, mode 0644 → 0600"
    gone = decide(b"/t/x", PLAIN, None)
    assert gone is not None
    assert gone.reason == "was not there: file 0644 root:root"
