"""Lessons where the model is on another device than the tensors a cell makes.

A small random model behind the real tokenizer runs through every code cell, on a
pretended GPU that refuses tensors of the processor. What a lesson says is then wrong,
and not looked at: an error of devices is.
"""

import ast

import pretended_gpu
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from course_utils import models
from course_utils.authoring import notebook
from course_utils.authoring.project import Project
from course_utils.models import embedded
from course_utils.models.card import CARDS, EMBEDDED
from course_utils.models.loading import Loaded

PROJECT = Project()
SLUGS = ("00_start-here", "01_what-is-quantization")


@pytest.fixture
def elsewhere(monkeypatch):
    """Let lessons load a model that is elsewhere, and put its device's rules up."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(embedded.prepare())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )

    def load(*_, **__):
        model = LlamaForCausalLM(config).eval()
        return Loaded(pretended_gpu.moved(model), tokenizer, CARDS[EMBEDDED])

    monkeypatch.setenv("COURSE_PROFILE", "ci")
    monkeypatch.setattr(models, "load", load, raising=False)
    with pretended_gpu.Pretence():
        yield load


def cells(slug):
    """Return the code cells of a lesson, without Colab's and the widgets'."""
    nb = notebook.read(PROJECT.notebook("notebooks", slug))
    sources = [c["source"] for c in nb["cells"] if c["cell_type"] == "code"]
    return [s for s in sources if "widgets" not in s and "google.colab" not in s]


@pytest.mark.parametrize("slug", SLUGS)
def test_no_cell_mixes_devices(elsewhere, slug):
    names = {"__name__": "lesson"}
    for number, source in enumerate(cells(slug), start=1):
        code = compile(ast.parse(source), f"<{slug}, cell {number}>", "exec")
        exec(code, names)  # an error of devices ends the test here
    # The model that the cells used is the one elsewhere: the rules were in force.
    assert names["model"].device == pretended_gpu.DEVICE


def test_the_pretence_refuses_what_a_gpu_refuses(elsewhere):
    model, tokenizer, _ = elsewhere()
    ids = torch.tensor([tokenizer("one two").input_ids])
    with pytest.raises(RuntimeError, match="same device, in embedding"):
        model(input_ids=ids)
    logits = model(input_ids=ids.to(model.device)).logits
    assert logits.device == model.device != ids.device
    with pytest.raises(TypeError, match="numpy"):
        logits.numpy()
    with pytest.raises(RuntimeError, match="same device"):
        logits + torch.ones(logits.shape)
    assert torch.is_tensor(logits.cpu() + torch.ones(logits.shape))
    assert logits[0, 0, 0].item() == logits.cpu()[0, 0, 0].item()
