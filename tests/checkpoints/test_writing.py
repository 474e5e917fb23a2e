"""Files of weights as they are written: the right numbers, equal bytes for equal content, a full disk in one line."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

from minisam.checkpoints import safetensors_file
from minisam.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from minisam.checkpoints.safetensors_file import DTYPES, read_safetensors, write_safetensors
from minisam.sam import random_state
from minisam_kernels import InputError
from small_models import SMALL

MUTANTS = {
    "numbers in memory's order": (
        "minisam/checkpoints/safetensors_file.py",
        'np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<")).data',
        'arrays[name].ravel("K").data',
    ),
    "metadata in the order given": (
        "minisam/checkpoints/safetensors_file.py",
        "dict(sorted(metadata.items()))",
        "dict(metadata)",
    ),
    "arrays in the order given": (
        "minisam/checkpoints/safetensors_file.py",
        "order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))",
        "order = list(arrays)",
    ),
}

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
LAYOUTS = {
    "C": A,
    "transposed": A.T,
    "Fortran": np.asfortranarray(A),
    "every other": A[:, ::2, ::3],
    "backwards": A[::-1, :, ::-1],
    "broadcast": np.broadcast_to(A[0], (5, 3, 4)),
    "a column": A[..., 1],
    "swapped": A.swapaxes(0, 1),
    "read-only": np.frombuffer(A.tobytes(), np.float32),
    "unaligned": np.frombuffer(b"x" + A.tobytes(), np.uint8)[1:].view(np.float32),
    "big-endian": A.astype(">f4"),
    "one number": np.float32(3).reshape(()),
    "empty": A[:0],
    "empty, transposed": np.zeros((0, 3)).T,
}


def content(path):
    """What the format's own library reads."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(tmp_path, layout):
    """What is read is what was there, by our reader and by the library's. Kills: numbers in memory's order."""
    array = LAYOUTS[layout]
    write_safetensors(tmp_path / "w.safetensors", {"a": array, "b": A}, {"note": "é"})
    arrays, metadata = content(tmp_path / "w.safetensors")
    own, own_metadata = read_safetensors(tmp_path / "w.safetensors")
    assert metadata == own_metadata == {"note": "é"}
    for read in (arrays, own):
        np.testing.assert_array_equal(read["a"], array)
        np.testing.assert_array_equal(read["b"], A)
        assert read["a"].dtype == array.dtype.newbyteorder("=") and read["a"].shape == array.shape


@pytest.mark.parametrize("dtype", [dtype for name, dtype in DTYPES.items() if name != "BF16"])
def test_any_type(tmp_path, dtype):
    array = np.array([[0, 1, 2], [3, 4, 100]]).astype(dtype).T
    write_safetensors(tmp_path / "w.safetensors", {"a": array})
    read, metadata = content(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(read["a"], array)
    assert read["a"].dtype == dtype and not metadata


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, complex), np.zeros(2, "M8[s]")])
def test_what_is_no_number_is_refused(tmp_path, array):
    with pytest.raises(InputError, match=r"expected numbers of type F64, .* as a, got"):
        write_safetensors(tmp_path / "w.safetensors", {"a": array})
    assert not os.listdir(tmp_path)


def test_equal_content_makes_equal_bytes(tmp_path):
    """Whatever the order of arrays and metadata, and in another process. Kills: metadata in the order given, arrays
    in the order given."""
    state = {
        f"{kind}{i}": np.full(i + 1, i, dtype)
        for kind, dtype in (("a", "f4"), ("b", "f8"), ("c", "u1"))
        for i in range(5)
    }
    notes = {key: key * 3 for key in "zyxabc"}
    write_safetensors(tmp_path / "1", state, notes)
    write_safetensors(tmp_path / "2", dict(reversed(state.items())), dict(reversed(notes.items())))
    write_safetensors(tmp_path / "3", {name: np.asfortranarray(value) for name, value in state.items()}, notes)
    program = "import sys; from minisam.checkpoints.safetensors_file import *\n"
    program += "arrays, notes = read_safetensors(Path(sys.argv[1])); write_safetensors(sys.argv[2], arrays, notes)"
    subprocess.run([sys.executable, "-c", program, tmp_path / "1", tmp_path / "4"], check=True)
    assert len({(tmp_path / name).read_bytes() for name in "1234"}) == 1
    assert content(tmp_path / "1")[1] == notes
    header = json.loads((tmp_path / "1").read_bytes()[8:].split(b"}}")[0] + b"}}")
    starts = [header[name]["data_offsets"][0] % state[name].itemsize for name in state]
    assert not any(starts) and int.from_bytes((tmp_path / "1").read_bytes()[:8], "little") % 8 == 0


def test_models_are_written_alike(tmp_path):
    state = random_state(SMALL, seed=1)
    notes = {key: key for key in ("settings", "step", "holds", "model")}
    save_checkpoint(tmp_path / "1.safetensors", state, SMALL, notes)
    turned = {name: np.asfortranarray(value) for name, value in reversed(state.items())}
    save_checkpoint(tmp_path / "2.safetensors", turned, SMALL, dict(reversed(notes.items())))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    assert (tmp_path / "1.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask()
    read = read_checkpoint(tmp_path / "2.safetensors")
    for name, value in state.items():
        np.testing.assert_array_equal(read[name], value)


def umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


class Full:
    """A file on a disk without room."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_users_file(tmp_path, monkeypatch):
    """The old file stays, nothing else is left."""
    path = tmp_path / "w.safetensors"
    state = random_state(SMALL)
    save_checkpoint(path, state, SMALL)
    old = path.read_bytes()
    monkeypatch.setattr(safetensors_file, "open", lambda *arguments: Full(open(*arguments)), raising=False)  # noqa: SIM115
    with pytest.raises(InputError) as error:
        save_checkpoint(path, random_state(SMALL, seed=2), SMALL)
    assert str(error.value) == f"expected to be able to write {path}, got: No space left on device"
    assert path.read_bytes() == old and os.listdir(tmp_path) == [path.name]


def test_weights_are_saved_over_their_own_file(tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a": A})
    arrays = read_checkpoint(path)
    write_safetensors(path, {name: array + 1 for name, array in arrays.items()})
    np.testing.assert_array_equal(arrays["a"], A)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], A + 1)


def test_a_model_that_is_not_finite_is_not_written(tmp_path):
    state = random_state(SMALL)
    state["image_encoder.pos_embed"] = np.full_like(state["image_encoder.pos_embed"], np.nan)
    with pytest.raises(InputError, match="NaN or infinity"):
        save_checkpoint(tmp_path / "w.safetensors", state, SMALL)
    assert not os.listdir(tmp_path)
