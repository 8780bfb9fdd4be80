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

from biglearn_core.experiments.published import GMM25_JOINT_EM_FINAL_KL, GMM25_SEEDS
from biglearn_core.reproduce import readme
from biglearn_core.reproduce.claims import (
    CAVEAT,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    deep_methods,
    rows,
)
from biglearn_core.reproduce.readme import README, methods_table, recorded, with_table, with_tables
from biglearn_core.reproduce.report import main, read_sources, write_report
from tests.helpers import ROOT


def gmm25(biglearn, spread=0.01, final_shift=0.0):
    """Ten seeds whose means are known; Joint-EM's as published."""
    signs = [(-1) ** i for i in range(len(GMM25_SEEDS))]
    return {
        "seeds": {
            str(seed): {
                "Joint-EM": {
                    "min_kl": 0.263266 + 0.03 * sign,
                    "final_kl": GMM25_JOINT_EM_FINAL_KL.get(seed, 0.3) + final_shift,
                    "fair_kl": 0.26,
                    "at_optimum": False,
                    "seconds": 1.0,
                },
                "BigLearn-EM": {
                    "min_kl": biglearn + spread * sign,
                    "fair_kl": 0.03,
                    "final_kl": 0.04,
                    "at_optimum": True,
                    "seconds": 10.0,
                },
            }
            for seed, sign in zip(GMM25_SEEDS, signs, strict=True)
        }
    }


def hundred(reached, joint=0):
    return {
        name: {"at_optimum": n, "n_seeds": 100, "seconds_per_fit": 2.0}
        for name, n in (("BigLearn-EM", reached), ("Joint-EM", joint))
    }


def group(mean, std, n=10, above=None):
    columns = ("test_nmi", "test_ari", "test_log_likelihood")
    numbers = {column: {"mean": mean, "std": std} for column in columns}
    if above is not None:
        pairs = {"mean": above[0], "std": above[1]}
        numbers |= {f"{column}_above_joint_em": pairs for column in columns}
    return {**numbers, "seeds": list(range(n)), "seconds": {"mean": 3.0}}


def fashion(final, best):
    def scores(acc):
        return {"acc": acc, "nmi": acc, "ari": acc}

    return {
        "runs": [
            {
                "seed": seed,
                "final": scores(final - 0.1 * seed),
                "best_chosen_with_labels": scores(best),
                "log_likelihood": -float(seed),
                "minutes": 2.0,
                "n_images": 70000,
            }
            for seed in (0, 1)
        ]
    }


def verdict(records, start):
    (row,) = (row for row in rows(records) if row.claim.startswith(start))
    return row.verdict


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.0305, REPRODUCED), (0.0345, CAVEAT), (0.0450, NOT_REPRODUCED), (0.0160, NOT_REPRODUCED)],
)
def test_a_published_mean(mean, expected):
    assert verdict({"gmm25": gmm25(mean)}, "25-GMM: BigLearn-EM's least") == expected


@pytest.mark.parametrize(("shift", "expected"), [(4e-5, REPRODUCED), (6e-5, NOT_REPRODUCED)])
def test_a_replayed_figure(shift, expected):
    records = {"gmm25": gmm25(0.03, final_shift=shift)}
    assert verdict(records, "25-GMM: Joint-EM's final") == expected


def test_other_seeds_are_another_experiment():
    record = gmm25(0.03)
    record["seeds"].pop("5079")
    assert {row.verdict for row in rows({"gmm25": record})} == {NOT_RUN}


@pytest.mark.parametrize(
    ("reached", "joint", "expected"),
    [(100, 0, REPRODUCED), (96, 0, CAVEAT), (50, 45, NOT_REPRODUCED), (100, 100, NOT_REPRODUCED)],
)
def test_freedom_from_bad_optima(reached, joint, expected):
    records = {"gmm25_hundred": hundred(reached, joint)}
    assert verdict(records, "25-GMM: BigLearn-EM does not end") == expected


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0.974, REPRODUCED), (0.99, CAVEAT), (0.996, NOT_REPRODUCED)]
)
def test_a_published_seed(quantile, expected):
    std = 0.02
    mean = 0.8399346955565458 - student.ppf(quantile, 9) * std * (1 + 1 / 10) ** 0.5
    record = {"fair": {}, "paper": {"pendigits": {"BigLearn-EM": group(mean, std)}}}
    assert verdict({"realworld": record}, "Pendigits: NMI of BigLearn-EM") == expected


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
    ours = group(0.5 + difference, 0.05, above=(difference, std))
    methods = {"BigLearn-EM": ours, "Joint-EM": group(0.5, 0.05)}
    record = {"fair": {"glass": methods}}
    assert verdict({"realworld": record}, "Glass: BigLearn-EM above Joint-EM in NMI") == expected


@pytest.mark.parametrize(
    ("final", "best", "expected"),
    [(0.66, 0.66, REPRODUCED), (0.60, 0.66, CAVEAT), (0.60, 0.61, NOT_REPRODUCED)],
)
def test_as_good_as_deep_clustering(final, best, expected):
    assert verdict({"fashion": fashion(final, best)}, "Fashion-MNIST, raw") == expected


def test_a_part_of_the_images_says_nothing():
    record = fashion(0.9, 0.9)
    for run in record["runs"]:
        run["n_images"] = 3000
    assert verdict({"fashion": record}, "Fashion-MNIST, raw") == NOT_RUN


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
    assert all(link.startswith("data:") for link in page.links)
    assert page.tags.count("tr") == len(found) + 1
    figures = list((tmp_path / "record" / "figures").glob("*.png"))
    assert page.tags.count("img") == len(figures)


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


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_record_with_any_other_value_is_used_or_refused_by_name(tmp_path, data):
    path = data.draw(st.sampled_from(RECORDS))
    record = json.loads(path.read_text())
    for section in ("pretraining", "kmeans_start", "missed_seeds"):
        record.pop(section, None)  # which no table shows
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
        methods_table(deep_methods(records))
    finally:
        (tmp_path / path.name).unlink()


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", '"x"', "{}", "[" * 5000, '{"a": 1, "a": 2}']
)
@pytest.mark.parametrize("name", ["gmm25", "gmm25_hundred", "realworld", "fashion",
                                  "deep_clustering", "deep_clustering_seeds"])  # fmt: skip
def test_a_record_of_another_shape_ends_every_command_in_one_line(
    tmp_path, name, content, capsys, monkeypatch
):
    path = tmp_path / "record" / f"{name}.json"
    path.parent.mkdir()
    path.write_text(content)
    assert main(["--root", str(tmp_path)]) == 1
    monkeypatch.setattr(readme, "recorded", lambda: recorded(path.parent))
    before = README.read_bytes()
    assert readme.main([]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(rf"error: {path} (is damaged|has another shape)", line)
        assert line.endswith(f"delete it and run `make reproduce`, or restore it by `git checkout "
                             f"-- {path}`")  # fmt: skip
    assert not (tmp_path / "index.html").exists()
    assert README.read_bytes() == before


def test_a_method_without_a_label_is_named():
    with pytest.raises(ValueError, match=r"methods \['deck'\].*known are \['ae-kmeans'"):
        methods_table({"deck": {}})


def test_equal_scores_of_all_seeds_are_no_division_by_zero():
    record = {"fair": {}, "paper": {"pendigits": {"BigLearn-EM": group(0.5, 0.0)}}}
    assert verdict({"realworld": record}, "Pendigits: NMI of BigLearn-EM") == NOT_REPRODUCED


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


def deep(ours, peer, n_seeds, n_images=70000):
    def method(acc):
        score = {"acc": {"mean": acc}, "nmi": {"mean": acc + 0.05}}
        return {
            "final": score,
            "best_chosen_with_labels": score,
            "seconds_with_pretraining": {"mean": 60.0},
            "n_seeds": n_seeds,
        }

    methods = {"dec": method(peer), "kmeans": method(0.4), "biglearn-ae": method(ours)}
    return {"settings": {"n_images": n_images}, "methods": methods}


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (deep(0.62, 0.61, 3), REPRODUCED),
        (deep(0.62, 0.61, 2), CAVEAT),
        (deep(0.61, 0.61, 3), NOT_REPRODUCED),
        (deep(0.62, 0.61, 3, n_images=3000), NOT_RUN),
    ],
)
def test_deep_clustering_as_trained_here(record, verdict):
    row = rows({"deep_clustering": record})[-1]
    assert row.experiment == "deep_clustering"
    assert row.verdict == verdict
    if verdict != NOT_RUN:
        assert "biglearn-ae" in row.fair
        assert "dec 0.610 / 0.660" in row.fair


def test_a_record_of_more_seeds_takes_the_place_of_the_one_beside_it():
    one, three = deep(0.60, 0.61, 1), deep(0.64, 0.61, 3)
    pixels = one["methods"]["biglearn-ae"]
    one["methods"]["biglearn-pixels"] = pixels  # these are in the notebook's record alone
    own, best = rows({"deep_clustering": one, "deep_clustering_seeds": three})[-2:]
    assert (own.verdict, best.verdict) == (NOT_REPRODUCED, REPRODUCED)
    assert "(seeds: biglearn-pixels 1, peers 3)" in own.fair
    alone = rows({"deep_clustering_seeds": three})[-2:]
    assert [row.verdict for row in alone] == [NOT_RUN, REPRODUCED]
    for other in (deep(0.64, 0.61, 3, n_images=3000), deep(0.64, 0.61, 3)):
        other["settings"]["n_epochs"] = 1
        beside = rows({"deep_clustering": one, "deep_clustering_seeds": other})[-1]
        assert beside.verdict == NOT_REPRODUCED


def test_every_protocol_names_its_own_best_peer_and_all_peers_need_their_seeds():
    record = deep(0.62, 0.61, 3)
    chosen = {"acc": {"mean": 0.70}, "nmi": {"mean": 0.5}}
    record["methods"]["kmeans"]["best_chosen_with_labels"] = chosen
    row = rows({"deep_clustering": record})[-1]
    assert row.paper == "biglearn-ae 0.620 / 0.670; kmeans 0.700 / 0.500"
    assert row.fair.startswith("biglearn-ae 0.620 / 0.670; dec 0.610 / 0.660; accuracy above 2/2")
    assert row.verdict == REPRODUCED
    record["methods"]["kmeans"]["n_seeds"] = 1
    row = rows({"deep_clustering": record})[-1]
    assert row.verdict == CAVEAT
    assert "peers 1 to 3" in row.fair


def test_the_readme_shows_the_results_of_record():
    text = README.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_the_table_of_methods_keeps_others_figures_apart():
    def method(mean, std, n):
        moments = {"mean": mean, "std": std}
        final = dict.fromkeys(("acc", "nmi", "ari"), moments)
        return {"final": final, "n_seeds": n, "seconds_with_pretraining": moments}

    lines = methods_table({"biglearn-ae": method(0.5, None, 1), "dec": method(0.25, 0.125, 3)})
    head, _, dec, ours = lines.splitlines()
    assert head.split(" | ")[2:5] == ["ACC", "NMI", "ARI"]
    assert dec.startswith("| DEC | 3 | 0.250 ± 0.125 | ")
    assert dec.endswith("| 0.618 / 0.651 / 0.494 |")
    assert ours == "| BigLearn-EM on AE code | 1 | 0.500 | 0.500 | 0.500 | 0 | – |"


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
    record = deep(0.63, 0.61, 3)
    alike = record["methods"]["biglearn-ae"]
    score = {"acc": {"mean": pixels}, "nmi": {"mean": 0.6}}
    record["methods"]["biglearn-pixels"] = {**alike, "final": score}
    own, best = rows({"deep_clustering": record})[-2:]
    assert (own.verdict, best.verdict) == (expected, REPRODUCED)
    assert f"above {1 + (expected == REPRODUCED)}/2 peers" in own.fair
    assert "biglearn-ae" not in own.fair
