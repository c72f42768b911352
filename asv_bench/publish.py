"""The dashboard, in one command: ``python asv_bench/publish.py``.

`asv publish` makes the page from the results that are kept; its index.html takes ten scripts and
styles from other hosts, so without a network it stays empty. Here they are fetched once by npm,
kept in ``.asv/npm``, and copied beside the page, whose links then lead to the copies. The folder is
replaced when all of it is ready, or not at all.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".asv" / "npm"
FONT = "dist/fonts/glyphicons-halflings-regular"
LINK = re.compile(r'<(?:script|link)\b[^>]*?\b(?:src|href)="((?:https?:)?//[^"]+)"[^>]*>')


@dataclass(frozen=True)
class Package:
    """One package of npm: what asv's page takes from it.

    Attributes
    ----------
    spec : str
        Its name and exact version.
    integrity : str
        The hash of its archive, as npm states it.
    files : dict
        The path of a link in asv's page, and the file in the package that answers it.
    more : tuple of str
        Further files that those refer to.
    """

    spec: str
    integrity: str
    files: dict[str, str]
    more: tuple[str, ...] = ()

    @property
    def archive(self) -> Path:
        """The package as npm packs it, in the cache."""
        return CACHE / f"{self.spec.replace('@', '-')}.tgz"

    def is_cached(self) -> bool:
        """Whether the cache has the archive, whole and unchanged."""
        return self.archive.is_file() and matches(self.integrity, self.archive.read_bytes())


# flot's package has no minified files, and stupid-table's first release in npm is later than the
# one that asv links; both serve the page as they are.
PACKAGES = (
    Package(
        "jquery@3.3.1",
        "sha512-Ubldcmxp5np52/ENotGxlLe6aGMvmF4R8S6tZjsP6Knsaxd/xp3Zrh50cG93lR6nPXyUFwzN3ZSOQI0wRJNdGg==",
        {"/jquery-3.3.1.min.js": "dist/jquery.min.js"},
    ),
    Package(
        "flot@0.8.3",
        "sha512-xg2otcTJDvS+ERK+my4wxG/ASq90QURXtoM4LhacCq0jQW2jbyjdttbRNqU2cPykrpMvJ6b2uSp6SAgYAzj9tQ==",
        {
            f"/ajax/libs/flot/0.8.3/jquery.flot{part}.min.js": f"jquery.flot{part}.js"
            for part in ("", ".time", ".selection", ".categories")
        },
    ),
    Package(
        "flot-orderbars@1.0.0",
        "sha512-Jv51fvzevUjNXEeozpwEKfPjhiZhfiJddv0WHjduUTCmSF+7T5K7C9c9Y1wIVmUhDBv5fLMjgbwKecT0GIKPZA==",
        {"/npm/flot-orderbars@1.0.0/js/jquery.flot.orderBars.js": "js/jquery.flot.orderBars.js"},
    ),
    Package(
        "stupid-table-plugin@1.1.3",
        "sha512-2Vk7XouQPxUQPRe9w0Fu7ZZ8kHLK7rDoLMsCgtKxRNJ7f4dSOGvW9CkHsq5wD6QsaEnWoyLBYH3xOEsrK3yWBg==",
        {"/ajax/libs/stupidtable/1.0.1/stupidtable.min.js": "stupidtable.min.js"},
    ),
    Package(
        "blueimp-md5@2.19.0",
        "sha512-DRQrD6gJyy8FbiE4s+bDoXS9hiW3Vbx5uCdwvcCf3zLHL+Iv7LtGHLpr+GZV8rHG8tK766FGYBwRbu8pELTt+w==",
        {"/ajax/libs/blueimp-md5/2.19.0/js/md5.min.js": "js/md5.min.js"},
    ),
    Package(
        "bootstrap@3.1.1",
        "sha512-TAzqS8E/ISpVHP29gYhy+1NSV+FJwApDVQhDfgLYsIuUDJiqJzH2DfORN5tiu+Ie2iBLrzEG34t4Rf465cigqg==",
        {
            f"/npm/bootstrap@3.1.1/dist/{name}": f"dist/{name}"
            for name in ("js/bootstrap.min.js", "css/bootstrap.min.css")
        },
        tuple(f"{FONT}.{kind}" for kind in ("eot", "svg", "ttf", "woff")),
    ),
)


def matches(integrity: str, data: bytes) -> bool:
    """Whether data have the hash that an integrity attribute states."""
    algorithm, _, wanted = integrity.partition("-")
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode() == wanted


def fetch(packages: tuple[Package, ...] = PACKAGES) -> None:
    """Fill the cache with the packages that it lacks."""
    missing = [package for package in packages if not package.is_cached()]
    if not missing:
        return
    if not shutil.which("npm"):
        raise SystemExit(
            "publish.py: npm is missing. It fetches the page's scripts, once: install it "
            "(Debian: apt-get install npm) and run this again."
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch]
        specs = [package.spec for package in missing]
        npm = subprocess.run([*command, *specs], capture_output=True, text=True, check=False)
        if npm.returncode:
            raise SystemExit(f"publish.py: npm could not fetch {', '.join(specs)}:\n{npm.stderr}")
        for package in missing:
            file = Path(scratch, package.archive.name)
            if not matches(package.integrity, file.read_bytes()):
                raise SystemExit(
                    f"publish.py: what npm gave for {package.spec} has not the hash "
                    f"{package.integrity}, so it is not used."
                )
            file.replace(package.archive)


def copy_libraries(folder: Path) -> dict[str, Path]:
    """Copy the scripts and styles below `folder`; returns the copy for the path of each link."""
    copies: dict[str, Path] = {}
    for package in PACKAGES:
        name = package.spec.partition("@")[0]
        with tarfile.open(package.archive) as archive:
            for file in (*package.files.values(), *package.more):
                member = archive.extractfile(f"package/{file}")
                assert member is not None, file
                copy = folder / "libraries" / name / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(member.read())
        copies |= {link: folder / "libraries" / name / file for link, file in package.files.items()}
    return copies


def point_links_at_copies(page: Path, copies: dict[str, Path]) -> None:
    """Replace the links to other hosts; the integrity attribute stays where the copy has it."""

    def local(tag: re.Match[str]) -> str:
        url = tag[1]
        copy = copies.get(urlsplit(url).path)
        if copy is None:
            raise SystemExit(
                f"publish.py: asv's page links {url}, of which there is no copy: "
                "add it to PACKAGES in asv_bench/publish.py."
            )
        text = tag[0].replace(url, copy.relative_to(page.parent).as_posix())
        text = re.sub(r' (?:crossorigin|referrerpolicy)="[^"]*"', "", text)
        integrity = re.search(r' integrity="([^"]*)"', text)
        if integrity and not matches(integrity[1], copy.read_bytes()):
            text = text.replace(integrity[0], "")
        return text

    page.write_text(LINK.sub(local, page.read_text("utf-8")), "utf-8")


def tidy_index(html: Path) -> None:
    """Add the unit to each name on the first page, and leave out what has no results yet.

    Of a benchmark without results the page would ask for a plot that does not exist.
    """
    index = html / "index.json"
    content = json.loads(index.read_text("utf-8"))
    benchmarks = content["benchmarks"]
    for name in list(benchmarks):
        if not (html / "graphs" / "summary" / f"{name}.json").is_file():
            del benchmarks[name]
            continue
        label = benchmarks[name].get("pretty_name") or name.partition(".")[2]
        benchmarks[name]["pretty_name"] = f"{label} ({benchmarks[name]['unit']})"
    index.write_text(json.dumps(content), "utf-8")


def publish(config: Path) -> Path:
    """Make the dashboard of a configuration's results; returns its folder."""
    try:
        from asv.config import Config
    except ModuleNotFoundError:
        raise SystemExit(
            "publish.py: asv is missing: pip install 'fastdnn[bench]' or pip install asv"
        ) from None
    if not config.is_file():
        raise SystemExit(f"publish.py: there is no file {config}; --config takes an asv.conf.json")
    fetch()
    html: Path = (config.parent / Config.load(str(config)).html_dir).resolve()
    html.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=html.parent) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        command = [sys.executable, "-m", "asv", "publish", "--config", str(config)]
        if code := subprocess.run([*command, "--html-dir", str(new)], check=False).returncode:
            raise SystemExit(code)
        point_links_at_copies(new / "index.html", copy_libraries(new))
        tidy_index(new)
        try:
            if html.exists():
                html.rename(old)
            new.rename(html)
        except BaseException:
            if old.exists() and not html.exists():
                old.rename(html)
            raise
    return html


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine alone while the block runs; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def find_chromium() -> str:
    """Chromium's program."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise SystemExit(
            "publish.py: --picture needs Chromium: install it (Debian: apt-get install chromium)."
        )
    return program


def take_picture(folder: Path, picture: Path) -> None:
    """Write what Chromium shows of the dashboard's first page as a PNG file."""
    command = [find_chromium(), "--headless", "--hide-scrollbars", "--window-size=1400,1400"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to run in its sandbox as root
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        tempfile.TemporaryDirectory(dir=picture.parent) as scratch,
        serving(folder) as address,
    ):
        png = Path(scratch, "page.png")
        command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000"]
        command += [f"--screenshot={png}", address]
        chromium = subprocess.run(command, capture_output=True, text=True, check=False)
        if not png.is_file():
            raise SystemExit(f"publish.py: Chromium made no picture:\n{chromium.stderr}")
        png.replace(picture)


def main() -> None:
    """Make the dashboard, and its picture where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=HERE / "asv.conf.json")
    parser.add_argument("--picture", type=Path, help="write the first page as a PNG file too")
    options = parser.parse_args()
    if options.picture:
        find_chromium()
        if not options.picture.parent.is_dir():
            parser.error(f"--picture: there is no folder {options.picture.parent}")
    html = publish(options.config.resolve())
    if options.picture:
        take_picture(html, options.picture.resolve())
    print(f"The dashboard is in {html}. To see it:")
    print(f"    python -m http.server --bind 127.0.0.1 --directory {os.path.relpath(html)}")


if __name__ == "__main__":
    main()
