"""Texts in words that the towers know: by rule, then by wordllama's vectors; else one clear refusal."""

from __future__ import annotations

import builtins
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minisam.clip import vocabulary
from minisam.clip.tokenisers import Words, words_of
from minisam.clip.vocabulary import THRESHOLD, known, scores, table
from minisam.training.contrastive import vocabulary as trained_words
from minisam.world import phrases, render
from minisam.world.captions import COLOURS, plural
from minisam.world.phrases import NOUNS
from minisam_kernels import InputError

PAIRS = Path(__file__).with_name("synonyms.json")
MUTANTS = {
    "colours among the nouns": ("minisam/clip/vocabulary.py", "choice[: len(NOUNS)]", "NOUNS"),
    "no threshold": ("minisam/clip/vocabulary.py", "if values[order[0]] < THRESHOLD:", "if False:"),
    "spelling that counts": ("minisam/clip/vocabulary.py", "SPELLING, THRESHOLD = 0.5,", "SPELLING, THRESHOLD = 0,"),
    "plurals that stay": ("minisam/clip/vocabulary.py", "_joined(_singular(counted))", "_joined(counted)"),
}


def needs_vectors(test: Any) -> Any:
    return pytest.mark.skipif(not have_vectors(), reason="needs wordllama (pip install '.[text]')")(test)


def have_vectors() -> bool:
    import importlib.util

    return importlib.util.find_spec("wordllama") is not None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The wheel of a RED car!", "wheel of red car"),
        ("three cars", "car"),
        ("12 dark grey people", "dark grey person"),
        ("the leaves of plants", "leaf of plant"),
        ("street lamps", "street lamp"),
        ("the lid of the can of beans", "lid of can of beans"),
        ("a group of trees", "group of trees"),
        ("the branch of a group of trees", "branch of group of trees"),
        ("a row of red books", "row of red books"),
        ("two pieces of foil", "piece of foil"),
    ],
)
def test_known_words_by_rule(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: plurals that stay."""
    monkeypatch.setattr(vocabulary, "_wordllama", lambda: pytest.fail("no vectors are needed"))
    assert known(text) == (expected, {})


@pytest.mark.parametrize("seed", range(8))
def test_the_worlds_own_phrases_are_known(seed: int) -> None:
    """They come back as they are, articles aside, and the towers have a token for each word."""
    words = Words(trained_words())
    for phrase in phrases.phrases(render(seed, 64)):
        assert known(phrase.text) == (" ".join(words_of(phrase.text)), {})
        assert words.unknown(phrase.text) == []


def test_plurals_of_all_nouns_are_known() -> None:
    for noun in NOUNS:
        if noun not in ("books", "group of trees") and plural(noun) not in NOUNS:
            assert known(plural(noun)).text == noun


@needs_vectors
def test_unknown_words_become_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is downloaded. Kills: colours among the nouns, spelling that counts."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no connection is needed"))
    vocabulary._wordllama.cache_clear(), vocabulary._vectors.cache_clear()
    assert known("a red couch") == ("red sofa", {"couch": "sofa"})
    assert known("the wheels of an automobile") == ("wheel of car", {"automobile": "car"})
    assert known("a gray car") == ("grey car", {"gray": "grey"})
    with pytest.raises(InputError):
        known("bitcoin")  # not "coin"


@needs_vectors
@pytest.mark.parametrize("text", ["democracy", "汽车", "a crimson car", "wheel of", "of", "of my", "three", ""])
def test_the_rest_is_refused_in_one_line(text: str) -> None:
    """Kills: no threshold."""
    with pytest.raises(InputError, match="expected ") as error:
        known(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 240


@needs_vectors
def test_a_refusal_says_what_is_known() -> None:
    with pytest.raises(InputError, match=rf"one of the {len(NOUNS)} nouns .* got 'democracy'; nearest: \w+, .*--?m|-m"):
        known("democracy")


def test_without_wordllama(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **keywords: Any) -> Any:
        if name == "wordllama":
            raise ImportError(name)
        return imported(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    vocabulary._wordllama.cache_clear(), vocabulary._vectors.cache_clear()
    assert known("cars").text == "car"
    with pytest.raises(InputError, match=r"similar ones need: pip install 'minisam\[text\]'"):
        known("couch")
    vocabulary._wordllama.cache_clear(), vocabulary._vectors.cache_clear()


def pairs() -> dict[str, Any]:
    return json.loads(PAIRS.read_text(encoding="utf-8"))


def test_the_list_of_synonyms_and_aliens() -> None:
    """Every right answer is known, and no question."""
    for word, right in pairs()["synonyms"].items():
        assert right and (set(right) <= set(NOUNS) or set(right) <= set(COLOURS)), word
    assert not (set(pairs()["synonyms"]) | set(pairs()["aliens"])) & {*NOUNS, *COLOURS}
    assert not set(pairs()["synonyms"]) & set(pairs()["aliens"])


@needs_vectors
def test_the_threshold_is_the_lowest_that_is_precise() -> None:
    """Precision .8 on every other word; what is kept of the rest, which chose nothing."""
    rows = table(pairs(), [THRESHOLD - 0.02, THRESHOLD]).splitlines()[2:]
    below, at = ([[float(x) for x in cell.split(" of")[0].split(", ")] for cell in row.split(" | ")[1:]] for row in
                 (row.strip("| ") for row in rows))  # fmt: skip
    assert below[0][0] < 0.8 <= at[0][0]
    assert at[1] == [0.64, 0.20, 2]


@needs_vectors
def test_scores_by_hand() -> None:
    """The equation, term by term. Kills: spelling that counts."""
    model = vocabulary._wordllama()
    a, b = (np.asarray(model.embed([word]), np.float64)[0] for word in ("tablet", "table"))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert scores("tablet", ["table"])[0] == pytest.approx(cosine - 0.5, abs=1e-5)  # all of "table" is in it
    a, b = (np.asarray(model.embed([word]), np.float64)[0] for word in ("timber", "berry"))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert scores("timber", ["berry"])[0] == pytest.approx(cosine - 0.5 * 2 / 4, abs=1e-5)  # ber
