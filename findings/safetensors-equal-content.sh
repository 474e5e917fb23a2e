#!/usr/bin/env bash
# Equal tensors and equal metadata do not make equal safetensors files: a hash of the file says nothing of its content.
#
# Expected: the format has a JSON header and raw numbers, tensors come in a fixed order, so the same call writes the
# same bytes and files can be compared, cached or signed by their hash.
# Seen: the metadata's entries come in an order that changes from call to call, within one process, so the hash does
# too. The tensors' bytes agree. One entry (a JSON text that holds all of them), or a header of one's own, is stable.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy
"$folder/venv/bin/python" - <<'EOF'
import hashlib

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"weight": np.arange(4, dtype=np.float32)}
many, one = dict.fromkeys("abcdefgh", "1"), {"a": "1"}
hashes = {name: {hashlib.sha256(save(tensors, notes)).hexdigest() for _ in range(50)} for name, notes in
          (("eight entries", many), ("one entry", one), ("none", None))}
bodies = {save(tensors, many)[-16:] for _ in range(50)}
print("safetensors", safetensors.__version__)
print("expected: 1 hash of 50 equal calls. seen:", {name: len(found) for name, found in hashes.items()})
assert len(hashes["eight entries"]) > 1 and len(hashes["one entry"]) == len(hashes["none"]) == len(bodies) == 1, "changed"
EOF
