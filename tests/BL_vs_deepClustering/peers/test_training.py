"""Training by mini-batches: killed it goes on, and a state of another run is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from biglearn_core.experiments.network_training import matmul_precision
from biglearn_core.system.persistence import load_arrays, save_arrays
from BL_vs_deepClustering.peers import training
from BL_vs_deepClustering.peers.autoencoder import pretrain
from BL_vs_deepClustering.peers.dec import DEC, IDEC, fit_dec
from BL_vs_deepClustering.peers.edesc import EDESCConfig, fit_edesc
from tests.BL_vs_deepClustering.small import TINY, K, quick
from tests.helpers import killed_after


def test_mini_batches_cover_every_epoch_and_need_no_past():
    batches = training.MiniBatches(10, 4, seed=3, device=torch.device("cpu"))
    epochs = [[batches.rows(3 * epoch + i) for i in range(3)] for epoch in range(2)]
    for epoch in epochs:
        assert [len(rows) for rows in epoch] == [4, 4, 2]
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
    assert torch.cat(epochs[0]).tolist() != torch.cat(epochs[1]).tolist()
    later = training.MiniBatches(10, 4, seed=3, device=torch.device("cpu"))
    assert torch.equal(later.rows(4), epochs[1][1])


def fits(X, pretrained, wide=None):
    wide = wide or pretrain(X, replace(TINY, n_code=6), seed=1).model
    config = EDESCConfig(n_directions=2, n_steps=6, n_init=2, checkpoint_every=2)
    return {
        "pretrain": lambda path: pretrain(X, TINY, seed=2, checkpoint=path),
        "dec": lambda path: fit_dec(
            X, pretrained, K, quick(DEC, max_updates=23, tol=0.0), seed=0, checkpoint=path
        ),
        "idec": lambda path: fit_dec(
            X, pretrained, K, quick(IDEC, max_updates=23, tol=0.0), seed=0, checkpoint=path
        ),
        "edesc": lambda path: fit_edesc(X, wide, K, config, seed=0, checkpoint=path),
    }


def outcome(found):
    if hasattr(found, "losses"):
        weights = {name: t.numpy() for name, t in found.model.state_dict().items()}
        return {"losses": found.losses, **weights}
    return {"history": found.history, **found.curves}


@pytest.mark.parametrize("name", ["pretrain", "dec", "idec", "edesc"])
@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_run_goes_on_to_the_same_result(small, tmp_path, name, saves):
    fit = fits(*small)[name]
    unbroken = outcome(fit(None))
    path = tmp_path / "state.npz"
    with killed_after(saves):
        fit(path)
    begun = outcome(fit(path))
    for key, value in unbroken.items():
        np.testing.assert_array_equal(begun[key], value, err_msg=key)


def test_a_state_of_other_settings_is_refused(small, tmp_path):
    X, _ = small
    path = tmp_path / "state.npz"
    pretrain(X, TINY, seed=0, checkpoint=path)
    for other, message in (
        (lambda: pretrain(X, TINY, seed=1, checkpoint=path), "seed: 0 there, 1 now"),
        (lambda: pretrain(X + 1, TINY, seed=0, checkpoint=path), r"data: float32 \(150, 20\) "),
        (lambda: pretrain(X[1:], TINY, seed=0, checkpoint=path), r"data: .*\(149, 20\)"),
        (lambda: pretrain(X, replace(TINY, batch_size=30), seed=0, checkpoint=path), "batch_size"),
    ):
        with pytest.raises(ValueError, match=rf"state\.npz.*other settings or data \(.*{message}"):
            other()
    with matmul_precision("medium"), pytest.raises(ValueError, match="precision: highest"):
        pretrain(X, TINY, seed=0, checkpoint=path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="not a readable"):
        pretrain(X, TINY, seed=0, checkpoint=path)


@pytest.mark.parametrize("name", ["dec", "idec", "edesc"])
def test_a_state_from_another_autoencoder_is_refused(small, tmp_path, name):
    X, pretrained = small
    path = tmp_path / "state.npz"
    with killed_after(1):
        fits(X, pretrained)[name](path)
    other, wide = (pretrain(X, replace(TINY, n_code=n, n_epochs=1), seed=3).model for n in (4, 6))
    again = fits(X, other, wide)[name]
    with pytest.raises(ValueError, match=r"state\.npz.*\(start: \w+ there, \w+ now\)"):
        again(path)


def spoil(arrays, kind):
    """Leave something out of a state, or put something wrong into it."""
    module = [n for n in arrays if n.startswith("module/")]
    optimizer = [n for n in arrays if n.startswith("optimizer/")]
    if kind == "nan":
        return arrays | {module[0]: arrays[module[0]] * np.nan}
    if kind == "shape":
        return arrays | {module[0]: arrays[module[0]][:1]}
    if kind == "word":
        return arrays | {module[0]: np.array("word")}
    left_out = {"module": module[:1], "losses": ["arrays/losses"]}.get(kind)
    if kind == "optimizer":  # all of one parameter
        left_out = [n for n in optimizer if n.startswith(optimizer[0].rpartition("/")[0] + "/")]
    return {n: a for n, a in arrays.items() if n not in left_out}


@pytest.mark.parametrize("name", ["pretrain", "dec", "idec", "edesc"])
@pytest.mark.parametrize("kind", ["nan", "shape", "word", "module", "optimizer", "losses"])
def test_a_damaged_state_is_named_with_the_remedy(small, tmp_path, name, kind):
    path = tmp_path / "state.npz"
    fit = fits(*small)[name]
    with killed_after(1):
        fit(path)
    save_arrays(path, spoil(load_arrays(path), kind))
    with pytest.raises(ValueError, match=r"(?s)state\.npz is damaged \(.*delete it"):
        fit(path)


def test_precision_is_put_back_after_an_error():
    with pytest.raises(KeyError), matmul_precision("medium"):
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"
