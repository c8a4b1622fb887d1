"""Run another grader, with hostile work in its hands, where it can harm nothing.

The other graders run a student's code with their own rights. So each run gets
bubblewrap around it: an ordinary user, no network, a read-only system, one folder to
write in, and limits on memory, processes, time and the size of a file. Inside, the
grader and the student's code are one user, as they are where nobody adds a sandbox.

    scratch/grader      what the grader works on; also its current folder
    scratch/tmp         its /tmp, looked at afterwards
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

# Of each run one more: a limit on processes counts those of one user.
FIRST_USER, USERS = 39001, count()
SECONDS = 60.0
LARGEST_REPORT = 1_000_000
LIMITS = {
    "as": 4 * 2**30,
    "cpu": 240,
    "fsize": 512 * 2**20,
    "nproc": 256,
    "nofile": 1024,
    "core": 0,
}
# Inside: run each command, then count the processes that are left, and report.
WATCH = """
import json, os, subprocess, sys, time
report = {"codes": [], "seconds": [], "left": 0}
for argv in json.loads(sys.argv[1]):
    start = time.perf_counter()
    out = open("/grader/log.txt", "ab")
    done = subprocess.run(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    report["codes"].append(done.returncode)
    report["seconds"].append(time.perf_counter() - start)
time.sleep(0.5)
mine = (1, os.getpid(), os.getppid())
for n in os.listdir("/proc"):
    if n.isdigit() and int(n) not in mine:
        try:
            state = open(f"/proc/{n}/stat").read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        report["left"] += state != "Z"
with open("/grader/report.json", "w") as file:
    json.dump(report, file)
"""


@dataclass(frozen=True)
class Run:
    """What became of a run.

    Attributes:
        seconds: Of each command; empty if the grader was ended before it could say.
        codes: Exit status of each command.
        left: Processes that lived on after the last command.
        late: Whether it had to be ended from outside.
    """

    seconds: tuple[float, ...]
    codes: tuple[int, ...]
    left: int
    late: bool


def run(
    environment: Path, scratch: Path, commands: list[list[str]], seconds: float
) -> Run:
    """Run commands one after another in one sandbox.

    Units: seconds of wall time for all of them.
    """
    user = FIRST_USER + next(USERS) % 900
    (scratch / "tmp").mkdir(exist_ok=True)
    (scratch / "grader" / "report.json").unlink(missing_ok=True)
    _hand_over(scratch, user)
    process = subprocess.Popen(
        command(environment, scratch, commands, user),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    late = False
    try:
        said = process.communicate(timeout=seconds)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        late = True
        process.kill()
        said = process.communicate()[1].decode(errors="replace")
    report = read_json(scratch / "grader" / "report.json")
    if not isinstance(report, dict):
        if said.startswith("bwrap:"):
            raise RuntimeError(f"the sandbox did not start: {said.strip()}")
        return Run((), (), 0, late)
    return Run(tuple(report["seconds"]), tuple(report["codes"]), report["left"], late)


def command(
    environment: Path, scratch: Path, commands: list[list[str]], user: int
) -> list[str]:
    """Return the command line of the sandbox."""
    root = os.geteuid() == 0
    spaces = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    caps = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    alone = ["--unshare-all", "--uid", str(user), "--gid", str(user)]
    become = [
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        *("--inh-caps=-all", "--no-new-privs"),
    ]
    variables = {
        "PATH": f"{environment}/bin:/usr/bin",
        "HOME": "/grader/home",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # A folder of the user's own on the path of Python, as in a home directory.
        "PYTHONPATH": "/grader/lib",
    }
    return [
        "bwrap",
        *([*spaces, *caps] if root else alone),
        *("--die-with-parent", "--new-session", "--clearenv"),
        *_files(environment, scratch, user),
        *(a for k, v in variables.items() for a in ("--setenv", k, v)),
        "--",
        *(become if root else ()),
        *("prlimit", *(f"--{name}={value}" for name, value in LIMITS.items())),
        *(str(environment / "bin" / "python"), "-I", "-c", WATCH),
        json.dumps(commands),
    ]


def _files(environment: Path, scratch: Path, user: int) -> list[str]:
    """Return the arguments for what can be seen inside, and where to write."""
    shared = [Path("/usr"), _base(environment), environment]
    # Folders on the way are made for root alone unless it is said otherwise.
    parents = dict.fromkeys(p for s in shared for p in [*reversed(s.parents)][1:])
    binds = [a for p in parents for a in ("--perms", "0755", "--dir", str(p))]
    binds += [a for p in shared for a in ("--ro-bind", str(p), str(p))]
    for name in ("bin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            binds += ["--symlink", f"usr/{name}", f"/{name}"]
    (scratch / "etc").mkdir(exist_ok=True)
    (scratch / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (scratch / "etc" / "passwd").write_text(
        f"grader:x:{user}:{user}::/grader/home:/bin/sh\n"
    )
    return [
        # First, since the checkout itself may lie below it.
        *("--bind", str(scratch / "tmp"), "/tmp"),
        *binds,
        *("--perms", "0755", "--dir", "/etc"),
        *("--ro-bind", str(scratch / "etc"), "/etc", "--proc", "/proc"),
        *("--dev", "/dev", "--bind", str(scratch / "grader"), "/grader"),
        *("--chdir", "/grader"),
    ]


def read_json(path: Path) -> object:
    """Return what a file inside holds, if it is small and JSON; it is not trusted."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_REPORT:
            return None
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def remove(scratch: Path) -> None:
    """Remove a scratch folder, whatever was left in it."""
    for _ in range(3):
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            return
        time.sleep(0.5)


def _base(environment: Path) -> Path:
    """Return where the Python lies that an environment was made from."""
    text = (environment / "pyvenv.cfg").read_text()
    found = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return Path(found["home"]).parent


def _hand_over(scratch: Path, user: int) -> None:
    """Give the folders to the ordinary user."""
    (scratch / "grader" / "home").mkdir(exist_ok=True)
    (scratch / "grader" / "lib").mkdir(exist_ok=True)
    if os.geteuid() == 0:
        for top in (scratch / "grader", scratch / "tmp"):
            for path in (top, *top.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
