"""What tests share: the repository, random mixtures and points, comparisons, small disks."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from biglearn_core.experiments import network_training
from biglearn_core.gmm import GMM

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


def random_gmm(seed, *, K=4, D=3, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(K, 3.0))
    means = 2 * rng.standard_normal((K, D))
    roots = rng.standard_normal((K, D, D)) + np.eye(D)
    covariances = roots @ roots.transpose(0, 2, 1) / D + 0.1 * np.eye(D)
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    arrays = (weights / weights.sum(), means, covariances)
    return GMM(*(torch.tensor(array, dtype=dtype) for array in arrays))


def random_points(seed, *, N=200, D=3, dtype=torch.float64):
    rng = np.random.default_rng(1000 + seed)
    centres = 3 * rng.standard_normal((5, D))
    X = centres[rng.integers(5, size=N)] + rng.standard_normal((N, D))
    return torch.tensor(X, dtype=dtype)


def blobs(seed=0, *, n=60, D=2, gap=8.0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(m, 1, (n, D)) for m in (0, gap)])


def parameters(model):
    return [p.double().numpy() for p in (model.weights, model.means, model.covariances)]


def assert_same_model(a, b, *, rtol=1e-9, atol=1e-9):
    for left, right in zip(parameters(a), parameters(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)


def check_convention(estimator, check):
    """Run one of scikit-learn's checks."""
    with warnings.catch_warnings():
        # The checks fit tiny, degenerate data, about which the mixtures rightly warn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        state = np.random.get_state()  # noqa: NPY002 (some checks draw from it themselves)
        check(estimator)
        np.random.set_state(state)  # noqa: NPY002


def load_script(path):
    """Import a script of the repository, which lies in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount something on a folder, where that is allowed."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root on Linux")
    if subprocess.run(["mount", *options, folder], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


class Killed(BaseException):
    """Stands for the death of the process."""


@contextlib.contextmanager
def killed_after(saves):
    """Die in the block once the state of a network's training has been saved so many times."""
    calls, real = [], network_training.save_arrays

    def save_and_die(*arguments):
        real(*arguments)
        calls.append(1)
        if len(calls) == saves:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_training, "save_arrays", save_and_die)
        with pytest.raises(Killed):
            yield
