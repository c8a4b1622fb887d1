"""The memory calculator: its arithmetic against the library's, and its controls."""

import dataclasses

import numpy as np
import pytest

from course_utils.measure.footprint import DEVICES, footprint
from course_utils.models.card import CARDS
from course_utils.widgets.memory_calculator import (
    MemoryCalculator,
    amount,
    card_facts,
    parts_of,
    sentence,
)

COMPARED = 10_000
START = MemoryCalculator().settings()


def random_settings(rng: np.random.Generator) -> dict:
    """Return settings from the controls and beside them."""
    name = str(rng.choice(list(CARDS)))
    columns = [cols for _, cols in CARDS[name].linear_shapes().values()]
    sizes = [g for g in (16, 32, 64, 128, 256) if not any(c % g for c in columns)]
    rank = int(rng.choice([0, 4, 16, 37, 256]))
    return {
        "model": name,
        "bits": int(rng.choice([2, 3, 4, 5, 6, 8, 16])),
        "group_size": [None, 0, *sizes][rng.integers(len(sizes) + 2)],
        "zero_bits": int(rng.choice([0, 2, 3, 4, 8, 16])),
        "scale_bits": int(rng.choice([8, 16, 32])),
        "keep_bits": int(rng.choice([4, 5, 8, 16, 32])),
        "context": int(rng.choice([0, 1, 777, *(512 * 2 ** np.arange(9))])),
        "batch": int(rng.integers(1, 129)),
        "kv_bits": int(rng.choice([2, 3, 4, 8, 16, 32])),
        "rank": rank,
        "training": bool(rank and rng.integers(2)),
        "device": str(rng.choice(list(DEVICES))),
    }


def test_javascript_equals_python_to_the_byte(mount):
    page = mount(MemoryCalculator())
    rng = np.random.default_rng(0)
    cases = [random_settings(rng) for _ in range(COMPARED)]
    script = """cases => cases.map((s) => {
      const card = model.state.cards[s.model], device = model.state.devices[s.device];
      return [widget.footprint(card, s), widget.sentence(card, device, s)];
    })"""
    wrong, fits = [], 0
    for case, answer in zip(cases, page.evaluate(script, cases), strict=True):
        parts = parts_of(case)
        expected = dataclasses.asdict(parts) | {"total": parts.total}
        fits += parts.total <= DEVICES[case["device"]]
        if answer != [expected, sentence(parts, case)]:
            wrong.append((case, answer, expected, sentence(parts, case)))
    assert not wrong, wrong[:2]
    # The comparison means little unless both verdicts are among the answers.
    assert COMPARED / 20 < fits < COMPARED * 19 / 20


def test_every_card_and_every_device_is_offered(mount):
    page = mount(MemoryCalculator())
    models = page.get_by_role("combobox", name="model").locator("option")
    assert models.all_inner_texts() == list(CARDS)
    devices = page.get_by_role("combobox", name="device").locator("option")
    assert devices.all_inner_texts() == [
        f"{name}, {size / 1e9:g} GB" for name, size in DEVICES.items()
    ]
    linear = page.evaluate(
        "Object.values(model.state.cards).map(widget.linearParameters)"
    )
    assert linear == [card.linear_parameters for card in CARDS.values()]


@pytest.mark.parametrize("name", CARDS)
def test_the_facts_of_a_card_give_its_cache_and_weights(name):
    card, facts = CARDS[name], card_facts(CARDS[name])
    assert facts["kv"] * 3 * 5 * 16 / 8 == card.kv_bytes(context=3, batch=5, bits=16)
    assert facts["params"] == card.n_params


def shown(page) -> dict:
    """Return the settings in the page's model; its status line must fit them."""
    state = page.evaluate("model.state")
    settings = {name: state[name] for name in START}
    said = page.get_by_role("status").inner_text()
    assert said == sentence(parts_of(settings), settings)
    return settings


@pytest.mark.parametrize(
    ("role", "label", "key", "changed"),
    [
        ("slider", "bits of a weight", "ArrowRight", {"bits": 5}),
        ("slider", "bits of a weight", "End", {"bits": 16}),
        ("slider", "context", "ArrowLeft", {"context": 4096}),
        ("slider", "batch", "ArrowRight", {"batch": 2}),
        ("slider", "LoRA rank", "ArrowRight", {"rank": 4}),
        ("combobox", "model", "Home", {"model": "embedded"}),
        ("combobox", "weights per scale", "ArrowDown", {"group_size": 128}),
        ("combobox", "weights per scale", "End", {"group_size": 0}),
        ("combobox", "bits of a zero point", "ArrowDown", {"zero_bits": 2}),
        ("combobox", "bits of a scale", "Home", {"scale_bits": 8}),
        ("combobox", "bits of the rest", "End", {"keep_bits": 32}),
        ("combobox", "bits of the cache", "ArrowUp", {"kv_bits": 8}),
        ("combobox", "device", "ArrowDown", {"device": list(DEVICES)[1]}),
    ],
)
def test_each_control_by_keyboard(mount, role, label, key, changed):
    page = mount(MemoryCalculator())
    page.get_by_role(role, name=label).focus()
    page.keyboard.press(key)
    assert shown(page) == START | changed
    assert page.evaluate("model.saves") == 1


def test_training_needs_adapters(mount):
    page = mount(MemoryCalculator(rank=4))
    box = page.get_by_label("train the adapters")
    box.focus()
    page.keyboard.press("Space")
    assert shown(page) == START | {"rank": 4, "training": True}
    page.get_by_role("slider", name="LoRA rank").press("Home")
    assert shown(page) == START
    assert box.is_disabled()


def test_a_group_that_does_not_divide_is_not_offered_and_gives_way(mount):
    page = mount(MemoryCalculator(group_size=256))
    page.get_by_role("combobox", name="model").select_option("embedded")
    assert shown(page) == START | {"model": "embedded", "group_size": 64}
    sizes = page.get_by_role("combobox", name="weights per scale").locator("option")
    off = [o.inner_text() for o in sizes.all() if o.is_disabled()]
    assert off == ["128", "256"]  # of 576 columns


def test_sixteen_bits_have_no_scales(mount):
    page = mount(MemoryCalculator(bits=16))
    for label in ("weights per scale", "bits of a scale", "bits of a zero point"):
        assert page.get_by_role("combobox", name=label).is_disabled()
    assert "groups of" not in page.get_by_role("status").inner_text()


def test_table_and_bar_show_the_parts(mount):
    calculator = MemoryCalculator(context=131072, rank=8, device="T4")
    page = mount(calculator)
    parts = calculator.footprint()
    for name in ("weights", "scales", "kept", "kv_cache", "adapters", "total"):
        count = getattr(parts, name)
        row = [page.locator(f"[data-key={name}-{unit}]") for unit in ("GB", "GiB")]
        assert [cell.inner_text() for cell in row] == [
            *(amount(count, "GB"), amount(count, "GiB")),
        ]
    bar = page.locator(".fb-stack").bounding_box()
    assert parts.total > DEVICES["T4"]  # so the parts fill the bar, not the device
    for name in ("weights", "kv_cache"):
        piece = page.locator(f".fb-part.fb-part-{name}").bounding_box()
        # Browsers lay out in 64ths of a pixel.
        wanted = bar["width"] * getattr(parts, name) / parts.total
        assert piece["width"] == pytest.approx(wanted, abs=1 / 32)
    frame = page.locator(".fb-frame").bounding_box()["width"]
    wanted = bar["width"] * DEVICES["T4"] / parts.total
    assert frame == pytest.approx(wanted, abs=1 / 32)


def test_known_bytes_in_words():
    # Counted by hand: 32 layers, weights of 4096 x 4096 (4) and 4096 x 11008 (3).
    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    calculator = MemoryCalculator(
        model="meta-llama/Llama-2-7b-hf", group_size=128, context=4096
    )
    parts = calculator.footprint()
    assert parts.weights == linear // 2
    assert parts.scales == linear // 128 * 2
    assert parts.kv_cache == 2 * 32 * 4096 * 4096 * 2
    assert "It fits in 16 GB, 14.90 GiB (T4)" in repr(calculator)
    assert "(4.125 bits a weight)" in repr(calculator)
    full = MemoryCalculator(
        model="meta-llama/Llama-2-7b-hf", bits=16, context=8192, device="T4"
    )
    assert "It does not fit in 16 GB" in repr(full)
    assert "The model was made for 4,096 tokens." in repr(full)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "gpt-5"}, "No model 'gpt-5'; choose one of embedded"),
        ({"device": "abacus"}, "No device 'abacus'; choose one of T4"),
        ({"group_size": 100}, "does not divide"),
        ({"bits": 0}, "bits must be at least 1"),
        ({"training": True}, "give a rank above 0"),
        ({"speed": 1}, "speed is no setting"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        MemoryCalculator(**settings)


def test_javascript_refuses_a_group_that_does_not_divide(mount):
    page = mount(MemoryCalculator())
    script = """s => {
      try { widget.footprint(model.state.cards[s.model], s); return "" }
      catch (error) { return error.message }
    }"""
    assert "divide" in page.evaluate(script, START | {"group_size": 100})
    with pytest.raises(ValueError, match="divide"):
        footprint(CARDS[START["model"]], group_size=100)


def test_settings_beside_the_controls_are_kept(mount):
    odd = {"bits": 7, "context": 5000, "batch": 3, "rank": 5, "zero_bits": 7}
    page = mount(MemoryCalculator(**odd, group_size=512, keep_bits=5))
    slider = page.get_by_role("slider", name="context")
    assert slider.get_attribute("aria-valuetext") == "5000"
    page.get_by_role("combobox", name="bits of a scale").select_option("8")
    assert shown(page) == START | odd | {
        "group_size": 512,
        "keep_bits": 5,
        "scale_bits": 8,
    }
    slider.press("ArrowRight")
    assert shown(page)["context"] == 8192


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(MemoryCalculator(group_size=128))
    page.evaluate("model.set('model', 'embedded')")  # 128 does not divide 576
    page.evaluate("model.set('group_size', null)")
    assert shown(page) == START | {"model": "embedded", "group_size": None}
    before = page.get_by_role("status").inner_text()
    page.evaluate("unmount()")
    page.evaluate("model.set('bits', 3)")
    assert page.get_by_role("status").inner_text() == before


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(
        MemoryCalculator(
            model="meta-llama/Llama-3.1-70B", context=131072, batch=64, rank=8
        )
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for cell in page.locator(".fb-parts td, .fb-number, .fb-mark").all():
        box = cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_file_is_small_and_loads_nothing():
    text = MemoryCalculator._esm._path.read_text()
    assert len(text.encode()) <= 15_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "http"):
        assert loader not in text
