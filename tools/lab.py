"""JupyterLab in a headless Chromium, for tests, benchmarks and screenshots.

Needs Debian's chromium and chromium-driver, or Chrome and chromedriver, on the PATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en-GB",
)

# Seconds for the server to answer, and for what a page is waited for.
_START, _PATIENCE = 120, 120


def missing() -> str | None:
    """Say what is not there for a browser; None when all is.

    Returns
    -------
    what : str or None
    """
    if _browser() is None:
        return "there is no chromium: apt-get install chromium chromium-driver"
    if shutil.which("chromedriver") is None:
        return "there is no chromedriver: apt-get install chromium-driver"
    return None


class Lab:
    """A running JupyterLab, and the browser that shows it.

    Parameters
    ----------
    driver : Chrome
    address : str
    folder : Path
        Of the notebooks.
    """

    def __init__(self, driver: Chrome, address: str, folder: Path) -> None:
        self.driver, self.address, self.folder = driver, address, folder

    def open(self, cells: Sequence[str], *, name: str = "explorer") -> None:
        """Open a new notebook of code cells, and wait for its kernel.

        Parameters
        ----------
        cells : sequence of str
        name : str, default "explorer"
        """
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        self.driver.get(f"{self.address}/lab/tree/{name}.ipynb?reset")
        self.wait(
            "const w = window.jupyterapp?.shell.currentWidget;"
            "return w?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run(self, cell: int) -> None:
        """Execute a cell, and wait until it is done.

        Parameters
        ----------
        cell : int
            Its position.
        """
        self.driver.execute_script(
            "const w = window.jupyterapp.shell.currentWidget; w.content.activeCellIndex = "
            "arguments[0]; window.jupyterapp.commands.execute('notebook:run-cell')",
            cell,
        )
        self.wait(
            "const c = window.jupyterapp.shell.currentWidget.content.widgets[arguments[0]];"
            "return c.model.executionCount !== null && c.prompt !== '*'"
            "  && c.model.executionState !== 'running'",
            cell,
        )

    def output(self, cell: int) -> str:
        """Give the text that a cell has put out.

        Parameters
        ----------
        cell : int

        Returns
        -------
        text : str
        """
        text: str = self.script(
            "return window.jupyterapp.shell.currentWidget.content.widgets[arguments[0]]"
            ".outputArea.node.innerText",
            cell,
        )
        return text.strip()

    def script(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page.

        Parameters
        ----------
        code : str
        *arguments : object

        Returns
        -------
        value : object
        """
        return self.driver.execute_script(code, *arguments)

    def wait(self, code: str, *arguments: Any, seconds: float = _PATIENCE) -> Any:
        """Wait until JavaScript gives something true.

        Parameters
        ----------
        code : str
        *arguments : object
        seconds : float, default 120

        Returns
        -------
        value : object

        Raises
        ------
        TimeoutException
            With the code, when it never does.
        """
        wait = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
        return wait.until(lambda _: self.script(code, *arguments), f"never true: {code}")

    def theme(self, *, dark: bool) -> None:
        """Change the colours.

        Parameters
        ----------
        dark : bool
        """
        theme = f"JupyterLab {'Dark' if dark else 'Light'}"
        self.script(
            "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})",
            theme,
        )
        # A second change while JupyterLab's splash of the first still fades ends in its complaint.
        self.wait(
            f"return document.body.dataset.jpThemeLight === '{str(not dark).lower()}'"
            " && document.getElementById('jupyterlab-splash') === null"
        )

    def complaints(self) -> list[str]:
        """List what the browser's console has complained of since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextlib.contextmanager
def lab(
    *, size: tuple[int, int] = (1400, 1100), environment: Mapping[str, str] | None = None
) -> Iterator[Lab]:
    """Start JupyterLab and a browser, and end both.

    Parameters
    ----------
    size : pair of int, default (1400, 1100)
        Of the window.
    environment : mapping of str to str, optional
        What the kernels get beside the environment of this process.

    Yields
    ------
    lab : Lab

    Raises
    ------
    RuntimeError
        When there is no browser, or the server does not start.
    """
    if (reason := missing()) is not None:
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("notebooks", "home", "profile"):
            (folder / part).mkdir()
        with (
            _server(folder, environment or {}) as address,
            _window(folder / "profile", size) as driver,
        ):
            yield Lab(driver, address, folder / "notebooks")


@contextlib.contextmanager
def _server(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = str(folder / "home")
    settings = folder / "home" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    own = {"HOME": home, "JUPYTER_CONFIG_DIR": home, "JUPYTER_DATA_DIR": home, "IPYTHONDIR": home}
    own |= {"JUPYTER_RUNTIME_DIR": home, "PYTHONPATH": str(ROOT)}
    kept = {k: v for k, v in os.environ.items() if k != "BIGLEARN_QUIET"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
    ]
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", "--IdentityProvider.token="]
    command += [
        "--LabApp.expose_app_in_browser=True",
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            env={**kept, **own, **environment},
            cwd=folder / "notebooks",
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START
        while not _answers(f"{address}/api"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab has not started:\n{(folder / 'log').read_text()}")
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def _window(profile: Path, size: tuple[int, int]) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = _browser() or ""
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    # A headless window may be without focus, by which JupyterLab tells which notebook is current.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    try:
        yield driver
    finally:
        driver.quit()


def _browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
