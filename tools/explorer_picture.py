"""Take the picture of the explorer that docs/explore.md shows: `python tools/explorer_picture.py`.

JupyterLab in a headless Chromium (tools/lab.py), light, after a few hundred tasks of 25-GMM.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
from lab import lab, missing

from biglearn_core.system.persistence import write_atomically

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "explore.png"

_CELL = """from biglearn_core import explore
explorer = explore("25-GMM", seed=5079)
explorer.step(400)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the picture.

    Parameters
    ----------
    arguments : sequence of str, optional
        sys.argv when not given.

    Returns
    -------
    status : int
        1 when there is no browser.
    """
    parser = argparse.ArgumentParser(prog="tools/explorer_picture.py", description=__doc__)
    parser.add_argument(
        "file", nargs="?", type=Path, default=PICTURE, help="default docs/explore.png"
    )
    parser.add_argument("--dark", action="store_true", help="in JupyterLab's dark theme")
    options = parser.parse_args(arguments)
    if (reason := missing()) is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    with lab(size=(1500, 1500)) as page:  # with room for all of it
        page.open([_CELL])
        page.theme(dark=options.dark)
        page.run(0)
        page.wait("return document.querySelector('.biglearn-picture')?.dataset.steps === '2000'")
        output = page.driver.find_element("css selector", ".jp-OutputArea-output .widget-vbox")
        shot = PIL.Image.open(io.BytesIO(output.screenshot_as_png)).convert("RGB")
    with write_atomically(options.file) as file:
        shot.quantize(128).save(file, format="PNG", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
