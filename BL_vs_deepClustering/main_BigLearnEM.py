"""BigLearn-EM on Fashion-MNIST's raw pixels, from the command line.

The published run (Cong and Li, AAAI 2024, arXiv 2312.11926):

    python BL_vs_deepClustering/main_BigLearnEM.py --Niter 70 --NITnei 5 --eps 0.05 \
        --P1 0.4 --P2 0.5 --out_dir results/fashion_cli --txt_dir results/fashion_cli
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from biglearn_core.experiments.store import ResultStore  # noqa: E402
from biglearn_core.system.devices import choose_device  # noqa: E402
from biglearn_core.system.numbers import LARGEST_SEED  # noqa: E402
from biglearn_core.system.persistence import write_text  # noqa: E402
from BL_vs_deepClustering.arguments import finite, integer_between, positive_int  # noqa: E402
from BL_vs_deepClustering.pixels import run as fashion  # noqa: E402

N_PIXELS = 784


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds one after the other.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the command line when not given.

    Returns
    -------
    status : int
        0, or 130 when interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = _config(options)
        device = choose_device(options.device)
        images = fashion.load_images(config.n_images, device=device)
        store = fashion.open_store(config, images, folder=options.out_dir)
        reports = {seed: _Report(options.txt_dir, config, seed) for seed in options.seeds}
        for seed, report in reports.items():
            _require_own(store, seed, resume=options.resume)
            report.require_own()
        runs = []
        for seed, report in reports.items():
            print(f"seed {seed} on {device}\n{fashion.Trace.header()}", flush=True)
            run = fashion.run_seed(config, seed, images, store=store, report=report)
            report.close(run)
            runs.append(run)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume goes on", file=sys.stderr)
        return 130
    if len(runs) > 1:
        print(f"highest training log-likelihood: seed {fashion.most_likely(runs).seed}")
    return 0


class _Report:
    """Lines of a run, to the terminal as they come and to a text file that is always whole."""

    def __init__(self, folder: Path, config: fashion.Config, seed: int) -> None:
        self._path = folder / f"BigLearnEM_FashionMNIST_seed{seed}.txt"
        self._settings = f"{replace(config, seeds=(seed,))}\n"
        self._head = f"{self._settings}{fashion.Trace.header()}\n"

    def require_own(self) -> None:
        """Refuse to overwrite the log of a run under other settings."""
        if self._path.exists() and not self._path.read_bytes().startswith(self._settings.encode()):
            raise ValueError(
                f"{self._path} is the log of a run under other settings: name another --txt_dir"
            )

    def __call__(self, trace: fashion.Trace) -> None:
        print(trace.line(len(trace) - 1), flush=True)
        self._write(trace, "")

    def close(self, run: fashion.SeedRun) -> None:
        """Add the verdict."""
        verdict = "".join(
            f"{name}: ACC {scores.acc:.4f}  NMI {scores.nmi:.4f}  ARI {scores.ari:.4f}\n"
            for name, scores in (
                ("final model (fair)", run.final),
                ("best over iterations, each chosen with labels (paper)", run.best),
            )
        )
        seconds = run.trace.fit_seconds.sum() + run.trace.score_seconds.sum()
        verdict += (
            f"final mean training log-likelihood: {run.log_likelihood:.4f} nats\n"
            f"{seconds / 60:.1f} minutes, peak memory {run.peak_bytes / 1e9:.2f} GB, {run.device}\n"
        )
        print(verdict, end="", flush=True)
        self._write(run.trace, verdict)

    def _write(self, trace: fashion.Trace, verdict: str) -> None:
        lines = "".join(f"{trace.line(i)}\n" for i in range(len(trace)))
        write_text(self._path, self._head + lines + verdict)


def _config(options: argparse.Namespace) -> fashion.Config:
    if options.x_dim != N_PIXELS:
        raise ValueError(f"--x_dim is the number of pixels, {N_PIXELS}; got {options.x_dim}")
    if not 0 <= options.P1 <= options.P2 <= 1:
        raise ValueError(
            "--P1 and --P2 are cumulative task probabilities, 0 <= P1 <= P2 <= 1; "
            f"got {options.P1} and {options.P2}"
        )
    return fashion.Config(
        seeds=tuple(options.seeds),
        n_images=options.data_size,
        n_components=options.num_component,
        n_iterations=options.Niter,
        n_local_steps=options.NITnei,
        p_joint=options.P1,
        p_marginal=options.P2 - options.P1,
        beta=(options.a_beta, options.b_beta),
        covariance_floor=options.eps,
        start="kmeans" if options.kmeans_init else "paper",
        chunk_size=options.chunk_size,
    )


def _require_own(store: ResultStore, seed: int, *, resume: bool) -> None:
    if not resume and fashion.state_files(store, seed):
        raise ValueError(
            f"{store.folder} holds a run of seed {seed}: go on with it by --resume, or name "
            "another --out_dir"
        )
    fashion.require_own(store, seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = fashion.Config()
    add = parser.add_argument
    add("--device", help="cpu, cuda or cuda:N; the first GPU where there is one, else the CPU")
    add("--dataset", default="FashionMNIST", choices=["FashionMNIST"])
    add("--Niter", type=positive_int, default=defaults.n_iterations, help="iterations (tasks)")
    add("--NITnei", type=positive_int, default=defaults.n_local_steps, help="EM steps in each")
    add("--eps", type=finite, default=defaults.covariance_floor, help="least eigenvalue")
    add("--P1", type=finite, default=0.4, help="joint task where u < P1")
    add("--P2", type=finite, default=0.5, help="marginal where P1 <= u < P2, else transformed")
    add("--a_beta", type=finite, default=defaults.beta[0], help="share of pixels ~ Beta(a, b)")
    add("--b_beta", type=finite, default=defaults.beta[1])
    add("--num_component", type=positive_int, default=defaults.n_components, help="clusters K")
    add("--x_dim", type=int, default=N_PIXELS, help="pixels of an image")
    add("--data_size", type=positive_int, default=defaults.n_images, help="images used")
    add(
        "--chunk_size",
        type=positive_int,
        help="images held at once; from a memory bound by default",
    )
    add("--kmeans_init", type=_flag, nargs="?", const=True, default=False,
        help="start from k-means instead of the paper's blind start")  # fmt: skip
    add(
        "--seeds",
        type=integer_between(0, LARGEST_SEED),
        nargs="+",
        default=list(defaults.seeds),
        help="one run each",
    )
    add("--out_dir", type=Path, default=ROOT / "results" / "fashion_cli", help="models and scores")
    add("--txt_dir", type=Path, default=ROOT / "results" / "fashion_cli", help="text logs")
    add("--resume", action="store_true", help="go on with what is in out_dir")
    return parser


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"must be true or false, got {text}")
    return text.lower() in ("true", "1", "yes")


if __name__ == "__main__":
    raise SystemExit(main())
