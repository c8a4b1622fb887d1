"""Start a sandbox and open a session in it for each submission.

with Sandbox() as sandbox, sandbox.open() as session:
session.run("def f(x): return x + 1")
session.call("f", 2)      # 3
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.sandbox.session import SandboxError, Session

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parents[1]
INSIDE = "/opt/fewer-bits"
FIRST_USER = 40001
START_SECONDS = 120
MISSING = (
    "bubblewrap cannot isolate a student's code on this machine, so none is run: "
    "install it (Debian: apt-get install bubblewrap) on Linux, or grade there."
)
RUN = (
    "import sys; sys.path.insert(0, {!r}); "
    "from sandbox import zygote; zygote.main({}, {!r})"
)


class NotIsolated(RuntimeError):
    """This machine cannot isolate; nothing of a student's was run."""


def command(control_fd: int, modules: str, *, library: bool) -> list[str]:
    """Return the command that starts a zygote where nothing but Python is in sight."""
    root = os.geteuid() == 0
    shared = dict.fromkeys([Path("/usr"), Path(sys.base_prefix), Path(sys.prefix)])
    # Folders on the way are made for root alone unless it is said otherwise.
    parents = dict.fromkeys(p for s in shared for p in [*reversed(s.parents)][1:])
    parents |= dict.fromkeys([Path(INSIDE).parent, Path(INSIDE)])
    binds = [a for p in parents for a in opened(str(p))]
    binds += [a for p in shared for a in ("--ro-bind", str(p), str(p))]
    for name in ("bin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            binds += ["--symlink", f"usr/{name}", f"/{name}"]
    environment = {
        "PATH": "/usr/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    # An ordinary user gets a user namespace and all capabilities in it; root keeps
    # what it takes to make namespaces and to become an ordinary user.
    rights = ["SYS_ADMIN", "SETUID", "SETGID", "SYS_PTRACE", "KILL"]
    caps = [a for r in rights for a in ("--cap-add", f"CAP_{r}")]
    who = ["--cap-drop", "ALL", *caps] if root else ["--uid", "0", "--gid", "0", *caps]
    spaces = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    return [
        "bwrap",
        *([*spaces, "--unshare-cgroup-try"] if root else ["--unshare-all"]),
        *who,
        *("--die-with-parent", "--new-session", "--clearenv"),
        *binds,
        *("--ro-bind", str(HERE), f"{INSIDE}/sandbox"),
        *(("--ro-bind", str(LIBRARY), f"{INSIDE}/course_utils") if library else ()),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev/shm", "--remount-ro", "/dev"),
        *("--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"),
        *(a for k, v in environment.items() for a in ("--setenv", k, v)),
        "--",
        sys.executable,
        "-I",
        "-c",
        RUN.format(INSIDE, control_fd, modules),
    ]


def opened(folder: str) -> tuple[str, ...]:
    """Return the arguments that make a folder which every user may enter."""
    return ("--perms", "0755", "--dir", folder)


class Sandbox:
    """A running zygote.

    Args:
        modules: What to import once for all: "numpy" or "numpy,torch".
        limits: What each submission may use.
        library: Whether students' code may import `course_utils`.

    Raises:
        NotIsolated: Where bubblewrap is missing or may not do its work.
    """

    def __init__(
        self,
        modules: str = "numpy,torch",
        limits: Limits | None = None,
        *,
        library: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self._opened = 0
        if not shutil.which("bwrap"):
            raise NotIsolated(MISSING)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                command(theirs.fileno(), modules, library=library),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self._control.settimeout(START_SECONDS)
        if self._control.recv(16) != b"ready":
            said = self._process.stderr.read().decode(errors="replace").strip()
            self.close()
            raise NotIsolated(f"{MISSING} ({said.splitlines()[-1] if said else ''})")

    def open(self) -> "Session":
        """Fork a child for one submission."""
        ours, theirs = socket.socketpair()
        life_theirs, life_ours = os.pipe()
        # Users of their own: a limit on processes counts those of one user.
        user = FIRST_USER + self._opened % 20000 if os.geteuid() == 0 else 0
        self._opened += 1
        request = json.dumps(self.limits.inside(user)).encode()
        try:
            socket.send_fds(self._control, [request], [theirs.fileno(), life_theirs])
        except OSError:
            os.close(life_ours)
            raise SandboxError("the sandbox itself has ended.") from None
        finally:
            theirs.close()
            os.close(life_theirs)
        return Session(ours, life_ours, self.limits)

    def close(self) -> None:
        """End the zygote and everything it started."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def __enter__(self) -> "Sandbox":
        """Return the sandbox."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
