"""One update of the shared autoencoder's pretraining: precision of products, denormal numbers.

Run as `python benchmarks/deep_training.py`. One thread, as every deep peer trains; mini-batches of
256 images. The optimizer is first brought to where training spends most of its time: by 1500
updates, in which the momentum of units that no image excites decays into denormal numbers. Then
every setting is timed in turns from there. Writes benchmarks/results/deep_training.json.
"""

import copy
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from biglearn_core.experiments.parallel import single_thread
from biglearn_core.experiments.store import write_record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from biglearn_core.experiments.network_training import matmul_precision
from BL_vs_deepClustering.peers.autoencoder import Autoencoder, PretrainConfig
from BL_vs_deepClustering.peers.training import MiniBatches, count_parameters
from BL_vs_deepClustering.pixels.run import load_images

RESULT = Path(__file__).resolve().parent / "results" / "deep_training.json"
N_BEFORE, N_TIMED, N_TURNS = 1500, 20, 5


class Training:
    """A model, its optimizer, and the updates that they take."""

    def __init__(self, X: torch.Tensor, config: PretrainConfig) -> None:
        generator = torch.Generator().manual_seed(0)
        self.model = Autoencoder(X.shape[1], config.hidden, config.n_code, generator=generator)
        self.optimizer = config.make_optimizer(self.model)
        self.X, self.config = X, config
        self.batches = MiniBatches(len(X), config.batch_size, seed=0, device=X.device)
        self.step = 0

    def update(self, n: int) -> None:
        """Take n updates."""
        for _ in range(n):
            batch = self.X[self.batches.rows(self.step)]
            loss = F.mse_loss(self.model(batch), batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1

    def copy(self) -> "Training":
        """Give another that goes on from here."""
        other = Training(self.X, self.config)
        other.model.load_state_dict(self.model.state_dict())
        other.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        other.step = self.step
        return other

    def denormal_share(self) -> float:
        """Share of the momentum that is denormal."""
        buffers = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        tiny = torch.finfo(torch.float32).tiny
        found = sum(int(((b != 0) & (b.abs() < tiny)).sum()) for b in buffers)
        return found / sum(b.numel() for b in buffers)


def main() -> None:
    X, config = load_images(20000).X, PretrainConfig()
    settings = list(product(("highest", "medium"), (False, True)))
    with single_thread():
        begun = Training(X, config)
        with matmul_precision("medium"):
            begun.update(N_BEFORE)
        share = begun.denormal_share()
        trainings = {setting: begun.copy() for setting in settings}
        times: dict = {setting: [] for setting in settings}
        for _ in range(N_TURNS):
            for (precision, flush), training in trainings.items():
                torch.set_flush_denormal(flush)
                with matmul_precision(precision):
                    training.update(1)
                    started = time.perf_counter()
                    training.update(N_TIMED)
                times[precision, flush].append((time.perf_counter() - started) / N_TIMED)
        torch.set_flush_denormal(False)
    products = 6 * config.batch_size * count_parameters(begun.model)
    rows = [
        {
            "precision": precision,
            "denormals_flushed": flush,
            "milliseconds": 1e3 * float(np.median(seconds)),
            "gigaflops_per_second": products / float(np.median(seconds)) / 1e9,
        }
        for (precision, flush), seconds in times.items()
    ]
    write_record(RESULT, {"rows": rows, "denormal_share_of_momentum": share})
    print(f"{share:.1%} of the momentum is denormal after {N_BEFORE} updates")
    for row in rows:
        print(
            f"{row['precision']:8} {'denormals flushed' if row['denormals_flushed'] else '':18} "
            f"{row['milliseconds']:6.1f} ms an update"
        )


if __name__ == "__main__":
    main()
