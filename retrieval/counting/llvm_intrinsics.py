"""What numba has no words for, as LLVM instructions: float16, rounding, and products held in registers.

Not here: the loops around them (`numba_products.py`). LLVM turns the vectors below into what the machine has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

# Its type says nothing of what it makes: a function that lacks the typing context.
intrinsic: Any = _intrinsic

_HALF, _FLOAT = ir.HalfType(), ir.FloatType()
_SHORT, _WORD, _INDEX = ir.IntType(16), ir.IntType(32), ir.IntType(64)


def machine_has(*features: str) -> bool:
    """Does the CPU that numba compiles for have all these features, by LLVM's names?"""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES:  # someone set another one than the host
        return all(f"+{feature}" in (settings.CPU_FEATURES or "").split(",") for feature in features)
    found = binding.get_host_cpu_features()
    return all(found.get(feature, False) for feature in features)


# A register tile is TILE_ROWS rows by two vectors of concepts: as many sums as the registers hold beside a row's number
# and the two vectors.
_LANES, TILE_ROWS = (16, 12) if machine_has("avx512f") else (8, 6)
TILE_CONCEPTS = 2 * _LANES
# The integer product's instruction exists in this width only.
_INTEGER_LANES, INTEGER_TILE_ROWS = 8, 6
INTEGER_TILE_CONCEPTS = 2 * _INTEGER_LANES


@intrinsic
def half_to_float(typing_context: Any, bits: Any) -> Any:
    """Read uint16 bits as the float16 number that they are, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], _HALF), _FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def nearest(typing_context: Any, value: Any) -> Any:
    """Round float32 to the nearest whole number; numba's own calls a library for each."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rint = builder.module.declare_intrinsic("llvm.rint", [_FLOAT])
        return builder.call(rint, arguments)

    return types.float32(types.float32), generate


def _register_tile(
    lane: Any, lanes: int, tile_rows: int, multiply_add: Callable[[Any, Any, Any, Any], Any], add: str
) -> Callable:
    """Make the code of a product of some rows by two vectors of concepts, all sums in registers.

    Parameters
    ----------
    lane
        The type of a sum, and of what one step takes from a row.
    lanes
        Of a vector.
    tile_rows
        Rows that are taken at once.
    multiply_add
        (builder, a row's number in all lanes, concepts, sums) -> sums.
    add
        The builder's method that adds sums to those that stand in memory.
    """
    vector = ir.VectorType(lane, lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(which: int, offset: Any) -> Any:
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.gep(builder.bitcast(array.data, lane.as_pointer()), [offset])

        def number(value: int) -> Any:
            return ir.Constant(_INDEX, value)

        row_start, row_stride, panel_start, sum_start, sum_stride, steps, onto = arguments[3:]
        rows = [builder.gep(pointer(0, row_start), [builder.mul(row_stride, number(row))]) for row in range(tile_rows)]
        panel, places = pointer(1, panel_start), []
        for row in range(tile_rows):
            first = builder.gep(pointer(2, sum_start), [builder.mul(sum_stride, number(row))])
            for half in range(2):
                place = builder.gep(first, [number(half * lanes)])
                places.append(builder.bitcast(place, vector.as_pointer()))

        before, loop = builder.block, builder.append_basic_block("steps")
        after = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_INDEX)
        step.add_incoming(number(0), before)
        sums = [builder.phi(vector) for _ in places]
        start = builder.gep(panel, [builder.mul(step, number(2 * lanes))])
        concepts = []
        for half in range(2):
            place = builder.gep(start, [number(half * lanes)])
            concepts.append(builder.load(builder.bitcast(place, vector.as_pointer()), align=4))
        nothing, first_lane = ir.Constant(vector, ir.Undefined), ir.Constant(_WORD, 0)
        everywhere = ir.Constant(ir.VectorType(_WORD, lanes), [0] * lanes)
        added = []
        for row in range(tile_rows):
            one = builder.insert_element(nothing, builder.load(builder.gep(rows[row], [step])), first_lane)
            same = builder.shuffle_vector(one, nothing, everywhere)
            for half in range(2):
                added.append(multiply_add(builder, same, concepts[half], sums[2 * row + half]))
        following = builder.add(step, number(1))
        step.add_incoming(following, loop)
        for total, more in zip(sums, added, strict=True):
            total.add_incoming(ir.Constant(vector, None), before)
            total.add_incoming(more, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)

        builder.position_at_end(after)
        with builder.if_else(onto) as (then, otherwise):
            with then:
                for place, total in zip(places, added, strict=True):
                    builder.store(getattr(builder, add)(builder.load(place, align=4), total), place, align=4)
            with otherwise:
                for place, total in zip(places, added, strict=True):
                    builder.store(total, place, align=4)
        return context.get_dummy_value()

    return generate


def _fused(builder: Any, number: Any, concepts: Any, sums: Any) -> Any:
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(sums.type, [sums.type] * 3), f"llvm.fma.v{sums.type.count}f32"
    )
    return builder.call(fma, [number, concepts, sums])


def _of_pairs(builder: Any, number: Any, concepts: Any, sums: Any) -> Any:
    pairs = ir.VectorType(_SHORT, 2 * _INTEGER_LANES)
    multiply = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(sums.type, [pairs, pairs]), "llvm.x86.avx2.pmadd.wd"
    )
    return builder.add(sums, builder.call(multiply, [builder.bitcast(number, pairs), builder.bitcast(concepts, pairs)]))


def _signature(rows: Any, panels: Any, sums: Any) -> Any:
    return types.void(rows, panels, sums, *[types.int64] * 6, types.boolean)


@intrinsic
def multiply_floats(
    typing_context: Any,
    rows: Any,
    panels: Any,
    sums: Any,
    row_start: Any,
    row_stride: Any,
    panel_start: Any,
    sum_start: Any,
    sum_stride: Any,
    steps: Any,
    onto: Any,
) -> Any:
    """Multiply TILE_ROWS rows by TILE_CONCEPTS concepts, step by step along the dimension, each sum one chain of FMAs.

    Starts and strides count numbers in the arrays' memory. A panel holds TILE_CONCEPTS numbers a step. With `onto` the
    sums are added to what stands there.
    """
    return _signature(rows, panels, sums), _register_tile(_FLOAT, _LANES, TILE_ROWS, _fused, "fadd")


@intrinsic
def multiply_short_pairs(
    typing_context: Any,
    rows: Any,
    panels: Any,
    sums: Any,
    row_start: Any,
    row_stride: Any,
    panel_start: Any,
    sum_start: Any,
    sum_stride: Any,
    steps: Any,
    onto: Any,
) -> Any:
    """Do the same with pairs of int16 in each 32 bits, summed as int32, which must be able to hold every sum. AVX2."""
    generate = _register_tile(_WORD, _INTEGER_LANES, INTEGER_TILE_ROWS, _of_pairs, "add")
    return _signature(rows, panels, sums), generate
