"""Sixteen float32 numbers as one value inside compiled code: arithmetic on it becomes vector instructions, always.

LLVM vectorises a plain loop only when it can prove that arrays do not overlap and estimates a gain; in the
rasteriser's loops over a few pixels it mostly does not. `Lanes` are explicit vectors on any processor: where registers
are narrower, LLVM splits them.

    x = load(values, 32) * splat(2.0)      # entries 32 to 47
    store(values, 32, choose(above(x, splat(1.0)), x, splat(0.0)))
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

intrinsic: Any = extending.intrinsic  # typed by numba as if the typing context were an argument of every call

LANES = 16
FLAGS = ("reassoc", "contract", "arcp", "nsz", "afn")  # as `halonerf.splatting.compiled`


class LanesType(types.Type):
    """Sixteen float32."""

    def __init__(self) -> None:
        super().__init__("Lanes")


class MaskType(types.Type):
    """Sixteen truth values."""

    def __init__(self) -> None:
        super().__init__("LanesMask")


lanes, mask = LanesType(), MaskType()
VECTOR = ir.VectorType(ir.FloatType(), LANES)
TRUTHS = ir.VectorType(ir.IntType(1), LANES)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, VECTOR)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, TRUTHS)


def _fill(builder: Any, scalar: Any) -> Any:
    """All lanes equal to an LLVM float."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


def _address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Pointer to the lanes that start at element `place` of a contiguous one-dimensional float32 array."""
    view = cgutils.create_struct_proxy(kind)(context, builder, array)
    return builder.bitcast(builder.gep(view.data, [place]), VECTOR.as_pointer())


@intrinsic
def splat(typing: Any, scalar: Any) -> Any:
    """Sixteen times the same float32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _fill(builder, context.cast(builder, values[0], signature.args[0], types.float32))

    return lanes(scalar), generate


@intrinsic
def load(typing: Any, array: Any, place: Any) -> Any:
    """Sixteen entries of a contiguous float32 [N] from `place` on; not bounds-checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *values), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Write sixteen entries of a contiguous float32 [N] from `place` on; not bounds-checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[2], _address(context, builder, signature.args[0], *values[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Prefetch the entry `place` of a contiguous float32 array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        view = cgutils.create_struct_proxy(signature.args[0])(context, builder, values[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        address = builder.bitcast(builder.gep(view.data, [values[1]]), byte)
        builder.call(function, [address, *(ir.Constant(number, k) for k in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def total(typing: Any, value: Any) -> Any:
    """Sum of the sixteen."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
        return builder.call(function, [ir.Constant(ir.FloatType(), 0.0), values[0]], fastmath=FLAGS)

    return types.float32(lanes), generate


@intrinsic
def totals(
    typing: Any, v0: Any, v1: Any, v2: Any, v3: Any, v4: Any, v5: Any, v6: Any, v7: Any, v8: Any, v9: Any
) -> Any:
    """The sums of ten values, in the first ten lanes: eleven folds instead of ten times four."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zero, step = ir.Constant(VECTOR, None), LANES // 2
        level = list(values)
        while step:
            level += [zero] * (len(level) % 2)
            level = [_fold(builder, level[k], level[k + 1], step) for k in range(0, len(level), 2)]
            step //= 2
        return level[0]

    return lanes(*[lanes] * 10), generate


def _fold(builder: Any, one: Any, other: Any, step: int) -> Any:
    """Halve the entries of two values: each run of 2 `step` becomes `step` sums, those of `one` come first."""
    starts = range(0, 2 * LANES, 2 * step)
    halves = []
    for shift in (0, step):
        places = [start + shift + k for start in starts for k in range(step)]
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
        halves.append(builder.shuffle_vector(one, other, order))
    return builder.fadd(*halves, flags=FLAGS)


@intrinsic
def choose(typing: Any, truths: Any, yes: Any, no: Any) -> Any:
    """Lane by lane: `yes` where true, else `no`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return lanes(mask, lanes, lanes), generate


@intrinsic
def root(typing: Any, value: Any) -> Any:
    """Lane by lane: the square root."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(VECTOR, [VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return builder.call(function, values)

    return lanes(lanes), generate


@intrinsic
def bits(typing: Any, truths: Any) -> Any:
    """The truth values as an int64, lane k as bit k."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Place of the lowest set bit of an int64 that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _comparison(sign: str, text: str) -> Any:
    @intrinsic
    def compare(typing: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.fcmp_ordered(sign, *values)

        return mask(lanes, lanes), generate

    compare.__doc__ = text
    return compare


at_most = _comparison("<=", "Lane by lane: one <= other; false where either is NaN.")
above = _comparison(">", "Lane by lane: one > other; false where either is NaN.")


def _pick(sign: str, text: str) -> Any:
    @intrinsic
    def pick(typing: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.select(builder.fcmp_ordered(sign, *values), *values)

        return lanes(lanes, lanes), generate

    pick.__doc__ = text
    return pick


smaller = _pick("<", "Lane by lane: the smaller; the second where either is NaN.")
larger = _pick(">", "Lane by lane: the larger; the second where either is NaN.")


def _arithmetic(operation: Any, name: str) -> None:
    """Register `operation` on lanes with numba."""

    @intrinsic
    def apply(typing: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, name)(*values, flags=FLAGS)

        return lanes(lanes, lanes), generate

    def implementation(one, other):  # numba compares the argument lists: no annotations
        if one == lanes and other == lanes:
            return lambda one, other: apply(one, other)
        return None

    overload(operation)(implementation)


for _operation, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _arithmetic(_operation, _name)
