"""The AWQ layout: the packing of AutoAWQ's heir, its order, damaged tensors."""

from dataclasses import replace

import pytest
import torch

from course_utils.formats import affine, awq_layout
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor

ROWS, COLS, GROUP = 24, 64, 16


def quantized(*, symmetric=False, rows=ROWS):
    spec = QuantSpec(bits=4, symmetric=symmetric, group_size=GROUP)
    w = torch.randn(rows, COLS, generator=torch.Generator().manual_seed(0))
    w[0] = w[0].abs()  # zero point 0, which this layout holds
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    scale = scale.half().float()
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(affine_dtype(symmetric)), scale, zero_point, spec)


def affine_dtype(symmetric):
    return torch.int8 if symmetric else torch.uint8


@pytest.fixture
def awq_linear(apart, monkeypatch):
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", "2")
    return apart("gptqmodel.nn_modules.qlinear.torch_awq").AwqTorchLinear


@pytest.fixture
def theirs(awq_linear):
    """GPT-QModel's AWQ layer after packing our matrix."""
    ours = quantized()
    linear = torch.nn.Linear(COLS, ROWS, bias=False)
    linear.weight.data = ours.dequantize()
    layer = awq_linear(
        bits=4,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        in_features=COLS,
        out_features=ROWS,
        register_buffers=True,
    )
    layer.pack(linear, ours.scale[..., 0], ours.zero_point[..., 0])
    return layer


def test_gptqmodel_packs_the_same_tensors(theirs):
    packed = awq_layout.pack(quantized())
    for name in ("qweight", "qzeros"):
        assert torch.equal(getattr(packed, name), getattr(theirs, name)), name
    assert torch.equal(packed.scales.float(), theirs.scales.float())


def test_gptqmodel_reads_our_tensors(theirs):
    ours = quantized()
    packed = awq_layout.pack(ours)
    for name in ("qweight", "qzeros", "scales"):
        setattr(theirs, name, getattr(packed, name))
    w = theirs(torch.eye(COLS, dtype=torch.float16)).T.float()
    # float16 products, and sums with zeros, which are exact.
    assert (w - ours.dequantize()).abs().max() <= 2**-11 * ours.dequantize().abs().max()


@pytest.mark.parametrize("symmetric", [False, True])
def test_what_is_packed_comes_back(symmetric):
    before = quantized(symmetric=symmetric)
    after = awq_layout.unpack(awq_layout.pack(before))
    assert torch.equal(after.dequantize(), before.dequantize())
    assert after.spec == QuantSpec(bits=4, group_size=GROUP)


def test_the_order_in_a_word_by_hand():
    q = torch.arange(8, dtype=torch.uint8)[:, None]  # one input, outputs 0 to 7
    ones = torch.ones(8, 1, 1)
    before = QTensor(q, ones, ones.int(), QuantSpec(bits=4, group_size=1))
    packed = awq_layout.pack(before)
    assert packed.qweight.tolist() == [[0x75316420]]
    # Read in sequence, six of the eight outputs are another's.
    in_sequence = [0x75316420 >> 4 * i & 15 for i in range(8)]
    assert in_sequence == [0, 2, 4, 6, 1, 3, 5, 7]


def test_what_has_no_place_is_refused():
    before = quantized()
    with pytest.raises(ValueError, match="has 4 bits, got 8"):
        awq_layout.pack(replace(before, spec=QuantSpec(bits=8, group_size=GROUP)))
    with pytest.raises(ValueError, match="8 rows in a word; got 7 rows"):
        awq_layout.pack(quantized(rows=7))
    with pytest.raises(ValueError, match="no g_idx"):
        awq_layout.pack(replace(before, group_of=torch.arange(COLS) % 4))


@pytest.mark.parametrize("name", ["qweight", "qzeros", "scales"])
def test_damaged_tensors_are_refused(name):
    packed = awq_layout.pack(quantized())
    part = getattr(packed, name)
    cut = (part[:-1], part[:, :-1], part[:0], part[0])
    for wrong in cut:
        with pytest.raises(ValueError, match="do not belong to one layer"):
            awq_layout.unpack(replace(packed, **{name: wrong}))
    nan = torch.full_like(packed.scales, float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        awq_layout.unpack(replace(packed, scales=nan))
    with pytest.raises(ValueError, match="matrix of int32"):
        awq_layout.unpack(replace(packed, qweight=packed.qweight.long()))
