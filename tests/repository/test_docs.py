"""The site builds without warnings, shows what users are told to use, and no link of it is dead."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from biglearn_core.reproduce.keep import KEPT, QUICK_LINE, SAME_LINE
from biglearn_core.reproduce.run import profile_parameters
from tests.helpers import ROOT, load_script

pytest.importorskip("sphinx")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KEPT_NOTEBOOKS = sorted(KEPT.glob("*.ipynb"))


class Links(HTMLParser):
    """Every address and every anchor of a page."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.anchors, self.pictures, self.linked = [], set(), [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        self.targets += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag == "img":
            self.pictures.append(attributes["src"])
        if tag == "a":
            self.linked.add(attributes.get("href"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, as it is built for a repository on GitHub; any warning has failed it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "docs/build.py", folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GITHUB_REPOSITORY": "owner/name"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    own = (path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {path: Links(path) for path in own}


def test_every_page_is_there(site):
    for page in (ROOT / "docs").rglob("*.[mr][ds]*"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).exists(), name
    for path in NOTEBOOKS:
        assert (site / "notebooks" / f"{path.stem}.html").exists()
    assert (site / "report.html").exists()


def test_the_api_shows_inherited_members_and_begins_with_the_default(site, pages):
    fit = site / "api" / "fit.html"
    names = (
        "fit",
        "predict",
        "score_samples",
        "impute",
        "condition",
        "bic",
        "means_",
        "set_params",
    )
    for name in names:
        assert f"biglearn_core.BigLearnEM.{name}" in pages[fit].anchors, name
    text = fit.read_text(encoding="utf-8")
    assert text.index('id="biglearn_core.BigLearnEM"') < text.index('id="biglearn_core.JointEM"')
    anchors = set().union(*(page.anchors for page in pages.values()))
    import biglearn_core

    assert {f"biglearn_core.{name}" for name in biglearn_core.__all__} <= anchors
    assert "biglearn_core.GMM.with_feature_names" in anchors
    assert not any("unchecked" in (anchor or "") for anchor in anchors)


def test_no_link_within_the_site_is_dead(site, pages):
    n_checked = 0
    for path, page in pages.items():
        for target in page.targets:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                continue
            file = path if not address.path else (path.parent / unquote(address.path)).resolve()
            assert file.is_file(), (path.name, target)
            if address.fragment and file.suffix == ".html":
                assert unquote(address.fragment) in pages[file].anchors, (path.name, target)
            n_checked += 1
    assert n_checked > 1000


def test_links_out_of_the_site_are_well_formed_and_nothing_is_loaded_from_there(site, pages):
    found = set().union(*(page.targets for page in pages.values()))
    found = {target for target in found if urlsplit(target).scheme not in ("", "data")}
    assert found
    for target in found:
        assert re.fullmatch(r"(https?://[\w.-]+(/[^\s<>\"]*)?|mailto:\S+)", target), target
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]* src=\"(https?:)?//", text), path
        assert not re.search(r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"(https?:)?//", text), path


def test_notebooks_can_be_opened_in_binder_and_colab(site, pages):
    for path in NOTEBOOKS:
        targets = pages[site / "notebooks" / f"{path.stem}.html"].targets
        assert (
            f"https://mybinder.org/v2/gh/owner/name/HEAD?labpath=notebooks%2F{path.name}" in targets
        )
    colab = "https://colab.research.google.com/github/owner/name/blob/main/notebooks/"
    assert f"{colab}00_quickstart.ipynb" in pages[site / "notebooks" / "00_quickstart.html"].targets


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_reader_sees_at_once_whether_a_committed_notebook_is_quick(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    has_full_settings = bool(profile_parameters("full")[path.stem])
    wanted = QUICK_LINE if has_full_settings else SAME_LINE
    assert first.source.splitlines()[2] == wanted, f"the third line has to be: {wanted}"


@pytest.mark.parametrize(
    "path", [*NOTEBOOKS, *KEPT_NOTEBOOKS], ids=lambda p: f"{p.parts[-3]}-{p.stem}"
)
def test_notebooks_are_written_without_formulas(path):
    for cell in nbformat.read(path, as_version=4).cells:
        # The site has no typesetter of formulas: it would be loaded from elsewhere.
        if cell.cell_type == "markdown":
            assert not re.search(r"\$[^$]+\$|\\[(\[]", cell.source), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_site_says_what_it_shows(path, site):
    text = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    same = SAME_LINE in nbformat.read(path, as_version=4).cells[0].source
    full = (KEPT / path.name).exists() or same
    assert ("Full settings" in text or "Full values" in text) == full
    assert ("Quick values" in text) != full
    for word in ("It ran on 2", "with the package of that day"):
        assert (word in text) == (KEPT / path.name).exists()
    assert not re.search(r"<td>[^<]* ± ", text)


def test_pictures_open_by_themselves(pages):
    files = {
        (path.name, picture)
        for path, page in pages.items()
        for picture in page.pictures
        if "_images/" in picture
    }
    assert {"index.html", "04_principle.html"} <= {name for name, _ in files}
    assert files <= {(path.name, link) for path, page in pages.items() for link in page.linked}


def test_the_first_page_has_a_title_and_all_have_an_icon(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "<title>BigLearn-EM" not in text
    assert '<link rel="icon" href="_static/icon.svg"' in text
    assert not list(site.rglob("webpack-macros.html"))


def test_one_gets_from_the_report_to_the_site_and_from_the_site_to_the_code(site, pages):
    assert "reproduction.html" in pages[site / "report.html"].targets
    assert "https://github.com/owner/name" in pages[site / "index.html"].targets


def test_pages_link_to_files_that_are_there():
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if page.name != "index.md" or (page.parent / target).suffix != ".html":
                assert (page.parent / target).exists(), (page.name, target)


def test_the_comparison_shows_the_last_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for path, text in load_script("benchmarks/comparison.py").written().items():
        assert path.read_text(encoding="utf-8") == text, path.name
