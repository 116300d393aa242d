"""What is read without tomllib is what tomllib reads, and nothing that it refuses."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.toml_lines import line_numbers
from pacha.core.toml_plain import read_plain

PLAIN = """\
# The whole of it.
host = "web1"
  watch=[ "/etc", '/root/.bashrc',   # two
\t"/srv/a # b",

  # and one more
  "/opt/[x]"
  , ] # the end
empty = []
nothing = ''

[capture]   # [of files]
quiet = "50ms"#no blank
\tcross_filesystems = false
2 = 20
[serve]
quota = 0
"""
# Pieces that a text of either kind is made of, wrong ones among them.
PIECES = (
    "a", "b", "1a", "a.b", '"q"', "é", " = ", "=", "\n", "\n", "\n", "[a]", "[b]", "[[c]]", "[a.b]", "[ d ]",
    '"x"', "'y'", '"', "'", '"""', "'''", "\\", "\\n", "[", "]", ",", "{", "}", "#", "# c", " ", "\t", "\r\n", "\0",
    "\x7f", "\u2028", "true", "false", "0", "01", "12", "+1", "1_0", "0x1", "-0", "1.5", "nan", "٣",
    "9" * 18, "9" * 19, "2026-01-01", "07:32:00", "a = 1", 'b = "x"', 'c = ["x", "y"]',
)  # fmt: skip


def test_a_plain_text_is_read_as_tomllib_reads_it() -> None:
    assert read_plain(PLAIN) == (tomllib.loads(PLAIN), line_numbers(PLAIN))


@pytest.mark.parametrize(
    "text",
    [
        "a = 1\na = 2", "[a]\n[a]", "a = 1\n[a]", "[a]\nb = 1\n[a]", "[a", "[]", "[[a]]", "a", "= 1", "a =",
        'a = "x" b = 1', 'a = ["x" "y"]', 'a = ["x",, "y"]', 'a = [, "x"]', 'a = ["x"', 'a = "x', "a = [1]",
        'a = """x"""', 'a = "\\u0041"', "a = 01", "a = True", "a.b = 1", '"a" = 1', "a = {}", "a = 1.5", "a = +1",
        "a = 1 2", "a = 1\r\nb = 2", "a = \0", "a = '\x7f'", "[a] b = 1", f"a = {'9' * 19}", "a = ٣", "é = 1",
    ],
)  # fmt: skip
def test_everything_else_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_it_never_reads_what_tomllib_reads_otherwise(text: str) -> None:
    found = read_plain(text)
    if found is not None:
        assert found == (tomllib.loads(text), line_numbers(text))
        assert [type(value) for value in found[0].values()] == [
            type(value) for value in tomllib.loads(text).values()
        ]  # True is 1
