"""Speeds and page scores, printed; never part of the tests.

    make bench

Ratios are taken within one run, because machines differ and are noisy.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from course_utils.formats.affine import QuantSpec, choose_qparams, fake_quantize

ROOT = Path(__file__).parent.parent


def seconds(call: Callable[[], object], repeats: int = 15) -> float:
    """Return the median time of a call after two warm-up calls."""
    for _ in range(2):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def affine_against_torch() -> None:
    """Compare our affine rounding with PyTorch's kernel on one real layer's shape."""
    w = torch.randn(1536, 576, generator=torch.Generator().manual_seed(0))
    spec = QuantSpec(bits=4)

    def theirs() -> torch.Tensor:
        scale, zero_point = choose_qparams(w, spec=spec)
        return torch.fake_quantize_per_channel_affine(
            w, scale.flatten(), zero_point.flatten(), 0, spec.qmin, spec.qmax
        )

    ours_s, theirs_s = seconds(lambda: fake_quantize(w, spec=spec)), seconds(theirs)
    print(
        f"affine, 1536 x 576, one scale a row: ours {1e3 * ours_s:.2f} ms, "
        f"PyTorch's kernel {1e3 * theirs_s:.2f} ms, ratio {ours_s / theirs_s:.2f}"
    )


def run(title: str, *command: str) -> None:
    """Run one bench script of the tests and show what it prints."""
    print(f"\n{title}", flush=True)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=False)


def main() -> None:
    """Run every bench."""
    affine_against_torch()
    quiet = ("-m", "pytest", "-q", "-s", "--no-header")
    run(
        "Widget: from input event to answer",
        *quiet,
        "tests/widgets/bench_number_line.py",
    )
    run("Pages: Lighthouse, desktop, median of 3", "tests/site/lighthouse.py")


if __name__ == "__main__":
    main()
