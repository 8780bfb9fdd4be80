"""Real-world data sets: found, verified, split and scaled by a named protocol."""

from biglearn_core.datasets.load import (
    Dataset,
    dataset_names,
    download_dataset,
    is_available,
    load_dataset,
)

__all__ = ["Dataset", "dataset_names", "download_dataset", "is_available", "load_dataset"]
