"""``minisam bench --device``: the work is the same in every form, and the report says what was measured, no more.

A GPU's clock and memory are imitated; its arithmetic is that of the CPU. Each test names the wrong versions it kills.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import refused, run
from minisam.benchmark import device_report, device_speed, report
from minisam.reference import automatic
from minisam.sam import build
from minisam.verify import device as devices
from parity_reports import made
from small_models import TWO_BLOCKS
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "bfloat16 that was never set": (
        "minisam/benchmark/device_speed.py",
        "devices.place(model, device, dtype)",
        "dtype = torch.float32",
    ),
    "rows and columns exchanged": (
        "minisam/benchmark/device_speed.py",
        "automatic.mask_to_box(masks)",
        "automatic.mask_to_box(masks)[:, [1, 0, 3, 2]]",
    ),
    "mask 0 among them": ("minisam/benchmark/device_speed.py", "logits[:, 1:].float()", "logits[:, :3].float()"),
    "duplicates kept": ("minisam/benchmark/device_speed.py", ".numpy(), 0.7)", ".numpy(), 1.0)"),
    "a clock stopped before the work is done": (
        "minisam/benchmark/device_speed.py",
        """        call()
        devices.synchronise(device)
""",
        """        call()
""",
    ),
    "memory of earlier work": (
        "minisam/benchmark/device_speed.py",
        "torch.cuda.reset_peak_memory_stats(device)",
        "pass",
    ),
    "a first call that counts": ("minisam/benchmark/device_speed.py", "seconds: list[float] = []", "seconds = [first]"),
    "a full card that ends the run": (
        "minisam/benchmark/device_speed.py",
        "except torch.cuda.OutOfMemoryError:",
        """except torch.cuda.OutOfMemoryError:
        raise
    except ZeroDivisionError:""",
    ),
    "a file that is written at the end alone": (
        "minisam/benchmark/device_speed.py",
        """                    keep(figures)
""",
        "",
    ),
    "a choice of parts and precisions that is not kept to": (
        "minisam/benchmark/device_speed.py",
        "sorted(plan.precisions or PRECISIONS,",
        "sorted(PRECISIONS,",
    ),
    "an error from something else than eager float32": (
        "minisam/benchmark/device_speed.py",
        '(precision, form) == ("float32", "eager")',
        'form == "eager"',
    ),
    "a time of the whole batch": (
        "minisam/benchmark/device_report.py",
        'row["median"] / per(row), baseline',
        'row["median"], baseline',
    ),
    "a gain over another batch's time": (
        "minisam/benchmark/device_report.py",
        'find(report, row["part"], row["number"], "float32")',
        'find(report, row["part"], 4, "float32")',
    ),
}


@pytest.mark.slow
def test_bench_on_a_device(tmp_path, monkeypatch, capsys):
    """The whole command. What is timed gives what eager float32 gives. Kills: a form that times another form's work, a
    stale compiled step, bfloat16 that was never set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minisam.console.shallow", lambda config, depth: TWO_BLOCKS)
    monkeypatch.setattr(
        device_speed, "PRECISIONS", {name: device_speed.PRECISIONS[name] for name in ("bfloat16", "float32")}
    )
    Path("all").mkdir()
    code, out, _ = run(capsys, "bench", "--device", "cpu", "--depth", "2", "--quick", "--report", "all", "--json", "f")
    assert code == 0 and "A quick run of small work" in out
    data = json.loads(Path("f").read_text())
    assert json.loads(Path("all/tiny.json").read_text()) == data and data["device"]["type"] == "cpu"
    assert data["command"] == "minisam bench --model tiny --quick --device cpu --depth 2" and not data["cut_short"]
    assert Path("all/README.md").read_text() == device_report.page([data])
    assert set(data["ceilings"]) == {"float32", "bfloat16", "copy"} and min(data["ceilings"].values()) > 0
    for row in data["rows"]:
        assert len(row["seconds"]) == 2 and row["peak_bytes"] is None, row
        if row["part"] == "everything":
            continue
        assert row["operations"] > 0 and row["bytes"] > 0
        if row["precision"] == "bfloat16":
            assert 1e-4 < row["error"] < 0.1, row
        else:
            assert row["error"] < 1e-5 and (row["form"] != "eager" or row["error"] == 0), row
    rows = [(row["part"], row["precision"], row["form"]) for row in data["rows"]]
    decoder = [("decoder", p, f) for p in ("float32", "bfloat16") for f in ("eager", "compiled")]
    forms = [form for form in device_speed.FORMS if form != "tiled"]  # a GPU's
    both = [(part, p, f) for part in ("encoder", "everything") for p in ("float32", "bfloat16") for f in forms]
    assert sorted(rows) == sorted(decoder + both)
    Path("all/README.md").unlink()
    assert run(capsys, "bench", "--device", "cpu", "--redraw", "--report", "all")[0] == 0
    assert Path("all/README.md").read_text() == device_report.page([data])


def test_bench_refuses_what_a_device_has_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for more in (["--peers"], ["--scaling"], ["--profile"], ["--full"], ["--threads", "1"]):
        assert f"expected --device or {more[0]}, got both" in refused(capsys, "bench", "--device", "cpu", *more)
    assert "expected --depth only with --device" in refused(capsys, "bench", "--depth", "1")
    assert "expected --precision only with --device" in refused(capsys, "bench", "--precision", "int8")
    assert "expected --form only with --device" in refused(capsys, "bench", "--form", "eager")
    assert "expected a --form with rows of" in refused(capsys, "bench", "--device", "cpu", "--form", "tiled")
    assert "rows of decoder on cpu, got fast" in refused(
        capsys, "bench", "--device", "cpu", "--form", "fast", "--only", "prompts"
    )
    assert "eager, fast, compiled, flex, tiled" in refused(capsys, "bench", "--device", "cpu", "--form", "lazy")
    assert "--report FOLDER with --redraw" in refused(capsys, "bench", "--device", "cpu", "--redraw")
    assert "existing folder" in refused(capsys, "bench", "--device", "cpu", "--report", "no")
    Path("other.json").write_text('{"schema": 1}')
    assert "got other.json" in refused(capsys, "bench", "--device", "cpu", "--report", ".")


@given(seeds, st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=5)
@torch.no_grad()
def test_everything_is_the_plain_generators(seed, grid, together):
    """The same masks, boxes and scores as ``straightforward`` without filters. Kills: rows and columns exchanged, mask
    0 among them, duplicates kept."""
    model = devices.load(build(TWO_BLOCKS, seed % 100), torch.device("cpu"), torch.float32)
    image = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    plan = dataclasses.replace(device_speed.QUICK, grid=grid, points=together)
    encode, decode = device_speed.parts(model, "eager", "eager")
    masks, boxes, iou, stability = device_speed.everything(model, encode, decode, torch.from_numpy(image), plan)
    records = automatic.straightforward(model, image, grid, 64, 0.0, 0.0)
    assert [mask.sum() for mask in masks] == [record["area"] for record in records]
    assert [automatic.xywh(box) for box in boxes] == [record["bbox"] for record in records]
    np.testing.assert_allclose(iou, [record["predicted_iou"] for record in records], rtol=1e-4)
    np.testing.assert_allclose(stability, [record["stability_score"] for record in records], rtol=1e-6)


def test_a_gpus_time_and_memory(monkeypatch):
    """A GPU imitated. Kills: a clock stopped before the work is done, memory of earlier work, a first call that
    counts, a full card that ends the run."""
    log: list[str] = []
    for name in ("empty_cache", "reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda *device, name=name: log.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5e9, 8e9))
    timing = device_speed.time_of(lambda: log.append("work"), torch.device("cuda"), 3, 60.0)
    once = ["synchronize", "work", "synchronize"]
    assert log == ["empty_cache", *once, *once, "reset_peak_memory_stats", *once, *once, *once]
    assert len(timing["seconds"]) == 3 and timing["peak_bytes"] == 123

    def full():
        raise torch.cuda.OutOfMemoryError("no room")

    assert "5.0 GB" in device_speed.time_of(full, torch.device("cuda"), 3, 60.0)["failed"]

    def broken(words):
        raise RuntimeError(f"{words}\nand more")

    failed = device_speed.time_of(lambda: broken("no kernel"), torch.device("cuda"), 3, 60.0)["failed"]
    assert failed == "not run: RuntimeError: no kernel and more"
    with pytest.raises(RuntimeError, match="illegal memory access"):  # nothing after it could be believed
        device_speed.time_of(lambda: broken("an illegal memory access"), torch.device("cuda"), 3, 60.0)
    slow = device_speed.time_of(lambda: None, torch.device("cpu"), 9, 0.0)
    assert len(slow["seconds"]) == 2, "out of time: two rounds and no more"


def test_the_tiled_form_is_for_a_gpu_with_triton(monkeypatch):
    cuda, plan = torch.device("cuda"), device_speed.Plan()
    for spec in (None, object()):
        monkeypatch.setattr(device_speed, "find_spec", lambda name, spec=spec: spec)
        assert ("tiled" in device_speed.forms(plan, cuda, torch.float16)) == (spec is not None)
        assert "tiled" not in device_speed.forms(plan, cuda, torch.float32) + device_speed.forms(
            plan, torch.device("cpu"), torch.half
        )
    assert device_speed.forms(dataclasses.replace(plan, forms=("eager",)), cuda, torch.half) == ["eager"]


def test_work_that_does_not_fit_is_not_begun(monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda device: 0.0)
    monkeypatch.setattr(device_speed, "PRECISIONS", {"float32": device_speed.PRECISIONS["float32"]})
    monkeypatch.setattr(device_speed, "FORMS", ("eager",))
    data = device_speed.measure(build(TWO_BLOCKS), torch.device("cpu"), device_speed.QUICK, lambda text: None)
    assert [row["part"] for row in data["rows"]] == ["encoder", "decoder", "everything"]
    assert all(row["failed"].startswith("not run: expected to need") for row in data["rows"])


def test_a_run_that_is_cut_short_keeps_its_rows(tmp_path, monkeypatch, capsys):
    """Kills: a file that is written at the end alone; a choice of parts and precisions that is not kept to; an error
    from something else than eager float32."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minisam.console.shallow", lambda config, depth: TWO_BLOCKS)
    work, begun = device_speed.work, []

    def some(model, form, dtype, plan):
        for item in work(model, form, dtype, plan):
            begun.append(form)
            if len(begun) == 4:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(device_speed, "work", some)
    wanted = ["bench", "--device", "cpu", "--depth", "2", "--quick", "--precision", "bfloat16", "--only", "encode"]
    code, _, err = run(capsys, *wanted, "--json", "f")
    assert code == 130 and "encoder 2: bfloat16, eager" in err
    data = json.loads(Path("f").read_text())
    assert data["command"].endswith("--only encode --precision bfloat16 --device cpu --depth 2")
    rows = [(row["part"], row["precision"], row["form"]) for row in data["rows"]]
    assert rows == [("encoder", "bfloat16", form) for form in device_speed.FORMS[:3]]
    assert not any("error" in row for row in data["rows"])
    assert data["cut_short"] and "The run was ended" in device_report.page([data])
    assert "--only among encode, prompts, everything" in refused(capsys, *wanted, "--only", "starts")
    assert "--precision among float32, bfloat16, tf32, float16 with --device, got int8" in refused(
        capsys, *wanted, "--precision", "int8"
    )


def timed_rows(times: dict[tuple[str, int, str, str], float | None]) -> report.Report:
    """A report of ViT-H on a card that is not there; None: did not fit."""
    rows = []
    for (part, number, precision, form), value in times.items():
        row = {"part": part, "number": number, "precision": precision, "form": form}
        if value is None:
            rows.append(row | {"failed": "too large"})
            continue
        counts = {"operations": 2e12, "bytes": 1e11} if part != "everything" else {}
        rows.append(row | counts | {"median": value, "first_call": 9.0, "peak_bytes": 4e9, "error": 0.01})
    made_up = made("vit_h", "float32")
    made_up["model"]["encoder_depth"] = 32
    made_up["device"] = {"type": "cuda", "name": "A card", "memory_gb": 80.0, "cuda": "12", "torch": "2"}
    del made_up["lines"], made_up["dtype"]
    ceilings = {"float32": 5e13, "bfloat16": 8e14, "copy": 2e12}
    return made_up | {"schema": device_report.SCHEMA, "quick": False, "ceilings": ceilings, "rows": rows}


def test_gains_and_shares_by_hand():
    """Kills: a time of the whole batch, a gain over another batch's time, a gain without a time to compare with."""
    data = timed_rows(
        {
            ("encoder", 8, "float32", "eager"): 0.8,
            ("encoder", 4, "float32", "eager"): 0.1,
            ("encoder", 8, "bfloat16", "fast"): 0.4,
            ("encoder", 8, "bfloat16", "compiled"): 0.08,
            ("decoder", 64, "bfloat16", "eager"): 0.128,
        }
    )
    assert device_report.shares(data, data["rows"][3]) == pytest.approx((2e12 / 0.08 / 8e14, 1e11 / 0.08 / 2e12))
    page = device_report.page([data])
    assert "| 8, bfloat16, compiled | 10 ms | 100 | 10.00× | 3% | 62% | 4.00 GB | 0.01 | 9 s |" in page
    assert "torch on A card" in page and "A card, 80.0 GB, CUDA 12" in page
    assert "| 64, bfloat16, eager | 2 ms | 500 | – |" in page


keys = st.tuples(
    st.sampled_from(list(device_report.EACH)),
    st.sampled_from([1, 8, 64]),
    st.sampled_from(list(device_speed.PRECISIONS)),
    st.sampled_from(device_speed.FORMS),
)


@given(st.dictionaries(keys, st.none() | st.floats(1e-5, 1e3), max_size=8))
def test_any_rows_make_a_page(times):
    """Whatever did not fit or was not run, also the baseline: each row is on the page, and nothing is made up."""
    data = timed_rows(times)
    page = device_report.page([data])
    assert page.count("too large") == sum(value is None for value in times.values())
    for (part, number, precision, form), value in times.items():
        assert f"| {number}, {precision}, {form} | " in page
        base = times.get((part, number, "float32", "eager"))
        if value is not None and base is not None:
            assert f"{base / value:.2f}×" in page
