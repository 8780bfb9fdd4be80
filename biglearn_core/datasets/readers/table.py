"""Reading a data file of one's own by its ending: LIBSVM, CSV or MATLAB.

Every reader returns ``(X, y)``: float64 of shape (N, D) and int64 of shape (N,), or raises
ValueError naming the file, the place, the value seen and a remedy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from biglearn_core.datasets.readers.archives import COMPRESSIONS, MAX_BYTES
from biglearn_core.datasets.readers.delimited import read_csv
from biglearn_core.datasets.readers.libsvm import read_libsvm
from biglearn_core.datasets.readers.mat import read_mat

__all__ = ["read_csv", "read_libsvm", "read_mat", "read_table"]


def read_table(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """Read .csv and .tsv, .mat, and LIBSVM for all other endings; .bz2, .gz, .xz may follow.

    Parameters
    ----------
    path : Path
    max_bytes : int
        Bound on the size of the file, decompressed, and of a matrix it declares.

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the content is not what its format demands.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; give the path of a LIBSVM, CSV or .mat file"
        )
    name = path.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    if name.endswith((".csv", ".tsv")):
        return read_csv(path, max_bytes=max_bytes)
    read = read_mat if name.endswith(".mat") else read_libsvm
    return read(path, max_bytes=max_bytes)
