"""Rows that a mixture is asked about, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from biglearn_core.command.errors import CommandError
from biglearn_core.estimators.blocks import QueryBlock, query_blocks
from biglearn_core.gmm import GMM
from biglearn_core.numerics.evaluation import Evaluation
from biglearn_core.rows.source import RowSource
from biglearn_core.search.missing import evaluate_rows
from biglearn_core.system.messages import text_of
from biglearn_core.system.progress import is_watched, progress_bar

__all__ = ["answered"]


def answered(
    model: GMM, source: RowSource, device: torch.device
) -> Iterator[tuple[Evaluation, QueryBlock]]:
    """Evaluate a mixture at all rows, and show how far it is.

    Parameters
    ----------
    model : GMM
    source : RowSource
        NaN where a value is missing.
    device : torch.device

    Yields
    ------
    evaluation : Evaluation
        In float64, on the device.
    block : QueryBlock

    Raises
    ------
    CommandError
        When the rows cannot be read; not an OSError, which would be that of the output.
    ValueError
        When a value is infinite.
    """
    model = model.to(dtype=torch.float64).to(device=device)
    blocks = query_blocks(source, allow_nan=True, n_answers=model.n_components)
    with progress_bar(int(is_watched()), unit="row", total=source.n_rows) as bar:
        bar.unit_scale = True
        while (block := _next(blocks)) is not None:
            X = torch.from_numpy(block.rows).to(device, torch.float64)
            with torch.inference_mode():
                evaluation = evaluate_rows(X, model)
            yield evaluation, block
            bar.update(len(block.rows))


def _next(blocks: Iterator[QueryBlock]) -> QueryBlock | None:
    try:
        return next(blocks, None)
    except OSError as error:
        raise CommandError(text_of(error)) from error
