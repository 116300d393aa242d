"""Runs commands inside a root: this machine's own, or another system's below a folder.

Called by the package managers and by the hooks of a rebuild. In another root a command gets a mount and a
process namespace of its own, with /proc, /dev and /sys of that root's: nothing that is mounted is seen
outside, what is unmounted outside is not held, and whatever it leaves running ends with it, whoever is
killed. No service is started there. It must not decide what is run.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

# $1 is the root; the rest is the command. A link in the way of a mount point is not followed out of the root:
# where one of the three is a link nothing is mounted.
_ENTER = """
set -e
root=$1; shift
mount --make-rslave /
for d in proc dev sys; do
    if [ -d "$root/$d" ] && ! [ -L "$root/$d" ]; then
        case $d in
            proc) mount -t proc proc "$root/proc" ;;
            dev) mount --rbind /dev "$root/dev" ;;
            sys) mount --rbind -o ro /sys "$root/sys" || : ;;
        esac
    fi
done
exec chroot "$root" "$@"
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "TERM", "TZ")
_GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL
# The words before a command that run it in namespaces of its own, all of it ended with it.
APART = ("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL")


def entering(root: bytes) -> list[str]:
    """The words before a command that run it inside `root`; none for the machine's own."""
    if root == b"/":
        return []
    return [*APART, "sh", "-c", _ENTER, "sh", os.fsdecode(root)]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """A small one, so that nothing of the caller's own steers a package manager."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PATH": _PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **more}


def die_with_parent() -> None:
    """For the child, before it becomes another program: end when its parent does, however that ends."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def ask(root: bytes, words: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Run a command to its end: (exit code, standard output, standard error)."""
    argv = [*entering(root), *words]
    done = subprocess.run(
        argv, env=environment({}), stdin=subprocess.DEVNULL, capture_output=True, cwd="/", check=False
    )
    return done.returncode, done.stdout, done.stderr


def follow(root: bytes, words: Sequence[str], line: Callable[[bytes], None]) -> int:
    """Run a command and hand on each line that it writes; its exit code. An exception ends it too."""
    with subprocess.Popen(
        [*entering(root), *words],
        env=environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        preexec_fn=die_with_parent,  # noqa: PLW1509 - there are no threads
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for text in process.stdout:
                line(text.rstrip(b"\n"))
        except BaseException:
            _end(process)
            raise
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all its children, which may tidy up first."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_GRACE_SECONDS)
    except (subprocess.TimeoutExpired, ProcessLookupError):
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
