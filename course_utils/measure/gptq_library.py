"""GPTQ of two production libraries, called like ours: for the tests and records.

    gptqmodel       GPT-QModel's `GPTQ`, given our Hessian instead of its own sums
    llmcompressor   llm-compressor's `quantize_weight`, likewise

Both get float32 weights. Options in which they differ from ours, by default or always:

    gptqmodel       takes the scale of a group that starts inside a lazy block from
                    weights without this block's updates; sorts groups by default
                    (`act_group_aware`, off here); damps by 0.05 by default; sets
                    columns that were always 0 to 0
    llmcompressor   takes all scales from the original weights; rounds columns with
                    large inputs first by default (off here)
"""

import os
import sys
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.formats.affine import QuantSpec, choose_qparams
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.measure.quantizer_pairs import library
from course_utils.methods.statistics import LayerStats


def version(package: str) -> str:
    """Return the version of a library that stands apart.

    Raises: ValueError if it is not installed.
    """
    folder = str(Path(sys.prefix) / "apart")
    found = next(iter(metadata.distributions(name=package, path=[folder])), None)
    if found is None:
        raise ValueError(f"{package} is not installed; run `make test` once.")
    return found.version


def gptqmodel(  # noqa: PLR0913 -- the same options as ours
    w: Tensor,
    stats: LayerStats,
    *,
    spec: QuantSpec,
    percdamp: float = 0.01,
    act_order: bool = False,
    lazy_block: int = 128,
) -> QTensor:
    """Return `w` quantized by GPT-QModel; its default lazy block is 128.

    Raises: ValueError for a symmetric grid, which its layout has shifted by a code.
    """
    if spec.symmetric or spec.group_size == 0:
        raise ValueError("Compare asymmetric grids with a scale for each row.")
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    config = library("gptqmodel.quantization.config").QuantizeConfig(
        bits=spec.bits,
        group_size=spec.group_size or -1,
        sym=False,
        desc_act=act_order,
        act_group_aware=False,
        damp_percent=percdamp,
        device="cpu",
        offload_to_disk=False,
        fallback=None,
    )
    layer = nn.Linear(w.shape[1], w.shape[0], bias=False)
    layer.weight.data = w.detach().float().clone()
    task = library("gptqmodel.quantization.gptq").GPTQ(layer, config)
    task.quantizer.configure(perchannel=True)
    task.H, task.nsamples = 2 * stats.second_moment, stats.n
    w_hat, scale, zero, group_of, *_ = task.quantize(blocksize=lazy_block)
    in_order = not act_order or spec.group_size is None
    group_of = None if in_order else group_of
    return _codes(w_hat, scale[..., None], zero[..., None], spec, group_of)


def llmcompressor(  # noqa: PLR0913 -- the same options as ours
    w: Tensor,
    stats: LayerStats,
    *,
    spec: QuantSpec,
    percdamp: float = 0.01,
    act_order: bool = False,
    lazy_block: int = 128,
) -> QTensor:
    """Return `w` quantized by llm-compressor, with scales of the original weights.

    Raises: ValueError for a symmetric grid, which uses one more code than ours.
    """
    if spec.symmetric or spec.group_size == 0:
        raise ValueError("Compare asymmetric grids with a scale for each row.")
    args = library("compressed_tensors.quantization").QuantizationArgs(
        num_bits=spec.bits,
        symmetric=False,
        strategy="group" if spec.group_size else "channel",
        group_size=spec.group_size,
        actorder="static" if act_order else None,
    )
    scale, zero = choose_qparams(w, spec=spec)
    shift = 2 ** (spec.bits - 1)  # its codes are signed
    found = library("llmcompressor.modifiers.gptq.gptq_quantize").quantize_weight(
        w.detach().float().clone()[None],
        (2 * stats.second_moment)[None],
        scale[None, ..., 0],
        (zero - shift)[None, ..., 0],
        None,
        args,
        blocksize=lazy_block,
        percdamp=percdamp,
    )
    return _codes(found[0][0], scale, zero, spec, None)


def _codes(
    w_hat: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    spec: QuantSpec,
    group_of: Tensor | None,
) -> QTensor:
    """Return the codes of weights that lie on a grid already."""
    cols = w_hat.shape[1]
    group = torch.arange(cols) // (spec.group_size or cols)
    group = group if group_of is None else group_of.to(torch.int64)
    zero_point = zero_point.to(torch.int32)
    q = torch.round(w_hat / scale[:, group, 0]) + zero_point[:, group, 0]
    assert spec.qmin <= q.min() <= q.max() <= spec.qmax
    return QTensor(q.to(code_dtype(spec)), scale, zero_point, spec, group_of)
