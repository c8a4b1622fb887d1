"""The same calls in a real kernel: what a notebook file holds afterwards."""

import nbformat
from nbclient import NotebookClient

SOURCE = """
from course_utils.report.say import claim, say
from course_utils.report.show import show
from course_utils.report.style import figure
from course_utils.report.table import table
from course_utils.widgets.number_line import NumberLine
say("Loss {x:.1f}.", x=2.0)
claim("{x:.1f} is less.", 2 < 3, otherwise="No.", x=2.0)
fig, ax = figure()
ax.plot([1, 2])
show(fig, alt="A line that rises from one to two.", data={"y": [1, 2]})
table([("a", 1)], {"name": "", "n": "d"}, "One row")
NumberLine()
"""


def test_outputs_in_a_notebook_file():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.validate(notebook)
    outputs = notebook.cells[0].outputs
    assert [o.output_type for o in outputs] == ["display_data"] * 5 + ["execute_result"]
    said, claimed, image, below, rows, widget = outputs
    assert said.data == {"text/markdown": "Loss 2.0.", "text/plain": "Loss 2.0."}
    assert claimed.metadata == {"fewer_bits": {"claim": True}}
    alt = "A line that rises from one to two."
    assert image.metadata == {"image/png": {"alt": alt}, "fewer_bits": {"alt": alt}}
    assert image.data["image/png"].startswith("iVBOR")
    assert "<details><summary>Data</summary><table>" in below.data["text/html"]
    assert "<caption>One row</caption>" in rows.data["text/html"]
    assert widget.data["text/plain"].startswith("Number line, 4 bits over -1 to 1")
