import pytest
import torch

from course_utils.measure.llama_speed import time_llama


class File:
    """Stands for an open file: counts what it reads and takes its time."""

    def __init__(self):
        self.read_lengths, self.resets = [], 0

    def reset(self):
        self.resets += 1

    def read(self, tokens):
        self.read_lengths.append(len(tokens))
        logits = torch.zeros(10)
        logits[(int(tokens[-1]) + 1) % 10] = 1.0
        return logits


def test_runs_do_the_same_work_as_a_torch_model_does():
    file = File()
    runs = list(time_llama(file, torch.arange(5), n_new=3, repeats=2, warm_up=1))
    assert [(r.n_prompt, r.n_new) for r in runs] == [(5, 3)] * 2
    assert file.read_lengths == [5, 1, 1, 1] * 3
    assert file.resets == 3
    for run in runs:
        assert run.prefill_rate == 5 / run.prefill_seconds
        assert run.decode_rate == 3 / run.decode_seconds


@pytest.mark.parametrize(
    ("prompt", "n_new", "repeats"), [([], 1, 1), ([1], 0, 1), ([1], 1, 0)]
)
def test_empty_work_is_refused(prompt, n_new, repeats):
    ids = torch.tensor(prompt, dtype=torch.long)
    with pytest.raises(ValueError, match="repeats >= 1"):
        list(time_llama(File(), ids, n_new=n_new, repeats=repeats))
