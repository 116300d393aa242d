"""What `pacha push` tells: how it ended at each host, hosts alike in one line, and the same as JSON.

Called by the verb; itself no verb. What hosts say is shown escaped: it is somebody else's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from pacha.core.answer import CHANGED, FAILED, OK, REVERTED, STATES, UNREACHABLE, Outcome
from pacha.core.quantities import about_age
from pacha.ops.push import Pushed
from pacha.ui.text import STEP_COLOURS, clip, content_line, paint, plural, printable, use_colour

_COLOURS = {OK: "", CHANGED: "green", FAILED: "red", REVERTED: "red", UNREACHABLE: "yellow"}
_IN_WORDS = {FAILED: "FAILED", REVERTED: "FAILED and was undone", UNREACHABLE: "UNREACHABLE"}
_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_COLUMNS = 80  # where the width is not known
_BUSY, _EDITED = "busy", "changed"  # kinds of trouble
_LONGEST_NAME = 24
_SHORTEST_NAMES = 8  # columns that are worth naming hosts in
_OUTPUT_LINES = 20  # of each failed hook, or of the tool that failed
_MOST_NOTES = 20
_KINDS = {"dir": "directory", "symlink": "link"}  # of entries; all others are called files
_GONE = {"restart": "restarted", "reload": "reloaded"}


# -- words -----------------------------------------------------------------------------------------------


def in_words(one: Outcome, dry_run: bool) -> str:
    """How it ended at a host, on one line; the same for hosts where the same was done."""
    if one.trouble is not None and one.trouble.kind == _BUSY:
        return "FAILED: another Pacha is at work there"  # each has its own number
    if one.trouble is not None:
        step = one.answer.get("step")
        during = f" during {step}" if isinstance(step, str) and step not in ("", "done") else ""
        return printable(f"{_IN_WORDS[one.state]}{during}: {one.trouble.message}")
    if one.state == OK:
        hooks = len(one.listed("hooks"))
        return f"no file changed; {plural(hooks, 'hook')} ran" if hooks else "nothing to do"
    would_run = one.answer.get("would_run")
    if isinstance(would_run, list) and would_run and not _changes(one):
        return f"would change no file, and run {plural(len(would_run), 'hook')}"
    return printable(f"{'would change' if dry_run else 'changed'}: {_changes(one)}")


def _changes(one: Outcome) -> str:
    """`2 files, 1 directory (1 changed by hand), 1 package, nginx restarted`."""
    packages = one.answer.get("packages")
    kinds = Counter(_KINDS.get(str(step.get("kind")), "file") for step in one.listed("steps"))
    entries = ", ".join(plural(kinds[word], word) for word in ("file", "directory", "link") if kinds[word])
    whose = Counter(map(_whose, one.listed("edited")))
    others = ", ".join(f"{count} {words}" for words, count in sorted(whose.items()))
    parts = [entries + (f" ({others})" if others else "")] if entries else []
    if isinstance(packages, list) and packages:
        parts.append(plural(len(packages), "package"))
    for service in one.listed("services"):
        action = str(service.get("action"))
        parts.append(f"{service.get('name')} {_GONE.get(action, action)}")
    if one.answer.get("confirmed"):
        parts.append("confirmed")
    return ", ".join(parts)


def some(names: Sequence[str], width: int) -> str:
    """As many of the names as fit, the last always among them: `web1 web2 … web40`."""
    names = [printable(name) for name in names]
    whole = " ".join(names)
    if len(whole) <= width or len(names) < 3:
        return clip(whole, max(width, 1))
    end = f" … {names[-1]}"
    shown = names[0]
    for name in names[1:-1]:
        if len(shown) + 1 + len(name) + len(end) > width:
            break
        shown += f" {name}"
    return clip(shown + end, max(width, 1))


def fold(outcomes: Iterable[Outcome], dry_run: bool) -> dict[str, list[Outcome]]:
    """The outcomes by their words: those that went well first, then the most frequent first."""
    groups: dict[str, list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault(in_words(one, dry_run), []).append(one)
    return dict(sorted(groups.items(), key=lambda item: (not item[1][0].is_done, -len(item[1]), item[0])))


def group_lines(groups: Mapping[str, Sequence[Outcome]], width: int, colour: bool) -> list[str]:
    """A line for each: `37 hosts  changed: 2 files  web1 web2 … web37`, or `web9  nothing to do`."""
    heads = [_head(group) for group in groups.values()]
    column = max(map(len, heads), default=0)
    lines = []
    for head, (words, group) in zip(heads, groups.items(), strict=True):
        told = clip(words, max(width - column - 2, 10))
        left = width - column - 2 - len(told) - 2
        are_named = len(group) > 1 and left > _SHORTEST_NAMES
        names = paint(some([one.destination for one in group], left), "dim", colour) if are_named else ""
        tint = _COLOURS[group[0].state]
        lines.append(f"{head.ljust(column)}  {paint(told, tint, colour)}{'  ' if names else ''}{names}")
    return lines


def _head(group: Sequence[Outcome]) -> str:
    if len(group) > 1:
        return plural(len(group), "host")
    return clip(printable(group[0].destination), _LONGEST_NAME)


# -- the summary -----------------------------------------------------------------------------------------


def print_outcomes(outcomes: Sequence[Outcome], *, dry_run: bool, diff: bool, width: int, to: TextIO) -> None:
    """Every group of hosts: what was or would be done there, and failures in full."""
    colour = use_colour(to)
    width = width or _COLUMNS
    groups = fold(outcomes, dry_run)
    lines = group_lines(groups, width, colour)
    for line, (words, group) in zip(lines, groups.items(), strict=True):
        print(line, file=to)
        if group[0].trouble is not None:
            _print_failure(words, line, group, width, to)
        _print_shared(group, lambda one: _noted(one, width), width, to)
        if dry_run or diff or group[0].answer.get("diffs") or _is_refused(group[0]):
            _print_shared(group, lambda one: _details(one, colour), width, to)


def _print_failure(words: str, line: str, group: Sequence[Outcome], width: int, to: TextIO) -> None:
    """What did not fit into the line: message and names; what a tool said, the next step, what a hook
    said.
    """
    indent = "  "
    one = group[0]
    assert one.trouble is not None
    message = printable(one.trouble.message)
    if words not in line or message not in words:
        for row in _filled(message.split(), width - len(indent)):
            print(f"{indent}{row}", file=to)
    names = [printable(one.destination) for one in group]
    if " ".join(names) not in line:
        for row in _filled(names, width - len(indent)):
            print(f"{indent}{row}", file=to)
    _print_shared(group, _output, width, to)
    if one.trouble.hint:
        print(f"{indent}{printable(one.trouble.hint)}", file=to)
    for hook in one.listed("hooks"):
        if hook.get("exit") == 0:
            continue
        print(f"{indent}{printable(str(hook.get('name')))}: exit {printable(str(hook.get('exit')))}", file=to)
        for said in str(hook.get("output", "")).splitlines()[-_OUTPUT_LINES:]:
            print(f"{indent}  {printable(said)}", file=to)
    if len(group) > 1 and any(_said(member) != _said(one) for member in group[1:]):
        print(f"{indent}(so said by {printable(one.destination)})", file=to)


def _said(one: Outcome) -> tuple[object, ...]:
    return one.trouble, one.answer.get("hooks")


def _filled(words: Sequence[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _print_shared(
    group: Sequence[Outcome], lines_of: Callable[[Outcome], list[str]], width: int, to: TextIO
) -> None:
    """Lines that each host has; hosts where they are the same share them."""
    shared: dict[tuple[str, ...], list[Outcome]] = {}
    for one in group:
        shared.setdefault(tuple(lines_of(one)), []).append(one)
    for lines, members in shared.items():
        if lines and len(shared) > 1:
            print(f"  {some([one.destination for one in members], width - 3)}:", file=to)
        indent = "  " if len(shared) > 1 else ""
        for line in lines:
            print(f"{indent}{line}", file=to)


def _noted(one: Outcome, width: int) -> list[str]:
    """What the host has to say besides."""
    notes = one.lines("notes")
    if len(notes) > _MOST_NOTES:
        notes[_MOST_NOTES - 1 :] = [f"and {len(notes) - _MOST_NOTES + 1} more of these, which --json has"]
    rows = []
    for note in notes:
        first, *more = _filled(printable(note).split(), width - 6)
        rows += [f"  {first}", *(f"    {row}" for row in more)]
    return rows


def _output(one: Outcome) -> list[str]:
    """The end of what the tool printed that failed."""
    return [f"    {printable(line)}" for line in one.lines("output")[-_OUTPUT_LINES:]]


def _details(one: Outcome, colour: bool) -> list[str]:
    lines = []
    whose = {_path_of(values): f", {_whose(values)}{_by(values)}" for values in one.listed("edited")}
    # Of what is refused nothing was done: what force alone would do is told in the place of that.
    for step in one.listed("edited" if _is_refused(one) else "steps"):
        action, path = str(step.get("action") or ""), _path_of(step)
        tint = STEP_COLOURS.get(action, "")
        words = f"{path}  {printable(str(step.get('reason') or ''))}{whose.get(path, '')}".rstrip()
        lines.append(f"  {paint(printable(action).ljust(8), tint, colour)}  {words}")
    for difference in one.listed("diffs"):
        for line in str(difference.get("diff", "")).splitlines():
            tint = _DIFF_COLOURS.get(line[:1], "")
            lines.append(f"    {paint(content_line(line.encode('utf-8', 'surrogatepass')), tint, colour)}")
    return lines


def _is_refused(one: Outcome) -> bool:
    """Whether nothing was done, as somebody else's change is in the way."""
    return one.trouble is not None and one.trouble.kind == _EDITED


def _whose(values: Mapping[str, Any]) -> str:
    holder, lost = values.get("deployment"), values.get("lost")
    if isinstance(lost, str):
        return printable(f"which {lost}")
    return printable(f"delivered by {holder}") if isinstance(holder, str) else "changed by hand"


def _by(values: Mapping[str, Any]) -> str:
    author, when = values.get("author"), values.get("time_ns")
    if not isinstance(author, str) or type(when) is not int:
        return ""
    return printable(f": {author}, {about_age(when, time.time_ns())} ({values.get('revision')})")


def _path_of(values: Mapping[str, Any]) -> str:
    path = values.get("path")
    if isinstance(path, str):
        return printable(path)
    return f"(in base64) {printable(str(values.get('path_b64')))}"


def closing_line(pushed: Pushed, seconds: float, dry_run: bool) -> str:
    """`40 hosts in 1.2 s: 37 changed, 2 with nothing to do, 1 unreachable`."""
    counts = {state: sum(one.state == state for one in pushed.outcomes) for state in STATES}
    names = {
        CHANGED: "would change" if dry_run else "changed",
        OK: "with nothing to do",
        FAILED: "failed",
        REVERTED: "failed and undone",
        UNREACHABLE: "unreachable",
    }
    with_hooks = sum(one.state == OK and bool(one.listed("hooks")) for one in pushed.outcomes)
    counts[OK] -= with_hooks
    parts = [f"{counts[state]} {words}" for state, words in names.items() if counts[state]]
    if with_hooks:
        parts.append(f"{with_hooks} where only hooks ran")
    if pushed.left:
        parts.append(f"{len(pushed.left)} not begun")
    total = len(pushed.outcomes) + len(pushed.left)
    return f"{plural(total, 'host')} in {seconds:.1f} s: {', '.join(parts)}"


def print_closing(pushed: Pushed, seconds: float, *, dry_run: bool, to: TextIO) -> None:
    """The last lines: all in numbers, where there are more hosts than one."""
    if pushed.left:
        why = "stopped" if pushed.is_stopped else "too many failed"
        print(f"not begun, as {why}: {some(pushed.left, _COLUMNS - 17 - len(why))}", file=to)
    if len(pushed.outcomes) + len(pushed.left) > 1:
        print(closing_line(pushed, seconds, dry_run), file=to)
    to.flush()


def unsettled(pushed: Pushed) -> list[str]:
    """The hosts that are not as they shall be."""
    return [one.destination for one in pushed.outcomes if not one.is_done] + pushed.left


# -- JSON ------------------------------------------------------------------------------------------------


def outcome_object(one: Outcome) -> dict[str, Any]:
    """The last line of one host: what it answered, and its name here."""
    answer = {
        key: value for key, value in one.answer.items() if key not in ("version", "ok", "phase", "host")
    }
    error = {} if one.trouble is None else {"error": one.trouble._asdict()}
    return {
        "host": one.destination,
        "phase": "done",
        "state": one.state,
        "revision": None,
        "steps": [],
        "hooks": [],
        "notes": [],
        **answer,
        **error,
        "seconds": round(one.seconds, 3),
    }


def pushed_object(pushed: Pushed, deployment: str, seconds: float, dry_run: bool) -> dict[str, Any]:
    """The last line of all."""
    hosts = {state: [one.destination for one in pushed.outcomes if one.state == state] for state in STATES}
    return {
        "deployment": deployment,
        "hosts": {**hosts, "skipped": pushed.left},
        "seconds": round(seconds, 3),
        "dry_run": dry_run,
    }


def exit_code(pushed: Pushed, stopped: int) -> int:
    """0, or 3 where some hosts are not as they shall be, or 1 where none is; `stopped` where it was."""
    if not unsettled(pushed):
        return 0
    if pushed.is_stopped:
        return stopped
    return 3 if any(one.is_done for one in pushed.outcomes) else 1
