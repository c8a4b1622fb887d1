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
                cells = [master.shared, answer.source]
                outcomes = judge(cells, one, sandbox)
                heard = " ".join(" ".join(o.message.split()) for o in outcomes)
                want = trial.failures(answer.source, trial.visible + trial.further)
                # How many checks see that an argument has changed depends on what
                # they share; the verdict and the hint do not.
                assert bool(heard.strip()) == bool(want), (answer.name, outcomes)
                assert not want or answer.hint in heard, (answer.name, outcomes)
