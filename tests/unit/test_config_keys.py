"""`join` and `server init` write single keys into a person's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacha.adapters.config_file import load, make
from pacha.adapters.config_keys import add_server, set_account
from pacha.core.errors import ConfigError

TEXT = """\
# mine
host = "web1"  # the first

# what is kept
[serve]
quota = "3GB"  # a lot
"""


def written(place: Path, text: str) -> str:
    path = place / "pacha.toml"
    path.write_text(text)
    return str(path)


def test_servers_are_added_one_behind_the_other(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    assert add_server(path, "pacha@hub1")
    assert not add_server(path, "pacha@hub1")
    assert load(path).servers == ["pacha@hub1"]
    text = Path(path).read_text()
    assert text.replace('server = "pacha@hub1"\n\n', "") in (TEXT, TEXT.replace("\n\n", "\n"))
    assert add_server(path, "pacha@hub2")
    assert load(path).servers == ["pacha@hub1", "pacha@hub2"]
    assert add_server(path, "ssh://pacha@hub3:2222")
    assert load(path).servers == ["pacha@hub1", "pacha@hub2", "ssh://pacha@hub3:2222"]
    for comment in ("# mine", "# the first", "# what is kept", "# a lot"):
        assert comment in Path(path).read_text()


@pytest.mark.parametrize("text", ["server = []\n", 'server = "a"\n', 'server = ["a"]  # why\n'])
def test_a_server_that_is_written_in_any_way_is_kept(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    before = load(path).servers
    add_server(path, "b")
    assert load(path).servers == [*before, "b"]


def test_the_account_is_set_beside_other_keys_or_alone(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    assert set_account(path, "pacha") and not set_account(path, "pacha")
    assert (load(path).serve_account, load(path).serve_quota) == ("pacha", 3 * 10**9)
    assert set_account(path, "other")
    assert load(path).serve_account == "other"
    alone = str(tmp_path / "new" / "pacha.toml")
    assert set_account(alone, "pacha")
    assert load(alone).serve_account == "pacha"


def test_a_file_is_made_once(tmp_path: Path) -> None:
    path = str(tmp_path / "pacha.toml")
    assert make(path) and not make(path)
    assert load(path).values == {}


def test_a_wrong_file_is_not_edited(tmp_path: Path) -> None:
    path = written(tmp_path, "host = 1\n")
    for edit in (lambda: add_server(path, "a"), lambda: set_account(path, "a")):
        with pytest.raises(ConfigError):
            edit()
    assert Path(path).read_text() == "host = 1\n"
