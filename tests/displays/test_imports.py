"""matplotlib is asked for when something is drawn, and not before."""

import subprocess
import sys

from tests.helpers import ROOT

WITHOUT = """
import sys
import numpy as np
from biglearn_core import BigLearnEM, CriterionDisplay, HistoryDisplay, MixtureDisplay
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None
X = np.random.default_rng(0).normal(size=(50, 2))
model = BigLearnEM(1).fit(X)
results = {"covariance_type": ["full"], "n_components": [1], "criterion": [1.0]}
for draw in (
    lambda: MixtureDisplay.from_estimator(model, X),
    lambda: HistoryDisplay.from_estimator(model),
    lambda: CriterionDisplay.from_results(results),
):
    try:
        draw()
    except ImportError as error:
        print(error)
"""


def test_without_matplotlib_the_library_works_and_displays_say_what_they_need():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    message = "displays need matplotlib: pip install 'biglearn-em[plots]', or matplotlib itself"
    assert done.stdout.splitlines() == [message] * 3
