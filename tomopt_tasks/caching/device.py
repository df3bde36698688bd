"""Where stages compute, resolved before any key is made: a key never holds "auto".

The device type is part of the keys, because CPU and CUDA agree statistically only; its number and
how much of its memory is used are not. Compiled kernels round in another way, so that keys say
whether they are used, too.
"""

import os
import re
import shutil

from tomopt_tasks.core import UserError

DEVICE = "TOMOPT_DEVICE"
"""Environment variable: cpu, cuda, cuda:1 or auto; a work queue sets it for its runs."""
GPU_MEMORY = "TOMOPT_GPU_MEMORY"
"""Environment variable: memory of the device for the graphs of one update, e.g. 8GB; default: half
of what is free."""

COMPILE = "TOMOPT_COMPILE"
"""Environment variable: on, off or auto (on, where there is a C++ compiler and the device is a
CPU); default: off."""

_DEVICE = re.compile(r"cpu|auto|cuda(:\d{1,3})?")
_MEMORY = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(MB|GB|MiB|GiB)")
_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


def compute_device() -> str:
    """The device of this process: cpu, or cuda with its number.

    Raises:
        UserError: the environment asks for one that is not there, or for something else.
    """
    asked = os.environ.get(DEVICE, "").strip() or "cpu"
    if not _DEVICE.fullmatch(asked):
        raise UserError(f"{DEVICE}={asked}: is no device; use cpu, cuda, cuda:1 or auto")
    if asked == "cpu":
        return asked
    count = _cuda_devices()
    if asked == "auto":
        return "cuda:0" if count else "cpu"
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        seen = f"{count} CUDA devices" if count else "no CUDA device"
        raise UserError(f"{DEVICE}={asked}: torch finds {seen} here; use cpu, or auto")
    return f"cuda:{number}"


def resolved_device() -> str:
    """The device type of this process, as keys know it: cpu or cuda."""
    return compute_device().partition(":")[0]


def compiled() -> bool:
    """Whether this process runs its kernels compiled.

    Raises:
        UserError: the environment asks for something else, or for what cannot work here.
    """
    asked = os.environ.get(COMPILE, "").strip() or "off"
    if asked not in ("on", "off", "auto"):
        raise UserError(f"{COMPILE}={asked}: is no such setting; use on, off or auto")
    if asked == "off":
        return False
    missing = ""
    if resolved_device() != "cpu":
        missing = f"kernels are compiled for a CPU, but the device is {compute_device()}"
    elif shutil.which(os.environ.get("CXX") or "g++") is None:
        missing = "there is no C++ compiler (g++, or $CXX); install one"
    if missing and asked == "on":
        raise UserError(f"{COMPILE}=on: {missing}, or compute without (off or auto)")
    return not missing


def graph_memory(device: str) -> int | None:
    """Bytes of a device for the graphs of one update; None: as many as on a CPU.

    Raises:
        UserError: the environment says something that is no amount.
    """
    text = os.environ.get(GPU_MEMORY, "").strip()
    if not text:
        return None if device == "cpu" else _free_memory(device) // 2
    found = _MEMORY.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise UserError(f"{GPU_MEMORY}={text}: is no amount of memory; use for example 8GB")
    return None if device == "cpu" else int(float(found[1]) * _UNITS[found[2]])


def _cuda_devices() -> int:
    import torch  # noqa: PLC0415 - brings seconds of import along

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _free_memory(device: str) -> int:
    import torch  # noqa: PLC0415 - as above

    return int(torch.cuda.mem_get_info(device)[0])
