"""Run a command in a network namespace that holds nothing but loopback.

    python tools/offline.py COMMAND [ARGUMENT ...]

The whole test session runs so: a test, a notebook or a page that reaches for
another host fails. Where bubblewrap cannot make the namespace the command runs
plainly, and `tests/test_offline.py` says so by failing.
"""

import os
import shutil
import subprocess
import sys

BWRAP = ["bwrap", "--dev-bind", "/", "/", "--unshare-net", "--die-with-parent"]


def isolated() -> bool:
    """True where bubblewrap works here."""
    if not shutil.which("bwrap"):
        return False
    return subprocess.run([*BWRAP, "true"], check=False).returncode == 0


def main(command: list[str]) -> None:
    """Replace this process by the command, cut off where possible."""
    if not isolated():
        print("bubblewrap cannot cut off the network here; running with it.")
        os.execvp(command[0], command)
    os.execvp(BWRAP[0], [*BWRAP, "--", *command])


if __name__ == "__main__":
    main(sys.argv[1:])
