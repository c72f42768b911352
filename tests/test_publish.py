"""asv_bench/publish.py: what it writes, and what it refuses."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.asv_results import load_publish, make_results, publish

module = load_publish()


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of made-up results whose dashboard has been made."""
    pytest.importorskip("asv", reason="asv is missing: pip install 'fastdnn[bench]'")
    if not shutil.which("npm"):
        pytest.skip("npm is missing: apt-get install npm")
    config, _ = make_results(tmp_path_factory.mktemp("history"))
    done = publish(config)
    assert done.returncode == 0, done.stdout + done.stderr
    return config


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, but for the one that holds the time."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.is_file() and name not in {"info.json", "regressions.xml"}
    }


def test_no_script_or_style_comes_from_another_host(made_up: Path) -> None:
    html = made_up.parent / "html"
    for page in html.glob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text("utf-8"))
        assert tags
        assert not [tag for tag in tags if "//" in tag]
        for file in re.findall(r'(?:src|href)="([^"]+)"', " ".join(tags)):
            assert (html / file).is_file(), file


def test_what_the_styles_refer_to_is_there(made_up: Path) -> None:
    styles = list((made_up.parent / "html").rglob("*.css"))
    assert len(styles) > 1
    found = []
    for style in styles:
        for url in re.findall(r"url\(['\"]?([^'\")]+)", style.read_text("utf-8")):
            assert (style.parent / re.split("[?#]", url)[0]).is_file(), url
            found.append(url)
    assert found


def test_integrity_attributes_hold(made_up: Path) -> None:
    html = made_up.parent / "html"
    page = (html / "index.html").read_text("utf-8")
    links = re.findall(r'(?:src|href)="([^"]+)" integrity="([^"]+)"', page)
    assert len(links) == 5
    assert all(module.matches(integrity, (html / file).read_bytes()) for file, integrity in links)


def test_once_more_gives_the_same(made_up: Path) -> None:
    html = made_up.parent / "html"
    before = contents(html)
    (html / "stale.txt").touch()
    assert publish(made_up).returncode == 0
    assert contents(html) == before


def test_a_failure_leaves_the_old_page(made_up: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made_up.parent, folder)
    (folder / "results" / "benchmarks.json").unlink()
    before = contents(folder)
    done = publish(folder / "asv.conf.json")
    assert done.returncode == 1
    assert "benchmarks.json" in done.stdout + done.stderr
    assert contents(folder) == before


def archive_of(data: bytes) -> Any:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    return module.Package("some-name@1.2.3", integrity, {})


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """An npm that packs the bytes b"archive"; returns its calls."""
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        Path(command[command.index("--pack-destination") + 1], "some-name-1.2.3.tgz").write_bytes(
            b"archive"
        )
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module, "CACHE", tmp_path / "npm")
    monkeypatch.setattr(module.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(module.subprocess, "run", run)
    return calls


def test_packages_are_fetched_once(npm: list[list[str]], tmp_path: Path) -> None:
    for _ in range(2):
        module.fetch((archive_of(b"archive"),))
    assert [command[-1] for command in npm] == ["some-name@1.2.3"]
    assert contents(tmp_path / "npm") == {"some-name-1.2.3.tgz": b"archive"}


def test_a_damaged_copy_is_fetched_again(npm: list[list[str]], tmp_path: Path) -> None:
    package = archive_of(b"archive")
    module.fetch((package,))
    package.archive.write_bytes(b"arch")
    module.fetch((package,))
    assert len(npm) == 2
    assert package.is_cached()


def test_another_archive_is_refused(npm: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"some-name@1\.2\.3 has not the hash"):
        module.fetch((archive_of(b"other"),))
    assert npm
    assert not contents(tmp_path / "npm")


def test_without_npm(npm: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"npm is missing.*apt-get install npm"):
        module.fetch((archive_of(b"archive"),))
    assert not npm


def test_npm_fails(npm: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "the network is down")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        SystemExit, match=r"could not fetch some-name@1\.2\.3:\nthe network is down"
    ):
        module.fetch((archive_of(b"archive"),))


@pytest.mark.parametrize("scheme", ["https:", "http:", ""])
def test_an_unknown_link_is_refused(scheme: str, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    text = f'<script src="asv.js"></script>\n<script\n src="{scheme}//host/new.js"></script>'
    page.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"//host/new\.js, of which there is no copy"):
        module.point_links_at_copies(page, {})
    assert page.read_text("utf-8") == text


def test_without_asv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "asv.config", None)
    with pytest.raises(SystemExit, match="asv is missing"):
        module.publish(tmp_path / "asv.conf.json")


def test_without_a_configuration(tmp_path: Path) -> None:
    pytest.importorskip("asv", reason="asv is missing: pip install 'fastdnn[bench]'")
    done = publish(tmp_path / "none.json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"publish.py: there is no file {tmp_path / 'none.json'}")


def test_a_picture_without_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    monkeypatch.setattr(sys, "argv", ["publish.py", "--picture", str(picture)])
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"needs Chromium.*apt-get install chromium"):
        module.main()


def test_a_picture_in_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "none" / "page.png"
    monkeypatch.setattr(sys, "argv", ["publish.py", "--picture", str(picture)])
    monkeypatch.setattr(module.shutil, "which", lambda _: "chromium")
    with pytest.raises(SystemExit):
        module.main()
    assert f"there is no folder {tmp_path / 'none'}" in capsys.readouterr().err
