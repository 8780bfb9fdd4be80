"""Records are read whole or refused by name, and held against one another by the stated rules."""

import json
import math
from dataclasses import replace

import pytest

from biglearn_core.experiments.record import rows
from biglearn_core.reproduce.compare import (
    compare,
    compare_with_records,
    main as compare_main,
    renew,
)
from biglearn_core.reproduce.records import Record, read_record
from tests.helpers import ROOT

RECORDS = sorted((ROOT / "results" / "record").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_agrees_with_itself_and_costs_do_not_count(path):
    record = read_record(path, path.stem)
    assert record.costs
    assert compare(replace(record, costs={}, versions={"torch": "9"}), record) == []


def written(shift=0.0, spread=0.01, seeds=range(100, 110), experiment="mine", **settings):
    """A record as it is written, of a score and of a time."""
    values = [0.03 + shift + spread * (seed % 2) for seed in seeds]
    keys = ("grid", "BigLearn-EM", list(seeds))
    return {
        "experiment": experiment,
        "settings": settings,
        "scores": rows(*keys, {("fair", "fair_kl", "nats"): values}),
        "costs": rows(*keys, {("both", "seconds", "s"): [1.0] * len(seeds)}),
        "versions": {},
    }


def differences(new, record):
    return compare(Record.of(new), Record.of(record))


def test_means_agree_within_three_standard_errors():
    std = 0.01 * math.sqrt(10 / 36)  # of five zeros and five hundredths
    error = math.sqrt(2 * std**2 / 10)
    assert differences(written(2.9 * error), written()) == []
    (line,) = differences(written(3.1 * error), written())
    assert line.startswith("grid, fair, BigLearn-EM, fair_kl: 0.0423 now, 0.0350 in the record")
    assert f"allowed ±{3 * error:.4f}" in line
    assert differences(written(0.0009, 0), written(0, 0)) == []  # rounding
    assert len(differences(written(0.0012, 0), written(0, 0))) == 1


def test_moments_of_which_the_values_were_not_kept_are_compared_alike():
    def condensed(mean, std=0.1, n=5):
        document = written(seeds=range(n))
        (row,) = document["scores"]
        moments = {"mean": mean, "std": std, "values": []}
        return {**document, "scores": [row | moments]}

    allowed = 3 * math.sqrt(2 * 0.1**2 / 5)
    assert differences(condensed(0.5 + 0.99 * allowed), condensed(0.5)) == []
    (line,) = differences(condensed(0.5 - 1.01 * allowed), condensed(0.5))
    assert line.endswith(f"fair_kl: 0.3084 now, 0.5000 in the record, allowed ±{allowed:.4f}")
    # The spread of one side stands for that of the other.
    allowed = 3 * math.sqrt(2 * 0.1**2 / 5)
    assert differences(condensed(0.5 + 0.99 * allowed, None), condensed(0.5)) == []
    assert len(differences(condensed(0.5 + 1.01 * allowed, None), condensed(0.5))) == 1


def test_a_single_run_may_differ_by_a_twentieth():
    one = {"spread": 0, "seeds": (0,)}
    assert differences(written(0.52, **one), written(0.5, **one)) == []
    assert len(differences(written(0.56, **one), written(0.5, **one))) == 1


def test_settings_seeds_and_what_is_absent_are_told():
    new, record = written(n_images=6, seeds=range(3)), written(n_images=70, seeds=range(4))
    new["scores"] += rows("grid", "Joint-EM", [0], {("fair", "kl", ""): [1.0]})
    record["scores"] += rows("grid", "Joint-EM", [0], {("paper", "kl", ""): [1.0]})
    assert differences(new, record) == [
        "settings, n_images: 6 now, 70 in the record",
        "grid, fair, BigLearn-EM, fair_kl: seeds (0, 1, 2) now, (0, 1, 2, 3) in the record",
        "grid, paper, Joint-EM, kl: only in the record",
        "grid, fair, Joint-EM, kl: only in the new run",
    ]
    other = written()
    other["scores"][0]["unit"] = "bits"
    (line,) = differences(other, written())
    assert line.endswith("unit 'bits' now, 'nats' in the record")


def test_a_verdict_that_changes_is_told_where_all_means_agree():
    def above(mean):
        row = {"dataset": "glass", "protocol": "fair", "method": "BigLearn-EM", "unit": "",
               "metric": "test_nmi_above_joint_em", "mean": mean, "std": 0.05,
               "seeds": list(range(10))}  # fmt: skip
        return {**written(experiment="realworld"), "scores": [row]}

    assert differences(above(0.04), above(0.04)) == []
    assert differences(above(0.03), above(0.04)) == [
        "verdict, Glass: BigLearn-EM above Joint-EM in NMI: 'not reproduced' now, 'reproduced' in "
        "the record"
    ]


def test_two_runs_of_one_seed_are_two_runs():
    twice = written(seeds=(0, 0))
    assert differences(twice, twice) == []
    (line,) = differences(twice, written(seeds=(0,)))
    assert line.endswith("seeds (0, 0) now, (0,) in the record")


def test_a_run_is_held_against_its_records(tmp_path):
    for name in ("mine", "absent"):
        (tmp_path / "record").mkdir(exist_ok=True)
        document = written(experiment=name)
        (tmp_path / "record" / f"{name}.json").write_text(json.dumps(document))
    folder = tmp_path / "mine" / "full"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(written()))
    record = f"{tmp_path.name}/record/mine.json"
    assert compare_with_records("full", root=tmp_path) == [f"mine agrees with {record}"]
    assert compare_with_records("quick", root=tmp_path) == []
    changed = written(n_images=6)
    (folder / "summary.json").write_text(json.dumps(changed))
    lines = compare_with_records("full", root=tmp_path)
    assert lines == [
        f"mine differs in 1 entries from {record}",
        "  settings, n_images: 6 now, None in the record",
    ]
    assert json.loads(renew("mine", root=tmp_path).read_text()) == changed
    assert compare_with_records("full", root=tmp_path) == [f"mine agrees with {record}"]
    with pytest.raises(ValueError, match=r"there is no .*absent.*`make reproduce` first"):
        renew("absent", root=tmp_path)
    (folder / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json is damaged .*; delete it"):
        compare_with_records("full", root=tmp_path)


BAD_ROWS = {
    "a seed, and a deviation": [{"seeds": []}, {"std": None, "seeds": []}, {"std": -0.1}],
    "a value by seed": [{"values": [0.03]}],
    "mean and deviation of its values": [{"mean": 0.04}, {"std": 0.04}, {"std": None}],
    "a finite number": [{"mean": None}, {"mean": math.nan}, {"values": [1e200, 0.1]}],
    "a string": [{"unit": 3}],
}


@pytest.mark.parametrize(
    ("message", "change"), [(m, change) for m, changes in BAD_ROWS.items() for change in changes]
)
def test_a_row_that_says_two_things_is_refused(tmp_path, message, change):
    path = tmp_path / "mine.json"
    document = written(seeds=(0, 1))
    document["scores"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"mine.json has another shape: .*{message}"):
        read_record(path, "mine")


def test_a_row_that_stands_twice_and_another_experiment_are_refused(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(written()))
    assert read_record(path, "mine").experiment == "mine"
    with pytest.raises(ValueError, match="the experiment 'gmm25' is needed, found 'mine'"):
        read_record(path, "gmm25")
    document = written()
    document["costs"] += document["scores"]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"every row once is needed, found .*'fair_kl'"):
        read_record(path, "mine")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"gmm25"', '{"seeds": {"1": {}}}', "{}"])
@pytest.mark.parametrize("place", ["record/gmm25.json", "gmm25/full/summary.json"])
def test_a_summary_of_another_shape_is_named(tmp_path, content, place):
    for name in ("record/gmm25.json", "gmm25/full/summary.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes((ROOT / "results" / "record" / "gmm25.json").read_bytes())
    assert compare_with_records("full", root=tmp_path)[0].startswith("gmm25 agrees")
    (tmp_path / place).write_text(content)
    with pytest.raises(ValueError, match=rf"{place} has another shape: .*found .*delete it"):
        compare_with_records("full", root=tmp_path)
    if place.startswith("gmm25"):
        with pytest.raises(ValueError, match="has another shape"):
            renew("gmm25", root=tmp_path)


@pytest.mark.parametrize("name", ["../gmm25", "./gmm25", "{root}/gmm25", "", "record/../gmm25"])
def test_an_experiment_is_a_name_and_no_path(tmp_path, name, capsys):
    folder = tmp_path / "results" / "gmm25" / "full"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_bytes((ROOT / "results/record/gmm25.json").read_bytes())
    root = tmp_path / "results"
    with pytest.raises(ValueError, match=r"there is no full run of .*, only of \['gmm25'\]"):
        renew(name.format(root=root), root=root)
    assert not list(tmp_path.rglob("record"))
    assert compare_main(["--renew", name]) == 1
    assert "there is no full run of" in capsys.readouterr().err
