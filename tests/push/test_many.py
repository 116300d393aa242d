"""Many hosts at once: all are done, and four times as many take four times as long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.agents import until
from tests.push.fleet import Fleet, fleet

FEW, MANY = 50, 200


def recorded(them: Fleet) -> None:
    """Wait until the histories are written, which the hosts do when they have answered."""
    folders = [host.pacha.state / "journal" for host in them.hosts.values()]
    until(lambda: not any(folder.is_dir() and any(folder.iterdir()) for folder in folders), 300)


@pytest.mark.soak
def test_two_hundred_hosts(tmp_path: Path) -> None:
    names = [f"h{number}" for number in range(MANY)]
    seconds = {}
    with fleet(tmp_path, *names) as them:
        for name, count in (("few", FEW), ("many", MANY)):
            them.deploy(name, {f"files/etc/{name}": "hello\n"})
            them.push(name, *names[:count])  # the handshakes, and the first revision of each
            recorded(them)
            them.deploy(name, {f"files/etc/{name}": "good day\n"})
            begin = time.monotonic()
            result = them.push(name, *names[:count], "--jobs", "50")
            seconds[count] = time.monotonic() - begin
            assert result.code == 0, result
            assert all(them.hosts[host].read(f"/etc/{name}") == "good day\n" for host in names[:count])
            recorded(them)
    assert seconds[MANY] < 1.5 * MANY / FEW * seconds[FEW], seconds
