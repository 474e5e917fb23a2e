"""Which files are made of which images: names, sub-folders, collisions, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minisam import InputError
from minisam.files.batches import Batch, plan, reports_of

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a.png over a.jpg": ("minisam/files/batches.py", "full if often[name.lower()] > 1 else name", "name"),
    "once is enough": ("minisam/files/batches.py", "    for _ in range(2):", "    for _ in range(1):"),
    "its own label images": (
        "minisam/files/batches.py",
        "if any(folder.is_relative_to(top) and real.is_relative_to(folder) for folder in made):",
        "if False:",
    ),
    "one file of two is enough": ("minisam/files/batches.py", "return all(os.path.exists", "return any(os.path.exists"),
    "an output over an input": (
        "minisam/files/batches.py",
        'raise InputError(f"expected an output other',
        'print(f"expected an output other',
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def planned(*sources: str, output: str = "out", formats=("sa1b",), overlay=None, inputs=()) -> Batch:
    return plan(sources, output, formats, overlay, inputs)


def outputs(batch: Batch) -> dict[str, list[str]]:
    return {job.image.as_posix(): [path.as_posix() for path in job.paths] for job in batch.jobs}


def test_one_image_is_one_file(place):
    touch("a.jpg")
    batch = planned("a.jpg", output="m.json", overlay="o.png")
    assert batch.folder is None and outputs(batch) == {"a.jpg": ["m.json", "o.png"]} and batch.jobs[0].name == "a"
    assert outputs(planned("missing.jpg", output="m.json")) == {"missing.jpg": ["m.json"]}  # its reader says so


@pytest.mark.parametrize("output", ["out", "out/"])
def test_one_image_into_a_folder(place, output):
    touch("a.jpg")
    if output == "out":
        os.mkdir("out")
    assert outputs(planned("a.jpg", output=output)) == {"a.jpg": ["out/a.json"]}
    assert outputs(planned("a.jpg", formats=("sa1b", "png"))) == {"a.jpg": ["out/sa1b/a.json", "out/png/a.png"]}
    assert outputs(planned("a.jpg", formats=("png", "png"), output=output)) == {"a.jpg": ["out/a.png"]}


def test_a_folder_with_sub_folders(place):
    """Names of any case; other files, a Mac's notes and output folders are passed over. Kills: its own label images."""
    touch("in/a.JPG", "in/sub/b.tiff", "in/sub/c.webp", "in/notes.doc", "in/._a.JPG", "in/out/old.png", "in/ov/x.png")
    batch = planned("in", output="in/out", formats=("png",), overlay="in/ov")
    assert outputs(batch) == {
        "in/a.JPG": ["in/out/a.png", "in/ov/a.png"],
        "in/sub/b.tiff": ["in/out/sub/b.png", "in/ov/sub/b.png"],
        "in/sub/c.webp": ["in/out/sub/c.png", "in/ov/sub/c.png"],
    }
    beside = planned("in", output="in/sub")  # no images are made there, so that those are images as others
    assert [job.name for job in beside.jobs] == ["a", "out/old", "ov/x", "sub/b", "sub/c"]
    assert batch.passed_over == 1 and batch.folder == Path("in/out") and Path("in/ov/sub").is_dir()
    assert [job.name for job in batch.jobs] == ["a", "sub/b", "sub/c"]


def test_results_may_lie_beside_the_images(place):
    touch("in/a.jpg", "in/b.jpg")
    assert outputs(planned("in", output="in")) == {"in/a.jpg": ["in/a.json"], "in/b.jpg": ["in/b.json"]}
    with pytest.raises(InputError, match="to another folder than in, got that one"):
        planned("in", output="in", formats=("png",))
    with pytest.raises(InputError, match="to another folder than in, got that one"):
        planned("in", output="out", overlay="in/")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b"]),
        (["a.jpg", "A.png"], ["A.png", "a.jpg"]),
        (["a.jpg", "a.png", "a.jpg.webp"], ["a.jpg", "a.jpg.webp", "a.png"]),
        (["a.b.jpg", "a.b.png", "a.jpg"], ["a.b.jpg", "a.b.png", "a"]),
        (["s/a.jpg", "a.png"], ["a", "s/a"]),
        (["s/a.jpg", "t/a.jpg"], ["s/a", "t/a"]),
        (["s.x/a.jpg", "s.x/b.jpg"], ["s.x/a", "s.x/b"]),
        (["s/a.jpg", "s/a.jpeg", "t/a.jpg"], ["s/a.jpeg", "s/a.jpg", "t/a"]),
        (["ä ö.jpg", "%20.png"], ["%20", "ä ö"]),
    ],
)
def test_names(place, files, names):
    """No two alike. Kills: a.png over a.jpg, once is enough."""
    touch(*(f"in/{file}" for file in files))
    assert sorted(job.name for job in planned("in").jobs) == sorted(names)
    direct = planned(*(f"in/{file}" for file in files)).jobs
    assert len({job.paths[0] for job in direct}) == len(files)


def test_several_images_of_several_folders(place):
    touch("x/a.jpg", "y/a.jpg", "y/z/b.png")
    assert [job.name for job in planned("x/a.jpg", "y/a.jpg").jobs] == ["x/a", "y/a"]
    assert [job.name for job in planned("x/a.jpg", "y").jobs] == ["x/a", "y/a", "y/z/b"]
    assert [job.name for job in planned("y/a.jpg", "y/a.jpg", "y/z/b.png").jobs] == ["a", "z/b"]
    assert [job.name for job in planned(str(place / "x" / "a.jpg"), "y/a.jpg").jobs] == ["x/a", "y/a"]


def test_coco_is_made_of_sa1bs_files(place):
    touch("in/a.jpg", "in/b.jpg")
    batch = planned("in", formats=("coco", "yolo"))
    assert outputs(batch)["in/a.jpg"] == ["out/sa1b/a.json", "out/yolo/a.txt"]
    touch("out/sa1b/b.json")
    assert reports_of(batch.jobs) == [Path("out/sa1b/b.json")]
    assert outputs(planned("in", formats=("coco",)))["in/a.jpg"] == ["out/sa1b/a.json"]


def test_done_when_all_files_are_there(place):
    """Kills: one file of two is enough."""
    touch("in/a.jpg", "out/a.json")
    assert planned("in").jobs[0].done and not planned("in", overlay="ov").jobs[0].done


def test_a_linked_folder_is_followed_once(place):
    touch("real/a.jpg", "in/b.jpg")
    os.symlink(place / "real", "in/linked")
    os.symlink(place / "in", "in/circle")
    assert [job.name for job in planned("in").jobs] == ["b", "linked/a"]


@pytest.mark.parametrize(
    ("sources", "settings", "words"),
    [
        (["empty"], {}, r"expected images in empty, got none \(0 other files\)"),
        (["texts"], {}, r"expected images in texts, got none \(1 other files\)"),
        (["in"], {"output": "m.json"}, "expected a folder for the files of several images or formats, got m.json"),
        (["in"], {"output": "m.PNG"}, "expected a folder for the files of several images or formats, got m.PNG"),
        (["in"], {"output": "file"}, "expected a folder to write into, got file"),
        (["in"], {"output": "file/sub"}, "expected a folder to write into, got file/sub"),
        (["in"], {"overlay": "o.png"}, "expected a folder for the files of several images or formats, got o.png"),
        (["in"], {"overlay": "out", "formats": ("png",)}, "different folders for the masks and the overlays, got out"),
        (["in"], {"inputs": ("out/a.json",)}, "an output other than the input, got out/a.json for both"),
        (["in/c.png"], {"output": "in", "overlay": "in"}, "an output other than the input, got in/c.png for both"),
        (
            ["in/a.jpg", "in/c.png"],
            {"output": "in", "formats": ("png",)},
            "other than the input, got in/c.png for both",
        ),
        (["in/a.jpg"], {"output": "nowhere/m.json"}, "an existing folder to write 'm.json' into, got nowhere"),
        (
            ["in/a.jpg"],
            {"output": "m.json", "formats": ("png",)},
            "a label image whose name ends in .png, got 'm.json'",
        ),
        (["in/a.jpg"], {"output": "in/a.jpg"}, "an output other than the input"),
        (["in/a.jpg"], {"output": "m.json", "overlay": "m.json"}, "an overlay whose name ends in .png"),
        (["in/a.jpg"], {"output": "m.png", "overlay": "m.png"}, "different files for the masks and the overlay"),
        (["in/a.jpg"], {"output": "in/../in/a.jpg/"}, "expected a folder to write into"),
        (["in"], {"output": "x" * 300}, "expected a folder to write into"),
    ],
)
def test_what_is_refused(place, sources, settings, words):
    """Kills: an output over an input."""
    touch("in/a.jpg", "in/b.jpg", "in/c.png", "texts/a.doc", "file", "out/a.json")
    os.mkdir("empty")
    with pytest.raises(InputError, match=words):
        planned(*sources, **settings)
