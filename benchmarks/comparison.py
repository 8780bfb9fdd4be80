"""What docs/comparison.md and docs/choose.md say of the benchmarks, from the files of the runs.

python benchmarks/comparison.py puts every list and table between its markers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from public_summary import CLASSES, COMPARED
from search_runs import TOLERANCE
from table import combining, read, scaling

from biglearn_core.reproduce.readme import with_table
from biglearn_core.system.paths import REPOSITORY
from biglearn_core.system.persistence import write_text

DOCS = REPOSITORY / "docs"
COMMAND = "python benchmarks/comparison.py"

OURS = ("biglearn", 1)
PLAIN = ("biglearn-plain", 1)
PEERS = {
    ("kmeans", 10): "ten restarts from k-means",
    ("k-means++", 10): "ten restarts from k-means++",
}
# Shares of the time of ten restarts that are told: more than so many times, or less than its part.
SLOW = 2

# Means of ARI that differ by less are not told apart.
LEAST_ARI = 0.01

IN_TIME = (("kmeans-in-time", 1), ("k-means++-in-time", 1))

Entries = dict[tuple[str, int], dict[str, Any]]


def losses() -> Iterator[str]:
    """List where others are better, or the fit is not what one would wish."""
    public = read("public_sets")
    classes = _classes(public["summary"]["classes"])
    reached = "; ".join(
        f"{_share(own[OURS])} on {own[OURS]['sets']} sets of {name} rows (restarts: "
        f"{_best(own, PEERS)})"
        for name, own in classes.items()
    )
    yield (
        "`BigLearnEM` does not always reach the best likelihood that any method has found for a "
        f"public set: in {reached}."
    )
    medians = _list(f"{own[OURS]['time_median']:.1f}" for own in classes.values())
    yield (
        "On easy small sets it takes longer than ten restarts of `GaussianMixture`: up to "
        f"{max(own[OURS]['time_max'] for own in classes.values()):.1f} times as long. The median "
        f"is {medians} times, by size of the sets."
    )
    ratios = _time_ratios()
    slow = sorted(filter(lambda size: ratios[size] > SLOW, ratios), key=ratios.get, reverse=True)
    yield (
        "Where a start or two would do, the search is dear: on well separated Gaussians and on one "
        f"Gaussian it takes more than {SLOW:g} times as long as ten restarts of `GaussianMixture` "
        f"at {len(slow)} of {len(ratios)} sizes, on one thread: "
        f"{_list(f'{_size(size)} {ratios[size]:.1f}' for size in slow)}."
    )
    for name, key in (("default", OURS), ("default with `plain_likelihood=True`", PLAIN)):
        worse = dict(_below(public["summary"]["sets"], key))
        yield (
            f"On {len(worse)} of the public sets the mean likelihood of the {name} is below that "
            f"of ten restarts by more than {TOLERANCE:g} nats: {_list(_by(worse))}."
        )
    compared = []
    for key, peer in PEERS.items():
        gaps = _gaps(public["summary"]["sets"], key)
        below = {name: -gap for name, gap in gaps.items() if gap < -LEAST_ARI}
        compared.append(
            f"below that of {peer} by more than {LEAST_ARI:g} on {len(below)} of {len(gaps)} "
            f"public sets ({_list(_by(below))}), and above on "
            f"{sum(gap > LEAST_ARI for gap in gaps.values())}"
        )
    yield (
        "A more likely mixture need not agree better with classes. Told their number, its mean ARI "
        f"is {'; '.join(compared)}."
    )
    missed = [
        f"{e['problem']} ({e['found']} of {e['fits']})"
        for e in read("hard_problems")["summary"]
        if (e["method"], e["effort"]) == OURS and e["found"] < e["fits"]
    ]
    yield f"Hard problems, made for it, that it does not solve every time: {_list(missed)}."
    rows = read("selection")["rows"]
    worse = [
        f"{name} ({_mean(own['full'], 'ari'):.2f} against {_mean(own['default'], 'ari'):.2f})"
        for name, own in _sets(rows, "labels")
        if _mean(own["full"], "ari") < _mean(own["default"], "ari")
    ]
    yield (
        f"On {len(worse)} of {len(_sets(rows, 'labels'))} UCI sets with classes the mixture that "
        "BIC chooses, of full covariances, agrees with these less (ARI) than a fit that is told "
        f"their number: {_list(worse)}."
    )
    slower = max(
        _mean(own["full"], "seconds") / _mean(own["loop"], "seconds")
        for _, own in _sets(rows, "number")
    )
    yield (
        f"`MixtureSelection` takes up to {slower:.1f} times as long as a loop of "
        "`GaussianMixture(n_init=10)` over the numbers that it tries, where these are few."
    )
    lower = [
        f"{name} ({theirs['criterion']:.1f} against {ours['criterion']:.1f})"
        for name, own in [*_sets(rows, "number"), *_sets(rows, "mclust")]
        for ours, theirs in [(own["full"][0], own["loop"][0])]
        if theirs["criterion"] < ours["criterion"] - 0.1
    ]
    yield (
        f"That loop ends at a lower BIC on {_list(lower)}; the choice here does not count what "
        "components gain by being thin, unless `plain_likelihood=True`."
    )
    sizes = [row for sweep in read("scaling")["sweeps"].values() for row in sweep]
    peaks = [row["peak_megabytes"] for row in sizes]
    more = sum(p["biglearn_core"] > min(p["scikit-learn"], p["pomegranate"]) for p in peaks)
    yield (
        "A step of EM takes more memory than that of the leaner of scikit-learn and pomegranate "
        f"at {more} of {len(sizes)} sizes (table below)."
    )


def gains() -> Iterator[str]:
    """List where others are worse."""
    classes = _classes(read("public_sets")["summary"]["classes"])
    in_time = "; ".join(
        f"{_share(own[OURS])} against {_best(own, IN_TIME)} ({name} rows)"
        for name, own in classes.items()
    )
    yield f"Given the same time, restarts reach the best known likelihood less often: {in_time}."
    ratios = _time_ratios()
    fast = sorted((size for size in ratios if 1 / ratios[size] > SLOW), key=ratios.get)
    limit = read("whole_fits")["limit_s"]
    yield (
        f"It takes less than 1/{SLOW:g} of the time of ten restarts of `GaussianMixture` on one "
        f"thread (stopped after {limit:g} s) at "
        f"{_list(f'{_size(size)} 1/{1 / ratios[size]:.1f}' for size in fast)}."
    )
    hard = [e for e in read("hard_problems")["summary"] if (e["method"], e["effort"]) == OURS]
    cigars = [e for e in hard if e["problem"].startswith("cigars")]
    yield (
        f"Long parallel classes, from {min(e['K'] for e in cigars)} in the plane to "
        f"{max(e['K'] for e in cigars)} and up to {max(e['D'] for e in cigars)} dimensions: found "
        f"in {sum(e['found'] for e in cigars)} of {sum(e['fits'] for e in cigars)} data sets."
    )
    grid = read("estimators_grid")["rows"]
    ours, theirs = (
        [r for r in grid if (r["method"], r["effort"]) == key]
        for key in (("BigLearnEM", 1), ("scikit-learn, kmeans", 10))
    )
    times = _mean(theirs, "run_seconds") / _mean(ours, "run_seconds")
    yield (
        f"A 10×10 grid of Gaussians: at the optimum in {_hits(ours)}, ten restarts of scikit-learn "
        f"in {_hits(theirs)} and {times:.0f} times the time."
    )
    simulation = read("estimators_gmm25")["rows"]
    counts = [
        f"{name} {sum(row[f'{key}_at_optimum'] for row in simulation)} of {len(simulation)} in "
        f"{_mean(simulation, f'{key}_seconds'):.3f} s"
        for key, name in (("biglearn", "BigLearnEM"), ("sklearn10", "ten restarts"))
    ]
    yield f"The paper's 25 Gaussians, within 2 % of the optimum: {_list(counts)}."


def selection() -> Iterator[str]:
    """Tell what is chosen where the number is known, and beside mclust."""
    document = read("selection")
    rows, numbers = document["rows"], document["settings"]["numbers"]
    known = [(name, own) for name, own in _sets(rows, "number") if name in numbers]
    right, fits = (
        sum(count(own["full"], numbers[name]) for name, own in known)
        for count in (lambda runs, K: sum(r["K"] == K for r in runs), lambda runs, K: len(runs))
    )
    missed = [n for n, own in known if any(row["K"] != numbers[n] for row in own["loop"])]
    yield (
        "Where the number of components is known (grids, parallel classes, one Gaussian, SIPU's "
        f"sets): right in {right} of {fits} choices of `MixtureSelection`, full covariances. A "
        f"loop of `GaussianMixture(n_init=10)` over the same numbers misses {_list(missed)}."
    )
    yield ""
    yield (
        "BIC of the mixture that is chosen, less is better, beside R's mclust (G up to 9, of "
        "wreath up to 20):"
    )
    yield ""
    yield (
        "| set | mclust, 14 types | here, all types | mclust, VVV | here, full | loop, full "
        "| ARI: all types, full, loop |"
    )
    yield "|---" * 7 + "|"
    mclust = document["settings"]["mclust"]
    for name, own in _sets(rows, "mclust"):
        (kind, K, best), (_, K_full, full) = mclust[name]
        chosen = [
            f"{r['type']} {r['K']}: {r['criterion']:.1f}"
            for r in (_first(own, m) for m in ("all", "full", "loop"))
        ]
        aris = [_first(own, m)["ari"] for m in ("all", "full", "loop")]
        ari = " / ".join("–" if a is None else f"{a:.3f}" for a in aris)
        yield (
            f"| {name} | {kind} {K}: {best:.1f} | {chosen[0]} | VVV {K_full}: {full:.1f} "
            f"| {chosen[1]} | {chosen[2]} | {ari if set(aris) != {None} else '–'} |"
        )


def steps() -> Iterator[str]:
    """Repeat the table of steps, without its heading and picture."""
    yield from (line for line in scaling() if line.startswith("|"))


def merging() -> Iterator[str]:
    """Repeat of the table of merged components the overlapping SIPU sets, and the mean of all."""
    lines = [line for line in combining() if line.startswith("|")]
    yield from lines[:2]
    yield from (line for line in lines[2:-1] if line.startswith("| sipu_s") and line[8].isdigit())
    yield from lines[-1:]


def written() -> dict[Path, str]:
    """Put everything into its page.

    Returns
    -------
    texts : dict of Path to str
    """
    comparison, choose = DOCS / "comparison.md", DOCS / "choose.md"
    texts = {path: path.read_text(encoding="utf-8") for path in (comparison, choose)}
    lists = {"losses": losses, "gains": gains}
    tables = {"selection": selection, "steps": steps}
    for name, lines in lists.items():
        text = "\n".join(f"- {line}" for line in lines())
        texts[comparison] = with_table(texts[comparison], text, name=name, by=COMMAND)
    for name, lines in tables.items():
        text = "\n".join(lines())
        texts[comparison] = with_table(texts[comparison], text, name=name, by=COMMAND)
    texts[choose] = with_table(texts[choose], "\n".join(merging()), name="merging", by=COMMAND)
    return texts


def main() -> None:
    """Write the pages."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, text in written().items():
        write_text(path, text)
        print(path)


def _time_ratios() -> dict[tuple[str, int, int, int], float]:
    """Compare BigLearnEM with ten restarts, size by size; what was stopped counts as if done."""
    document = read("whole_fits")
    seconds: dict[tuple, dict[str, float]] = {}
    for row in document["rows"]:
        if row["threads"] == 1:
            size = row["sweep"], row["N"], row["D"], row["K"]
            seconds.setdefault(size, {})[row["method"]] = row["seconds"] or document["limit_s"]
    return {s: t["BigLearnEM"] / t["GaussianMixture, n_init=10"] for s, t in seconds.items()}


def _size(size: tuple[str, int, int, int]) -> str:
    name, N, D, K = size
    return f"{N:,} × {D}, K = {K}{', one Gaussian' if 'no' in name else ''}:"


def _classes(entries: list[dict[str, Any]]) -> dict[str, Entries]:
    """Sort entries by the size of the sets, and by method."""
    return {
        size.name: {(e["method"], e["effort"]): e for e in entries if e["class"] == size.name}
        for size in CLASSES
    }


def _below(entries: list[dict[str, Any]], ours: tuple[str, int]) -> Iterator[tuple[str, float]]:
    """Give the sets on which restarts have a higher mean likelihood, with the difference."""
    likelihoods: dict[str, dict[tuple[str, int], float]] = {}
    for entry in entries:
        own = likelihoods.setdefault(entry["set"], {})
        own[entry["method"], entry["effort"]] = entry["log_likelihood"]
    for name, own in likelihoods.items():
        peers = [own[key] for key in COMPARED.values() if key in PEERS and key in own]
        if peers and own[ours] < max(peers) - TOLERANCE:
            yield name, max(peers) - own[ours]


def _gaps(entries: list[dict[str, Any]], theirs: tuple[str, int]) -> dict[str, float]:
    """Give what the default has more of ARI than a peer, set by set."""
    found: dict[str, dict[tuple[str, int], float]] = {}
    for entry in entries:
        found.setdefault(entry["set"], {})[entry["method"], entry["effort"]] = entry["ari"]
    return {name: own[OURS] - own[theirs] for name, own in found.items() if theirs in own}


def _by(differences: dict[str, float]) -> Iterable[str]:
    return (f"{name} by {difference:.3g}" for name, difference in differences.items())


def _share(entry: dict[str, Any]) -> str:
    return f"{entry['reached']:.0%}"


def _best(own: Entries, methods: Iterable[tuple[str, int]]) -> str:
    return f"at most {max(own[method]['reached'] for method in methods):.0%}"


def _sets(rows: list[dict[str, Any]], group: str) -> list[tuple[str, dict[str, list[dict]]]]:
    found: dict[str, dict[str, list[dict]]] = {}
    for row in rows:
        if row["group"] == group:
            found.setdefault(row["set"], {}).setdefault(row["method"], []).append(row)
    return list(found.items())


def _first(own: dict[str, list[dict[str, Any]]], method: str) -> dict[str, Any]:
    return own[method][0]


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _hits(rows: list[dict[str, Any]]) -> str:
    return f"{sum(row['at_optimum'] for row in rows)} of {len(rows)}"


def _list(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


if __name__ == "__main__":
    main()
