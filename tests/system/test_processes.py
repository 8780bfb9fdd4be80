"""Processes that fit together: what they tell each other, and how they fail."""

import numpy as np
import pytest
import torch

from biglearn_core.system.processes import ALONE, Processes, ProcessesError
from tests.ranks import run_ranks

SIZE = 3
JOBS = (
    "gathered",
    "summed",
    "of_first",
    "texts",
    "odd_name",
    "refused_by_one",
    "goes_on",
    "different_kinds",
    "sub_groups",
)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    found = run_ranks(tmp_path_factory.mktemp("ranks"), "tests.system.jobs", JOBS, SIZE)
    assert [(rank.status, rank.stderr) for rank in found] == [(0, "")] * SIZE
    return found


def test_arrays_of_any_length_and_kind_are_gathered(ranks):
    for number, rank in enumerate(ranks):
        found = rank.of("gathered")
        assert found["rank"].tolist() == [number, SIZE]
        for other in range(SIZE):
            for dtype in (np.uint8, np.int64, np.uint64, np.float32, np.float64):
                array = found[f"{np.dtype(dtype)} {other}"]
                expected = (np.arange(6 * other) + 250).astype(dtype).reshape(2 * other, 3)
                assert array.dtype == dtype
                np.testing.assert_array_equal(array, expected)
            assert found[f"nothing {other}"].shape == (0, 4)
            expected = [[other, 2 + other], [4 + other, 6 + other], [8 + other, 10 + other]]
            assert found[f"strided {other}"].tolist() == expected


def test_sums_are_the_same_everywhere(ranks):
    for rank in ranks:
        found = rank.of("summed")
        assert (found["0"] == 6).all()
        assert found["1"] == pytest.approx(1)
        assert found["1"].tobytes() == ranks[0].of("summed")["1"].tobytes()
        assert found["2"].tolist() == [0, 3, 6, 9]
        assert found["3"].shape == (0,)


def test_what_the_first_knows_all_know(ranks):
    for rank in ranks:
        found = rank.of("of_first")
        assert found["a"].tolist() == [0, 1, 2, 3, 4]
        assert (str(found["text"]), found["none"].shape) == ("so", (0, 2))
        assert (found["shared"] == 0).all()
        assert found["seed"] == 7


def test_texts_are_gathered_whatever_they_hold(ranks):
    for rank in ranks:
        assert rank.of("texts")["lengths"].tolist() == [0, 3, 6]


def test_an_error_over_a_name_that_is_no_text_is_told(ranks):
    assert r"OSError: no file a\udcff" in ranks[-1].errors["odd_name"]
    for rank in ranks[:-1]:
        assert "ProcessesError: process 2 of 3 has failed: OSError" in rank.errors["odd_name"]


def test_an_error_of_one_is_told_by_all_and_they_go_on(ranks):
    assert ranks[-1].errors["refused_by_one"].startswith("KeyError: 'what was asked for'")
    for rank in ranks[:-1]:
        assert rank.errors["refused_by_one"].startswith(
            "ProcessesError: process 2 of 3 has failed: KeyError: 'what was asked for'"
        )
    assert [rank.of("goes_on")["result"].item() for rank in ranks] == [0, 1, 2]
    assert {rank.of("goes_on")["sum"].item() for rank in ranks} == {1.0}


def test_arrays_of_different_kinds_are_refused(ranks):
    for rank in ranks:
        assert (
            "TypeError: the processes gather arrays of different dtypes"
            in (rank.errors["different_kinds"])
        )


def test_groups_of_some_and_of_one(ranks):
    found = [rank.of("sub_groups") for rank in ranks]
    assert [one["who"].tolist() for one in found] == [[0, 1], [0, 2], [1, 2]]
    assert [one["sum"].item() for one in found] == [0, 3, 3]
    assert [one["first"].item() for one in found] == [0, 1, 1]
    assert [one["seed"].item() for one in found] == [0, 1, 1]


def test_a_process_by_itself_is_asked_for_nothing():
    assert Processes.of() is ALONE
    parts = [torch.ones(2), torch.zeros(3)]
    assert all(a is b for a, b in zip(ALONE.sum(parts), parts, strict=True))
    array = np.arange(3)
    assert ALONE.gather(array)[0] is array
    assert ALONE.from_first(parts[0]) is parts[0]
    assert ALONE.seed_of_first(2**62) == 2**62
    assert ALONE.arrays_of_first(lambda: {"a": array})["a"] is array
    ALONE.wait()
    with pytest.raises(KeyError):
        ALONE.together(lambda: {}["a"])
    assert issubclass(ProcessesError, RuntimeError)


@pytest.mark.parametrize("group", [3, "gloo", [0, 1]])
def test_what_is_no_group_is_refused(group):
    with pytest.raises(
        TypeError, match=r"process_group must be a torch\.distributed\.ProcessGroup"
    ):
        Processes.of(group)
