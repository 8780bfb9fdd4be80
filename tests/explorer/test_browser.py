"""The explorer in JupyterLab, in a headless Chromium: what a person does, and what is then seen."""

import base64
import io

import numpy as np
import PIL.Image
import pytest

from biglearn_core import explore
from tests.helpers import load_script

for name in ("anywidget", "jupyterlab", "nbconvert"):
    pytest.importorskip(name)
webdriver = pytest.importorskip("selenium.webdriver")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
tool = load_script("tools/lab.py")
if (reason := tool.missing()) is not None:
    pytest.skip(reason, allow_module_level=True)

CELLS = [
    "from biglearn_core import explore\nexplorer = explore('25-GMM', seed=5079)\nexplorer",
    "print(explorer.subject.n_tasks, explorer.subject.settings.n_components)",
    "explorer.close()",
]
PICTURE = "const root = document.querySelector('.biglearn-picture'), picture = root?.picture;"


@pytest.fixture(scope="module")
def page():
    with tool.lab() as page:
        yield page


@pytest.fixture
def opened(page):
    """A fresh notebook in which the explorer is shown."""
    page.open(CELLS)
    page.run(0)
    page.wait(f"{PICTURE} return picture?.frame && root.dataset.steps === '0'")
    page.complaints()
    yield page
    assert page.complaints() == []


def pixels(page, i=1):
    """What a panel shows, as it was drawn."""
    url = page.script(f"{PICTURE} return picture.panels[arguments[0]].canvas.toDataURL()", i)
    image = PIL.Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    return np.asarray(image.convert("RGBA"), dtype=int)


def button(page, text):
    (found,) = page.driver.find_elements("xpath", f"//button[text()='{text}']")
    return found


def steps(page):
    return int(page.script(f"{PICTURE} return root.dataset.steps"))


def test_a_slider_is_moved_and_the_picture_changes(opened):
    before = pixels(opened)
    label = opened.driver.find_element("xpath", "//label[text()='K, components']")
    handle = label.find_element("xpath", "..//*[@role='slider']")
    for _ in range(5):
        handle.send_keys(Keys.ARROW_LEFT)
    opened.wait(f"{PICTURE} return picture.panels[1].weights.length === 20")
    opened.wait(f"{PICTURE} return !picture.isScheduled")
    assert (pixels(opened) != before).any(axis=2).sum() > 1000
    opened.run(1)
    assert opened.output(1) == "0 20"


def test_step_and_play_leave_the_kernel_free_and_closing_ends_them(opened):
    before = pixels(opened)
    button(opened, "Step").send_keys(Keys.ENTER)
    opened.wait(f"{PICTURE} return root.dataset.steps === '5'")
    assert (pixels(opened) != before).any(axis=2).sum() > 1000
    button(opened, "Play").send_keys(Keys.SPACE)
    opened.wait(f"{PICTURE} return Number(root.dataset.steps) >= 30")
    opened.run(1)  # answered while the fits play
    seen = int(opened.output(1).split()[0])
    assert seen >= 6
    opened.wait(f"{PICTURE} return Number(root.dataset.steps) > arguments[0]", 5 * seen)
    opened.run(2)
    opened.wait("return document.querySelector('.biglearn-picture') === null")
    opened.run(1)
    ended = opened.output(1)
    opened.run(1)
    assert opened.output(1) == ended


def test_pause_ends_the_play_and_start_again_begins_anew(opened):
    button(opened, "Play").click()
    opened.wait(f"{PICTURE} return Number(root.dataset.steps) >= 15")
    button(opened, "Pause").click()
    opened.wait(f"{PICTURE} return root.dataset.playing === 'false' && !picture.isWaiting")
    opened.run(1)
    paused = opened.output(1)
    opened.run(1)
    assert opened.output(1) == paused
    button(opened, "Start again").click()
    opened.wait(f"{PICTURE} return root.dataset.steps === '0'")


def test_a_row_is_told_under_the_pointer_and_by_keys(opened):
    mine = explore("25-GMM", seed=5079)
    row = 1234
    told = [
        f"component {p.labels[row]}, responsibility {round(100 * p.responsibilities[row])} %"
        for p in mine.panels()
    ]
    canvas = opened.driver.find_elements("css selector", ".biglearn-picture .bl-panel canvas")[0]
    place = opened.script(
        f"{PICTURE} const at = picture.panels[0].place, p = picture.points;"
        "const c = picture.panels[0].canvas;"
        "return [at.x(p[2 * arguments[0]]) - c.clientWidth / 2,"
        " at.y(p[2 * arguments[0] + 1]) - c.clientHeight / 2]",
        row,
    )
    webdriver.ActionChains(opened.driver).move_to_element_with_offset(
        canvas, *map(round, place)
    ).perform()
    opened.wait(f"{PICTURE} return picture.hovered >= 0 && !picture.isScheduled")
    near = opened.script(f"{PICTURE} return picture.hovered")
    distance = np.linalg.norm(mine.values[near] - mine.values[row])
    assert distance < 0.05  # of 12 across: the row itself, or one that lies on it
    opened.script(f"{PICTURE} picture.hover(arguments[0], picture.panels[0])", row)
    opened.wait(f"{PICTURE} return picture.hovered === arguments[0] && !picture.isScheduled", row)
    first, second = (
        tip.text.split("\n")
        for tip in opened.driver.find_elements("css selector", ".biglearn-picture .bl-tip")
    )
    assert (first[0], first[3], second) == (f"row {row}", told[0], [told[1]])
    for line, value in zip(first[1:3], mine.values[row], strict=True):
        assert float(line.split(": ")[1].replace("−", "-")) == pytest.approx(value, rel=1e-3)
    canvas.send_keys(Keys.ESCAPE, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    spoken = opened.driver.find_element("css selector", ".biglearn-picture [role=status]")
    assert spoken.text.startswith("row 1; ")


def test_every_control_has_a_name(opened):
    found = opened.driver.find_elements(
        "css selector",
        ".jp-OutputArea-output :is(select, button, input, [role=slider], .bl-panel canvas)",
    )
    names = [element.accessible_name for element in found]
    assert len(names) > 15
    assert all(names), [e.get_attribute("outerHTML")[:200] for e in found if not e.accessible_name]


def test_it_can_be_read_in_the_dark(opened):
    light = pixels(opened)
    try:
        opened.theme(dark=True)
        opened.wait(f"{PICTURE} return picture.ink.isDark && !picture.isScheduled")
        dark = pixels(opened)
    finally:
        opened.theme(dark=False)
    opened.wait(f"{PICTURE} return !picture.ink.isDark && !picture.isScheduled")
    for shot, is_dark in ((light, False), (dark, True)):
        drawn = shot[shot[..., 3] == 255][:, :3]
        opposite = drawn.min(axis=1) > 200 if is_dark else drawn.max(axis=1) < 55
        same = drawn.max(axis=1) < 55 if is_dark else drawn.min(axis=1) > 200
        assert opposite.sum() > 20 * same.sum()
    np.testing.assert_array_equal(pixels(opened), light)


def test_without_a_kernel_there_is_a_figure(opened):
    from nbconvert import HTMLExporter

    opened.script("window.jupyterapp.commands.execute('docmanager:save')")
    opened.wait("return !window.jupyterapp.shell.currentWidget.context.model.dirty")
    text, _ = HTMLExporter().from_filename(opened.folder / "explorer.ipynb")
    page = opened.folder / "explorer.html"
    page.write_text(text, encoding="utf-8")
    opened.driver.get(page.as_uri())
    width = "return document.querySelector('img[src^=\"data:image/png\"]')?.naturalWidth"
    assert opened.wait(width) > 500
    opened.complaints()  # MathJax and RequireJS, which the page asks for elsewhere
