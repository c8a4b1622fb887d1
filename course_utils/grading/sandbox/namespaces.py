"""A process's own pid, mount and network, and its limits: the kernel's calls.

Linux only. Python 3.11 has no `unshare` or `mount`, so they are called through libc.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path

from . import seccomp

NEW_MOUNT, NEW_IPC, NEW_PID, NEW_NET = 0x00020000, 0x08000000, 0x20000000, 0x40000000
PRIVATE, RECURSIVE, NO_SUID, NO_DEVICES = 1 << 18, 1 << 14, 2, 4
BIND = 1 << 12
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Make a call of libc.

    Raises: OSError with the name of the call.
    """
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare() -> None:
    """Give this process a network of its own, and its children new pids."""
    call("unshare", NEW_IPC | NEW_PID | NEW_NET)


def own_files(tmp_bytes: int) -> None:
    """Mount an empty /tmp of limited size, and a /proc that shows this pid alone.

    A Python that is installed below /tmp stays in sight, read-only as it was.
    """
    # Here, not in the parent: that one has to go on seeing every process.
    call("unshare", NEW_MOUNT)
    call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    flags = NO_SUID | NO_DEVICES
    options = f"size={tmp_bytes},nr_inodes=4096,mode=1777".encode()
    below = [p for p in {sys.prefix, sys.base_prefix} if p.startswith("/tmp/")]
    held = {p: os.open(p, os.O_PATH | os.O_DIRECTORY) for p in below}
    call("mount", b"tmpfs", b"/tmp", b"tmpfs", flags, options)
    for path, descriptor in held.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        source = f"/proc/self/fd/{descriptor}".encode()
        call("mount", source, path.encode(), None, BIND | RECURSIVE, None)
        os.close(descriptor)
    call("mount", b"proc", b"/proc", b"proc", flags, None)
    os.chdir("/tmp")


def limit(*, memory: int, cpu: int, file: int, processes: int, files: int) -> None:
    """Bound this process and what it starts.

    Units: bytes on top of what is in use, seconds of processor time, bytes a file,
    processes and threads together, open files.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + memory,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: file,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_NOFILE: files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for name, value in allowed.items():
        resource.setrlimit(name, (value, value))


def drop_privileges(user: int) -> None:
    """Become an ordinary user for good.

    A limit on processes does not hold root, so root becomes `user`. Where the sandbox
    was started by an ordinary user, that user's namespace is its own already, and the
    capabilities in it are given up.

    Raises: RuntimeError if a capability is left.
    """
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
    # 4, 0: no core, and no other process of this user may look into this one.
    call("prctl", 4, 0, 0, 0, 0)
    seccomp.install()
    status = Path("/proc/self/status").read_text()
    left = [n for n in status.splitlines() if n.startswith(("CapEff", "CapPrm"))]
    if any(int(line.split()[1], 16) for line in left):
        raise RuntimeError("the sandbox kept a capability; nothing was run.")
