"""The driver: what it feeds each layer, what it leaves behind, and going on."""

from contextlib import ExitStack
from functools import partial

import pytest
import torch
from small_models import small, tokens

from course_utils.formats.affine import QuantSpec
from course_utils.methods import gptq, rtn
from course_utils.methods.statistics import LayerStats
from course_utils.models import calibration, layers
from course_utils.models.quantize_block import split_rows
from course_utils.models.quantize_model import quantize_model
from course_utils.models.walk import walk

SPEC = QuantSpec(4, group_size=16)
GPTQ = partial(gptq.quantize, spec=SPEC, lazy_block=16)


class Stopped(Exception):
    """What a kill looks like from inside."""


def silent(line):
    del line


def quantized(model, quantize=GPTQ, **options):
    return quantize_model(model, tokens(), quantize, progress=silent, **options)


def same(a, b):
    parts = ("q", "scale", "zero_point")
    return a.keys() == b.keys() and all(
        torch.equal(getattr(a[name], part), getattr(b[name], part))
        for name in a
        for part in parts
    )


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2", "phi3"])
def test_every_linear_layer_is_quantized_once(kind):
    model, seen = small(kind), []

    def quantize(w, stats):
        seen.append((w.shape, stats.n))
        return rtn.quantize(w, stats, spec=SPEC)

    found = quantized(model, quantize)
    weights = {
        name: layers.weight_of(m) for name, m in layers.linear_layers(model).items()
    }
    assert list(found) == list(weights)
    assert seen == [(w.shape, 96) for w in weights.values()]
    for name, w in weights.items():
        assert torch.equal(found[name].q, rtn.quantize(w, spec=SPEC).q)


def test_each_layer_reads_what_the_quantized_ones_give():
    model, seen = small(), []

    def quantize(w, stats):
        seen.append(stats.second_moment)
        return rtn.quantize(w, stats, spec=QuantSpec(2))

    found = quantized(model, quantize)
    weights = {name: t.dequantize() for name, t in found.items()}
    first = "self_attn.q_proj"
    with layers.swapped(model, weights):
        # A walk over the finished model does the same operations.
        for block in walk(model, tokens()):
            expected = block.statistics([first])[first]
            assert torch.equal(seen[7 * block.index], expected.second_moment)
    plain = [b.statistics([first])[first] for b in walk(model, tokens())]
    assert torch.equal(seen[0], plain[0].second_moment)
    assert not torch.allclose(seen[7], plain[1].second_moment)


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2"])
def test_one_pass_quantizes_part_after_part(kind):
    """Beside it: statistics anew for each matrix, once those before it are changed."""
    model, ids = small(kind), tokens()
    with ExitStack() as changed:
        expected = {}
        for block in walk(model, ids, batch=len(ids)):
            for name, module in block.linear.items():
                stats = block.statistics([name])[name]
                t = GPTQ(layers.weight_of(module).detach(), stats)
                expected[block.name(name)] = t
                weights = {block.name(name): t.dequantize()}
                changed.enter_context(layers.swapped(model, weights))
    found = quantized(model, one_pass=True)
    assert list(found) == list(expected)
    # k_proj reads what q_proj reads: the same statistics, whatever came before.
    assert same(found, expected)
    assert same(quantized(model, one_pass=True, stacked=True), expected)
    assert not same(quantized(model), expected)


def test_one_pass_restores_the_model_and_removes_its_hooks():
    model = small()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    for bits in (4, 5):
        spec = QuantSpec(4, group_size=16 if bits == 4 else 5)
        try:
            quantized(model, partial(GPTQ, spec=spec), one_pass=True)
        except ValueError as error:
            assert bits == 5 and "group_size 5" in str(error)
        assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())
        assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_has_its_own_weights_again(fails):
    model = small()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    calls = []

    def quantize(w, stats):
        calls.append(w)
        if fails and len(calls) == 10:
            raise Stopped
        return gptq.quantize(w, stats, spec=SPEC)

    if fails:
        with pytest.raises(Stopped):
            quantized(model, quantize)
    else:
        quantized(model, quantize)
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())


def test_stacked_layers_get_the_same_codes():
    model, calls = small(), []

    def quantize(w, stats):
        calls.append(len(w))
        return GPTQ(w, stats)

    one_by_one = quantized(model)
    stacked = quantized(model, quantize, stacked=True)
    assert same(one_by_one, stacked)
    assert calls == [32 + 16 + 16, 32, 128, 32] * 3
    per_tensor = partial(rtn.quantize, spec=QuantSpec(4, group_size=0))
    with pytest.raises(
        ValueError, match="share one scale cannot be quantized together"
    ):
        quantized(model, per_tensor, stacked=True)
    assert len(quantized(model, per_tensor)) == 21


def test_only_the_named_layers_are_quantized():
    model = small()
    names = ["model.layers.2.mlp.up_proj", "model.layers.0.self_attn.o_proj"]
    assert set(quantized(model, names=names)) == set(names)
    with pytest.raises(ValueError, match="no linear layer 'lm_head'"):
        quantized(model, names=["lm_head"])
    with pytest.raises(ValueError, match="names is empty"):
        quantized(model, names=[])


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("killed_after", [1, 8, 20])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    tmp_path, killed_after, one_pass
):
    model, calls = small(), []
    options = {"folder": tmp_path, "one_pass": one_pass}
    whole = quantized(model, one_pass=one_pass)

    def dies(w, stats):
        calls.append(w)
        if len(calls) > killed_after:
            raise Stopped
        return GPTQ(w, stats)

    # The key of a folder names the method, so both runs use one that looks alike.
    steps = [dies, GPTQ]

    def quantize(w, stats):
        return steps[0](w, stats)

    with pytest.raises(Stopped):
        quantized(model, quantize, **options)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"layer-{i:03d}.safetensors" for i in range(killed_after // 7)]
    steps.pop(0)
    lines = []
    found = quantize_model(model, tokens(), quantize, progress=lines.append, **options)
    assert same(found, whole)
    assert len(lines) == 3
    # All is there now: the method is not called again.
    steps[0] = dies
    assert same(quantized(model, quantize, **options), whole)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, None])
def test_a_damaged_layer_is_made_again(tmp_path, damage):
    model = small()
    whole = quantized(model, folder=tmp_path)
    path = tmp_path / "layer-001.safetensors"
    path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    assert same(quantized(model, folder=tmp_path), whole)
    assert len(path.read_bytes()) > 500


@pytest.mark.parametrize("stacked", [False, True])
def test_what_is_kept_is_complete(tmp_path, stacked):
    model = small()
    act_order = partial(GPTQ, act_order=True)
    first = quantized(model, act_order, folder=tmp_path, stacked=stacked)
    again = quantized(model, act_order, folder=tmp_path, stacked=stacked)
    assert same(first, again)
    for name, t in first.items():
        assert again[name].spec == t.spec
        assert torch.equal(again[name].group_of, t.group_of)
        assert again[name].q.dtype == t.q.dtype


def test_a_folder_of_another_run_is_refused(tmp_path):
    model = small()
    quantized(model, folder=tmp_path)
    words = "holds layers of another run"
    with pytest.raises(ValueError, match=words):
        quantized(model, partial(GPTQ, percdamp=0.1), folder=tmp_path)
    with pytest.raises(ValueError, match=words):
        quantized(model, partial(rtn.quantize, spec=SPEC), folder=tmp_path)
    with pytest.raises(ValueError, match=words):
        quantize_model(model, tokens(seed=1), GPTQ, folder=tmp_path, progress=silent)
    with pytest.raises(ValueError, match=words):
        quantized(model, folder=tmp_path, one_pass=True)
    model.model.norm.weight.data *= 2
    with pytest.raises(ValueError, match=words):
        quantized(model, folder=tmp_path)


def test_bad_input_is_one_sentence_and_changes_nothing(tmp_path):
    model = small()
    with pytest.raises(ValueError, match="got a list"):
        quantize_model(model, ["...", ...], GPTQ, folder=tmp_path, progress=silent)
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj: .*NaN or infinity"):
        quantized(model, partial(rtn.quantize, spec=SPEC))
    bad = partial(GPTQ, spec=QuantSpec(4, group_size=5))
    with pytest.raises(ValueError, match=r"q_proj: group_size 5 does not divide"):
        quantized(model, bad, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_short_sentence_is_quantized_only_with_damping():
    model, short = small(), tokens(1, 5)
    damped = quantize_model(model, short, GPTQ, progress=silent)
    assert len(damped) == 21
    bare = partial(GPTQ, percdamp=0.0)
    with pytest.raises(
        ValueError, match=r"q_proj: The Hessian of these 32 inputs is s"
    ):
        quantize_model(model, short, bare, progress=silent)


def test_split_rows():
    t = rtn.quantize(torch.randn(5, 16), spec=SPEC)
    top, bottom = split_rows(t, [2, 3])
    both = torch.cat([top.dequantize(), bottom.dequantize()])
    assert torch.equal(both, t.dequantize())


class Words:
    """A tokenizer of one id per letter."""

    eos_token_id = 1

    def __call__(self, text, **options):
        del options
        return {"input_ids": [ord(letter) for letter in text]}


def test_calibration_windows():
    found = calibration.windows(["abc", "de"], Words(), seq_len=3)
    assert found.tolist() == [[97, 98, 99], [1, 100, 101]]
    one = calibration.windows(["abc", "de"], Words(), seq_len=2, n_samples=1)
    assert one.tolist() == [[97, 98]]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "at least one"),
        ("one text", "Give a list"),
        (["a", ...], r"text 2 is the placeholder \.\.\., not text"),
        ([None], "text 1 is a NoneType"),
        (["short"], "hold 6 tokens and 1 windows of 8 need 8"),
        ([""], "hold 1 tokens"),
    ],
)
def test_texts_that_are_none_are_refused(texts, words):
    with pytest.raises(ValueError, match=words):
        calibration.windows(texts, Words(), seq_len=8)


def test_statistics_are_not_shared_between_layers_with_other_inputs():
    found = []

    def quantize(w, stats):
        found.append(stats)
        return rtn.quantize(w, stats, spec=SPEC)

    quantized(small(), quantize)
    assert all(isinstance(stats, LayerStats) for stats in found)
    assert len({id(stats) for stats in found[:7]}) == 4
