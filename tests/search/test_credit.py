"""What is withheld from likelihoods, against its formulas by NumPy."""

import numpy as np
import pytest
import torch

from biglearn_core.gmm import GMM
from biglearn_core.search.credit import Credit
from tests.helpers import parameters, random_gmm

FLOOR = 1e-6


def flattened(model, which, floor=FLOOR):
    """Put an eigenvalue of some components on the floor."""
    values, vectors = torch.linalg.eigh(model.covariances)
    values[which, 0] = floor
    covariances = vectors @ values.diag_embed() @ vectors.mT
    return GMM.unchecked(model.weights, model.means, (covariances + covariances.mT) / 2)


def flags(K, which):
    found = torch.zeros(1, K, dtype=torch.bool)
    found[0, which] = True
    return found


def naive_optimism(n_rows, weights, D):
    n_parameters = D * (D + 3) / 2
    rows = weights * n_rows
    corrected = n_parameters * rows / (rows - D - 2)
    return np.sum(corrected - n_parameters) / n_rows


def test_plain_withholds_nothing():
    model = flattened(random_gmm(0), [1])
    plain = Credit(30, FLOOR, True)
    assert plain.withheld(model, 1, flags(4, [1])).tolist() == [0]
    assert plain.optimism(model.weights, 3).tolist() == [0] * 4
    new = plain.withheld_from_new(model, model.weights, model.covariances, flags(4, [1])[0])
    assert new.tolist() == [0] * 4


@pytest.mark.parametrize("D", [1, 3, 10])
@pytest.mark.parametrize("n_rows", [400, 2000, 10**6])
def test_optimism_is_what_the_correction_for_few_rows_adds(n_rows, D):
    model = random_gmm(0, D=D)
    withheld = Credit(n_rows, FLOOR, False).withheld(model, 1, flags(4, []))
    assert withheld.dtype == torch.float64
    expected = naive_optimism(n_rows, parameters(model)[0], D)
    assert withheld.item() == pytest.approx(expected, rel=1e-9)


def test_optimism_vanishes_for_many_rows_and_grows_as_they_fall():
    weights = torch.full((4,), 0.25).double()
    found = [
        Credit(n, FLOOR, False).optimism(weights, 3).sum().item() for n in (10**6, 1000, 200, 40, 8)
    ]
    assert found[0] < 1e-9
    assert (np.diff(found) > 0).all()
    assert found[-1] > 1
    assert Credit(8, FLOOR, False).optimism(torch.zeros(2).double(), 3).isfinite().all()


def test_a_thin_component_of_few_rows_is_charged_the_volume_it_lacks():
    model = flattened(random_gmm(3), [1])
    weights, _, covariances = parameters(model)
    half_logdets = 0.5 * np.linalg.slogdet(covariances)[1]
    others = [0, 2, 3]
    typical = np.average(half_logdets[others], weights=weights[others])
    n_rows = int(29 / weights[1])
    credit = Credit(n_rows, FLOOR, False)
    charged = credit.withheld(model, 1, flags(4, [1])) - credit.withheld(model, 1, flags(4, []))
    assert charged.item() == pytest.approx(weights[1] * (typical - half_logdets[1]), rel=1e-9)
    assert charged.item() > 0.1
    # Ten rows to a coordinate are believed.
    believed = Credit(int(31 / weights[1]), FLOOR, False)
    withheld = believed.withheld(model, 1, flags(4, [1]))
    assert torch.equal(withheld, believed.withheld(model, 1, flags(4, [])))


def test_a_small_component_that_is_not_thinner_is_not_charged():
    model = flattened(random_gmm(3), [0, 2, 3])
    credit = Credit(60, FLOOR, False)
    none = credit.withheld(model, 1, flags(4, []))
    assert torch.equal(credit.withheld(model, 1, flags(4, [1])), none)


@pytest.mark.parametrize("n_rows", [40, 160, 10_000])
def test_a_constant_coordinate_of_all_components_is_not_charged(n_rows):
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
    scales = torch.tensor([1.0, 2.0, 3.0]).double()
    covariances = torch.stack([torch.diag(scales.roll(k)) for k in range(4)])
    covariances = torch.nn.functional.pad(covariances, (0, 1, 0, 1))
    covariances[:, 3, 3] = FLOOR
    model = GMM.unchecked(weights, torch.zeros(4, 4).double(), covariances)
    credit = Credit(n_rows, FLOOR, False)
    withheld = credit.withheld(model, 1, flags(4, [0, 1, 2, 3]))
    torch.testing.assert_close(withheld, credit.withheld(model, 1, flags(4, [])))


def test_every_mixture_of_a_batch_is_charged_alone():
    models = [flattened(random_gmm(seed), [seed]) for seed in range(3)]
    batch = GMM.unchecked(
        *(
            torch.cat([getattr(m, f) for m in (*models, models[0])])
            for f in ("weights", "means", "covariances")
        )
    )
    credit = Credit(60, FLOOR, False)
    each = torch.cat([flags(4, [seed]) for seed in (0, 1, 2, 0)])
    together = credit.withheld(batch, 4, each)
    for i, model in enumerate((*models, models[0])):
        torch.testing.assert_close(together[i, None], credit.withheld(model, 1, each[i, None]))
    assert together[0] == together[3] != together[1]


def test_new_components_are_charged_like_those_of_a_mixture():
    model, new = random_gmm(5), flattened(random_gmm(6), [2])
    credit = Credit(60, FLOOR, False)
    found = credit.withheld_from_new(model, new.weights, new.covariances, flags(4, [2])[0])
    weights, _, covariances = parameters(new)
    typical = parameters(model)[0] @ np.linalg.slogdet(parameters(model)[2])[1] / 2
    own = np.linalg.slogdet(covariances)[1] / 2
    for c in range(4):
        rows = max(60 * weights[c] - 5, 1)
        expected = 9 * 5 / rows / 60
        if c == 2:
            expected += weights[c] * (typical - own[c])
        assert found[c].item() == pytest.approx(expected, rel=1e-9)


def test_where_most_rows_lie_in_components_on_the_floor_none_is_thin():
    model = GMM.unchecked(
        torch.tensor([0.3, 0.25, 0.45]).double(),
        torch.zeros(3, 2).double(),
        torch.stack([torch.diag(torch.tensor([v, FLOOR]).double()) for v in (1.0, 0.01, 1.0)]),
    )
    credit = Credit(40, FLOOR, False)
    none = credit.withheld(model, 1, flags(3, []))
    assert torch.equal(credit.withheld(model, 1, flags(3, [0, 1])), none)
    assert credit.withheld(model, 1, flags(3, [1])) > none
