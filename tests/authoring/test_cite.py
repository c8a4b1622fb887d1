import pytest

from course_utils.authoring.bibliography import read_bibliography
from course_utils.authoring.cite import Sources, anchor
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.project import Project

BIB = r"""
% a comment
@string{ieee = "IEEE"}
@inproceedings{dettmers2023qlora,
  author = {Dettmers, Tim and Pagnoni, Artidoro and Holtzman, Ari},
  title = {{QLoRA}: a title, with = and {braces {inside}}},
  year = {2023},
  eprint = {2305.14314},
}
@misc{nvidia2020, author = {{NVIDIA and Friends}}, year = 2020, url = {https://a.org/b_c}}
@article{vandermaaten2008, author = "Laurens van der Maaten and G. Hinton",
  year = "2008", doi = {https://doi.org/10.1/x}}
@book{muller, author = {M{\"u}ller, K. and {\O}re, P\'al}, year={1999}, url={https://c.org}}
@book{nolink, author = {Nobody, A.}, year = {2000}}
"""


@pytest.fixture
def sources(tmp_path):
    bib = tmp_path / "references.bib"
    bib.write_text(BIB, "utf-8")
    return Sources(read_bibliography(bib), frozenset({"step"}))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            "dettmers2023qlora",
            "[Dettmers et al. (2023)](https://arxiv.org/abs/2305.14314)",
        ),
        ("nvidia2020", "[NVIDIA and Friends (2020)](https://a.org/b_c)"),
        (
            "vandermaaten2008",
            "[van der Maaten and Hinton (2008)](https://doi.org/10.1/x)",
        ),
        ("muller", "[Müller and Øre (1999)](https://c.org)"),
    ],
)
def test_author_year_and_link(sources, key, expected):
    assert sources.resolve(f"See [@{key}].") == f"See {expected}."


def test_two_keys_in_one_bracket(sources):
    text = sources.resolve("[@muller; @nvidia2020]")
    assert text.count("](https://") == 2


def test_code_and_maths_are_left_alone(sources):
    text = "`[@muller]` and $[@muller]$\n\n```\n[@muller]\n```\n"
    assert sources.resolve(text) == text


def test_a_glossary_link_is_relative_to_the_notebook(sources):
    assert sources.resolve("the [steps](glossary:step)") == (
        "the [steps](../book/glossary.md#step)"
    )


@pytest.mark.parametrize("text", ["[@nobody]", "[@nolink]", "[x](glossary:nothing)"])
def test_what_cannot_be_resolved_fails(sources, text):
    with pytest.raises(AuthoringError, match="book/"):
        sources.resolve(text)


def test_a_key_twice_is_refused(tmp_path):
    path = tmp_path / "references.bib"
    path.write_text("@misc{a, year = 1}\n@misc{a, year = 2}\n", "utf-8")
    with pytest.raises(AuthoringError, match=":2: the key a occurs twice"):
        read_bibliography(path)


def test_anchors_are_those_of_github():
    assert (
        anchor("Bits per weight (bpw), a 2nd look") == "bits-per-weight-bpw-a-2nd-look"
    )


def test_every_committed_reference_can_be_cited():
    references = read_bibliography(Project().book / "references.bib")
    for key, ref in references.items():
        assert ref.authors, key
        assert ref.year.isdigit(), key
        assert ref.link.startswith("https://"), key


def test_pybtex_reads_the_same_keys_and_years():
    database = pytest.importorskip("pybtex.database")
    path = Project().book / "references.bib"
    theirs = database.parse_file(str(path)).entries
    ours = read_bibliography(path)
    assert {k: r.year for k, r in ours.items()} == {
        k: e.fields["year"] for k, e in theirs.items()
    }
    for key, entry in theirs.items():
        names = [p.prelast_names + p.last_names for p in entry.persons["author"]]
        first = " ".join(names[0]).replace("{", "").replace("}", "")
        assert ours[key].authors[0] == first
        assert len(ours[key].authors) == len(names)
