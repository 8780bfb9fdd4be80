import itertools

import numpy as np
import pytest
import torch

from biglearn_core import GMM
from biglearn_core.numerics.structures import (
    COVARIANCE_TYPES,
    n_mixture_parameters,
    structure_of,
)

ITERATIVE = ("VEI", "VEE", "VEV", "EVE", "VVE")
# Each is a case of the next.
CHAINS = (
    ("EII", "spherical", "VEI", "diag", "VVE", "full"),
    ("EII", "EEI", "tied", "VEE", "VVE"),
    ("EEI", "EVI", "EVE", "EVV", "full"),
    ("tied", "EEV", "VEV", "full"),
    ("VEI", "VEE", "VEV"),
    ("EVI", "diag"),
    ("EVE", "VVE"),
    ("EEV", "EVV"),
)


def problem(D, seed, K=4, B=2):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(B, K, D, 3 * D, generator=generator, dtype=torch.float64)
    scatters = A @ A.mT / (3 * D)
    weights = torch.rand(B, K, generator=generator, dtype=torch.float64) + 0.1
    return weights / weights.sum(dim=1, keepdim=True), scatters


def objective(weights, covariances, scatters):
    precisions = torch.linalg.inv(covariances)
    traces = (precisions * scatters).sum(dim=(-2, -1))
    return (weights * (-0.5 * torch.logdet(covariances) - 0.5 * traces)).sum(dim=-1)


def fitted(covariance_type, weights, scatters, floor=1e-12, rounds=40):
    structure = structure_of(covariance_type)
    covariances, _ = structure.fit(weights, scatters, floor)
    for _ in range(rounds):
        covariances, _ = structure.fit(weights, scatters, floor, before=covariances)
    return covariances


@pytest.mark.parametrize("D", [1, 2, 3, 6])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_never_lower_the_likelihood_and_end_in_the_family(covariance_type, D):
    weights, scatters = problem(D, seed=D)
    structure = structure_of(covariance_type)
    covariances, floored = structure.fit(weights, scatters, 1e-12)
    assert not floored.any()
    before = objective(weights, covariances, scatters)
    for _ in range(20):
        covariances, _ = structure.fit(weights, scatters, 1e-12, before=covariances)
        after = objective(weights, covariances, scatters)
        assert (after >= before - 1e-10).all()
        before = after
    assert all(structure.holds(part) for part in covariances)
    projected = fitted(covariance_type, torch.ones_like(weights), covariances, rounds=30)
    torch.testing.assert_close(projected, covariances, rtol=0, atol=1e-6)
    if covariance_type not in ITERATIVE:
        once, _ = structure.fit(weights, scatters, 1e-12)
        torch.testing.assert_close(once, covariances, rtol=0, atol=1e-9)


def taken_apart(covariances):
    """Log eigenvalues and axes, shared axes in the order of the first component."""
    values, axes = torch.linalg.eigh(covariances)
    return values.log(), axes


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_no_member_of_the_family_nearby_is_more_likely(covariance_type):
    # The family is moved in by its own parameters, built here from the three letters alone.
    weights, scatters = problem(3, seed=7, B=1)
    structure = structure_of(covariance_type)
    covariances = fitted(covariance_type, weights, scatters, rounds=300)[0]
    best = objective(weights[0], covariances, scatters[0])
    K, D = 4, 3
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return 1e-3 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    def per_letter(letter, shape):
        if letter == "I":
            return torch.zeros(K, *shape, dtype=torch.float64)
        if letter == "E":
            return noise(1, *shape).expand(K, *shape)
        return noise(K, *shape)

    # Eigenvectors of covariances with a common orientation may come in another order in each.
    _, common = torch.linalg.eigh((weights[0][:, None, None] * covariances).sum(dim=0))
    for _ in range(200):
        volume = per_letter(structure.volume, (1,))
        shape = per_letter(structure.shape, (D,))
        shape = shape - shape.mean(dim=1, keepdim=True)
        skew = per_letter(structure.orientation, (D, D))
        turn = torch.linalg.matrix_exp(skew - skew.mT)
        if structure.orientation == "V":
            values, axes = torch.linalg.eigh(covariances)
        else:
            axes = (
                torch.eye(D, dtype=torch.float64) if structure.orientation == "I" else common
            ).expand(K, D, D)
            values = (axes.mT @ covariances @ axes).diagonal(dim1=1, dim2=2)
        moved = axes @ turn
        values = values * (volume + shape).exp()
        candidates = moved * values[:, None, :] @ moved.mT
        assert objective(weights[0], candidates, scatters[0]) <= best + 1e-9


@pytest.mark.parametrize("chain", CHAINS)
def test_wider_families_are_no_less_likely(chain):
    weights, scatters = problem(4, seed=3)
    likelihoods = [
        objective(weights, fitted(name, weights, scatters, rounds=200), scatters) for name in chain
    ]
    for narrow, wide in itertools.pairwise(likelihoods):
        assert (wide >= narrow - 1e-7).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_scaling_features_commutes_with_the_fit_where_it_is_said_to(covariance_type):
    weights, scatters = problem(3, seed=5)
    scale = torch.tensor([1.0, 30.0, 0.02], dtype=torch.float64)
    scaled = scatters * scale[:, None] * scale
    plain = fitted(covariance_type, weights, scatters, rounds=200)
    log_volume = scale.log().sum()
    gap = (
        objective(weights, plain, scatters)
        - objective(weights, fitted(covariance_type, weights, scaled, rounds=200), scaled)
        - log_volume
    ).abs()
    assert (gap < 1e-6).all() == structure_of(covariance_type).is_scale_invariant
    common = fitted(covariance_type, weights, 9 * scatters, rounds=200)
    torch.testing.assert_close(common, 9 * plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_floor_holds_and_is_told(covariance_type):
    weights, scatters = problem(3, seed=9)
    scatters[:, 1] *= 1e-9
    if structure_of(covariance_type).is_shared:
        scatters *= 1e-9
    covariances, floored = structure_of(covariance_type).fit(weights, scatters, 1e-3)
    assert torch.linalg.eigvalsh(covariances).min() >= 1e-3 * (1 - 1e-9)
    assert floored[:, 1].all()
    assert floored.all() == structure_of(covariance_type).is_shared


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_parameters_are_as_many_as_directions_to_move_in(covariance_type):
    # The rank of the Jacobian of the family at a random member.
    K, D = 3, 3
    structure = structure_of(covariance_type)
    sizes = {"E": 1, "V": K, "I": 0}
    n_volume, n_shape = sizes[structure.volume], sizes[structure.shape] * D
    n_turn = sizes[structure.orientation] * 3

    def member(parameters):
        volume, shape, turn = parameters.split([n_volume, n_shape, n_turn])
        shape = shape.view(-1, D) if n_shape else parameters.new_zeros(1, D)
        values = (volume[:, None] + shape - shape.mean(dim=1, keepdim=True)).exp()
        skew = parameters.new_zeros(max(1, sizes[structure.orientation]), D, D)
        if n_turn:
            rows, columns = torch.triu_indices(D, D, 1)
            skew = skew.index_put(
                (torch.arange(len(skew))[:, None], rows, columns), turn.view(-1, 3)
            )
        axes = torch.linalg.matrix_exp(skew - skew.mT)
        found = axes * values[:, None, :] @ axes.mT
        return found.expand(K, D, D).flatten()

    generator = torch.Generator().manual_seed(1)
    at = torch.randn(n_volume + n_shape + n_turn, generator=generator, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(member, at)
    rank = int(torch.linalg.matrix_rank(jacobian, rtol=1e-9))
    assert structure.n_parameters(K, D) == rank
    assert n_mixture_parameters(K, D, covariance_type=covariance_type) == K - 1 + K * D + rank


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_mixtures_carry_their_type(covariance_type, tmp_path):
    weights, scatters = problem(4, seed=11, B=1)
    covariances = fitted(covariance_type, weights, scatters, rounds=100)[0]
    means = torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model = GMM(weights[0], means, covariances, covariance_type=covariance_type)
    model.save(tmp_path / "model.npz")
    loaded = GMM.load(tmp_path / "model.npz")
    assert loaded.covariance_type == model.covariance_type == structure_of(covariance_type).name
    assert model.to(dtype=torch.float32).covariance_type == model.covariance_type
    A = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4)))
    for derived in (
        model.marginal([2, 0]),
        model.condition([1], [0.3]),
        model.transform(A),
        model.clone(),
        model.dense(),
    ):
        # The constructor refuses covariances that are not of the type.
        GMM(
            derived.weights,
            derived.means,
            derived.covariances,
            covariance_type=derived.covariance_type,
        )
    if covariance_type in ("full", "tied", "diag", "spherical"):
        assert model.marginal([0, 3]).covariance_type == covariance_type
        assert model.condition([2], [0.0]).covariance_type == covariance_type


def test_covariances_of_another_type_are_refused():
    weights, scatters = problem(2, seed=0, B=1)
    means = torch.zeros(4, 2, dtype=torch.float64)
    for covariance_type in ("tied", "diag", "spherical", "EII", "EEI", "VEI", "EVI"):
        with pytest.raises(ValueError, match="not of the type"):
            GMM(weights[0], means, scatters[0], covariance_type=covariance_type)
    with pytest.raises(ValueError, match="covariance_type must be one of full, tied"):
        GMM(weights[0], means, scatters[0], covariance_type="round")


@pytest.mark.parametrize(
    ("letters", "name"), [("VVV", "full"), ("EEE", "tied"), ("VVI", "diag"), ("VII", "spherical")]
)
def test_letters_stand_for_the_names_of_scikit_learn(letters, name):
    assert structure_of(letters) is not None
    assert structure_of(letters).name == name
