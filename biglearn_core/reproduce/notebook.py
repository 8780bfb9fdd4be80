"""One notebook executed headless: its file is whole or absent, its failure a clear message."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from biglearn_core.datasets.downloads import DownloadError
from biglearn_core.system.persistence import write_atomically

__all__ = ["NotebookError", "execute", "failed_name"]

# Errors of the system, which say all that is to say; others are told with their traceback.
_SYSTEM_ERRORS = {error.__name__ for error in (OSError, DownloadError, *OSError.__subclasses__())}


class NotebookError(Exception):
    """A cell of a notebook failed, or the process that ran it ended."""


def execute(notebook: Path, parameters: Mapping[str, Any], output: Path) -> None:
    """Execute a notebook in its own folder; the result appears when the last cell has run.

    Parameters
    ----------
    notebook : Path
    parameters : mapping
        Values for its parameters cell.
    output : Path
        Where the executed notebook goes. An older one stays until then.

    Raises
    ------
    NotebookError
        When a cell fails. The cells up to it are in `failed_name(output)`.
    OSError
        When the notebook cannot be written; names the remedy.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    running = output.with_name(f".{output.name}")
    try:
        with write_atomically(running):
            pass  # an unwritable folder or a full disk is refused here, before hours of work
        with tempfile.TemporaryFile() as log:
            try:
                papermill.execute_notebook(
                    notebook,
                    running,
                    parameters=dict(parameters),
                    kernel_name="python3",
                    kernel_manager_class=_manager(log),
                    extra_arguments=["--IPKernelApp.log_level=ERROR"],
                    cwd=notebook.parent,
                    progress_bar=False,
                )
            except DeadKernelError as error:
                raise NotebookError(
                    f"{notebook.stem}: its process was killed, or ended by itself; memory may have "
                    f"run out. Run the same command again.{_last_lines(log)}"
                ) from error
        _copy(running, output)
        failed_name(output).unlink(missing_ok=True)
    except papermill.PapermillExecutionError as error:
        _copy(running, failed_name(output))
        told = f"{error.ename}: {error.evalue}" if error.ename in _SYSTEM_ERRORS else str(error)
        raise NotebookError(
            f"{notebook.stem} failed: {told}\nits cells up to there: {failed_name(output)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            running.unlink()


def failed_name(output: Path) -> Path:
    """Name the file of a notebook that failed, beside that of the executed one.

    Parameters
    ----------
    output : Path

    Returns
    -------
    path : Path
    """
    return output.with_suffix(".failed.ipynb")


def _manager(log: IO[bytes]) -> type:
    """Make a kernel manager whose kernel and workers write to `log` what is for no notebook.

    That is much at every end: the manager stops them as Ctrl-C would, and they say so.
    """
    from jupyter_client import AsyncKernelManager

    class LoggedKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:
            await self._async_start_kernel(stdout=log, stderr=log, **options)

    return LoggedKernelManager


def _last_lines(log: IO[bytes], n: int = 5) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-n:]
    return "".join(f"\n  {line}" for line in lines)


def _copy(source: Path, target: Path) -> None:
    with write_atomically(target) as file:
        file.write(source.read_bytes())
