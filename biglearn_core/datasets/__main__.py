"""List the data sets, and download those that are absent.

python -m biglearn_core.datasets                    # what is here
python -m biglearn_core.datasets covtype seismic    # download what is absent
"""

from __future__ import annotations

import argparse
import sys

from biglearn_core.datasets.load import dataset_names, download_dataset, is_available
from biglearn_core.datasets.registry import REGISTRY

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Download the named sets; list all of them where none is named.

    Parameters
    ----------
    arguments : list of str, optional
        The command line's, where None.

    Returns
    -------
    int
        0, or 1 where a set could not be had.
    """
    parser = argparse.ArgumentParser(
        prog="python -m biglearn_core.datasets", description="Download real-world data sets."
    )
    parser.add_argument("names", nargs="*", help="names of sets, or all")
    parser.add_argument("--root", help="folder to use instead of BIGLEARN_DATA")
    options = parser.parse_args(arguments)
    if not options.names:
        for source in REGISTRY.values():
            here = "here" if is_available(source.name, root=options.root) else "absent"
            print(f"{source.name:10} {here:7} {source.size}")
        return 0
    names = dataset_names() if options.names == ["all"] else options.names
    failed = 0
    for name in names:
        try:
            if is_available(name, root=options.root):
                print(f"{name}: already here")
            else:
                print(f"{name}: downloaded to {download_dataset(name, root=options.root)}")
        except (OSError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
        except KeyboardInterrupt:
            print(f"{name}: interrupted; nothing half-written is left", file=sys.stderr)
            return 130
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
