"""Private and public keys for tests of secrets, made and used by pyrage and ssh-keygen directly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyrage

# `age -d -i FILE` of the original's command line, for machines without it.
_AGE = """#!{python}
import sys, pyrage
words = sys.argv[1:]
assert words[:2] == ["-d", "-i"], words
text = open(words[2]).read()
if "BEGIN" in text:
    keys = [pyrage.ssh.Identity.from_buffer(text.encode())]
else:
    keys = [pyrage.x25519.Identity.from_str(l) for l in text.split() if l.startswith("AGE-SECRET")]
data = open(words[3], "rb").read() if len(words) > 3 else sys.stdin.buffer.read()
try:
    sys.stdout.buffer.write(pyrage.decrypt(data, keys))
except pyrage.DecryptError as problem:
    sys.exit(f"age: error: {{problem}}")
"""


@dataclass(frozen=True)
class Key:
    """A file with a private key, and the public one as `pacha.toml` takes it."""

    file: Path
    public: str

    def opens(self, data: bytes) -> bytes:
        """What the key makes of age's bytes; pyrage.DecryptError where it does not fit."""
        text = self.file.read_text()
        if "BEGIN" in text:
            return bytes(pyrage.decrypt(data, [pyrage.ssh.Identity.from_buffer(text.encode())]))
        (secret,) = [line for line in text.split() if line.startswith("AGE-SECRET")]
        return bytes(pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(secret)]))


def age_key(file: Path) -> Key:
    """An X25519 key, in a file as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    file.write_text(f"# created: today\n# public key: {public}\n{identity}\n")
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return Key(file, public)


def ssh_key(file: Path, kind: str = "ed25519", passphrase: str = "") -> Key:
    """One of OpenSSH's, with a comment."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "ops@vault", "-f", str(file)]
    subprocess.run(words, check=True)
    return Key(file, Path(f"{file}.pub").read_text().strip())


def age_tool(folder: Path) -> Path:
    """A folder with a program `age` that can decrypt."""
    folder.mkdir(exist_ok=True)
    tool = folder / "age"
    tool.write_text(_AGE.format(python=sys.executable))
    os.chmod(tool, 0o755)
    return folder
