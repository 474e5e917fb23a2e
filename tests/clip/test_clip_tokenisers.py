"""Texts to numbers: CLIP's byte pairs as transformers does them, and one number per word for the small towers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_towers import MERGES, vocabulary
from minisam.clip.tokenisers import END, START, Pieces, Words, clean, split, words_of
from minisam_kernels import InputError

TEXTS = ["A red  car", "the car's roof!!", "cool 2020 car", "für Kühe", "日本 車", "a_b", "x\u0301y", "½ cup", "aaa",
         "naïve café’s", "it's 'sup", "don't we'll", "ß ſ İ", "x²y", "re'dcar", "e\u0301", "Ⅷ", "a\u200bb", "हिन्दी",
         "🙂🙂 ok", "'s", "a\u00a0b", "\u1e9e"]  # fmt: skip
MUTANTS = {
    "pairs in the order of the text": (
        "minisam/clip/tokenisers.py",
        "key=lambda pair: self.ranks.get(pair, len(self.ranks))",
        "key=lambda pair: pair not in self.ranks",
    ),
    "numbers in runs": ("minisam/clip/tokenisers.py", 'kind in "LO"', 'kind in "LON"'),
    "entities read once": ("minisam/clip/tokenisers.py", "html.unescape(html.unescape(text))", "html.unescape(text)"),
    "an end anywhere": (
        "minisam/clip/tokenisers.py",
        "[size - 2, *tokens, size - 1] + [0] * (context - 2 - len(tokens))",
        "[size - 2, *tokens] + [0] * (context - 2 - len(tokens)) + [size - 1]",
    ),
    "pieces without the mark of a word's end": ("minisam/clip/tokenisers.py", '        parts[-1] += "</w>"\n', ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return folder


def test_pieces_are_those_of_transformers(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPTokenizer(vocab=vocabulary(), merges=[tuple(merge.split()) for merge in MERGES])
    ours = Pieces(folder)
    for text in TEXTS:
        expected = theirs(text)["input_ids"]
        assert ours.encode(text, 77) == expected + [0] * (77 - len(expected)), text


@given(st.text("ab1' \t!_éß日²\u0301", max_size=16))
def test_splitting_loses_nothing_but_spaces(text: str) -> None:
    assert "".join(split(text)) == "".join(text.split())


def test_pieces_by_hand(folder: Path) -> None:
    """Kills: pairs in the order of the text, numbers in runs, an end anywhere, pieces without the mark of a word's
    end."""
    pieces, tokens = Pieces(folder), vocabulary()
    assert split("the 20 rear's") == ["the", "2", "0", "rear", "'s"]
    words = ["the</w>", "2</w>", "0</w>", "re", "a", "r</w>", "'s</w>"]
    expected = [tokens[START], *(tokens[word] for word in words), tokens[END], 0, 0]
    assert pieces.encode("The 20 rear's", 11) == expected
    assert pieces.pieces("car") == ["car</w>"] and pieces.pieces("scar") == ["s", "car</w>"]
    assert pieces.pieces("red") == ["red</w>"] and pieces.pieces("aaaaa") == ["aa", "aa", "a</w>"]
    assert pieces.pieces("aard") == ["a", "ar", "d</w>"]  # "a r" is listed before "a a"
    assert pieces.pieces("ü") == ["Ã", "¼</w>"]  # the pair is listed without a word's end


def test_cleaning() -> None:
    """Kills: entities read once."""
    assert clean("  A &amp;lt;red&amp;gt;\n CAR e\u0301 ") == "a <red> car é"
    assert words_of("The dark-grey car's wheel, please!") == ["dark-grey", "car", "s", "wheel", "please"]
    for nothing in ("", "  \n", "!!! ?", "&nbsp;", "&amp;nbsp;"):
        with pytest.raises(InputError, match="expected words, got"):
            clean(nothing)
    with pytest.raises(InputError, match="expected words other than articles"):
        words_of("a the")
    with pytest.raises(InputError, match="expected a text, got 5"):
        clean(5)  # type: ignore[arg-type]


def test_words() -> None:
    """Kills: an end anywhere."""
    words = Words(["car", "of", "red", "wheel"])
    assert words.size == 7
    expected = [5, 4, 2, 3, 1, 6, 0, 0]
    assert words.encode("The wheel of a RED car", 8) == words.encode("wheel of red car", 8) == expected
    assert words.unknown("a blue car and a wheel") == ["blue", "and"]
    with pytest.raises(InputError, match="expected words that the model knows, got 'blue', 'and'"):
        words.encode("a blue car and a wheel", 8)
    with pytest.raises(InputError, match="got '汽车'"):
        words.encode("汽车", 8)
    with pytest.raises(InputError, match="at most 6 tokens, got 7"):
        words.encode("red " * 7, 8)
    with pytest.raises(InputError, match="each word of a vocabulary once"):
        Words(["car", "car"])


def test_files_that_are_no_vocabulary(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected vocab.json and merges.txt in .*, got: No such file"):
        Pieces(tmp_path)
    (tmp_path / "merges.txt").write_text("a b c\n")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(InputError, match="lines of two pieces"):
        Pieces(tmp_path)
    (tmp_path / "merges.txt").write_text("a b\n")
    for content, message in (
        ("[", "expected vocab.json"),
        ('{"a": "b"}', "pieces with whole numbers"),
        ('{"a": 1}', "expected tokens 0 to 0"),
        ('{"a": 0, "b": 1}', "as the last two tokens"),
    ):
        (tmp_path / "vocab.json").write_text(content)
        with pytest.raises(InputError, match=message):
            Pieces(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, START: 1, END: 2}))
    with pytest.raises(InputError, match="with all pieces of 'b', got none for 'b</w>'"):
        Pieces(tmp_path).encode("b", 9)
