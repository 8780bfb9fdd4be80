"""Notebooks that are kept: named as full, clean, small, and told from older code."""

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import biglearn_core
from biglearn_core.reproduce import keep as keeping
from biglearn_core.reproduce.keep import (
    FULL_LINE,
    KEPT,
    MOST_BYTES,
    QUICK_LINE,
    index_of,
    keep,
    keep_figures,
    same_code,
)
from biglearn_core.system.paths import RESULTS


def picture(side, seed=0):
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def executed(*outputs, line=QUICK_LINE, count=1, end="2026-11-25T13:18:25.1"):
    """A notebook as papermill leaves it."""
    parameters = new_code_cell("seeds = [1]", metadata={"tags": ["parameters"]}, execution_count=1)
    injected = new_code_cell(
        "seeds = [1, 2]", metadata={"tags": ["injected-parameters"]}, execution_count=2
    )
    cell = new_code_cell("run(seeds)", outputs=list(outputs), execution_count=count)
    cell.metadata["execution"] = {"iopub.status.idle": "2026-11-25T13:18:24.641720Z"}
    cells = [new_markdown_cell(f"# Title\n\n{line}\n\nText."), parameters, injected, cell]
    kernel = {"name": "python3", "display_name": "Python 3"}
    papermill = {"input_path": "/home/me/01.ipynb", "end_time": end}
    metadata = {"papermill": papermill, "kernelspec": kernel}
    return new_notebook(cells=cells, metadata=metadata)


def save(notebook, folder, name="01.ipynb"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(nbformat.writes(notebook))


def test_a_kept_notebook_says_that_it_is_full_and_names_no_machine_and_only_the_day(tmp_path):
    outputs = [new_output("stream", name=name, text=name) for name in ("stdout", "stderr")]
    save(executed(*outputs), tmp_path / "full")
    save(executed(), tmp_path / "full", "02.failed.ipynb")
    (path,) = keep(tmp_path / "full", tmp_path / "kept")
    text = path.read_text()
    assert FULL_LINE in nbformat.read(path, as_version=4).cells[0].source.splitlines()[2]
    for absent in (QUICK_LINE, "/home/", "T13:18", "stderr", "papermill"):
        assert absent not in text
    made = nbformat.reads(text, as_version=4).metadata["biglearn"]
    assert made == {"executed": "2026-11-25", "version": biglearn_core.__version__}
    assert "stdout" in text
    assert "kernelspec" in text
    assert (tmp_path / "kept" / "README.md").read_text().endswith("- [01.ipynb](01.ipynb): Title\n")


def test_large_pictures_lose_colours_and_small_ones_nothing(tmp_path):
    def kept(side):
        save(executed(new_output("display_data", {"image/png": picture(side)})), tmp_path / "full")
        (path,) = keep(tmp_path / "full", tmp_path / "kept")
        (output,) = nbformat.read(path, as_version=4).cells[-1].outputs
        return output.data["image/png"]

    assert kept(100) == picture(100)
    large = kept(600)
    assert len(picture(600)) > MOST_BYTES > len(large)
    image = Image.open(io.BytesIO(base64.b64decode(large)))
    assert image.size == (600, 600)
    assert image.mode == "P"
    with pytest.raises(ValueError, match=r"01\.ipynb takes .* bytes and may take"):
        kept(1500)


@pytest.mark.parametrize(
    ("notebook", "text"),
    [
        (executed(line="Some text."), "third line"),
        (executed(count=None), "not executed to its end"),
        (executed(end=None), "not executed to its end"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_written(tmp_path, notebook, text):
    save(executed(), tmp_path / "full", "00.ipynb")
    save(notebook, tmp_path / "full")
    with pytest.raises(ValueError, match=text):
        keep(tmp_path / "full", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_without_a_full_run_the_command_names_the_one_that_makes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keeping, "keep", lambda: keep(tmp_path, tmp_path / "kept"))
    assert keeping.main([]) == 1
    assert "make reproduce" in capsys.readouterr().err


def test_other_code_is_another_notebook_and_other_parameters_are_not():
    other = executed()
    other.cells[2].source = "seeds = [7]"
    assert same_code(executed(), other)
    other.cells[3].source = "run(seeds, 2)"
    assert not same_code(executed(), other)


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_kept_is_clean(path):
    text = path.read_text()
    assert path.stat().st_size < MOST_BYTES
    assert FULL_LINE in text
    assert QUICK_LINE not in text
    made = nbformat.reads(text, as_version=4).metadata["biglearn"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["executed"])
    assert made["version"]
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


def test_the_list_of_what_is_kept_is_right():
    assert (KEPT / "README.md").read_text() == index_of(KEPT)


def test_figures_are_copied_from_the_run_that_drew_them(tmp_path):
    kept = tmp_path / "record" / "figures"
    drawn = tmp_path / "gmm25" / "full" / "figures"
    for folder in (kept, drawn):
        folder.mkdir(parents=True)
    (kept / "gmm25_boxes.png").write_bytes(b"old")
    (kept / "fashion_scores.png").write_bytes(b"old")
    (drawn / "boxes.png").write_bytes(b"new")
    (drawn / "other.png").write_bytes(b"new")
    assert keep_figures(tmp_path) == [kept / "gmm25_boxes.png"]
    assert (kept / "gmm25_boxes.png").read_bytes() == b"new"
    assert (kept / "fashion_scores.png").read_bytes() == b"old"
    assert len(list(kept.iterdir())) == 2


NOTEBOOKS_OF = {
    "gmm25": "01_gmm25",
    "realworld": "02_realworld",
    "fashion": "03_fashionmnist",
    "deep_clustering": "03_fashionmnist",
    "principle": "04_principle",
    "biglearn_gan": "05_biglearn_gan",
}
FIGURES = sorted((RESULTS / "record" / "figures").glob("*.png"))


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_the_figures_of_record_are_those_of_the_kept_notebooks(path):
    (name,) = {n for e, n in NOTEBOOKS_OF.items() if path.name.startswith(f"{e}_")}
    kept = KEPT / f"{name}.ipynb"
    if not kept.exists():
        pytest.skip("no full run of this notebook has been kept")
    figure = np.asarray(Image.open(path).convert("RGB")).astype(int)
    apart = []
    for cell in nbformat.read(kept, as_version=4).cells:
        for output in cell.get("outputs", ()):
            if content := output.get("data", {}).get("image/png"):
                shown = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
                if shown.size == (figure.shape[1], figure.shape[0]):
                    apart.append(np.abs(np.asarray(shown).astype(int) - figure).mean())
    assert min(apart) < 0.1  # a kept notebook may have fewer colours
