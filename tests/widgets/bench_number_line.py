"""Measure how long the number line takes to answer: run with `pytest -s <this file>`.

Not collected by default; the limit is one frame, 16 ms, for the median of 100.
"""

import statistics

import pytest

from course_utils.widgets.number_line import NumberLine

FRAME_MS = 16

INPUT_TO_TEXT = """() => {
  const input = document.querySelector("input[type=range]");
  const status = document.querySelector("[role=status]");
  const times = [];
  for (let i = 0; i < 100; i += 1) {
    const before = status.textContent, start = performance.now();
    input.value = i % 2 ? 0.3 : -0.3;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.offsetHeight;  // the layout belongs to the answer
    times.push(performance.now() - start);
    if (status.textContent === before) throw new Error("the status did not change");
  }
  return times;
}"""

# From the time stamp of a real key press to the changed status text.
KEY_TO_TEXT = """() => {
  globalThis.times = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => times.push(performance.now() - pressed))
    .observe(document.querySelector("[role=status]"), { childList: true });
}"""


@pytest.mark.parametrize("bits", [4, 8])
def test_an_answer_takes_less_than_a_frame(mount, bits):
    page = mount(NumberLine(bits=bits))
    inside = page.evaluate(INPUT_TO_TEXT)
    page.evaluate(KEY_TO_TEXT)
    page.get_by_role("slider", name="value x").focus()
    for i in range(100):
        page.keyboard.press("ArrowRight" if i % 2 else "ArrowLeft")
    keyed = page.evaluate("times")
    assert len(keyed) == 100
    for name, times in (("input to text and layout", inside), ("key to text", keyed)):
        middle, top = statistics.median(times), max(times)
        print(f"{bits} bits, {name}: median {middle:.2f} ms, max {top:.2f} ms, n 100")
        assert middle < FRAME_MS
