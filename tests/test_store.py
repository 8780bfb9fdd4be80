"""Files are whole or absent; results are keyed by config and code."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from biglearn_core.experiments import store as store_module
from biglearn_core.experiments.parallel import run_jobs
from biglearn_core.experiments.store import ResultStore, code_digest, config_from
from biglearn_core.persistence import load_arrays, save_arrays, write_atomically

MODULE = "biglearn_core.experiments.gmm25"


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2)
    rate: float = 0.5
    steps: int = 3
    kind: str = "a"
    flag: bool = False


def make_store(root, **options):
    return ResultStore("toy", Settings(**options), module=MODULE, root=root)


def test_round_trip(tmp_path):
    arrays = {"x": np.arange(3.0), "y/z": np.eye(2, dtype=np.float32)}
    make_store(tmp_path).save("one", {"score": 0.5}, arrays)
    result = make_store(tmp_path).load("one")
    assert result.summary["score"] == 0.5
    assert result.summary["config"]["steps"] == 3
    assert "torch" in result.summary["versions"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(result.arrays[name], array)
    assert make_store(tmp_path).load("two") is None


def test_another_setting_is_another_result(tmp_path):
    make_store(tmp_path).save("one", {}, {})
    assert make_store(tmp_path, steps=4).load("one") is None
    assert make_store(tmp_path, seeds=(3,)).load("one") is not None  # whatever its company


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_result_counts_as_none_and_is_told(tmp_path, suffix, damage):
    store = make_store(tmp_path)
    store.save("one", {"score": 1}, {"x": np.arange(100.0)})
    path = store.folder / f"one.{suffix}"
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[0 if suffix == "json" else len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    if (suffix, damage) == ("json", "remove"):
        assert store.load("one") is None
        return
    with pytest.warns(UserWarning, match="damaged"):
        assert store.load("one") is None


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with write_atomically(path) as file:
            file.write(b"half")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="choose another output folder"):
        save_arrays(tmp_path / "file" / "x.npz", {"x": np.zeros(2)})


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="mounting a small tmpfs needs root on Linux",
)
def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path]).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = make_store(tmp_path)
        store.save("small", {"score": 1}, {"x": np.arange(10.0)})
        with pytest.raises(OSError, match=r"No space left.*free some\s+space"):
            store.save("large", {}, {"x": np.random.default_rng(0).random(10**6)})
        assert store.load("small").summary["score"] == 1
        assert {path.name for path in store.folder.iterdir()} == {"small.json", "small.npz"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_pickle_is_neither_written_nor_read(tmp_path):
    with pytest.raises(TypeError, match="Python objects"):
        save_arrays(tmp_path / "x.npz", {"x": np.array([object()])})
    np.savez(tmp_path / "evil.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="delete it"):
        load_arrays(tmp_path / "evil.npz")


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    """Most flips in a zip's directory break it; some would hide an array if nobody counted."""
    path = tmp_path / "x.npz"
    arrays = {"one": np.arange(3.0), "two": np.arange(4), "three": np.array("word")}
    save_arrays(path, arrays)
    whole, refused = path.read_bytes(), 0
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        found = None
        with contextlib.suppress(ValueError):
            found = load_arrays(path)
        if found is None:
            refused += 1
            continue
        assert set(found) == set(arrays), position
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert refused > 4 * len(whole)  # dates and the like may be anything


def test_an_archive_of_numpy_alone_is_read(tmp_path):
    np.savez(tmp_path / "x.npz", one=np.arange(3))
    np.testing.assert_array_equal(load_arrays(tmp_path / "x.npz")["one"], np.arange(3))


@pytest.mark.parametrize("name", ["../out", "a/b", ""])
def test_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="one word"):
        make_store(tmp_path).save(name, {}, {})


def test_config_from_refuses_what_it_does_not_know():
    assert config_from(Settings, {"seeds": [3], "rate": 1}) == Settings(seeds=(3,), rate=1)
    for parameters, text in [
        ({"sedes": [1]}, "did you mean 'seeds'"),
        ({"steps": "many"}, "Settings.steps must be of type int"),
        ({"steps": True}, "of type bool"),
        ({"steps": 1.5}, "of type float"),
        ({"seeds": ["a"]}, "Settings.seeds"),
        ({"flag": 1}, "Settings.flag"),
    ]:
        with pytest.raises(TypeError, match=text):
            config_from(Settings, parameters)


def test_code_digest_sees_code_but_not_comments(tmp_path, monkeypatch):
    package = tmp_path / "toy_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "low.py").write_text("def f():\n    return 1\n")
    (package / "high.py").write_text("from toy_package.low import f\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_digest("toy_package.high")
    (package / "low.py").write_text(
        '"""Doc."""\n\n\ndef f():\n    """Doc."""\n    # why\n    return 1\n'
    )
    assert code_digest("toy_package.high") == before
    (package / "low.py").write_text("def f():\n    return 2\n")
    assert code_digest("toy_package.high") != before


def test_code_digest_of_an_experiment_covers_the_core(monkeypatch):
    seen = []
    original = store_module.importlib.util.find_spec
    monkeypatch.setattr(
        store_module.importlib.util, "find_spec", lambda name: seen.append(name) or original(name)
    )
    code_digest(MODULE)
    assert {"biglearn_core.em", "biglearn_core.density", "biglearn_core.linalg"} <= set(seen)
    assert "biglearn_core.plots" not in seen


def _square(x):
    import torch

    return x * x, torch.get_num_threads()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_jobs_run_in_order_on_one_thread_each(n_jobs):
    jobs = [(i,) for i in range(4)]
    assert run_jobs(_square, jobs, n_jobs=n_jobs, description="") == [(i * i, 1) for i in range(4)]
    assert run_jobs(_square, [], n_jobs=n_jobs, description="") == []


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().steps = 4
