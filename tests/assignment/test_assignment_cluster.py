"""A Dask cluster finds what one machine finds, also when a worker is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_utils.assignment import batch, cluster, plan
from course_utils.grading.questions import load_master, masters
from course_utils.paths import ROOT

SLUG = "00_start-here"
MASTER = load_master(next(p for p in masters() if p.stem == SLUG))
REFERENCE = [MASTER.shared, *(q.reference for q in MASTER.questions if q.reference)]
APART = Path(sys.prefix) / "apart"


def notebook(cells):
    found = [{"cell_type": "code", "source": source} for source in cells]
    return json.dumps({"cells": found, "nbformat": 4, "metadata": {}})


@pytest.fixture
def environment():
    assert (APART / "distributed").is_dir(), "`make test` installs Dask apart"
    path = os.pathsep.join([str(APART), str(ROOT)])
    return os.environ | {"PYTHONPATH": path, "DASK_DISTRIBUTED__DASHBOARD__LINK": ""}


@pytest.fixture
def scheduler(environment):
    """A scheduler on this machine, and its address."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    command += ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True
    )
    address = ""
    while not address:
        line = process.stderr.readline()
        assert line, "the scheduler ended"
        found = re.search(r"Scheduler at:\s+(tcp://\S+)", line)
        address = found[1] if found else ""
    yield address
    process.kill()
    process.wait()


@pytest.fixture
def worker(environment, scheduler, tmp_path):
    """Start a worker of one process; kill them all at the end."""
    started = []

    def start():
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
        command += ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        command += ["--local-directory", str(tmp_path / "dask")]
        started.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def handed_in(tmp_path):
    place = tmp_path / "handed-in"
    place.mkdir()
    for n in range(10):
        slow = f"import time\ntime.sleep(0.4)  # {n}"
        cells = REFERENCE[: 2 + n % (len(REFERENCE) - 1)]
        (place / f"{n:02}.ipynb").write_text(notebook([slow, *cells]))
    (place / "cut.ipynb").write_text(notebook(REFERENCE)[:200])
    return place


def grade(handed_in, out, *arguments):
    command = [sys.executable, "-m", "course_utils", "assignment", "grade"]
    return [*command, str(handed_in), "--chapter", SLUG, "--out", str(out), *arguments]


def without_time(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["submission"] for line in lines}) == len(lines)
    return {line["submission"]: line | {"seconds": 0} for line in lines}


def test_results_are_those_of_one_machine_also_after_kill(
    environment, scheduler, worker, handed_in, tmp_path
):
    first, _ = worker(), worker()
    out = tmp_path / "cluster"
    command = grade(handed_in, out, "--cluster", scheduler)
    runner = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    results = out / batch.RESULTS
    end = time.monotonic() + 120
    while not results.exists() or len(results.read_text().splitlines()) < 3:
        assert runner.poll() is None, runner.stderr.read().decode()
        assert time.monotonic() < end
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert len(results.read_text().splitlines()) < 11
    _, said = runner.communicate(timeout=200)
    assert runner.returncode == 0, said.decode()
    subprocess.run(grade(handed_in, tmp_path / "here"), check=True, capture_output=True)
    here = without_time(tmp_path / "here" / batch.RESULTS)
    assert len(here) == 11
    assert without_time(results) == here
    assert len({sum(line["points"].values()) for line in here.values()}) > 1


def test_a_scheduler_without_workers_is_said(environment, scheduler, handed_in):
    command = grade(handed_in, handed_in.parent / "out", "--cluster", scheduler)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "has no workers; start some" in done.stderr


def test_without_dask_it_says_what_to_install(handed_in, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'dask\[distributed\]'"):
        batch.grade_folder(
            handed_in, plan.whole(SLUG), tmp_path / "out", cluster="tcp://127.0.0.1:1"
        )


def test_an_address_where_nobody_answers(apart, monkeypatch):
    apart("distributed")
    apart("dask.distributed")
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with (
        pytest.raises(ValueError, match="no scheduler answers"),
        cluster.executor_of("tcp://127.0.0.1:9"),
    ):
        pass
