"""Write pacha.1 and one pacha-VERB.1 for each verb into a directory. Called by `make install`.

make_manual.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from command_line import Option, Verb, verbs
from pacha import __version__

EXITS = [
    ("0", "done, or nothing to do"),
    ("1", "failed; nothing half-done is left behind"),
    ("2", "wrong usage or configuration"),
    ("3", "some hosts or paths failed, or stored but not yet sent; the rest is done"),
    ("4", "differences found"),
    ("5", "another Pacha holds the lock"),
    ("130, 143", "interrupted"),
]


def roff(text: str) -> str:
    """Text in which roff sees no request, no escape and no hyphen that it may turn into a dash."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in lines)


def prose(text: str) -> list[str]:
    """Paragraphs; those that are indented, as examples are, keep their lines."""
    lines: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        kept = any(line.startswith(" ") for line in paragraph.splitlines())
        lines += [".PP", *([".nf", roff(paragraph), ".fi"] if kept else [roff(paragraph)])]
    return lines[1:]


def header(page: str, summary: str) -> list[str]:
    """The head of a page; without a date, so that the same source gives the same page."""
    return [
        f'.TH "{roff(page.upper())}" 1 "" "Pacha {__version__}" "Pacha"',
        ".SH NAME",
        f"{roff(page)} \\- {roff(summary)}",
    ]


def item(term: str, text: str) -> list[str]:
    """One entry of a list of terms."""
    return [".TP", f"\\fB{roff(term)}\\fR", roff(text) or "\\&"]


def option_items(options: tuple[Option, ...]) -> list[str]:
    """Arguments and options with their meaning."""
    lines = []
    for option in options:
        term = ", ".join(option.names)
        lines += item(f"{term} {option.value}".strip(), option.help)
    return lines


def verb_page(verb: Verb) -> str:
    """The page of one verb."""
    lines = header(f"pacha-{verb.name}", verb.summary)
    lines += [".SH SYNOPSIS", roff(verb.usage), ".SH DESCRIPTION", *prose(verb.description)]
    lines += [".SH OPTIONS", *option_items(verb.options)]
    for action in verb.actions:
        lines += [
            f'.SS "{roff(f"pacha {verb.name} {action.name}")}"',
            *prose(action.description),
            *option_items(action.options),
        ]
    if verb.epilog:
        lines += [".SH NOTES", *prose(verb.epilog)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR pacha (1)", ""])


def main_page(known: list[Verb]) -> str:
    """The page of the command itself."""
    lines = header("pacha", "keeps the configuration of servers safe")
    lines += [".SH SYNOPSIS", roff("pacha VERB [OPTION]... [ARGUMENT]..."), ".SH COMMANDS"]
    for verb in known:
        lines += item(f"pacha {verb.name}", f"{verb.summary}; see pacha-{verb.name}(1)")
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXITS:
        lines += item(code, meaning)
    lines.append(".SH FILES")
    lines += item(
        "/etc/pacha/pacha.toml", "the configuration; for an ordinary user $XDG_CONFIG_HOME/pacha/pacha.toml"
    )
    lines += item("/etc/pacha/hooks", "the hooks, one directory for each moment")
    lines += item("/var/lib/pacha", "the state; for an ordinary user $XDG_STATE_HOME/pacha")
    lines.append(".SH ENVIRONMENT")
    lines += item(
        "PACHA_CONFIG, PACHA_STATE", "other places for configuration and state, as --config and --state"
    )
    lines += item("NO_COLOR", "no colours, also on a terminal")
    return "\n".join([*lines, ""])


def main(directory: Path) -> None:
    """Write all pages."""
    directory.mkdir(parents=True, exist_ok=True)
    known = verbs()
    pages = {"pacha": main_page(known)} | {f"pacha-{verb.name}": verb_page(verb) for verb in known}
    for name, page in pages.items():
        (directory / f"{name}.1").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
