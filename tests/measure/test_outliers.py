"""The measurement `outliers`: its sweep, its treatments, its keys and its record."""

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.measure import outlier_treatments as treat
from course_utils.measure import outliers, perplexity, records
from course_utils.measure.outlier_sweep import (
    Peaks,
    peaks_of,
    stored_sweep,
    sweep,
    sweep_values,
)
from course_utils.models import activations


@pytest.fixture(scope="module")
def small():
    """A Llama of two layers with random weights."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape, **heads)).eval()


@pytest.fixture
def tokens():
    return torch.arange(20)


def test_peaks_with_and_without_the_first_token():
    x = torch.tensor([[[1.0, -9.0], [3.0, 2.0]], [[-4.0, 0.0], [0.5, -6.0]]])
    found = peaks_of(x)
    assert found.amax.tolist() == [4.0, 9.0]
    assert found.rest.tolist() == [3.0, 6.0]
    assert found.over(9.0) == 1 and found.over(9.1) == 0
    with pytest.raises(ValueError, match="2 tokens or more"):
        peaks_of(x[:, :1])


def test_sweep_sees_what_the_layers_read(small, tokens):
    found = sweep(small, tokens, context=10)
    assert set(found) == {(s, i) for s in activations.SITES for i in range(2)}
    with torch.no_grad():
        hidden = small(tokens.reshape(2, 10), output_hidden_states=True).hidden_states
    stream = hidden[1].abs()  # behind layer 0; the last is behind a norm as well
    # Windows alone and as a batch add in another order: a few float32 roundings.
    near = {"rtol": 1e-5, "atol": 1e-6}
    assert torch.allclose(found["stream", 0].amax, stream.amax(dim=(0, 1)), **near)
    assert torch.allclose(
        found["stream", 0].rest, stream[:, 1:].amax(dim=(0, 1)), **near
    )
    assert len(found["down", 1].amax) == 24


def test_hooks_are_gone_afterwards(small, tokens):
    def count():
        return sum(
            len(m._forward_hooks) + len(m._forward_pre_hooks) for m in small.modules()
        )

    before = count()  # transformers has its own
    sweep(small, tokens, context=10)
    with activations.changed_inputs(small, treat.per_token):
        pass
    with activations.changed_stream(small, treat.per_token):
        pass
    assert count() == before


def test_changes_reach_every_layer(small, tokens):
    seen = []

    def change(x):
        seen.append(tuple(x.shape))
        return x

    with torch.no_grad():
        before = small(tokens[None]).logits
        with activations.changed_inputs(small, change):
            same = small(tokens[None]).logits
        assert len(seen) == 14  # seven matrices in each of two layers
        with activations.changed_stream(small, lambda x: 0 * x):
            nothing = small(tokens[None]).logits
    assert torch.equal(before, same)
    assert torch.equal(nothing, torch.zeros_like(nothing))


X = torch.tensor([[[127.0, 0.4, -0.6], [1.0, -8.0, 0.3]]])


def test_rounding_per_tensor_and_per_token():
    tensor = [[[127.0, 0.0, -1.0], [1.0, -8.0, 0.0]]]
    assert treat.per_tensor(X).tolist() == tensor
    # Steps of 1 and of 8 / 127.
    step = 8 / 127
    found = treat.per_token(X)
    assert found[0, 0].tolist() == tensor[0][0]
    wanted = torch.tensor([16 * step, -127 * step, 5 * step])
    assert torch.allclose(found[0, 1], wanted, rtol=1e-6)
    assert treat.per_token(torch.zeros(1, 2, 3)).tolist() == [[[0.0] * 3] * 2]


def test_apart_clipped_and_removed():
    kept = treat.apart(treat.per_tensor, 6.0)(X)
    assert torch.equal(kept[..., :2], X[..., :2])  # both channels reach 6
    # The rest has its own grid: 0.6 is now its largest value but one, 1.0.
    assert kept[0, 0, 2].item() == pytest.approx(-76 / 127, rel=1e-6)
    clipped = treat.clipped(treat.untouched, 6.0)(X)
    assert clipped.abs().max() == 6.0 and clipped[0, 1, 1] == -6.0
    removed = treat.removed(treat.untouched, 6.0)(X)
    assert removed[..., :2].abs().max() == 0 and torch.equal(removed[..., 2], X[..., 2])
    zeroed = treat.without_channel(1)(X)
    assert zeroed[..., 1].abs().max() == 0 and torch.equal(zeroed[..., 0], X[..., 0])
    assert treat.in_bfloat16(torch.tensor([1.001])).tolist() == [1.0]
    assert X[0, 0, 0] == 127.0  # no treatment changes its argument


def test_weights_in_int8_come_back(small):
    before = [p.clone() for p in small.parameters()]
    name = "model.layers.0.mlp.up_proj"
    w = small.get_submodule(name).weight.detach().clone()
    with treat.weights_in_int8(small):
        inside = small.get_submodule(name).weight.detach()
        step = w.abs().amax(dim=1, keepdim=True) / 127
        assert (inside != w).any()
        # Half a step, and the roundings of a quotient of at most 127.
        assert ((inside - w).abs() <= step * (0.5 + 4 * 127 * 2.0**-24)).all()
    for old, new in zip(before, small.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_stored_sweep_is_the_sweep():
    peaks = Peaks(
        torch.tensor([5.0, 700.0, 1.0, 20.0, 3.0]),
        torch.tensor([5.0, 7.0, 1.0, 4.0, 3.0]),
    )
    values = sweep_values({("stream", 3): peaks, ("down", 0): peaks}, 6.0)
    assert values["stream_03_c1"] == 700.0 and values["stream_03_rest_c1"] == 7.0
    assert values["down_00_over"] == 2
    stored = stored_sweep(values | {"int8_token_kl": 0.1, "stream_channel": 1})
    assert set(stored) == {"stream", "down"}
    assert stored["down"] == [
        {
            "channels": [[1, 700.0], [3, 20.0], [0, 5.0]],
            "rest": [[1, 7.0], [0, 5.0]],
            "median": 5.0,
            "rest_median": 4.0,
            "over": 2,
        }
    ]


def test_every_step_has_a_name_of_its_own():
    names = [step.name for step in outliers.Measurement().steps()]
    assert len(set(names)) == len(names)
    assert set(treat.STREAM_TREATMENTS) < set(names)


@pytest.mark.parametrize(
    "name", ["weights", "int8_token", "float_clipped", "llm_int8_6", "stream_zeroed"]
)
def test_the_baseline_is_computed_on_the_model_as_it_is(small, name):
    """Whichever step comes first: a resumed run starts in the middle."""
    measurement = outliers.Measurement()
    measurement.loaded = SimpleNamespace(model=small)
    measurement.tokens = torch.arange(200) % 50
    measurement._stream = lambda: {"channel": 3, "middle": 5, "limit": 1.0}
    steps = {step.name: step for step in measurement.steps()}
    found = steps[name].run()
    wanted = perplexity.perplexity(small, measurement.tokens, context=512)
    # The same model read twice, in the same windows.
    assert found["baseline"] == pytest.approx(wanted, rel=1e-6)
    if name != "float_clipped":  # no input of this model reaches the threshold
        assert found["kl"] > 0


@pytest.mark.parametrize(
    ("model_type", "first"), [("gpt2", "mlp.c_fc"), ("opt", "fc1")]
)
def test_readers_of_other_families(model_type, first):
    class Config:
        pass

    Config.model_type = model_type
    found = activations.readers(Config)
    assert found["mlp"] == first and set(found) == set(activations.SITES[1:])
    Config.model_type = "bert"
    with pytest.raises(ValueError, match="No layer names"):
        activations.readers(Config)


def test_the_record_is_of_this_code_and_model():
    """The slice: the sweep of the first layers, and a text read with clipped inputs."""
    record = records.read("outliers")
    measurement = outliers.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    stored = stored_sweep({k: v["value"] for k, v in record["values"].items()})
    assert {len(layers) for layers in stored.values()} == {30}
    size = len((records.measured_dir() / "outliers.json").read_bytes())
    assert size <= 150_000
