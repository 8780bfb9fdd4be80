import bz2

import pytest

from biglearn_core.datasets import (
    load as datasets,
    registry as dataset_registry,
)
from biglearn_core.datasets.registry import Source
from tests.datasets.small import libsvm_text, small_table


@pytest.fixture(autouse=True)
def _no_other_root(monkeypatch):
    monkeypatch.delenv("BIGLEARN_DATA", raising=False)


@pytest.fixture
def empty_repository(tmp_path, monkeypatch):
    """Hide the files in dataset/, so that what lies there does not matter."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(datasets, "DATASETS", own)
    monkeypatch.setattr(datasets, "DOWNLOADS", own)
    return own


@pytest.fixture
def tiny_set(monkeypatch, empty_repository):
    """Register a set with a training and a test file; return their contents."""
    source = Source(
        name="tiny",
        n_train=30,
        n_test=10,
        n_features=4,
        n_classes=3,
        train_file="sub/tiny.bz2",
        test_file="sub/tiny.t",
    )
    monkeypatch.setitem(dataset_registry.REGISTRY, "tiny", source)
    X, y = small_table()
    X[30:, 3] = 0  # the test file's last column occurs nowhere in its text
    files = {
        "tiny.bz2": bz2.compress(libsvm_text(X[:30], y[:30])),
        "tiny.t": libsvm_text(X[30:], y[30:]),
    }
    return X, y, files
