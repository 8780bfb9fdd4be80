"""Pictures of fitted mixtures in the manner of scikit-learn's displays; matplotlib draws them."""

from biglearn_core.displays.criterion import CriterionDisplay
from biglearn_core.displays.history import HistoryDisplay
from biglearn_core.displays.mixture import MixtureDisplay

__all__ = ["CriterionDisplay", "HistoryDisplay", "MixtureDisplay"]
