"""Disks that are full, folders that nobody may write to."""

import contextlib
import errno
import os
import subprocess


@contextlib.contextmanager
def small_disk(folder, size="64k"):
    """A file system of this size at `folder`, where the tests may mount one; else `None`."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def no_space(*_, **__):
    """What the system says when the disk is full, in place of `os.fsync`."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def read_only(folder):
    """A folder that this process may not write to; root is somebody else meanwhile."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
