"""Is there a GPU? Asked of NVIDIA's driver itself, since importing torch to find out that there is none takes seconds.

Not here: everything that needs torch.
"""

from __future__ import annotations

import ctypes
from functools import cache

# Results of the driver's functions, from cuda.h.
_SUCCESS = 0
_NO_DEVICE = 100


@cache
def why_no_gpu(library: str = "libcuda.so.1") -> str | None:
    """Why can no GPU be used here? None when the driver shows at least one.

    Parameters
    ----------
    library
        The driver's library. It respects CUDA_VISIBLE_DEVICES.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return "there is no NVIDIA driver"
    result = driver.cuInit(0)
    if result == _NO_DEVICE:
        return "the NVIDIA driver shows no GPU"
    if result != _SUCCESS:
        return f"the NVIDIA driver does not start (cuInit gave error {result})"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS or count.value == 0:
        return "the NVIDIA driver shows no GPU"
    return None
