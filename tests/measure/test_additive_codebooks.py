"""The measurement `additive`: fair rivals, rotations that cancel, its record."""

import pytest
import torch

from course_utils.formats.affine import QuantSpec
from course_utils.measure import (
    additive_codebooks,
    aqlm_library,
    records,
    two_bit_rotations,
)
from course_utils.measure.additive_codebooks import rival_group, share
from course_utils.methods import rtn
from course_utils.methods.statistics import Statistics


@pytest.fixture
def layer():
    random = torch.Generator().manual_seed(0)
    w = 0.1 * torch.randn(32, 64, generator=random)
    x = torch.randn(300, 64, generator=random)
    x[:, 5] *= 30
    statistics = Statistics()
    statistics.add(x)
    return w, statistics.result(), x


@pytest.mark.parametrize("cols", [576, 1536])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_rival_stores_at_least_as_much_and_no_larger_group_does(cols, bits):
    stored = bits + 0.2
    size = rival_group(cols, bits=bits, stored=stored)
    found = rtn.quantize(torch.ones(2, cols), spec=QuantSpec(bits, group_size=size))
    assert found.bits_per_weight() >= stored
    larger = [n for n in range(size + 1, cols + 1) if cols % n == 0]
    assert all(bits + (16 + bits) / n < stored for n in larger)


def test_a_rival_that_cannot_exist_is_refused():
    with pytest.raises(ValueError, match=r"No group size brings 2-bit codes to 21.000"):
        rival_group(64, bits=2, stored=21.0)


def test_share_is_1_for_zeros_and_0_for_the_weights(layer):
    w, stats, x = layer
    assert share(w, torch.zeros_like(w), stats) == 1
    assert share(w, w, stats) == 0
    w_hat = 0.9 * w
    lost = (x @ (w - w_hat).T).square().sum() / (x @ w.T).square().sum()
    # Sums of 300 float32 products on either side.
    assert share(w, w_hat, stats) == pytest.approx(lost.item(), rel=1e-4)


def test_the_own_basis_is_no_rotation_and_others_turn_back(layer, monkeypatch):
    w, stats, _ = layer
    plain = rtn.quantize(w, spec=two_bit_rotations.SPEC).dequantize()
    found = {(k, m): x for k, m, x, _ in two_bit_rotations.rounded(w, stats)}
    assert len(found) == 6
    assert torch.equal(found["own", "rtn"], plain)
    for kind in ("orthogonal", "hadamard"):
        assert not torch.equal(found[kind, "rtn"], plain)
    # With so many bits that rounding is negligible, turning back gives the weights.
    monkeypatch.setattr(two_bit_rotations, "SPEC", QuantSpec(12, group_size=64))
    for _, _, w_hat, _ in two_bit_rotations.rounded(w, stats):
        assert (w - w_hat).norm() < 0.01 * w.norm()


def test_a_spike_is_spread(layer):
    w, stats, _ = layer
    w = 0.001 * w
    w[3, 7] = 1.0
    peaks = {k: peak for k, _, _, peak in two_bit_rotations.rounded(w, stats)}
    # One spike in 2048 numbers has a peak of sqrt(2048) = 45; turned by Hadamard
    # matrices all numbers have the same size.
    assert peaks["own"] == pytest.approx(2048**0.5, rel=0.01)
    assert peaks["hadamard"] == pytest.approx(1, rel=0.1)
    assert peaks["orthogonal"] < 20


def test_the_record_is_of_this_code_and_model():
    """The slice, measured again; and what the record says of the kernel."""
    record = records.read("additive")
    measurement = additive_codebooks.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    values = record["values"]
    for key in additive_codebooks.MATRICES:
        for m in additive_codebooks.CODEBOOKS:
            assert values[f"{key}_aqlm_{m}_kernel"]["value"] == 0
            stored = [
                values[f"{key}_{kind}_{m}_bits"]["value"] for kind in ("aqlm", "gptq")
            ]
            assert stored[0] <= stored[1]


def test_threads_are_set_back(apart):
    numba = apart("numba")
    before = numba.get_num_threads()
    found = additive_codebooks.additive.AdditiveTensor(
        torch.zeros(4, 2, 1, dtype=torch.uint8), torch.ones(1, 256, 8), torch.ones(4, 1)
    )
    y = aqlm_library.output(found, torch.ones(1, 16))
    assert torch.equal(y, torch.full((1, 4), 16.0))
    assert numba.get_num_threads() == before
