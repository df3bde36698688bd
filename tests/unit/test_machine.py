import subprocess
import sys


def test_a_process_that_computes_is_deterministic_and_has_one_thread_by_default():
    code = """
import os, sys
for name in ("OMP_NUM_THREADS", "TOMOPT_THREADS", "CUBLAS_WORKSPACE_CONFIG"):
    os.environ.pop(name, None)
from tomopt_tasks.runs import body
body.bodies()
assert "torch._inductor" not in sys.modules  # a compiler that is not used: seconds of a start
import torch
assert torch.are_deterministic_algorithms_enabled()
assert torch.get_num_threads() == 1
assert os.environ["OMP_NUM_THREADS"] == "1"
assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
