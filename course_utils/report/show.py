"""Show a figure with its alternative text and the data behind it.

A figure becomes a palette PNG of at most 40 kB. The bytes depend on the figure only:
no software name and no date is written, so a second run gives the same file.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from course_utils.report.publish import publish
from course_utils.report.style import figure
from course_utils.report.table import data_table

MAX_BYTES = 40_000
DOTS_PER_INCH = 120
PALETTE = 64  # enough for text edges in a few colours
# Tried in this order for a photograph that is too large as a PNG.
JPEG_SETTINGS = tuple((dots, q) for dots in (120, 90) for q in (85, 70, 55))


def show(
    fig: Figure,
    *,
    alt: str,
    data: Mapping[str, Sequence] | Sequence[Mapping] | None = None,
    caption: str | None = None,
) -> None:
    """Show `fig`, then its caption and, folded, a table of the plotted data.

    The figure is closed.

    Args:
        fig: A matplotlib figure.
        alt: What the figure shows, as a sentence that ends in a period.
        data: The plotted data: columns by name, or one mapping per row.
        caption: A sentence below the figure.

    Raises:
        ValueError: If the picture is larger than 40 kB, if `alt` is no sentence, or
            if the columns of `data` differ in length.
    """
    try:
        _check_alt(alt)
        table = data_table(data) if data is not None else ""
        png = _palette_png(_draw(fig))
        if len(png) > MAX_BYTES:
            raise ValueError(_too_large(len(png)))
    finally:
        # An open pyplot figure would be shown a second time at the end of the cell.
        plt.close(fig)
    _publish_picture(png, "image/png", alt)
    _publish_below(table, caption)


def show_image(
    images: np.ndarray | Mapping[str, np.ndarray],
    *,
    alt: str,
    caption: str | None = None,
    columns: int = 3,
) -> None:
    """Show greyscale images, several of them as a grid with titles.

    Args:
        images: One image, or images by title. An image is (rows, cols), uint8 or
            floats from 0 (black) to 1 (white).
        alt: What the images show, as a sentence that ends in a period.
        caption: A sentence below the images.
        columns: Images beside each other.

    Raises:
        ValueError: If an image is no greyscale image or the picture is too large.
    """
    _check_alt(alt)
    named = images if isinstance(images, Mapping) else {"": images}
    grey = {title: _grey(image, title) for title, image in named.items()}
    mime, content = _photograph(_image_grid(grey, columns))
    _publish_picture(content, mime, alt)
    _publish_below("", caption)


def _check_alt(alt: str) -> None:
    """Raise unless `alt` can stand for the picture."""
    if len(alt) < 20 or not alt.endswith(".") or len(alt.split()) < 4:
        raise ValueError(
            f"The alt text {alt!r} does not stand for the picture; write a sentence "
            "of at least 20 characters that ends in a period."
        )


def _draw(fig: Figure, dots_per_inch: int = DOTS_PER_INCH) -> Image.Image:
    """Return the figure as pixels on white."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return Image.open(buffer).convert("RGB")


def _palette_png(picture: Image.Image) -> bytes:
    """Return the picture as a PNG of few colours, without metadata."""
    few = picture.quantize(PALETTE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _photograph(fig: Figure) -> tuple[str, bytes]:
    """Return MIME type and bytes of a grey picture: PNG if small enough, else JPEG."""
    content = _palette_png(_draw(fig).convert("L"))
    if len(content) <= MAX_BYTES:
        return "image/png", content
    for dots, quality in JPEG_SETTINGS:
        buffer = io.BytesIO()
        picture = _draw(fig, dots).convert("L")
        picture.save(buffer, format="JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MAX_BYTES:
            return "image/jpeg", buffer.getvalue()
    raise ValueError(_too_large(buffer.tell()))


def _too_large(size: int) -> str:
    return (
        f"The picture takes {size} bytes and {MAX_BYTES} are allowed; make it smaller, "
        "draw fewer points or show fewer images."
    )


def _grey(image: np.ndarray, title: str) -> np.ndarray:
    """Return the image as floats from 0 to 1, checked."""
    grey = np.asarray(image)
    if grey.ndim != 2:
        raise ValueError(
            f"The image {title!r} has shape {grey.shape}; pass one (rows, cols) array "
            "per image."
        )
    grey = grey / 255 if grey.dtype == np.uint8 else grey.astype(np.float64)
    if not (grey.min() >= 0 and grey.max() <= 1):
        raise ValueError(
            f"The image {title!r} runs from {grey.min():.3g} to {grey.max():.3g}; "
            "scale it to 0 (black) to 1 (white)."
        )
    return grey


def _image_grid(images: Mapping[str, np.ndarray], columns: int) -> Figure:
    """Return a figure with one panel per image."""
    across = min(columns, len(images))
    rows = -(-len(images) // across)
    fig, _ = figure(2.1 * across, 2.3 * rows)
    fig.clear()
    panels = fig.subplots(rows, across, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, (title, image) in zip(panels, images.items(), strict=False):
        # "nearest" keeps the pixels: a smoothed picture would hide the steps.
        panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(title, fontsize=9, loc="center")
    return fig


def _publish_picture(content: bytes, mime: str, alt: str) -> None:
    encoded = base64.b64encode(content).decode("ascii")
    publish(
        {mime: encoded, "text/plain": alt},
        {mime: {"alt": alt}, "fewer_bits": {"alt": alt}},
    )


def _publish_below(table: str, caption: str | None) -> None:
    """Show the caption and the folded table, if there are any."""
    parts = []
    if caption:
        parts.append(f"<p>{html.escape(caption)}</p>")
    if table:
        parts.append(f"<details><summary>Data</summary>{table}</details>")
    if parts:
        publish({"text/html": "".join(parts), "text/plain": caption or "Data table"})
