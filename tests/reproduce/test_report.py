"""The page: verdicts follow the stated tolerances, absent results say so, the file stands alone."""

import json
import math
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy.stats import t as student

from biglearn_core.experiments import record as shape
from biglearn_core.experiments.published import GMM25_JOINT_EM_FINAL_KL, GMM25_SEEDS, SCORES
from biglearn_core.reproduce import readme
from biglearn_core.reproduce.captions import EXPERIMENTS_IN_WORDS, caption
from biglearn_core.reproduce.claims import deep_record, rows
from biglearn_core.reproduce.readme import (
    PAGE,
    README,
    methods_table,
    missed_line,
    recorded,
    summary_lines,
    with_table,
    written,
)
from biglearn_core.reproduce.records import EXPERIMENTS, Record
from biglearn_core.reproduce.report import main, read_sources, write_report
from biglearn_core.reproduce.verdicts import (
    CAVEAT,
    NOT_REPRODUCED,
    NOT_RUN,
    NOT_SHOWN,
    REPRODUCED,
    SHOWN,
    SHOWN_IN_PART,
    Row,
)
from tests.helpers import ROOT


def document(experiment, scores, costs=(), **settings):
    """A record as it is written."""
    entries = {"scores": scores, "costs": list(costs), "versions": {}}
    return {"experiment": experiment, "settings": settings, **entries}


def condensed(dataset, protocol, method, metric, mean, std, n):
    """A row of which only the moments were kept."""
    keys = {"dataset": dataset, "protocol": protocol, "method": method, "metric": metric}
    return {**keys, "unit": "", "mean": mean, "std": std, "seeds": list(range(n))}


def gmm25(biglearn, spread=0.01, final_shift=0.0, seeds=GMM25_SEEDS):
    """Ten seeds whose means are known; Joint-EM's as published."""
    signs = [(-1) ** i for i in range(len(seeds))]
    columns = {
        "Joint-EM": {
            ("paper", "min_kl", "nats"): [0.263266 + 0.03 * sign for sign in signs],
            ("paper", "final_kl", "nats"): [
                GMM25_JOINT_EM_FINAL_KL.get(seed, 0.3) + final_shift for seed in seeds
            ],
            ("fair", "fair_kl", "nats"): [0.26] * len(seeds),
            ("fair", "at_optimum", ""): [False] * len(seeds),
        },
        "BigLearn-EM": {
            ("paper", "min_kl", "nats"): [biglearn + spread * sign for sign in signs],
            ("paper", "final_kl", "nats"): [0.04] * len(seeds),
            ("fair", "fair_kl", "nats"): [0.03] * len(seeds),
            ("fair", "at_optimum", ""): [True] * len(seeds),
        },
    }
    seconds = {("both", "seconds", "s"): [1.0] * len(seeds)}
    return document(
        "gmm25",
        [r for m, scores in columns.items() for r in shape.rows("25-GMM", m, seeds, scores)],
        [r for m in columns for r in shape.rows("25-GMM", m, seeds, seconds)],
    )


def hundred(reached, joint=0):
    scores = []
    for method, n in (("BigLearn-EM", reached), ("Joint-EM", joint)):
        hits = {("fair", "at_optimum", ""): [seed < n for seed in range(100)]}
        scores += shape.rows("25-GMM", method, range(100), hits)
    return document("gmm25_hundred", scores)


def realworld(*rows):
    return document("realworld", [condensed(*row) for row in rows])


def fashion(final, best, n_images=70000):
    columns = {("fair", "log_likelihood", "nats"): [0.0, -1.0]}
    columns |= {("fair", score, ""): [final, final - 0.1] for score in SCORES}
    columns |= {("paper", score, ""): [best, best] for score in SCORES}
    scores = shape.rows("Fashion-MNIST", "BigLearn-EM", (0, 1), columns)
    minutes = {("both", "minutes", "min"): [2.0, 2.0]}
    costs = shape.rows("Fashion-MNIST", "BigLearn-EM", (0, 1), minutes)
    return document("fashion", scores, costs, n_images=n_images)


def deep(methods, n_images=70000, **settings):
    """Methods with their accuracy, in both protocols, and seeds; NMI is 0.05 above it."""
    scores, costs = [], []
    for method, acc, n in methods:
        columns = {
            (protocol, score, ""): [acc + 0.05 * (score == "nmi")] * n
            for protocol in ("fair", "paper")
            for score in SCORES
        }
        seconds = {("both", "seconds_with_pretraining", "s"): [60.0] * n}
        scores += shape.rows("Fashion-MNIST", method, range(n), columns)
        costs += shape.rows("Fashion-MNIST", method, range(n), seconds)
    return document("deep_clustering", scores, costs, n_images=n_images, **settings)


def beside(ours, peer, n_seeds, **settings):
    methods = (("dec", peer, n_seeds), ("kmeans", 0.4, n_seeds), ("biglearn-ae", ours, n_seeds))
    return deep(methods, **settings)


def with_row(found, method, protocol, metric, mean):
    """The record with another mean in one row."""
    keys = {"method": method, "protocol": protocol, "metric": metric}
    scores = [
        {**row, "mean": mean} if all(row[k] == v for k, v in keys.items()) else row
        for row in found["scores"]
    ]
    return {**found, "scores": scores}


def judged(*documents):
    return rows({found["experiment"]: Record.of(found) for found in documents})


def of_deep(found):
    return [row for row in found if row.experiment == "deep_clustering"]


def verdict(found, start):
    (row,) = (row for row in judged(found) if row.claim.startswith(start))
    return row.verdict


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.0305, REPRODUCED), (0.0345, CAVEAT), (0.0450, NOT_REPRODUCED), (0.0160, NOT_REPRODUCED)],
)
def test_a_published_mean(mean, expected):
    assert verdict(gmm25(mean), "25-GMM: BigLearn-EM's least") == expected


@pytest.mark.parametrize(("shift", "expected"), [(4e-5, REPRODUCED), (6e-5, NOT_REPRODUCED)])
def test_a_replayed_figure(shift, expected):
    assert verdict(gmm25(0.03, final_shift=shift), "25-GMM: Joint-EM's final") == expected


def test_other_seeds_are_another_experiment():
    assert {row.verdict for row in judged(gmm25(0.03, seeds=GMM25_SEEDS[1:]))} == {NOT_RUN}


@pytest.mark.parametrize(
    ("reached", "joint", "expected"),
    [(100, 0, REPRODUCED), (96, 0, CAVEAT), (50, 45, NOT_REPRODUCED), (100, 100, NOT_REPRODUCED)],
)
def test_freedom_from_bad_optima(reached, joint, expected):
    assert verdict(hundred(reached, joint), "25-GMM: BigLearn-EM does not end") == expected


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0.974, REPRODUCED), (0.99, CAVEAT), (0.996, NOT_REPRODUCED)]
)
def test_a_published_seed(quantile, expected):
    std = 0.02
    mean = 0.8399346955565458 - student.ppf(quantile, 9) * std * (1 + 1 / 10) ** 0.5
    record = realworld(("pendigits", "paper", "BigLearn-EM", "test_nmi", mean, std, 10))
    assert verdict(record, "Pendigits: NMI of BigLearn-EM") == expected


# Student's interval over ten seeds is 0.715 deviations to either side.
@pytest.mark.parametrize(
    ("difference", "std", "expected"),
    [
        (0.10, 0.05, REPRODUCED),
        (0.01, 0.05, NOT_REPRODUCED),
        (0.01, 0.0139, REPRODUCED),  # whatever the deviation of the scores themselves
        (0.01, 0.0141, NOT_REPRODUCED),
        (-0.10, 0.05, NOT_REPRODUCED),
        (0.10, None, NOT_RUN),  # one seed
    ],
)
def test_one_method_above_another(difference, std, expected):
    keys = ("glass", "fair", "BigLearn-EM")
    pairs = (*keys, "test_nmi_above_joint_em", difference, std, 1 if std is None else 10)
    record = realworld((*keys, "test_nmi", 0.5 + difference, 0.05, 10), pairs)
    assert verdict(record, "Glass: BigLearn-EM above Joint-EM in NMI") == expected


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ((0.1, 0.2, 0.1, 0.3, 0.2, 0.1), REPRODUCED),  # p = 2^(1−6) = 0.031
        ((0.1, 0.2, 0.1, 0.3, 0.2, -0.4), CAVEAT),
        ((0.1, -0.2, -0.1, -0.3, 0.2, -0.4), NOT_REPRODUCED),
        ((0.1, 0.2, 0.1, 0.3, 0.2), NOT_RUN),  # too few sets
    ],
)
def test_one_method_above_another_over_all_sets(gaps, expected):
    sets = [
        (f"set {i}", "fair", "BigLearn-EM", "test_nmi_above_joint_em", gap, 0.05, 10)
        for i, gap in enumerate(gaps)
    ]
    assert verdict(realworld(*sets), "All sets: BigLearn-EM above Joint-EM in NMI") == expected


@pytest.mark.parametrize(
    ("final", "best", "expected"),
    [(0.66, 0.66, REPRODUCED), (0.60, 0.66, CAVEAT), (0.60, 0.61, NOT_REPRODUCED)],
)
def test_as_good_as_deep_clustering(final, best, expected):
    assert verdict(fashion(final, best), "Fashion-MNIST, raw") == expected


def test_a_part_of_the_images_says_nothing():
    assert verdict(fashion(0.9, 0.9, n_images=3000), "Fashion-MNIST, raw") == NOT_RUN


def principle(spurious, success, covered, seeds=GMM25_SEEDS):
    """Minima by task, shares of starts by dwell, and modes found by plan."""
    groups = {
        "joint": 4, "marginal 45°": 0, "mean of the 12 marginals": 4,
        "mean of the 49 conditionals": 0, "mean of all 61 tasks": 0, **spurious,
    }  # fmt: skip
    scores = []
    for name, n in groups.items():
        columns = {("paper", "spurious_minima", ""): [n], ("paper", "least", "nats"): [0.0]}
        if n:
            columns["paper", "spurious_value", "nats"] = [0.5]
        scores += shape.rows("two Gaussians", name, [0], columns)
    for name, values in success.items():
        columns = {("fair", "success", ""): values}
        scores += shape.rows("two Gaussians", name, range(len(values)), columns)
    for name, values in covered.items():
        columns = {("paper", "covered", ""): values}
        scores += shape.rows("25 Gaussians", name, seeds, columns)
    return document("principle", scores)


STUCK = {"joint only": [0.57], "dwell 1": [0.57, 0.6], "dwell 20": [1.0, 1.0]}
FOUND = {"joint only": [1] * 10, "big learning, dwell 20": [25] * 10}


@pytest.mark.parametrize(
    ("spurious", "expected"),
    [
        ({"mean of the 12 marginals": 0}, SHOWN),
        ({}, SHOWN_IN_PART),
        ({"joint": 0, "mean of the 12 marginals": 0}, NOT_SHOWN),
    ],
)
def test_tasks_share_the_optima_alone(spurious, expected):
    assert verdict(principle(spurious, STUCK, FOUND), "Two Gaussians, reverse KL") == expected


@pytest.mark.parametrize(
    ("published", "expected"),
    [([1.0, 1.0], SHOWN), ([1.0, 0.9], SHOWN_IN_PART), ([0.57, 0.5], NOT_SHOWN)],
)
def test_switching_leaves_local_optima(published, expected):
    found = principle({}, STUCK | {"dwell 20": published}, FOUND)
    assert verdict(found, "Two Gaussians: switching") == expected


@pytest.mark.parametrize(
    ("covered", "expected"),
    [([25] * 10, SHOWN), ([22] * 10, SHOWN_IN_PART), ([25] * 9 + [1], NOT_SHOWN)],
)
def test_big_learning_finds_all_modes(covered, expected):
    found = principle({}, STUCK, FOUND | {"big learning, dwell 20": covered})
    assert verdict(found, "25 Gaussians from one corner, reverse KL: big") == expected
    other = principle({}, STUCK, FOUND | {"joint only": covered})
    stuck = NOT_SHOWN if min(covered) > 12 else SHOWN_IN_PART
    assert verdict(other, "25 Gaussians from one corner, reverse KL: joint") == stuck


def test_other_seeds_say_nothing_of_the_published_ones():
    found = principle({}, STUCK, FOUND, seeds=range(10))
    assert verdict(found, "25 Gaussians from one corner, reverse KL: big") == NOT_RUN


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.tags, self.open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_without_results_every_row_names_its_command(tmp_path):
    found = write_report(root=tmp_path)
    assert {row.verdict for row in found} == {NOT_RUN}
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("<code>") == len(found)
    assert "gmm25: no result" in text


def test_the_page_of_record_stands_alone(tmp_path):
    shutil.copytree(ROOT / "results" / "record", tmp_path / "record")
    found = write_report(root=tmp_path)
    page = Page(tmp_path / "index.html")
    assert not page.open
    assert "script" not in page.tags
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert page.tags.count("tr") == len(found) + page.tags.count("table")
    figures = list((tmp_path / "record" / "figures").glob("*.png"))
    assert page.tags.count("img") == len(figures)


def test_the_page_begins_with_the_newest_experiment_and_counts_in_plain_words(tmp_path):
    shutil.copytree(ROOT / "results" / "record", tmp_path / "record")
    found = write_report(root=tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r'<h2 id="(\w+)">', text)
    assert shown == [name for name in reversed(EXPERIMENTS) if name in shown]
    assert set(shown) == {row.experiment for row in found}
    head = re.search(r"Of (\d+) claims: ([^<]*)", text)
    assert int(head.group(1)) == len(found) == sum(map(int, re.findall(r"\d+", head.group(2))))
    assert "How to read." in text


def test_every_experiment_has_a_question_and_every_figure_of_record_a_sentence():
    for name in EXPERIMENTS:
        assert name.endswith("_seeds") or EXPERIMENTS_IN_WORDS[name].question.endswith("?"), name
    for name, source in read_sources(ROOT / "results").items():
        for path in source.figures:
            if path.parent.parent.name == "record":
                sentence = caption(name, path.stem.removeprefix(f"{name}_"))
                assert len(sentence.split()) > 5, path.name
                assert sentence.endswith("."), path.name


def test_a_verdict_or_experiment_without_words_is_shown_all_the_same(tmp_path, monkeypatch):
    row = Row(experiment="new", claim="c", published="p", source="s", verdict="of another kind")
    monkeypatch.setattr("biglearn_core.reproduce.report.rows", lambda records: [row])
    assert write_report(root=tmp_path) == [row]
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "of another kind" in text
    assert '<h2 id="new">New</h2>' in text
    assert caption("new", "some_figure") == "Some figure."


def test_a_newer_run_comes_before_the_record(tmp_path):
    for folder, name in (("record", "gmm25.json"), ("gmm25/full", "summary.json")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text(json.dumps(gmm25(0.03)))
    record, local = tmp_path / "record" / "gmm25.json", tmp_path / "gmm25/full/summary.json"
    for seconds, newest in enumerate((record, local, record), start=2_000_000_000):
        os.utime(newest, (seconds, seconds))
        assert read_sources(tmp_path)["gmm25"].path == newest


def test_a_damaged_record_is_named(tmp_path, capsys):
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "fashion.json").write_text('{"runs": [')
    assert main(["--root", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert re.search(r"fashion\.json is damaged.*delete it", message)
    assert not (tmp_path / "index.html").exists()


RECORDS = sorted((ROOT / "results" / "record").glob("*.json"))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.sampled_from(
        [10**400, 2**63, 1e308, math.nan, math.inf, "", "x", "7", [], {}, [1], {"a": 1}]
    ),
)


def nodes(document):
    """Every place in a document: its container and the key there."""
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from nodes(document[key])


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_record_with_any_other_value_is_used_or_refused_by_name(tmp_path, data):
    path = data.draw(st.sampled_from(RECORDS))
    record = json.loads(path.read_text())
    record.pop("curves", None)  # which no table shows
    places = list(nodes(record))
    container, key = places[data.draw(st.integers(0, len(places) - 1))]
    if data.draw(st.booleans()):
        container[key] = data.draw(VALUES)
    else:
        del container[key]
    (tmp_path / path.name).write_text(json.dumps(record))
    try:
        records = recorded(tmp_path)
    except ValueError as error:
        assert re.match(rf"{tmp_path}/{path.name} has another shape: .*found", str(error))  # noqa: PT017
        assert str(error).endswith("; delete it and run `make reproduce`")  # noqa: PT017
    else:
        assert len(rows(records)) > 10
        methods_table(deep_record(records))
    finally:
        (tmp_path / path.name).unlink()


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", '"x"', "{}", "[" * 5000, '{"a": 1, "a": 2}']
)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_record_of_another_shape_ends_every_command_in_one_line(
    tmp_path, name, content, capsys, monkeypatch
):
    path = tmp_path / "record" / f"{name}.json"
    path.parent.mkdir()
    path.write_text(content)
    assert main(["--root", str(tmp_path)]) == 1
    monkeypatch.setattr(readme, "recorded", lambda: recorded(path.parent))
    before = README.read_bytes(), PAGE.read_bytes()
    assert readme.main([]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(rf"error: {path} (is damaged|has another shape)", line)
        assert line.endswith(f"delete it and run `make reproduce`, or restore it by `git checkout "
                             f"-- {path}`")  # fmt: skip
    assert not (tmp_path / "index.html").exists()
    assert (README.read_bytes(), PAGE.read_bytes()) == before


def test_equal_scores_of_all_seeds_are_no_division_by_zero():
    record = realworld(("pendigits", "paper", "BigLearn-EM", "test_nmi", 0.5, 0.0, 10))
    assert verdict(record, "Pendigits: NMI of BigLearn-EM") == NOT_REPRODUCED


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path, capsys):
    assert main(["--root", str(tmp_path / "reslts")]) == 1
    assert f"there is no folder {tmp_path / 'reslts'}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_text_is_escaped(tmp_path):
    (tmp_path / "record").mkdir()
    record = {**gmm25(0.03), "versions": {"<b>": "1"}}
    (tmp_path / "record" / "gmm25.json").write_text(json.dumps(record))
    write_report(root=tmp_path)
    assert "&lt;b&gt;" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (beside(0.62, 0.61, 3), REPRODUCED),
        (beside(0.62, 0.61, 2), CAVEAT),
        (beside(0.61, 0.61, 3), NOT_REPRODUCED),
        (beside(0.62, 0.61, 3, n_images=3000), NOT_RUN),
    ],
)
def test_deep_clustering_as_trained_here(record, verdict):
    row = of_deep(judged(record))[-1]
    assert row.verdict == verdict
    if verdict != NOT_RUN:
        assert "biglearn-ae" in row.fair
        assert "dec 0.610 / 0.660" in row.fair


def test_a_record_of_more_seeds_takes_the_place_of_the_one_beside_it():
    def both(one, more):
        records = {"deep_clustering": Record.of(one), "deep_clustering_seeds": Record.of(more)}
        return of_deep(rows(records))

    methods = (("dec", 0.61, 1), ("kmeans", 0.4, 1), ("biglearn-ae", 0.60, 1))
    # The pixels are in the notebook's record alone.
    one, three = deep((*methods, ("biglearn-pixels", 0.60, 1))), beside(0.64, 0.61, 3)
    own, best = both(one, three)
    assert (own.verdict, best.verdict) == (NOT_REPRODUCED, REPRODUCED)
    assert "(seeds: biglearn-pixels 1, peers 3)" in own.fair
    alone = of_deep(rows({"deep_clustering_seeds": Record.of(three)}))
    assert [row.verdict for row in alone] == [NOT_RUN, REPRODUCED]
    for changes in ({"n_images": 3000}, {"n_epochs": 1}):
        assert both(one, beside(0.64, 0.61, 3, **changes))[1].verdict == NOT_REPRODUCED


def test_every_protocol_names_its_own_best_peer_and_all_peers_need_their_seeds():
    record = with_row(beside(0.62, 0.61, 3), "kmeans", "paper", "acc", 0.70)
    row = of_deep(judged(with_row(record, "kmeans", "paper", "nmi", 0.5)))[-1]
    assert row.paper == "biglearn-ae 0.620 / 0.670; kmeans 0.700 / 0.500"
    assert row.fair.startswith("biglearn-ae 0.620 / 0.670; dec 0.610 / 0.660; accuracy above 2/2")
    assert row.verdict == REPRODUCED
    row = of_deep(judged(deep([("dec", 0.61, 3), ("kmeans", 0.4, 1), ("biglearn-ae", 0.62, 3)])))[
        -1
    ]
    assert row.verdict == CAVEAT
    assert "peers 1 to 3" in row.fair


def test_the_pages_show_the_results_of_record():
    texts = written()
    assert set(texts) == {README, PAGE}
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text


def test_the_summary_counts_every_claim_and_leaves_out_what_was_not_run():
    lines = summary_lines(recorded()).splitlines()
    assert len(lines) == 7
    head = lines[0].removeprefix("- ")
    n, *counts = map(int, re.findall(r"\d+", head))
    assert n == sum(counts) == len(rows(recorded()))
    alone = summary_lines({"gmm25_hundred": Record.of(hundred(96, joint=3))}).splitlines()
    assert "BigLearn-EM in 96 of 100, Joint-EM in 3 of 100" in alone[1]
    assert "Pendigits" not in "".join(alone[2:])
    costs = [
        condensed(name, "fair", method, "seconds", mean, 0.1, 3)
        for name in ("pendigits", "covtype")
        for method, mean in (("BigLearn-EM", 61.7), ("Joint-EM", 0.123))
    ]
    timed = summary_lines({"realworld": Record.of(document("realworld", [], costs))})
    assert "Joint-EM: Pendigits 62 / 0.12, Covtype 62 / 0.12." in timed
    below, above = (
        summary_lines(
            {"fashion": Record.of(fashion(acc, acc)), "deep_clustering": Record.of(peers)}
        )
        for acc, peers in ((0.5, beside(0.5, 0.4, 3)), (0.7, beside(0.7, 0.4, 3)))
    )
    assert below.endswith("(as good on raw pixels: not reproduced).")
    assert above.endswith("(as good on raw pixels: reproduced).")


def test_published_seeds_away_from_the_optimum_are_named():
    assert missed_line(Record.of(gmm25(0.03))) == ""
    assert missed_line(Record()) == ""
    found = gmm25(0.03, spread=0.01)
    for row in found["scores"]:
        if (row["method"], row["metric"]) == ("BigLearn-EM", "at_optimum"):
            row["values"][2:4] = [False, False]
    line = missed_line(Record.of(found))
    assert line.startswith("On 2 of the 10 published seeds of 25-GMM (3325, 2580) ")
    assert "the mean of the other 8 is 0.0300 (published, of all: 0.0301)" in line


def test_the_table_of_methods_keeps_others_figures_apart():
    record = deep([("dec", 0.25, 3), ("biglearn-ae", 0.5, 1), ("new", 0.5, 1)])
    record["labels"] = {"biglearn-ae": "BigLearn-EM on AE code", "dec": "DEC"}
    moments = [
        {"mean": 0.25, "std": 0.125} if r["method"] == "dec" else {} for r in record["scores"]
    ]
    record["scores"] = [r | m for r, m in zip(record["scores"], moments, strict=True)]
    head, _, dec, ours, new = methods_table(Record.of(record)).splitlines()
    assert head.split(" | ")[2:5] == ["ACC", "NMI", "ARI"]
    assert dec.startswith("| DEC | 3 | 0.250 ± 0.125 | ")
    assert dec.endswith("| 0.618 / 0.651 / 0.494 |")
    assert ours == "| BigLearn-EM on AE code | 1 | 0.500 | 0.550 | 0.500 | 60 | – |"
    assert new.startswith("| new | 1 | ")  # a method without a label has its own name


def test_a_text_without_its_two_markers_is_refused():
    begin = "<!-- results: written by python -m biglearn_core.reproduce.readme -->"
    end = "<!-- end of results -->"
    assert with_table(f"a{begin}b{end}c", "| t |") == f"a{begin}\n| t |\n{end}c"
    for text in ("no table", begin, end, f"{end}a{begin}", f"{begin}a{end}b{end}c",
                 f"{begin}a{begin}b{end}"):  # fmt: skip
        with pytest.raises(ValueError, match="marker"):
            with_table(text, "| a |")


@pytest.mark.parametrize(("pixels", "expected"), [(0.62, REPRODUCED), (0.60, NOT_REPRODUCED)])
def test_raw_pixels_have_a_row_of_their_own(pixels, expected):
    methods = (("dec", 0.61), ("kmeans", 0.4), ("biglearn-ae", 0.63), ("biglearn-pixels", pixels))
    own, best = of_deep(judged(deep([(*method, 3) for method in methods])))
    assert (own.verdict, best.verdict) == (expected, REPRODUCED)
    assert f"above {1 + (expected == REPRODUCED)}/2 peers" in own.fair
    assert "biglearn-ae" not in own.fair
