"""The GPTQ layout: GPT-QModel's own packing, both versions, damaged tensors."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine, gptq_layout
from course_utils.formats.affine import QuantSpec
from course_utils.formats.gptq_layout import GptqTensors
from course_utils.formats.qtensor import QTensor
from course_utils.formats.words import n_words, pack_words, unpack_words

ROWS, COLS, GROUP = 32, 64, 16  # what fills words at every width


def quantized(bits=4, *, symmetric=False, act_order=False, rows=ROWS, cols=COLS):
    """Return a matrix with scales that float16 holds and zero points from 1 on."""
    generator = torch.Generator().manual_seed(bits)
    spec = QuantSpec(bits=bits, symmetric=symmetric, group_size=GROUP)
    w = torch.randn(rows, cols, generator=generator)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    scale = scale.half().float()
    if not symmetric:
        zero_point = zero_point.clamp(min=1)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    order = torch.randperm(cols, generator=generator) // GROUP
    return QTensor(
        q=q.to(torch.int8 if symmetric else torch.uint8),
        scale=scale,
        zero_point=zero_point,
        spec=spec,
        group_of=order if act_order else None,
    )


@pytest.fixture
def qlinear(apart, monkeypatch):
    """GPT-QModel's layer in plain torch, without its device check of two cores."""
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", "2")
    return apart("gptqmodel.nn_modules.qlinear.torch").TorchLinear


def module(qlinear, bits, *, rows=ROWS, cols=COLS):
    return qlinear(
        bits=bits,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        in_features=cols,
        out_features=rows,
    )


@pytest.mark.parametrize("bits", gptq_layout.BITS)
@pytest.mark.parametrize("act_order", [False, True])
def test_gptqmodel_packs_the_same_tensors(bits, act_order, qlinear):
    ours = quantized(bits, act_order=act_order)
    linear = torch.nn.Linear(COLS, ROWS, bias=False)
    linear.weight.data = ours.dequantize()
    theirs = module(qlinear, bits)
    groups = gptq_layout.groups_of(ours).to(torch.int32)
    theirs.pack_original(linear, ours.scale[..., 0], ours.zero_point[..., 0], groups)
    packed = gptq_layout.pack(ours, version=2)
    for name in ("qweight", "qzeros", "scales", "g_idx"):
        expected = getattr(theirs, name)
        assert getattr(packed, name).dtype == expected.dtype, name
        assert torch.equal(getattr(packed, name), expected), name


@pytest.mark.parametrize("bits", gptq_layout.BITS)
def test_gptqmodel_reads_our_tensors(bits, qlinear):
    ours = quantized(bits, act_order=True)
    theirs = module(qlinear, bits)
    packed = gptq_layout.pack(ours, version=2)
    for name in ("qweight", "qzeros", "scales", "g_idx"):
        setattr(theirs, name, getattr(packed, name))
    theirs.post_init()
    # It multiplies in float16: a product of two float16 numbers errs by 2**-11.
    w = theirs.dequantize_weight().T.float()
    assert (w - ours.dequantize()).abs().max() <= 2**-11 * ours.dequantize().abs().max()


@pytest.mark.parametrize("bits", gptq_layout.BITS)
def test_gptqmodel_converts_between_the_versions_as_we_do(bits, apart, qlinear):
    convert = apart("gptqmodel.utils.model").convert_gptq_v1_to_v2_format_module
    ours = quantized(bits)
    theirs = module(qlinear, bits)
    theirs.qzeros = gptq_layout.pack(ours, version=1).qzeros.clone()
    convert(theirs, bits, torch.int32)
    assert torch.equal(theirs.qzeros, gptq_layout.pack(ours, version=2).qzeros)


@pytest.mark.parametrize("bits", gptq_layout.BITS)
@pytest.mark.parametrize("version", gptq_layout.VERSIONS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("act_order", [False, True])
def test_what_is_packed_comes_back(bits, version, symmetric, act_order):
    before = quantized(bits, symmetric=symmetric, act_order=act_order)
    packed = gptq_layout.pack(before, version=version)
    after = gptq_layout.unpack(packed, bits=bits, version=version)
    assert torch.equal(after.dequantize(), before.dequantize())
    assert after.spec == QuantSpec(bits=bits, group_size=GROUP)
    shift = 2 ** (bits - 1) if symmetric else 0
    assert torch.equal(after.q.int(), before.q.int() + shift)
    assert (after.group_of is None) == (not act_order)


def test_the_other_version_moves_every_weight_by_one_step():
    before = quantized(4)
    after = gptq_layout.unpack(gptq_layout.pack(before, version=1), bits=4, version=2)
    assert torch.equal(after.zero_point, before.zero_point - 1)
    steps = (after.dequantize() - before.dequantize()).reshape(ROWS, -1, GROUP)
    torch.testing.assert_close(steps, before.scale.expand_as(steps))


def test_version_1_has_no_place_for_zero_point_0():
    before = quantized(4)
    before = replace(before, zero_point=before.zero_point * 0)
    with pytest.raises(ValueError, match="zero point 0 has no code; write version 2"):
        gptq_layout.pack(before, version=1)
    packed = gptq_layout.pack(before, version=2)
    assert (gptq_layout.unpack(packed, bits=4, version=2).zero_point == 0).all()
    # A file that holds the wrapped -1 is read as 0.
    wrapped = replace(packed, qzeros=torch.full_like(packed.qzeros, -1))
    assert (gptq_layout.unpack(wrapped, bits=4, version=1).zero_point == 0).all()


def test_the_first_word_by_hand():
    q = torch.arange(8, dtype=torch.uint8)[None].repeat(8, 1)  # inputs 0 to 7
    spec = QuantSpec(bits=4, group_size=8)
    ones = torch.ones(8, 1, 1)
    before = QTensor(q, ones, 9 * ones.int(), spec)
    packed = gptq_layout.pack(before, version=1)
    assert packed.qweight.tolist() == [[0x76543210] * 8]
    assert packed.qzeros.tolist() == [[0x88888888 - 2**32]]  # 9 - 1, eight times
    assert packed.scales.tolist() == [[1.0] * 8]
    assert packed.g_idx.tolist() == [0] * 8


@settings(max_examples=60)
@given(bits=st.integers(1, 8), n=st.integers(1, 70), m=st.integers(1, 3))
def test_words_hold_any_width(bits, n, m):
    codes = torch.randint(
        0, 2**bits, (n, m), generator=torch.Generator().manual_seed(n)
    )
    words = pack_words(codes, bits)
    assert words.shape == (n_words(n, bits), m)
    assert torch.equal(unpack_words(words, bits, n).long(), codes)
    # The stream, bit by bit, is the number that the codes form in base 2**bits.
    for column in range(m):
        stream = sum(int(c) << bits * i for i, c in enumerate(codes[:, column]))
        held = sum((int(w) % 2**32) << 32 * i for i, w in enumerate(words[:, column]))
        assert held == stream


def test_shapes_that_do_not_fill_words_come_back():
    before = quantized(3, rows=7, cols=48)
    packed = gptq_layout.pack(before)
    assert packed.qweight.shape == (5, 7)  # 48 * 3 / 32 = 4.5
    assert packed.qzeros.shape == (3, 1)
    after = gptq_layout.unpack(packed, bits=3)
    assert torch.equal(after.dequantize(), before.dequantize())


def damaged():
    """Yield (what is said, tensors of which one is damaged)."""
    good = gptq_layout.pack(quantized(4))
    nan = good.scales.clone()
    nan[0, 0] = float("nan")
    g_idx = good.g_idx.clone()
    yield "qweight is", replace(good, qweight=good.qweight[:-1])
    yield "qweight is", replace(good, qweight=good.qweight.long())
    yield "qzeros is", replace(good, qzeros=good.qzeros[:, :-1])
    yield "qzeros is", replace(good, scales=good.scales[:-1])
    yield "must be a matrix and a vector", replace(good, scales=good.scales[0])
    yield "must be a matrix and a vector", replace(good, g_idx=good.g_idx[:0])
    yield "NaN or infinite", replace(good, scales=nan)
    yield "g_idx names groups 0 to 4", replace(good, g_idx=g_idx + (g_idx == 3).int())
    yield "g_idx names groups -1", replace(good, g_idx=g_idx - 1)
    yield (
        "do not divide into 3 groups",
        replace(
            good,
            scales=good.scales[:3],
            qzeros=good.qzeros[:3],
            g_idx=g_idx.clamp(max=2),
        ),
    )


@pytest.mark.parametrize("case", range(10))
def test_damaged_tensors_are_refused(case):
    sentence, tensors = list(damaged())[case]
    with pytest.raises(ValueError, match=sentence):
        gptq_layout.unpack(tensors, bits=4)


def test_what_has_no_place_is_refused():
    before = quantized(4)
    with pytest.raises(ValueError, match=r"bits \(2, 3, 4, 8\), got 5"):
        gptq_layout.pack(quantized(5))
    with pytest.raises(ValueError, match=r"versions \(1, 2\), got 3"):
        gptq_layout.pack(before, version=3)
    with pytest.raises(ValueError, match=r"integer codes, got torch\.float32"):
        gptq_layout.pack(replace(before, zero_point=before.zero_point.float()))
    with pytest.raises(ValueError, match="too large for float16"):
        gptq_layout.pack(replace(before, scale=before.scale * 1e6))
    spec = QuantSpec(bits=4, group_size=0)
    one = torch.ones(1, 1, 1)
    with pytest.raises(ValueError, match="scale for the whole matrix"):
        gptq_layout.pack(QTensor(before.q, one, one.int(), spec))
    with pytest.raises(ValueError, match="run from 0 to 15"):
        gptq_layout.pack(replace(before, zero_point=before.zero_point + 20))


@settings(max_examples=200)
@given(data=st.data())
def test_fuzzed_tensors_give_a_matrix_or_a_sentence(data):
    """Any words are codes; shapes and g_idx that do not fit are refused."""
    sizes = st.integers(0, 6)
    number = st.integers(-(2**31), 2**31 - 1)

    def tensor(n_dims, dtype):
        shape = data.draw(st.lists(sizes, min_size=n_dims, max_size=n_dims))
        return torch.full(shape, data.draw(number)).to(dtype)

    tensors = GptqTensors(
        qweight=tensor(2, torch.int32),
        qzeros=tensor(2, torch.int32),
        scales=tensor(2, torch.float32) / 2**30,
        g_idx=tensor(1, torch.int32) % 3,
    )
    bits = data.draw(st.sampled_from([2, 3, 4, 8]))
    try:
        found = gptq_layout.unpack(tensors, bits=bits)
    except ValueError as error:
        assert str(error).endswith(".")
    else:
        assert found.dequantize().isfinite().all()
