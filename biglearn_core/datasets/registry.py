"""The nine real-world sets: their sizes, where they come from, and how their files are named."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

__all__ = ["REGISTRY", "Source", "canonical_name", "find_source"]

LIBSVM_PAGE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One set on the LIBSVM page; `n_test` is 0 where the page has no test file."""

    name: str
    n_train: int
    n_test: int = 0
    n_features: int
    n_classes: int
    train_file: str
    test_file: str | None = None

    @property
    def files(self) -> tuple[tuple[str, int], ...]:
        """The page's files, each with its number of rows: training part, then test part."""
        train = ((self.train_file, self.n_train),)
        return train if self.test_file is None else (*train, (self.test_file, self.n_test))

    def max_bytes(self, n_rows: int) -> int:
        """Bound on a file of so many rows: no class takes over 16 bytes, no pair over 32."""
        return n_rows * (16 + 32 * self.n_features)

    @property
    def size(self) -> str:
        """The size in words."""
        rows = f"{self.n_train}+{self.n_test}" if self.n_test else str(self.n_train)
        return f"{rows} rows, {self.n_features} features, {self.n_classes} classes"


_SOURCES = (
    Source(name="connect-4", n_train=67557, n_features=126, n_classes=3, train_file="connect-4"),
    Source(name="covtype", n_train=581012, n_features=54, n_classes=7, train_file="covtype.bz2"),
    Source(name="glass", n_train=214, n_features=9, n_classes=6, train_file="glass.scale"),
    Source(
        name="letter",
        n_train=15000,
        n_test=5000,
        n_features=16,
        n_classes=26,
        train_file="letter.scale",
        test_file="letter.scale.t",
    ),
    Source(
        name="pendigits",
        n_train=7494,
        n_test=3498,
        n_features=16,
        n_classes=10,
        train_file="pendigits",
        test_file="pendigits.t",
    ),
    Source(
        name="satimage",
        n_train=4435,
        n_test=2000,
        n_features=36,
        n_classes=6,
        train_file="satimage.scale",
        test_file="satimage.scale.t",
    ),
    Source(
        name="seismic",
        n_train=78823,
        n_test=19705,
        n_features=50,
        n_classes=3,
        train_file="vehicle/seismic.bz2",
        test_file="vehicle/seismic.t.bz2",
    ),
    Source(name="svmguide2", n_train=391, n_features=20, n_classes=3, train_file="svmguide2"),
    Source(name="vehicle", n_train=846, n_features=18, n_classes=4, train_file="vehicle.scale"),
)


def canonical_name(name: str) -> str:
    """Reduce a name to its letters and digits: "Connect-4", "connect_4" and "connect4" agree."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


REGISTRY = {canonical_name(source.name): source for source in _SOURCES}


def find_source(name: str) -> Source:
    """Look up one of the nine sets, whatever its case and hyphens.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    key = canonical_name(name)
    if key in REGISTRY:
        return REGISTRY[key]
    near = difflib.get_close_matches(key, REGISTRY, n=1)
    hint = f"did you mean {REGISTRY[near[0]].name!r}? " if near else ""
    known = ", ".join(source.name for source in _SOURCES)
    raise ValueError(
        f"unknown data set {name!r}: {hint}Known are {known}; or give the path of a LIBSVM, CSV "
        "or .mat file of your own"
    )
