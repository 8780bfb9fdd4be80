"""biglearn info: what the file of a mixture holds."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from biglearn_core.command.arguments import add_common, add_model
from biglearn_core.command.model import open_model
from biglearn_core.command.ranks import Ranks

__all__ = ["add_parser", "run"]

# Of features and of weights.
_SHOWN = 10


def add_parser(commands: Any) -> None:
    """Declare the command and its options.

    Parameters
    ----------
    commands : object
        From `ArgumentParser.add_subparsers`.
    """
    parser = commands.add_parser(
        "info",
        help="what the file of a mixture holds",
        description="Tell what the file of a mixture holds.",
        allow_abbrev=False,
    )
    add_model(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(options: Namespace, ranks: Ranks) -> None:
    """Print a few lines.

    Parameters
    ----------
    options : Namespace
    ranks : Ranks
        This process alone.

    Raises
    ------
    CommandError, OSError
        When the model cannot be read.
    """
    model = open_model(options.model)
    named = "" if model.feature_names is None else f": {_some(model.feature_names)}"
    weights = sorted(model.weights.tolist(), reverse=True)
    print(f"components   {model.n_components}")
    print(f"features     {model.n_features}{named}")
    print(f"covariances  {model.covariance_type}")
    print(f"parameters   {model.n_parameters} free, {str(model.dtype).removeprefix('torch.')}")
    print(f"weights      {_some([f'{weight:.4g}' for weight in weights])}")


def _some(values: tuple[str, ...] | list[str]) -> str:
    rest = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
