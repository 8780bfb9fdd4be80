"""Processes that fit one model together, each with rows of its own (torch.distributed)."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["ALONE", "Processes", "ProcessesError"]

Result = TypeVar("Result")

# Dtypes of arrays that are gathered, by the number that stands for them.
_DTYPES = (np.uint8, np.int64, np.uint64, np.float32, np.float64)


class ProcessesError(RuntimeError):
    """Another process of the group has ended, has failed, or cannot be reached."""


class Processes:
    """The processes that take part in a fit.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        This process alone when not given.

    Attributes
    ----------
    rank : int
        Of this process within the group.
    size : int

    Notes
    -----
    Everything that leads to a decision, as to stop, comes from sums that are the same to the last
    bit in all processes, so that all decide alike.
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)
        # NCCL moves what lies on GPUs alone.
        on_gpu = group is not None and dist.get_backend(group) == "nccl"
        self._device = torch.device("cuda" if on_gpu else "cpu")

    @classmethod
    def of(cls, process_group: Any = None) -> Processes:
        """Find the processes that take part.

        Parameters
        ----------
        process_group : torch.distributed.ProcessGroup, optional
            All processes where torch.distributed is initialised, when not given; a process that
            wants to be alone gives a group of its own. What is found already is given back.

        Returns
        -------
        processes : Processes

        Raises
        ------
        TypeError
            When it is no group, or one without this process.
        """
        if isinstance(process_group, Processes):
            return process_group
        if process_group is None:
            known = dist.is_available() and dist.is_initialized()
            process_group = dist.group.WORLD if known else None
        elif not (dist.is_available() and isinstance(process_group, dist.ProcessGroup)):
            raise TypeError(
                "process_group must be a torch.distributed.ProcessGroup of which this process is a "
                f"member, got {process_group!r}; leave it out for all processes"
            )
        if process_group is not None and dist.get_world_size(process_group) == 1:
            return ALONE
        return ALONE if process_group is None else cls(process_group)

    def sum(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Add tensors up over all processes, in one message.

        Parameters
        ----------
        parts : sequence of Tensor
            Of the same shapes in all processes.

        Returns
        -------
        sums : list of Tensor
            Added in float64, in the dtypes and on the devices of the parts.
        """
        if self.size == 1:
            return list(parts)
        flat = torch.cat([part.reshape(-1).to(self._device, torch.float64) for part in parts])
        self._call(lambda: dist.all_reduce(flat, group=self._group))
        return [
            found.view(part.shape).to(part.device, part.dtype)
            for found, part in zip(flat.split([p.numel() for p in parts]), parts, strict=True)
        ]

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Collect arrays, which may differ in length.

        Parameters
        ----------
        array : ndarray
            Of numbers; of the same number of axes in all processes.

        Returns
        -------
        arrays : list of ndarray
            In the order of the ranks; the same in all processes.

        Raises
        ------
        TypeError
            In all processes, when the dtypes differ.
        """
        if self.size == 1:
            return [array]
        kind = _DTYPES.index(array.dtype.type)
        head = self._tensor(np.array([kind, *array.shape]))
        heads = [torch.empty_like(head) for _ in range(self.size)]
        self._call(lambda: dist.all_gather(heads, head, group=self._group))
        kinds = [int(found[0]) for found in heads]
        if len(set(kinds)) > 1:
            told = ", ".join(np.dtype(_DTYPES[k]).name for k in kinds)
            raise TypeError(f"the processes gather arrays of different dtypes ({told})")
        shapes = [tuple(found.tolist()[1:]) for found in heads]
        lengths = [int(np.prod(shape)) * array.itemsize for shape in shapes]
        if not any(lengths):
            return [np.empty(shape, dtype=array.dtype) for shape in shapes]
        # Of one length, since a gathering of several is not offered by every backend.
        own = np.zeros(max(lengths), dtype=np.uint8)
        own[: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        sent = self._tensor(own)
        received = [torch.empty_like(sent) for _ in range(self.size)]
        self._call(lambda: dist.all_gather(received, sent, group=self._group))
        return [
            found.cpu().numpy()[:length].view(array.dtype).reshape(shape)
            for found, length, shape in zip(received, lengths, shapes, strict=True)
        ]

    def gather_texts(self, text: str) -> list[str]:
        """Collect texts.

        Parameters
        ----------
        text : str

        Returns
        -------
        texts : list of str
            In the order of the ranks; the same in all processes.
        """
        # Names of files may hold bytes that are no characters, which Python shows as surrogates.
        own = np.frombuffer(text.encode(errors="surrogatepass"), dtype=np.uint8)
        return [one.tobytes().decode(errors="surrogatepass") for one in self.gather(own)]

    def from_first(self, tensor: Tensor) -> Tensor:
        """Give all processes the values of the first one.

        Parameters
        ----------
        tensor : Tensor
            Of the same shape in all processes.

        Returns
        -------
        tensor : Tensor
        """
        if self.size == 1:
            return tensor
        values = tensor.detach().to(self._device).clone()
        source = dist.get_global_rank(self._group, 0)
        self._call(lambda: dist.broadcast(values, source, group=self._group))
        return values.to(tensor.device)

    def seed_of_first(self, seed: int) -> int:
        """Give all processes the seed of the first one, where each has drawn its own."""
        return int(self.gather(np.array([seed]))[0][0])

    def arrays_of_first(self, read: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Have the first process read named arrays, and give them to all.

        Parameters
        ----------
        read : callable
            Called in the first process alone.

        Returns
        -------
        arrays : dict of str to ndarray
        """
        if self.size == 1:
            return read()
        packed = self.together(lambda: _packed(read()) if self.rank == 0 else _packed({}))
        content = self.gather(packed)[0].tobytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return dict(archive)

    def together(self, function: Callable[[], Result]) -> Result:
        """Do something in every process that may fail in some, and fail in all then.

        Parameters
        ----------
        function : callable
            Without arguments; talks to no other process.

        Returns
        -------
        result : object

        Raises
        ------
        Exception
            What the function has raised here; else `ProcessesError` with what it has raised in the
            first process where it did.
        """
        if self.size == 1:
            return function()
        error, result = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        told = "" if error is None else f"{type(error).__name__}: {error}"
        texts = self.gather_texts(told)
        if error is not None:
            raise error
        for rank, text in enumerate(texts):
            if text:
                raise ProcessesError(f"process {rank} of {self.size} has failed: {text}")
        return result  # type: ignore[return-value]

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.sum([torch.zeros(1)])

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _call(self, communicate: Callable[[], Any]) -> None:
        try:
            communicate()
        except RuntimeError as error:
            raise ProcessesError(
                f"process {self.rank} of {self.size} has lost the others: one of them has ended or "
                f"cannot be reached ({str(error).splitlines()[0]}). Start all processes again; "
                "with a checkpoint the fit goes on from its last pass"
            ) from error


def _packed(arrays: dict[str, np.ndarray]) -> np.ndarray:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


ALONE = Processes()
