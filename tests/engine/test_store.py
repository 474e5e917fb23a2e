"""The store: whole files or none, what is done already, what failed and why, and whose folder it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import toy_pictures as toy
from minisam.engine import store as module
from minisam.engine.store import Picture, Store, find_pictures
from minisam.files.records import find_pairs, read_record
from minisam_kernels import InputError
from refusals import refusal

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a.png over a.jpg": ("minisam/engine/store.py", "path if often[name.lower()] > 1 else name", "name"),
    "once is enough": ("minisam/engine/store.py", "    for _ in range(2):", "    for _ in range(1):"),
    "truth is annotated": ("minisam/engine/store.py", ' and path.parent.name != "masks"', ""),
    "an empty file is done": ("minisam/engine/store.py", ".st_size > 0", ".st_size >= 0"),
    "any settings go on": ("minisam/engine/store.py", "_same(self.manifest(), wanted, self.folder)", "pass"),
    "over what lies there": ("minisam/engine/store.py", "                if others:", "                if False:"),
    "half a line is glued": ("minisam/engine/store.py", 'line if file.read(1) == b"\\n" else "\\n" + line', "line"),
    "failed for ever": (
        "minisam/engine/store.py",
        "(failure.bytes, failure.modified) == _status(folder, picture)",
        "failure.picture == picture.path",
    ),
    "failed and done": ("minisam/engine/store.py", "if not self.has(named[path].name)", "if named"),
    "two processes at once": ("minisam/engine/store.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH"),
    "crumbs stay": (
        "minisam/engine/store.py",
        "                    with suppress(OSError):\n",
        "                    if 0:\n",
    ),
    "another folder's pictures": ("minisam/engine/store.py", "if stored != wanted:", "if False:"),
}
MANIFEST = {"minisam": "1", "weights": "abc", "settings": {"pred_iou_thresh": 0.5}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them in a sub-folder."""
    return toy.folder_of(tmp_path / "in", ["a", "b", "sub/c"])


def keep(store: Store, folder: Path, picture: Picture) -> None:
    assert not toy.annotate(toy.recipe_of(folder, store.folder), picture).failure


def test_names_are_paths_without_endings(tmp_path: Path) -> None:
    """Kills: a.png over a.jpg, once is enough, truth is annotated."""
    for name in ("a.JPG", "A.png", "b.png", "s/a.jpg", "a.jpg.webp", "masks/x.png", "note.txt", "._b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = {picture.path: picture.name for picture in find_pictures(tmp_path)}
    assert names == {"A.png": "A.png", "a.JPG": "a.JPG", "a.jpg.webp": "a.jpg.webp", "b.png": "b", "s/a.jpg": "s/a"}


def test_a_store_is_a_training_set(tmp_path: Path, folder: Path) -> None:
    """Each record lies beside its picture, ids count from 1, and both may be moved together."""
    store = Store(tmp_path / "out")
    with store.filling(MANIFEST):
        for picture in find_pictures(folder):
            keep(store, folder, picture)
            keep(store, folder, picture)  # a second time, as two workers may
    found = find_pairs(tmp_path / "out")
    assert [(image.name, record.name) for image, record in found.pairs] == [
        ("a.png", "a.json"),
        ("b.png", "b.json"),
        ("c.png", "c.json"),
    ]
    assert read_record(found.pairs[2][1]).file_name == "c.png" and "manifest.json" in found.describe()
    report = json.loads(store.record("sub/c").read_text())
    assert [annotation["id"] for annotation in report["annotations"]] == [1] and report["image"]["image_id"] == "sub/c"
    os.mkdir(tmp_path / "elsewhere")
    for name in ("in", "out"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    assert (tmp_path / "elsewhere" / "out" / "pictures" / "sub" / "c.png").is_file()


def test_without_links_there_are_copies(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    store = Store(tmp_path / "out")
    with store.filling(MANIFEST):
        keep(store, folder, Picture("a.png", "a"))
    link = store.link(Picture("a.png", "a"))
    assert not link.is_symlink() and link.read_bytes() == (folder / "a.png").read_bytes()
    store.check_link(folder, Picture("a.png", "a"))  # nobody can say where a copy came from


def test_what_is_done_and_what_is_left_behind(tmp_path: Path, folder: Path) -> None:
    """Kills: an empty file is done, crumbs stay."""
    store = Store(tmp_path / "out")
    with store.filling(MANIFEST):
        keep(store, folder, Picture("a.png", "a"))
        store.record("b").touch()
        (store.folder / "pictures" / ".b.json.17.tmp").write_text("{")
        assert store.has("a") and not store.has("b") and not store.has("sub/c")
    (store.folder / ".manifest.json.17.tmp").write_text("{")
    assert len(list(store.folder.rglob("*.tmp"))) == 1  # the first was swept when the filling ended
    with store.filling(MANIFEST):
        assert not list(store.folder.rglob("*.tmp"))


def test_another_store_is_refused(tmp_path: Path, folder: Path) -> None:
    """Kills: any settings go on, over what lies there, another folder's pictures."""

    def fill(manifest: dict, out: str = "out") -> None:
        with Store(tmp_path / out).filling(manifest):
            pass

    fill(MANIFEST)
    fill(MANIFEST)
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    words = refusal(fill, MANIFEST | {"minisam": "2", "weights": "abd"})
    assert f"a store made with minisam '2', got {tmp_path / 'out'} made with '1'" in words
    assert "weights 'abd', got" in refusal(fill, MANIFEST | {"weights": "abd"})
    assert "pred_iou_thresh 0.25, got" in refusal(fill, MANIFEST | {"settings": {"pred_iou_thresh": 0.25}})
    assert "crop_n_layers 1, got" in refusal(
        fill, MANIFEST | {"settings": {"crop_n_layers": 1, "pred_iou_thresh": 0.5}}
    )
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert "an empty folder or a store, got" in refusal(fill, MANIFEST, "in")
    (tmp_path / "out" / "manifest.json").write_text(before.decode().replace('"schema": 1', '"schema": 7'))
    assert "a store of schema 1" in refusal(fill, MANIFEST)
    for text in ("{", "[]", "{}"):
        (tmp_path / "out" / "manifest.json").write_text(text)
        assert "expected a manifest of a store" in refusal(fill, MANIFEST)
    store, picture = Store(tmp_path / "new"), Picture("a.png", "a")
    with store.filling(MANIFEST):
        keep(store, folder, picture)
    store.check_link(folder, picture)
    other = toy.folder_of(tmp_path / "other", ["a"])
    assert "the pictures that the store was made of" in refusal(store.check_link, other, picture)


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of folders")
def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Kills: two processes at once. The lock is the system's: it ends with the process, however that ends."""
    store = Store(tmp_path / "out")
    with store.filling(MANIFEST), pytest.raises(InputError, match="that no other process fills, got"):
        with Store(tmp_path / "out").filling(MANIFEST):
            pass
    with store.filling(MANIFEST):
        pass


def test_failures(tmp_path: Path, folder: Path) -> None:
    """Kills: half a line is glued, failed for ever, failed and done."""
    store = Store(tmp_path / "out")
    a, b, c = find_pictures(folder)
    with store.filling(MANIFEST):
        store.fail(folder, c, "expected c\nwhole, got ½")
        with open(store.folder / "failed.jsonl", "ab") as file:
            file.write(b'{"picture": "b.pn')  # killed here
        assert list(store.failures()) == ["sub/c.png"]
        store.fail(folder, a, "first")
        assert store.failures()["a.png"].reason == "first"
        store.fail(folder, a, "second")
        failures = store.failures()
        assert {path: failure.reason for path, failure in failures.items()} == {
            "sub/c.png": "expected c\nwhole, got ½",
            "a.png": "second",
        }
        assert store.failed_before(folder, a, failures) and not store.failed_before(folder, b, failures)
        os.utime(folder / "a.png", (1, 1))
        assert not store.failed_before(folder, a, failures) and store.failed_before(folder, c, failures)
    lines = (store.folder / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["picture"] for line in lines] == ["a.png", "sub/c.png"]
    with store.filling(MANIFEST):
        keep(store, folder, a)
    assert list(store.failures()) == ["sub/c.png"]
    with store.filling(MANIFEST):
        keep(store, folder, c)
    assert not (store.folder / "failed.jsonl").exists() and store.failures() == {}


def test_bad_folders(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected pictures (.jpg" in refusal(find_pictures, tmp_path / "empty")
    assert "expected a folder of pictures, got" in refusal(find_pictures, tmp_path / "nowhere")
    assert "expected a folder of pictures, got" in refusal(find_pictures, folder / "a.png")
    assert "expected a file that can be read" in refusal(module.sha256, tmp_path / "nowhere")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="who may do everything is refused nothing")
def test_no_permission(tmp_path: Path, folder: Path) -> None:
    def fill(out: Path) -> None:
        with Store(out).filling(MANIFEST):
            pass

    for path, call in ((folder / "sub", find_pictures), (folder, lambda path: fill(path / "out"))):
        path.chmod(0o500 if path == folder else 0)
        try:
            assert "expected a" in refusal(call, folder)
        finally:
            path.chmod(0o700)
