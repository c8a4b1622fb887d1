"""System calls that a student's process may not make.

Namespaces and limits hold everything but two ways around them: a user namespace of
one's own, in which memory can be taken as a file system that no limit counts, and the
kernel's rarely used doors. The filter answers EPERM to both. An exercise in numpy or
torch uses none of them. Numbers are those of the kernel's tables.
"""

import ctypes
import errno
import platform
import struct

# Call: number on x86_64, on aarch64.
DENIED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
}
CLONE, CLONE3 = (56, 220), (435, 435)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# Every namespace that clone could make: mount, cgroup, uts, ipc, user, pid, net.
NEW_NAMESPACES = 0x7E020000
LOAD, EQUAL, GREATER, ANY_OF, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
KILL, ALLOW, REFUSE = 0x80000000, 0x7FFF0000, 0x00050000
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16


def install() -> None:
    """Deny the calls to this process and all it starts, for good.

    Raises: OSError where the kernel or the machine is not known to be held.
    """
    if platform.machine() not in MACHINES:
        raise OSError(f"no system call filter for {platform.machine()}.")
    code = b"".join(struct.pack("HBBI", *line) for line in program(platform.machine()))
    buffer = ctypes.create_string_buffer(code)
    filled = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    # 38: no new privileges; 22, 2: this filter.
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filled):
        raise OSError(ctypes.get_errno(), "the system call filter was refused")


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """Return the filter: lines of (operation, lines to jump if so, if not, operand)."""
    column, arch = MACHINES[machine]
    lines = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, arch),
        (ANSWER, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        # x32, a second table of calls on x86_64, starts here.
        (GREATER, 0, 1, 0x40000000),
        (ANSWER, 0, 0, KILL),
        # clone3 hides its flags in memory: say that the kernel is too old for it.
        (EQUAL, 0, 1, CLONE3[column]),
        (ANSWER, 0, 0, REFUSE | errno.ENOSYS),
    ]
    for numbers in DENIED.values():
        lines += [
            (EQUAL, 0, 1, numbers[column]),
            (ANSWER, 0, 0, REFUSE | errno.EPERM),
        ]
    return [
        *lines,
        (EQUAL, 0, 3, CLONE[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_OF, 0, 1, NEW_NAMESPACES),
        (ANSWER, 0, 0, REFUSE | errno.EPERM),
        (ANSWER, 0, 0, ALLOW),
    ]
