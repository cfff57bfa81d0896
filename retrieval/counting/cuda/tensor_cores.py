"""How far a tensor core's dot of float16 vectors can lie from the real one, and whether a device computes as supposed.

Tensor cores round in their own way, which no document specifies; it has been found out by experiment, for each
generation. Not here: the kernels (`kernels.py`), the float32 band (`bands.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..bands import GREATEST_LENGTHS
from ..reference import similarities

# The exponent of a subnormal float16 is that of the smallest normal one, whatever its value.
_SUBNORMAL_SCALE = 2.0**-14


@dataclass(frozen=True)
class TensorCore:
    """How a generation of tensor cores adds up products of float16 numbers.

    A step adds `products` exact products to a float32 sum. All these addends are aligned to the greatest exponent among
    them, 2^e, and cut off below 2^(e − `fraction_bits`); they are then added without error, and the result is cut off
    to float32's 24 bits.

    Attributes
    ----------
    products
        How many products one step adds, at least.
    fraction_bits
        How many bits below the greatest addend's first one survive the alignment, at least.

    Notes
    -----
    Fasi, Higham, Mikaitis and Pranesh (Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science 7:e330, 2021)
    found exact products, truncation and summation without normalisation on V100, T4 and A100. Xie et al. (MMA-Sim,
    arXiv:2511.10909, 2025) and Khattak and Mikaitis (Accurate models of NVIDIA tensor cores, arXiv:2512.07004, 2025)
    give models that agree with the hardware bit by bit, from Volta to Blackwell.
    """

    products: int
    fraction_bits: int

    def band(self, dimension: int, chunk: int | None = None) -> float:
        """How far can a dot of d numbers lie from the real one, for vectors of about unit length?

        Let S be Σ|xᵢpᵢ| over a chunk of L products, and k, F stand for `products` and `fraction_bits`. If no sum
        exceeds S, then in each of the ⌈L/k⌉ steps each of k + 1 addends loses at most S·2⁻ᶠ (or 2⁻¹⁴⁻ᶠ where an operand
        is subnormal) and the result at most S·2⁻²³. Chunks are added in float32 with rounding to nearest: each of the
        ⌈d/L⌉ − 1 additions errs by at most 2⁻²⁴ of its result. Over all chunks Σ S ≤ |x||p| (Cauchy–Schwarz). With

            ε = ⌈L/k⌉ ((k + 1)·2⁻ᶠ + 2⁻²³) + (⌈d/L⌉ − 1)·2⁻²⁴

        the error is at most ε|x||p|, or ε/(1 − ε)·|x||p| since a sum exceeds S by as much as it errs, and for subnormal
        operands ⌈d/L⌉⌈L/k⌉ (k + 1)·2⁻¹⁴⁻ᶠ besides.

        Parameters
        ----------
        dimension
            d.
        chunk
            L, after how many products the tensor core's sum is added to another one outside it; None for never.
        """
        length = dimension if chunk is None else min(chunk, dimension)
        chunks = -(-dimension // length)
        steps = -(-length // self.products)
        alignment = (self.products + 1) * 2.0**-self.fraction_bits
        relative = steps * (alignment + 2.0**-23) + (chunks - 1) * 2.0**-24
        subnormal = chunks * steps * alignment * _SUBNORMAL_SCALE
        return relative / (1 - relative) * GREATEST_LENGTHS + subnormal


# The least that any generation so far does: Volta's.
ANY = TensorCore(products=4, fraction_bits=23)
# By compute capability, from this one on.
_GENERATIONS = (
    ((9, 0), TensorCore(products=16, fraction_bits=25)),  # Hopper, Blackwell
    ((8, 0), TensorCore(products=8, fraction_bits=24)),  # Ampere, Ada
    ((7, 5), TensorCore(products=4, fraction_bits=24)),  # Turing
)

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


def supposed(capability: tuple[int, int]) -> TensorCore:
    """Give what is known of the tensor cores of a device of this compute capability."""
    return next((core for since, core in _GENERATIONS if capability >= since), ANY)


def examine(product: Product, supposed: TensorCore, dimension: int, chunk: int | None) -> TensorCore | None:
    """Does a device compute as supposed? If not, as the weakest generation does?

    Parameters
    ----------
    product
        Multiplies (n, d) and (C, d) float16 to (n, C) float32 as the kernel does.
    supposed
        What is known of the device.
    dimension, chunk
        d and L, as `TensorCore.band` takes them.

    Returns
    -------
    TensorCore or None
        The one that stood the test; None when none did, and the device's products cannot be used.
    """
    rows, prototypes = hard_vectors(dimension)
    error = float(np.abs(product(rows, prototypes).astype(np.float64) - similarities(rows, prototypes)).max())
    for core in dict.fromkeys((supposed, ANY)):
        if error <= core.band(dimension, chunk) and _keeps_bits(product, core, dimension):
            return core
    return None


def hard_vectors(dimension: int, count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Give rows and prototypes of about unit length whose products are hard to add up.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (4 · count, d) and (count, d) float16: random ones; all of one sign, so that what is cut off adds up; one large
        number before many small ones; and sums that cancel. The last bits of all of them are set.
    """
    generator = np.random.default_rng(20210330)
    normal = generator.normal(size=(count, dimension))
    led = np.abs(normal) * 0.02
    led[:, 0] = 1
    paired = np.abs(normal)
    paired[:, 1::2] *= -1
    rows = np.concatenate([normal, np.abs(normal), led, paired])
    prototypes = np.concatenate(
        [np.abs(normal[: count // 2]), generator.uniform(0.5, 1, (count - count // 2, dimension))]
    )
    return _with_last_bits(rows), _with_last_bits(prototypes)


def _with_last_bits(vectors: np.ndarray) -> np.ndarray:
    """Scale to length 0.99 and set the last three bits, which adds 0.7 % at most."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return ((0.99 * vectors / lengths).astype(np.float16).view(np.uint16) | 7).view(np.float16)


def _keeps_bits(product: Product, core: TensorCore, dimension: int) -> bool:
    """Does the last bit that should survive an alignment survive, as a product and as the sum of an earlier step?

    1 + 2⁻ᶠ − 1 is 2⁻ᶠ only if the three are aligned to 1 with F bits and added in one step: in two steps, 1 + 2⁻ᶠ would
    be cut off to 24 bits in between. The 1 and the -1 stand as far apart as one step reaches.
    """
    step = core.products
    return all(
        float(product(*_three_products(dimension, places, core.fraction_bits))[0, 0]) == 2.0**-core.fraction_bits
        for places in ((1, 0, step - 1), (0, step, 2 * step - 1))
        if max(places) < dimension
    )


def _three_products(dimension: int, places: tuple[int, int, int], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Give a row and a prototype with the products 2⁻ᵇ, 1 and -1 at three places."""
    small, one, minus_one = places
    row, prototype = np.zeros((1, dimension), np.float16), np.zeros((1, dimension), np.float16)
    row[0, small], prototype[0, small] = 2.0 ** (12 - bits), 2.0**-12
    row[0, one], prototype[0, one] = 1, 1
    row[0, minus_one], prototype[0, minus_one] = -1, 1
    return row, prototype
