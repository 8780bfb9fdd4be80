"""Claims about BigLearn-GAN: what makes each shown, shown in part, or not."""

from itertools import product

import pytest

from biglearn_core.experiments.record import rows as record_rows
from biglearn_core.reproduce.records import Record
from biglearn_core.reproduce.sequel_gan import rows
from biglearn_core.reproduce.verdicts import NOT_RUN, NOT_SHOWN, SHOWN, SHOWN_IN_PART

HALVES = ("top", "bottom", "left", "right")
SHARES = ("12of16", "8of16", "4of16", "2of16")
EXACT = {
    (data, method): {"conditional_ks_mean": values}
    for data, (method, values) in product(
        ("ring8", "gmm4"),
        {
            "big": [0.10, 0.11, 0.09],
            "communication": [0.08, 0.09, 0.07],
            "ignoring": [0.34, 0.34, 0.34],
        }.items(),
    )
}


def images(data="digits", *, own=0.85, spreads=(0.1, 0.2, 0.3, 0.4), frechet=1.0):
    votes = {"energy": own, "pasted": 0.5, "nearest": 0.9}
    numbers = {
        (data, method): {f"vote_{half}": [vote] * 3 for half in HALVES}
        for method, vote in votes.items()
    }
    shares = zip(SHARES, spreads, strict=True)
    numbers[data, "energy"] |= {f"spread_{share}": [spread] * 3 for share, spread in shares}
    numbers[data, "energy"]["frechet_features"] = [frechet] * 3
    numbers[data, "gaussian"] = {"frechet_features": [4.0] * 3}
    numbers[data, "mixture"] = {"frechet_features": [1.5] * 3}
    return numbers


def record(numbers):
    scores = []
    for (data, method), columns in numbers.items():
        told = {("fair", name, ""): values for name, values in columns.items()}
        seeds = range(len(next(iter(columns.values()))))
        scores += record_rows(data, method, list(seeds), told)
    return Record.of(
        {"experiment": "biglearn_gan", "settings": {}, "scores": scores, "costs": [],
         "versions": {}, "labels": {"energy": "with energy"}}
    )  # fmt: skip


def verdicts(numbers):
    return [row.verdict for row in rows(record(numbers))]


def test_without_a_record_nothing_was_run():
    assert [row.verdict for row in rows(Record())] == [NOT_RUN] * 4


def test_all_can_be_shown():
    assert verdicts(EXACT | images() | images("fashion")) == [SHOWN] * 4


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.10, 0.11, 0.09], SHOWN),
        ([0.12, 0.18, 0.15], SHOWN_IN_PART),  # below half on average, but no interval bears it
        ([0.20, 0.21, 0.22], SHOWN_IN_PART),
        ([0.33, 0.36, 0.35], NOT_SHOWN),
    ],
)
def test_conditionals_count_by_the_end_of_their_interval(values, verdict):
    numbers = EXACT | {("gmm4", "big"): {"conditional_ks_mean": values}}
    assert verdicts(numbers)[0] == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.08, 0.09, 0.07], SHOWN), ([0.12, 0.05, 0.10], SHOWN_IN_PART)],
)
def test_communication_counts_seed_by_seed(values, verdict):
    numbers = EXACT | {("gmm4", "communication"): {"conditional_ks_mean": values}}
    assert verdicts(numbers)[1] == verdict


def test_one_seed_bears_no_gain():
    numbers = {place: {n: v[:1] for n, v in own.items()} for place, own in EXACT.items()}
    assert verdicts(numbers)[1] == NOT_SHOWN


@pytest.mark.parametrize(
    ("frechet", "verdict"), [(1.0, SHOWN), (1.8, SHOWN_IN_PART), (5.0, NOT_SHOWN)]
)
def test_joint_draws_are_held_against_gaussian_and_mixture(frechet, verdict):
    assert verdicts(images(frechet=frechet))[2] == verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, SHOWN),
        ({"own": 0.4}, SHOWN_IN_PART),
        ({"spreads": (0.1, 0.3, 0.2, 0.4)}, SHOWN_IN_PART),
        ({"own": 0.4, "spreads": (0.4, 0.3, 0.2, 0.1)}, NOT_SHOWN),
    ],
)
def test_completions_follow_and_differ(changes, verdict):
    assert verdicts(images(**changes))[3] == verdict


def test_rows_name_what_was_measured():
    told = [row.fair for row in rows(record(EXACT | images()))]
    assert told[0].startswith("ring8 0.100 [")
    assert "with energy" in told[2]
    assert "1-NN fill 0.900" in told[3]
