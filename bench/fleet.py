"""The case of a push: one file and one script to 40 hosts, the first time and again.

Called by `run`. The hosts are names for one sshd on loopback, each with a folder of its own, so what happens on
them is paid for by this machine as well, by every contestant alike. Beside Pacha run a bare loop of ssh, which
keeps no connections, pyinfra and Ansible, which do, in an environment of the benchmark's own. Must not judge:
`figures` does.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from cases import Bench, Rival, attempt, expect
from contestants import SYSTEM_PATH, clean_environment
from figures import HOSTS, PUSH_AGAIN, PUSH_CHANGED, PUSH_FIRST, controller
from ground import Plot
from subject import CHECKOUT, INSTALLED
from timing import CommandError, bare

sys.path.insert(0, str(CHECKOUT))
from tests.sshd import Sshd, sshd

PACKAGES = ("pyinfra", "ansible-core")
FORKS = 20
LONGEST_REST = 120.0  # seconds
SSHD = ("MaxSessions 100", "Subsystem sftp internal-sftp")  # pyinfra brings files by SFTP
_SIZE = 2_000
_SCRIPT = "#!/bin/sh\necho ran >> {folder}/ran\n"
_LOOP = """\
seq -f h%g {hosts} | xargs -P {hosts} -I @ sh -c 'cat {file} | ssh -F {ssh} @ "cat > {plot}/@/etc/motd && sh {plot}/@/hook"'
"""
_PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{src: "{file}", dest: "{plot}/{{{{ inventory_hostname }}}}/etc/motd"}}
      register: put
    - command: "sh {plot}/{{{{ inventory_hostname }}}}/hook"
      when: put.changed
"""
_ANSIBLE = """\
[defaults]
forks = {forks}
inventory = {plot}/inventory
interpreter_python = /usr/bin/python3
host_key_checking = true
[ssh_connection]
pipelining = true
ssh_args = -F {plot}/ssh -o ControlMaster=auto -o ControlPersist=600s
control_path_dir = {run}
"""
# A process is said to need at least as much memory as the one that it was forked from: this one is small.
_MEASURE = """\
import os, sys, time
pipe, words, begin = int(sys.argv[1]), sys.argv[2:], time.perf_counter()
pid = os.posix_spawnp(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, pipe)])
_, status, used = os.wait4(pid, 0)
seconds = time.perf_counter() - begin
os.write(pipe, f"{seconds} {used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
_PYINFRA = """\
from pyinfra import host
from pyinfra.operations import files, server
put = files.put(src="{file}", dest=f"{plot}/{{host.name}}/etc/motd")
if put.will_change:
    server.shell(commands=[f"sh {plot}/{{host.name}}/hook"])
"""


class Pusher(Rival, Protocol):
    """What brings a file and a script to all hosts."""

    def prepare(self, plot: Plot, server: Sshd) -> None: ...
    def words(self, plot: Plot) -> tuple[str, ...]: ...
    def environment(self, plot: Plot) -> dict[str, str]: ...


@dataclass
class Spent:
    """What the pushing process used, with its children: not what the hosts did."""

    seconds: float
    cpu: float
    memory_mb: float


class Loop:
    """xargs and ssh, without a table, a check or a result."""

    name = "ssh loop"
    missing: str | None = None

    def prepare(self, plot: Plot, server: Sshd) -> None:
        allow_everything(plot, server)

    def words(self, plot: Plot) -> tuple[str, ...]:
        text = _LOOP.format(hosts=HOSTS, file=source(plot), ssh=plot.root / "ssh", plot=plot.root)
        return "sh", "-c", text

    def environment(self, plot: Plot) -> dict[str, str]:
        return clean_environment(plot)


class Ansible:
    name = f"ansible-core, pipelining, forks {FORKS}"

    @property
    def missing(self) -> str | None:
        return peers_missing()

    def prepare(self, plot: Plot, server: Sshd) -> None:
        allow_everything(plot, server)
        (plot.root / "inventory").write_text("".join(f"h{at}\n" for at in range(1, HOSTS + 1)))
        (plot.root / "play.yml").write_text(_PLAYBOOK.format(file=source(plot), plot=plot.root))
        settings = _ANSIBLE.format(forks=FORKS, plot=plot.root, run=sockets(plot))
        (plot.root / "ansible.cfg").write_text(settings)

    def words(self, plot: Plot) -> tuple[str, ...]:
        return str(INSTALLED / "bin" / "ansible-playbook"), str(plot.root / "play.yml")

    def environment(self, plot: Plot) -> dict[str, str]:
        path = f"{INSTALLED}/bin:{SYSTEM_PATH}"
        return {**clean_environment(plot), "ANSIBLE_CONFIG": str(plot.root / "ansible.cfg"), "PATH": path}


class Pyinfra:
    name = "pyinfra"

    @property
    def missing(self) -> str | None:
        return peers_missing()

    def prepare(self, plot: Plot, server: Sshd) -> None:
        allow_everything(plot, server)
        hosts = [(f"h{at}", {"ssh_config_file": str(plot.root / "ssh")}) for at in range(1, HOSTS + 1)]
        (plot.root / "inventory.py").write_text(f"hosts = {hosts!r}\n")
        (plot.root / "deploy.py").write_text(_PYINFRA.format(file=source(plot), plot=plot.root))

    def words(self, plot: Plot) -> tuple[str, ...]:
        return (
            str(INSTALLED / "bin" / "pyinfra"),
            "-y",
            str(plot.root / "inventory.py"),
            str(plot.root / "deploy.py"),
        )

    def environment(self, plot: Plot) -> dict[str, str]:
        return {**clean_environment(plot), "PATH": f"{INSTALLED}/bin:{SYSTEM_PATH}"}


class PachaPushes:
    """Each key is bound to its host's `pacha receive`, as `docs/how-to/push.md` has it."""

    name = "pacha"

    def __init__(self, argv: tuple[str, ...] | None) -> None:
        self.argv = argv
        self.missing = None if argv else "pacha was not found"

    def prepare(self, plot: Plot, server: Sshd) -> None:
        for at in range(1, HOSTS + 1):
            self._host(plot, server, f"h{at}")
        config = plot.root / "pusher" / "pacha.toml"
        config.parent.mkdir()
        names = ", ".join(f'"h{at}"' for at in range(1, HOSTS + 1))
        config.write_text(f'ssh = "ssh -F {plot.root}/ssh"\n[groups]\nall = [{names}]\n')
        folder = plot.root / "deployment"
        (folder / "hooks" / "post-push").mkdir(parents=True)
        hook = folder / "hooks" / "post-push" / "10-ran"
        hook.write_text('#!/bin/sh\necho ran >> "$PACHA_ROOT/ran"\n')
        hook.chmod(0o755)

    def _host(self, plot: Plot, server: Sshd, name: str) -> None:
        assert self.argv is not None
        own = plot.root / f"{name}.conf"
        own.mkdir()
        (own / "pacha.toml").write_text(f'host = "{name}"\nroot = "{plot.root}/{name}"\n')
        words = (*self.argv, "--config", f"{own}/pacha.toml", "--state", f"{own}/state", "receive")
        key = server.key(name)
        server.authorize(key, f'restrict,command="{shlex.join(words)}"')
        name_host(plot, server, name, key)

    def words(self, plot: Plot) -> tuple[str, ...]:
        assert self.argv is not None
        return (*self.argv, "push", str(plot.root / "deployment"), "@all", "-y")

    def environment(self, plot: Plot) -> dict[str, str]:
        own = {"PACHA_CONFIG": f"{plot.root}/pusher/pacha.toml", "PACHA_STATE": f"{plot.root}/pusher/state"}
        return {**clean_environment(plot), **own, "XDG_RUNTIME_DIR": str(sockets(plot))}


def source(plot: Plot) -> Path:
    """The file that is pushed, where Pacha's deployment has it."""
    return plot.root / "deployment" / "files" / "etc" / "motd"


def sockets(plot: Plot) -> Path:
    """A folder for the sockets of kept connections."""
    folder = plot.root / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def allow_everything(plot: Plot, server: Sshd) -> None:
    """One key for all hosts, which may run anything."""
    key = server.key("plain")
    server.authorize(key)
    for at in range(1, HOSTS + 1):
        name_host(plot, server, f"h{at}", key)


def name_host(plot: Plot, server: Sshd, name: str, key: Path) -> None:
    """Make a host: its folder, its script, and its name in `<plot>/ssh`."""
    (plot.root / name / "etc").mkdir(parents=True)
    (plot.root / name / "hook").write_text(_SCRIPT.format(folder=plot.root / name))
    with (plot.root / "ssh").open("a") as file:
        file.write(server.settings(name, IdentityFile=key))


def peers_missing() -> str | None:
    """Why pyinfra and Ansible cannot take part; their environment is made the first time."""
    if not (INSTALLED / "ready").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(INSTALLED)], check=True, capture_output=True)
            subprocess.run(
                [INSTALLED / "bin" / "pip", "install", "-q", *PACKAGES], check=True, capture_output=True
            )
            (INSTALLED / "ready").touch()
        except (OSError, subprocess.CalledProcessError) as problem:
            return f"pip could not install {' and '.join(PACKAGES)}: {problem}"
    return None


# -- the case --------------------------------------------------------------------------------------------


def run_push(bench: Bench) -> None:
    pushers: list[Pusher] = [PachaPushes(bench.pacha.argv), Loop(), Pyinfra(), Ansible()]
    present: list[Pusher] = []
    for task in (PUSH_FIRST, PUSH_CHANGED, PUSH_AGAIN):
        present = bench.present(task, pushers)
    for turn in range(bench.scale.push_rounds):
        for pusher in present:
            with bench.ground.plot(HOSTS * 50) as plot, sshd(plot.root / "sshd", *SSHD) as server:
                pusher.prepare(plot, server)
                with ending_what_stays(plot):
                    _round(bench, pusher, plot, turn)


def _round(bench: Bench, pusher: Pusher, plot: Plot, turn: int) -> None:
    """The first push, one of another file, and one with nothing to do; each is checked on all hosts."""
    once_more = 3 if pusher.name == Loop.name else 2  # a bare loop cannot know that there is nothing to do
    source(plot).parent.mkdir(parents=True, exist_ok=True)
    for task, content, runs in (
        (PUSH_FIRST, b"a", 1),
        (PUSH_CHANGED, b"b", 2),
        (PUSH_AGAIN, b"b", once_more),
    ):
        source(plot).write_bytes(content * _SIZE)
        used: list[Spent] = []
        attempt(bench, task, pusher, turn, partial(_push, plot, runs, used))
        for spent in used:
            bench.figures.add(controller("CPU", task, "s"), pusher.name, spent.cpu)
            bench.figures.add(controller("memory", task, "MB"), pusher.name, spent.memory_mb)


def _rest(plot: Plot) -> None:
    """Wait until the hosts have done what they do after they have answered: each has a machine of its own
    elsewhere, and nobody pushes again within the second.
    """
    give_up = time.monotonic() + LONGEST_REST
    while any(plot.root.glob("*.conf/state/journal/*")):
        expect(time.monotonic() < give_up, f"the hosts are still at work after {LONGEST_REST:.0f} s")
        time.sleep(0.2)


def _commands(plot: Plot) -> dict[int, bytes]:
    """The command lines of this plot's processes."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path("/proc", name, "cmdline").read_bytes()
            if os.fsencode(plot.root) in words:
                found[int(name)] = words
    return found


def _push(plot: Plot, runs: int, used: list[Spent], pusher: Pusher) -> float:
    _rest(plot)
    spent = timed(pusher, plot)
    content = source(plot).read_bytes()
    for at in range(1, HOSTS + 1):
        place = plot.root / f"h{at}"
        expect((place / "etc" / "motd").read_bytes() == content, f"h{at} has another file")
        expect((place / "ran").read_text() == "ran\n" * runs, f"the script did not run {runs} times on h{at}")
    used.append(spent)
    return spent.seconds


def timed(pusher: Pusher, plot: Plot) -> Spent:
    """Run it to its end; raise CommandError where it fails."""
    os.sync()
    said = plot.scratch / "said"
    told, tells = os.pipe()
    with open(told, encoding="ascii") as spent, said.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", _MEASURE, str(tells), *pusher.words(plot)),
            cwd=plot.root,
            env=pusher.environment(plot),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[tells],
        )
        os.close(tells)
        process.wait()
        figures = [float(word) for word in spent.read().split()]
    if process.returncode != 0 or not figures:
        lines = said.read_text(errors="replace").splitlines()
        raise CommandError(f"{pusher.name}: exit {process.returncode}: {bare(lines[-1]) if lines else ''}")
    seconds, cpu, memory = figures
    return Spent(seconds, cpu, memory / 1000)


@contextmanager
def ending_what_stays(plot: Plot) -> Iterator[None]:
    """End the connections that were kept in this plot, and the receivers."""
    try:
        yield
    finally:
        for pid, words in _commands(plot).items():
            if (words.startswith(b"ssh: ") and b"[mux]" in words) or b"--ready" in words:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


CASES: dict[str, Callable[[Bench], None]] = {"push": run_push}
