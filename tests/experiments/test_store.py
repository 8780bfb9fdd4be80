"""Results are keyed by config and code; damaged ones count as none."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from biglearn_core.experiments import store as store_module
from biglearn_core.experiments.store import ResultStore, config_from
from tests.helpers import mounted

MODULE = "biglearn_core.experiments.gmm25.run"


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


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        store = make_store(tmp_path)
        store.save("small", {"score": 1}, {"x": np.arange(10.0)})
        with pytest.raises(OSError, match=r"No space left.*free some\s+space"):
            store.save("large", {}, {"x": np.random.default_rng(0).random(10**6)})
        assert store.load("small").summary["score"] == 1
        assert {path.name for path in store.folder.iterdir()} == {"small.json", "small.npz"}


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


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().steps = 4


# Results in a folder that no key names


def test_a_result_of_other_settings_or_code_in_the_same_folder_is_refused(tmp_path, monkeypatch):
    def store_in(folder, **options):
        return ResultStore("toy", Settings(**options), module=MODULE, folder=folder)

    store_in(tmp_path).save("one", {"score": 1}, {"x": np.arange(3)})
    assert store_in(tmp_path, seeds=(7,)).load("one").summary["score"] == 1
    with pytest.raises(
        ValueError, match=r"one\.json .*rate: 0.5 there, 0.7 now, steps: 3 there, 4"
    ):
        store_in(tmp_path, rate=0.7, steps=4).load("one")
    with pytest.raises(ValueError, match=r"kind: a there, b now.*name another folder"):
        store_in(tmp_path, kind="b").load("one")
    monkeypatch.setattr(store_module, "code_digest", lambda module, **_: "0123456789ab")
    with pytest.raises(ValueError, match=r"code: \w{12} there, 0123456789ab now"):
        store_in(tmp_path).load("one")


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"config": 3}', '"word"'])
def test_a_summary_of_another_shape_counts_as_damaged(tmp_path, content):
    store = make_store(tmp_path)
    store.save("one", {"score": 1}, {"x": np.arange(3)})
    (store.folder / "one.json").write_text(content)
    with pytest.warns(UserWarning, match=r"one\.json is damaged"):
        assert store.load("one") is None
