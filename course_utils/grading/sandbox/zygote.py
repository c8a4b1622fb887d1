"""The parent of all students: imports once, then forks a child for each submission.

Importing torch takes seconds, a fork of a process that has imported it milliseconds.
This process never runs a student's code. For each request it forks a warden, which
makes new namespaces and forks the student into them as their first process: when that
one dies, the kernel kills whatever it started. The warden ends it when the grader
lets go, when the time is up, or when its processes together hold too much memory.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

from . import namespaces, student

LOOK_SECONDS = 0.1


def main(control_fd: int, modules: str) -> None:
    """Import, report, then fork for every request until the grader goes."""
    for name in modules.split(","):
        importlib.import_module(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    control = socket.socket(fileno=control_fd)
    # Children are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"ready")
    while True:
        request, fds, *_ = socket.recv_fds(control, 4096, 2)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            _warden(json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def _warden(limits: dict, link_fd: int, life_fd: int) -> None:
    """Start a student in namespaces of its own and end it; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        namespaces.unshare()
        child = os.fork()
        if child == 0:
            os.close(life_fd)
            _become_student(limits, link_fd)
        os.close(link_fd)
        _watch(child, life_fd, limits)
    finally:
        os._exit(0)


def _become_student(limits: dict, link_fd: int) -> None:
    """Give up everything, then serve; never returns."""
    try:
        # A signal to the student's group reaches the student alone.
        os.setsid()
        namespaces.own_files(limits["tmp"])
        namespaces.limit(**limits["process"])
        namespaces.drop_privileges(limits["user"])
        student.main(socket.socket(fileno=link_fd))
    finally:
        os._exit(0)


def _watch(child: int, life_fd: int, limits: dict) -> None:
    """Wait for the end of the child, of the grader's interest, of time or memory."""
    pidfd = os.pidfd_open(child)
    space = Path(f"/proc/{os.getpid()}/ns/pid_for_children").readlink()
    left = int(limits["wall"] / LOOK_SECONDS)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(life_fd, select.POLLIN | select.POLLHUP)
    try:
        while left > 0 and not poll.poll(LOOK_SECONDS * 1000):
            left -= 1
            if _resident(space) > limits["together"]:
                break
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _resident(space: Path) -> int:
    """Return the bytes of memory of all processes of a pid namespace.

    A page that several processes share counts once, divided among them; pages of
    files do not count.
    """
    total = 0
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            if (place / "ns" / "pid").readlink() == space:
                rollup = (place / "smaps_rollup").read_text()
                total += sum(
                    int(line.split()[1]) * 1024
                    for line in rollup.splitlines()
                    if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))
                )
        except OSError:
            continue  # It ended while we looked.
    return total
