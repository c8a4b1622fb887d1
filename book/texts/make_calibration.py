"""Draw the calibration text from the embedded model, once, and freeze it.

    python book/texts/make_calibration.py             draw, then write the manifest
    python book/texts/make_calibration.py manifest    only check and hash the texts

Each of 32 documents starts with one of the openings below and goes on to 256 tokens.
Each token is drawn at temperature 0.9 from the likeliest ones that together hold
90 % of the probability, special tokens forbidden; drawn from all tokens, a model
this small drifts into noise within a few sentences. The openings cover the registers
of the evaluation text: exposition, dialogue, commented code. A run that shares 13
tokens in a row with the evaluation text fails.

The seed makes a second run on the same machine and versions repeat the first; other
machines round otherwise and part ways after some tokens. What counts is the file.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from course_utils.models import texts
from course_utils.models.loading import load

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"
READABLE = "calibration.txt"
SUFFIXES = (".json", ".md", ".txt")
SEED = 7
TEMPERATURE = 0.9
TOP_P = 0.9
SHARED = 13  # tokens in a row that count as the same text

OPENINGS = (
    "Rivers change their course because",
    "The history of paper begins",
    "Bread rises when",
    "In most cities, the water that comes out of the tap",
    "A lighthouse keeper used to",
    "Bees find their way home by",
    "The difference between weather and climate is",
    "To repair a bicycle tyre, first",
    "Glass is made from sand, and",
    "Many birds travel south in autumn.",
    "A good map leaves things out.",
    "The bridge was closed in the spring, and the people of the town",
    "Early clocks had no hands;",
    "When two sounds have almost the same pitch,",
    '"I thought you had the key," said',
    '"How long does it take to learn the piano?" asked the boy.',
    '"Did you read the letter?" Anna asked. Tom',
    "Customer: The lamp I bought yesterday does not work.\nClerk:",
    "Teacher: What happens to ice in warm water?\nPupil:",
    "Dear neighbour,\n\nI am writing because",
    "Q: Why is the sky blue?\nA:",
    "A week has seven days, but a year",
    "To make soup for four people, you need",
    "Minutes of the garden club\n\n1.",
    "# Notes on sorting\n\n",
    "def count_words(text):\n",
    "import math\n\n\ndef distance(",
    "class Stack:\n",
    'def read_lines(path):\n    """Return',
    "SELECT name, ",
    "#include <stdio.h>\n\nint main(",
    "function average(numbers) {\n",
)


@torch.inference_mode()
def draw(
    model: PreTrainedModel, openings: list[list[int]], banned: list[int], length: int
) -> Tensor:
    """Return one sampled document per opening.

    All rows start at position 0; while a row is inside its opening the opening's
    token is taken instead of the sampled one, so no padding is needed.

    Shapes: (len(openings), length) int64.
    """
    generator = torch.Generator().manual_seed(SEED)
    documents = torch.zeros(len(openings), length, dtype=torch.int64)
    documents[:, 0] = torch.tensor([opening[0] for opening in openings])
    cache = None
    for position in range(1, length):
        last = documents[:, position - 1 : position]
        out = model(last, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits = out.logits[:, -1].float() / TEMPERATURE
        logits[:, banned] = -torch.inf
        likely = nucleus(logits.softmax(-1))
        drawn = torch.multinomial(likely, 1, generator=generator)
        documents[:, position] = drawn[:, 0]
        for row, opening in enumerate(openings):
            if position < len(opening):
                documents[row, position] = opening[position]
    return documents


def nucleus(probabilities: Tensor) -> Tensor:
    """Return the likeliest tokens' probabilities, the others' set to 0.

    A token is kept if those likelier than it hold less than TOP_P together.

    Shapes: (rows, vocab) -> (rows, vocab), not normalized.
    """
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= TOP_P] = 0
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)


def shared_runs(documents: Tensor, evaluation: Tensor) -> int:
    """Return how many runs of 13 tokens occur in both texts."""
    known = texts.ngrams(evaluation.tolist(), SHARED)
    found = [texts.ngrams(document, SHARED) for document in documents.tolist()]
    return len(known & set().union(*found))


def write(documents: Tensor, decoded: list[str], revision: str) -> None:
    """Write the token ids, and the same text for people to read."""
    rows = ",\n  ".join(json.dumps(document) for document in documents.tolist())
    head = {"model": revision, "seed": SEED, "temperature": TEMPERATURE, "top_p": TOP_P}
    opening = json.dumps(head)[:-1]
    content = f'{opening}, "tokens": [\n  {rows}\n]}}\n'
    (FOLDER / texts.CALIBRATION).write_text(content, encoding="utf-8")
    readable = "".join(
        f"===== {number} =====\n{text}\n" for number, text in enumerate(decoded, 1)
    )
    (FOLDER / READABLE).write_text(readable, encoding="utf-8")


def write_manifest() -> None:
    """Write the sha256 of every text."""
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in SUFFIXES)
    digests = {p.name: texts.text_digest(p) for p in files if p != MANIFEST}
    MANIFEST.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Draw if asked to, check that the texts share nothing, hash them."""
    model, tokenizer, card = load("embedded")
    if sys.argv[1:] != ["manifest"]:
        openings = [tokenizer(text)["input_ids"] for text in OPENINGS]
        banned = tokenizer.all_special_ids + list(tokenizer.added_tokens_decoder)
        documents = draw(model, openings, banned, texts.CALIBRATION_SHAPE[1])
        write(documents, tokenizer.batch_decode(documents), card.revision)
    write_manifest()
    common = shared_runs(
        texts.calibration_tokens(), texts.evaluation_tokens(tokenizer, None)
    )
    print(f"{common} runs of {SHARED} tokens occur in both texts.")
    return 1 if common else 0


if __name__ == "__main__":
    sys.exit(main())
