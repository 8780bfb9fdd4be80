"""Memory of this process, from /proc; zero where there is none (other systems than Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def held_bytes(which: str) -> int:
    """Read VmRSS (now) or VmHWM (peak since `restart_peak`)."""
    if not _STATUS.exists():
        return 0
    return 1024 * int(re.search(rf"{which}:\s+(\d+)", _STATUS.read_text()).group(1))


def restart_peak() -> int:
    """Count the peak from here on; give what is held now."""
    with contextlib.suppress(OSError, AttributeError):  # what is free but kept would hide a peak
        ctypes.CDLL(None).malloc_trim(0)
    if _RESET.exists():
        _RESET.write_text("5")
    return held_bytes("VmRSS")


def peak_bytes(function: Callable[[], object]) -> int:
    """Measure the most memory held during a call beyond what was held before."""
    before = restart_peak()
    function()
    return max(0, held_bytes("VmHWM") - before)
