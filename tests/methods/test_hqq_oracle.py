"""Oracle: the library `hqq`, on real matrices and on its own steps."""

from types import SimpleNamespace

import pytest
import torch

from course_utils.formats.affine import QuantSpec
from course_utils.methods import hqq
from course_utils.models import layers

NAMES = ("model.layers.10.self_attn.q_proj", "model.layers.28.mlp.down_proj")


@pytest.fixture(scope="module")
def matrices(loaded):
    found = layers.linear_layers(loaded.model)
    return [found[name].weight.detach() for name in NAMES]


@pytest.fixture(scope="module")
def quantizer(apart):
    return apart("hqq.core.quantize").Quantizer


def rebuilt(quantizer, w, bits, **options):
    q, meta = quantizer.quantize(
        w, nbits=bits, group_size=64, axis=1, device="cpu", bitpack=False, **options
    )
    w_hat = ((q - meta["zero"]) * meta["scale"]).reshape(w.shape)
    return q.reshape(w.shape), w_hat


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_objective_is_not_above_the_librarys(quantizer, matrices, bits):
    """Each group keeps the best z of a path, the library the last z of the same path.

    A weight within float rounding of a tie may take the other code and change the
    path of its group. Fewer than one weight in a thousand lies so near, and its error
    is half a step either way, so the mean moves by far less than 1e-3 of itself.
    """
    for w in matrices:
        _, theirs = rebuilt(quantizer, w, bits)
        ours = hqq.quantize(w, spec=QuantSpec(bits, group_size=64)).dequantize()
        errors = [(w - x).abs() for x in (ours, theirs)]
        l1 = [error.mean().item() for error in errors]
        lp = [error.pow(0.7).mean().item() for error in errors]
        # 2 % is what 20 turns leave between a group's best z and its last one.
        assert 0.98 * l1[1] <= l1[0] <= 1.001 * l1[1]
        assert 0.98 * lp[1] <= lp[0] <= 1.001 * lp[1]


@pytest.mark.parametrize("bits", [2, 4])
def test_without_a_turn_the_codes_are_the_librarys(quantizer, matrices, bits):
    for w in matrices:
        q, _ = rebuilt(quantizer, w, bits, optimize=False)
        ours = hqq.quantize(w, spec=QuantSpec(bits, group_size=64), iters=0)
        # The library multiplies by an inverse scale where we divide: only a weight
        # within float rounding of a tie, one in some ten thousand, may differ.
        differs = q != ours.q
        assert differs.float().mean() < 1e-4
        assert (q.int() - ours.q.int()).abs().max() <= 1


@pytest.mark.parametrize("p", [0.7, 1.0])
def test_shrink_is_the_librarys(apart, p):
    theirs = apart("hqq.core.optimize").shrink_lp_op
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    x[::5] = 0.0
    for beta in (0.5, 10.0):
        # Three operations, each rounded to 2**-24 of at most max |x| = 4.
        torch.testing.assert_close(
            hqq.shrink(x, beta, p=p), theirs(x, beta, p), rtol=0, atol=12 * 2**-24
        )


def test_the_library_loses_groups_of_small_weights(quantizer):
    """hqq 0.2.8.post1: a range of 1e-4 or less gets scale 1, whatever its values."""
    generator = torch.Generator().manual_seed(0)
    w = 1e-5 * torch.randn(8, 64, generator=generator)
    _, theirs = rebuilt(quantizer, w, 4)
    ours = hqq.quantize(w, spec=QuantSpec(4, group_size=64)).dequantize()
    assert ((theirs - theirs.mean(dim=1, keepdim=True)).abs() < 1e-7).all()
    assert (w - ours).abs().mean() < 0.2 * (w - theirs).abs().mean()


def test_transformers_has_no_way_to_load_hqq_in_this_version():
    """Take the trap out of chapter 12 when this fails."""
    from transformers.quantizers.base import HfQuantizer  # noqa: PLC0415
    from transformers.quantizers.quantizer_hqq import HqqHfQuantizer  # noqa: PLC0415

    config = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="hqq"))
    with pytest.raises(NotImplementedError, match="hqq is not available yet"):
        HqqHfQuantizer.get_quantize_ops(config)
    assert HqqHfQuantizer.get_quantize_ops is HfQuantizer.get_quantize_ops
