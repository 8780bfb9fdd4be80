"""Reader of MATLAB files that hold a table as a matrix."""

from __future__ import annotations

import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from biglearn_core.archives import MAX_BYTES, open_binary
from biglearn_core.dataset_checks import split_class

__all__ = ["read_mat"]

_REAL = re.compile(r"double|single|logical|u?int(8|16|32|64)")


def read_mat(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """Read a MATLAB file (version 4 to 7.2) that holds one matrix, the class in its first column.

    Where it holds several matrices, the one named like the file is taken.

    Parameters
    ----------
    path : Path
        Plain, or compressed with bzip2, gzip or xz.
    max_bytes : int
        Bound on the size of the file, decompressed, and of its matrices, 8 bytes a value.

    Returns
    -------
    X : ndarray of shape (N, D), float64
    y : ndarray of shape (N,), int64

    Raises
    ------
    ValueError
        Where the file is no such file, is damaged, or declares matrices beyond the bound; for an
        index in the place of the class.
    """
    with open_binary(path, max_bytes=max_bytes) as stream:
        content = io.BytesIO(stream.read())
    try:
        with warnings.catch_warnings():
            # For scipy, variables that are there twice or cannot be read are worth a warning only.
            warnings.simplefilter("error")
            # What a header declares is allocated when its matrix is read, not when it is listed.
            shapes = {
                name: shape
                for name, shape, kind in whosmat(content)
                if _REAL.fullmatch(kind)
                and len(shape) == 2
                and min(shape) > 0
                and math.prod(shape) > 1
            }
            size = 8 * sum(map(math.prod, shapes.values()))
            content.seek(0)
            variables = {} if size > max_bytes else loadmat(content, variable_names=list(shapes))
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it again with -v7") from error
    # scipy documents no list of what it raises; on damaged files it is of a dozen types.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a .mat file: {error}") from error
    if size > max_bytes:
        raise ValueError(
            f"{path} declares matrices of {size} bytes ({shapes}), more than max_bytes = "
            f"{max_bytes}; raise the bound if that much is expected"
        )
    matrices = {name: variables[name] for name in shapes if variables[name].dtype.kind in "biuf"}
    name = path.name.split(".")[0]
    if len(matrices) == 1:
        (name,) = matrices
    if name not in matrices:
        raise ValueError(
            f"{path} holds the matrices {sorted(matrices)}; expected one real matrix, "
            f"or one named {name!r}, with the class in its first column"
        )
    return split_class(path, matrices[name].astype(np.float64))
