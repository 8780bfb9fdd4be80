import pytest
import torch

from BL_vs_deepClustering.comparison import run as deep
from BL_vs_deepClustering.peers.autoencoder import pretrain
from tests.BL_vs_deepClustering.small import TINY, synthetic


@pytest.fixture(autouse=True)
def one_thread_and_no_cached_images():
    """Sums of two threads round differently from run to run; images of another test are others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    deep._images.cache_clear()
    yield
    torch.set_num_threads(threads)
    deep._images.cache_clear()


@pytest.fixture(scope="session")
def small():
    """Points and their pretrained autoencoder."""
    X = synthetic().X
    return X, pretrain(X, TINY, seed=0).model
