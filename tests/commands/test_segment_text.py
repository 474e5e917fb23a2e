"""``minisam segment --text``: what is refused, and how; what it finds is measured by ``minisam transfer text``."""

from __future__ import annotations

import pytest

from command_line import refused
from minisam.files.images import save_png
from small_models import picture


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", ""], "expected words, got ''"),
        (["--text", " …! "], "expected words"),
        (["--text", "the"], "expected words other than articles"),
        (["--text", "of a car"], "on both sides of"),
        (["--text", "красная машина"], "expected English words, got 'красная машина'"),
        (["--text", "赤い車", "--all"], "expected English words, got '赤い車'"),
        (["--text", "quxlem", "--all"], "got 'quxlem'"),
        (["--all"], "expected --text with --all"),
        (["--all", "--point", "3,4"], "expected --text with --all"),
        (["--text", "car", "--all", "--point", "3,4"], "expected --text alone with --all"),
        (["--text", "car", "--all", "--single"], "expected --text alone with --all"),
        (["--text", "car", "--all", "-o", "o.jpg"], "expected an overlay whose name ends in .png"),
        (["--text", "car", "--all", "-o", "photo.png"], "other than the input"),
        (["--text", "car", "--all", "-o", "o.png", "--cutout", "o.png"], "different files"),
        (["--text", "car", "--all", "--masks", "nowhere/m"], "expected an existing folder"),
        (["--text", "car", "--box", "1,2,30,20", "--box", "5,6,20,20"], "with one box, got 2 boxes"),
    ],
)  # fmt: skip
def test_bad_words_are_short_lines(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    save_png("photo.png", picture(30, 40))
    assert words in refused(capsys, "segment", "photo.png", *arguments)
