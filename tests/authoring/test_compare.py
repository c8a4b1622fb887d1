import pytest

from course_utils.authoring.compare import close, difference, outputs_difference


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("24.31", "24.31", True),
        ("24.32", "24.31", True),  # one unit in the last place
        ("24.34", "24.31", True),  # 0.01 + 1e-3 * 24.31 = 0.034
        ("24.35", "24.31", False),
        ("1.2e-05", "1.3e-05", True),
        ("1.2e-05", "1.5e-05", False),
        ("12,345", "12,346", True),
        ("12,345", "12,545", False),
        ("-0.5", "0.5", False),
        ("\u22120.5", "-0.5", True),
        ("3", "4", True),
        ("3", "5", False),
    ],
)
def test_close(got, expected, same):
    assert close(got, expected) is same


def test_the_text_between_numbers_must_be_equal():
    assert difference("At 2 bits it breaks.", "At 2 bits it works.")
    assert difference("ppl 24.31 at 4 bits", "ppl 24.32 at 4 bits") is None
    assert "30.1 became 24.3" in difference("ppl 24.3", "ppl 30.1")


def test_names_with_digits_are_text():
    assert difference("float32", "float16")


def out(**data):
    mimes = {key.replace("_", "/"): value for key, value in data.items()}
    return {"output_type": "display_data", "data": mimes, "metadata": {}}


def test_pictures_are_left_out_and_their_number_is_not_texts():
    one = out(image_png="AAAA", text_plain="<Figure 100x200>")
    other = out(image_png="BBBB", text_plain="<Figure 300x200>")
    assert outputs_difference([one], [other]) is None


def test_a_missing_output_is_a_difference():
    said = out(text_markdown="4.2", text_plain="4.2")
    assert "kind" in outputs_difference([], [said])
    assert outputs_difference([said], [said]) is None


def test_markdown_is_compared_before_plain_text():
    one = out(text_markdown="a 1.0", text_plain="x")
    other = out(text_markdown="a 9.0", text_plain="x")
    assert outputs_difference([one], [other])


def test_errors_compare_by_name():
    def error(name):
        return {"output_type": "error", "ename": name, "evalue": "", "traceback": []}

    assert outputs_difference([error("ValueError")], [error("ValueError")]) is None
    assert outputs_difference([error("TypeError")], [error("ValueError")])
