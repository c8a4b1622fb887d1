"""How figures look: one colour and one marker per method, in every chapter.

The colours were chosen by search: each has a contrast of at least 3 to 1 on white,
and any two of them differ by at least 30 (CIELAB) for normal vision and under
simulated protanopia, deuteranopia and tritanopia. A test computes both again. The
marker says the same once more for readers of a grey print.
"""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

METHOD_COLOURS = {
    "baseline": "#222222",
    "rtn": "#B48700",
    "gptq": "#000FF0",
    "awq": "#FF3C69",
    "smoothquant": "#0F5A1E",
    "nf4": "#A55AFF",
    "hqq": "#A51E78",
    "gguf": "#5A96D2",
    "aqlm": "#690096",
}

METHOD_MARKERS = dict(zip(METHOD_COLOURS, "osD^vPX*h", strict=True))

METHOD_LABELS = {
    "baseline": "baseline",
    "rtn": "round to nearest",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "smoothquant": "SmoothQuant",
    "nf4": "NF4",
    "hqq": "HQQ",
    "gguf": "GGUF",
    "aqlm": "AQLM",
}

_HOUSE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "figure.facecolor": "white",
    "figure.dpi": 120,
    "axes.prop_cycle": matplotlib.cycler(color=list(METHOD_COLOURS.values())),
}


def method_style(method: str) -> dict[str, str]:
    """Return colour, marker and label of `method` as arguments for `ax.plot`.

    Raises: ValueError if the method has no colour yet.
    """
    if method not in METHOD_COLOURS:
        known = ", ".join(METHOD_COLOURS)
        raise ValueError(f"{method!r} has no colour; the methods are {known}.")
    return {
        "color": METHOD_COLOURS[method],
        "marker": METHOD_MARKERS[method],
        "label": METHOD_LABELS[method],
    }


def figure(
    width: float = 6.4, height: float = 3.6, *, panels: int = 1
) -> tuple[Figure, Axes | list[Axes]]:
    """Return a figure in house style and its axes.

    The figure is not registered with pyplot, so nothing shows it but `report.show`.

    Args:
        width: Inches; a page column holds 6.4.
        height: Inches.
        panels: Axes beside each other. More than one gives a list of axes.
    """
    if panels < 1:
        raise ValueError(f"panels must be 1 or more, got {panels}.")
    with matplotlib.rc_context(_HOUSE):
        fig = Figure(figsize=(width, height), layout="constrained")
        axes = list(fig.subplots(1, panels, squeeze=False)[0])
    return fig, axes[0] if panels == 1 else axes
