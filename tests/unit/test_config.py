"""The configuration: defaults, values, the line and the words for each mistake."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.config import KEYS, TABLES, Config, defaults, effective, is_host_name, parse
from pacha.core.errors import ConfigError
from pacha.core.quantities import MINUTE, SECOND

DESIGN = """\
host   = "web1"
watch  = ["/etc", "/opt/shop/conf", "/root/.bashrc"]
ignore = ["/etc/alternatives/**"]
server = "pacha@hub.example.com"
root   = "/srv//root/"
ssh    = "ssh -F /root/x"
author = "Ada"

[capture]
quiet = "60ms"
limit = "3s"
max_file_size = "20MB"
cross_filesystems = true

[rebuild]
packages = ["nginx", "postgresql"]

[secrets]
paths = ["/etc/shadow*", "/etc/ssl/private/**"]
recipients = ["age1l0fywj9f876800nccffl5vvuf2kewkcn7mq8wg0qyz57lyr5d4lqzas64c", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF5lAt2Hr/DBkxI5an63T+HIhpLeymC3ZwAF8bWsFS2H comment"]

[serve]
hosts = "/var/lib/pacha/hosts"
authorized_keys = "/var/lib/pacha/.ssh/authorized_keys"
quota = "3GB"
forget = true
account = "pacha"
sshd = "sshd -f /etc/ssh/pacha"

[push]
allowed_signers = "/etc/pacha/allowed_signers"
preflight = "require"
ready = "5m"
pull  = ["base"]
every = "16m"

[groups]
web = ["web1", "admin@web2"]

[hooks]
timeout = "90s"

[[normalize]]
paths = ["/etc/foo.conf", "/etc/bar/**"]
drop = ["^# generated at ", 'serial = \\d+']

[[normalize]]
paths = ["*.zone"]
drop = ['; serial$']
"""


def test_every_key_of_the_design() -> None:
    config = parse(DESIGN, "pacha.toml")
    assert config.host == "web1"
    assert config.watch == [b"/etc", b"/opt/shop/conf", b"/root/.bashrc"]
    assert config.ignore == ["/etc/alternatives/**"]
    assert config.servers == ["pacha@hub.example.com"]
    assert (config.root, config.ssh, config.author) == (b"/srv/root", "ssh -F /root/x", "Ada")
    assert (config.quiet_ns, config.limit_ns) == (60_000_000, 3 * SECOND)
    assert (config.max_file_size, config.cross_filesystems) == (20_000_000, True)
    assert config.packages == ["nginx", "postgresql"]
    assert config.secrets_paths == ["/etc/shadow*", "/etc/ssl/private/**"]
    assert config.secrets_recipients == [
        "age1l0fywj9f876800nccffl5vvuf2kewkcn7mq8wg0qyz57lyr5d4lqzas64c",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF5lAt2Hr/DBkxI5an63T+HIhpLeymC3ZwAF8bWsFS2H comment",
    ]
    assert config.serve_hosts == b"/var/lib/pacha/hosts"
    assert config.serve_authorized_keys == b"/var/lib/pacha/.ssh/authorized_keys"
    assert config.serve_quota == 3 * 10**9
    assert (config.serve_account, config.serve_sshd) == ("pacha", "sshd -f /etc/ssh/pacha")
    assert config.push_allowed_signers == b"/etc/pacha/allowed_signers"
    assert (config.push_preflight, config.push_ready_ns) == ("require", 5 * MINUTE)
    assert (config.push_pull, config.push_every_ns) == (["base"], 16 * MINUTE)
    assert config.groups == {"web": ["web1", "admin@web2"]}
    assert config.hook_timeout_ns == 90 * SECOND
    assert config.normalize.drops(b"/etc/foo.conf") == ("^# generated at ", r"serial = \d+")
    assert config.normalize.drops(b"/etc/bar/a.zone") == ("; serial$", "^# generated at ", r"serial = \d+")
    tables = {f"normalize.{number}.{leaf}" for number in (1, 2) for leaf in ("paths", "drop")}
    single = {key for key in KEYS if not key.startswith("normalize.")}
    assert {key for key, _, _ in effective(config)} == {*single, "groups.web", *tables}
    assert all(origin != "default" for _, _, origin in effective(config))


def test_an_empty_file_is_valid_and_means_the_defaults() -> None:
    for config in (parse("", "x"), defaults()):
        assert (config.host, config.watch, config.servers, config.root, config.ssh) == (
            None,
            [],
            [],
            b"/",
            "ssh",
        )
        assert (config.quiet_ns, config.limit_ns, config.max_file_size) == (
            50_000_000,
            2 * SECOND,
            10_000_000,
        )
        assert (config.cross_filesystems, config.groups, config.hook_timeout_ns) == (False, {}, 5 * MINUTE)
        assert (config.push_preflight, config.push_every_ns, config.serve_quota) == (
            "try",
            15 * MINUTE,
            2 * 10**9,
        )
        assert all(origin == "default" for _, _, origin in effective(config))
        assert [key for key, _, _ in effective(config)] == list(KEYS)


def test_several_servers_and_paths_written_twice() -> None:
    config = parse('server = ["a", "b", "a"]\nwatch = ["/etc/", "//etc", "/x/./y", "/"]', "x")
    assert config.servers == ["a", "b"]
    assert config.watch == [b"/etc", b"/x/y", b"/"]


def test_effective_names_the_line() -> None:
    config = parse('\nwatch = [\n"/etc"]\n[capture]\nquiet = "1s"', "/etc/pacha/pacha.toml")
    rows = {key: (value, origin) for key, value, origin in effective(config)}
    assert rows["watch"] == (["/etc"], "/etc/pacha/pacha.toml:2")
    assert rows["capture.quiet"] == ("1s", "/etc/pacha/pacha.toml:5")
    assert rows["capture.limit"] == ("2s", "default")


def test_effective_names_the_line_of_each_of_several_tables() -> None:
    text = "[[normalize]]\npaths = ['a']\ndrop = ['x']\n\n[[normalize]]\ndrop = ['y']\npaths = ['b']\n"
    rows = {key: (value, origin) for key, value, origin in effective(parse(text, "f"))}
    assert rows["normalize.1.drop"] == (["x"], "f:3")
    assert rows["normalize.2.paths"] == (["b"], "f:7")
    assert rows["normalize.2.drop"] == (["y"], "f:6")
    assert "normalize.drop" not in rows
    inline = parse("normalize = [{ paths = ['/a'], drop = [] }]", "f")
    assert {key for key, _, origin in effective(inline) if origin == "f:1"} == {
        "normalize.1.paths",
        "normalize.1.drop",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('hots = "x"', 1, ["hots", "did you mean host?"]),
        ("[capture]\nmax_file_szie = 1", 2, ["capture.max_file_szie", "did you mean max_file_size?"]),
        ("[captur]\nquiet = 1", 1, ["captur", "did you mean capture?"]),
        ('[capture]\n\nserver = "x"', 3, ["capture.server", "before the first [table]"]),
        ('quiet = "1s"', 1, ["quiet", "[capture]"]),
        ('"capture.quiet" = "1s"', 1, ["capture.quiet"]),
        ("[push]\nzzz = 1", 2, ["push.zzz", "allowed_signers, preflight"]),
        ("zzzzz = 1", 1, ["zzzzz", "host, watch", "capture"]),
        ("\nhost = true", 2, ["host", "letters"]),
        ('host = "-x"', 1, ["host", "'-x'"]),
        ('watch = "/etc"', 1, ["watch", "list of absolute paths"]),
        ('watch = [\n"/a",\n\n"b"]', 4, ["watch", "'b' is not absolute"]),
        ('watch = ["/a/../b"]', 1, ["watch", ".."]),
        ('watch = ["~/x"]', 1, ["watch", "absolute"]),
        ('watch = ["/a\\u0000"]', 1, ["watch", "NUL"]),
        ("watch = [1]", 1, ["watch", "1 does not fit"]),
        ('ignore = [\n"a/b"]', 2, ["ignore", "'a/b'", "**/a/b"]),
        ('server = "-oProxyCommand=x"', 1, ["server", "ssh destination"]),
        ('server = ["a b"]', 1, ["server"]),
        ('root = "x"', 1, ["root", "absolute"]),
        ('author = "a\\nb"', 1, ["author", "one line"]),
        ('ssh = ""', 1, ["ssh"]),
        ("[capture]\nquiet = 5", 2, ["capture.quiet", "50ms"]),
        ('[capture]\nlimit = "1ms"', 2, ["capture.limit", "shorter than quiet"]),
        ('[capture]\nquiet = "1m"', 2, ["capture.quiet", "shorter than quiet"]),
        ("[capture]\nmax_file_size = 1.5", 2, ["capture.max_file_size", "10MB"]),
        ("[capture]\nmax_file_size = true", 2, ["capture.max_file_size", "10MB"]),
        ('[capture]\ncross_filesystems = "no"', 2, ["capture.cross_filesystems", "true or false"]),
        ('capture = { quiet = "1s", limit = 3 }', 1, ["capture.limit"]),
        ("capture = 3", 1, ["capture", "[capture]"]),
        ("[[capture]]", 1, ["capture", "[capture]"]),
        ('[secrets]\nrecipients = ["me"]', 2, ["secrets.recipients", "age1"]),
        ('[rebuild]\npackages = ["--force"]', 2, ["rebuild.packages"]),
        ('[push]\npreflight = "maybe"', 2, ["push.preflight", '"require"']),
        ('[push]\nevery = "10ms"', 2, ["push.every", "at least one second"]),
        ('[push]\nevery = "8d"', 2, ["push.every", "at most one week"]),
        ('[push]\npull = ["../x"]', 2, ["push.pull"]),
        ('[groups]\nweb = "web1"', 2, ["groups.web"]),
        ('[groups]\nweb = ["@db"]', 2, ["groups.web", "nest"]),
        ('[groups]\n"a b" = []', 2, ["groups", "'a b'"]),
        ("[normalize]\npaths = ['a']", 1, ["normalize", "a table does not fit", "[[normalize]]"]),
        ("host = 'a'\nnormalize = [3]", 2, ["normalize", "a number does not fit", "[[normalize]]"]),
        ("[[normalise]]\npaths = ['a']", 1, ["normalise", "did you mean normalize?"]),
        ("[capture]\ndrop = ['a']", 2, ["capture.drop", "[[normalize]]"]),
        ("[[normalize]]\ndrop = ['a']", 1, ["normalize.paths: it is missing", "list of patterns"]),
        ("\n[[normalize]]\npaths = ['a']", 2, ["normalize.drop: it is missing", "regular expressions"]),
        ("[[normalize]]\npaths = ['a']\ndrop = 'x'", 3, ["normalize.drop", "'x' does not fit", "a list"]),
        ("[[normalize]]\npaths = ['a/b']\ndrop = ['x']", 2, ["normalize.paths", "'a/b'", "**/a/b"]),
        ("[[normalize]]\npaths = ['a']\ndrop = [\n'x',\n'(']", 5, ["normalize.drop", "'('", "unterminated"]),
        ("[[normalize]]\npaths = ['a']\ndrop = [1]", 3, ["normalize.drop", "1 does not fit"]),
        ("[[normalize]]\npaths = ['a']\ndrop = ['']", 3, ["normalize.drop", "every line"]),
        ("[[normalize]]\npaths = ['a']\ndrop = ['[[:space:]]']", 3, ["normalize.drop", "nested set"]),
        (
            "[[normalize]]\npaths = []\ndrop = []\n[[normalize]]\ndrops = []",
            5,
            ["normalize.drops", "mean drop?"],
        ),
        (
            "[[normalize]]\npaths = []\ndrop = []\nwatch = []",
            4,
            ["normalize.watch", "before the first [table]"],
        ),
        ("host = 2026-01-01", 1, ["host", "a date or time"]),
        ("a = 1\nb", 2, ["not valid TOML"]),
        ('host = "a"\nhost = "b"', 2, ["host: is given twice", "line 1"]),
        ('[capture]\nquiet = "1s"\n\n"quiet" = [\n]', 4, ["capture.quiet: is given twice", "line 2"]),
        ("[capture]\n[groups]\n[capture]\n", 3, ["capture: is given twice", "line 1"]),
        ('capture = {quiet = "1s", quiet = "2s"}', 1, ["capture.quiet: is given twice", "line 1"]),
        (
            "[[normalize]]\ndrop = []\n[[normalize]]\ndrop = []\ndrop = []",
            5,
            ["normalize.drop: is given twice"],
        ),
        ("[groups]\na = []\na.b = []\n", 3, ["not valid TOML"]),
        ("[capture]\nquiet = = 1\n[capture]", 2, ["not valid TOML"]),
        ('a = """\n\n', 2, ["not valid TOML"]),
        ("a = " + "[" * 5000, 1, ["nested too deeply"]),
        ("a = " + "9" * 5000, 1, ["not valid TOML"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_allowed(text: str, line: int, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "/x/pacha.toml")
    assert str(caught.value).startswith(f"/x/pacha.toml:{line}: ")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["a", "web1", "a.b_c-d", "A" * 64, "1"])
def test_host_names(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "-a", ".a", "a/b", "a b", "ä", "A" * 65, "a\n", "١"])
def test_no_host_names(name: str) -> None:
    assert not is_host_name(name)


SCALARS = st.one_of(st.integers(), st.booleans(), st.text(max_size=8), st.floats())
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=4), SCALARS, max_size=2)
)
LEAVES = [key.rpartition(".")[2] for key in KEYS]


@settings(deadline=None)  # the first call imports and compiles
@given(
    st.dictionaries(
        st.sampled_from([*LEAVES, *TABLES, "nonsense"]),
        st.one_of(VALUES, st.dictionaries(st.sampled_from(LEAVES), VALUES, max_size=3)),
        max_size=4,
    )
)
def test_any_value_is_taken_or_refused_in_words(data: dict[str, object]) -> None:
    try:
        Config("pacha.toml", data, {})
    except ConfigError as error:
        assert str(error).startswith("pacha.toml:")
