"""One pytest session: the tests, and every cell of every derived notebook.

nbval runs the notebooks. Three things differ from what it does by itself:

- Cells tagged `nbval-check-output` are compared with a tolerance that is derived from
  float32 arithmetic (`course_utils.authoring.compare`), not byte for byte.
- A cell tagged `raises-exception` fails if it raises nothing: that is how an
  exercise's checks prove that they refuse the empty stub.
- Kernels run in the environment in which the committed notebooks were executed.
"""

from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

from course_utils.authoring import compare
from course_utils.authoring.kernel import FIXED
from course_utils.authoring.project import COMMITTED_PROFILE, KINDS


def pytest_configure(config: pytest.Config) -> None:
    """Let nbval run notebooks, and collect all of them in a whole session."""
    config.option.nbval_lax = True
    config.option.nbval_current_env = True
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        folders = (Path(config.rootpath, kind) for kind in KINDS)
        config.args += [str(folder) for folder in folders if folder.is_dir()]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each notebook cell the tolerant comparison."""
    if isinstance(item, IPyNbCell):
        item.compare_outputs = partial(_same_outputs, item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Start a notebook's kernel in the environment of the committed outputs."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FIXED.items():
            patch.setenv(name, value)
        patch.setenv("COURSE_PROFILE", COMMITTED_PROFILE)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a cell that should have raised and did not."""
    result = yield
    if isinstance(item, IPyNbCell) and item.options["check_exception"]:
        kinds = [out.output_type for out in item.test_outputs]
        if "error" not in kinds:
            item.raise_cell_error(
                "The cell is tagged raises-exception and did not raise"
            )
    return result


def _same_outputs(
    item: IPyNbCell, got: list, expected: list, skip_compare: tuple | None = None
) -> bool:
    """Stand in for `IPyNbCell.compare_outputs`."""
    del skip_compare
    found = compare.outputs_difference(got, expected)
    item.comparison_traceback = [found or ""]
    return found is None
