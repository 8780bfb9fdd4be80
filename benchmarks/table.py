"""One table of all benchmarks: benchmarks/results/README.md, from the files that the runs wrote.

python benchmarks/table.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_core.system.persistence import write_atomically

RESULTS = Path(__file__).parent / "results"
RECORDS = Path(__file__).resolve().parents[1] / "results" / "record"

# Units of the costs that are times, in minutes.
_MINUTES = {"seconds": 1 / 60, "minutes": 1.0}

# Methods that another one's networks are read for.
_OF_OTHERS = ("pasted", "vaeac-means", "biglearn-pixels")

# Clusters that combining.py compares.
_MERGED = ("components", "merged", "overlap", "elbow", "direct")


def read(name: str) -> dict[str, Any] | None:
    """Read the results of a benchmark; None where it has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def em_step() -> Iterable[str]:
    """List EM steps of one size each."""
    document = read("em_step")
    if document is None:
        return
    yield "## EM step (`em_step.py`)\n"
    yield f"{document['threads']} threads, milliseconds; the floor is the matrix products alone.\n"
    yield "| data | N × D | K | dtype | step | bar | scikit-learn | naive | floor / step |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in document["rows"]:
        yield (
            f"| {row['name']} | {row['n']} × {row['d']} | {row['k']} | {row['dtype']} "
            f"| {row['step_ms']:.2f} | {row['bar']:g} | {row['sklearn_ms']:.1f} "
            f"| {row['naive_ms']:.0f} | {row['floor_over_step']} |"
        )


def threads() -> Iterable[str]:
    """List fits beside busy processes."""
    document = read("threads")
    if document is None:
        return
    yield "\n## Fits beside busy processes (`threads.py`)\n"
    yield (
        f"{document['cores']} cores, seconds of the wall clock, worst of {document['runs']} and "
        f"(median); busy: two other processes that count. Before: commit {document['against']}.\n"
    )
    yield "| work | machine | threads | now | before | now / before, medians |"
    yield "|---|---|---|---|---|---|"
    for row in document["rows"]:
        now, before = row["here"], row.get("against")
        seconds = [
            "–" if t is None else f"{t['worst']:.3f} ({t['median']:.3f})" for t in (now, before)
        ]
        ratio = "–" if before is None else f"{now['median'] / before['median']:.2f}"
        yield (
            f"| {row['work']} | {'busy' if row['busy'] else 'quiet'} "
            f"| {'one' if row['one_thread'] else 'default'} "
            f"| {seconds[0]} | {seconds[1]} | {ratio} |"
        )


def small_steps() -> Iterable[str]:
    """List small steps beside their limits and those of another checkout."""
    document = read("small_steps")
    if document is None:
        return
    yield "\n## Small steps (`small_steps.py`)\n"
    before = document["against"] and f" Before: commit {document['against']}."
    yield (
        "Milliseconds, one thread but where said; the limit is a step's products and exponentials\n"
        f"alone.{before or ''}\n"
    )
    yield "| step | now | before | before / now | limit | limit / now |"
    yield "|---|---|---|---|---|---|"
    for name, row in document["rows"].items():
        cells = [
            f"{row[key]:.{digits}f}" if key in row else "–"
            for key, digits in (
                ("now_ms", 3), ("before_ms", 3), ("before_over_now", 2),
                ("limit_ms", 3), ("limit_over_now", 2),
            )
        ]  # fmt: skip
        yield f"| {name} | {' | '.join(cells)} |"


def full_run() -> Iterable[str]:
    """List what the jobs of `make reproduce` took, experiment by experiment."""
    yield "\n## What `make reproduce` is made of (the costs in `results/record/`)\n"
    yield (
        "Minutes of the jobs of all seeds added up, each on one core, by the wall clock of the\n"
        "machine that ran them; cores share them. Longest first, down to a twentieth.\n"
    )
    yield "| experiment | minutes | of which |"
    yield "|---|---|---|"
    for name in ("gmm25", "realworld", "fashion", "deep_clustering", "principle", "biglearn_gan"):
        parts = _minutes_of_jobs(name)
        total = sum(parts.values())
        largest = sorted(parts.items(), key=lambda part: -part[1])
        shown = (f"{job} {t:.1f}" for job, t in largest if t > total / 20)
        yield f"| {name} | {total:.0f} | {', '.join(shown)} |"


def _minutes_of_jobs(experiment: str) -> dict[str, float]:
    """Add up the costs of a record that are times of jobs of its own."""
    document = json.loads((RECORDS / f"{experiment}.json").read_text(encoding="utf-8"))
    minutes: dict[str, float] = {}
    for row in document["costs"]:
        if row["metric"] not in _MINUTES or row["method"] in _OF_OTHERS:
            continue
        job = f"{row['dataset']}, {row['method']}"
        job += " (paper's protocol)" if row["protocol"] == "paper" else ""
        minutes[job] = row["mean"] * len(row["seeds"]) * _MINUTES[row["metric"]]
    return minutes


def whole_fits() -> Iterable[str]:
    """List whole fits of the estimators over a range of sizes."""
    document = read("whole_fits")
    if document is None:
        return
    methods = list(dict.fromkeys(row["method"] for row in document["rows"]))
    yield "\n## Whole fits (`whole_fits.py`)\n"
    yield "![seconds of a fit against N, K and D](whole_fits.png)\n"
    yield (
        "Seconds of `fit` on one thread / on two; BigLearnEM's mean log-likelihood, and how far\n"
        f"the others are from it; – beyond {document['limit_s']:g} s. At the end the data are one\n"
        "Gaussian.\n"
    )
    yield f"| N | D | K | {' | '.join(methods)} | log-likelihood |"
    yield f"|---|---|---|{'---|' * (len(methods) + 1)}"
    sizes = dict.fromkeys((r["sweep"], r["N"], r["D"], r["K"]) for r in document["rows"])
    for size in sizes:
        group = [r for r in document["rows"] if (r["sweep"], r["N"], r["D"], r["K"]) == size]
        seconds = [
            " / ".join(_or_dash(r["seconds"], 3) for r in group if r["method"] == method)
            for method in methods
        ]
        reached = {r["method"]: r["log_likelihood"] for r in group if r["log_likelihood"]}
        ours = reached.get("BigLearnEM")
        gaps = ", ".join(
            f"{reached[m] - ours:+.3f}" if ours and m in reached else "–" for m in methods[1:]
        )
        shown = f"{ours:.3f}; {gaps}" if ours else "–"
        yield f"| {size[1]:,} | {size[2]} | {size[3]} | {' | '.join(seconds)} | {shown} |"


def scaling() -> Iterable[str]:
    """List EM steps over a range of sizes."""
    document = read("scaling")
    if document is None:
        return
    yield "\n## EM step against N, K and D (`scaling.py`)\n"
    yield f"{document['threads']} threads, float64, milliseconds and megabytes.\n"
    yield "![time and memory of an EM step](scaling.png)\n"
    yield (
        "| N | K | D | step | scikit-learn | pomegranate | floor / step "
        "| memory, MB (ours, scikit-learn, pomegranate) |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in (row for rows in document["sweeps"].values() for row in rows):
        times, peaks = row["milliseconds"], row["peak_megabytes"]
        memory = ", ".join(
            _or_dash(peaks.get(name)) for name in ("biglearn_core", "scikit-learn", "pomegranate")
        )
        yield (
            f"| {row['N']} | {row['K']} | {row['D']} | {times['biglearn_core']:.2f} "
            f"| {times['scikit-learn']:.1f} | {_or_dash(times.get('pomegranate'))} "
            f"| {row['share_of_floor']} | {memory} |"
        )


def fashion() -> Iterable[str]:
    """List steps on 784 pixels."""
    document = read("fashion_step")
    if document is None:
        return
    yield "\n## EM step on Fashion-MNIST, 70000 × 784, K = 10 (`fashion_step.py`)\n"
    yield (
        f"{document['threads']} threads; the products alone are those of the step, without use of "
        "their symmetry.\n"
    )
    yield "| step | seconds | products alone | products / step |"
    yield "|---|---|---|---|"
    for name, value in document["seconds"].items():
        products = document["product_seconds"][name]
        yield f"| {name} | {value:.2f} | {products:.2f} | {products / value:.2f} |"
    for kind, subset in (("dense", 2000), ("naive", 200)):
        seconds = document[f"{kind}_step_seconds_scaled_from_{subset}"]
        yield f"| {kind} step, scaled from {subset} images | {seconds:.1f} | – | – |"


def gmm25() -> Iterable[str]:
    """Set the step and the default estimator on the 25-GMM data beside what others take."""
    document = read("gmm25_step")
    if document is not None:
        times = document["milliseconds"]
        yield "\n## 25-GMM (`gmm25_step.py`, `estimators_gmm25.py`)\n"
        yield "One thread.\n\n| step | ms |\n|---|---|"
        for name, value in times.items():
            yield f"| {name.replace('_', ' ')} | {value:.2f} |"
    document = read("estimators_gmm25")
    if document is not None:
        yield "\n| estimator | within 2% of the optimum | seconds a fit |"
        yield "|---|---|---|"
        for name, label in (
            ("biglearn", "BigLearnEM"),
            ("sklearn10", "GaussianMixture(n_init=10)"),
            ("sklearn1", "GaussianMixture(n_init=1)"),
        ):
            hits = sum(row[f"{name}_at_optimum"] for row in document["rows"])
            seconds = np.mean([row[f"{name}_seconds"] for row in document["rows"]])
            yield f"| {label} | {hits}/{len(document['rows'])} | {seconds:.3f} |"


def deep_training() -> Iterable[str]:
    """List what an update of a deep peer's autoencoder takes."""
    document = read("deep_training")
    if document is None:
        return
    yield "\n## An update of the shared autoencoder, 256 images (`deep_training.py`)\n"
    share = document["denormal_share_of_momentum"]
    yield f"One thread; {share:.0%} of the momentum is denormal where nothing flushes it.\n"
    yield "| precision of products | denormals flushed | ms | GFLOP/s of products |"
    yield "|---|---|---|---|"
    for row in document["rows"]:
        flushed = "yes" if row["denormals_flushed"] else "no"
        yield (
            f"| {row['precision']} | {flushed} | {row['milliseconds']:.1f} "
            f"| {row['gigaflops_per_second']:.0f} |"
        )


def large_sets() -> Iterable[str]:
    """List whole fits on the large sets."""
    document = read("large_sets")
    if document is None:
        return
    yield "\n## Whole fits on the large sets (`large_sets.py`)\n"
    yield "| set | N × D | K | method | seconds | MB beyond the data | test log-likelihood (nats) |"
    yield "|---|---|---|---|---|---|---|"
    for row in document["rows"]:
        yield (
            f"| {row['set']} | {row['N']} × {row['D']} | {row['K']} | {row['method']} "
            f"| {row['seconds']:.0f} | {row['bytes_beyond'] / 1e6:.0f} "
            f"| {row['test_log_likelihood']:.3f} |"
        )


def grid() -> Iterable[str]:
    """Tell who finds all of a hundred Gaussians."""
    document = read("estimators_grid")
    if document is None:
        return
    yield "\n## A 10×10 grid, K = 100, 8000 points (`estimators_grid.py`)\n"
    yield "![share of seeds at the optimum against time](estimators_grid.png)\n"
    yield "| method | starts or tasks | at the optimum | seconds | mean gap (nats) |"
    yield "|---|---|---|---|---|"
    rows = document["rows"]
    for method, effort in dict.fromkeys((row["method"], row["effort"]) for row in rows):
        runs = [row for row in rows if (row["method"], row["effort"]) == (method, effort)]
        seconds = np.mean([row["run_seconds"] for row in runs])
        gap = np.mean([row["optimum"] - row["run_log_likelihood"] for row in runs])
        hits = sum(row["at_optimum"] for row in runs)
        yield f"| {method} | {effort} | {hits}/{len(runs)} | {seconds:.2f} | {gap:.4f} |"


def problem_lines(document: dict[str, Any]) -> Iterable[str]:
    """List hard problems, a column a method."""
    entries, labels = document["summary"], document["settings"]["labels"]
    heads = _heads(entries, labels)
    yield f"| problem | N × D | K | {' | '.join(heads.values())} |"
    yield "|---" * (3 + len(heads)) + "|"
    for name in dict.fromkeys(entry["problem"] for entry in entries):
        own = {(e["method"], e["effort"]): e for e in entries if e["problem"] == name}
        first = next(iter(own.values()))
        cells = [
            f"{e['found']}/{e['fits']}; {e['d']:+.4f}; {e['ari']:.3f}; {e['seconds']:.2f}"
            if (e := own.get(method))
            else "–"
            for method in heads
        ]
        yield f"| {name} | {first['N']} × {first['D']} | {first['K']} | {' | '.join(cells)} |"


def hard_problems() -> Iterable[str]:
    """Tell what is found of mixtures on which EM depends on its start."""
    document = read("hard_problems")
    if document is None:
        return
    settings = document["settings"]
    yield "\n## Problems on which EM depends on its start (`hard_problems.py`)\n"
    yield (
        f"{settings['seeds']} data seeds, one thread. Every cell: fits that found what EM finds "
        f"from the truth (log-likelihood within {settings['tolerance']:g} nats; for "
        f"{', '.join(settings['by_classes'])} an ARI of {settings['least_share_of_ari']:.0%} of "
        "its); mean difference in nats; mean ARI; median seconds. Restarts are left out where K "
        f"exceeds {settings['restarts_up_to_K']}.\n"
    )
    yield from problem_lines(document)


def class_lines(document: dict[str, Any]) -> Iterable[str]:
    """List methods by size of the public sets."""
    entries = document["summary"]["classes"]
    heads = _heads(entries, document["settings"]["labels"])
    yield (
        "| N | method | sets | reached | mean d (nats) | time, median | time, max "
        "| below restarts, k-means | below restarts, k-means++ | below EM from the labels |"
    )
    yield "|---" * 10 + "|"
    for e in entries:
        counts = [
            "–" if e[name] is None else str(e[name])
            for name in ("below_kmeans", "below_kmeans++", "below_labels")
        ]
        yield (
            f"| {e['class']} | {heads[e['method'], e['effort']]} | {e['sets']} "
            f"| {e['reached']:.3f} | {e['clipped_d']:+.4f} | {_or_dash(e['time_median'], 2)} "
            f"| {_or_dash(e['time_max'], 2)} | {' | '.join(counts)} |"
        )


def set_lines(document: dict[str, Any]) -> Iterable[str]:
    """List public sets, a column a method."""
    entries, labels = document["summary"]["sets"], document["settings"]["labels"]
    heads = _heads(entries, labels)
    yield f"| set | N × D | K | best | {' | '.join(heads.values())} |"
    yield "|---" * (4 + len(heads)) + "|"
    for name in dict.fromkeys(entry["set"] for entry in entries):
        own = {(e["method"], e["effort"]): e for e in entries if e["set"] == name}
        first = next(iter(own.values()))
        cells = [
            f"{e['d']:+.4f}; {e['ari']:.2f}; {e['seconds']:.2f}" if (e := own.get(method)) else "–"
            for method in heads
        ]
        yield (
            f"| {name} | {first['N']} × {first['D']} | {first['K']} "
            f"| {first['best']:.4f} | {' | '.join(cells)} |"
        )


def public_sets() -> Iterable[str]:
    """Tell who reaches the best known likelihood of public sets, and in what time."""
    document = read("public_sets")
    if document is None:
        return
    settings = document["settings"]
    yield "\n## Public sets (`public_sets.py`)\n"
    yield "![share of fits at the best known likelihood against time](public_sets.png)\n"
    yield (
        f"Sets of {settings['source']}; {settings['seeds']} seeds, {settings['large_seeds']} where "
        f"N exceeds {settings['large']}, where there are no restarts from k-means++; one thread. d "
        "is the log-likelihood less the best that any method and seed reached; reached is the "
        f"share of fits with d above −{settings['tolerance']:g}; its mean is over sets and clipped "
        f"at {settings['least_d']:g}. Times are in those of ten restarts from k-means. Below: sets "
        f"on which the mean log-likelihood is lower by more than {settings['tolerance']:g}.\n"
    )
    yield from class_lines(document)
    yield "\nSet by set: mean d (nats); mean ARI; median seconds.\n"
    yield from set_lines(document)


def selection() -> Iterable[str]:
    """Tell which mixtures a criterion chooses, group by group."""
    document = read("selection")
    if document is None:
        return
    settings, rows = document["settings"], document["rows"]
    yield "\n## Which mixture (`selection.py`)\n"
    yield (
        "MixtureSelection by BIC, of full covariances or of all fourteen types, or of full ones by "
        "ICL; and a loop of `GaussianMixture(n_init=10)`, full covariances, over the numbers of "
        "components that the choice of full ones has tried. Criteria in the units of the data, "
        "smaller is better; mean ± deviation over seeds; processor seconds on one thread.\n"
    )
    yield "Where the number is known:\n"
    yield "| set | seeds | known | chosen | right | BIC | seconds | loop: chosen | BIC | seconds |"
    yield "|---" * 10 + "|"
    for name, own in _by_set(rows, "number"):
        ours, loop = own["full"], own.get("loop", [])
        times = [_spread(fits, "seconds", 1) for fits in (ours, loop)]
        known = settings["numbers"].get(name)
        right = "–" if known is None else f"{sum(row['K'] == known for row in ours)}/{len(ours)}"
        yield (
            f"| {name} | {len(ours)} | {known or '–'} | {_numbers(ours)} | {right} "
            f"| {_spread(ours, 'criterion', 1)} | {times[0]} "
            f"| {_numbers(loop)} | {_spread(loop, 'criterion', 1)} | {times[1]} |"
        )
    yield "\nBeside mclust (R, 6.0.0, G up to 9, wreath up to 20):\n"
    yield "| set | mclust, 14 types | all types | mclust, VVV | full | ICL | loop |"
    yield "|---" * 7 + "|"
    for name, own in _by_set(rows, "mclust"):
        best, full = (f"{t} {K}: {value}" for t, K, value in settings["mclust"][name])
        cells = [_choice(own.get(method, [])) for method in ("all", "full", "icl", "loop")]
        yield f"| {name} | {best} | {cells[0]} | {full} | {' | '.join(cells[1:])} |"
    yield "\nGiven type and number, beside the least criterion known:\n"
    yield "| set | type, K | known | reached | seconds |"
    yield "|---" * 5 + "|"
    known = {(name, f"{kind} {K}"): value for name, kind, K, value in settings["known"]}
    for name, own in _by_set(rows, "types"):
        for kind, fits in own.items():
            yield (
                f"| {name} | {kind} | {known[name, kind]} | {_spread(fits, 'criterion', 1)} "
                f"| {_spread(fits, 'seconds', 2)} |"
            )
    yield "\nSets with classes, which no fit sees; the last column is told their number:\n"
    yield "| set | all types: chosen; ARI | full: chosen; ARI | full, as many as classes: ARI |"
    yield "|---" * 4 + "|"
    for name, own in _by_set(rows, "labels"):
        yield (
            f"| {name} | {_choice(own.get('all', []))} | {_choice(own['full'])} "
            f"| {_spread(own['default'], 'ari', 3)} |"
        )
    yield "\nClusters that overlap and are no Gaussians (15 each):\n"
    yield "| set | BIC: chosen; ARI | ICL: chosen; ARI |"
    yield "|---" * 3 + "|"
    for name, own in _by_set(rows, "overlap"):
        yield f"| {name} | {_choice(own['full'])} | {_choice(own['icl'])} |"


def combining() -> Iterable[str]:
    """Tell what merging components that overlap does for the agreement with labels."""
    document = read("combining")
    if document is None:
        return
    yield "\n## Components merged into clusters (`combining.py`)\n"
    settings, rows = document["settings"], document["rows"]
    sets = dict.fromkeys(row["set"] for row in rows)
    yield (
        f"{len(sets)} public sets of at most {settings['most_rows']} rows, components as BIC has "
        f"them; {_seeds(settings['seeds'])}, mean ARI ± deviation, of all sets the mean. "
        "Components are not clusters, and merging promises nothing.\n"
    )
    yield (
        "| set | classes | K | components | merged to the known number | merged while they overlap "
        "(clusters) | merged to the elbow (clusters) | a fit of the known number |"
    )
    yield "|---" * 8 + "|"

    for name in sets:
        own = [row for row in rows if row["set"] == name]
        yield f"| {name} | {own[0]['n_known']} | {_mean(own, 'K', 1)} | {_merged(own, _spread)} |"
    known, K = _mean(rows, "n_known", 1), _mean(rows, "K", 1)
    yield f"| all {len(sets)} | {known} | {K} | {_merged(rows, _mean)} |"


def _merged(rows: list[dict[str, Any]], of: Callable[..., str]) -> str:
    """Cells of what merging gave, with the numbers of clusters where they are not known."""
    found = {kind: of(rows, kind, 3) for kind in _MERGED}
    for kind, number in (("overlap", "n_by_overlap"), ("elbow", "n_at_elbow")):
        found[kind] += f" ({_mean(rows, number, 1)})"
    return " | ".join(found.values())


def diagonal_step() -> Iterable[str]:
    """Compare EM steps of diagonal covariances in both forms."""
    document = read("diagonal_step")
    if document is None:
        return
    yield "\n## Diagonal covariances (`diagonal_step.py`)\n"
    yield f"{document['threads']} thread, milliseconds a step, in turns; of type diag.\n"
    yield "| N × D | K | mixtures | dtype | dense | diagonal | ratio, all six types |"
    yield "|---|---|---|---|---|---|---|"
    cases: dict[tuple, list[dict[str, Any]]] = {}
    for row in document["steps"]:
        key = row["n"], row["d"], row["k"], row["n_mixtures"], row["dtype"]
        cases.setdefault(key, []).append(row)
    for (n, d, k, mixtures, dtype), rows in cases.items():
        one = next(row for row in rows if row["covariance_type"] == "diag")
        ratios = [row["ratio"] for row in rows]
        yield (
            f"| {n} × {d} | {k} | {mixtures} | {dtype} | {one['dense_ms']:.2f} "
            f"| {one['diagonal_ms']:.2f} | {min(ratios):.2f}–{max(ratios):.2f} |"
        )


def scale() -> Iterable[str]:
    """Tell of passes: their share of a step in memory, memory, processes, and the model."""
    document = read("scale")
    if document is None:
        return
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in document["rows"]:
        groups.setdefault(row["group"], []).append(row)
    yield "\n## Past memory and past one process (`scale.py`)\n"
    yield "![time and peak memory against the number of rows](scale.png)\n"
    lines = (_share, _fits, _limit, _same, _ranks, _disk)
    for name, show in zip(("share", "fits", "limit", "same", "ranks", "disk"), lines, strict=True):
        if name in groups:
            yield from show(groups[name])
    if document["model"]:
        yield from _cost(document["model"])


def _share(rows: list[dict[str, Any]]) -> Iterable[str]:
    case, ways = rows[0]["case"], list(rows[0]["seconds"])
    yield (
        f"Seconds of an EM step on {case['N']:,} rows of {case['D']} features, {case['K']} "
        "components, float64, in turns, and the speed beside that of a step in memory:\n"
    )
    yield f"| threads | {' | '.join(ways)} |"
    yield "|---" * (len(ways) + 1) + "|"
    for row in rows:
        held = row["seconds"]["memory"]
        shown = [f"{row['seconds'][w]:.3f} ({held / row['seconds'][w]:.0%})" for w in ways]
        yield f"| {row['case']['threads']} | {' | '.join(shown)} |"


def _fits(rows: list[dict[str, Any]]) -> Iterable[str]:
    case = rows[0]["case"]
    yield (
        f"\nWhole fits of BigLearnEM({case['K']}) on rows of {case['D']} features that are made on "
        f"the fly, {case['threads']} threads:\n"
    )
    yield (
        "| rows | seconds | passes at the end | seconds a pass | peak beyond imports, MiB "
        "| the rows, MiB |"
    )
    yield "|---" * 6 + "|"
    for row in rows:
        n, d = row["case"]["N"], row["case"]["D"]
        a_pass = row.get("seconds_a_pass")
        yield (
            f"| {n:,} | {row['seconds']:.1f} | {'–' if a_pass is None else row['passes']} "
            f"| {_or_dash(a_pass, 2)} | {row['peak_bytes'] / 2**20:.0f} "
            f"| {8 * n * d / 2**20:,.0f} |"
        )


def _limit(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield (
        "\nA memory map under a limit of memory beyond imports (RLIMIT_DATA), and an array without "
        "one; largest difference of any parameter:\n"
    )
    yield "| limit, MiB | rows, MiB | peak, MiB | fit, s | score, s | predict, s | difference |"
    yield "|---" * 7 + "|"
    for row in rows:
        yield (
            f"| {row['case']['MiB'] or 'none'} | {row['bytes'] / 2**20:,.0f} "
            f"| {row['peak_bytes'] / 2**20:.0f} | {row['seconds_to_fit']:.1f} "
            f"| {row['seconds_to_score']:.1f} | {row['seconds_to_predict']:.1f} "
            f"| {_difference(row)} |"
        )


def _same(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield (
        f"\n{rows[0]['steps']} EM steps from one start, by passes over the memory map under the "
        "limit, and in memory without one:\n"
    )
    yield "| limit, MiB | rows, MiB | peak, MiB | seconds | difference |"
    yield "|---" * 5 + "|"
    for row in rows:
        yield (
            f"| {row['case']['MiB'] or 'none'} | {row['bytes'] / 2**20:,.0f} "
            f"| {row['peak_bytes'] / 2**20:,.0f} | {row['seconds']:.1f} | {_difference(row)} |"
        )


def _difference(row: dict[str, Any]) -> str:
    return f"{row['largest_difference']:.1e}" if "largest_difference" in row else "–"


def _ranks(rows: list[dict[str, Any]]) -> Iterable[str]:
    steps = {row["case"]["size"]: row for row in rows if row["case"]["task"] == "rank"}
    if {1, 2} <= steps.keys():
        one, two = (steps[size]["seconds"] for size in (1, 2))
        yield (
            f"\nOne process of one thread takes {one:.2f} s a pass over {steps[1]['case']['N']:,} "
            f"rows in a memory map; two, with half of them each, {two:.2f} s: {one / two:.2f} "
            "times as fast."
        )
    for row in rows:
        if row["case"]["task"] == "reduce":
            times = ", ".join(
                f"{int(n):,} bytes {1e3 * s:.2f} ms" for n, s in row["seconds_of_bytes"].items()
            )
            yield f"An all-reduce of two processes (gloo): {times}."


def _disk(rows: list[dict[str, Any]]) -> Iterable[str]:
    for row in rows:
        size = 8 * row["case"]["N"] * row["case"]["D"] / 2**20
        cold, warm = (row["bytes_a_second"][state] / 2**20 for state in ("cold", "warm"))
        yield (
            f"A memory map of {size:,.0f} MiB is read at {cold:,.0f} MiB/s from the disk, at "
            f"{warm:,.0f} MiB/s from the system's cache."
        )


def _cost(model: dict[str, Any]) -> Iterable[str]:
    errors = model["relative_errors"]
    shapes = ", ".join(f"{shape}: {error:+.0%}" for shape, error in errors.items())
    yield (
        "\nThe model, seconds a row = a + b F + c F K + d K with F features of degree two, is off "
        f"by ({shapes})."
    )
    for row in model.get("ranks", []):
        yield (
            f"Processes: {row['size']}; a pass by the model, which was not fitted to it: "
            f"{row['by_the_model']:.2f} s; measured: {row['measured']:.2f} s."
        )
    far = model.get("far")
    if far is None:
        return
    computed, passes = (
        ", ".join(f"{s:,.0f} s with {name}" for name, s in far[key].items())
        for key in ("seconds_to_compute", "seconds_a_pass")
    )
    yield (
        f"For {far['N']:.0e} rows of {far['D']} features, {far['K']} components, on "
        f"{far['machines']} machines: to compute {computed}; to read {far['seconds_to_read']:.0f} "
        f"s; an all-reduce of {far['bytes_sent_a_pass']:,} bytes {far['seconds_to_reduce']:.2g} s; "
        f"a pass {passes}. It assumes:\n"
    )
    for assumption in far["assumptions"]:
        yield f"- {assumption}"


def _by_set(rows: list[dict[str, Any]], group: str) -> list[tuple[str, dict[str, list[dict]]]]:
    """Rows of a group by set, and by method."""
    found: dict[str, dict[str, list[dict]]] = {}
    for row in rows:
        if row["group"] == group:
            found.setdefault(row["set"], {}).setdefault(row["method"], []).append(row)
    return list(found.items())


def _numbers(rows: list[dict[str, Any]]) -> str:
    """Numbers of components that were chosen, each with how often."""
    chosen = [row["K"] for row in rows]
    counts = {K: chosen.count(K) for K in sorted(set(chosen))}
    return (
        ", ".join(f"{K}" if n == len(chosen) else f"{K} ({n}×)" for K, n in counts.items()) or "–"
    )


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n != 1)}"


def _spread(rows: list[dict[str, Any]], name: str, decimals: int) -> str:
    """Mean and, of several seeds, deviation."""
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return "–"
    text = f"{np.mean(values):.{decimals}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{decimals}f}"


def _mean(rows: list[dict[str, Any]], name: str, decimals: int) -> str:
    return f"{np.mean([row[name] for row in rows]):.{decimals}f}"


def _choice(rows: list[dict[str, Any]]) -> str:
    """Say what was chosen: types and numbers, criterion, agreement with classes."""
    if not rows:
        return "–"
    kinds = ", ".join(dict.fromkeys(f"{row['type']} {row['K']}" for row in rows))
    ari = _spread(rows, "ari", 3)
    return f"{kinds}: {_spread(rows, 'criterion', 1)}" + ("" if ari == "–" else f"; {ari}")


def _heads(entries: list[dict[str, Any]], labels: dict[str, str]) -> dict[tuple[str, int], str]:
    """Words for every method and effort, in order."""
    rows = list(dict.fromkeys((entry["method"], entry["effort"]) for entry in entries))
    graded = {method for method, effort in rows if effort > 1}
    return {
        (method, effort): labels[method] + (f", n_init = {effort}" if method in graded else "")
        for method, effort in rows
    }


def _or_dash(value: float | None, decimals: int = 1) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def main() -> None:
    """Write the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    lines = ["# Benchmarks\n", "Written by `python benchmarks/table.py`; `make bench` runs all.\n"]
    sections = (
        *(em_step, small_steps, whole_fits, scaling, threads, gmm25, fashion),
        *(deep_training, large_sets, grid, public_sets, hard_problems),
        *(selection, combining, diagonal_step, scale, full_run),
    )
    for section in sections:
        lines += section()
    with write_atomically(RESULTS / "README.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    print(RESULTS / "README.md")


if __name__ == "__main__":
    main()
