"""The package's layers, its light import, and what it carries to Colab."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


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


def test_the_wheel_carries_texts_records_items_and_widgets(tmp_path):
    build = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, "."]
    result = run(sys.executable, "-m", "pip", *build)
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
