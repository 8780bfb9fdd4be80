"""The principle simulations against quadrature, autograd, and what must hold of any task."""

import dataclasses
import itertools
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from scipy.stats import norm
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from biglearn_core.experiments.principle import corner, run as principle, tables
from biglearn_core.experiments.principle.corner import target
from biglearn_core.experiments.principle.dwelling import (
    JOINT_ONLY,
    DwellConfig,
    descend,
    run_dwelling,
)
from biglearn_core.experiments.principle.exploration import (
    TARGET_MEANS,
    TARGET_VARIANCE,
    Mixtures,
    Plan,
    covered,
    explore,
    gradient,
)
from biglearn_core.experiments.principle.landscapes import LandscapeConfig, run_landscapes
from biglearn_core.experiments.principle.minima import (
    basin,
    near_optimum,
    off_diagonal,
    refined_minima,
    square,
)
from biglearn_core.experiments.principle.run import PLANS, run
from biglearn_core.experiments.principle.tasks import (
    CONDITIONALS,
    JOINT,
    MARGINALS,
    OPTIMA,
    Task,
    kl,
    kl_gradient,
    marginal_gradient,
    mean_kl,
    mean_kl_gradient,
    monte_carlo_kl,
)
from biglearn_core.experiments.published import GMM25_SEEDS
from biglearn_core.experiments.store import write_record
from biglearn_core.reproduce.records import read_record
from tests.experiments.small import PRINCIPLE as SMALL, same_principle
from tests.helpers import ROOT

TASKS = (*MARGINALS, *CONDITIONALS)
SOME = (JOINT, Task(30.0), Task(75.0), Task(135.0), *CONDITIONALS[3::9])
PLACES = torch.tensor(
    [[0.3, -1.2], [1.5, 0.7], [-1.06, -0.94], [-1.9, 1.8], [0.0, 0.2]], dtype=torch.float64
)
DEVIATION = math.sqrt(0.1)


def log_law(means, angle, y2):
    """Log-density of y₁, or of y₁ given y₂, from the rotated components one by one."""
    a = math.radians(angle)
    weights = np.zeros(2)
    if y2 is not None:
        weights = norm.logpdf(y2, [-m * math.sin(a) for m in means], DEVIATION)
    weights = weights - np.logaddexp(*weights)
    centres = [m * math.cos(a) for m in means]
    return lambda y: np.logaddexp(*(weights + norm.logpdf(y, centres, DEVIATION)))


@pytest.mark.parametrize("task", SOME, ids=lambda task: task.name)
def test_kl_is_the_integral(task):
    for means in PLACES.tolist():
        p, q = (log_law(own, task.angle, task.y2) for own in (means, OPTIMA[0]))
        integral, _ = quad(
            lambda y, p=p, q=q: np.exp(p(y)) * (p(y) - q(y)), -6, 6, points=[*means, 0], limit=300
        )
        own = kl(task, torch.tensor(means, dtype=torch.float64)).item()
        assert own == pytest.approx(integral, abs=1e-6)


def test_the_joint_landscape_is_that_of_the_marginal_at_0_degrees():
    """The joint law by an integral over the plane."""
    for means in PLACES[1:2].tolist():
        p, q = (log_law(own, 0, None) for own in (means, OPTIMA[0]))

        def integrand(x2, x1, p=p, q=q):
            second = norm.logpdf(x2, 0, DEVIATION)
            joint = p(x1) + second
            return np.exp(joint) * (joint - (q(x1) + second))

        integral, _ = dblquad(integrand, -4, 4, -1.6, 1.6, epsabs=1e-4)
        own = kl(JOINT, torch.tensor(means, dtype=torch.float64)).item()
        assert own == pytest.approx(integral, abs=1e-3)


def test_every_task_is_zero_at_both_optima_and_blind_to_a_swap():
    optima = torch.tensor(OPTIMA, dtype=torch.float64)
    for task in TASKS:
        assert kl(task, optima).abs().max() < 1e-12
        assert kl(task, PLACES).min() > -1e-9
        torch.testing.assert_close(kl(task, PLACES), kl(task, PLACES.flip(-1)))
        swapped = kl_gradient(task, PLACES.flip(-1)).flip(-1)
        torch.testing.assert_close(kl_gradient(task, PLACES), swapped)


def test_the_marginal_at_90_degrees_says_nothing():
    assert kl(Task(90.0), square(21)).abs().max() < 1e-10
    assert kl_gradient(Task(90.0), square(21)).abs().max() < 1e-10


@pytest.mark.parametrize("task", SOME, ids=lambda task: task.name)
def test_the_gradient_is_that_of_the_kl(task):
    steps = 1e-4 * torch.eye(2, dtype=torch.float64)
    numeric = [(kl(task, PLACES + s) - kl(task, PLACES - s)) / 2e-4 for s in steps]
    closed = kl_gradient(task, PLACES, n_nodes=96)
    torch.testing.assert_close(closed, torch.stack(numeric, -1), rtol=0, atol=1e-4)
    if task.y2 is None:
        cosine = torch.tensor(task.direction[0], dtype=torch.float64)
        along = marginal_gradient(cosine, PLACES, n_nodes=96)
        torch.testing.assert_close(along, closed, rtol=0, atol=1e-10)


# Spurious minima with μ₁ < μ₂ < 0, and the value there, from a prototype's grid of step 0.02.
MINIMA = {
    "joint": ((JOINT,), (-1.04, -0.96), 0.6908),
    "marginal 15": ((Task(15.0),), (-1.06, -0.94), 0.6896),
    "marginal 30": ((Task(30.0),), (-1.10, -0.88), 0.6825),
    "mean of the marginals": (MARGINALS, (-1.10, -0.80), 0.523),
}


@pytest.mark.parametrize("name", MINIMA)
def test_joint_and_mean_of_the_marginals_keep_a_bad_optimum(name):
    tasks, (a, b), value = MINIMA[name]
    minima, values = found(tasks)
    away = ~near_optimum(minima)
    assert away.sum() == 4
    expected = torch.tensor([[a, b], [b, a], [-a, -b], [-b, -a]], dtype=torch.float64)
    assert torch.cdist(minima[away], expected).amin(0).max() < 0.02
    assert values[away].sub(value).abs().max() < 1e-3
    assert (~away).sum() == 2
    assert 0.5 < basin(gradient_of(tasks), off_diagonal(21)) < 0.6


@pytest.mark.parametrize("tasks", [(Task(45.0),), (Task(60.0),), (Task(75.0),), CONDITIONALS])
def test_steep_marginals_and_the_mean_of_the_conditionals_have_none(tasks):
    minima, _ = found(tasks, side=41)
    assert near_optimum(minima).all()
    assert len(minima) == 2
    assert basin(gradient_of(tasks), off_diagonal(9)) == 1


def found(tasks, side=101):
    value, slope = (lambda x, f=f: f(tasks, x, n_nodes=64) for f in (mean_kl, mean_kl_gradient))
    return refined_minima(value, slope, value(square(side)))


def gradient_of(tasks):
    return lambda x: mean_kl_gradient(tasks, x)


def test_dwelling_leaves_what_a_fresh_task_at_every_step_does_not():
    def success(dwell):
        means, _ = descend(off_diagonal(21), (0, 1, 2), dwell=dwell)
        return near_optimum(means).double().mean(-1)

    joint, single, twenty = (success(dwell) for dwell in (JOINT_ONLY, 1, 20))
    assert joint.item() < 0.6
    assert single.median() < 0.6
    assert (twenty == 1).all()


def test_samples_are_off_by_what_they_should_be():
    """The estimate is unbiased, and its deviation falls with the root of the samples."""
    means = PLACES[:1].expand(400, 2)
    few, many = (
        monte_carlo_kl(Task(30.0), means, n_samples=n, generator=torch.Generator().manual_seed(n))
        for n in (50, 800)
    )
    exact = kl(Task(30.0), PLACES[0])
    assert (many.mean() - exact).abs() < 4 * many.std() / 20
    assert few.std() / many.std() == pytest.approx(4, rel=0.2)


# Twenty-five Gaussians


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["joint", "marginal"])
def test_the_path_gradient_is_that_of_autograd(kind, seed):
    """Both with the same noise; autograd through the samples, log p with its parameters held."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    parameters = draw(2, 25, 5) * torch.tensor([2, 2, 0.3, 0.3, 0.4], dtype=torch.float64)
    parameters.requires_grad_()
    noise, directions = draw(2, 25, 3, 2), torch.nn.functional.normalize(draw(2, 2), dim=-1)
    given = directions if kind == "marginal" else None
    factors = Mixtures(parameters).factors()
    x = parameters[..., None, :2] + noise @ factors.mT
    equal = Categorical(torch.ones(25, dtype=torch.float64))
    loss = 0
    for own, means, factor, v in zip(
        x.flatten(1, 2), parameters[..., :2].detach(), factors.detach(), directions, strict=True
    ):
        if given is None:
            y, p = own, MultivariateNormal(means, scale_tril=factor)
            q = MultivariateNormal(TARGET_MEANS, TARGET_VARIANCE * torch.eye(2).double())
        else:
            y, p = own @ v, Normal(means @ v, (factor.mT @ v).norm(dim=-1))
            q = Normal(TARGET_MEANS @ v, torch.tensor(TARGET_VARIANCE, dtype=torch.float64).sqrt())
        ratio = MixtureSameFamily(equal, p).log_prob(y) - MixtureSameFamily(equal, q).log_prob(y)
        loss = loss + ratio.mean()
    loss.backward()
    own = gradient(Mixtures(parameters.detach()), noise, given)
    torch.testing.assert_close(own, parameters.grad, rtol=1e-9, atol=1e-9)


def coverage(plan, seeds):
    counts = []
    explore(seeds, plan, every=plan.n_steps, callback=lambda _, m: counts.append(covered(m.means)))
    return counts[-1]


def test_joint_matching_stays_where_it_began_and_big_learning_does_not():
    iterations = {"n_steps": 200 * 20}
    joint = dataclasses.replace(PLANS["joint only"], **iterations)
    assert coverage(joint, GMM25_SEEDS[:3]).max() <= 2
    assert coverage(Plan(**iterations), GMM25_SEEDS[:3]).min() >= 3


def test_at_published_length_most_modes_are_found():
    """Read from the record, as a run takes minutes."""
    record = read_record(ROOT / "results" / "record" / "principle.json", "principle")
    best = principle.BEST
    joint, big, longer, fresh = (
        record.find("25 Gaussians", "paper", name, "covered")
        for name in ("joint only", "big learning, dwell 20", best, f"{best}, new seeds")
    )
    assert record.settings["steps"]["big learning, dwell 20"] == 200_000
    assert joint.seeds == big.seeds == longer.seeds == GMM25_SEEDS
    assert max(joint.values) <= 2
    assert big.mean >= 20
    assert min(longer.values) >= 24
    assert not set(fresh.seeds) & set(longer.seeds)
    assert np.median(fresh.values) == 25


def test_a_mode_counts_once_and_only_nearby():
    means = torch.full((25, 2), 9.0)
    assert covered(means) == 0
    means[0], means[1] = torch.tensor([4.0, 4.29]), torch.tensor([3.8, 4.0])
    means[2] = torch.tensor([0.0, 0.31])
    assert covered(means) == 1
    assert covered(target().means) == 25


def test_a_seed_is_the_same_in_any_company():
    plan = Plan(n_steps=120, dwell=4, p_joint=0.5, joint_from=0.2)
    alone, beside = (
        explore(seeds, plan, every=plan.n_steps, callback=lambda *_: None).means
        for seeds in ((7,), (3, 7, 5))
    )
    assert torch.equal(alone[0], beside[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dwell": 0}, "dwell must be at least 1, got 0"),
        ({"p_joint": 1.5}, r"p_joint must be in \[0, 1\], got 1.5"),
        ({"final_rate": 0.2}, "final_rate <= learning_rate is needed, got 0.2 and 0.1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Plan(**changes)


def test_the_learning_rate_falls_geometrically():
    plan = Plan(n_steps=101, learning_rate=0.4, final_rate=0.1, decay_from=0.0)
    assert [plan.rate(step) for step in (0, 50, 100)] == pytest.approx([0.4, 0.2, 0.1])
    assert {Plan(n_steps=50).rate(step) for step in range(50)} == {0.1}


SMALL_DWELLS = DwellConfig(seeds=(0, 1), dwells=(1, 20), n_steps=40, side=5, every=10)
SMALL_LANDSCAPES = LandscapeConfig(
    groups=("joint", "marginal 90°"), side=21, basin_side=5, monte_carlo_side=6,
    monte_carlo_samples=50,
)  # fmt: skip


def everything(root, n_jobs=1):
    """All results, as arrays and numbers by name."""
    landscapes, monte_carlo = run_landscapes(SMALL_LANDSCAPES, root=root, n_jobs=n_jobs)
    dwells = run_dwelling(SMALL_DWELLS, root=root, n_jobs=n_jobs)
    plans, tried = run(SMALL, root=root, n_jobs=n_jobs)
    return landscapes, monte_carlo, dwells, plans, tried


def assert_same(a, b):
    same_principle(*(one_by_one(results) for results in (a, b)))


def one_by_one(results):
    landscapes, monte_carlo, dwells, plans, tried = results
    return [*landscapes.values(), monte_carlo, *dwells, *plans.values(), *tried.values()]


def test_alone_in_parallel_and_resumed_are_the_same(tmp_path, monkeypatch):
    unbroken = everything(tmp_path / "parallel", n_jobs=2)
    computed, explored = itertools.count(1), corner.explore

    def fail_at_the_second(*arguments, **options):
        if next(computed) == 2:
            raise KeyboardInterrupt
        return explored(*arguments, **options)

    monkeypatch.setattr(corner, "explore", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        everything(tmp_path / "broken")
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("*.json")}
    monkeypatch.setattr(corner, "explore", explored)
    assert_same(everything(tmp_path / "broken"), unbroken)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}

    def never(*_, **__):
        raise AssertionError("a finished run computes nothing")

    monkeypatch.setattr(corner, "explore", never)
    assert_same(everything(tmp_path / "broken"), unbroken)


def test_the_record_has_what_the_runs_have(tmp_path):
    landscapes, monte_carlo, dwells, plans, tried = results = everything(tmp_path)
    path = tmp_path / "summary.json"
    fresh = plans["big learning, dwell 20"]
    write_record(path, tables.record(*results, fresh))
    record = read_record(path, "principle")
    joint = record.find("two Gaussians", "paper", "joint", "maximum")
    assert joint.mean == landscapes["joint"].surface.max()
    assert record.find("two Gaussians", "paper", "marginal 90°", "basin") is None
    deviation = record.find("two Gaussians", "paper", "joint, from samples", "deviation")
    assert deviation.mean == monte_carlo.error > 0
    for own in dwells:
        entry = record.find("two Gaussians", "fair", tables.dwell_name(own.dwell), "success")
        assert entry.values == tuple(own.success)
    for name, own in plans.items():
        entry = record.find("25 Gaussians", "paper", name, "covered")
        assert entry.by_seed == dict(zip(own.seeds, own.coverage[-1].tolist(), strict=True))
        assert record.find("25 Gaussians", "both", name, "seconds").mean == own.seconds
    entry = record.find("25 Gaussians", "paper", f"{fresh.name}, new seeds", "covered")
    assert entry.values == tuple(fresh.coverage[-1])
    (*_, last) = json.loads(path.read_text())["variants"]
    assert (last["name"], last["dwell"]) == ("dwell 100", 100)
    assert last["covered"] == tried["dwell 100"].coverage[-1].tolist()


def test_what_broke_down_found_nothing_and_is_counted(tmp_path, monkeypatch):
    def broken(seeds, plan, *, every, callback):
        start = Mixtures(torch.full((len(seeds), 25, 5), torch.nan))
        callback(0, start)
        callback(plan.n_steps, start)

    monkeypatch.setattr(corner, "explore", broken)
    _, tried = run(dataclasses.replace(SMALL, plans=()), root=tmp_path, n_jobs=1)
    (row,) = tables.variants_table(tried)
    assert (row["covered"], row["broke_down"]) == ([0, 0], 2)


def test_an_unknown_plan_is_refused():
    with pytest.raises(ValueError, match="there is no plan 'dwell 7'; known are"):
        principle.Config(tried=("dwell 7",))
