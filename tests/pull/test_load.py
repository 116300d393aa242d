"""A hundred hosts pull at the same moment: all are served, and no session takes more than its share."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pull.places import Puller, offer
from tests.server.hub import Hub

HOSTS = 100
MOST_MEMORY = 60_000_000  # bytes, of a session that delivers 5 MB
WRAPPER = """
import os, resource, subprocess, sys
place, *words = sys.argv[1:]
code = subprocess.run(words).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(place, "w") as file:
    file.write(f"{used.ru_maxrss * 1024} {used.ru_utime + used.ru_stime}")
sys.exit(code)
"""


@pytest.mark.soak
def test_a_hundred_hosts_at_the_same_minute(
    own: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"files/opt/app/{number}": os.urandom(12_500).hex() for number in range(200)}
    offer(own, {
        **files, "templates/etc/me": "${pacha_host} ${word}\n",
        "pacha.toml": "".join(f'[vars."host{n}"]\nword = "word{n}"\n' for n in range(HOSTS)),
    })  # fmt: skip
    told = tmp_path / "told"
    told.mkdir()
    program = tmp_path / "wrapper.py"
    program.write_text(WRAPPER)
    hosts = [Puller(own, f"host{number}") for number in range(HOSTS)]
    # Each forced command is measured from outside.
    keys = own.sshd.authorized_keys
    python = own.pacha.interpreter
    keys.write_text(keys.read_text().replace('command="', f'command="{python} {program} {told}/$$ '))

    def look(host: Puller) -> float:
        began = time.monotonic()
        done = host.pacha.run("pull", "base", "-n", "--json")
        assert done.code == 0, done
        (own_file,) = [one for one in done.json["diffs"] if one.get("path") == "/etc/me"]
        assert f"+{host.name} word{host.name.removeprefix('host')}" in own_file["diff"]
        assert len([step for step in done.json["steps"] if step["path"].startswith("/opt/app/")]) == 200
        return time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(HOSTS) as pool:
        seconds = list(pool.map(look, hosts))
    total = time.monotonic() - began
    found = [path.read_text().split() for path in told.iterdir()]
    memory = max(int(one[0]) for one in found)
    cpu = max(float(one[1]) for one in found)
    with capsys.disabled():
        print(f"\n{HOSTS} hosts in {total:.1f} s, the slowest {max(seconds):.1f} s; one session: "
              f"{memory / 1e6:.1f} MB, {cpu:.2f} s of CPU")  # fmt: skip
    assert len(found) == HOSTS
    assert memory < MOST_MEMORY
    assert len(own.log("pulled")) == HOSTS
