"""Keep all reading and writing of live trees in src/pacha/adapters/files. Called by `make lint`.

A path given to open, chmod or rename follows links in its parents, and a user who swaps a directory for a
link makes root read or write elsewhere. adapters/files works beneath a descriptor of the watched root
instead; everywhere else the calls below are refused, but in the modules of OWN_FILES, which touch only what
no other user can write to.
"""

from __future__ import annotations

import ast
import sys

from sources import sources

LIVE_TREES = "adapters/files/"

# Path below src/pacha (a directory ends in /): whose files it opens by path.
OWN_FILES = {
    "adapters/archive.py": "stores that were replaced, in the state folder",
    "adapters/arrival.py": "an installation of Pacha itself, where there is none yet",
    "adapters/account.py": "the home of an account that was just made",
    "adapters/carried.py": "the installed Pacha's own files, and wheels in the state folder",
    "adapters/copies.py": "copies of histories that servers keep, in the state folder",
    "adapters/change_file.py": "the open change, in the state folder",
    "adapters/config_file.py": "pacha.toml",
    "adapters/control.py": "the agent's socket",
    "adapters/events/": "/proc; a directory is only found again by its handle, never read",
    "adapters/deployments.py": "records of what was deployed, in the state folder",
    "adapters/disk.py": "whole files in the state folder",
    "adapters/environment.py": "the hooks directory, looked at",
    "adapters/forgets.py": "what servers are asked to forget, in the state folder",
    "adapters/fork_server.py": "its socket, and the standard streams",
    "adapters/handover.py": "the working directory, to hand it over; /dev/null and /proc",
    "adapters/hg/": "the store",
    "adapters/hooks.py": "the hooks directory",
    "adapters/index.py": "the index",
    "adapters/journal.py": "the journal, in the state folder",
    "adapters/lock.py": "the lock, in the state folder",
    "adapters/machine.py": "/proc and this machine's own machine-id, never another root's",
    "adapters/mounts.py": "/proc/self/mountinfo",
    "adapters/preflight.py": "a memory disk over a folder in the state folder; descriptors of the tree",
    "adapters/priority.py": "/proc",
    "adapters/pulls.py": "how pulls ended, in the state folder",
    "adapters/secrets.py": "the host's own key, in the state folder",
    "adapters/sessions.py": "the folder of sockets of kept connections",
    "adapters/signatures.py": "files in memory, for ssh-keygen; whether a key that a person named is there",
    "adapters/spool.py": "contents between capture and store, in the state folder",
    "adapters/ssh.py": "the host keys that a server shows, in a folder of their own",
    "adapters/sshd.py": "sshd's public host keys",
    "adapters/ssh_files.py": "the client's key and pinned host keys, in the state folder",
    "adapters/staging.py": "the hooks of a deployment, in the state folder",
    "adapters/sockets.py": "sockets, in /run/pacha or the state folder",
    "adapters/state.py": "the state folder",
    "adapters/throwaway.py": "the root of a rehearsal, in the state folder",
    "cli/main.py": "/dev/null",
    "cli/push_stop.py": "/dev/null",
    "cli/started.py": "/dev/null",
    "server/keys_file.py": "authorized_keys, as the account whose it is",
    "server/log.py": "the server's log, in the state folder",
    "server/registry.py": "records in the state folder; whole histories, moved and removed",
    "server/sessions.py": "sessions' files in the state folder; /proc",
}

# Of os: what takes a path and follows its parents. Not stat and access: they neither read nor write content.
OS_CALLS = frozenset(
    """open chmod chown lchown chflags rename renames replace unlink remove removedirs mkdir makedirs rmdir
    symlink link mkfifo mknod utime truncate setxattr removexattr getxattr listxattr readlink listdir
    scandir walk fwalk chroot""".split()
)
# Modules whose every function works on paths.
PATH_MODULES = frozenset({"shutil", "tempfile", "glob", "fileinput"})
# Methods that only pathlib has; those of PATHLIB_METHODS are told from other types' by the import.
PATH_METHODS = frozenset(
    """read_text read_bytes write_text write_bytes touch rmdir mkdir symlink_to hardlink_to lchmod iterdir
    rglob""".split()
)
PATHLIB_METHODS = frozenset({"open", "chmod", "rename", "replace", "unlink", "readlink", "glob", "walk"})


def breaches(name: str, tree: ast.Module) -> list[str]:
    """Every forbidden call in one file, as one line each."""
    if name.startswith(LIVE_TREES) or any(
        name.startswith(own) if own[-1] == "/" else name == own for own in OWN_FILES
    ):
        return []
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        # Not only calls: `remove = os.unlink` hides one.
        if isinstance(node, ast.Name | ast.Attribute):
            what = forbidden(node, names)
            if what:
                found.append(f"{name}:{node.lineno}: {what} belongs into {LIVE_TREES[:-1]}")
    return found


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: {"o": "os", "mv": "os.rename"}."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden(node: ast.Name | ast.Attribute, names: dict[str, str]) -> str:
    """The forbidden function that this expression names, or nothing."""
    if isinstance(node, ast.Name):
        what = names.get(node.id, f"builtins.{node.id}")
    elif isinstance(node.value, ast.Name) and node.value.id in names:
        what = f"{names[node.value.id]}.{node.attr}"
    elif node.attr in PATH_METHODS or (node.attr in PATHLIB_METHODS and uses_pathlib(names)):
        return f"Path.{node.attr}"
    else:
        return ""
    module, _, function = what.partition(".")
    if (
        (module == "os" and function in OS_CALLS)
        or (module in PATH_MODULES and function)
        or what in {"builtins.open", "io.open", "io.FileIO"}
    ):
        return what.removeprefix("builtins.")
    return ""


def uses_pathlib(names: dict[str, str]) -> bool:
    """Whether the file imports pathlib or something from it."""
    return any(what.partition(".")[0] == "pathlib" for what in names.values())


if __name__ == "__main__":
    lines = [line for name, _, tree in sources() for line in breaches(name, tree)]
    print("\n".join(lines) or "live trees: read and written in adapters/files only")
    sys.exit(bool(lines))
