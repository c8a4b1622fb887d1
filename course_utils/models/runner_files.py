"""What other programs need to run a GGUF file: Ollama, LM Studio, GPT4All.

All three bring llama.cpp along and read the same file. They differ in what stands
around it:

    Ollama      a Modelfile: FROM, PARAMETER, TEMPLATE, SYSTEM; then two commands
    LM Studio   a folder publisher/model below its models folder, or `lms import`
    GPT4All     the file in its models folder; from Python the folder's path

`modelfile` writes the first and `parse_modelfile` reads it back. `plans` gives the
commands and places of all three. Nothing is started here.

The template of a Modelfile is not the chat template of the GGUF file: that one is
Jinja, Ollama's is a template of the language Go. Written here is the one form that
the embedded model's family uses, ChatML.

Left out: adapters, licences, tools, and other forms of chat.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from course_utils.models.gguf_header import read_header

CHAT_TEMPLATE = "tokenizer.chat_template"
START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{{ if .System }}" + START + "system\n{{ .System }}" + END + "\n{{ end }}"
    "{{ range .Messages }}"
    + START
    + "{{ .Role }}\n{{ .Content }}"
    + END
    + "\n{{ end }}"
    + START
    + "assistant\n"
)
QUOTE = '"""'
# Parameters that a Modelfile may set, of those that Ollama documents.
PARAMETERS = {
    "num_ctx": int,
    "num_predict": int,
    "repeat_penalty": float,
    "seed": int,
    "stop": str,
    "temperature": float,
    "top_k": int,
    "top_p": float,
}
LINE = re.compile(r"(?P<word>[A-Za-z]+)[ \t]+(?P<rest>.+)", re.DOTALL)
MODELS_FOLDER = PurePosixPath("~/.lmstudio/models")

Value = int | float | str


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says.

    Attributes:
        source: The GGUF file after FROM.
        parameters: Pairs in their order; `stop` may occur more than once.
        template: How a conversation becomes a prompt; "" for the program's own.
        system: The system message; "" for none.
    """

    source: str
    parameters: tuple[tuple[str, Value], ...] = ()
    template: str = ""
    system: str = ""

    def text(self) -> str:
        """Return the file.

        Raises: ValueError if a text holds three quotes in a row, or ends in a quote,
            or a parameter is unknown.
        """
        lines = [f"FROM {self.source}"]
        for name, value in self.parameters:
            _check(name)
            lines.append(f"PARAMETER {name} {_written(value)}")
        for word, text in (("TEMPLATE", self.template), ("SYSTEM", self.system)):
            if QUOTE in text or text.endswith('"'):
                raise ValueError(f"The {word} cannot be quoted; change its quotes.")
            if text:
                lines.append(f"{word} {QUOTE}{text}{QUOTE}")
        return "\n".join(lines) + "\n"


def modelfile(
    path: Path, *, num_ctx: int = 2048, temperature: float = 0.0, system: str = ""
) -> Modelfile:
    """Return a Modelfile for a GGUF file whose chat template is ChatML.

    Raises: ValueError if the file is no GGUF file, or its chat template another.
    """
    fields = read_header(path)
    template = fields.text(CHAT_TEMPLATE) if CHAT_TEMPLATE in fields.fields else ""
    if START not in template or END not in template:
        raise ValueError(
            f"The chat template of {path.name} is not ChatML; write the TEMPLATE of "
            "its Modelfile by hand."
        )
    return Modelfile(
        source=f"./{path.name}",
        parameters=(("num_ctx", num_ctx), ("temperature", temperature), ("stop", END)),
        template=CHATML,
        system=system,
    )


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile.

    Raises: ValueError on an unknown instruction or parameter, a value of another type,
        quotes that do not close, or another number of FROM than one.
    """
    found: dict[str, list[str]] = {}
    parameters = []
    for word, rest in _instructions(text):
        if word == "PARAMETER":
            name, _, value = rest.partition(" ")
            parameters.append((name, _check(name)(_unquoted(value.strip()))))
        elif word in ("FROM", "TEMPLATE", "SYSTEM"):
            found.setdefault(word, []).append(_unquoted(rest))
        else:
            raise ValueError(f"{word} is no instruction that is read here.")
    if len(found.get("FROM", [])) != 1:
        raise ValueError("A Modelfile has one FROM; give it one.")
    last = {word: values[-1] for word, values in found.items()}
    return Modelfile(
        last["FROM"],
        tuple(parameters),
        last.get("TEMPLATE", ""),
        last.get("SYSTEM", ""),
    )


def _instructions(text: str) -> list[tuple[str, str]]:
    """Return word and rest of every instruction, comments left out."""
    pieces: list[str] = []
    open_quote = False
    for line in text.split("\n"):
        if open_quote:
            pieces[-1] += "\n" + line
        elif line.strip() and not line.lstrip().startswith("#"):
            pieces.append(line.lstrip())
        else:
            continue
        open_quote = pieces[-1].count(QUOTE) % 2 == 1
    if open_quote:
        raise ValueError(f"A text begins with {QUOTE} and does not end; close it.")
    matches = [(piece, LINE.fullmatch(piece)) for piece in pieces]
    for piece, match in matches:
        if not match:
            raise ValueError(f"{piece.splitlines()[0]!r} has no value; give one.")
    return [(m["word"].upper(), m["rest"].strip()) for _, m in matches]


def _check(name: str) -> type:
    """Return the type of a parameter."""
    if name not in PARAMETERS:
        raise ValueError(
            f"Unknown parameter {name!r}; choose one of {', '.join(PARAMETERS)}."
        )
    return PARAMETERS[name]


def _written(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _unquoted(text: str) -> str:
    for quote in (QUOTE, '"'):
        if len(text) >= 2 * len(quote) and text.startswith(quote):
            return text.removeprefix(quote).removesuffix(quote)
    return text


@dataclass(frozen=True)
class Plan:
    """How a program is given a file.

    Attributes:
        program: Its name.
        place: Where the file or what belongs to it has to lie.
        commands: What to type, in order.
        files: Name -> text of the files to write beside the model.
    """

    program: str
    place: str
    commands: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)


def plans(path: Path, *, publisher: str, name: str) -> tuple[Plan, ...]:
    """Return how Ollama, LM Studio and GPT4All are given a GGUF file.

    Raises: ValueError as `modelfile` does, or on a name that is no folder's.
    """
    for part in (publisher, name):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", part):
            raise ValueError(f"{part!r} cannot name a folder; use letters and digits.")
    file, quoted = path.name, shlex.quote(path.name)
    python = (
        f"from gpt4all import GPT4All; "
        f"GPT4All({file!r}, model_path={str(path.parent)!r}, allow_download=False)"
    )
    return (
        Plan(
            "Ollama",
            "beside the Modelfile",
            (f"ollama create {name} -f Modelfile", f"ollama run {name}"),
            {"Modelfile": modelfile(path).text()},
        ),
        Plan(
            "LM Studio",
            str(MODELS_FOLDER / publisher / name / file),
            (f"lms import {quoted}", f"lms load {name}", "lms server start"),
        ),
        Plan(
            "GPT4All",
            f"{file} in the models folder of the program",
            (f"python -c {shlex.quote(python)}",),
        ),
    )
