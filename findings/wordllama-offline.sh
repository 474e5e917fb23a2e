#!/usr/bin/env bash
# wordllama's default model does not load offline, though all of its files are in the package.
#
# Expected: WordLlama.load(disable_download=True) loads the weights and the tokeniser that were installed with it.
# Seen: FileNotFoundError for the tokeniser's file. It lies in wordllama/tokenizers/, but is looked for in
# wordllama/tokenizer/ (and then in the user's cache); without disable_download it is downloaded at the first use.
# Given the package's own folder as the cache, whose subfolder is called "tokenizers", the same call loads.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q wordllama==0.4.0.post1
HOME=$folder "$folder/venv/bin/python" - <<'EOF2'
from importlib.metadata import version
from pathlib import Path

import wordllama
from wordllama import WordLlama

package = Path(wordllama.__file__).parent
name = "l2_supercat_tokenizer_config.json"
print("wordllama", version("wordllama"))
assert (package / "tokenizers" / name).is_file(), "changed: the file is not in the package"
try:
    WordLlama.load(disable_download=True)
except FileNotFoundError as error:
    print("expected: a model. seen:", error)
else:
    raise SystemExit("changed: it loads")
print("with the package as cache: couch, sofa", WordLlama.load(cache_dir=package, disable_download=True).similarity("couch", "sofa"))
EOF2
