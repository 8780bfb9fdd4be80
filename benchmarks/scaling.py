"""Time and memory of one EM step against N, K and D, beside scikit-learn and pomegranate.

    python benchmarks/scaling.py [--threads 2] [--repeats 3]

One number is varied at a time. All libraries take float64 steps from the same parameters, in turns
within one process. pomegranate is measured where it can be imported (`pip install pomegranate`
brings numba along, so the project does not depend on it). The product floor is the time of the
4 N K D² operations of whitening and second moments at the speed of a large square product. Memory
is what the process held at most during a step, beyond what it held before (Linux only). Writes
benchmarks/results/scaling.json and scaling.png.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from em_step import FLOOR, seconds, sklearn_fit
from memory import peak_bytes
from threadpoolctl import threadpool_limits
from torch import Tensor
from tqdm import tqdm

from biglearn_core import GMM
from biglearn_core.displays.style import COLOURS, GREY, tidy
from biglearn_core.em import em_step
from biglearn_core.experiments.store import versions
from biglearn_core.experiments.style import new_figure
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.numerics.points import Points
from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).parent / "results"
LIBRARIES = {
    "biglearn_core": (COLOURS[0], "o"),
    "scikit-learn": (COLOURS[1], "s"),
    "pomegranate": (COLOURS[2], "^"),
    "product floor": (GREY, ""),
}
SKLEARN_STEPS = 4


@dataclass(frozen=True)
class Size:
    """Size of a problem."""

    N: int = 20_000
    K: int = 16
    D: int = 16


SWEEPS = {
    "N": (2_000, 8_000, 32_000, 128_000),
    "K": (4, 16, 64, 128),
    "D": (2, 8, 32, 128),
}


def draw(size: Size) -> Tensor:
    """Draw from unit Gaussians about centres of variance nine."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(size.K, size.D, generator=generator, dtype=torch.float64)
    z = torch.randint(size.K, (size.N,), generator=generator)
    return centres[z] + torch.randn(size.N, size.D, generator=generator, dtype=torch.float64)


def pomegranate_step(X: Tensor, model: GMM) -> Callable[[], object] | None:
    """Make pomegranate's step from given parameters; None where it is not installed."""
    try:
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel
    except ImportError:
        return None

    def step() -> None:
        parts = [
            Normal(mean, covariance)
            for mean, covariance in zip(model.means, model.covariances, strict=True)
        ]
        peer = GeneralMixtureModel(parts, priors=model.weights)
        peer.summarize(X)
        peer.from_summaries()

    return step


def measure(size: Size, repeats: int) -> dict:
    """Least times of one size, in milliseconds, and peaks in megabytes."""
    X = draw(size)
    model = kmeans_plusplus_start(X, size.K, seed=0)
    points = Points.of(X)
    with torch.inference_mode():
        for _ in range(2):
            model = em_step(points, model, covariance_floor=FLOOR).model
    model = GMM(*(part.clone() for part in (model.weights, model.means, model.covariances)))
    square = torch.ones(2048, 2048, dtype=X.dtype)
    square_flops = 2 * len(square) ** 3
    pomegranate = pomegranate_step(X, model)
    n_calls = max(1, 40_000 // size.N)

    def own() -> None:
        with torch.inference_mode():
            em_step(points, model, covariance_floor=FLOOR)

    # A fresh copy of the data, so that nothing kept from earlier steps hides memory.
    peaks = {"biglearn_core": peak_bytes(lambda: _first_step(X, model))}
    peaks["scikit-learn"] = peak_bytes(lambda: sklearn_fit(X, model, 1))
    if pomegranate is not None:
        peaks["pomegranate"] = peak_bytes(pomegranate)
    best: dict[str, float] = {}
    for _ in range(repeats):
        taken = {
            "biglearn_core": seconds(own, n_calls),
            "first": seconds(lambda: sklearn_fit(X, model, 1)),
            "more": seconds(lambda: sklearn_fit(X, model, 1 + SKLEARN_STEPS)),
            "product floor": seconds(lambda: square @ square)
            * (4 * size.N * size.K * size.D**2 / square_flops),
        }
        if pomegranate is not None:
            taken["pomegranate"] = seconds(pomegranate)
        best = {name: min(best.get(name, value), value) for name, value in taken.items()}
    best["scikit-learn"] = (best.pop("more") - best.pop("first")) / SKLEARN_STEPS
    return {
        **asdict(size),
        "milliseconds": {name: round(1e3 * value, 3) for name, value in best.items()},
        "peak_megabytes": {name: round(value / 1e6, 1) for name, value in peaks.items()},
        "share_of_floor": round(best["product floor"] / best["biglearn_core"], 3),
    }


def _first_step(X: Tensor, model: GMM) -> None:
    with torch.inference_mode():
        em_step(Points.of(X), model, covariance_floor=FLOOR)


def plot(rows: dict[str, list[dict]]) -> None:
    """Draw time per step and peak memory against each number, and save the figure."""
    figure, grid = new_figure(2, 3, width=3.4, height=2.7, sharey="row")
    base = asdict(Size())
    for column, (name, group) in zip(grid.T, rows.items(), strict=True):
        fixed = ", ".join(f"{other} = {value}" for other, value in base.items() if other != name)
        column[0].set_title(fixed)
        for axes, quantity in zip(column, ("milliseconds", "peak_megabytes"), strict=True):
            for library, (colour, marker) in LIBRARIES.items():
                seen = [row for row in group if row[quantity].get(library, 0) > 0]
                style = {"color": colour, "marker": marker, "label": library}
                if not marker:
                    style |= {"linestyle": "--"}
                axes.plot(
                    [row[name] for row in seen], [row[quantity][library] for row in seen], **style
                )
            tidy(axes).set(xscale="log", yscale="log")
        column[1].set_xlabel(name)
    grid[0, 0].set_ylabel("time per EM step (ms)")
    grid[1, 0].set_ylabel("memory of a step (MB)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(RESULTS / "scaling.png")


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[str, list[dict]] = {name: [] for name in SWEEPS}
    sizes = [
        (name, replace(Size(), **{name: value}))
        for name, values in SWEEPS.items()
        for value in values
    ]
    with threadpool_limits(options.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, size in tqdm(sizes, desc="sizes", disable=None):
            row = measure(size, options.repeats)
            rows[name].append(row)
            print(
                f"N = {size.N:6}, K = {size.K:3}, D = {size.D:3}: "
                + ", ".join(f"{key} {value:g} ms" for key, value in row["milliseconds"].items())
                + f"; {row['peak_megabytes']} MB",
                flush=True,
            )
    document = {"threads": options.threads, "versions": versions(), "sweeps": rows}
    with write_atomically(RESULTS / "scaling.json") as file:
        file.write(json.dumps(document, indent=1).encode())
    plot(rows)


if __name__ == "__main__":
    main()
