"""The sandbox under attack: each submission earns what its code earns, no more.

Without bubblewrap these tests fail: a grader that cannot isolate must not look tested.
"""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hostile import ATTACKS, HONEST
from test_grading_gate import GOOD, SHARED

from course_utils.grading.gate import prepare
from course_utils.grading.judge import Assignment, judge
from course_utils.grading.sandbox import launch, wire
from course_utils.grading.sandbox.launch import NotIsolated, Sandbox
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.sandbox.seccomp import DENIED, MACHINES, program

LIMITS = Limits(answer=3.0, wall=20.0, cpu=10, together=512 * 2**20)
TASK = Assignment("toy", (prepare(GOOD, SHARED),), {GOOD.heading: 1.0})


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox("numpy", LIMITS) as running:
        yield running


def students():
    """Return the state and command of each process of a user of the sandbox."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and 40001 <= place.stat().st_uid < 60001:
                found.append((place / "status").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_earns_what_its_code_earns(name, sandbox):
    source, earned = ATTACKS[name]
    start = time.monotonic()
    # The attack is the first cell; an honest answer that follows it is a second one.
    cells = [source] if HONEST not in source else [source.replace(HONEST, ""), HONEST]
    outcomes = judge(cells, TASK, sandbox)
    assert sum(not o.message for o in outcomes) == earned, outcomes
    # No more than the session's time, and the answer that was going on.
    assert time.monotonic() - start < LIMITS.wall + 2 * LIMITS.answer
    assert judge([HONEST], TASK, sandbox)[0].message == ""


def test_nothing_is_left_outside(sandbox):
    for name in ("leaves processes", "pickles", "writes to the environment"):
        judge([ATTACKS[name][0]], TASK, sandbox)
    deadline = time.monotonic() + 10
    while students() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert students() == []
    marks = ("/tmp/fewer-bits-bomb", "/dev/shm/fewer-bits-mark", "/fewer-bits-mark")
    assert [mark for mark in marks if Path(mark).exists()] == []


def test_a_student_is_alone_and_is_not_root(sandbox):
    source = """
import os
def look():
    pids = [int(n) for n in os.listdir("/proc") if n.isdigit()]
    status = dict(l.split(":", 1) for l in open("/proc/self/status"))
    return os.getuid(), pids, status["CapEff"].strip(), status["Seccomp"].strip()
"""
    with sandbox.open() as opened:
        opened.run(source)
        user, pids, rights, filtered = opened.call("look")
    assert pids == [1]
    assert int(rights, 16) == 0
    assert filtered == "2"
    assert (user >= launch.FIRST_USER) or os.geteuid() != 0


def test_values_and_functions_cross_both_ways(sandbox):
    source = (
        "def apply(f, x, *, twice=False):\n    return (f(f(x)) if twice else f(x)), x"
    )
    values = [np.arange(6.0).reshape(2, 3), np.float32(1.5), 3, b"\x00\xff", True]
    with sandbox.open() as opened:
        opened.run(source)
        for value in values:
            found, same = opened.call("apply", lambda v: v, value)
            assert type(found) is type(value)
            assert np.array_equal(found, value)
            assert np.array_equal(same, value)
        assert opened.call("apply", lambda v: v + 1, 1, twice=True)[0] == 3


def test_a_changed_argument_is_seen_and_given_back(sandbox):
    mine, inner = np.arange(3.0), [np.ones(2), 5]
    with sandbox.open() as opened:
        opened.run("def f(x, y):\n    x[0] = 9\n    y[0][1] = 7\n    y[1] = 6")
        opened.call("f", mine, inner)
        assert opened.changed
        assert mine[0] == 0
        opened.puts_back = True
        opened.call("f", mine, inner)
        assert mine.tolist() == [9, 1, 2]
        assert (inner[0].tolist(), inner[1]) == ([1, 7], 6)
        opened.undo()
    assert mine.tolist() == [0, 1, 2]
    assert (inner[0].tolist(), inner[1]) == ([1, 1], 5)


def test_an_error_keeps_its_type_and_its_line(sandbox):
    with sandbox.open() as opened:
        opened.run("def f(x):\n    raise ValueError('no: ' + x)")
        with pytest.raises(ValueError, match="no: 7") as raised:
            opened.call("f", "7")
    assert raised.value.student_line == "raise ValueError('no: ' + x)"


def test_torch_crosses_and_draws_the_graders_numbers():
    import torch  # noqa: PLC0415 - seconds

    with Sandbox("torch") as running, running.open() as opened:
        opened.run("import torch\ndef f(x): return x.to(torch.bfloat16), torch.rand(3)")
        torch.manual_seed(5)
        half, drawn = opened.call("f", torch.tensor([[1.0, 2.5]]))
        assert half.dtype == torch.bfloat16
        assert half.tolist() == [[1.0, 2.5]]
        assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize(
    "message",
    [
        {"array": ["|O", [1], "AAAAAAAAAAA="]},
        {"array": ["<f4", [-1, 5], "AAAA"]},
        {"array": ["<f8", [2**62], ""]},
        {"tensor": ["load", [1], "AAAA"]},
        {"callable": 0},
        {"record": ["course_utils.formats.affine", "QuantSpec", {"bits": 4}]},
        {"dtype": "nn"},
        {"list": 5},
        [1],
        {},
    ],
)
def test_a_forged_message_is_refused(message):
    with pytest.raises(wire.WireError):
        wire.decode(message)


def test_without_bubblewrap_nothing_is_run(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotIsolated, match="install it"):
        Sandbox("numpy")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_jump_of_the_filter_lands_inside(machine):
    lines = program(machine)
    for i, (_, yes, no, _) in enumerate(lines):
        assert i + 1 + max(yes, no) < len(lines) or (yes, no) == (0, 0)
    column = MACHINES[machine][0]
    numbers = [n[column] for n in DENIED.values()]
    assert len(set(numbers)) == len(numbers)
