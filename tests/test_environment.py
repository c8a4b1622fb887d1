"""environment.yml, pyproject.toml and the locks say the same."""

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ASKED_FOR = {
    "jupyter-book",
    "jupyterlab",
    "torch",
    "transformers",
    "bitsandbytes",
    "auto-gptq",
    "llama-cpp-python",
    "matplotlib",
    "ipywidgets",
    "nbval",
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def pins(path):
    """Return name -> version of a lock file or a list of pins."""
    return dict(PIN.findall((ROOT / path).read_text()))


def pip_section(path):
    """Return the pip requirements of a conda file."""
    parts = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    return next(part["pip"] for part in parts if isinstance(part, dict))


def test_environment_names_the_packages_at_the_locks_versions():
    named = dict(PIN.findall("\n".join(pip_section("environment.yml"))))
    assert set(named) == ASKED_FOR - {"auto-gptq"}
    lock = pins("locks/all.txt") | {"torch": "2.13.0"}
    assert named == {name: lock[name] for name in named}


def test_auto_gptq_has_its_own_file_with_the_reason():
    assert "auto-gptq==0.7.1" in pip_section("environments/auto-gptq.yml")
    assert "Reason" in (ROOT / "environments/auto-gptq.yml").read_text()


@pytest.mark.parametrize(
    "subset", ["learn", "book", "llama", "apart", "uv", "llama-cpp-python"]
)
def test_a_package_has_one_version_in_the_project(subset):
    everything = pins("locks/all.txt")
    assert pins(f"locks/{subset}.txt").items() <= everything.items()


@pytest.mark.parametrize("lock", ["all", "book", "learn", "llama", "apart"])
def test_locks_bring_no_torch_and_no_cuda_and_no_address(lock):
    text = (ROOT / f"locks/{lock}.txt").read_text()
    assert not re.findall(r"^(torch|triton|nvidia-c\S*)==", text, re.MULTILINE)
    assert "://" not in text


def test_what_slows_transformers_down_is_installed_apart():
    slow = {"lm-eval", "torchao", "scikit-learn", "pandas"}
    assert slow <= set(pins("locks/apart.txt"))
    for lock in ("learn", "book", "llama"):
        assert not slow & set(pins(f"locks/{lock}.txt"))


def test_llama_cpp_is_compiled_apart_from_a_pinned_source():
    # A lock that held it would compile it wherever tests or lessons are set up.
    for lock in ("learn", "book", "llama", "apart"):
        assert "llama-cpp-python" not in pins(f"locks/{lock}.txt")
    assert "--hash=sha256:" in (ROOT / "locks/llama-cpp-python.txt").read_text()


def test_bootstrap_installs_the_torch_that_the_lock_was_resolved_for():
    source = (ROOT / "tools/bootstrap.py").read_text()
    assert 'TORCH = "torch==2.13.0"' in source
    assert (
        'constraint-dependencies = ["torch==2.13.0"]'
        in (ROOT / "pyproject.toml").read_text()
    )


def imported(path):
    """Return the top-level packages that the code cells of a notebook import."""
    cells = json.loads(path.read_text())["cells"]
    codes = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    nodes = [node for code in codes for node in ast.walk(ast.parse(code))]
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names} - {"course_utils", "google"}


def test_learners_get_every_package_that_a_notebook_imports():
    installed = packages_distributions()
    locked = {name.lower().replace("_", "-") for name in pins("locks/learn.txt")}
    for folder in ("notebooks", "exercises", "solutions"):
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            for name in imported(path) - set(sys.stdlib_module_names) - {"torch"}:
                found = {d.lower().replace("_", "-") for d in installed[name]}
                assert found & locked, f"{path.name} imports {name}"
