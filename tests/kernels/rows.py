"""Products by every row of the table of CPUs but the host's, which has its tests in test_gemm.py.

Each is compiled in a process of its own; a row that is wider than this CPU is split by LLVM, and
neon's is a mere tile here.
"""

from fastdnn.kernels import targets
from fastdnn.kernels.targets import TARGETS
from tests.kernels.background import Background

OTHERS = [target.name for target in TARGETS if target != targets.host()]
PROGRAM = """
import numpy as np
from fastdnn.kernels import targets
from tests.kernels import products

for name in ("float32", "float64"):
    products.check_target(np.dtype(name))
print(targets.host().name)
"""
OUTCOMES = Background({name: (PROGRAM, {"FASTDNN_TARGET": name}) for name in OTHERS})
