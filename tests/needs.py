"""What a test needs of the machine; where it is missing, the test is skipped and says why."""

from __future__ import annotations

import os
import shutil

import pytest

AM_ROOT = os.geteuid() == 0

root = pytest.mark.skipif(not AM_ROOT, reason="needs root (devices, owners, mounts, inode flags)")
strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
loop = pytest.mark.skipif(
    not (AM_ROOT and os.path.exists("/dev/loop-control") and shutil.which("mkfs.ext4")),
    reason="needs root, loop devices and mkfs.ext4",
)
tools = pytest.mark.skipif(
    any(
        shutil.which(tool) is None
        for tool in ("rsync", "getfacl", "setfacl", "getfattr", "setfattr", "lsattr")
    ),
    reason="needs rsync, acl, attr and e2fsprogs",
)
