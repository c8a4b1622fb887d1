"""Modelfiles and commands for programs that are not run here: written and read back."""

import shlex
import struct
from pathlib import Path

import pytest
from gguf import GGUFValueType
from hypothesis import given
from hypothesis import strategies as st

from course_utils.models import fetch, gguf_header, runner_files
from course_utils.models.runner_files import Modelfile, parse_modelfile


def gguf_with(template: str, path: Path) -> Path:
    """Write a GGUF file of one field and no tensor."""
    value = gguf_header.packed_string(template)
    field = gguf_header.packed_field(
        runner_files.CHAT_TEMPLATE, GGUFValueType.STRING, value
    )
    head = struct.pack("<4sIQQ", gguf_header.MAGIC, gguf_header.VERSION, 0, 1)
    raw = head + field
    path.write_bytes(raw + b"\0" * (-len(raw) % gguf_header.ALIGNMENT))
    return path


def test_the_modelfile_of_the_real_model_is_read_back():
    path = fetch.gguf_file()
    made = runner_files.modelfile(path, num_ctx=1024, system="Answer briefly.")
    assert parse_modelfile(made.text()) == made
    assert made.text().splitlines()[:4] == [
        f"FROM ./{path.name}",
        "PARAMETER num_ctx 1024",
        "PARAMETER temperature 0.0",
        'PARAMETER stop "<|im_end|>"',
    ]
    assert made.text().count('"""') == 4


def test_the_template_is_the_files_own_chat_format(embedded_tokenizer):
    """Filled in by hand, the Go template gives what the Jinja template gives."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a bridge?"},
    ]
    wanted = embedded_tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    template = runner_files.modelfile(fetch.gguf_file()).template
    system, rest = template.split("{{ range .Messages }}")
    each, end = rest.split("{{ end }}")
    head = system.removeprefix("{{ if .System }}").removesuffix("{{ end }}")
    got = head.replace("{{ .System }}", messages[0]["content"])
    got += each.replace("{{ .Role }}", "user").replace(
        "{{ .Content }}", messages[1]["content"]
    )
    assert got + end == wanted


TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"),
    max_size=60,
).filter(lambda t: '"""' not in t and not t.endswith('"'))


@given(
    TEXTS,
    TEXTS,
    st.lists(
        st.one_of(
            st.tuples(st.just("num_ctx"), st.integers(1, 10**6)),
            st.tuples(st.just("top_p"), st.floats(0, 1)),
            st.tuples(st.just("stop"), st.sampled_from(["<|im_end|>", "###", "a b"])),
        ),
        max_size=4,
    ),
)
def test_what_is_written_is_read(template, system, parameters):
    made = Modelfile("./a model.gguf", tuple(parameters), template, system)
    assert parse_modelfile(made.text()) == made


def test_comments_case_and_single_quotes_are_read():
    found = parse_modelfile('# by hand\nfrom ./x.gguf\n\nsystem "Be brief."\n')
    assert found == Modelfile("./x.gguf", system="Be brief.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one FROM"),
        ("FROM a\nFROM b", "one FROM"),
        ("FROM", "no value"),
        ("FROM a\nRUN ls", "RUN"),
        ("FROM a\nPARAMETER heat 1", "heat"),
        ("FROM a\nPARAMETER num_ctx many", "many"),
        ('FROM a\nTEMPLATE """open', "does not end"),
    ],
)
def test_what_cannot_be_read_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_modelfile(text)


def test_what_cannot_be_written_is_said():
    for made in (Modelfile("a", system='say """'), Modelfile("a", template='end"')):
        with pytest.raises(ValueError, match="quote"):
            made.text()
    with pytest.raises(ValueError, match="heat"):
        Modelfile("a", (("heat", 1),)).text()


def test_another_chat_format_is_refused(tmp_path):
    path = gguf_with("[INST] {{ prompt }} [/INST]", tmp_path / "other.gguf")
    with pytest.raises(ValueError, match="not ChatML"):
        runner_files.modelfile(path)
    (tmp_path / "no.gguf").write_bytes(b"none")
    with pytest.raises(ValueError, match="not a GGUF"):
        runner_files.modelfile(tmp_path / "no.gguf")


def test_the_commands_are_whole_words(tmp_path):
    path = gguf_with("<|im_start|> <|im_end|>", tmp_path / "a model's.gguf")
    ollama, studio, gpt4all = runner_files.plans(path, publisher="me", name="small")
    assert ollama.commands[0] == "ollama create small -f Modelfile"
    assert parse_modelfile(ollama.files["Modelfile"]).source == f"./{path.name}"
    assert shlex.split(studio.commands[0]) == ["lms", "import", path.name]
    assert studio.place == f"~/.lmstudio/models/me/small/{path.name}"
    program, option, code = shlex.split(gpt4all.commands[0])
    assert (program, option) == ("python", "-c")
    compile(code, "command", "exec")  # it is Python
    assert repr(path.name) in code
    assert "allow_download=False" in code


@pytest.mark.parametrize("name", ["", "../up", "two words", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(name, tmp_path):
    path = gguf_with("<|im_start|> <|im_end|>", tmp_path / "m.gguf")
    with pytest.raises(ValueError, match="folder"):
        runner_files.plans(path, publisher="me", name=name)
