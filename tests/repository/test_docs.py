"""The API reference builds without warnings and shows what users are told to use."""

import pytest

from tests.helpers import load_script


def test_reference_builds_without_warnings(tmp_path):
    pytest.importorskip("pdoc")
    script = load_script("docs/build.py")
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
        "MixtureDisplay.from_estimator",
    ):
        assert f'id="{name}"' in page, name
