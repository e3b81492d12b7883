from typing import Any

import numpy as np


def known_differences(structure: Any):
    return np.zeros((0, 2), np.int32)


def probe_differences(structure: Any, *, seconds: float = 15.0):
    return np.zeros((0, 2), np.int32)
