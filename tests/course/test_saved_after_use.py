"""The trap of lesson 04: a 4-bit model that is saved after it was used.

The lesson names the version and says on which processors it happens. When
bitsandbytes mends it, this test fails and the lesson has to be written anew.
"""

import bitsandbytes as bnb
import torch
from bitsandbytes.functional import has_avx512bf16


def absmax_saved(*, used):
    """Return the scales in the state of a 4-bit layer without double quantization."""
    torch.manual_seed(0)
    options = {"quant_type": "nf4", "compress_statistics": False}
    layer = bnb.nn.Linear4bit(256, 128, bias=False, **options)
    layer = layer.to(torch.bfloat16).to("cpu").eval()
    if used:
        with torch.no_grad():
            layer(torch.zeros(1, 256, dtype=torch.bfloat16))
    state = layer.state_dict()
    return next(v for k, v in state.items() if k.endswith("absmax")).float().flatten()


def test_the_scales_are_transposed_where_the_processor_has_avx512_bf16():
    before, after = absmax_saved(used=False), absmax_saved(used=True)
    assert len(before) == 128 * 256 // 64
    if has_avx512bf16():
        before = before.bfloat16().float()
        assert not torch.equal(after, before)
        assert torch.equal(after.sort().values, before.sort().values)
        assert torch.equal(after, before.reshape(128, -1).T.flatten())
    else:
        assert torch.equal(after, before)
