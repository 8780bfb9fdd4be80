"""The processes that torchrun has started, as one group."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from biglearn_core.command.errors import CommandError
from biglearn_core.system.processes import ALONE, Processes, ProcessesError

__all__ = ["Ranks", "joined", "rank_of_this"]

# By how much one process may be behind the others, with rows that take longer to read.
_PATIENCE = timedelta(hours=3)

# Within which all processes have to start.
_MEETING = timedelta(minutes=10)

# Seconds that a process which has lost another one leaves to it to say why.
_LAST_WORDS = 2.0

_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """Place of a process among those of the command.

    Parameters
    ----------
    processes : Processes
    local_rank : int
        Number of this process among those of its machine.
    local_size : int
        Their number.
    store : torch.distributed.Store or None
        What all processes can reach.
    """

    processes: Processes = ALONE
    local_rank: int = 0
    local_size: int = 1
    store: Any = None

    def is_to_tell(self, error: BaseException) -> bool:
        """Say whether an error is to be told by this process.

        Parameters
        ----------
        error : BaseException
            What it has met.

        Returns
        -------
        is_to_tell : bool
            True in one process alone: one that has failed itself, if any has come to say so.
        """
        if self.store is None:
            return True
        try:
            if isinstance(error, ProcessesError):
                deadline = time.monotonic() + _LAST_WORDS
                while time.monotonic() < deadline and not self.store.check(["told"]):
                    time.sleep(0.05)
            return bool(self.store.add("told", 1) == 1)
        except RuntimeError:  # the process that held the store has gone
            return True


def rank_of_this() -> int:
    """Find the number of this process among those that torchrun has started.

    Returns
    -------
    rank : int
        0 without torchrun.
    """
    text = os.environ.get("RANK", "0")
    return int(text) if _size() > 1 and text.isdigit() else 0


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Make the processes one group, as long as the block lasts.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        Where this process computes. Its GPU becomes torch's current one; with "cuda" every process
        has one of its own, and messages go from GPU to GPU.

    Yields
    ------
    ranks : Ranks

    Raises
    ------
    CommandError
        When the environment does not tell how to find the others, these cannot be reached, or there
        are too few GPUs.
    """
    if _size() == 1:
        yield Ranks()
        return
    if missing := [name for name in _NEEDED if name not in os.environ]:
        raise CommandError(
            f"WORLD_SIZE={_size()} says that there are several processes, but {', '.join(missing)} "
            "is not set: start them by torchrun, or unset WORLD_SIZE"
        )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    n_gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and n_gpus < local_size:
        raise CommandError(
            f"--device cuda needs a GPU for each of the {local_size} processes of this machine, "
            f"which has {n_gpus}: start fewer, or leave --device out"
        )
    if n_gpus:
        torch.cuda.set_device(local_rank % n_gpus)
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=_MEETING))
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=dist.PrefixStore("biglearn", store),
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
        )
    except RuntimeError as error:
        raise CommandError(
            f"the {_size()} processes do not reach each other ({str(error).splitlines()[0]}): look "
            "whether one of them has ended, and whether the machines may open ports to each other"
        ) from error
    try:
        yield Ranks(Processes.of(), local_rank, local_size, dist.PrefixStore("command", store))
    finally:
        dist.destroy_process_group()


def _size() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isdigit() and int(text) > 0 else 1
