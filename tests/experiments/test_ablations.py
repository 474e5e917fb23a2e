"""The table of ablations: each line trains and differs in what it says, a stopped run goes on, odd files are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minisam.experiments import ablations
from minisam.experiments.ablations import BASE, FIGURES, VARIANTS, settings, table
from minisam.figures import ablations as figure
from minisam.training import loop
from minisam_kernels import InputError
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a variant that changes nothing": (
        "minisam/experiments/ablations.py",
        "dataclasses.replace(base, **variant.changes)",
        "base",
    ),
    "a second run of the same line": (
        "minisam/experiments/ablations.py",
        "if (variant.group, variant.name, seed) not in done",
        "if True",
    ),
    "a half trained model that is measured": (
        "minisam/experiments/ablations.py",
        "        if trainer.run(workers=0, save_every=math.inf):  # stopped",
        "        if trainer.run(workers=0, save_every=math.inf) is None:  # stopped",
    ),
    "processes that share a seed": (
        "minisam/experiments/ablations.py",
        "pool.submit(train, *arguments)",
        "pool.submit(train, arguments[0], 0, *arguments[2:])",
    ),
    "a deviation over n − 1 of two": (
        "minisam/experiments/ablations.py",
        "(max(values) - min(values)) / 2",
        "np.std(values, ddof=1)",
    ),
    "a table written by hand": ("minisam/experiments/ablations.py", "{np.mean(values):.3f}", "{np.max(values):.3f}"),
    "lines in another order than their names": (
        "minisam/figures/ablations.py",
        "range(len(lines)), lines, ",
        "range(len(lines)), lines[::-1], ",
    ),
    "means in place of seeds": (
        "minisam/figures/ablations.py",
        "axes.plot(values, [lines.index(name)] * len(values),",
        "axes.plot([means[name]], [lines.index(name)],",
    ),
}

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


def test_every_line_differs_in_one_thing():
    """From the base in its changes alone, and from every other line. Kills: a variant that changes nothing."""
    base, seen = settings(BASE, 0, 1000).plain(), []
    for variant in VARIANTS:
        s = settings(variant, 0, 1000, ["photos"])
        s.check()
        differ = {key for key, value in s.plain().items() if value != base[key]}
        also = {"data": variant.data, "steps": variant.pretrain}
        assert differ == set(variant.changes) | {key for key, value in also.items() if value}
        seen.append((s, variant.distinct, variant.pretrain))
    assert len(seen) == len({(str(s), distinct, pretrain) for s, distinct, pretrain in seen})


@pytest.mark.slow
def test_a_stopped_table_goes_on(tmp_path, monkeypatch, capsys):
    """A line once made is kept; pretraining, few images and real ones are trained and measured. Kills: a second run
    of the same line; a line that is lost when the next one fails."""
    folder = str(sa1b_folder(tmp_path / "photos", 3))
    few = tuple(v for v in VARIANTS if v.group in ("start", "source") or v.name == "a tenth")[:3]
    monkeypatch.setattr(ablations, "VARIANTS", few)
    monkeypatch.setattr(ablations, "HOLD_OUT", 2)
    path = tmp_path / "ablations.json"
    arguments = [str(path), "--steps", "4", "--scenes", "1", "--seeds", "1", "--data", folder, "--measure", folder]
    ablations.main([*arguments, "--only", "start"])
    first = json.loads(path.read_text())["runs"]
    assert [run["name"] for run in first] == ["autoencoder first"] and first[0]["settings"]["steps"] == 3
    ablations.main(arguments)
    runs = json.loads(path.read_text())["runs"]
    assert runs[0] == first[0] and [run["name"] for run in runs] == [variant.name for variant in few]
    for run in runs:
        assert set(run["found"]) == {"world", "photos"} and set(run["found"]["world"]) == {*FIGURES, "objects"}
    alone = ablations.train(VARIANTS[2], 0, 2, 1, (), ())
    assert VARIANTS[2].name == "one mask alone" and set(alone["found"]["world"]) == {*ablations.ALONE, "objects"}
    assert "images: a tenth" in capsys.readouterr().out
    shown = (tmp_path / "ablations.md").read_text()
    assert (
        "4 steps" in shown and "## Photographs: photos, held out" in shown and "| start: autoencoder first |" in shown
    )
    with pytest.raises(InputError, match=r"expected 5 steps and 1 scenes in .*, got other ones"):
        ablations.main([*arguments[:2], "5", *arguments[3:]])
    with pytest.raises(InputError, match=r"expected --only among .*, got 'optimizer'"):
        ablations.main([*arguments, "--only", "optimizer"])
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a report of ablations"):
        ablations.main(arguments)


def test_what_was_stopped_is_no_result(tmp_path, monkeypatch):
    """Ctrl-C within a training: the file keeps whole ones only. Kills: a half trained model that is measured."""
    path = tmp_path / "ablations.json"
    arguments = [str(path), "--steps", "2", "--scenes", "1", "--only", "base", "--seeds", "2"]
    whole, calls = loop.Trainer.run, []

    def run(self, *args, **more):
        calls.append(self)
        return whole(self, *args, **more) if len(calls) == 1 else "interrupted"

    monkeypatch.setattr(loop.Trainer, "run", run)
    with pytest.raises(KeyboardInterrupt):
        ablations.main(arguments)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [0]


@pytest.mark.slow
def test_two_at_a_time_are_the_same(tmp_path):
    """In processes of their own, the figures are those of one after the other. Kills: processes that share a seed."""
    found = []
    for count in ("1", "2"):
        path = tmp_path / count / "ablations.json"
        path.parent.mkdir()
        arguments = [str(path), "--steps", "2", "--scenes", "1", "--only", "base", "--seeds", "2"]
        ablations.main([*arguments, "--processes", count])
        runs = sorted(json.loads(path.read_text())["runs"], key=lambda run: run["seed"])
        found.append([(run["seed"], run["found"]) for run in runs])
    assert found[0] == found[1] and [seed for seed, _ in found[0]] == [0, 1]


def test_the_table_shows_means_and_spread():
    """Two seeds: the mean, ± half of what lies between them. Kills: a deviation over n − 1 of two."""
    runs = []
    for seed, value in ((0, 0.4), (1, 0.5)):
        found = {"world": dict.fromkeys(FIGURES, value)}
        runs.append({"group": "rounds", "name": "3", "seed": seed, "processor_seconds": 90, "found": found})
    lines = table({"runs": runs}).splitlines()
    assert len(lines) == 3 and lines[2].startswith("| rounds: 3 | 0.450 ± 0.050 |") and "| 2 | 1.5 |" in lines[2]
    assert len(table({"runs": runs}, "photos").splitlines()) == 2
    alone = table({"runs": runs[:1]}).splitlines()[2]
    assert alone.startswith("| rounds: 3 | 0.400 |") and "±" not in alone  # one seed says nothing of chance
    runs[0]["found"] = {"world": dict.fromkeys(ablations.ALONE, 0.4)}  # three masks that were never trained
    alone = [cell.strip() for cell in table({"runs": runs[:1]}).splitlines()[2].split("|")]
    assert alone[2:9] == ["–", "–", "0.400", "–", "0.400", "0.400", "–"]


def test_the_page_is_that_of_the_file():
    """What the book shows is what the committed file says. Kills: a table written by hand, a line that nobody ran."""
    folder = ROOT / "benchmarks" / "training"
    report = json.loads((folder / "ablations.json").read_text())
    assert (folder / "ablations.md").read_text() == ablations.page(report)
    assert {(run["group"], run["name"]) for run in report["runs"]} == {(v.group, v.name) for v in VARIANTS}
    assert report["steps"] == ablations.STEPS and report["scenes"] == ablations.SCENES
    assert "benchmarks/training/ablations.md" in (ROOT / "chapters" / "ablations.md").read_text()
    for run in report["runs"]:
        variant = next(v for v in VARIANTS if (v.group, v.name) == (run["group"], run["name"]))
        asked = settings(variant, run["seed"], report["steps"], run["settings"]["data"]).plain()
        assert (run["settings"] | {"init": ""}).items() <= asked.items()
        assert not any("/" in path for path in run["settings"]["data"])


def test_the_table_shows_what_the_text_says():
    """The list in the chapter, as numbers: a new table needs a new text where this fails."""
    runs = figure.read()
    world = {key: {name: sum(v) / len(v) for name, v in figure.reached(runs, "world", key).items()} for key in FIGURES}
    base, best = "as the others begin", world["point_best"]
    assert best[base] > 3 * best["first round: mean of three"]
    assert world["box_best"][base] - world["box_best"]["first round: mean of three"] < 0.1
    dice = [world[key]["loss: dice alone"] for key in ablations.ALONE]
    assert max(dice) - min(dice) < 0.001 and max(dice) < 0.13
    assert all(world[key]["loss: focal alone"] < 0.15 for key in ablations.ALONE)
    clicks = [world["clicks_3"][name] for name in ("rounds: 1", base, "rounds: 3", "rounds: 11")]
    assert clicks == sorted(clicks) and clicks[-1] - clicks[0] > 0.1
    assert world["point_best"]["rounds: 1"] >= best[base]
    assert round(world["difference"]["images: a hundredth"], 2) == 0.3
    assert world["difference"]["images: a tenth"] < 0.15
    photos = {name: sum(v) / len(v) for name, v in figure.reached(runs, "ecssd", "point_confident").items()}
    assert photos["source: world and public sets"] - photos[base] > 0.25
    assert world["point_confident"]["source: world and public sets"] > world["point_confident"][base] - 0.02
    assert photos["optimiser: AdamW"] > 2 * photos[base]
    for key, times in (("point_confident", 1.5), ("clicks_3", 2)):
        assert world[key][base] > times * world[key]["optimiser: AdamW"]
    seeds = figure.reached(runs, "world", "clicks_3")["feedback: no mask fed back"]
    assert max(seeds) > world["clicks_3"][base] and min(seeds) < 0.5 * world["clicks_3"][base]
    assert 0.02 < best[base] - best["start: autoencoder first"] < 0.05
    for name in ("encoder: 2 blocks of 64", "encoder: 8 blocks of 192"):
        assert abs(best[name] - best[base]) < 0.02
    assert all(len(values) == 2 for values in figure.reached(runs, "world", "clicks_3").values())


def test_the_figure_shows_what_was_reached(tmp_path):
    """A dot at every figure of every seed, at the height of its line. Kills: lines in another order than their names,
    means in place of seeds."""
    runs = []
    for group, name, seed, value in (("base", "first", 0, 0.5), ("base", "first", 1, 0.6), ("loss", "dice", 0, 0.2)):
        found = {"world": {key: value + i / 100 for i, key in enumerate(figure.SHOWN)}}
        runs.append({"group": group, "name": name, "seed": seed, "found": found})
    path = tmp_path / "ablations.json"
    path.write_text(json.dumps({"runs": runs}))
    state = figure.dots(figure.read(path), "world")
    axes = state.picture.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "loss: dice"]
    drawn = [(list(line.get_ydata()), list(line.get_xdata())) for line in axes.lines if line.get_marker() != "None"]
    expected = [([0, 0], [0.5 + i / 100, 0.6 + i / 100]) for i in range(3)], [([1], [0.2 + i / 100]) for i in range(3)]
    assert drawn == [pair for both in zip(*expected) for pair in both]
    assert "0.55 as the others begin, lowest 0.20 (loss: dice)" in state.words
    figure.ablations(path)
    for text in ("[]", "{", json.dumps({"runs": runs[2:]})):
        path.write_text(text)
        with pytest.raises(InputError, match=r"expected a file that python -m minisam.experiments.ablations wrote"):
            figure.read(path)
