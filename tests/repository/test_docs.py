"""The API reference builds without warnings and shows what users are told to use."""

import importlib.util

import pytest

from tests.helpers import ROOT


def test_reference_builds_without_warnings(tmp_path):
    pytest.importorskip("pdoc")
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.build(tmp_path)
    for module in script.MODULES:
        assert (tmp_path / f"{module.replace('.', '/')}.html").exists(), module
    page = (tmp_path / "biglearn_core.html").read_text(encoding="utf-8")
    for name in (
        "BigLearnEM.fit",
        "BigLearnEM.impute",
        "GMM.condition",
        "fit_biglearn_em",
        "load_dataset",
    ):
        assert f'id="{name}"' in page, name
