"""Features by position or name, and what is refused."""

import numpy as np
import pytest

from biglearn_core.displays.arguments import chosen_features

NAMES = ["length", "width", "depth"]


@pytest.mark.parametrize(
    ("features", "index"),
    [
        (None, [0, 1]),
        ((2, 0), [2, 0]),
        (np.int64(1), [1]),
        ("width", [1]),
        (["depth", "length"], [2, 0]),
        (("depth", 0), [2, 0]),
        (np.array([1, 2]), [1, 2]),
    ],
)
def test_features_are_found(features, index):
    assert chosen_features(features, 3, NAMES) == index


def test_the_only_feature_is_the_default():
    assert chosen_features(None, 1, None) == [0]


@pytest.mark.parametrize(
    ("features", "names", "error", "text"),
    [
        (3, NAMES, ValueError, "3 is out of range: there are 3, from 0 to 2"),
        ((0, -1), NAMES, ValueError, "-1 is out of range"),
        ("height", NAMES, ValueError, r"no feature 'height'.*'length', 'width', 'depth'"),
        ("width", None, ValueError, "without column names: give its position"),
        ((), NAMES, ValueError, "one or two, got 0"),
        ((0, 1, 2), NAMES, ValueError, "one or two, got 3"),
        ((1, "width"), NAMES, ValueError, "both features are the same"),
        (1.0, NAMES, TypeError, "position or a name"),
        (True, NAMES, TypeError, "a position or a name, got True"),
        ((0, 1.5), NAMES, TypeError, "a position or a name, got 1.5"),
    ],
)
def test_what_is_no_feature_is_refused(features, names, error, text):
    with pytest.raises(error, match=text):
        chosen_features(features, 3, names)
