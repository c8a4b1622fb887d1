"""The block inspector: one arithmetic in three places, and its controls."""

import pytest
import torch

from course_utils.formats import gguf_blocks
from course_utils.widgets import block_inspector as inspector
from course_utils.widgets.block_inspector import BlockInspector
from course_utils.widgets.block_layouts import LAYOUTS

KINDS = tuple(gguf_blocks.TYPES)
RAW = 24  # random blocks of a type


def random_blocks(kind, n=RAW):
    """Return blocks of random bytes whose weights are finite, and the weights."""
    generator = torch.Generator().manual_seed(0)
    shape = (4 * n, gguf_blocks.TYPES[kind].n_bytes)
    raw = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    w = gguf_blocks.decode(raw, kind)
    kept = torch.isfinite(w).all(dim=1)
    assert kept.sum() >= n
    return raw[kept][:n], w[kept][:n]


def widget(**settings):
    """Return a widget with every type: random bytes are blocks like any other."""
    generator = torch.Generator().manual_seed(1)
    w = 0.05 * torch.randn(256, generator=generator)
    blocks = {kind: random_blocks(kind)[0][0] for kind in KINDS}
    return BlockInspector(w.tolist(), blocks, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_the_decoders(kind):
    for block, w in zip(*random_blocks(kind), strict=True):
        raw = bytes(block.tolist())
        found = [inspector.inspect(kind, raw, i).value for i in range(len(w))]
        assert found == w.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_belongs_to_one_number(kind):
    """Codes and scales do not overlap, and nothing but whole numbers is left over."""
    layout, used = LAYOUTS[kind], set()
    numbers = [("q", i) for i in range(layout["size"])]
    for name in ("sc", "mn"):
        numbers += [(name, k * layout["sub"]) for k in range(len(layout[name] or []))]
    for name, i in numbers:
        for byte, low, n, shift in inspector.pieces(kind, i)[name]:
            bits = {(byte, low + k) for k in range(n)}
            if not layout["ternary"]:
                assert not bits & used
            assert shift < 8
            used |= bits
    whole = {at for at in (layout["d"], layout["m"]) if at is not None}
    used |= {(at + b, bit) for at in whole for b in (0, 1) for bit in range(8)}
    total = 8 * gguf_blocks.TYPES[kind].n_bytes
    assert len(used) == total


def test_javascript_equals_python(mount):
    page = mount(widget())
    script = """([kind, hex, originals]) => {
      const layout = model.get("layouts")[kind];
      const raw = hex.match(/../g).map((pair) => parseInt(pair, 16));
      return originals.map((w, i) => [
        widget.inspect(layout, raw, i).value, widget.formula(layout, raw, i),
        widget.sentence(kind, layout, raw, i, w)]);
    }"""
    for kind in KINDS:
        for block, w in zip(*random_blocks(kind, 3), strict=True):
            raw = bytes(block.tolist())
            found = page.evaluate(script, [kind, raw.hex(), w.tolist()])
            for i, x in enumerate(w.tolist()):
                assert found[i] == [
                    inspector.inspect(kind, raw, i).value,
                    inspector.formula(kind, raw, i),
                    inspector.sentence(kind, raw, i, x),
                ]


def test_a_byte_says_what_its_bits_are_for(mount):
    page = mount(widget(kind="Q4_0"))
    buttons = page.get_by_role("toolbar").get_by_role("button")
    assert buttons.count() == 18
    about = page.locator(".fb-about")
    buttons.nth(2).hover()
    assert "bits 0 to 3: code of weight 0; bits 4 to 7: code of weight 16." in (
        about.inner_text()
    )
    buttons.nth(0).focus()
    assert "a half of the float16 number d" in about.inner_text()
    page.keyboard.press("ArrowRight")
    assert about.inner_text().startswith("Byte 1,")
    page.keyboard.press("End")
    assert "code of weight 15; bits 4 to 7: code of weight 31." in about.inner_text()
    page.keyboard.press("ArrowRight")  # the last one stays
    assert about.inner_text().startswith("Byte 17,")


@pytest.mark.parametrize("kind", KINDS)
def test_the_marked_bytes_are_those_of_the_weight(mount, kind):
    w = widget(kind=kind, weight=5)
    page = mount(w)
    found = inspector.pieces(kind, 5)
    script = """(part) => [...document.querySelectorAll(".fb-bytes button")]
      .flatMap((b, i) => b.dataset.part === part ? [i] : [])"""
    for name, parts in found.items():
        wanted = {piece[0] for piece in parts}
        marked = set(page.evaluate(script, name))
        # A byte of two scales may hold the minimum as well: the last one is shown.
        assert marked <= wanted
        assert name != "q" or marked == wanted
    said = page.get_by_role("status").inner_text()
    raw = bytes.fromhex(w.blocks[kind])
    assert said == inspector.sentence(kind, raw, 5, w.weights[5])


def test_the_controls_by_keyboard(mount):
    page = mount(widget(kind="Q4_K", weight=100))
    page.get_by_label("weight").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("model.get('weight')") == 101
    page.get_by_label("type").select_option("Q4_0")
    assert page.evaluate("[model.get('kind'), model.get('weight')]") == ["Q4_0", 31]
    assert "Q4_0, weight 31" in page.get_by_role("status").inner_text()
    assert page.evaluate("model.saves") == 2


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(widget(kind="Q4_K", weight=100))
    page.evaluate("model.set('weight', 7)")
    assert "weight 7" in page.get_by_role("status").inner_text()
    page.evaluate("unmount()")
    page.evaluate("model.set('weight', 8)")
    assert "weight 7" in page.get_by_role("status").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    mount(widget(kind="Q6_K"), scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_plain_text_says_what_a_weight_is_made_of():
    w = widget(kind="Q4_0", weight=3)
    assert "Q4_0, weight 3: its code" in repr(w)
    assert "w = d \u00d7 v =" in repr(w)


def test_what_does_not_fit_is_refused():
    w, block = [0.1] * 256, torch.zeros(18, dtype=torch.uint8)
    for arguments, said in (
        (([0.1] * 255, {"Q4_0": block}), "at least 256"),
        ((w, {"Q4_0": block[:17]}), "has 18 bytes, 17 were given"),
        ((w, {"Q9": block}), "Unknown block type"),
        ((w, {"Q4_1": torch.zeros(20, dtype=torch.uint8)}), "no block of Q4_0"),
    ):
        with pytest.raises(ValueError, match=said):
            BlockInspector(*arguments, kind="Q4_0")
    with pytest.raises(ValueError, match="no weight 32"):
        BlockInspector(w, {"Q4_0": block}, kind="Q4_0", weight=32)


def test_the_file_is_small_and_loads_nothing():
    text = BlockInspector._esm._path.read_text()
    assert len(text.encode()) < 20_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "@import", "http"):
        assert loader not in text
