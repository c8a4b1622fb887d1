"""Build an environment that cannot share ours, from its file in `environments/`.

    python3.11 tools/environment.py auto-gptq

It is a virtual environment in `_build/environments/NAME`, with the packages of the
file's `pip:` list. The list must name every version, so two builds are alike. An
environment that stands is left alone until its file changes. Standard library only.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ROOT / "environments"


def pins(text: str) -> list[str]:
    """Return the `name==version` entries below `pip:`."""
    _, _, below = text.partition("- pip:\n")
    return re.findall(r"^\s+- (\S+==\S+)$", below, re.MULTILINE)


def build(name: str) -> Path:
    """Return the folder of the environment, built if need be.

    Raises: ValueError if there is no such file, or the installation fails.
    """
    source = FILES / f"{name}.yml"
    known = sorted(path.stem for path in FILES.glob("*.yml"))
    if name not in known:
        raise ValueError(
            f"There is no environment {name!r}; choose from: {', '.join(known)}."
        )
    text = source.read_text()
    target, digest = ROOT / "_build" / "environments" / name, _sha256(text)
    stamp = target / "sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return target
    subprocess.run([sys.executable, "-m", "venv", "--clear", target], check=True)
    # torch first: another package would bring the newest one with it.
    names = sorted(pins(text), key=lambda pin: not pin.startswith("torch=="))
    for part in (names[:1], names):
        command = [target / "bin" / "python", "-m", "pip", "install", "-q", *part]
        if subprocess.run(command, check=False).returncode:
            raise ValueError(
                f"{source.name} could not be installed; check the network and run the "
                "same command again."
            )
    stamp.write_text(digest)
    return target


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(argv: list[str]) -> int:
    """Build the environment that is named and print where it is."""
    try:
        print(build(*argv))
    except (ValueError, TypeError) as error:
        text = str(error) if isinstance(error, ValueError) else __doc__
        print(text, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
