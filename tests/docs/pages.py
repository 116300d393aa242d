"""Read the documentation, and run the commands that it shows.

A fenced block marked `console` is a transcript: lines that begin with `$ ` are run, what follows is their
output. A page is run from its first block to its last in one shell, on a small host of its own; marked
`console any`, a block is run but its output is not compared. A command must succeed, unless the next one is
`echo $?`. With PACHA_DOCS_UPDATE=1 the output in the page is written anew instead, and `{r1}`, `{r2}` … in
a command become the ids of the first, second … revision, `{confirm}` what waits to be confirmed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
UPDATE = bool(os.environ.get("PACHA_DOCS_UPDATE"))

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{11,12}\b")
_END = "\x1e"
# What differs from one run, or machine, to the next and is no part of what a page promises.
_VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b\d+\.\d+ s\b"), "SECONDS"),
    (re.compile(r'"seconds": [\d.]+'), '"seconds": N'),
    (re.compile(r"\b\d{10}\.\d{9}\b"), "MTIME"),
    (re.compile(r"\b\d{18,19}\b"), "NANOSECONDS"),
    (re.compile(r"\bjust now\b|\b\d+ (ms|seconds?|minutes?) ago\b"), "AGO"),
    (re.compile(r"\bundone in \d+ (seconds?|minutes?)"), "undone in A WHILE"),
    (re.compile(r"\b(0[0-7]{3}) [\w-]+:[\w-]+"), r"\1 OWNER"),
    (re.compile(r"\b(owner|group)=[\w-]+:\d+"), r"\1=NAME"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "NODE"),
    (re.compile(r'("machine": ?)"[0-9a-f]*"'), r'\1"ID"'),
    (_ID, "ID"),
]


@dataclass
class Block:
    """A fenced block: where its body stands in the text, and its commands with the output shown for each."""

    start: int
    end: int
    any_output: bool
    commands: list[tuple[str, str]] = field(default_factory=list)


def fenced(text: str, language: str) -> list[str]:
    """The bodies of all blocks of a language."""
    return [found["body"] for found in _FENCE.finditer(text) if found["info"].split()[:1] == [language]]


def console_blocks(text: str) -> list[Block]:
    """The transcripts of a page."""
    blocks = []
    for found in _FENCE.finditer(text):
        info = found["info"].split()
        if info[:1] != ["console"]:
            continue
        block = Block(found.start("body"), found.end("body"), "any" in info)
        for line in found["body"].splitlines():
            if line.startswith("$ "):
                block.commands.append((line[2:], ""))
            elif line.startswith("> ") and block.commands and not block.commands[-1][1]:
                block.commands[-1] = (block.commands[-1][0] + "\n" + line[2:], "")
            else:
                command, output = block.commands[-1]
                block.commands[-1] = (command, output + line + "\n")
        blocks.append(block)
    return blocks


def normalised(text: str) -> str:
    """Output without what differs from run to run."""
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


HOST = {
    "etc/hostname": "web1\n",
    "etc/hosts": "127.0.0.1 localhost\n10.0.0.1 web1\n",
    "etc/motd": "Welcome to web1.\n",
    "etc/nginx/nginx.conf": "worker_processes 2;\nerror_log /var/log/nginx/error.log;\n",
    "etc/nginx/sites-enabled/shop": "server {\n    listen 80;\n    root /srv/shop;\n}\n",
    "etc/ssh/sshd_config": "Port 22\nPermitRootLogin no\n",
    "root/.bashrc": "alias ll='ls -l'\n",
}
_BASE = 1_700_000_000


class Sandbox:
    """A host called web1 below a folder, with a configuration and a state of its own, and a shell on it.

    Pacha runs with `root` set to that folder, so that its paths are those of the pages; in commands that are
    not Pacha's, and in output, the folder is put in and taken out of paths.
    """

    def __init__(self, place: Path) -> None:
        self.root, self.state, self.home = place / "host", place / "state", place / "home"
        for name, content in HOST.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o644)
        for number, path in enumerate(sorted(self.root.rglob("*"))):
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (_BASE + number, _BASE + number))
        self.config = self.root / "etc/pacha/pacha.toml"
        self.config.parent.mkdir(mode=0o755)
        self.config.write_text(f'host = "web1"\nauthor = "anna"\nroot = "{self.root}"\n')
        self.config.chmod(0o644)
        tools = place / "bin"
        for folder in (tools, self.home, self.root / "tmp"):
            folder.mkdir()
        self._tool(tools / "pacha", f'exec "{sys.executable}" -m pacha "$@"')
        self._tool(tools / "hg", f'exec "{sys.executable}" -m mercurial "$@"')
        self._tool(tools / "sudo", 'exec "$@"')
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY / "src"),
            "HOME": str(self.home),
            "PACHA_CONFIG": str(self.config),
            "PACHA_STATE": str(self.state),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "HGRCPATH": "",
        }
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.home,
            text=True,
            errors="surrogateescape",
        )
        self._code = 0
        self._waiting = ""

    @staticmethod
    def _tool(path: Path, command: str) -> None:
        path.write_text(f"#!/bin/sh\numask 022\n{command}\n")
        path.chmod(0o755)

    def close(self) -> None:
        """End the shell."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.wait()
        self._shell.stdout.close()

    def here(self, command: str) -> str:
        """The command with the folder put before the host's paths, unless it is one of Pacha's."""
        if re.match(r"(sudo )?(\./)?pacha\b", command):
            return command.replace("./pacha", "pacha", 1)
        command = command.replace("/var/lib/pacha", str(self.state))
        return re.sub(r"""(?<![\w./"-])/(etc|root|tmp)\b""", rf"{self.root}/\1", command)

    def run(self, command: str) -> tuple[int, str]:
        """(exit code, output as the page would show it) of one command."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        again = f"(exit {self._code})\n" if "$?" in command else ""
        self._shell.stdin.write(f"{again}{{ {self.here(command)}\n}} </dev/null\n")
        self._shell.stdin.write('printf "\\x1e%s\\x1e\\n" "$?"\n')
        self._shell.stdin.flush()
        said = ""
        while not (end := re.search(f"{_END}(\\d+){_END}\n$", said)):
            line = self._shell.stdout.readline()
            assert line, f"the shell ended: {said}"
            said += line
        self._code = int(end[1])
        said = said[: end.start()].replace(f'"{self.root}"', '"/"').replace(str(self.root), "")
        return self._code, said.replace(str(self.state), "/var/lib/pacha")

    def pacha(self, *words: str) -> dict[str, object]:
        """The object that a command prints with `--json`."""
        argv = [sys.executable, "-m", "pacha", *words, "--json"]
        done = subprocess.run(
            argv, env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True
        )
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def filled(self, command: str) -> str:
        """A command with its placeholders filled in."""
        if re.search(r"\{r\d+\}", command):
            ids = [revision["id"] for revision in self.pacha("log")["revisions"]][::-1]  # type: ignore[attr-defined]
            command = re.sub(r"\{r(\d+)\}", lambda found: ids[int(found[1]) - 1], command)
        if "{confirm}" in command:
            waiting = self.pacha("status")["unconfirmed"]
            self._waiting = waiting[0]["id"] if waiting else self._waiting  # type: ignore[index]
            command = command.replace("{confirm}", self._waiting)
        return command


# What pages of one verb take for granted: `<!-- host: watched -->`.
PREPARED = {
    "fresh": [],
    "watched": ["pacha watch /etc"],
    "changed": [
        "pacha watch /etc",
        "echo '10.0.0.7 db' >> /etc/hosts",
        "chmod 600 /etc/ssh/sshd_config",
        "pacha capture -m 'the new database'",
    ],
}


def check_page(page: Path, place: Path) -> list[str]:
    """Run a page; what differs from what it shows, empty where nothing does."""
    text = page.read_text()
    blocks = console_blocks(text)
    kind = re.search(r"<!-- host: (\w+) -->", text)
    sandbox = Sandbox(place)
    faults: list[str] = []
    renamed: dict[str, str] = {}
    try:
        for command in PREPARED[kind[1] if kind else "fresh"]:
            code, said = sandbox.run(command)
            assert code == 0, said
        for block in blocks:
            faults += _check_block(sandbox, block, renamed)
    finally:
        sandbox.close()
    if UPDATE and not faults:
        for block in reversed(blocks):
            text = text[: block.start] + _rendered(block) + text[block.end :]
        page.write_text(text)
    return [f"{page.relative_to(REPOSITORY)}: {fault}" for fault in faults]


def _check_block(sandbox: Sandbox, block: Block, renamed: dict[str, str]) -> list[str]:
    faults = []
    for at, (command, shown) in enumerate(block.commands):
        following = block.commands[at + 1][0] if at + 1 < len(block.commands) else ""
        real = sandbox.filled(command) if UPDATE else command
        real = _ID.sub(lambda found: renamed.get(found[0], found[0]), real)
        code, said = sandbox.run(real)
        renamed.update(zip(_ID.findall(shown), _ID.findall(said), strict=False))
        if code != 0 and "$?" not in following:
            faults.append(f"$ {command}\nended with {code}: {said}")
        if UPDATE:
            block.commands[at] = (real, shown if block.any_output and shown else said)
        elif not block.any_output and normalised(said) != normalised(shown):
            faults.append(f"$ {command}\nsays\n{normalised(said)}\nand not\n{normalised(shown)}")
    return faults


def _rendered(block: Block) -> str:
    parts = []
    for command, output in block.commands:
        first, *more = command.split("\n")
        parts.append("\n".join([f"$ {first}", *(f"> {line}" for line in more)]) + "\n" + output)
        if output and not output.endswith("\n"):
            parts.append("\n")
    return "".join(parts)
