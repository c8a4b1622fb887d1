"""A notebook that records what was shown."""

import pytest

from course_utils.report import say, show, table


@pytest.fixture
def shown(monkeypatch) -> list[tuple[dict, dict]]:
    """Return the list of outputs, each as (data by MIME type, metadata)."""
    outputs = []

    def record(data, metadata=None):
        outputs.append((data, metadata or {}))

    for module in (say, show, table):
        monkeypatch.setattr(module, "publish", record)
    return outputs
