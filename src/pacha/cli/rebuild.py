"""`pacha rebuild [HOST] …`: make a fresh machine what a host was."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from functools import partial

from pacha.cli.asking import ask, before_asking, time_to_confirm, will_ask, words_on_confirming
from pacha.cli.history import add_identity_option, as_it_is
from pacha.cli.rebuilt import print_outcome, print_plan, print_shortfalls, rebuilt_object
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.core.config_values import is_host_name
from pacha.core.errors import NotFound, Refused, UsageError
from pacha.core.packages import is_missing
from pacha.core.rules import own_config
from pacha.ops.host import Kept, Past
from pacha.ops.rebuild import Manner, Own, Rebuilt, rebuild
from pacha.ops.rebuild_plan import PARTS, Desired, Draft, Request, target_of
from pacha.ui.result import print_object


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("host", metavar="HOST", nargs="?", help="which host (default: this one)")
    parser.add_argument(
        "--from", metavar="DIR", dest="source", help="its store or any clone of it, instead of the servers'"
    )
    parser.add_argument(
        "--to", metavar="R", help="as it was then: a revision, an ISO time, or an age such as 2h"
    )
    parser.add_argument(
        "--only", metavar="PATH", nargs="+", action="extend", default=[], help="bring back these paths alone"
    )
    parser.add_argument(
        "--skip",
        metavar="PART",
        action="append",
        default=[],
        choices=PARTS,
        help="leave out: " + ", ".join(PARTS),
    )
    parser.add_argument("--root", metavar="DIR", help="the system that is rebuilt lies below this folder")
    parser.add_argument("--as-new", metavar="NAME", help="make another host of it, of this name")
    parser.add_argument(
        "--rehearse", action="store_true", help="build it in a throwaway root, and say what would come back"
    )
    parser.add_argument("--base", metavar="PATH", help="with it: a fresh system, as a folder or tar archive")
    parser.add_argument(
        "--threshold", metavar="PERCENT", type=percentage, help="with it: exit 4 below it (default: 95)"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the plan and change nothing")
    parser.add_argument(
        "--confirm", metavar="DURATION", help="undo it after this time, unless pacha confirm comes first"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Fetch, plan, ask, do, and print the outcome."""
    asks = not options.rehearse and will_ask(options, "the plan")
    if options.as_new is not None and not is_host_name(options.as_new):
        raise UsageError(f"{options.as_new!r} cannot name a host", hint='letters, digits, ".", "_" and "-"')
    _refuse_mixtures(options)
    confirm_ns = time_to_confirm(options.confirm)
    if session.as_json:
        session.report.tell_events()
    only = tuple(map(_absolute, options.only))
    identities = session.identities  # before root becomes the account that serves: it may not read the file
    source = _source(_go_below(session, options), options)
    source.identities = identities
    name, as_new = options.host or source.name, options.as_new or ""
    request = Request(name, options.to, only, frozenset(options.skip), as_new)
    if options.rehearse:
        from pacha.cli.rehearsal import rehearse

        return rehearse(session, options, source, request, target_of(source, request.to).position)

    def show(draft: Draft) -> None:
        session.report.finish()
        if (not session.as_json and not (options.quiet and options.yes)) or asks:
            to = before_asking(session.as_json) if asks else sys.stdout
            print_plan(draft, options.verbose or options.dry_run, to)
            to.flush()

    own = Own(partial(_settle_at_first, session, options), partial(_new_name, session, options))
    done = rebuild(
        session.host, source, request, dry_run=options.dry_run, show=show, ask=ask if asks else None, own=own,
        manner=Manner(confirm_ns=confirm_ns),
    )  # fmt: skip
    session.report.finish()
    if done is None:
        raise Refused("not done: nothing was changed")
    code = _code(done)
    if done.was_run:
        _settle_configuration(session, options, done.draft.desired)
        if not session.as_json:
            print_outcome(done, quiet=bool(options.quiet))
            if done.confirm:
                sys.stderr.write(words_on_confirming(options.confirm, done.confirm))
        return send_and_tell(session, code, lambda: rebuilt_object(done, dry_run=False))
    if not session.as_json:
        print_shortfalls(done)
    else:
        print_object({**rebuilt_object(done, options.dry_run), "servers": []}, ok=code == 0)
    return code


def _refuse_mixtures(options: Namespace) -> None:
    """A rehearsal is of the whole host and touches nothing; its options would be lost on anything else."""
    if options.rehearse:
        wrong = [("--as-new", options.as_new), ("--only", options.only), ("--root", options.root)]
        wrong += [("-n", options.dry_run or None), ("--confirm", options.confirm)]
        words = "does not go with --rehearse"
    else:
        wrong = [("--base", options.base), ("--threshold", options.threshold)]
        words = "is for --rehearse"
    if options.root is not None and options.confirm is not None:
        raise UsageError(
            "--confirm is for the machine that runs, not for --root", hint="leave one of them out"
        )
    for name, value in wrong:
        if value is not None and value != []:
            raise UsageError(f"{name} {words}", hint="pacha rebuild --help")


def percentage(text: str) -> float:
    """Of a score."""
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(text)
    return value


def _absolute(text: str) -> bytes:
    if not text.startswith("/"):
        raise UsageError(f"{text} is not absolute", hint="name it as it is on that host: /etc/hosts")
    return as_it_is(text)


def _go_below(session: Session, options: Namespace) -> Session:
    """Another root: the system there, and Pacha's state there, unless another state is named.

    What reaches the history is this machine's own all the same.
    """
    if options.root is None:
        return session
    root = os.path.abspath(options.root)
    if not os.path.isdir(root):
        raise UsageError(f"there is no folder {options.root}", hint="mount the system there first")
    session.config.root = os.fsencode(root)
    if not (options.state or os.environ.get("PACHA_STATE")):
        session.state_path = os.path.join(root, "var/lib/pacha")
    return session.closing(Session(options, session.verb))


# -- where the history comes from --------------------------------------------------------------------


def _source(session: Session, options: Namespace) -> Kept:
    """The history: of a folder, kept by this server, of the servers in order, or this host's own."""
    if options.source is not None:
        return _in_folder(session, options.source)
    name = options.host or session.host.name
    if session.is_server and name in session.kept.names():
        return session.kept.past(name)
    if session.config.servers:
        return session.fetched.past(name, rebuild=True)
    if session.has_history and _name_of(session.host) == name:
        return Kept(name, session.host.store, session.host.now_ns)
    raise NotFound(
        f"there is no history of {name} here, and no server is configured",
        hint="pacha join SERVER, or --from DIR for its store or a clone of it",
    )


def _in_folder(session: Session, folder: str) -> Kept:
    place = os.path.abspath(folder)
    for found in (place, os.path.join(place, "store")):
        if os.path.isdir(os.path.join(found, ".hg")):
            store = session.closing(session.host.open_store(os.fsencode(found)))
            name = _name_of(Kept("", store, session.now_ns))
            return Kept(name, store, session.now_ns, is_foreign=True)
    raise NotFound(f"{folder} is no store", hint="a store is the folder that holds .hg")


def _name_of(past: Past) -> str:
    newest = next(past.store.history(limit=1), None)
    if newest is None:
        raise NotFound("that store has no revision")
    return newest.stamp.host


# -- afterwards --------------------------------------------------------------------------------------


def _settle_at_first(session: Session, options: Namespace, desired: Desired) -> None:
    """The same before anything is written; of another root there is no configuration yet."""
    if options.root is None:
        _settle_configuration(session, options, desired)


def _name(options: Namespace, desired: Desired) -> str:
    return str(options.as_new or desired.target.stamp.host)


def _new_name(session: Session, options: Namespace, desired: Desired) -> str:
    """What the configuration is to call the machine that is rebuilt, empty where it does already."""
    name = _name(options, desired)
    if options.root is not None:
        below = _configurations_below(options, desired)
        return name if any(session.named_in(path) != name for path in below) else ""
    is_itself = (session.config.host or session.machine_name) == name
    return "" if is_itself or (options.only and not options.as_new) else name


def _configurations_below(options: Namespace, desired: Desired) -> list[str]:
    """Those that come back below another root, and must say what the system there is called."""
    came_back = [path for path in map(own_config, desired.rules.own) if path in desired.lines]
    must_say = options.as_new or b"/etc/hostname" not in desired.lines
    root = os.path.abspath(options.root)
    return [os.path.join(root, os.fsdecode(path[1:])) for path in came_back] if must_say else []


def _settle_configuration(session: Session, options: Namespace, desired: Desired) -> None:
    """What was watched is watched from now on, also where the configuration itself was not part of it."""
    if options.root is not None:  # the configuration of the system below lies there
        for path in _configurations_below(options, desired):
            session.rename_host(_name(options, desired), path)
        return
    session.forget_config()
    if name := _new_name(session, options, desired):
        session.rename_host(name, session.config_path)
    secrets = session.host.secrets
    session.keep_secret(secrets.paths, [str(one) for one in secrets.configured])
    own = session.rules
    missing = [path for path in desired.scope if own.watch_of(path) is None and path not in desired.rules.own]
    if missing:
        session.add_watch(missing)


def _code(done: Rebuilt) -> int:
    is_short = any(map(is_missing, done.deviations))
    return 3 if done.left or is_short or any(not one.ok for one in done.results) else 0
