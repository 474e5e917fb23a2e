"""What opening a file may cost: a second, and three times its size in memory, or it is refused with the reason.

The files are made of harmless parts, too many of them.
"""

from __future__ import annotations

import gc
import json
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from minisam.checkpoints.checkpoint import read_checkpoint
from minisam.checkpoints.pickle_program import MAX_INSTRUCTIONS
from minisam_kernels import InputError

MUTANTS = {
    "as many objects as it likes": ("minisam/checkpoints/pickle_program.py", "if objects > most:", "if objects > 1e9:"),
    "a table of entries of any size": (
        "minisam/checkpoints/torch_file.py",
        "if size and size > MAX_DIRECTORY:",
        "if size and size < 0:",
    ),
    "inflates whatever comes": (
        "minisam/checkpoints/torch_file.py",
        'self.spend(info.file_size, "inflated")',
        "pass",
    ),
    "a long header": ("minisam/checkpoints/safetensors_file.py", "if length > limit:", "if length > 10**9:"),
    "names in full": ("minisam/checkpoints/names.py", "if len(text) <= 160", "if True"),
}

SPARE = 64 << 20  # bytes of memory that the smallest file may cost: the interpreter's objects, an inflated model
MANY = 400_000


def archive(path, program, entries=(), method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as new:
        new.writestr("archive/data.pkl", program)
        for name, content in entries:
            new.writestr(f"archive/{name}", content)


def safetensors(path, header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def entry(shape=(0,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}


def shared_storage(count, storage, numbers, compressed=False):
    """A pickle of ``count`` tensors, each the whole of one storage that the archive has under a name of its own."""

    def make(path):
        text = lambda t: b"X" + struct.pack("<I", len(t)) + t.encode()  # noqa: E731
        program = [b"\x80\x02}("]
        for i in range(count):
            reference = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(str(i)) + text("cpu")
            reference += b"J" + struct.pack("<i", numbers) + b"tQ"
            call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + b"K\x00J" + struct.pack("<i", numbers)
            program.append(text(f"w{i}.weight") + call + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR")
        entries = [(f"data/{i}", bytes(numbers * 2)) for i in range(count)]
        archive(path, b"".join([*program, b"u."]), entries, zipfile.ZIP_DEFLATED if compressed else 0)

    return make


PICKLES = {
    "dicts": b"}" * MANY,
    "lists": b"]" * MANY,
    "nothings": b"N" * MANY,
    "marks": b"(" * MANY,
    "memo": b"}" + b"\x94" * MANY,
    "numbers": b"K\x01" * MANY,
    "floats": b"G12345678" * MANY,
    "texts": b"U\x02ab" * MANY,
    "names": b"ca\nb\n" * MANY,
    "calls": b"ca\nb\n" + b")R" * MANY,
    "sets": b"\x8f" * MANY,
    "copies": b"}" + b"2" * MANY,
    "extensions": b"\x82\x01" * MANY,
    "tuples in tuples": b")" + b"\x85" * MANY,
    "twice the last": b")" + b"2\x86" * MANY,
    "tuples in tuples, below the limits": b")" + b"\x85" * 100_000,
    "twice the last, below the limits": b")" + b"2\x86" * 60_000,
    "dicts in dicts, below the limits": b"}U\x01a" * 30_000 + b"}" + b"s" * 30_000,
    "a dict in itself": b"}q\x00U\x01ah\x00s",
    "a list in itself": b"]q\x00h\x00a",
    "frames": (b"\x95" + bytes(8)) * MANY,
    "a long text": b"X" + struct.pack("<I", 20_000_000) + b"a" * 20_000_000,
    "a wide text": b"X" + struct.pack("<I", 20_000_004) + "🦔".encode() + b"a" * 20_000_000,
    "a long number": b"\x8b" + struct.pack("<I", 20_000_000) + b"\x01" * 20_000_000,
    "a long line": b"I" + b"1" * 20_000_000 + b"\n",
    "a long name": b"c" + b"a" * 20_000_000 + b"\nb\n",
    "a length past the end": b"X\xff\xff\xff\xff",
    "a length of 64 bits": b"\x8e" + b"\xff" * 8,
    "a tall memo": b"}r\xff\xff\xff\x7f",
}
MAKERS = {
    name: (lambda path, program=program: archive(path, b"\x80\x02" + program + b"."))
    for name, program in PICKLES.items()
}
MAKERS |= {
    "a deflated pickle": lambda path: archive(path, b"N" * 40_000_000 + b".", method=zipfile.ZIP_DEFLATED),
    "a bzip2 entry": lambda path: archive(path, b"}.", method=zipfile.ZIP_BZIP2),
    "many entries": lambda path: archive(path, b"}.", [(f"data/{i}", b"") for i in range(20_000)]),
    "entries below the limit": lambda path: archive(path, b"}.", [(f"data/{i}", b"") for i in range(12_000)]),
    "a deflated storage": shared_storage(1, "HalfStorage", 20_000_000, True),
    "deflated storages": shared_storage(40, "HalfStorage", 1_000_000, True),
    "deflated bfloat16": shared_storage(20, "BFloat16Storage", 1_000_000, True),
    "bfloat16": shared_storage(3, "BFloat16Storage", 10_000_000),
    "many tensors": shared_storage(3000, "HalfStorage", 1),
}
HEADERS = {
    "a long header": b"{" + b" " * 20_000_000 + b"}",
    "lists": b'{"a":[' + b"[]," * 300_000 + b"[]]}",
    "dicts": b'{"a":[' + b"{}," * 300_000 + b"{}]}",
    "texts": b'{"a":[' + b'"ab",' * 200_000 + b'""]}',
    "lists in lists": b'{"a":' + b"[" * 900_000,
    "dicts in dicts": b'{"a":' * 200_000,
    "tensors": {str(i): entry() for i in range(15_000)},
    "a long name": {"a" * 1_000_000: entry(dtype="F3")},
    "a long type": {"a": entry(dtype="F" * 1_000_000)},
    "a long text": {"__metadata__": {"a": "b" * 1_000_000}},
    "a long shape": {"a": entry([0] * 300_000)},
    "numbers of 4000 digits": b'{"a":{"dtype":"F32","shape":[' + b"9" * 4000 + b'],"data_offsets":[0,0]}}',
    "numbers of 10000 digits": b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,0]}}',
    "a product beyond 64 bits": {"a": entry([2**40] * 30)},
    "a product of 0 beyond 64 bits": {"a": entry([0] + [2**62] * 30)},
    "NaN": b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}',
    "infinity": b'{"__metadata__":{"a":Infinity}}',
    "floats": b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}',
    "the same name": b'{"a":1,' + b'"a":1,' * 100_000 + b'"a":1}',
}
MAKERS |= {
    f"header: {name}": (lambda path, header=header: safetensors(path, header)) for name, header in HEADERS.items()
}


REASONS = {  # why a file is refused → such files
    "objects in data.pkl": (
        "dicts",
        "lists",
        "memo",
        "texts",
        "names",
        "extensions",
        "tuples in tuples",
    ),
    "instructions in data.pkl": ("nothings", "marks", "numbers", "floats", "sets", "copies", "calls", "frames"),
    "a table of entries of at most": ("many entries",),
    "bytes inflated": ("a deflated pickle", "a deflated storage", "deflated storages"),
    "bytes widened": ("deflated bfloat16",),
    "entries stored or deflated": ("a bzip2 entry",),
    "a header of at most": ("header: a long header",),
}
REASON = {kind: reason for reason, kinds in REASONS.items() for kind in kinds}


@pytest.mark.parametrize("kind", MAKERS)
def test_opening_costs_little(tmp_path, kind):
    """Kills: as many objects as it likes, a table of entries of any size, inflates whatever comes, a long header,
    names in full."""
    path = tmp_path / ("w.safetensors" if kind.startswith("header") else "w.pth")
    MAKERS[kind](path)
    gc.collect()
    before, start = reset_peak(), time.process_time()
    answer = read_or_refuse(path)
    seconds, peak = time.process_time() - start, resident("VmHWM") - before
    assert seconds < 1.5 and peak < 3 * path.stat().st_size + SPARE
    assert kind not in REASON or REASON[kind] in answer
    assert isinstance(answer, dict) or (len(answer) < 700 and "\n" not in answer and answer.startswith("expected"))


def resident(which):
    """Bytes of memory in use ("VmRSS"), or at most in use ("VmHWM"), as Linux counts them; elsewhere 0."""
    if not sys.platform.startswith("linux"):
        return 0
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(which))


def reset_peak():
    if sys.platform.startswith("linux"):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    return resident("VmRSS")


def read_or_refuse(path):
    try:
        return read_checkpoint(path)
    except InputError as error:
        return str(error)


def test_a_training_of_the_largest_model_is_below_the_limits(tmp_path):
    """ViT-H with its average and the optimiser's two moments and step, each tensor one number."""
    import minisam

    names = list(minisam.CONFIGS["vit_h"].shapes())
    state = {name: torch.zeros(1) for name in names}
    moments = {i: {key: torch.zeros(1) for key in ("exp_avg", "exp_avg_sq", "step")} for i in range(len(names))}
    average = {name: torch.zeros(1) for name in names}
    optimiser = {"state": moments, "param_groups": [{"lr": 1.0, "params": list(range(len(names)))}]}
    torch.save({"model": state, "ema": average, "optimizer": optimiser}, tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth").keys() == state.keys()
    with zipfile.ZipFile(tmp_path / "w.pth") as opened:
        import pickletools

        count = sum(1 for _ in pickletools.genops(opened.read("w/data.pkl")))
    assert count < MAX_INSTRUCTIONS / 1.5


def test_a_long_history_beside_the_weights_is_read(tmp_path):
    history = {"loss": [0.1 * i for i in range(100_000)], "iou": [np.float32(i) for i in range(5000)]}
    torch.save({"model": {"a.weight": torch.ones(2)}, "history": history, "array": np.zeros(10**6)}, tmp_path / "w.pth")
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "w.pth")["a.weight"], [1, 1])


PROGRAM = """
import resource, sys
from minisam.checkpoints.checkpoint import read_checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
state = read_checkpoint(sys.argv[1])
total = sum(float(array.sum()) for array in state.values())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, total)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts kilobytes as Linux does")
def test_memory_with_an_optimiser_beside(tmp_path):
    """Of a file of 120 MB a sixth is the model, in bfloat16: what stands beside it is not touched."""
    state = {f"{i}.weight": torch.ones(1_000_000, dtype=torch.bfloat16) for i in range(10)}
    beside = {i: {"exp_avg": torch.zeros(5_000_000, dtype=torch.bfloat16)} for i in range(10)}
    torch.save({"model": state, "optimizer": {"state": beside}}, tmp_path / "w.pth")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "w.pth")]
    kilobytes, total = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert total == 1e7 and kilobytes < 40e3 + 20e3 + 20e3  # float32, the pages of bfloat16, the interpreter's own
