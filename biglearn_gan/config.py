"""What a BigLearn-GAN is trained with."""

from __future__ import annotations

from dataclasses import dataclass

from biglearn_core.system.numbers import check_integer, check_real
from biglearn_gan.data import DATA
from biglearn_gan.tasks import TaskLaw

__all__ = ["OBJECTIVES", "Config"]

OBJECTIVES = ("joint", "big", "communication", "energy", "energy alone")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one training.

    Parameters
    ----------
    data : {"ring8", "gmm4", "digits", "fashion"}
    objective : {"joint", "big", "communication", "energy", "energy alone"}
        The joint law alone; all tasks (the paper's plain objective, in our reading); with the
        communication objective; with the energy score, which is ours; the energy score without a
        discriminator.
    iterations, batch_size : int
        A step of the discriminator and one of the generator each.
    p_whole, p_nothing_given : float
        As in `TaskLaw`.
    communication_weight, energy_weight : float
        Of these objectives, where they are part.
    width, depth, n_noise : int
        Of both networks: hidden layers, and the length of z. With convolutions, `width` and `depth`
        are channels and residual blocks at the lowest resolution.
    convolutions : bool
        As in `ImageGenerator`; for images alone.
    fourier : bool
        As in `VectorGenerator`; for vectors alone.
    learning_rate : float
        Constant for the first half, then to zero as a cosine.
    penalty, last_penalty : float
        γ of R1 and R2 at the start and at the end; it falls as a cosine.
    penalty_every : int
        Iterations between two evaluations of the penalties, whose weight rises by the same factor.
    average : float
        Decay of the running average of the generator's weights, which is what is measured.

    Raises
    ------
    TypeError, ValueError
        When a setting is out of range; names it.
    """

    data: str = "ring8"
    objective: str = "big"
    iterations: int = 6000
    batch_size: int = 256
    p_whole: float = 0.7
    p_nothing_given: float = 0.35
    communication_weight: float = 0.5
    energy_weight: float = 2.0
    width: int = 128
    depth: int = 3
    n_noise: int = 8
    convolutions: bool = False
    fourier: bool = False
    learning_rate: float = 1e-3
    penalty: float = 0.3
    last_penalty: float = 0.02
    penalty_every: int = 1
    average: float = 0.995

    def __post_init__(self) -> None:
        for name, known in (("data", DATA), ("objective", OBJECTIVES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}"
                )
        for name in ("iterations", "batch_size", "width", "depth", "n_noise", "penalty_every"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("communication_weight", "energy_weight", "penalty", "last_penalty"):
            check_real(name, getattr(self, name), least=0)
        check_real("learning_rate", self.learning_rate, positive=True)
        check_real("average", self.average, least=0, most=1)
        self.tasks  # noqa: B018 - checks the probabilities

    @property
    def tasks(self) -> TaskLaw:
        """The law of the tasks under the objective."""
        if self.objective == "joint":
            return TaskLaw(p_whole=1.0, p_nothing_given=1.0)
        return TaskLaw(p_whole=self.p_whole, p_nothing_given=self.p_nothing_given)

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator takes part."""
        return self.objective != "energy alone"

    @property
    def communicates(self) -> bool:
        """Whether the communication objective takes part."""
        return self.objective == "communication"

    @property
    def scores_energy(self) -> bool:
        """Whether the energy score takes part."""
        return self.objective in ("energy", "energy alone")
