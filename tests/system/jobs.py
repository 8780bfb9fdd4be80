"""What processes do in the tests of their group."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist

from biglearn_core.system.processes import ALONE, Processes

DTYPES = (np.uint8, np.int64, np.uint64, np.float32, np.float64)


def gathered(rank, size):
    """Arrays of different lengths, with and without rows, of every dtype."""
    processes, found = Processes.of(), {"rank": processes_of(), "size": np.array(size)}
    for dtype in DTYPES:
        own = (np.arange(2 * rank * 3, dtype=np.int64) + 250).astype(dtype).reshape(2 * rank, 3)
        for other, array in enumerate(processes.gather(own)):
            found[f"{np.dtype(dtype)} {other}"] = array
    for other, array in enumerate(processes.gather(np.empty((0, 4)))):
        found[f"nothing {other}"] = array
    strided = np.arange(12.0).reshape(3, 4)[:, ::2] + rank
    for other, array in enumerate(processes.gather(strided)):
        found[f"strided {other}"] = array
    return found


def processes_of():
    processes = Processes.of()
    return np.array([processes.rank, processes.size])


def summed(rank, size):
    """Tensors of several shapes and dtypes."""
    processes = Processes.of()
    parts = [
        torch.full((2, 3), rank + 1.0, dtype=torch.float32),
        torch.tensor(rank / 3, dtype=torch.float64),
        torch.arange(4) * rank,
        torch.zeros(0),
    ]
    before = [part.clone() for part in parts]
    sums = processes.sum(parts)
    assert all(torch.equal(*pair) for pair in zip(parts, before, strict=True))
    assert [one.dtype for one in sums] == [part.dtype for part in parts]
    processes.wait()
    return {str(i): one.numpy() for i, one in enumerate(sums)}


def of_first(rank, size):
    """What the first process alone knows."""
    processes, asked = Processes.of(), []

    def read():
        asked.append(rank)
        return {"a": np.arange(5.0), "text": np.array("so"), "none": np.empty((0, 2))}

    found = processes.arrays_of_first(read)
    assert asked == ([0] if rank == 0 else [])
    assert processes.arrays_of_first(dict) == {}
    tensor = torch.full((2, 2), float(rank))
    shared = processes.from_first(tensor)
    assert torch.equal(tensor, torch.full((2, 2), float(rank)))
    return found | {"shared": shared.numpy(), "seed": np.array(processes.seed_of_first(7 + rank))}


def texts(rank, size):
    """Some empty, and the name of a file that is no text."""
    own = ["", "\u03a3 w", os.fsdecode(b"a\xff.npy")][rank]
    found = Processes.of().gather_texts(own)
    assert found == ["", "\u03a3 w", os.fsdecode(b"a\xff.npy")]
    return {"lengths": np.array(list(map(len, found)))}


def odd_name(rank, size):
    """The last process fails over a file whose name is no text."""

    def function():
        if rank == size - 1:
            raise OSError(f"no file {os.fsdecode(b'a' + bytes([255]))}")

    Processes.of().together(function)
    return {}


def refused_by_one(rank, size):
    """The last process fails, and so all do."""
    processes = Processes.of()

    def function():
        if rank == size - 1:
            raise KeyError("what was asked for")
        return rank

    processes.together(function)
    return {}


def goes_on(rank, size):
    """After an error all are where they were."""
    processes = Processes.of()
    return {"result": np.array(processes.together(lambda: rank)), "sum": summed(rank, size)["1"]}


def different_kinds(rank, size):
    Processes.of().gather(np.zeros(3, dtype=(np.float32, np.float64)[rank % 2]))
    return {}


def sub_groups(rank, size):
    """The first by itself, the others together."""
    groups = [dist.new_group([0]), dist.new_group(list(range(1, size)))]
    processes = Processes.of(groups[int(rank > 0)])
    other = groups[int(rank == 0)]
    with pytest.raises(TypeError, match="of which this process is a member"):
        Processes.of(other)
    assert (processes is ALONE) == (rank == 0)
    assert Processes.of(processes) is processes
    sums = processes.sum([torch.tensor(float(rank))])
    first = processes.from_first(torch.tensor(float(rank)))
    return {
        "who": np.array([processes.rank, processes.size]),
        "sum": sums[0].numpy(),
        "first": first.numpy(),
        "seed": np.array(processes.seed_of_first(rank)),
    }
