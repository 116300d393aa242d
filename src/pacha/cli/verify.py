"""`pacha verify`: the store against itself, and the live files against the last revision, or those of a
deployment against what was pushed.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from pacha.cli.drifted import drift_words
from pacha.cli.history import add_identity_option
from pacha.cli.printing import BUT_NORMALIZED, print_changes, print_skipped
from pacha.cli.session import Session
from pacha.ops.drift import drift_read, drifted_objects
from pacha.ops.heal import heal_if_free
from pacha.ops.told import change_objects, path_object, skipped_objects
from pacha.ops.verify import verify
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable, shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--deployment", metavar="NAME", help="only whether files are as this was pushed")
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Check and print."""
    if options.deployment is not None:
        return _verify_deployment(session, options)
    found = verify(session.host)
    session.report.finish()
    unread = [item for item in found.skipped if item.failed]
    differs = found.problems or found.live or any(copy.ok is False for copy in found.servers)
    unknown = unread or found.closed or any(copy.ok is None for copy in found.servers)
    code = 4 if differs else 3 if unknown else 0
    if session.as_json:
        values = {
            "revision": found.revision,
            "revisions": found.revisions,
            "store": {"ok": not found.problems, "problems": found.problems},
            "forgotten": [path_object(path) for path in found.forgotten],
            "encrypted": [path_object(path) for path in found.closed],
            "live": change_objects(found.live),
            "normalized": [path_object(path) for path in found.normalized],
            "skipped": skipped_objects(found.skipped),
            "servers": [copy._asdict() for copy in found.servers],
        }
        print_object(values, ok=code == 0)
        return code
    if options.quiet and code == 0:
        return code
    if found.problems:
        print(f"the store is damaged: {plural(len(found.problems), 'problem')}")
        for problem in found.problems:
            print(f"  {printable(problem)}")
        print("       keep a copy of it before anything else; live files were not compared")
    else:
        print(f"the store is sound: {plural(found.revisions, 'revision')}")
        for path in found.forgotten:
            print(f"  forgotten {shown(path)}")
        for path in found.closed:
            print(f"  encrypted {shown(path)}  not checked: no key at hand opens it (--identity FILE)")
        if found.live:
            print(f"live files differ from {found.revision}: {plural(len(found.live), 'change')}")
            print_changes(found.live)
        else:
            which = "the live files that could be read" if unread else "live files"
            same = f"{which} are as in {found.revision}{BUT_NORMALIZED if found.normalized else ''}"
            print(same if found.revision else "nothing has been captured yet")
        for copy in found.servers:
            print(f"server {printable(copy.address)}: {printable(copy.words)}")
        for path in found.normalized:
            print(f"  volatile  {shown(path)}")
        print_skipped(found.skipped)
    return code


def _verify_deployment(session: Session, options: Namespace) -> int:
    host = session.host
    heal_if_free(host)
    drift = drifted_objects(drift_read(host, options.deployment))
    session.report.finish()
    if session.as_json:
        print_object({"deployment": options.deployment, "drift": drift}, ok=not drift)
    elif drift:
        print(f"not as {options.deployment} was pushed: {plural(len(drift), 'path')}")
        for item in drift:
            print(f"  {drift_words(item, time.time_ns())}")
    elif not options.quiet:
        print(f"all is as {options.deployment} was pushed")
    return 4 if drift else 0
