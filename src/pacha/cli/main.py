"""From a command line to a verb, and from whatever happens to an exit code.

Called by the entry point; the only place where errors are shown. Start-up time counts: nothing is imported
here that the verb at hand does not need.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from pacha import __version__
from pacha.cli.quick import WITH_VALUE, places
from pacha.core.errors import Failed, Interrupted, NoSpace, PachaError, ReadOnly, UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

VERBS = {
    "watch": "track paths, and capture them at once",
    "unwatch": "track paths no longer; their history stays",
    "status": "watches, pending changes, what was skipped",
    "capture": "record what changed as one revision",
    "log": "the revisions, newest first",
    "show": "one revision: who, when, what changed",
    "diff": "differences between two revisions, or a revision and now",
    "cat": "a file as it was",
    "blame": "who wrote each line of a file, and when",
    "rollback": "bring paths back to an earlier revision",
    "rebuild": "make a fresh machine what a host was",
    "push": "deliver a deployment to hosts, and tell what happened at each",
    "pull": "fetch a deployment from this host's server, and make it live here",
    "sign": "sign a deployment for hosts that take nothing else",
    "confirm": "keep what an operation with --confirm did",
    "verify": "check the store, the servers' copies, and the live files against it",
    "forget": "remove a secret's content from the history",
    "secrets": "rekey: encrypt the present secrets for other recipients",
    "change": "begin and end: what lies between is one revision",
    "agent": "stay, capture every change as it is made, and send it",
    "doctor": "small named checks, each with the mend",
    "config": "the effective configuration and where each value comes from",
    "join": "make this host a client of a server",
    "server": "make this machine a server, which keeps other hosts' histories",
    "host": "the hosts whose histories this server keeps",
    "serve": "answer one ssh session of a host: for sshd, not for people",
    "receive": "take a push and make it live: for sshd, not for people",
}
# Verbs that run once for each host of a push: importing argparse would take longer than reading their words.
_QUICK = ("receive",)


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    _mend_streams()
    as_json = "--json" in arguments[: arguments.index("--") if "--" in arguments else None]
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except PachaError as problem:
        return _failed(problem, as_json)
    except KeyboardInterrupt:
        return _failed(Interrupted(), as_json)
    except BrokenPipeError:
        # Whoever read our output has seen enough; say nothing at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        from pacha.ui.result import unwritable

        return _failed(unwritable() or explained(problem), as_json)


def _mend_streams() -> None:
    """A closed stream swallows what is written; a character that the encoding has not is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end
        else:
            stream.reconfigure(errors="backslashreplace")


def _failed(problem: PachaError, as_json: bool) -> int:
    from pacha.ui import interrupts
    from pacha.ui.result import print_error

    interrupts.settle()
    try:
        print_error(problem, as_json)
        sys.stdout.flush()
    except OSError:  # standard output is what failed
        sys.stdout = None
        print_error(problem, as_json=False)
    return problem.exit_code


def explained(problem: OSError) -> PachaError:
    """A sentence for a failed system call on one of Pacha's own files."""
    import errno

    where = f": {os.fsdecode(problem.filename)}" if problem.filename is not None else ""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(
            f"no space left on the disk{where}", hint="free some space and run it again; nothing is lost"
        )
    if problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(f"cannot write{where}: {problem.strerror}", hint="pacha doctor says more")
    return Failed(f"{problem.strerror or problem}{where}", hint="pacha doctor says more")


def _run(arguments: list[str]) -> int:
    before, verb, after = _split(arguments)
    if verb is None:
        return _without_verb(before)
    from pacha.ui import interrupts

    interrupts.heed()
    options: Any = _read_quickly([*before, *after]) if verb in _QUICK else None
    if options is None:
        try:
            options = _parsed(build_parser(verb), [*before, *after])
        except SystemExit as shown:  # the help
            return int(shown.code or 0)
    from pacha.cli.session import Session

    session = Session(options, verb)
    try:
        code = int(_module(verb).run(session, options))
        interrupts.settle()
        return code
    finally:
        session.close()


def _parsed(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The options; words may stand on both sides of one, as in `push web -n web1`."""
    options, left = parser.parse_known_args(arguments)
    if not left:
        return options
    if parser._subparsers is not None or any(word.startswith("-") for word in left):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    return parser.parse_intermixed_args(arguments)


def _read_quickly(arguments: list[str]) -> Any:
    """The options of a command line that names places and nothing else; None for any other."""
    from types import SimpleNamespace

    given = places(arguments)
    if given is None:
        return None
    return SimpleNamespace(
        **{"config": None, "state": None, "json": False, "verbose": False, "quiet": False, **given}
    )


def _split(arguments: list[str]) -> tuple[list[str], str | None, list[str]]:
    """(options before the verb, the verb, what follows it)."""
    index = 0
    while index < len(arguments) and arguments[index].startswith("-"):
        index += 2 if arguments[index] in WITH_VALUE else 1
    if index >= len(arguments):
        return arguments, None, []
    return arguments[:index], arguments[index], arguments[index + 1 :]


def _without_verb(arguments: list[str]) -> int:
    for argument in arguments:
        if argument == "--version":
            print(f"pacha {__version__}")
            return 0
        if argument in ("-h", "--help"):
            print(_overview())
            return 0
    raise UsageError("what shall it do?", hint="pacha --help lists the verbs")


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: pacha [--config FILE] [--state DIR] [--json] [-v] [-q] VERB …", ""]
    lines += [f"  {verb.ljust(width)}  {words}" for verb, words in VERBS.items()]
    return "\n".join([*lines, "", "pacha VERB --help tells more of each."])


def build_parser(verb: str) -> ArgumentParser:
    """The whole parser of a verb; raise UsageError for one that does not exist."""
    import argparse

    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, 1)
        raise UsageError(
            f"{verb!r} is no verb of pacha",
            hint=f"did you mean {near[0]}?" if near else "pacha --help lists them",
        )

    class Parser(argparse.ArgumentParser):
        """Errors become Pacha's own, shown like all others."""

        def error(self, message: str) -> Any:
            raise UsageError(message, hint=f"{self.prog} --help")

    parser = Parser(
        prog=f"pacha {verb}", description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".", allow_abbrev=False
    )
    _add_common(parser)
    _module(verb).add_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _add_common(inner, default=argparse.SUPPRESS)  # what stood before it holds
    return parser


def _add_common(parser: ArgumentParser, **more: Any) -> None:
    """The options that every verb takes, and each of its actions."""
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration (default: /etc/pacha/pacha.toml, or the user's own)",
        **more,
    )
    common.add_argument(
        "--state",
        metavar="DIR",
        help="the state folder (default: /var/lib/pacha, or the user's own)",
        **more,
    )
    common.add_argument("--json", action="store_true", help="print one JSON object", **more)
    common.add_argument("-v", "--verbose", action="store_true", help="say more", **more)
    common.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong", **more)


def _module(verb: str) -> Any:
    return importlib.import_module(f"pacha.cli.{verb}")
