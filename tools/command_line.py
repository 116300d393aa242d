"""The command line as data, read from the argparse parsers: what man pages and completions are made of.

Imports Pacha, so it runs with an environment's Python: the tools that use it are called by the Makefile.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from pacha.cli.main import VERBS, build_parser


@dataclass(frozen=True)
class Option:
    """One option or argument: `names` is empty for an argument, `value` for an option that takes none."""

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verb:
    """One verb with its parser's words; `actions` are its second words, as in `host add`."""

    name: str
    summary: str
    usage: str
    description: str
    epilog: str
    options: tuple[Option, ...]
    actions: tuple[Verb, ...] = field(default=())


def verbs() -> list[Verb]:
    """Every verb that the command knows, by name."""
    return [read(name, VERBS[name], build_parser(name)) for name in sorted(VERBS)]


def read(name: str, summary: str, parser: argparse.ArgumentParser) -> Verb:
    """What one parser says of itself. argparse has no public way to ask, hence the underscores."""
    formatter = parser._get_formatter()
    options, actions = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            actions += [read(word, texts.get(word, ""), inner) for word, inner in action.choices.items()]
        elif action.help != argparse.SUPPRESS:
            text = formatter._expand_help(action) if action.help else ""
            choices = tuple(str(choice) for choice in action.choices or ())
            value = "" if action.option_strings and action.nargs == 0 else metavar(action, choices)
            options.append(Option(tuple(action.option_strings), value, text, choices))
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    # The only placeholder that argparse fills in here.
    texts = (
        text.replace("%(prog)s", parser.prog) for text in (parser.description or summary, parser.epilog or "")
    )
    return Verb(name, summary, usage, *texts, tuple(options), tuple(actions))


def metavar(action: argparse.Action, choices: tuple[str, ...]) -> str:
    """The word that stands for a value."""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or "|".join(choices) or action.dest.upper()
