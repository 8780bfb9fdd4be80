"""An explorer for Jupyter: Joint-EM and BigLearn-EM side by side, or a fitted model on its rows."""

from biglearn_core.explorer.explore import explore

__all__ = ["explore"]
