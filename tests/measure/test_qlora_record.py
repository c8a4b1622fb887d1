"""The measurement `qlora`: its text, its training in parts, its ways to merge."""

import copy
from types import SimpleNamespace

import pytest
import torch

from course_utils.measure import qlora, qlora_training, records, rounding_text
from course_utils.methods import qlora as method
from course_utils.models import layers
from course_utils.models import qlora as adapting

VOCAB = 97


def small_tokens(n_windows, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (n_windows, length), generator=generator)


class Words:
    """A tokenizer of bytes."""

    def __call__(self, text, **_):
        return {"input_ids": list(text.encode())}


def test_a_sentence_is_right():
    assert rounding_text.sentence(94, 5) == (
        "Round 0.94 to a grid of step 0.05. 0.94 / 0.05 = 18.80, so the code is 19 and "
        "the weight becomes 0.95.\n"
    )
    assert "the code is 2 and" in rounding_text.sentence(15, 10)  # a tie goes up


def test_test_sentences_are_not_trained_on():
    def numbers(**options):
        ids = rounding_text.rounding_tokens(Words(), 20_000, **options)
        lines = bytes(ids.tolist()).decode().splitlines()[:-1]
        return {line.split()[1] for line in lines}

    train, test = numbers(seed=1), numbers(seed=2, held_out=True)
    assert train
    assert test
    assert not train & test


def test_as_many_tokens_as_asked_for_and_the_same_each_time():
    first, again, other = (
        rounding_text.rounding_tokens(Words(), 5000, seed=s) for s in (1, 1, 2)
    )
    assert len(first) == 5000
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match="at least 1 token"):
        rounding_text.rounding_tokens(Words(), 0, seed=1)


@pytest.fixture
def training(monkeypatch, tmp_path, tiny):
    monkeypatch.setattr(qlora_training, "folder", lambda: tmp_path / "qlora-0")
    monkeypatch.setattr(qlora_training, "RANK", 2)
    monkeypatch.setattr(qlora_training, "PART_STEPS", 2)
    made = qlora_training.Training(copy.deepcopy(tiny), None)
    made.batches = small_tokens(8, 16).reshape(4, 2, 16)
    return made


def adapters_of(state):
    return torch.cat([t.flatten() for pair in state["adapters"].values() for t in pair])


def test_parts_join_to_one_training(training, monkeypatch):
    two = training.part("adapter", 1)
    monkeypatch.setattr(qlora_training, "PART_STEPS", 4)
    one = training._train("adapter", 0)
    assert torch.equal(adapters_of(one), adapters_of(two))
    assert one["losses"][2:] == two["losses"]


def test_a_part_on_disk_is_not_trained_again(training, monkeypatch):
    before = {n: p.clone() for n, p in training.model.named_parameters()}
    first = training.part("lora", 0)
    monkeypatch.setattr(training, "_train", None)
    again = training.part("lora", 0)
    assert torch.equal(adapters_of(first), adapters_of(again))
    for name, parameter in training.model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_what_other_code_kept_is_removed(training, tmp_path):
    (tmp_path / "qlora-1").mkdir()
    training.part("adapter", 0)
    assert [p.name for p in tmp_path.iterdir()] == ["qlora-0"]


def test_size_and_changed_codes(tiny):
    model = copy.deepcopy(tiny)
    weights = {
        n: layers.weight_of(m).detach() for n, m in layers.linear_layers(model).items()
    }
    with adapting.adapted(model, r=2, alpha=2) as found:
        assert qlora_training.relative_size(found, weights) == 0
        assert qlora_training.changed(found, weights) == 0
        with torch.no_grad():
            for a in found.values():
                a.B.normal_()
    assert qlora_training.changed(found, weights) > 0.1
    expected = sum(a.delta().square().sum() for a in found.values())
    expected /= sum(w.square().sum() for w in weights.values())
    size = qlora_training.relative_size(found, weights)
    assert size == pytest.approx(expected.sqrt().item(), rel=1e-5)


@pytest.fixture
def measurement(training, monkeypatch):
    made = qlora.Measurement()
    made.loaded = SimpleNamespace(model=training.model, tokenizer=None)
    made.training = training
    monkeypatch.setattr(
        qlora.texts, "calibration_tokens", lambda: small_tokens(4, 16, seed=3)
    )
    monkeypatch.setattr(qlora, "GPTQ", qlora.QuantSpec(4, group_size=32))
    return made


def test_each_way_to_merge_is_what_its_name_says(measurement):
    found = measurement.training.adapters("adapter")
    ways = {name: measurement._merge(name) for name in qlora.MERGES}
    for name, w in measurement.weights.items():
        base, change = method.rebuilt(method.freeze(w)), found[name].delta()
        assert torch.equal(ways["rebuilt"][name], base + change)
        assert torch.equal(ways["merged"][name], w + change)
        for after, before in (("requantized", "rebuilt"), ("merged_nf4", "merged")):
            expected = method.rebuilt(method.freeze(ways[before][name]))
            assert torch.equal(ways[after][name], expected)
        assert ways["merged_gptq"][name].unique().numel() < w.numel() / 2
        assert not torch.equal(ways["merged_gptq"][name], ways["merged_nf4"][name])


def test_values_name_every_way_and_pair(measurement):
    def one(shift):
        return {
            text: {
                "log_likelihoods": [-1.0 - shift] * 200,
                "perplexity": torch.tensor(1.0 + shift).exp().item(),
                "kl": shift,
                "top1": 1.0,
                "n": 201,
            }
            for text in ("task", "text")
        }

    names = ("float32", "nf4", *qlora.KINDS, *qlora.MERGES)
    results = {name: one(0.1 * i) for i, name in enumerate(names)}
    for kind in qlora.KINDS:
        for part in range(qlora.PARTS):
            results[f"train_{kind}_{part}"] = [3.0 - part, 2.5 - part]
    results["changes"] = {"relative": 0.1, "requantized": 0.0, "merged_nf4": 0.2}
    values = measurement.values(results)
    assert values["nf4_task_ratio"]["value"] == pytest.approx(torch.e**0.1, rel=1e-5)
    # adapter is third and nf4 second, 0.1 nats apart.
    assert values["adapter_over_nf4"]["value"] == pytest.approx(torch.e**0.1, rel=1e-5)
    assert values["adapter_loss_first"]["value"] == 3.0
    assert values["lora_loss_last"]["value"] == 2.5 - (qlora.PARTS - 1)
    assert set(qlora.PAIRS) <= set(values)
    steps = [step.name for step in measurement.steps()]
    assert set(names) | {"changes"} <= set(steps)
    assert len(set(steps)) == len(steps)


def test_the_record_is_of_this_code_and_model():
    """The slice: two steps on the adapters of one layer, taken again."""
    record = records.read("qlora")
    measurement = qlora.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
