"""Reader of MATLAB files that hold a table as a matrix."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np

from biglearn_core.datasets.readers.archives import MAX_BYTES, open_binary
from biglearn_core.datasets.readers.checks import split_class

__all__ = ["read_mat"]

_REAL = re.compile(r"double|single|logical|u?int(8|16|32|64)")

# Of the format of versions 5 to 7.2: codes of elements, of the real types, of the matrix classes.
_MATRIX, _COMPRESSED = 14, 15
_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13))
_CLASSES = range(6, 16)
_COMPLEX = 0x800


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
    from scipy.io import whosmat  # not above: the package loads faster so

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
            variables = {} if size > max_bytes else _load(content, list(shapes), size)
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


def _load(content: io.BytesIO, names: list[str], size: int) -> dict[str, np.ndarray]:
    from scipy.io import loadmat
    from scipy.io.matlab import matfile_version

    content.seek(0)
    if matfile_version(content)[0] == 1:
        # Twice: a complex matrix has two parts. Beside them there are only short names.
        _check_types(content.getvalue(), limit=2 * size + 65536)
    content.seek(0)
    return loadmat(content, variable_names=names)


def _check_types(content: bytes, *, limit: int) -> None:
    """Refuse a matrix of an unknown type: scipy looks its code up beyond a table, and crashes."""
    order = "<" if content[126:128] == b"IM" else ">"
    place = 128
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        element = content[place + 8 : place + 8 + size]
        place += 8 + size
        if kind == _COMPRESSED:
            element = zlib.decompressobj().decompress(element, limit)
            (kind,) = struct.unpack_from(f"{order}I", element)
            element = element[8:]
        if kind == _MATRIX:
            _check_matrix(element, order)


def _check_matrix(element: bytes, order: str) -> None:
    (flags,) = struct.unpack_from(f"{order}I", element, 8)
    codes, place = [], 0
    while place + 8 <= len(element):
        code, size = struct.unpack_from(f"{order}II", element, place)
        is_small = code > 0xFFFF  # four bytes at most, in the place of the size
        codes.append(code & 0xFFFF)
        place += 8 if is_small else 8 + -(-size // 8) * 8
    # Before the data come the flags, the shape and the name.
    data = codes[3 : 5 if flags & _COMPLEX else 4]
    if flags & 0xFF in _CLASSES and not (
        len(data) == (2 if flags & _COMPLEX else 1) and _TYPES.issuperset(data)
    ):
        raise ValueError(f"a matrix has data of the unknown types {data}")
