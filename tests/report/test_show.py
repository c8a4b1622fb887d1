"""Figures, images and tables: small, the same every time, and readable without eyes."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from course_utils.report.facts import Fact
from course_utils.report.show import MAX_BYTES, show, show_image
from course_utils.report.style import (
    METHOD_COLOURS,
    METHOD_LABELS,
    METHOD_MARKERS,
    figure,
    method_style,
)
from course_utils.report.table import data_table, table

ALT = "Perplexity falls as the number of bits grows."


def line():
    fig, ax = figure()
    ax.plot([2, 3, 4], [40.0, 20.0, 15.0], **method_style("rtn"))
    ax.set(xlabel="bits", ylabel="perplexity")
    return fig


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape)


def picture(output: tuple[dict, dict]) -> bytes:
    mime = next(key for key in output[0] if key.startswith("image/"))
    return base64.b64decode(output[0][mime])


class Text(HTMLParser):
    """Collects tags with attributes, and texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_a_figure_is_a_small_palette_png_with_alt_text(shown):
    show(line(), alt=ALT, data={"bits": [2, 3], "perplexity": [40.0, 1 / 3]})
    data, metadata = shown[0]
    assert set(data) == {"image/png", "text/plain"}
    assert data["text/plain"] == ALT
    assert metadata == {"image/png": {"alt": ALT}, "fewer_bits": {"alt": ALT}}
    png = picture(shown[0])
    assert len(png) <= MAX_BYTES
    opened = Image.open(io.BytesIO(png))
    assert (opened.format, opened.mode, opened.info.keys()) == ("PNG", "P", set())
    assert opened.size == (768, 432)


def test_the_same_figure_has_the_same_bytes(shown):
    show(line(), alt=ALT)
    show(line(), alt=ALT)
    assert picture(shown[0]) == picture(shown[1])
    assert len(shown) == 2  # no data and no caption: nothing below


@pytest.mark.parametrize(
    "data",
    [
        {"a & b": [2, 3], "ppl": np.array([40.0, 1 / 3])},
        {"a & b": torch.tensor([2, 3]), "ppl": torch.tensor([40.0, 1 / 3])},
        [{"a & b": 2, "ppl": 40.0}, {"a & b": 3, "ppl": 1 / 3}],
    ],
)
def test_the_data_is_folded_below(shown, data):
    show(line(), alt=ALT, data=data, caption="Fewer < more.")
    source = shown[1][0]["text/html"]
    assert source.startswith("<p>Fewer &lt; more.</p><details><summary>Data</summary>")
    page = Text(source)
    assert [t for t in page.texts if t not in ("Fewer < more.", "Data")] == [
        *("a & b", "ppl", "2", "40", "3", "0.3333"),
    ]
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert scopes == ["col", "col", "row", "row"]


def test_the_figure_is_closed_even_after_an_error(shown):
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    with pytest.raises(ValueError, match="alt text"):
        show(fig, alt="Plot")
    assert plt.get_fignums() == []
    assert shown == []


@pytest.mark.parametrize(
    "alt",
    [
        "",
        "Short one here.",
        "Perplexity falls with the bits",
        "Perplexityfallswithbits.",
    ],
)
def test_an_alt_text_is_a_sentence(alt):
    with pytest.raises(ValueError, match="at least 20 characters"):
        show(line(), alt=alt)


def test_a_large_figure_is_refused_with_its_size(shown):
    fig, ax = figure()
    ax.imshow(noise(300, 300), cmap="viridis", aspect="auto", interpolation="nearest")
    with pytest.raises(ValueError, match=r"takes \d{5,} bytes .* draw fewer points"):
        show(fig, alt=ALT)
    assert shown == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"a": [1, 2], "b": [1]}, "one length"),
        ([{"a": 1}, {"b": 1}], "Row 1 of data"),
        ([], "empty"),
        ({"a": range(401)}, "401 rows"),
    ],
)
def test_data_that_is_no_table_is_refused(data, complaint):
    with pytest.raises(ValueError, match=complaint):
        data_table(data)


def test_images_stand_in_a_grid(shown):
    ramp = np.linspace(0, 255, 64, dtype=np.uint8).reshape(8, 8)
    show_image({"8 bits": ramp, "1 bit": (ramp > 127) * 1.0}, alt=ALT, caption="Two.")
    assert shown[0][1]["image/png"] == {"alt": ALT}
    grey = np.asarray(Image.open(io.BytesIO(picture(shown[0]))).convert("L"))
    # Black and white of the images are kept, so uint8 and floats share one scale.
    assert grey.min() <= 4
    assert shown[1][0]["text/html"] == "<p>Two.</p>"


def test_a_photograph_becomes_a_jpeg(shown):
    y, x = np.mgrid[:160, :160] / 160
    photo = 0.5 + 0.4 * np.sin(9 * x * y) + 0.1 * (noise(160, 160) - 0.5)
    levels = {f"{n} levels": np.round(photo * n) / n for n in (4, 16, 64, 256)}
    show_image(levels, alt=ALT)
    mime = next(iter(shown[0][0]))
    assert mime == "image/jpeg"
    assert shown[0][1]["image/jpeg"] == {"alt": ALT}
    assert len(picture(shown[0])) <= MAX_BYTES


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((4, 4, 3)), "one \\(rows, cols\\) array"),
        (np.full((4, 4), 1.5), "scale it to 0"),
        (np.full((4, 4), np.nan), "scale it to 0"),
    ],
)
def test_no_greyscale_image_is_refused(image, complaint):
    with pytest.raises(ValueError, match=complaint):
        show_image(image, alt=ALT)


def test_a_table_formats_its_cells(shown):
    rows = [("RTN", 14.204, 3), {"method": "GPTQ", "ppl": Fact("a/b"), "n": 4}]
    table(rows, {"method": "", "ppl": ".2f", "n": "d"}, "Perplexity by method")
    data = shown[0][0]
    page = Text(data["text/html"])
    assert page.texts == [
        *("Perplexity by method", "method", "ppl", "n"),
        *("RTN", "14.20", "3", "GPTQ", "not yet measured", "4"),
    ]
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert scopes == ["col", "col", "col", "row", "row"]
    assert [tag for tag, _ in page.tags][1] == "caption"
    assert "| RTN | 14.20 | 3 |" in data["text/plain"]


@pytest.mark.parametrize(
    ("rows", "columns", "caption", "complaint"),
    [
        ([("a", 1.0)], {"m": "", "p": ".1f"}, " ", "no caption"),
        ([("a", 1.0)], {"m": "", "p": ".1f"}, "At 4 GB", "'4 GB' is typed"),
        ([("a",)], {"m": "", "p": ".1f"}, "Table", "does not fit"),
        ([{"m": "a", "q": 1}], {"m": "", "p": ""}, "Table", "does not fit"),
        ([("a", 1.0)], {"m": "", "p": ""}, "Table", "has no format"),
    ],
)
def test_a_table_refuses(rows, columns, caption, complaint):
    with pytest.raises(ValueError, match=complaint):
        table(rows, columns, caption)


# Severity 1 of Machado, Oliveira and Fernandes (2009), on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    t = to_xyz @ rgb / [0.95047, 1, 1.08883]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_method_colours_differ_for_every_vision(vision):
    seen = {
        name: lab(np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1))
        for name, colour in METHOD_COLOURS.items()
    }
    names = list(seen)
    apart = {
        (a, b): np.linalg.norm(seen[a] - seen[b])
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
    closest = min(apart, key=apart.get)
    assert apart[closest] >= 30, closest


def test_method_colours_stand_out_from_white():
    for name, colour in METHOD_COLOURS.items():
        luminance = linear(colour) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3, name


def test_every_method_has_one_colour_marker_and_label():
    assert METHOD_COLOURS.keys() == METHOD_LABELS.keys() == METHOD_MARKERS.keys()
    assert len(set(METHOD_MARKERS.values())) == len(METHOD_MARKERS)
    with pytest.raises(ValueError, match="'gtpq' has no colour; the methods are"):
        method_style("gtpq")


def test_figure_gives_one_axes_or_several():
    fig, ax = figure(5, 2)
    assert tuple(fig.get_size_inches()) == (5, 2)
    assert not ax.spines["top"].get_visible()
    assert len(figure(panels=3)[1]) == 3
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="1 or more"):
        figure(panels=0)
