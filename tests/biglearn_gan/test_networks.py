"""What networks may see: x on S, x on U, and nothing else."""

import pytest
import torch

from biglearn_gan.networks.images import ImageDiscriminator, ImageGenerator
from biglearn_gan.networks.vectors import VectorDiscriminator, VectorGenerator

SIZES = {"width": 16, "depth": 2}


@pytest.fixture(params=["vectors", "waves", "images"])
def networks(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if request.param == "images":
            return ImageGenerator(8, n_noise=3, **SIZES), ImageDiscriminator(8, **SIZES), 64
        own = SIZES | {"fourier": request.param == "waves"}
        return VectorGenerator(5, n_noise=3, **own), VectorDiscriminator(5, **own), 5


def batch(D, *, B=7):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(B, D, generator=generator)
    whole = torch.rand(B, D, generator=generator) < 0.8
    given = whole & (torch.rand(B, D, generator=generator) < 0.5)
    return x, given, whole, torch.randn(B, 3, generator=generator)


def test_what_is_given_is_returned_as_it_is(networks):
    generate, _, D = networks
    x, given, _, noise = batch(D)
    out = generate(torch.where(given, x, 0.0), given, noise)
    assert out.shape == x.shape
    assert torch.equal(out[given], x[given])
    assert not torch.equal(out[~given], x[~given])


def test_noise_and_the_given_decide_the_rest(networks):
    generate, _, D = networks
    x, given, _, noise = batch(D)
    given[:, 0], given[:, 1] = True, False
    seen = torch.where(given, x, 0.0)
    out = generate(seen, given, noise)
    for changed in (generate(seen, given, noise + 1), generate(2 * seen, given, noise)):
        assert ((changed != out) & ~given).any(1).all()


def test_the_discriminator_sees_the_whole_alone(networks):
    _, judge, D = networks
    x, given, whole, _ = batch(D)
    logits = judge(x, given, whole)
    assert logits.shape == (len(x),)
    assert torch.equal(judge(torch.where(whole, x, 9.0), given, whole), logits)
    assert not torch.equal(judge(torch.where(whole, 2 * x, x), given, whole), logits)


def test_the_discriminator_is_told_the_task(networks):
    _, judge, D = networks
    x, given, whole, _ = batch(D)
    assert not torch.equal(judge(x, torch.zeros_like(given), whole), judge(x, given, whole))


def test_images_are_drawn_within_their_range():
    with torch.random.fork_rng(devices=[]):
        generate = ImageGenerator(28, n_noise=3, **SIZES)
    generator = torch.Generator().manual_seed(1)
    nothing = torch.zeros(4, 784)
    out = generate(nothing, nothing.bool(), 100 * torch.randn(4, 3, generator=generator))
    assert out.abs().max() <= 1


@pytest.mark.parametrize("network", [ImageGenerator, ImageDiscriminator])
def test_a_side_that_cannot_be_halved_twice_is_refused(network):
    own = {"n_noise": 3} if network is ImageGenerator else {}
    with pytest.raises(ValueError, match="multiple of 4 pixels, got 10"):
        network(10, **own, **SIZES)
