"""Honest work in every chapter: the sandbox gives what the gate gives."""

import pytest

from course_utils.grading.judge import assignment, judge, score
from course_utils.grading.questions import load_master, masters

# Its function takes a whole model, which stays outside: a person grades it.
BY_HAND = {"2. Implement: what a model holds"}


@pytest.mark.parametrize("path", masters(), ids=lambda path: path.stem)
def test_reference_wrong_and_right_answers(path):
    master = load_master(path)
    task = assignment(master)
    with task.sandbox() as sandbox:
        whole = [t.question.reference for t in task.trials]
        reached = score(judge([master.shared, *whole], task, sandbox), task)
        short = {h for h, points in task.points.items() if reached[h] < points}
        assert short <= BY_HAND
        for trial in task.trials:
            if trial.question.heading in short:
                continue
            one = task.only({h: (h == trial.question.heading) * 1.0 for h in reached})
            for answer in (*trial.question.wrong, *trial.question.right):
                outcomes = judge([master.shared, answer.source], one, sandbox)
                heard = " ".join(" ".join(o.message.split()) for o in outcomes)
                # A right answer has no hint and should hear nothing.
                assert bool(heard.strip()) == bool(answer.hint), (answer.name, outcomes)
                assert answer.hint in heard, (answer.name, outcomes)
