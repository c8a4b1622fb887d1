"""Timing of generation, bytes of weights, peak of a process."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from course_utils import paths
from course_utils.measure import speed
from course_utils.measure.memory import peak_bytes, weight_bytes
from course_utils.measure.speed import Run, time_generation


def test_a_run_reads_the_prompt_and_writes_one_token_at_a_time(tiny, tokens):
    shapes = []

    def record(module, arguments, kwargs):
        past = kwargs.get("past_key_values")
        seen = past.get_seq_length() if past is not None else 0
        shapes.append((kwargs["input_ids"].shape[1], seen))

    hook = tiny.register_forward_pre_hook(record, with_kwargs=True)
    runs = list(time_generation(tiny, tokens[:20], n_new=3, repeats=2, warm_up=1))
    hook.remove()
    assert shapes == [(20, 0), (1, 20), (1, 21), (1, 22)] * 3
    assert [(r.n_prompt, r.n_new) for r in runs] == [(20, 3)] * 2  # warm-up not counted
    assert all(r.prefill_seconds > 0 and r.decode_seconds > 0 for r in runs)


def test_it_writes_what_greedy_generation_writes(tiny, tokens):
    written = []
    hook = tiny.register_forward_pre_hook(
        lambda *call: written.append(call[2]["input_ids"][0, -1].item()),
        with_kwargs=True,
    )
    list(time_generation(tiny, tokens[:20], n_new=5, repeats=1, warm_up=0))
    hook.remove()
    expected = tiny.generate(
        tokens[None, :20],
        attention_mask=torch.ones(1, 20, dtype=torch.long),
        max_new_tokens=5,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert written[1:] == expected[0, 20:].tolist()


def test_rates_are_tokens_by_seconds(tiny, tokens, monkeypatch):
    clock = iter([0.0, 2.0, 7.0])
    monkeypatch.setattr(speed, "_now", lambda _: next(clock))
    (run,) = time_generation(tiny, tokens[:20], n_new=10, repeats=1, warm_up=0)
    assert run == Run(20, 10, prefill_seconds=2.0, decode_seconds=5.0)
    assert (run.prefill_rate, run.decode_rate) == (10.0, 2.0)


def test_nothing_to_time_is_refused(tiny, tokens):
    with pytest.raises(ValueError, match="n_new=0"):
        list(time_generation(tiny, tokens[:2], n_new=0, repeats=1))


def test_shared_weights_count_once(tiny):
    parameters = {id(p): p.numel() * 4 for p in tiny.parameters()}
    assert tiny.lm_head.weight is tiny.model.embed_tokens.weight
    assert weight_bytes(tiny) == sum(parameters.values())
    pair = nn.ModuleList([nn.Linear(4, 8, bias=False) for _ in range(2)])
    assert weight_bytes(pair) == 2 * 4 * 8 * 4
    pair[1].weight = nn.Parameter(pair[0].weight.detach())  # one storage, two objects
    assert weight_bytes(pair) == 4 * 8 * 4


def test_peak_sees_what_was_freed_and_not_the_parents_memory():
    ballast = torch.ones(100_000_000)  # 400 MB in this process
    code = (
        "from course_utils.measure.memory import peak_bytes\n"
        "print(peak_bytes()); x = bytearray(150_000_000); x[::4096] = b'1' * "
        "len(x[::4096]); del x; print(peak_bytes())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, out.stdout.split())
    assert peak_bytes() > ballast.numel() * 4
    # Importing torch takes more than 20 MB everywhere.
    assert before > 20e6
    assert after - before > 100e6
    own = subprocess.run(
        [sys.executable, "-c", code.replace("bytearray(150_000_000)", "bytearray(9)")],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # The parent holds 400 MB beyond torch; a child that inherited its peak would too.
    assert int(own.stdout.split()[1]) < peak_bytes() - 300e6
