"""Short questions that one next word answers.

`book/texts/next_words.txt` holds one a line: a prompt, then four words, the right one
first. Every word is a single token of the embedded model's tokenizer, so one forward
pass of the prompt scores all four. The questions are so easy that a small model
answers most of them: then a broken one shows.
"""

from course_utils.measure.choices import Choice
from course_utils.models import texts

FILE = "next_words.txt"


def questions() -> list[Choice]:
    """Return the questions; option 0 is the right word, each begins with a space.

    Raises: ValueError if the file is not the frozen one.
    """
    return [_parse(line) for line in texts.frozen(FILE).splitlines()]


def _parse(line: str) -> Choice:
    prompt, words = line.split(" | ")
    return Choice(prompt, tuple(f" {word}" for word in words.split("; ")), answer=0)
