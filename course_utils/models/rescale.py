"""Other weights, the same function: rescaling along a llama model's symmetries.

The embedded model was quantized to Q4_1 (groups of 32, 16 levels each), so its
dequantized weights sit exactly on such a grid. Quantizing them to a similar grid
would lose nothing, and every comparison of methods would favour it.

A factor s > 0 for each channel can move between two tensors that meet in it:

    norm gain / s                 and  columns of the projections that read it * s
    rows of v_proj / s            and  columns of o_proj * s
    rows of up_proj / s           and  columns of down_proj * s

Each pair multiplies out, so the model computes the same function. With grouped
heads one row of v_proj feeds the same channel of several query heads, so these
columns of o_proj share its factor. Every projection has its columns multiplied by
factors that differ inside a group of 32, which takes it off the grid. The same
identities carry SmoothQuant and AWQ.

The factors are exp(u), u uniform in [-0.1, 0.1], rounded to 16 fractional bits:
then products and quotients are the same on every machine, and so is every byte of
the result. The embedding has no such symmetry, because it is also the output
matrix; it stays on its 8-bit grid.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WIDTH = 0.1
FRACTION_BITS = 16


@dataclass(frozen=True)
class Scaling:
    """What happens to one tensor.

    Attributes:
        divide_rows: Divisor of each row (of each element, for a norm gain), or None.
        multiply_cols: Factor of each column, or None.
    """

    divide_rows: np.ndarray | None = None
    multiply_cols: np.ndarray | None = None

    def apply(self, w: np.ndarray) -> np.ndarray:
        """Return the rescaled tensor, in float64.

        float64 keeps the rounding of the product out of the comparison: the only
        one is the final one to float32, relative size 2**-24.

        Shapes: w (rows, cols) or (rows,) -> same, float64.
        """
        out = w.astype(np.float64)
        if self.divide_rows is not None:
            rows = self.divide_rows
            out /= rows[:, None] if out.ndim == 2 else rows
        if self.multiply_cols is not None:
            out *= self.multiply_cols
        return out


def scalings(config: Mapping, *, seed: int) -> dict[str, Scaling]:
    """Return the scaling of each tensor of a llama model that has one.

    Args:
        config: transformers' configuration, as a mapping.
        seed: Of the factors.
    """
    # The one generator whose sequence Python promises to keep between versions.
    generator = random.Random(seed)
    result: dict[str, Scaling] = {}
    for i in range(config["num_hidden_layers"]):
        layer = _layer(config, generator)
        result |= {f"model.layers.{i}.{name}.weight": s for name, s in layer.items()}
    return result


def _layer(config: Mapping, generator: random.Random) -> dict[str, Scaling]:
    """Return the scalings of one layer's tensors."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    n_heads, n_kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or hidden // n_heads
    attention_in = factors(hidden, generator)
    mlp_in = factors(hidden, generator)
    value = factors(n_kv_heads * head_dim, generator)
    inner = factors(intermediate, generator)
    # Query head h reads key-value head h // (n_heads // n_kv_heads).
    by_head = value.reshape(n_kv_heads, head_dim)
    attention_out = np.repeat(by_head, n_heads // n_kv_heads, axis=0).reshape(-1)
    return {
        "input_layernorm": Scaling(divide_rows=attention_in),
        "self_attn.q_proj": Scaling(multiply_cols=attention_in),
        "self_attn.k_proj": Scaling(multiply_cols=attention_in),
        "self_attn.v_proj": Scaling(value, attention_in),
        "self_attn.o_proj": Scaling(multiply_cols=attention_out),
        "post_attention_layernorm": Scaling(divide_rows=mlp_in),
        "mlp.gate_proj": Scaling(multiply_cols=mlp_in),
        "mlp.up_proj": Scaling(inner, mlp_in),
        "mlp.down_proj": Scaling(multiply_cols=inner),
    }


def factors(n: int, generator: random.Random) -> np.ndarray:
    """Return `n` factors exp(u), u uniform in [-WIDTH, WIDTH], to 16 bits.

    Shapes: (n,) float64.
    """
    unit = 2**FRACTION_BITS
    draws = [generator.uniform(-WIDTH, WIDTH) for _ in range(n)]
    return np.array([round(math.exp(u) * unit) / unit for u in draws])
