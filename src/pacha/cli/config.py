"""`pacha config [--check]`: the effective values and where each comes from."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session
from pacha.core.config import effective
from pacha.ui.result import print_object
from pacha.ui.text import paint, printable, use_colour

# What a key without a value means, where that is not "nothing".
_UNSET = {"host": "(this machine's name)", "author": "(the person, found out)"}


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--check", action="store_true", help="only say whether it is valid")


def run(session: Session, options: Namespace) -> int:
    """Read and print; a wrong file is an error with its line."""
    values = effective(session.config)
    if options.check:
        if session.as_json:
            print_object({"config": session.config_path})
        else:
            print(f"{session.config_path}: valid")
        return 0
    if session.as_json:
        listed = [{"key": key, "value": value, "from": origin} for key, value, origin in values]
        print_object({"config": session.config_path, "state": session.state_path, "values": listed})
        return 0
    import json

    width = max(len(key) for key, _, _ in values)
    colour = use_colour()
    print(f"# {session.config_path}")
    for key, value, origin in values:
        text = (
            _UNSET.get(key, "(unset)") if value is None else printable(json.dumps(value, ensure_ascii=False))
        )
        print(f"{key.ljust(width)}  {text}  {paint('# ' + printable(origin), 'dim', colour)}")
    return 0
