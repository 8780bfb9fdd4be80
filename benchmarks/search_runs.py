"""How the two benchmarks of the search measure a fit, keep its row and go on behind it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from estimators_common import RESULTS, fit_biglearn, grid, one_thread
from search_methods import Method, Problem, Task
from sklearn.metrics import adjusted_rand_score

from biglearn_core import JointEM
from biglearn_core.estimators.scaling import to_unit_scale
from biglearn_core.experiments.store import versions
from biglearn_core.system.persistence import write_text

# Log-likelihoods, in nats, that are less apart than this count as equal.
TOLERANCE = 1e-3


def measure(method: Method, task: Task) -> dict[str, float]:
    """Fit, polish, and tell what came of it.

    Parameters
    ----------
    method : Method
    task : Task

    Returns
    -------
    scores : dict
        `seconds` of processor time without the polish; mean `log_likelihood` of the rows in nats,
        `ari` over the rows that are no noise, and `spurious` components, all with it.
    """
    started = time.process_time()
    found = method.fit(task)
    seconds = time.process_time() - started
    problem = task.problem
    polished = JointEM(problem.K, init=found, tol=1e-6, max_iter=500, device="cpu").fit(problem.X)
    scored = problem.labels > 0
    ari = adjusted_rand_score(problem.labels[scored], polished.predict(problem.X[scored]))
    return {
        "seconds": round(seconds, 4),
        "log_likelihood": round(polished.lower_bound_, 7),
        "ari": round(ari, 4),
        "spurious": count_spurious(polished, problem.X),
    }


def count_spurious(model: JointEM, X: np.ndarray) -> int:
    """Count components on the floor that hold fewer than 2 (D + 1) rows."""
    scale = to_unit_scale(X, least_rows=model.n_components).scale
    covariances = scale.apply_mixture(model.mixture_).covariances
    least = torch.linalg.eigvalsh(covariances).amin(dim=1).numpy()
    few = model.weights_ * len(X) < 2 * (X.shape[1] + 1)
    return int((few & (least <= 1.001 * model.covariance_floor_)).sum())


class Cache:
    """Rows that runs have written to a file, one a line: an interrupted run goes on behind them.

    To run something anew, delete its lines.

    Parameters
    ----------
    path : Path
    keys : tuple of str
        Fields that tell one row from another.
    """

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self._path, self._keys = path, keys
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # killed while it wrote
            write_text(path, whole)
        self.rows: list[dict] = [json.loads(line) for line in whole.splitlines()]
        self._held = {self._key(row) for row in self.rows}

    def _key(self, row: dict) -> tuple:
        return tuple(row[name] for name in self._keys)

    def __contains__(self, row: dict) -> bool:
        """Whether a row of this key is there."""
        return self._key(row) in self._held

    def select(self, **known: list[str]) -> list[dict]:
        """Rows whose fields have one of the values named, in the order of these."""
        own = [row for row in self.rows if all(row[f] in values for f, values in known.items())]
        places = {f: {value: i for i, value in enumerate(values)} for f, values in known.items()}

        def place(row: dict) -> list[int]:
            return [*(places[f][row[f]] for f in known), row["effort"], row["seed"]]

        return sorted(own, key=place)

    def add(self, row: dict) -> None:
        """Append a row."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        self._held.add(self._key(row))


def run(
    cache: Cache,
    where: dict[str, str],
    method: Method,
    problem: Problem,
    seed: int,
    *,
    budget: float | None = None,
) -> None:
    """Measure a method, at each of its efforts, where the cache has no row of it."""
    for effort in method.efforts:
        key = where | {"method": method.name, "effort": effort, "seed": seed}
        if key not in cache:
            N, D = problem.X.shape
            scores = measure(method, Task(problem, effort, seed, budget))
            row = key | {"N": N, "D": D, "K": problem.K} | scores
            cache.add(row)
            print(" ".join(str(value) for value in row.values()), flush=True)


@contextmanager
def measuring() -> Iterator[None]:
    """Give every library one thread, and make a first fit, which loads what later ones use."""
    with one_thread():
        fit_biglearn(grid(2, 100, 0).X, 4, 0)
        yield


def arguments(
    description: str, *, methods: Iterable[str], seeds: int, **lists: str
) -> argparse.ArgumentParser:
    """Make the parser of a benchmark: seeds, folder, methods and further lists to choose from."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=seeds, help="fits of everything")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of cache and results")
    lists["methods"] = f"of {', '.join(methods)}"
    for name, text in lists.items():
        parser.add_argument(f"--{name}", type=lambda value: value.split(","), help=text)
    return parser


def chosen(
    parser: argparse.ArgumentParser, known: Sequence[str], wanted: list[str] | None
) -> list[str]:
    """Names that were asked for, all where none were; ends the program at an unknown one."""
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; known are {', '.join(known)}")
    return [name for name in known if wanted is None or name in wanted]


def count_seeds(rows: Iterable[dict]) -> int:
    """Count the seeds of rows, which runs of other options may have written."""
    return len({row["seed"] for row in rows})


def save_document(
    path: Path, rows: list[dict], methods: Iterable[Method], *, summary: Any, **settings: Any
) -> dict[str, Any]:
    """Write settings, summary and rows, one row a line, and return them."""
    settings = settings | {
        "tolerance": TOLERANCE,
        "labels": {method.name: method.label for method in methods},
        "versions": versions(),
    }
    head = json.dumps({"settings": settings, "summary": summary}, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    write_text(path, f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
    return {"settings": settings, "summary": summary, "rows": rows}
