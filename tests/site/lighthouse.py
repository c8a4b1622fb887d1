"""Lighthouse scores of the landing page and of a lesson, behind our own server.

    python tests/site/lighthouse.py [FOLDER]

A bench, not a test: scores depend on how busy the machine is. Each page is measured
three times with the desktop preset and the median is printed. npm fetches Lighthouse.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

from site_pages import LANDING, LESSON

from course_utils.authoring.site_server import HOST, server
from course_utils.paths import ROOT

LIGHTHOUSE = "lighthouse@12.8.2"
CHROMIUM = "/usr/bin/chromium"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
RUNS = 3
GOAL = 0.95


def scores(address: str) -> dict[str, float]:
    """Return the score of each category for one load of a page."""
    done = subprocess.run(
        [
            *("npx", "--yes", LIGHTHOUSE, address, "--quiet"),
            *("--preset=desktop", "--output=json"),
            "--chrome-flags=--headless=new --no-sandbox",
        ],
        env=os.environ | {"CHROME_PATH": os.environ.get("CHROME_PATH", CHROMIUM)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"Lighthouse did not run:\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    for category in CATEGORIES:
        explain(report, category)
    return {c: report["categories"][c]["score"] for c in CATEGORIES}


def explain(report: dict, category: str) -> None:
    """Print which audits keep a category below the goal."""
    if report["categories"][category]["score"] >= GOAL:
        return
    for reference in report["categories"][category]["auditRefs"]:
        audit = report["audits"][reference["id"]]
        if reference["weight"] and (audit["score"] or 0) < GOAL:
            print(f"  {category}: {audit['title']} ({audit['score']})")


def medians(address: str) -> dict[str, float]:
    """Return the median score of each category."""
    runs = [scores(address) for _ in range(RUNS)]
    return {c: statistics.median(run[c] for run in runs) for c in CATEGORIES}


def main() -> int:
    """Measure both pages; return 1 if a score is below the goal."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "site"
    low = False
    with server(folder) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        for page in (LANDING, LESSON):
            found = medians(f"http://{HOST}:{listening.server_port}/{page}")
            print(page, ", ".join(f"{c} {found[c]:.2f}" for c in CATEGORIES))
            low = low or min(found.values()) < GOAL
        listening.shutdown()
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
