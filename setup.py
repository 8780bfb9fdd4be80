"""What a wheel holds: biglearn_core, and dataset/ as its files. The rest is in pyproject.toml."""

from setuptools import find_packages, setup

FILES = "biglearn_core.datasets.files"

setup(
    packages=[*find_packages(include=["biglearn_core*"]), FILES],
    package_dir={FILES: "dataset"},
    package_data={
        "biglearn_core": ["py.typed"],
        "biglearn_core.explorer": ["*.js", "*.css"],
        "biglearn_core.experiments": ["*/*.yaml"],
        FILES: ["*.csv", "checksums.json", "README.md"],
    },
)
