"""The reference names what exists, all of it, and nothing else."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from pacha.adapters.hooks import MOMENTS
from pacha.adapters.index import _SCHEMA
from pacha.cli.main import VERBS, build_parser
from pacha.core import errors
from pacha.core.config import KEYS, TABLES
from pacha.core.entry import FILE, KINDS, Entry, render_entry
from pacha.core.patterns import BUILT_IN
from tests.agents import until
from tests.docs.pages import DOCS, REPOSITORY, Sandbox, console_blocks, fenced

REFERENCE = DOCS / "reference"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
# It also has the command line that will be.
PRESENT = [page for page in PAGES if page.name != "design.md"]


def options_of(verb: str) -> set[str]:
    """Every option that a verb's parser takes, but the hidden ones."""
    parsers = [build_parser(verb)]
    for action in parsers[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    actions = [action for parser in parsers for action in parser._actions]
    return {name for action in actions if action.help != argparse.SUPPRESS for name in action.option_strings}


def named_options(page: Path) -> list[tuple[str, str]]:
    """(verb, option) wherever the page names an option of Pacha's; one without a verb is the page's own."""
    text = page.read_text()
    own = page.stem if page.parent.name == "commands" and page.stem in VERBS else ""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [command for block in console_blocks(text) for command, _ in block.commands]
    lines += [
        line for language in ("sh", "text") for body in fenced(text, language) for line in body.splitlines()
    ]
    found = []
    for line in lines:
        for verb, words in re.findall(r"\bpacha ([a-z]+)\b([^|;#>]*)", line):
            found += _options(verb, words)
    for span in re.findall(r"`([^`\n]+)`", prose):
        named = re.match(r"(?:pacha )?([a-z]+)\b", span)
        if named and named[1] in VERBS:
            found += _options(named[1], span)
        elif own and span.startswith("-"):
            found += _options(own, span)
    return found


def _options(verb: str, words: str) -> list[tuple[str, str]]:
    if verb not in VERBS:
        return []
    words = re.sub(r"'[^']*'|\"[^\"]*\"", "", words)
    return [(verb, option) for option in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", words)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_page_with_all_its_options(verb: str) -> None:
    text = (REFERENCE / "commands" / f"{verb}.md").read_text()
    assert text.startswith(f"# pacha {verb}\n")
    missing = [option for option in sorted(options_of(verb)) if f"`{option}" not in text]
    assert not missing
    assert f"../json.md#{verb}" in text
    assert f"({verb}.md)" in (REFERENCE / "commands" / "index.md").read_text()


def test_there_is_no_page_of_a_verb_that_does_not_exist() -> None:
    assert {page.stem for page in (REFERENCE / "commands").iterdir()} == {*VERBS, "index"}


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_page_names_an_option_that_does_not_exist(page: Path) -> None:
    wrong = [(verb, option) for verb, option in named_options(page) if option not in options_of(verb)]
    assert not wrong


def test_the_look_for_options_finds_some() -> None:
    found = named_options(REFERENCE / "commands" / "rollback.md")
    assert ("rollback", "--confirm") in found
    assert ("rollback", "-n") in found
    assert ("agent", "--once") in named_options(DOCS / "how-to" / "cron.md")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_in_the_configuration_page(key: str) -> None:
    text = (REFERENCE / "configuration.md").read_text()
    section = text.partition(f"### {key}\n")[2].partition("\n##")[0]
    assert f"Allowed: {KEYS[key].allowed}." in section
    default = KEYS[key].default
    assert "Default: " in section if default is None else f"Default: `{json.dumps(default)}`." in section


def test_the_configuration_page_has_no_other_keys() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    assert re.findall(r"^### (\S+)$", text, re.MULTILINE) == list(KEYS)
    assert set(re.findall(r"^## \[+(\w+)\]+$", text, re.MULTILINE)) == set(TABLES)
    assert all(f"`{pattern}`" in text for pattern in BUILT_IN)


def test_the_configuration_in_the_pages_is_valid() -> None:
    from pacha.core.config import parse
    from pacha.core.deployment_file import parse_settings

    for page in PAGES:
        for body in fenced(page.read_text(), "toml"):
            is_deployment = body.startswith("# webserver/")
            (parse_settings if is_deployment else parse)(body, page.name)


def test_every_error_is_in_the_exit_codes_page() -> None:
    text = (REFERENCE / "exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \|", text, re.MULTILINE))
    kinds = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.PachaError)
    ]
    assert rows == {each.kind: str(each.exit_code) for each in kinds}
    assert set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE)) == {*"012345", "130", "143", "129"}


def test_every_moment_is_in_the_hooks_page() -> None:
    text = (REFERENCE / "hooks.md").read_text()
    assert all(f"`{moment}`" in text for moment in MOMENTS)


def test_the_examples_are_those_of_the_how_to() -> None:
    shown = fenced((DOCS / "how-to" / "hooks.md").read_text(), "sh")
    examples = sorted(path for path in (REPOSITORY / "packaging" / "examples").rglob("*") if path.is_file())
    assert len(examples) == 2
    assert {path.parent.name for path in examples} <= set(MOMENTS)
    assert all(path.read_text() in shown and path.stat().st_mode & 0o111 for path in examples)


def test_the_format_names_every_key_of_a_metadata_line_in_order() -> None:
    full = Entry(
        FILE, 0o644, 0, b"root", 0, b"root", mtime=0, sha256=b"00", size=1, holes=((0, 1),), target=b"t", device=(1, 2),
        link=b"/l", acl=b"u::r--", default_acl=b"u::r--", xattrs=((b"user.a", b"b"),), flags=b"i", unstable=True,
        secret=b"00", sealed=b"00",
    )  # fmt: skip
    keys = [field.partition(b"=")[0].decode() for field in render_entry(full).split(b"\t")[1:]]
    text = (DOCS / "design.md").read_text().partition("**Metadata lines.**")[2].partition("**Rules.**")[0]
    named = [
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`([\w:]+)`", row)
    ]
    assert [name.partition(":")[0] for name in named] == [key.partition(":")[0] for key in keys]
    assert all(f"`{kind.decode()}`" in text for kind in KINDS)


def test_the_format_names_every_table_of_the_index() -> None:
    text = (DOCS / "design.md").read_text()
    for table, columns in re.findall(
        r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\) WITHOUT ROWID", _SCHEMA, re.DOTALL
    ):
        row = re.search(rf"^\| `{table}` \| (.*)$", text, re.MULTILINE)
        assert row
        names = re.findall(r"(\w+) (?:BLOB|TEXT)", columns)
        assert all(f"`{name}`" in row[1] for name in names)


def test_the_format_names_what_is_in_a_journal(tmp_path: Path) -> None:
    host = Sandbox(tmp_path)
    first = host.pacha("watch", "/etc")["revision"]
    (host.root / "etc" / "motd").unlink()
    waits = host.pacha("rollback", "/etc/motd", "--to", str(first), "-y", "--confirm", "1h")["confirm"]
    folder = host.state / "journal" / str(waits)
    until((folder / "timer").exists)
    header, step = (json.loads(line) for line in (folder / "plan").read_text().splitlines())
    state = (folder / "state").read_text()
    files = {path.name for path in folder.iterdir()}
    host.pacha("confirm", str(waits))
    host.close()
    text = (DOCS / "design.md").read_text().partition("### The journal")[2].partition("### The lock")[0]
    assert files == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert f"`{{{', '.join(header)}}}`" in text
    assert f"`{{{', '.join(step)}}}`" in text
    assert f"`{state}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", page.read_text()):
        if target.startswith("http") or target.endswith(
            "performance.md"
        ):  # that page is written by `make bench`
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            dead.append(target)
        elif anchor and anchor[1:] not in anchors(path.read_text()):
            dead.append(target + anchor)
    assert not dead


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
