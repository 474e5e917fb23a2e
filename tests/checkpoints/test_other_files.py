"""Files that are no checkpoints: what they are, and what to do, in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

import minisam
from minisam.checkpoints.checkpoint import fit_state, read_checkpoint, to_hugging_face
from minisam.sam import random_state
from refusals import refusal
from small_models import SMALL

MUTANTS = {
    "a web page is a checkpoint": ("minisam/checkpoints/other_files.py", "if _WEB.match(start):", "if 0:"),
    "what a name promises": (
        "minisam/checkpoints/checkpoint.py",
        "other = what_it_is(path, start)",
        'other = "" if path.suffix == ".safetensors" else what_it_is(path, start)',
    ),
}

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(3)}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 375042383\n"


def saved():
    import io

    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


def older(path):
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


def tar(path):
    path.with_suffix(".x").write_bytes(saved())
    with tarfile.open(path, "w") as new:
        new.add(path.with_suffix(".x"), "w.pth")


def npz(path):
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))


def archive(path, **entries):
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name.replace("__", "/").replace("_DOT_", "."), content)


FILES = {
    "torch before 1.6": (older, "torch.save(torch.load(old, weights_only=True), new)"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"a": np.zeros(3)})), "bare pickle"),
    "a pickle of protocol 2": (lambda path: path.write_bytes(pickle.dumps({"a": [1]}, 2)), "bare pickle"),
    "a pickle of protocol 0": (lambda path: path.write_bytes(pickle.dumps({"a": [1]}, 0)), "bare pickle"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(saved())), "gzip packed: unpack"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(saved())), "bzip2 packed: unpack"),
    "xz": (lambda path: path.write_bytes(lzma.compress(saved())), "xz packed: unpack"),
    "tar": (tar, "tar archive"),
    "a pointer": (lambda path: path.write_text(POINTER), "git lfs pull"),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html>\n<html><head>"), "a web page"),
    "a web page with a mark": (lambda path: path.write_text("\ufeff\n\n  <HTML lang=en>"), "a web page"),
    "an error in XML": (lambda path: path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied'), "a web page"),
    "an error in JSON": (lambda path: path.write_text('{"error": "Repository not found"}'), "JSON|header"),
    "a text": (lambda path: path.write_text("Entry not found"), "neither|header"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "nothing but zeros"),
    "nothing": (lambda path: path.touch(), "empty"),
    "one byte": (lambda path: path.write_bytes(b"P"), "neither|header"),
    "an image": (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), "an image"),
    "a JPEG": (lambda path: Image.new("RGB", (9, 9)).save(path, "JPEG"), "an image"),
    "npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(200)), "NumPy array"),
    "npz": (npz, "NumPy arrays"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600)), "HDF5"),
    "GGUF": (lambda path: path.write_bytes(b"GGUF" + bytes(600)), "GGUF"),
    "a packed checkpoint": (lambda path: archive(path, folder__w_DOT_pth=saved()), "folder/w.pth: unpack it"),
    "a zip archive": (lambda path: archive(path, readme="x", more="y"), "none but readme, more"),
    "an empty zip archive": (lambda path: archive(path), "neither|header"),
    "TorchScript": (lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(path), "TorchScript"),
    "the first half": (lambda path: path.write_bytes(saved()[: len(saved()) // 2]), "did not finish"),
    "all but the end": (lambda path: path.write_bytes(saved()[:-30]), "did not finish"),
    "the first bytes": (lambda path: path.write_bytes(saved()[:5]), "did not finish"),
    "a folder": (lambda path: path.mkdir(), "model.safetensors"),
    "no file": (lambda path: None, "does not exist"),
    "a broken link": (lambda path: path.symlink_to("nowhere.bin"), "a link to nowhere.bin, which does not exist"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("ending", ["pth", "safetensors", "bin"])
@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_is(tmp_path, kind, ending):
    """Whatever the file's name ends with. Kills: a web page is a checkpoint, what a name promises."""
    make, words = FILES[kind]
    path = tmp_path / f"w.{ending}"
    make(path)
    for read in (read_checkpoint, minisam.load, lambda path: minisam.load("tiny", checkpoint=str(path))):
        text = refusal(read, path)
        assert any(word in text for word in words.split("|")) and "w." in text


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.99])
def test_a_download_that_did_not_finish(tmp_path, cut):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(1000, np.float32)}, path)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    assert "w.safetensors" in refusal(read_checkpoint, path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("vit-b", "tiny, vit_b"), ("huge", "tiny, vit_b"), ("", "tiny, vit_b"), ("TINY", "tiny, vit_b"),
     ("sam_vit_b_01ec64.pth", "sam_vit_b_01ec64.pth, which does not exist"), ("x" * 5000, "xxx"), ("a\0b", "a"),
     ("folder/none.safetensors", "does not exist"), ("vit_b", "whose weights do not come with minisam"), (7, "7"),
     ("x" * 5000 + ".pth", "xxx"), ("~/w.pth", "does not exist"), (None, "None"), ("two\nlines", "two")],
)  # fmt: skip
def test_names_that_are_no_models(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    assert words in refusal(minisam.load, name)


def test_a_folder_names_what_it_holds(tmp_path):
    for name in ("b.pth", "a.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    assert "none of them but a.safetensors, b.pth" in refusal(read_checkpoint, tmp_path)


def hugging_face(folder, index):
    folder.mkdir()
    state = to_hugging_face(random_state(SMALL, seed=2))
    names = sorted(state)
    for file, some in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({name: np.ascontiguousarray(state[name]) for name in some}, folder / file)
    (folder / "model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    return folder


def test_folders_of_several_files(tmp_path):
    folder = hugging_face(tmp_path / "whole", {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})
    fitted = fit_state(SMALL, read_checkpoint(folder))
    for name, value in random_state(SMALL, seed=2).items():
        np.testing.assert_array_equal(fitted[name], value)
    (folder / "b.safetensors").write_text(POINTER)
    assert "b.safetensors" in refusal(read_checkpoint, folder) and "git lfs pull" in refusal(read_checkpoint, folder)
    os.remove(folder / "b.safetensors")
    assert "'b.safetensors'" in refusal(read_checkpoint, folder)


@pytest.mark.parametrize(
    "index",
    ["", "{", "[]", "7", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": ["x"]}}',
     '{"weight_map": {"a": "../a.safetensors"}}', '{"weight_map": {"a": "/etc/passwd"}}', '{"weight_map": {"a": ".."}}',
     '{"weight_map": {"a": ""}}', '{"weight_map": {"a": "' + "x" * 5000 + '"}}', "[" * 100_000, " " * 2_000_000,
     '{"weight_map": null}', "\ufeff{}", '{"weight_map": {}}'],
)  # fmt: skip
def test_bad_indices_of_folders(tmp_path, index):
    refusal(minisam.load, hugging_face(tmp_path / "bad", index))
