"""The dashboard in a browser: asv's page of benchmarks, made to work without a network."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from tests.asv_results import COMMITS, PUBLISH, SLOWER, load_publish, make_results, publish

pytest.importorskip("asv", reason="asv is missing: pip install 'fastdnn[bench]'")
SELENIUM = "selenium is missing: pip install 'fastdnn[dev]'"
webdriver = pytest.importorskip("selenium.webdriver", reason=SELENIUM)
WebDriverException = pytest.importorskip("selenium.common.exceptions").WebDriverException
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
for package, program in {
    "npm": "npm",
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
}.items():
    if not shutil.which(program):
        pytest.skip(f"{program} is missing: apt-get install {package}", allow_module_level=True)

image = pytest.importorskip("matplotlib.image")
pytestmark = pytest.mark.xdist_group("dashboard")  # which one process makes once
module = load_publish()
TEXTS = """
if (!window.$ || $.active) return [];
const elements = [...document.querySelectorAll(arguments[0])];
return elements.filter(x => x.offsetParent !== null).map(x => x.innerText);
"""
CURVE = 36, 122, 173  # asv's first colour
# What is drawn: each curve's label, its points, and whether its colour is found on the canvas.
CURVES = """
const plot = $('#main-graph').data('plot'), canvas = plot.getCanvas();
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
function isPainted(colour) {
    const wanted = colour.match(/\\d+/g);
    for (let i = 0; i < pixels.length; i += 4)
        if (pixels[i + 3] > 250 && wanted.every((x, j) => Math.abs(x - pixels[i + j]) < 8))
            return true;
    return false;
}
return plot.getData().map(curve => [
    curve.label, curve.data.filter(point => point[1] !== null).length, isPainted(curve.color)
]);
"""


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's folder, where it is served, and the commits if its results are made up."""

    folder: Path
    address: str
    commits: list[str]

    @property
    def benchmarks(self) -> dict[str, dict[str, Any]]:
        index = json.loads((self.folder / "index.json").read_text("utf-8"))
        return dict(index["benchmarks"])


@pytest.fixture(scope="module", params=["made up", "committed"])
def dashboard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    config, commits = PUBLISH.with_name("asv.conf.json"), []
    if request.param == "made up":
        config, commits = make_results(tmp_path_factory.mktemp("history"))
    elif not (PUBLISH.parent / "results" / "benchmarks.json").is_file():
        pytest.skip("no results are committed")
    elif not (PUBLISH.parents[1] / ".git").exists():
        pytest.skip("the committed results need the history: run the tests in a clone")
    done = publish(config)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = re.findall(r"The dashboard is in (.*)\. To see it:", done.stdout)
    with module.serving(Path(folder)) as address:
        yield Dashboard(Path(folder), address, commits)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless",
        "--no-sandbox",  # root may run this; it loads nothing but the pages made here
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--window-size=1400,1400",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(chromium: Any, dashboard: Dashboard) -> Iterator[Any]:
    """The browser on the dashboard's first page; nothing may go wrong from there on."""
    chromium.get("about:blank")  # else the same address with another fragment is not loaded anew
    chromium.get(dashboard.address)
    texts(chromium, ".benchmark-container")
    yield chromium
    assert not chromium.get_log("browser")
    assert not chromium.find_element("id", "error").is_displayed()
    entries = chromium.execute_script("return performance.getEntriesByType('resource')")
    assert len(entries) > 10
    assert all(entry["name"].startswith(dashboard.address) for entry in entries)


def texts(driver: Any, selector: str) -> list[str]:
    """The texts of what a selector selects, once it is there to be seen and nothing is loaded."""
    wait = WebDriverWait(driver, 20)
    return list(wait.until(lambda _: driver.execute_script(TEXTS, selector), f"no {selector}"))


def click(driver: Any, selector: str) -> None:
    """Click on the first that a selector selects; the page may just be replacing it."""
    wait = WebDriverWait(driver, 20, ignored_exceptions=[WebDriverException])
    wait.until(lambda _: not driver.find_element("css selector", selector).click(), selector)


def curves(driver: Any, dashboard: Dashboard) -> dict[str, int]:
    """The number of points of each curve in the graph."""
    texts(driver, "#main-graph canvas.flot-base")
    drawn = driver.execute_script(CURVES)
    painted = [is_painted for _, _, is_painted in drawn]
    assert any(painted)
    assert all(painted) or not dashboard.commits  # one curve may hide another in real results
    return {label: points for label, points, _ in drawn}


def test_the_first_page_groups_the_suites(page: Any, dashboard: Dashboard) -> None:
    headings = texts(page, ".benchmark-group h1")
    assert len(headings) == len(set(headings))
    assert set(headings) == {name.split(".")[0] for name in dashboard.benchmarks}
    assert {"training", "peers"} <= set(headings)


def test_the_first_page_says_what_is_measured_and_its_unit(page: Any, dashboard: Dashboard) -> None:
    links = page.find_elements("css selector", ".benchmark-container")
    names = [link.get_attribute("href").partition("#")[2] for link in links]
    titles = dict(zip(names, texts(page, ".benchmark-container"), strict=True))
    assert set(titles) == set(dashboard.benchmarks)
    for name, title in titles.items():
        assert title.endswith(f" ({dashboard.benchmarks[name]['unit']})")
        assert "track_" not in title


def test_the_training_suite_opens(page: Any, dashboard: Dashboard) -> None:
    click(page, "#group-training .benchmark-container")
    drawn = curves(page, dashboard)
    name = page.find_element("id", "title").text
    assert name.startswith("training.")
    assert any(drawn.values())
    if dashboard.commits:
        labels = {f"shape-{s}; threads-{t}" for s in ("digits", "mnist") for t in (1, 2)}
        assert drawn == dict.fromkeys(labels, COMMITS)


def test_the_peers_suite_has_one_curve_per_library(page: Any, dashboard: Dashboard) -> None:
    name, benchmark = next(
        (name, benchmark)
        for name, benchmark in dashboard.benchmarks.items()
        if name.startswith("peers.") and "library" in benchmark["param_names"]
    )
    params = dict(zip(benchmark["param_names"], benchmark["params"], strict=True))
    libraries = params["library"]
    chosen = {key: libraries if key == "library" else values[:1] for key, values in params.items()}
    query = urlencode({f"p-{key}": values for key, values in chosen.items()}, doseq=True)
    page.get(f"{dashboard.address}#{name}?{query}")
    drawn = curves(page, dashboard)
    found = {re.findall(r"library-(\w+)", label)[0]: points for label, points in drawn.items()}
    assert set(found) == {library.strip("'") for library in libraries}
    assert found.pop("fastdnn") > 0
    assert any(found.values())
    if dashboard.commits:
        assert set(drawn.values()) == {COMMITS}


def test_the_list_has_every_benchmark_with_its_unit(page: Any, dashboard: Dashboard) -> None:
    page.get(f"{dashboard.address}#/summarylist")
    cells = texts(page, "#summarylist-body td")
    names, values, changes = cells[::4], cells[1::4], cells[2::4]
    assert any(values)
    if dashboard.commits:
        params = [each["params"] for each in dashboard.benchmarks.values()]
        assert len(names) == sum(math.prod(map(len, each)) for each in params)
        row = names.index("Training step ('digits', 2)")
        assert (values[row], changes[row]) == ("75.1 us", "+50.1% (+25.1 us)")


def test_the_regressions_page_works(page: Any, dashboard: Dashboard) -> None:
    page.get(f"{dashboard.address}#/regressions")
    assert texts(page, "#regressions-body th")[:4] == ["Benchmark", "Date", "Commit", "Factor"]
    WebDriverWait(page, 20).until(lambda _: "sort=3" in page.current_url, "by factor at first")
    click(page, "#regressions-body th")
    WebDriverWait(page, 20).until(lambda _: "sort=0" in page.current_url, "by name when asked")


@pytest.mark.parametrize("dashboard", ["made up"], indirect=True)
def test_a_planted_regression_is_found_at_its_commit(page: Any, dashboard: Dashboard) -> None:
    page.get(f"{dashboard.address}#/regressions")
    name, _, commit, factor, before, after, _ = texts(page, "#regressions-body tbody td")
    assert name == "training.Step.track_step('digits', 2)"
    assert commit == dashboard.commits[SLOWER][: len(commit)]
    assert len(commit) >= 8
    assert (factor, before, after) == ("1.50x", "50.0 us", "75.1 us")


@pytest.mark.parametrize("dashboard", ["made up"], indirect=True)
def test_the_picture(dashboard: Dashboard, tmp_path: Path) -> None:
    module.take_picture(dashboard.folder, tmp_path / "page.png")
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
    pixels = image.imread(tmp_path / "page.png")
    assert pixels.shape[:2] == (1400, 1400)
    curve = np.all(np.abs(255 * pixels[..., :3] - CURVE) < 8, axis=-1)
    assert 500 < curve.sum() < 0.1 * curve.size
