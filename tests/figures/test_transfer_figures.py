"""Figures of chapter 14 about points, instances, edges: what they show was measured, or is what a model says."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minisam
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam_kernels import InputError
from minisam_kernels.losses.iou import iou
from minisam_kernels.masks import rle
from small_models import SMALL

pytest.importorskip("anywidget")
pytest.importorskip("matplotlib")
from minisam.figures import blind_rater, edge_map, metric_and_truth, oracle_gap
from minisam.figures.oracle_gap import CLICKS, PAPER, WHICH, Gap, Square
from minisam.transfer import specialist
from minisam.transfer.clicks import POINTS
from minisam.transfer.edges.scores import f_measure
from minisam.transfer.left_out_report import summarise
from minisam.transfer.stored_models import GROUPS
from minisam.world import HELD_OUT, render

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a tie that is a win": ("minisam/figures/oracle_gap.py", '"win" if gap.low > 0', '"win" if gap.sam > gap.baseline'),
    "real sets among the domains": ("minisam/figures/oracle_gap.py", "if s.real == real and", "if"),
    "an oracle that is confident": (
        "minisam/figures/oracle_gap.py",
        "s.gaps[which, clicks]) for",
        's.gaps["confident", clicks]) for',
    ),
    "another object's annotation": (
        "minisam/figures/metric_and_truth.py",
        "one.annotated[:, one.found.objects[n]]",
        "one.annotated[:, 0]",
    ),
    "the smallest object": ("minisam/figures/metric_and_truth.py", "n = max(found", "n = min(found"),
    "rivals exchanged": (
        "minisam/figures/blind_rater.py",
        "mask_text(one.masks[kind])",
        'mask_text(one.masks["generalist"])',
    ),
    "a level too high": ("minisam/figures/edge_map.py", 'side="right"', 'side="left"'),
    "edges between wholes alone": (
        "minisam/figures/edge_map.py",
        "for mask in scene.masks]",
        "for mask in scene.masks if not mask.parent]",
    ),
    "seen for left out": ("minisam/figures/oracle_gap.py", 'condition = "left_out" if', 'condition = "seen" if'),
    "the mean of all domains as one of them": (
        "minisam/figures/oracle_gap.py",
        "if minus is None:",
        'if entry.get("never"):',
    ),
}


# ---- oracle_gap ----------------------------------------------------------------------------------------------


def squares() -> list[Square]:
    gap = {"win": Gap(0.7, 0.6, 0.05, 0.15), "loss": Gap(0.5, 0.6, -0.15, -0.05), "tie": Gap(0.61, 0.6, -0.02, 0.04)}
    names = [("street", False, "win"), ("nuclei", False, "tie"), ("crowd", False, "loss"), ("photos", True, "loss")]
    return [
        Square(name, real, {(w, n): gap[v] if w == "confident" else gap["win"] for w in WHICH for n in CLICKS})
        for name, real, v in names
    ]


def test_squares_are_counted_by_their_intervals() -> None:
    """Kills: a tie that is a win, real sets among the domains, an oracle that is confident."""
    assert oracle_gap.tally(squares(), "confident", 1) == {"win": 1, "loss": 2, "tie": 1}
    assert oracle_gap.tally(squares(), "oracle", 9) == {"win": 4, "loss": 0, "tie": 0}
    text = oracle_gap.words(squares(), "confident", 3)
    assert text.startswith("3 clicks, most confident mask: SAM wins on 1 of 3 domains of the world, 1 loss, 1 tie;")
    assert text.endswith("SAM wins on 0 of 1 real sets, 1 loss, 0 ties.")
    assert oracle_gap.words([], "oracle", 1).endswith("not measured.")


def test_squares_travel_with_the_paper_beside_them() -> None:
    figure = oracle_gap.figure(squares(), source="#here")
    assert set(figure.words) == {f"{which} {n}" for which in WHICH for n in CLICKS} == set(figure.paper_words)
    first = figure.squares[0]["states"]["confident 1"]
    assert first["verdict"] == "win" and first["points"] == 10.0 and "from +5.0 to +15.0" in first["words"]
    assert figure.squares[3]["real"] and "−15.0" in figure.squares[3]["states"]["confident 9"]["words"]
    assert len(PAPER) == 23 and sum(value > 0 for value in PAPER.values()) == 16, "section 7.1"
    assert "16 of 23" in figure.paper_words["confident 1"] and "all 23" in figure.paper_words["oracle 1"]
    assert len(json.dumps([figure.squares, figure.words, figure.paper])) < 60_000
    with pytest.raises(InputError, match="at least one domain"):
        oracle_gap.figure([])


def test_squares_are_those_of_the_report(tmp_path: Path) -> None:
    """As ``left_out_report.summarise`` writes it, from made up figures. Kills: seen for left out, the mean of all
    domains as one of them."""
    rng = np.random.default_rng(0)
    names = [name for group in GROUPS.values() for name in group] + ["photos"]
    found: dict[Any, Any] = {}
    for kind in ("sam", "clicks"):
        for group in GROUPS:
            for seed in range(3):
                level = 0.2 * (kind == "sam")
                found[kind, group, seed] = {
                    name: {
                        "picture": np.arange(6) // 2, "noc_85": np.full(6, 20), "noc_90": np.full(6, 20),
                        "confident": 0.3 + level + 0.3 * rng.random((6, 5)), "oracle": 0.6 + 0.1 * rng.random((6, 5)),
                    }
                    for name in names
                }  # fmt: skip
    report = {"points": list(POINTS), **summarise(found, {"photos": (Path("photos"), 1)})}
    path = tmp_path / "left_out.json"
    path.write_text(json.dumps(report))
    squares = oracle_gap.read(path)
    assert [square.name for square in squares] == names and [s.name for s in squares if s.real] == ["photos"]
    (entry,) = (one for one in report["sets"] if one["name"] == "nuclei")
    (square,) = (one for one in squares if one.name == "nuclei")
    for i, n in enumerate(POINTS):
        gap = square.gaps["confident", n]
        assert gap.sam == entry["sam"]["left_out"]["confident"]["mean"][i]
        assert (
            gap.low == entry["sam_minus_clicks"]["left_out"]["confident"]["low"][i] < gap.sam - gap.baseline < gap.high
        )
    for which in WHICH:
        for row in report["wins"]["left_out"][which]:
            counted = oracle_gap.tally([s for s in squares if not s.real], which, row["points"])
            assert (counted["win"], counted["loss"]) == (row["sam_surely"], row["clicks_surely"])
    assert len(oracle_gap.oracle_gap(path).squares) == 24
    path.write_text("[]")
    with pytest.raises(InputError, match="minisam transfer left-out wrote"):
        oracle_gap.read(path)


# ---- metric_and_truth, blind_rater ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random models under the names of the two rivals."""
    folder = tmp_path_factory.mktemp("models")
    for seed, kind in enumerate(metric_and_truth.RIVALS):
        sam = minisam.build(SMALL, seed=seed)
        save_checkpoint(folder / f"{specialist.KINDS[kind]}-0.safetensors", sam.state_dict(), SMALL, {})
    return folder


def report() -> dict[str, Any]:
    runs = [
        {"kind": kind, "seed": seed, **{name: [value + 0.01 * seed] * 5 for name in ("ap", "ap50", "ap75", "iou")}}
        for kind, value in (("generalist", 0.4), ("specialist", 0.5))
        for seed in range(2)
    ]
    return {"annotations": list(specialist.ANNOTATIONS), "own": specialist.OWN, "runs": runs}


def test_examples_are_what_the_models_answer(models: Path) -> None:
    """Live again, object by object. Kills: another object's annotation, the smallest object."""
    several = metric_and_truth.examples(2, models)
    predictors = {
        kind: minisam.SamPredictor(minisam.load(specialist.model_path(kind, 0, models)))
        for kind in metric_and_truth.RIVALS
    }
    for example in several:
        case = specialist.case(example.seed)
        found = case.found.objects >= 0
        areas = np.where(found, case.annotated[0].sum(axis=(1, 2))[case.found.objects], -1)
        n = int(areas.argmax())
        object_ = case.annotated[:, case.found.objects[n]]
        side = example.image.shape[0]
        corner = next(
            (y, x)
            for y in range(193 - side)
            for x in range(193 - side)
            if np.array_equal(case.image[y : y + side, x : x + side], example.image)
        )
        window = np.s_[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        assert np.array_equal(example.annotated, object_[:, *window])
        assert object_.sum() == example.annotated.sum(), "nothing is cut off"
        for kind, predictor in predictors.items():
            predictor.set_image(case.image)
            mask = predictor.predict(box=case.found.boxes[n], multimask_output=False)[0][0]
            assert np.array_equal(example.masks[kind], mask[window])
            for a, truth in enumerate(object_):
                assert example.iou(kind, a) == pytest.approx(float(iou(mask[None], truth[None])[0]))
        x0, y0 = case.found.boxes[n][:2] - corner[::-1]
        np.testing.assert_allclose(example.box[:2], [x0, y0])


def test_metric_and_truth_says_who_is_ahead(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "specialist.json"
    path.write_text(json.dumps(report()))
    figure = metric_and_truth.metric_and_truth(path, 1, models)
    assert len(figure.children) == 3, "a question, a curtain, the figure"
    example = metric_and_truth.examples(1, models)[0]
    state = metric_and_truth.draw(report(), example, 0)
    assert "AP 0.405 for the generalist, 0.505 for the specialist; the specialist is ahead by 0.100" in state.words
    assert "Paper, COCO: SAM 46.5, ViTDet 51.0" in state.words and state.picture.ndim == 3
    with pytest.raises(InputError, match="at least one object"):
        metric_and_truth.metric_and_truth(path, 0, models)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"python -m minisam\.transfer\.specialist wrote"):
        metric_and_truth.read(path)
    with pytest.raises(InputError, match="expected the generalist of seed 0"):
        metric_and_truth.examples(1, tmp_path)


def test_rater_carries_both_masks(models: Path) -> None:
    """Kills: rivals exchanged."""
    figure = blind_rater.blind_rater(2, models)
    for pair, example in zip(figure.pairs, metric_and_truth.examples(2, models), strict=True):
        shape = (pair["height"], pair["width"])
        with Image.open(io.BytesIO(pair["jpeg"])) as image:
            assert image.size == shape[::-1]
        for kind in metric_and_truth.RIVALS:
            mask = rle.decode(rle.from_string(pair["masks"][kind].encode()), shape)
            assert np.array_equal(mask, example.masks[kind])
            assert pair["iou"][kind]["exact"] == pytest.approx(example.iou(kind, 0), abs=6e-4)
            assert pair["iou"][kind]["annotator"] == pytest.approx(example.iou(kind, 3), abs=6e-4)
    assert figure.votes == [] and "mean grades between 7 and 9" in figure.paper
    with pytest.raises(InputError, match="at least one pair"):
        blind_rater.blind_rater(0, models)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine: the page's side is not tested")
def test_page_decodes_the_masks_of_the_rater() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((33, 20)) < p for p in (0, 0.01, 0.4, 1)]
    texts = [rle.to_string(rle.encode(mask[None])[0]).decode() for mask in masks]
    address = json.dumps((Path(blind_rater.__file__).parent / "shared" / "masks.js").as_uri())
    script = f"import {{ decodeText }} from {address};"
    script += f"console.log(JSON.stringify({json.dumps(texts)}.map((text) => [...decodeText(text, 20, 33)])));"
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    assert np.array_equal(np.array(json.loads(done.stdout), bool).reshape(4, 33, 20), np.stack(masks))


# ---- edge_map ------------------------------------------------------------------------------------------------


def test_scene_edges_lie_between_its_masks() -> None:
    """Every mask's outline is near an edge. Kills: edges between wholes alone."""
    from scipy.ndimage import binary_dilation

    scene = render(HELD_OUT + 8, 96)
    edges = edge_map.true_edges(scene)
    near = binary_dilation(edges, np.ones((5, 5)))
    for mask in scene.masks:
        inside = np.pad(mask.segmentation, 1, mode="edge")
        differs = np.zeros_like(mask.segmentation)
        for dy, dx in ((0, 1), (1, 0), (1, 2), (2, 1)):
            differs |= inside[1:-1, 1:-1] != inside[dy : dy + 96, dx : dx + 96]
        assert near[differs].mean() > 0.98
    assert 0 < edges.mean() < 0.2


def test_maps_survive_the_journey() -> None:
    """What the page cuts out of a PNG is what a threshold leaves of the map. Kills: a level too high."""
    rng = np.random.default_rng(0)
    edges = rng.random((20, 30)) * (rng.random((20, 30)) < 0.3)
    edges[0, :3] = np.array(edge_map.LEVELS[:3]) / 255
    sent = edge_map.quantised(edges)
    with Image.open(io.BytesIO(edge_map.png(sent))) as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), sent)
    for level in edge_map.LEVELS:
        assert np.array_equal(sent >= level, 255 * edges >= level)


def test_edge_figure_is_what_the_model_answers() -> None:
    sam = minisam.build(SMALL, seed=1)
    figure = edge_map.edge_map(sam, seeds=[HELD_OUT + 8], grids=(2, 3), source="#x")
    (scene,) = figure.scenes
    names = [one["name"] for one in scene["maps"]]
    assert names == [f"{n} × {n} points, {which}" for n in (2, 3) for which in ("all masks", "after NMS")]
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(render(HELD_OUT + 8, 64).image)
    truth = edge_map.true_edges(render(HELD_OUT + 8, 64))
    for one, (_, count, edges) in zip(scene["maps"], [m for n in (2, 3) for m in edge_map.maps_of(predictor, n)]):
        with Image.open(io.BytesIO(one["png"])) as image:
            assert np.array_equal(np.asarray(image), edges) and one["masks"] == count
        assert one["curve"] == edge_map.curve(edges, truth) and len(one["curve"]) == len(figure.levels)
        for point in one["curve"]:
            f = float(f_measure(np.array(point["recall"]), np.array(point["precision"])))
            assert point["f"] == pytest.approx(f, abs=2e-4)
    assert scene["maps"][1]["masks"] <= scene["maps"][0]["masks"]
    with pytest.raises(InputError, match="at least one scene and one grid"):
        edge_map.edge_map(sam, grids=())


def test_a_perfect_map_is_found_whole() -> None:
    truth = edge_map.true_edges(render(HELD_OUT + 8, 64))
    (point,) = edge_map.curve(np.where(truth, 255, 0).astype(np.uint8), truth, [128])
    assert point == {"precision": 1.0, "recall": 1.0, "f": 1.0, "pixels": int(truth.sum())}


@pytest.mark.parametrize("name", ["oracle_gap", "blind_rater", "edge_map", "words"])
def test_every_page_asks_first_and_reads_out(name: str) -> None:
    """A guess comes before what is shown, controls have names, states are read out, and the source is linked."""
    page = (Path(blind_rater.__file__).parent / f"{name}.js").read_text()
    assert re.search("guess|Guess", page) and 'role="status"' in page and "aria-label" in page
    assert 'model.get("source")' in page and f"minisam/figures/{name}.py" in page
