"""Fits of processes that each have some of the same rows, and failures of one of them."""

import contextlib
import os
import signal
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from sklearn.exceptions import ConvergenceWarning

from biglearn_core import (
    BigLearnEM,
    JointEM,
    MixtureSelection,
    fit_biglearn_em,
    fit_joint_em,
    validation,
)
from biglearn_core.estimators import given
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.rows import source as rows_source
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.weighted import WeightedRows

N, D, K = 1500, 3, 3

# Where the rows are cut, by the number of processes: unequally, and one of three has none.
CUTS = {1: (0, N), 2: (0, 400, N), 3: (0, 900, 900, N)}


def table(gaps=0.0):
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [6, 1, 2], [-3, 5, 1]])
    X = centres[rng.integers(K, size=N)] + rng.standard_normal((N, D))
    X[rng.random(X.shape) < gaps] = np.nan
    return X


def weights_of_all():
    return np.random.default_rng(1).integers(0, 4, N) / 2


def own(array, rank, size):
    return array[CUTS[size][rank] : CUTS[size][rank + 1]]


def start():
    return kmeans_plusplus_start(torch.from_numpy(table()[:300].copy()), K, seed=0)


def told(result):
    model = getattr(result, "model", None) or result.mixture_
    found = {"weights": model.weights, "means": model.means, "covariances": model.covariances}
    found = {name: tensor.numpy() for name, tensor in found.items()}
    if hasattr(result, "lower_bound_"):
        found["lower_bound"] = np.array(result.lower_bound_)
        found["n_iter"] = np.array(result.n_iter_)
    return found


def in_passes():
    """Rows are too many to be held, and blocks are small."""
    return mock.patch.multiple(given, HELD_NUMBERS=100, _SAMPLED_ROWS=400)


def small_blocks():
    return mock.patch.object(rows_source, "_BLOCK_NUMBERS", 300)


JOINT = {"n_iter": 8, "covariance_floor": 1e-4}
BIGLEARN = JOINT | {"weight_smoothing": 0.1, "seed": 3}


def joint(rank, size):
    return told(fit_joint_em(torch.from_numpy(own(table(), rank, size)), start(), **JOINT))


def joint_weighted(rank, size):
    X, w = (torch.from_numpy(own(a, rank, size)) for a in (table(), weights_of_all()))
    return told(fit_joint_em(X, start(), sample_weight=w, **JOINT))


def joint_far(rank, size):
    X = table() + 1e5
    model = start()
    model = model.with_parameters(model.weights, model.means + 1e5, model.covariances)
    return told(fit_joint_em(torch.from_numpy(own(X, rank, size)), model, **JOINT))


def biglearn(rank, size):
    return told(fit_biglearn_em(torch.from_numpy(own(table(), rank, size)), start(), **BIGLEARN))


def biglearn_source(rank, size):
    with small_blocks():
        return told(fit_biglearn_em(ArrayRows(own(table(), rank, size)), start(), **BIGLEARN))


def joint_source_weighted(rank, size):
    X, w = (own(a, rank, size) for a in (table(), weights_of_all()))
    with small_blocks():
        return told(fit_joint_em(WeightedRows(ArrayRows(X), w), start(), **JOINT))


def estimator(rank, size, model, *, passes, gaps=0.0, weighted=False):
    X, w = own(table(gaps), rank, size), own(weights_of_all(), rank, size)
    with small_blocks(), in_passes() if passes else contextlib.nullcontext():
        return told(model.fit(X, sample_weight=w if weighted else None))


def held(rank, size):
    return estimator(rank, size, BigLearnEM(K, random_state=0), passes=False)


def held_weighted(rank, size):
    return estimator(rank, size, JointEM(K, random_state=0), passes=False, weighted=True)


def held_weightless(rank, size):
    return weightless(rank, size, passes=False)


def passes_weightless(rank, size):
    return weightless(rank, size, passes=True)


def weightless(rank, size, *, passes):
    """All rows of the last of several processes have the weight zero."""
    X, w = own(table(), rank, size), own(np.repeat([2.0, 0.0], [900, N - 900]), rank, size)
    with small_blocks(), in_passes() if passes else contextlib.nullcontext():
        return told(JointEM(K, random_state=0).fit(X, sample_weight=w))


def held_gaps(rank, size):
    return estimator(rank, size, BigLearnEM(K, random_state=0), passes=False, gaps=0.1)


def held_paper(rank, size):
    model = BigLearnEM(K, preset="paper", max_iter=20, random_state=0)
    return estimator(rank, size, model, passes=False)


def passes(rank, size):
    return estimator(rank, size, BigLearnEM(K, random_state=0), passes=True)


def passes_weighted(rank, size):
    return estimator(rank, size, JointEM(K, random_state=0), passes=True, weighted=True)


def passes_gaps(rank, size):
    return estimator(rank, size, BigLearnEM(K, random_state=0), passes=True, gaps=0.1)


def passes_paper(rank, size):
    model = BigLearnEM(K, preset="paper", max_iter=20, random_state=0)
    return estimator(rank, size, model, passes=True)


def selection(rank, size):
    model = MixtureSelection(covariance_type=("full", "tied"), max_components=4, random_state=0)
    found = estimator(rank, size, model, passes=True)
    chosen = f"{model.covariance_type_} {model.n_components_}"
    # Rounding decides which candidate is tried first, and so on the way to the chosen one.
    del found["n_iter"]
    order = found["means"][:, 0].argsort()
    found |= {name: found[name][order] for name in ("weights", "means", "covariances")}
    return found | {"chosen": np.array(chosen), "criterion": np.array(model.criterion_)}


def drawn_seed(rank, size, *, passes):
    """Of a mixture of too many components, so that every seed ends elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator(rank, size, JointEM(9, max_iter=40), passes=passes)


def drawn_seed_held(rank, size):
    return drawn_seed(rank, size, passes=False)


def drawn_seed_passes(rank, size):
    return drawn_seed(rank, size, passes=True)


def alone(rank, size):
    """Each fits its own rows, since it names a group of itself."""
    groups = [dist.new_group([other]) for other in range(size)]
    X = table()[rank * 300 : (rank + 1) * 300]
    model = JointEM(K, random_state=0).fit(X, process_group=groups[rank])
    group = groups[rank]
    low = fit_joint_em(torch.from_numpy(X), start(), process_group=group, **JOINT)
    return told(model) | {"low": low.model.means.numpy()}


def sub_group(rank, size):
    """All but the first."""
    group = dist.new_group(list(range(1, size)))
    if rank == 0:
        return {"nothing": np.zeros(0)}
    part = own(table(), rank - 1, size - 1)
    result = fit_joint_em(torch.from_numpy(part), start(), process_group=group, **JOINT)
    with in_passes():
        model = BigLearnEM(K, random_state=0).fit(part, process_group=group)
    return told(result) | {"passes": model.means_}


def wrong(rank, size, what, *, kind):
    """The last has rows that cannot be taken."""
    X = table()[rank * 100 : (rank + 1) * 100]
    if rank == size - 1:
        X = {"nan": np.where(X > 5, np.nan, X), "features": X[:, :2], "dtype": X.astype("f4")}[what]
    if kind == "tensor":
        fit_joint_em(torch.from_numpy(X.copy()), start(), **JOINT)
    elif kind == "source":
        fit_joint_em(ArrayRows(X), start(), **JOINT)
    elif kind == "held":
        JointEM(K, random_state=0).fit(X)
    else:
        with in_passes():
            JointEM(K, random_state=0).fit(X)
    return {}


def wrong_start(rank, size):
    """That of the last is in another dtype."""
    model = start().to(dtype=torch.float32 if rank == size - 1 else torch.float64)
    fit_joint_em(torch.from_numpy(own(table(), rank, size)), model, **JOINT)
    return {}


def other_start(rank, size):
    """That of the last is another one."""
    model = start()
    model = model.with_parameters(
        model.weights, model.means + float(rank == size - 1), model.covariances
    )
    fit_joint_em(torch.from_numpy(own(table(), rank, size)), model, **JOINT)
    return {}


def named(rank, size, names, *, kind):
    """Columns of all, and those of the last."""
    X = table()[rank * 100 : (rank + 1) * 100]
    columns = names[int(rank == size - 1)]
    if kind == "frame":
        import pandas as pd

        JointEM(K, random_state=0).fit(pd.DataFrame(X, columns=columns))
    elif kind == "source":
        fit_joint_em(ArrayRows(X, feature_names=columns), start(), **JOINT)
    else:
        with in_passes() if kind == "passes" else contextlib.nullcontext():
            model = JointEM(K, random_state=0).fit(ArrayRows(X, feature_names=columns))
            assert list(model.feature_names_in_) == columns
    return {"nothing": np.zeros(0)}


NAMES = {
    "alike": (["a", "b", "c"], ["a", "b", "c"]),
    "order": (["a", "b", "c"], ["a", "c", "b"]),
    "none": (["a", "b", "c"], None),
    "first": (None, ["a", "b", "c"]),
}


def settings():
    """What is different in the last process, by what it is."""
    X, model = table(), start()
    moved = model.with_parameters(model.weights, model.means + 1, model.covariances)
    return {
        "n_components": (K, K + 1),
        "covariance_type": ("full", "diag"),
        "covariance_prior": (None, "conjugate"),
        "covariance_floor": (None, 0.01),
        "max_iter": (2, 9),
        "tol": (1e-2, 1e-9),
        "n_init": (1, 2),
        "random_state": (0, 1),
        "init": (X[:K], X[K : 2 * K]),
        "mixture": (model, moved),
        "start": (model, "kmeans"),
        "estimator": (JointEM, BigLearnEM),
        "warm": (True, True),
    }


def different(rank, size, what, *, kind):
    value = settings()[what][int(rank == size - 1)]
    parameters = {"n_components": K, "random_state": 0}
    estimator = JointEM
    if what == "estimator":
        estimator = value
    elif what != "warm":
        parameters |= {"init" if what in ("mixture", "start") else what: value}
    model = estimator(**parameters)
    if what == "warm":  # each goes on from a fit of its own
        groups = [dist.new_group([other]) for other in range(size)]
        part = table()[rank * 100 : (rank + 1) * 100]
        model.set_params(warm_start=True).fit(part, process_group=groups[rank])
    with in_passes() if kind == "passes" else contextlib.nullcontext():
        model.fit(own(table(), rank, size))
    return {}


def different_criterion(rank, size):
    """Of a selection: one has a function of its own."""
    criterion = (lambda *_: 0.0) if rank == size - 1 else "bic"
    MixtureSelection(max_components=2, criterion=criterion).fit(own(table(), rank, size))
    return {}


def same_in_other_words(rank, size):
    """What is the same is written in several ways, and what may differ differs."""
    first = rank == 0
    model = JointEM(
        K if first else np.int64(K),
        tol=0 if first else 0.0,
        max_iter=4,
        covariance_floor=np.float64(0.01) if first else 0.01,
        init=table()[:K] if first else table()[:K].tolist(),
        random_state=None if first else np.random.RandomState(rank),
        device="cpu" if first else "auto",
        verbose=False if first else 0,
        warm_start=np.bool_(False) if first else False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return told(model.fit(own(table(), rank, size)))


def no_memory_for_one(rank, size):
    """The machine of the last has too little."""

    def check(*arguments, **options):
        raise ValueError("memory lacks")

    replaced = check if rank == size - 1 else validation.check_memory
    with mock.patch.object(validation, "check_memory", replaced):
        fit_joint_em(torch.from_numpy(own(table(), rank, size)), start(), **JOINT)
    return {}


WRONG = [
    f"{what}_{kind}"
    for what in ("nan", "features", "dtype")
    for kind in ("tensor", "source", "held", "passes")
]


# "named", what and kind: the names of the features.
NAMED = [
    f"named_{what}_{kind}"
    for what in ("alike", "order", "none", "first")
    for kind in ("source", "held", "passes", "frame")
    if kind != "frame" or what != "alike"
]

# "different", kind and what: the parameters.
DIFFERENT = [f"different_{kind}_{what}" for kind in ("held", "passes") for what in settings()]


def __getattr__(name):
    what, _, kind = name.partition("_")
    if name in WRONG:
        return lambda rank, size: wrong(rank, size, what, kind=kind)
    if name in NAMED:
        what, _, kind = kind.partition("_")
        return lambda rank, size: named(rank, size, NAMES[what], kind=kind)
    if name in DIFFERENT:
        kind, _, what = kind.partition("_")
        return lambda rank, size: different(rank, size, what, kind=kind)
    raise AttributeError(name)


def checkpoint_of_some(rank, size, fit):
    """The last has no checkpoint; none is written, as all refuse before."""
    return fit(own(table(), rank, size), "never.npz" if rank < size - 1 else None)


def other_checkpoint_joint(rank, size):
    return checkpoint_of_some(
        rank, size, lambda X, p: fit_joint_em(torch.from_numpy(X), start(), checkpoint=p, **JOINT)
    )


def other_checkpoint_passes(rank, size):
    with in_passes():
        return checkpoint_of_some(rank, size, lambda X, p: JointEM(K).fit(X, checkpoint=p))


def no_path_for_one(rank, size):
    checkpoint = 5 if rank == size - 1 else "never.npz"
    fit_joint_em(
        torch.from_numpy(own(table(), rank, size)), start(), checkpoint=checkpoint, **JOINT
    )


def state_of(name):
    return Path(os.environ["FOLDER"]) / f"{name}.npz"


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_joint(rank, size):
    """Process 1 is killed after some iterations."""

    def callback(iteration, model):
        if rank == 1 and iteration == 4:
            die()

    X = torch.from_numpy(own(table(), rank, size))
    options = JOINT | {"checkpoint": state_of("joint"), "callback": callback}
    return told(fit_joint_em(X, start(), **options))


def resumed_joint(rank, size):
    X = torch.from_numpy(own(table(), rank, size))
    return told(fit_joint_em(X, start(), checkpoint=state_of("joint"), **JOINT))


class Deadly(ArrayRows):
    """Rows during whose reading the process is killed."""

    passes = 0

    def blocks(self, size, start=0, stop=None):
        self.passes += 1
        for number, block in enumerate(super().blocks(size, start, stop)):
            if self.passes == 5 and number == 2:
                die()
            yield block


def killed_passes(rank, size):
    X = own(table(), rank, size)
    rows = Deadly(X) if rank == 0 else ArrayRows(X)
    with small_blocks(), in_passes():
        model = BigLearnEM(K, random_state=0)
        return told(model.fit(rows, checkpoint=state_of("passes")))


def resumed_passes(rank, size):
    """Without a search."""
    model = BigLearnEM(K, random_state=0)
    with small_blocks(), in_passes(), mock.patch.object(BigLearnEM, "_fit_default", None):
        return told(model.fit(own(table(), rank, size), checkpoint=state_of("passes")))
