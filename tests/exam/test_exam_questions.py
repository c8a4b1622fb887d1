"""Questions in exam style: tables, code that is tried out, numbers that are drawn."""

import copy

import pytest

from course_utils.exam import bank, drawing, questions, trial
from course_utils.exam.expressions import ItemError
from course_utils.exam.forms import asked, form
from course_utils.exam.lint import drawn, exam_style, few, singles, uniform, whole
from course_utils.exam.questions import Question, build
from course_utils.exam.sections import lessons

NUMBER = {
    "id": "t-draw",
    "chapter": "01_what-is-quantization",
    "objective": "compute a step",
    "section": "the-step",
    "difficulty": 1,
    "kind": "numeric",
    "draw": {"bits": [2, 3, 4, 8], "span": {"from": 0.5, "to": 4, "step": 0.1}},
    "text": "{bits} bits over {span}: the step?",
    "key": "span / (2**bits - 1)",
    "tolerance": 0.01,
    "explanation": "{key:.4f}",
}
CHOICES = [
    {"text": "a", "true_if": "best == 0", "why": "1"},
    {"text": "b", "true_if": "best == 1", "why": "2", "misconception": "m"},
    {"text": "c", "true_if": "best == 2", "why": "3", "misconception": "n"},
]
TABLE = {
    **{k: NUMBER[k] for k in ("chapter", "objective", "section", "difficulty")},
    "id": "t-table",
    "kind": "single",
    "let": {"x": "[1.5, 2.5, 3.5]", "best": "x.index(min(x))"},
    "text": "Which is least?",
    "table": {
        "columns": ["Row 1", "Value"],
        "rows": [["a 1", "{x[0]:.1f}"], ["b", "{x[1]:.1f}"], ["c", "{x[2]:.1f}"]],
    },
    "choices": CHOICES,
}
BUG = {
    **{k: TABLE[k] for k in ("chapter", "objective", "section", "difficulty")},
    "id": "t-bug",
    "kind": "single",
    "let": {"x": "4.0", "said": "half(x)"},
    "text": "It returns {said:g}.",
    "code": "def half(x):\n    return x * 2\n",
    "passes": "half(x) == 2",
    "choices": [
        {"text": "d", "change": {"old": "x * 2", "new": "x / 2"}, "why": "1"},
        {"text": "e", "change": {"old": "x * 2", "new": "x / y"}, "why": "2"},
        {"text": "f", "change": {"old": "x * 2", "new": "x - 1"}, "why": "3"},
    ],
}


def changed(raw, **fields):
    new = copy.deepcopy(raw) | fields
    return {k: v for k, v in new.items() if v is not None}


@pytest.fixture(scope="module")
def everything():
    return bank.load_bank()


def test_a_table_is_filled_and_its_key_computed():
    found = build(TABLE)
    assert found.style == "table"
    assert found.table.rows == (("a 1", "1.5"), ("b", "2.5"), ("c", "3.5"))
    assert [c.text for c in found.choices if c.correct] == ["a"]
    moved = build(changed(TABLE, let={"x": "[9, 2.5, 3.5]", "best": "x.index(min(x))"}))
    assert [c.text for c in moved.choices if c.correct] == ["b"]


def test_code_is_run_with_every_repair():
    found = build(BUG)
    assert (found.style, found.text) == ("bug", "It returns 8.")
    # x / y raises an error, and so does not pass.
    assert {c.text: c.correct for c in found.choices} == {"d": 1, "e": 0, "f": 0}
    moved = build(changed(BUG, passes="half(x) == 3"))
    assert [c.text for c in moved.choices if c.correct] == ["f"]


def rows(*cells):
    return {"columns": ["Row", "Value"], "rows": [list(c) for c in cells]}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (changed(TABLE, chapter=None), "say which chapter"),
        (changed(TABLE, table=rows(("a", "{x[0]}"))), "at least two columns"),
        (changed(TABLE, table=rows(("a", "{x[0]}"), ("b",))), "needs 2 cells"),
        (changed(TABLE, table=rows(("a", "{x[0]}"), ("b", "7"))), "a typed number"),
        (changed(TABLE, let={"x": "[1, 2, 3]", "best": "0"}), "needs no table"),
        (changed(BUG, passes=None), "needs code, and passes"),
        (changed(BUG, passes="half(x) == 8"), "so it has no fault"),
        (changed(BUG, passes="half(x) == 77"), "0 choices are right"),
        (changed(BUG, code="def half(x)\n"), "the code does not run: SyntaxError"),
        (changed(BUG, choices=CHOICES), "needs choices with a change"),
        (changed(NUMBER, draw={"bits": [2, 3], "span": [1]}), "only 2 draws"),
        (changed(NUMBER, where="span > 99"), "no draw of 200 suits"),
        (changed(NUMBER, draw={"bits": 4, "span": [1, 2, 3, 4]}), "from a list"),
        (changed(NUMBER, let={"a": "measured('methods/nothing')"}), "has no value"),
        (changed(NUMBER, let={"a": "measured('nowhere/x')"}), "not yet measured"),
    ],
)
def test_a_fault_names_the_question(raw, said):
    with pytest.raises(ItemError) as caught:
        build(raw)
    assert said in str(caught.value)
    assert raw["id"] in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"old": "x", "new": "y"}, {"old": "x * 2", "new": "x * 2"}, {"old": "x * 2"}],
)
def test_a_repair_must_meet_the_code_once(change):
    with pytest.raises(ItemError, match=r"exactly once|needs old and new"):
        trial.repaired(BUG["code"], change)


def test_a_seed_draws_numbers_and_a_key():
    made = [build(NUMBER, seed) for seed in range(30)]
    assert build(NUMBER, 3) == made[3]
    assert made[0].id == "t-draw"
    assert made[3].id == "t-draw.3"
    assert len({q.text for q in made}) > 20
    for question in made:
        names = dict(question.drawn)
        step = names["span"] / (2 ** names["bits"] - 1)
        assert question.value == pytest.approx(step)
    assert drawing.values({"from": 0.1, "to": 0.4, "step": 0.1}, "x") == [
        *(0.1, 0.2, 0.3, 0.4)
    ]


def test_a_measured_value_has_ends():
    low, high = (questions.measured("gptq/gptq3_vs_rtn3", e) for e in ("low", "high"))
    assert low < questions.measured("gptq/gptq3_vs_rtn3") < high
    with pytest.raises(ValueError, match="has no interval"):
        questions.measured("gptq/gptq3_kl", "low")


@pytest.mark.parametrize("raw", bank.raw_questions(), ids=lambda raw: raw["id"])
def test_each_question_alone(raw):
    assert list(exam_style(raw)) == []


def test_the_bank_has_what_an_exam_asks(everything):
    styles = [q.style for q in everything]
    assert min(styles.count("table"), styles.count("bug")) >= 8
    assert sum(bool(q.drawn) for q in everything) >= 12
    own = {raw["id"] for raw in bank.raw_questions()}
    chosen = [q for q in everything if q.id in own and q.choices]
    assert len(chosen) >= 40
    for question in chosen:
        wrong = [c for c in question.choices if not c.correct]
        assert len({c.misconception for c in wrong}) == len(wrong)
    assert {q.chapter for q in everything} == set(lessons())


def test_questions_in_exam_style_do_not_leak_by_length(everything):
    own = {raw["id"] for raw in bank.raw_questions()}
    chosen = [q for q in everything if q.id in own]
    assert len(singles(chosen)) >= 40
    assert whole(chosen, []) == []


def test_a_page_gets_plain_values(everything):
    for question in everything:
        shown = bank.to_page(question)
        assert shown["chapter"] == question.chapter
        assert ("table" in shown) == (question.style == "table")
        assert ("code" in shown) == (question.style == "bug")


def test_a_form_is_repeated_by_its_seed_and_asks_nothing_twice():
    first = form(5, 60)
    assert first == form(5, 60)
    assert [q.id for q in first] != [q.id for q in form(6, 60)]
    assert len({asked(q) for q in first}) == 60
    assert len({q.chapter for q in first}) == len(lessons())
    drawn_only = form(5, 50, drawn_only=True)
    assert all(q.drawn for q in drawn_only)
    assert len({asked(q) for q in drawn_only}) == 50
    one = form(2, 8, chapters=["09_gptq"])
    assert {q.chapter for q in one} == {"09_gptq"}


def test_a_form_that_cannot_be_filled_is_refused():
    with pytest.raises(ValueError, match="not 9999"):
        form(1, 9999, chapters=["07_outliers"])
    with pytest.raises(ValueError, match="at least one question"):
        form(1, 0)


def test_a_bad_file_is_named(monkeypatch, tmp_path):
    (tmp_path / "items").mkdir()
    for name, text in (("exam-a.yaml", "x: 1"), ("exam-b.yaml", "- [")):
        (tmp_path / "items" / name).write_text(text)
    monkeypatch.setattr(bank, "book_dir", lambda: tmp_path)
    assert bank.exam_files() == ["exam-a.yaml", "exam-b.yaml"]
    with pytest.raises(ItemError, match=r"exam-a\.yaml must be a list"):
        bank.read("exam-a.yaml")
    with pytest.raises(ItemError, match=r"exam-b\.yaml is no YAML"):
        bank.read("exam-b.yaml")


def test_bad_banks_are_found(everything):
    chosen = [q for q in singles(everything) if len(q.choices) == 4]

    def moved(question: Question, to: int) -> Question:
        right = next(c for c in question.choices if c.correct)
        order = [c for c in question.choices if not c.correct]
        order.insert(to, right)
        return Question(**{**vars(question), "choices": tuple(order)})

    fair = [moved(q, i % 4) for i, q in enumerate(chosen)]
    assert list(uniform(fair, "b")) == []
    # 40 % at one position instead of 25 %.
    n = len(chosen)
    skewed = [moved(q, 0 if i < 0.2 * n else i % 4) for i, q in enumerate(chosen)]
    assert "under chance" in next(uniform(skewed, "b"))
    assert list(uniform([], "b")) == []
    assert list(few(everything, lessons())) == []
    missing = [q for q in everything if q.chapter != "12_hqq"]
    assert next(few(missing, lessons())).startswith("12_hqq: 0 questions")
    twins = "x and y ask the same."
    pair = [Question(**{**vars(fair[0]), "id": name}) for name in "xy"]
    assert twins in whole(pair, [])


def test_drawn_questions_that_do_not_vary_are_found():
    assert list(drawn(NUMBER)) == []
    text = list(drawn(changed(NUMBER, text="The step of a grid?")))
    assert "fewer than half" in text[0]
    same = list(drawn(changed(NUMBER, key="bits / bits")))
    assert "the same key" in same[0]
    assert "no draw" in next(drawn(changed(NUMBER, where="bits > 9")))
    literal = list(drawn(changed(NUMBER, key="3.0")))
    assert any("is a literal" in said for said in literal)
