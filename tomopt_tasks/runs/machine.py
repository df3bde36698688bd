"""The machine as far as it may decide bits: threads and algorithms; provenance, no part of a key.

By default every process computes with one thread and deterministic algorithms, so that two machines
of one kind agree bit by bit; parallelism comes from more processes.
"""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tomopt_tasks.caching.device import compiled
from tomopt_tasks.core import UserError

THREADS = "TOMOPT_THREADS"
"""Environment variable: threads of torch in a process; default: 1."""

LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
VECTORS = ("avx512f", "avx2", "avx", "asimd")
"""Sets of vector instructions, best first, by their names in /proc/cpuinfo."""


def threads() -> int:
    """Threads that a process computes with.

    Raises:
        UserError: the environment says something that is not a count.
    """
    text = os.environ.get(THREADS, "1")
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UserError(f"{THREADS}={text}: is not a number of threads; use 1 to 1024")
    return int(text)


def settle() -> None:
    """Fix threads and algorithms of this process; call it before torch computes anything."""
    count = threads()
    for library in LIBRARIES:
        os.environ[library] = str(count)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may sum in any order
    import torch  # noqa: PLC0415 - the environment comes first

    torch.set_num_threads(count)
    torch.set_deterministic_debug_mode("error")  # the other spelling imports a compiler: 1.5 s


def gpus() -> list[str]:
    """The CUDA devices of this machine, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # noqa: PLC0415 - brings seconds of import along

    return [str(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def machine() -> dict[str, Any]:
    """What tells machines apart where equal keys give different bits."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": threads(),
        "vectors": _vectors(),
        "compiler": _compiler() if compiled() else "",
        "pid": os.getpid(),
    }


def same_bits(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two machines ought to give equal bits for equal keys."""
    decisive = ("system", "threads", "vectors", "compiler")
    return all((one.get(name) or "") == (other.get(name) or "") for name in decisive)


@cache
def _compiler() -> str:
    """What kernels are compiled with, as it names itself."""
    words = [os.environ.get("CXX") or "g++", "--version"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0]


def _vectors() -> str:
    """The widest vector instructions, which libraries choose their algorithms by."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    known = set(flags.split())
    return next((name for name in VECTORS if name in known), "")
