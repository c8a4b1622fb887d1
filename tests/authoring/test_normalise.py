import copy
from pathlib import Path

import pytest

from course_utils.authoring import notebook
from course_utils.authoring.normalise import normalise
from course_utils.authoring.widget_state import STATE, VIEW

ROOT = Path("/somewhere/checkout")


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def view(model):
    data = {VIEW: {"model_id": model, "version_major": 2, "version_minor": 0}}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def nb_with(*outputs):
    nb = notebook.new_notebook("t")
    cell = notebook.new_cell("code", "x")
    cell["outputs"] = list(outputs)
    cell["execution_count"] = 1
    nb["cells"] = [cell]
    return nb


def cleaned(*outputs):
    return normalise(nb_with(*outputs), ROOT)["cells"][0]["outputs"]


def test_chunks_of_a_stream_are_joined():
    outputs = cleaned(
        stream("a"), stream("b\n"), stream("w\n", "stderr"), stream("c\n")
    )
    assert [(o["name"], o["text"]) for o in outputs] == [
        ("stdout", "ab\n"),
        ("stderr", "w\n"),
        ("stdout", "c\n"),
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<object object at 0x7f3a5c0de123>\n", "<object object at 0x0>\n"),
        ("code 0x7f3a5c0d stays\n", "code 0x7f3a5c0d stays\n"),
        ("10%\r50%\rdone\n", "done\n"),
        ("/somewhere/checkout/book/a.md\n", "book/a.md\n"),
        ("/tmp/ipykernel_12/3456.py:1: note\n", "<cell>:1: note\n"),
    ],
)
def test_what_varies_is_taken_out_of_text(text, kept):
    assert cleaned(stream(text))[0]["text"] == kept


@pytest.mark.parametrize(
    "noise",
    [
        "0.00s - Debugger warning: It seems that frozen modules are being used\n",
        "Loading weights:  50%|#####     | 136/272 [00:00<00:00, 1357.21it/s]\n",
    ],
)
def test_noise_on_stderr_is_dropped_and_warnings_stay(noise):
    assert cleaned(stream(noise, "stderr")) == []
    (left,) = cleaned(stream(f"{noise}UserWarning: real\n", "stderr"))
    assert left["text"] == "UserWarning: real\n"


def test_timings_go_and_counts_stay():
    nb = nb_with(stream("a\n"))
    nb["cells"][0]["metadata"]["execution"] = {"iopub.execute_input": "2026-01-01"}
    normalise(nb, ROOT)
    assert nb["cells"][0]["metadata"] == {}
    assert nb["cells"][0]["execution_count"] == 1


def widgets(box, slider, layout, lost):
    """A box that holds a slider with a layout, and a model that nothing shows."""
    nb = nb_with(view(box), view(slider))
    state = {
        lost: {"model_name": "Lost", "state": {}},
        layout: {"model_name": "LayoutModel", "state": {}},
        slider: {"model_name": "S", "state": {"layout": f"IPY_MODEL_{layout}"}},
        box: {"model_name": "Box", "state": {"children": [f"IPY_MODEL_{slider}"]}},
    }
    kept = {"state": state, "version_major": 2, "version_minor": 0}
    nb["metadata"]["widgets"] = {STATE: kept}
    return normalise(nb, ROOT)


def test_two_runs_with_other_model_ids_give_the_same_bytes():
    one = widgets("a" * 32, "b" * 32, "c" * 32, "d" * 32)
    other = widgets("9" * 32, "3" * 32, "f" * 32, "0" * 32)
    assert notebook.text_of(one) == notebook.text_of(other)


def test_models_are_numbered_in_the_order_in_which_views_reach_them():
    nb = widgets("a" * 32, "b" * 32, "c" * 32, "d" * 32)
    state = nb["metadata"]["widgets"][STATE]["state"]
    names = [state[f"{n:032x}"]["model_name"] for n in (1, 2, 3)]
    assert names == ["Box", "S", "LayoutModel"]
    assert len(state) == 3, "the model that no view reaches is dropped"
    shown = [o["data"][VIEW]["model_id"] for o in nb["cells"][0]["outputs"]]
    assert shown == [f"{1:032x}", f"{2:032x}"]
    assert state[f"{1:032x}"]["state"]["children"] == [f"IPY_MODEL_{2:032x}"]


def test_normalising_twice_changes_nothing():
    once = widgets("a" * 32, "b" * 32, "c" * 32, "d" * 32)
    before = notebook.text_of(once)
    assert notebook.text_of(normalise(copy.deepcopy(once), ROOT)) == before


def test_state_without_a_view_is_dropped():
    nb = nb_with(stream("a\n"))
    nb["metadata"]["widgets"] = {STATE: {"state": {"a" * 32: {"state": {}}}}}
    assert "widgets" not in normalise(nb, ROOT)["metadata"]
