"""A result is of one state of the code: whatever the outcome depends on changes the key."""

import subprocess
import sys
import textwrap

import pytest

from biglearn_core.experiments.code_digest import code_digest, code_files
from biglearn_core.system.paths import REPOSITORY


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose module high.run is to be followed into all the others."""
    for name, source in {
        "__init__": "from toy_package.never import LOUD",
        "never": "LOUD = 1",
        "low/__init__": "from .named import value",
        "low/named": "value = 1",
        "low/absolute": "x = 1",
        "low/submodule": "x = 1",
        "low/dotted": "x = 1",
        "low/renamed": "x = 1",
        "low/late": "x = 1",
        "low/plain": "x = 1",
        "low/starred": "x = 1",
        "low/unused": "x = 1",
        "high/__init__": "",
        "high/beside": "x = 1",
        "high/run": """
            import json
            import os.path
            import numpy as np
            import toy_package.low.dotted
            import toy_package.low.renamed as other
            from toy_package.low import submodule, value as v
            from toy_package.low.absolute import x
            from toy_package.low.starred import *
            from . import beside
            from ..low.plain import x as y

            def f():
                from toy_package.low import late
                return late.x
            """,
    }.items():
        path = tmp_path / "toy_package" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    (tmp_path / "toy_package" / "high" / "settings.yaml").write_text("rate: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "toy_package"


MODULE = "toy_package.high.run"


@pytest.mark.parametrize(
    "name",
    [
        *("high/run", "high/beside", "low/__init__", "low/named", "low/absolute", "low/submodule"),
        *("low/dotted", "low/renamed", "low/late", "low/plain", "low/starred"),
    ],
)
def test_every_form_of_import_is_followed(package, name):
    before = code_digest(MODULE)
    with (package / f"{name}.py").open("a") as file:
        file.write("\nchanged = True\n")
    assert code_digest(MODULE) != before


@pytest.mark.parametrize("name", ["__init__", "never", "low/unused"])
def test_what_is_not_used_does_not_count(package, name):
    before = code_digest(MODULE)
    (package / f"{name}.py").write_text("changed = True\n")
    assert code_digest(MODULE) == before


def test_settings_beside_a_module_count(package):
    before = code_digest(MODULE)
    (package / "high" / "settings.yaml").write_text("rate: 2\n")
    assert code_digest(MODULE) != before
    assert code_digest("toy_package.low.plain") == code_digest("toy_package.low.plain")
    (package / "low" / "more.yml").write_text("rate: 1\n")
    assert "toy_package.low/more.yml" in code_files(MODULE)


def test_comments_docstrings_and_layout_do_not_count(package):
    path = package / "low" / "absolute.py"
    path.write_text("async def f(): return 1\ndef g(): return 1\n")
    before = code_digest(MODULE)
    path.write_text(
        '"""Doc."""\n\n\nasync def f():\n    """Doc."""\n    # why\n    return 1\n\n'
        'def g():\n    "Doc."\n    return (1)\n'
    )
    assert code_digest(MODULE) == before


@pytest.mark.parametrize("left_out", ["toy_package.low.absolute", "toy_package.low"])
def test_a_module_left_out_does_not_count_but_what_others_import_does(package, left_out):
    files = {"toy_package.low.absolute": "absolute", "toy_package.low": "__init__"}
    before = code_digest(MODULE, without=[left_out])
    assert before != code_digest(MODULE)
    for name, file in files.items():
        path = package / "low" / f"{file}.py"
        text = path.read_text()
        path.write_text(f"{text}\nchanged = True\n")
        assert (code_digest(MODULE, without=[left_out]) == before) == (name == left_out)
        path.write_text(text)
    gone = set(code_files(MODULE)) - set(code_files(MODULE, without=[left_out]))
    assert gone == {left_out, *(["toy_package.low.named"] if left_out == "toy_package.low" else [])}


@pytest.mark.parametrize("left_out", ["toy_package.low.unused", "toy_package.gone", "numpy"])
def test_a_module_to_be_left_out_that_is_not_imported_is_an_error(package, left_out):
    with pytest.raises(ValueError, match=rf"does not import '{left_out}', which was to be left"):
        code_digest(MODULE, without=[left_out])


def test_nothing_is_executed(package):
    for path in package.rglob("*.py"):
        path.write_text(f"raise RuntimeError('executed')\n{path.read_text()}")
    assert "toy_package.low.late" in code_files(MODULE)


def test_a_module_that_is_not_there_is_an_error(package):
    with pytest.raises(ModuleNotFoundError, match=r"toy_package\.high\.walk"):
        code_digest("toy_package.high.walk")


def stored_modules():
    """Modules whose results are kept on disk, as the code names them."""
    names = {"biglearn_core.experiments.gmm25.run", "biglearn_core.experiments.realworld.run"}
    names |= {"BL_vs_deepClustering.pixels.run", "BL_vs_deepClustering.peers.biglearn_ae"}
    return sorted(names)


@pytest.mark.parametrize("module", stored_modules())
def test_a_change_in_the_em_step_changes_the_key_of_whatever_uses_it(module):
    files = code_files(module)
    assert {"em", "density", "linalg"} <= {name.rpartition(".")[2] for name in files}
    assert all(path.is_relative_to(REPOSITORY) for path in files.values())
    assert not any("plots" in name or "figures" in name for name in files)


@pytest.mark.parametrize("name", ["autoencoder", "dec", "edesc", "shallow"])
def test_a_change_in_the_mixture_leaves_the_trained_peers_alone(name):
    files = code_files(f"BL_vs_deepClustering.peers.{name}")
    assert not {"biglearn_core.gmm", "biglearn_core.em"} & set(files)


def test_the_digest_holds_all_that_an_experiment_loads():
    """What Python itself loads is the oracle."""
    module = "biglearn_core.experiments.gmm25.run"
    code = (
        f"import sys, biglearn_core; before = set(sys.modules); import {module}\n"
        "new = [sys.modules[name] for name in {*sys.modules} - before if 'biglearn' in name]\n"
        "print(*(m.__name__ for m in new if not m.__file__.endswith('__init__.py')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= set(code_files(module))
