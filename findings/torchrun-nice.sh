#!/usr/bin/env bash
# `nice -n 19 torchrun …` does not make the workers give way to other programs on a Linux desktop or server.
#
# Expected: the workers inherit nice 19, so a busy shell beside them gets nearly all of the processor.
# Seen: torchrun starts every worker in a session of its own. They do inherit nice 19, but with the kernel's autogroup
# (sched(7), on by default in most distributions) niceness counts only within a session, and each new session starts at
# the group's nice 0: the workers share the processor with the shell as equals. What helps is to write 19 into
# /proc/PID/autogroup of each worker.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
cat > "$folder/worker.py" <<'EOF'
import os
from pathlib import Path

group = Path("/proc/self/autogroup")
text = group.read_text().strip() if group.exists() else "no autogroup here"
print(f"worker {os.environ['RANK']}: nice {os.nice(0)}, own session {os.getsid(0) == os.getpid()}, autogroup {text}", flush=True)
EOF
"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
nice -n 19 "$folder/venv/bin/torchrun" --nproc-per-node 2 "$folder/worker.py" 2>/dev/null | tee "$folder/out"
echo "expected: one session and one autogroup for launcher and workers, of nice 19"
[ "$(grep -c 'nice 19, own session True' "$folder/out")" = 2 ] || { echo "changed: the workers do not have sessions of their own"; exit 1; }
if [ "$(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null)" = 1 ]; then
  [ "$(grep -c 'nice 0$' "$folder/out")" = 2 ] || { echo "changed: the workers' groups are not at nice 0"; exit 1; }
fi
echo "seen: two sessions of their own, whose groups are at nice 0 although the workers are at nice 19"
