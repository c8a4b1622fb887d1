"""What all tests share: a fixed profile and the embedded model, loaded once."""

import os
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

# The tests' figures must not depend on the machine or on what its owner has set.
os.environ["COURSE_PROFILE"] = "ci"
os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("COURSE_MODEL", "COURSE_ARCH"):
    os.environ.pop(name, None)

# A busy machine fails no test, and a failure can be repeated.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")


@pytest.fixture(autouse=True)
def gradients():
    """Start every test with gradients on: cells of the book, run by some, end them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(True)


@pytest.fixture(scope="session")
def loaded():
    """The embedded model, shared by all tests: leave its weights as they are."""
    from course_utils.models.loading import load  # noqa: PLC0415 - torch takes seconds

    return load("embedded")


@pytest.fixture(scope="session")
def embedded_model(loaded):
    return loaded.model


@pytest.fixture(scope="session")
def embedded_tokenizer(loaded):
    return loaded.tokenizer


@pytest.fixture(scope="session")
def gguf_model():
    """The GGUF file of the embedded model, open."""
    from course_utils.models import fetch  # noqa: PLC0415
    from course_utils.models.dequantize import GgufModel  # noqa: PLC0415

    return GgufModel.open(fetch.gguf_file())


@pytest.fixture(scope="session")
def apart():
    """Import what `make test` installs apart from everything else, by its name."""

    def library(name):
        folder = str(Path(sys.prefix) / "apart")
        if folder not in sys.path:
            sys.path.append(folder)
        return import_module(name)

    yield library
    sys.path[:] = [path for path in sys.path if Path(path).name != "apart"]
