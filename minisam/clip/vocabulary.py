"""Words that the small towers do not know: "two couches" is not learnt, "sofa" is.

A text is read as nouns with colours before them, joined by "of", without articles, numbers and plurals. An unknown
noun, or colour, becomes the nearest known one by the word vectors of ``wordllama`` (16 MB, inside of the package)::

    score(u, k) = cos(u, k) − SPELLING · common(u, k)

common: longest common substring less one letter, of the shorter word less one. Vectors are means over pieces of words,
so words that are spelt alike score high: "tablet" has .92 with "table", "couch" .51 with "sofa". Below ``THRESHOLD``
the text is refused. It is the lowest (in steps of .02) at which .8 of what is taken is right, on half of a list that
also chose ``SPELLING``. Of the other half, .64 of what is taken is right, .20 of the words with an answer get it, and 2
of 58 words without one are taken. "Puppy" becomes "petal": show the user what became what. The table:

python -m minisam.clip.vocabulary tests/clip/synonyms.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisam.clip.tokenisers import words_of
from minisam.world.captions import COLOURS, NUMBERS, plural
from minisam.world.phrases import NOUNS
from minisam_kernels import InputError

SPELLING, THRESHOLD = 0.5, 0.36
EXTRA = "pip install 'minisam[text]'"
COUNTING = ("row", "piece")  # "a row of red books", "a piece of foil"


class Known(NamedTuple):
    """A text of known words, and what became what: {"couch": "sofa"}."""

    text: str
    replaced: dict[str, str]


def known(text: str) -> Known:
    """``text`` in words that the small towers have learnt.

    Raises
    ------
    InputError
        If there are no words, or one is unknown and nothing known is near, or ``wordllama`` is not installed.
    """
    counted = [word for word in words_of(text) if word not in NUMBERS and not word.isdigit()]
    words, replaced = _joined(_singular(counted)), {}
    segments: list[list[str]] = [[]]
    for word in words:
        if word == "of":
            segments.append([])
        else:
            segments[-1].append(word)
    if not all(segments):
        raise InputError(f"expected a noun, and one on both sides of each 'of', got {text!r:.60}")
    spoken = []
    for segment in segments:
        colour, noun = _parted(segment)
        for unknown, choice in ((colour, COLOURS), (noun, (*NOUNS, *COUNTING))):
            if unknown and unknown not in choice:
                replaced[unknown] = nearest(unknown, choice[: len(NOUNS)])
        spoken.append(" ".join(replaced.get(part, part) for part in (colour, noun) if part))
    return Known(" of ".join(spoken), replaced)


def _parted(segment: list[str]) -> tuple[str, str]:
    """(What stands before the noun, the noun): the longest known noun at the end, or all after the colour."""
    for start in range(len(segment)):
        if " ".join(segment[start:]) in (*NOUNS, *COUNTING):
            return " ".join(segment[:start]), " ".join(segment[start:])
    for stop in range(len(segment) - 1, 0, -1):
        if " ".join(segment[:stop]) in COLOURS:
            return " ".join(segment[:stop]), " ".join(segment[stop:])
    return "", " ".join(segment)


def _singular(words: list[str]) -> list[str]:
    """Known plurals become singulars: "people", "leaves", "street lamps"; a noun that is a plural stays ("books")."""
    return [word if word in NOUNS else _plurals().get(word, word) for word in words]


@lru_cache
def _plurals() -> dict[str, str]:
    return {plural(noun.split(" ")[-1]): noun.split(" ")[-1] for noun in NOUNS if noun != "books"}


def _joined(words: list[str]) -> list[str]:
    """Nouns of several words that have an "of" become one word of the list."""
    for noun in (noun.split(" ") for noun in NOUNS if " of " in noun):
        last = [*noun[:-1], _plurals().get(noun[-1], noun[-1])]
        for i in range(len(words) - len(noun), -1, -1):
            if words[i : i + len(noun)] in (noun, last):
                words[i : i + len(noun)] = [" ".join(noun)]
    return words


def nearest(word: str, candidates: Sequence[str]) -> str:
    """The candidate of the highest score; ``InputError`` if that is below ``THRESHOLD``."""
    values = scores(word, candidates)
    order = np.argsort(-values)
    if values[order[0]] < THRESHOLD:
        near = ", ".join(candidates[i] for i in order[:5])
        kind = "colours" if candidates[0] in COLOURS else "nouns"
        raise InputError(
            f"expected one of the {len(candidates)} {kind} that the model knows, got {word!r:.40}; nearest: {near}"
            " (all: python -m minisam.clip.vocabulary)"
        )
    return candidates[order[0]]


def scores(word: str, candidates: Sequence[str]) -> np.ndarray:
    """The score of each candidate for an unknown word: the equation above."""
    spelling = np.array([_common(word, candidate) for candidate in candidates])
    return _vectors(tuple(candidates)) @ _vectors((word,))[0] - SPELLING * spelling


@lru_cache(maxsize=256)
def _vectors(words: tuple[str, ...]) -> np.ndarray:
    """wordllama's vectors, of length 1."""
    return np.asarray(_wordllama().embed(list(words), norm=True))


def _common(a: str, b: str) -> float:
    match = SequenceMatcher(None, a, b, autojunk=False).find_longest_match(0, len(a), 0, len(b))
    return max(0, match.size - 1) / max(1, min(len(a), len(b)) - 1)


@lru_cache
def _wordllama() -> Any:
    """wordllama with the files that lie in the package.

    By itself version 0.4.0 looks for the tokeniser in a folder "tokenizer", but has it in "tokenizers", and downloads
    it. The folder of the package, given as its cache, has both files where it looks.
    """
    try:
        import wordllama
    except ImportError as error:
        what = f"expected the {len(NOUNS)} nouns and {len(COLOURS)} colours that the model knows"
        raise InputError(f"{what} (python -m minisam.clip.vocabulary); similar ones need: {EXTRA}") from error
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def table(pairs: Mapping[str, Any], thresholds: Sequence[float]) -> str:
    """Precision, recall and accepted aliens at each threshold, in Markdown: for every other word, and for the rest."""
    rows = []
    for word, right in [*pairs["synonyms"].items(), *((word, []) for word in pairs["aliens"])]:
        candidates = COLOURS if right and right[0] in COLOURS else NOUNS
        values = scores(word, candidates)
        best = int(values.argmax())
        rows.append((float(values[best]), candidates[best] in right, bool(right)))
    lines = ["| threshold | chosen on: precision, recall, aliens taken | kept back: precision, recall, aliens taken |"]
    lines.append("|---|---|---|")
    for threshold in thresholds:
        cells = []
        for half in (rows[::2], rows[1::2]):
            taken = [row for row in half if row[0] >= threshold]
            right = sum(row[1] for row in taken)
            synonyms = sum(row[2] for row in half)
            aliens = sum(not row[2] for row in taken)
            cells.append(
                f"{right / max(1, len(taken)):.2f}, {right / synonyms:.2f}, {aliens} of {len(half) - synonyms}"
            )
        lines.append(f"| {threshold:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the known words, or the table for a file of synonyms and aliens."""
    parser = argparse.ArgumentParser(prog="python -m minisam.clip.vocabulary", description="What the towers know.")
    parser.add_argument("pairs", nargs="?", help="JSON of synonyms (word: right answers) and aliens")
    arguments = parser.parse_args()
    if arguments.pairs:
        pairs = json.loads(Path(arguments.pairs).read_text(encoding="utf-8"))
        print(table(pairs, [hundredths / 100 for hundredths in range(20, 52, 2)]))
    else:
        print("colours: " + ", ".join(COLOURS) + "\nnouns: " + ", ".join(NOUNS))


if __name__ == "__main__":
    main()
