"""What the figures depend on: processor, memory, system, versions, BLAS, the state of the code. No name of a host, of a
person or of a folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # they can force BLAS to older kernels
ROOT = Path(__file__).resolve().parents[2]


def _proc(path: str, key: str) -> str:
    """The first value of ``key`` in a file of "key : value" lines; empty where there is none."""
    try:
        with open(path) as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
    except OSError:
        return ""


def commit() -> str:
    """The commit of a source checkout, with a + if files differ from it; empty where there is none. The variable
    MINISAM_COMMIT says it for a copy that has no history, or an older one."""
    if os.environ.get("MINISAM_COMMIT"):
        return os.environ["MINISAM_COMMIT"]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        short = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "minisam", "kernels")
    except OSError:
        return ""
    return short + ("+" if short and changed else "")


def environment() -> dict[str, Any]:
    """Of the machine and this interpreter; the libraries' own versions come from their workers."""
    flags = set(_proc("/proc/cpuinfo", "flags").split())
    memory = _proc("/proc/meminfo", "MemTotal").split()
    family = f"family {_proc('/proc/cpuinfo', 'cpu family')}, model {_proc('/proc/cpuinfo', 'model')}"
    return {
        "processor": _proc("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "family": family if flags else platform.machine(),
        "vectors": [name for name in ("avx2", "fma", "avx512f", "amx_tile") if name in flags],
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(int(memory[0]) * 1024 / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "commit": commit(),
        "pinned": {name: os.environ[name] for name in PINS if name in os.environ},
    }


def available_bytes() -> float:
    """Memory that can still be had; without limit where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return float("inf")


def peak_bytes() -> int:
    """The largest resident memory of this process so far, in bytes."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else 1024 * size
