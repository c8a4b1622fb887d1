"""The package's layers, its light import, and what it carries to Colab."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What a wheel is made of.
PACKED = ("pyproject.toml", "README.md", "LICENSE", "course_utils", "book")


def run(*command, **options):
    """Run a command of this environment and return its result."""
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, **options
    )


def test_upper_layers_import_lower_ones_only():
    result = run(Path(sys.executable).with_name("lint-imports"))
    assert result.returncode == 0, result.stdout


def test_importing_the_package_imports_no_torch():
    code = (
        "import course_utils, sys;"
        "print(sorted(sys.modules.keys() & {'torch', 'numpy'}))"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def test_code_style():
    for command in (["check"], ["format", "--check"]):
        result = run(sys.executable, "-m", "ruff", *command, ".")
        assert result.returncode == 0, result.stdout


def copied(folder):
    """Copy what a wheel is made of, and return the folder."""
    folder.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in PACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def test_the_wheel_carries_texts_records_items_and_widgets(tmp_path):
    # A copy: an old build/ would be packed too, and a new one left behind.
    source = copied(tmp_path / "source")
    build = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    result = run(sys.executable, "-m", "pip", *build, source)
    assert result.returncode == 0, result.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for needed in (
        "course_utils/_book/texts/evaluation.md",
        "course_utils/_book/measured/embedded-model.json",
        "course_utils/_book/items/01_what-is-quantization.yaml",
        "course_utils/widgets/number_line.js",
        "course_utils/measure/record.schema.json",
    ):
        assert needed in names
