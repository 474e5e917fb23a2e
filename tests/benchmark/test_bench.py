"""``minisam bench``: the count of arithmetic, the ratios, the report, and one run of the whole command."""

from __future__ import annotations

import copy
import dataclasses
import getpass
import json
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minisam
from command_line import refused, run
from minisam.benchmark import contenders, flops, measure, plots, profile, report, workloads
from minisam.benchmark.worker import Worker, WorkerError, environment
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.reports import environment as machine
from minisam.reports import tables
from minisam.sam import build
from small_models import SMALL

ROOT = Path(minisam.__file__).parents[1]
PADDED = dataclasses.replace(SMALL, name="padded", window_size=5)  # 8 tokens a side: windows of 5 are padded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the weights of a very small model; commands run in it."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint("small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def bench(capsys, *arguments):
    return run(capsys, "bench", "--checkpoint", "small.safetensors", *arguments)


# ------------------------------------------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize("config", [SMALL, PADDED, minisam.CONFIGS["tiny"]], ids=lambda config: config.name)
def test_flops_are_what_torch_counts(config):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from minisam.reference import build as build_reference

    def counted(function, *arguments):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            function(*arguments)
        return counter.get_total_flops()

    with torch.device("meta"), torch.no_grad():
        model = build_reference(config)
        side = config.image_embedding_size
        image = torch.empty(1, config.image_size, config.image_size, 3)
        assert counted(model.image_encoder, image) == sum(flops.encoder(config, padded=True).values())
        embedding = torch.empty(1, side, side, config.prompt_embed_dim)
        for prompts, sparse in ((1, 2), (3, 5)):
            tokens = torch.empty(prompts, sparse, config.prompt_embed_dim)
            dense = torch.empty(1, 1, 1, config.prompt_embed_dim)
            arguments = (embedding, embedding[0], tokens, dense)
            assert counted(model.mask_decoder.predict_masks, *arguments) == sum(
                flops.decoder(config, prompts, sparse).values()
            )


def test_flops_by_hand():
    """ViT-B: what the issue of the size says, and that rows which fill windows up are the only difference."""
    c = minisam.CONFIGS["vit_b"]
    count = flops.encoder(c)
    assert count["mlp"] == 12 * 2 * 4096 * 768 * 3072 * 2
    assert sum(count.values()) / 1e9 == pytest.approx(940, rel=0.02)
    more = sum(flops.encoder(c, padded=True).values()) - sum(count.values())
    assert more == 8 * 2 * (70 * 70 - 64 * 64) * 768 * 4 * 768
    assert flops.decoder(c, 5, 2) == {name: 5 * value for name, value in flops.decoder(c, 1, 2).items()}


# ------------------------------------------------------------------------------------------------------ contenders


def test_contenders_give_the_same(folder, torch_at_one_thread):
    """What is timed is the same work: the same masks from the same weights. Contenders set torch's threads, which here
    are those of all tests."""
    pytest.importorskip("transformers")
    models = {
        name: contenders.contender(name)("small.safetensors", ".", 1)
        for name in ("minisam", "reference", "hugging_face")
    }
    logits = {name: contender.prepare("prompts", {"count": 3})() for name, contender in models.items()}
    expected = logits["reference"][0].numpy()
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(logits["minisam"][0], expected, atol=tolerance)
    np.testing.assert_allclose(logits["hugging_face"].pred_masks[0], expected, atol=tolerance)
    encoded = models["reference"].prepare("encode", {})().numpy()
    theirs = models["hugging_face"].prepare("encode", {})().movedim(1, -1).numpy()
    np.testing.assert_allclose(theirs, encoded, atol=1e-4 * np.abs(encoded).max())

    models["minisam"].prepare("setup", {"picture": 64})()
    options = {"points_per_side": 8, "picture": 64, "points_per_batch": 16, "pred_iou_thresh": 0.0}
    options |= {"stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    for every, points in ((1, 64), (2, 16)):
        ours = models["minisam"].prepare("everything", options | {"every": every})()
        theirs = models["reference"].prepare("everything", options | {"every": every})()
        assert len(ours) == len(theirs) == 3 * points


def test_subset_is_spread_evenly():
    (grid,) = contenders.subset({"points_per_side": 32}, 4)["point_grids"]
    assert grid.shape == (workloads.SUBSET, 2) and contenders.subset({"points_per_side": 32}, 1) == {}
    assert np.unique(grid[:, 0]).tolist() == [(i + 0.5) / 32 for i in range(2, 32, 4)]
    work = workloads.everything(32, 1024)
    assert work.peer_scale * workloads.SUBSET == 32 * 32 and "64 of 1024 points, times 16" in work.note
    full = workloads.everything(32, 1024, full=True)
    assert full.peer_scale == 1 and full.peer_options == {} and full.note == ""


# --------------------------------------------------------------------------------------------------------- workers


def stopped(worker):
    """Whether Linux calls the process stopped; the signal may take a moment."""
    for _ in range(200):
        if Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_is_stopped_between_turns(folder):
    with Worker("minisam", 1, weights="small.safetensors", folder=".") as worker:
        assert stopped(worker) and worker.loaded["versions"]["numpy"] == np.__version__
        worker.ask(do="prepare", kind="sgemm", options={"size": 16})
        assert worker.ask(do="run", times=3)["seconds"] > 0 and stopped(worker)
        assert worker.ask(do="peak") > 10e6
        with pytest.raises(WorkerError, match="no_such"):
            worker.ask(do="prepare", kind="no_such", options={})
        worker.process.kill()
        with pytest.raises(WorkerError, match="memory"):
            worker.ask(do="peak")
    assert worker.process.returncode is not None


def test_workers_forget_pins(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert "OPENBLAS_CORETYPE" not in environment(3, pinned=False)
    pinned = environment(3, pinned=True)
    assert pinned["OPENBLAS_CORETYPE"] == "Haswell"
    assert {pinned[name] for name in ("MINISAM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


def test_the_commit_of_a_copy(monkeypatch):
    """A copy without history, or with an older one, says where it comes from."""
    monkeypatch.setenv("MINISAM_COMMIT", "abc1234")
    assert machine.commit() == "abc1234" == machine.environment()["commit"]
    monkeypatch.delenv("MINISAM_COMMIT")
    monkeypatch.setenv("PATH", "")  # no git
    assert machine.commit() == ""


def test_a_contender_that_fails_does_not_end_the_run(folder, monkeypatch):
    runner = measure.Runner(SMALL, {"weights": "none", "folder": "."}, 1, 2, 5, lambda _: None)
    result = runner.workload(workloads.prompts(1), ("minisam",))["minisam"]
    assert set(result) == {"failed"} and "none" in result["failed"]
    runner.files["weights"] = "small.safetensors"
    runner.peak_per_prompt["minisam"] = 1e18
    assert "not run" in runner.workload(workloads.prompts(16), ("minisam",))["minisam"]["failed"]


def test_profile_adds_up_and_leaves_nothing_behind(folder):
    contender = contenders.Minisam("small.safetensors", ".", 1)
    for kind, options, part in (("encode", {}, "windowed blocks"), ("prompts", {"count": 2}, "upscaling and masks")):
        call = contender.prepare(kind, options)
        before = {path: _find(path) for path in profile.PARTS}
        call()
        stages = profile.profiled(call, 3)
        assert {path: _find(path) for path in profile.PARTS} == before
        names = [stage["name"] for stage in stages]
        assert names[-1] == "the rest" and any(name.startswith(f"{part} · ") for name in names)
        assert min(stage["seconds"] for stage in stages) >= 0


def _find(path):
    module, _, rest = path.partition(":")
    value = sys.modules[module]
    for name in rest.split("."):
        value = getattr(value, name)
    return value


def test_timers_count_their_own(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(profile.time, "perf_counter", lambda: float(next(clock)))
    timers = profile.Timers()
    inner = timers.part(lambda: None, "inner")
    outer = timers.part(lambda: (inner(), inner()), "outer")
    outer()
    assert timers.own == {"outer": 3.0, "inner": 2.0} and timers.calls == {"outer": 1, "inner": 2}


# --------------------------------------------------------------------------------------------------------- report


def figures(name="vit_b"):
    """A report of made-up figures that are easy to check."""

    def result(seconds, peak, gflops=None):
        row = {"median": seconds, "quartiles": [0.9 * seconds, 1.1 * seconds], "peak_bytes": peak}
        row |= {"load": 1.0, "first_call": 2.0, "versions": {"numpy": "2"}, "math": ["openblas"]}
        return row | ({"gflops": gflops} if gflops else {})

    rows = [
        (workloads.encode(), {"minisam": result(4, 1e9, 120), "reference": result(18, 3e9, 50)}),
        (workloads.prompts(1), {"minisam": result(0.012, 5e8), "reference": result(0.054, 6e8)}),
        (workloads.prompts(64), {"minisam": result(0.64, 5e8), "reference": {"failed": "no memory"}}),
        (workloads.everything(), {"minisam": result(8, 1.3e9), "reference": result(160, 3.1e9)}),
    ]
    rows[0][1]["blas"] = {"median": 0.2, "quartiles": [0.2, 0.2], "gflops": 150.0, "seconds": [0.2]}
    return {
        "schema": 1,
        "command": "minisam bench",
        "quick": False,
        "model": {"name": name},
        "weights": "random",
        "threads": 2,
        "environment": {
            "processor": "P", "family": "f", "vectors": ["avx2"], "cores": 2, "usable_cores": 2, "memory_gb": 25.3,
            "system": "Linux 6.1", "python": "3.12", "commit": "abc", "pinned": {},
        },
        "contenders": {"minisam": {"title": "minisam"}, "reference": {"title": "torch eager"}},
        "blas_peak": {"1": {"minisam": 76.0}, "2": {"minisam": 140.0}},
        "workloads": [work.as_dict() | {"gflop": 1.0, "results": results} for work, results in rows],
        "starts": {},
        "scaling": [
            {"name": "prompts", "axis": "prompts in a call",
             "curves": {"minisam": [{"value": n, "median": 0.01 * n, "quartiles": [0, 1]} for n in (1, 4, 16)]}},
            {"name": "batch", "axis": "points per batch",
             "curves": {"minisam": [{"value": n, "median": 1.0, "peak_bytes": 2e8} for n in (16, 64)]}},
            {"name": "threads: encode", "axis": "threads", "curves": {"minisam": [{"value": 1, "failed": "x"}]}},
        ],
        "profile": [{"title": "one", "seconds": 1.0, "stages": [
            {"name": "a", "seconds": 0.75, "calls": 1}, {"name": "the rest", "seconds": 0.25, "calls": 1}]}],
    }  # fmt: skip


def test_ratios_and_shares():
    data = figures()
    assert report.ratio(data, "encode", "reference") == 4.5
    assert report.ratio(data, "prompts-64", "reference") is None, "it failed"
    assert report.ratio(data, "encode", "onnxruntime") is None, "it was not there"
    assert report.blas_peak(data) == 150, "the best of what was measured, in turns or alone"
    assert report.share(data, "encode") == 0.8


def test_spread():
    assert measure.spread([5.0]) == {"median": 5.0, "quartiles": [5.0, 5.0]}
    assert measure.spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3.0, "quartiles": [2.0, 4.0]}


@pytest.mark.parametrize(
    "value, text",
    [(123.4, "123 s"), (7.806, "7.81 s"), (0.0123, "12.3 ms"), (4e-5, "40 µs"), (1.0, "1 s"), (0.001, "1 ms")],
)
def test_seconds(value, text):
    assert tables.seconds(value) == text


def test_the_page_and_the_plots(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for name in ("tiny", "vit_b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(figures(name)))
    code, out, err = run(capsys, "bench", "--report", tmp_path, "--redraw")
    assert (code, out, err) == (0, "", "")
    page = (tmp_path / "README.md").read_text()
    assert page.index("## vit_b") < page.index("## tiny")
    assert "| encode an image | 4 s (3.6–4.4) | 18 s (16.2–19.8), **4.5×** |" in page
    assert "| 64 prompts, each | 10 ms (9–11) | no memory |" in page
    assert "| encode an image | 1 | 120 (80%) | 50 (33%) |" in page
    assert "peers ran 64 of 1024 points, times 16." in page
    drawn = re.findall(r"!\[(.+)\]\((.+)\)", page)
    assert [file for _, file in drawn if "vit_b" in file] == [f"vit_b-{n}.svg" for n in ("prompts", "batch", "memory")]
    assert "minisam: 10 ms at 1, 10 ms at 16" in drawn[0][0], "what it shows, in words"
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(capsys, "bench", "--report", tmp_path, "--redraw")[0] == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first, "the same data, the same bytes"
    assert all(file in first for _, file in drawn)


def test_the_committed_pages_are_those_of_their_figures(tmp_path, capsys):
    """Kills: a page mended by hand; code that writes another page than the one that was committed."""
    pytest.importorskip("matplotlib")
    for folder, device in (("cpu", []), ("h100", ["--device", "cpu"])):
        committed, copy = ROOT / "benchmarks" / folder, tmp_path / folder
        copy.mkdir()
        for path in committed.glob("*.json"):
            shutil.copy(path, copy)
        assert run(capsys, "bench", "--report", copy, "--redraw", *device) == (0, "", "")
        assert (copy / "README.md").read_text() == (committed / "README.md").read_text(), folder
        assert {path.name for path in copy.iterdir()} == {path.name for path in committed.iterdir() if path.is_file()}


def test_text_for_a_terminal():
    text = report.text(figures())
    assert "**" not in text and "4 s (3.6–4.4)" in text and "75.0%" in text
    quick = copy.deepcopy(figures()) | {"quick": True}
    assert "nothing else" in report.text(quick)


def test_every_colour_and_marker_is_its_own():
    assert set(plots.STYLE) == set(contenders.TITLES)
    assert len({colour for colour, _, _ in plots.STYLE.values()}) == len({m for _, m, _ in plots.STYLE.values()}) == 5


# ----------------------------------------------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_whole_command(folder, capsys, monkeypatch):
    """Quick, of a very small model; curves of two points."""
    pytest.importorskip("matplotlib")
    two = workloads.Series("prompts", "prompts in a call", [(n, workloads.prompts(n), None) for n in (1, 2)])
    monkeypatch.setattr(workloads, "scaling", lambda quick, threads, peers: [two])
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.delenv("OPENBLAS_L2_SIZE", raising=False)
    os.mkdir("out")
    code, out, err = bench(
        capsys, "--quick", "--scaling", "--profile", "--threads", "1", "--json", "f.json", "--report", "out"
    )
    assert code == 0 and err == "" and "small" in out and "Where" not in out
    data = json.loads(Path("f.json").read_text())
    assert json.loads(Path("out/small.json").read_text()) == data
    assert data["schema"] == report.SCHEMA and data["model"]["image_size"] == 64 and data["weights"] == "trained"
    assert list(data["contenders"]) == ["minisam"] and data["environment"]["pinned"] == {}
    names = [row["name"] for row in data["workloads"]]
    assert names == ["encode", "prompts-1", "prompts-4", "everything", "everything-filtered"]
    for row in data["workloads"]:
        result = row["results"]["minisam"]
        low, high = result["quartiles"]
        assert 0 < low <= result["median"] <= high and len(result["seconds"]) == 2, row["name"]
        assert result["peak_bytes"] > 10e6 and result["first_call"] > 0 and len(result["cpu"]) == 2
        if row["gflop"]:
            assert result["gflops"] == pytest.approx(row["gflop"] / result["median"])
    assert data["workloads"][0]["results"]["blas"]["gflops"] > 0.1
    assert set(data["starts"]) == {"import minisam", "first mask"}
    assert [point["value"] for point in data["scaling"][0]["curves"]["minisam"]] == [1, 2]
    assert [part["title"] for part in data["profile"]] == ["encode an image", "one prompt", "4 prompts, each"]
    written = {path.name: path.read_text() for path in Path("out").iterdir()}
    assert set(written) == {"small.json", "README.md", "small-prompts.svg"}
    secret = {platform.node(), getpass.getuser(), str(folder), str(Path.home()), str(Path(minisam.__file__).parent)}
    for name, text in (written | {"stdout": out}).items():
        for word in secret - {"", "root", "localhost"}:
            assert word not in text, (name, word)
    assert "minisam-bench-" not in "".join(written.values()), "the name of a temporary folder"


def test_what_is_pinned_is_shown_as_well(folder, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    code, out, _ = bench(capsys, "--quick", "--only", "prompts-1", "--threads", "1", "--json", "f.json")
    data = json.loads(Path("f.json").read_text())
    assert code == 0 and list(data["contenders"]) == ["minisam", "pinned"] and "OPENBLAS_CORETYPE=Haswell" in out
    assert [row["name"] for row in data["workloads"]] == ["prompts-1"] and data["starts"] == {}
    assert set(data["workloads"][0]["results"]) == set(data["blas_peak"]["1"]) == {"minisam", "pinned"}


def test_bad_options(folder, capsys):
    assert "existing folder" in refused(capsys, "bench", "--json", "no/f.json")
    assert "existing folder for --report" in refused(capsys, "bench", "--report", "no")
    assert "--report FOLDER with --redraw" in refused(capsys, "bench", "--redraw")
    assert "reports of minisam bench" in refused(capsys, "bench", "--report", ".", "--redraw")
    assert "whole number above 0" in refused(capsys, "bench", "--threads", "0")
    assert "whole number above 0" in refused(capsys, "bench", "--repeat", "x")
    assert "a model among tiny" in refused(capsys, "bench", "--model", "none")
    for wrong in ("{", "{}", "[]", '{"schema": 99}'):
        Path("wrong.json").write_text(wrong)
        assert "got wrong.json" in refused(capsys, "bench", "--report", ".", "--redraw")
    code, _, err = run(capsys, "bench", "--only", "nothing")
    assert code == 2 and "invalid choice" in err and err.count("\n") == 1


def test_missing_extra_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'minisam[bench]'" in refused(capsys, "bench", "--peers")
    assert "no matplotlib" in refused(capsys, "bench", "--report", ".")


def test_ctrl_c_ends_every_process(folder, capsys, monkeypatch):
    started = []

    class Interrupted(Worker):
        def __init__(self, *arguments, **load):
            super().__init__(*arguments, **load)
            started.append(self.process)

        def ask(self, **command):
            if command["do"] == "run":
                raise KeyboardInterrupt
            return super().ask(**command)

    monkeypatch.setattr(measure, "Worker", Interrupted)
    code, out, err = bench(capsys, "--quick", "--json", "f.json")
    assert (code, out, err.strip()) == (130, "", "minisam: interrupted") and not Path("f.json").exists()
    assert started and all(process.poll() is not None for process in started)
