//! Arithmetic and bits of smallint, integer and bigint. Overflow is `22003`, never a wrapped value.

use super::comparison::common_validity;
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function, Operand};
use crate::types::{Column, ColumnData, Datum, Oid};

/// Any integer; the registry's types guarantee that it is one.
pub(super) fn int(value: &Datum) -> i64 {
    match value {
        Datum::Int4(v) => i64::from(*v),
        Datum::Int8(v) => *v,
        Datum::Int2(v) => i64::from(*v),
        other => unreachable!("an integer argument is {other:?}"),
    }
}

fn overflow(name: &str) -> SqlError {
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
}

fn division_by_zero() -> SqlError {
    SqlError::new(state::DIVISION_BY_ZERO, "division by zero")
}

fn int2(v: Option<i64>) -> SqlResult<Datum> {
    v.and_then(|v| i16::try_from(v).ok()).map(Datum::Int2).ok_or_else(|| overflow("smallint"))
}

fn int4(v: Option<i64>) -> SqlResult<Datum> {
    v.and_then(|v| i32::try_from(v).ok()).map(Datum::Int4).ok_or_else(|| overflow("integer"))
}

fn int8(v: Option<i64>) -> SqlResult<Datum> {
    v.map(Datum::Int8).ok_or_else(|| overflow("bigint"))
}

/// The functions of one result width.
macro_rules! arithmetic {
    ($wrap:ident: $add:ident, $sub:ident, $mul:ident, $div:ident, $rem:ident, $neg:ident, $abs:ident, $cast:ident) => {
        fn $add(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(int(&args[0]).checked_add(int(&args[1])))
        }
        fn $sub(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(int(&args[0]).checked_sub(int(&args[1])))
        }
        fn $mul(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(int(&args[0]).checked_mul(int(&args[1])))
        }
        fn $div(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            match int(&args[1]) {
                0 => Err(division_by_zero()),
                divisor => $wrap(int(&args[0]).checked_div(divisor)),
            }
        }
        fn $rem(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            match int(&args[1]) {
                0 => Err(division_by_zero()),
                // The smallest value by -1 overflows in the machine, not in mathematics.
                divisor => $wrap(Some(int(&args[0]).wrapping_rem(divisor))),
            }
        }
        fn $neg(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(int(&args[0]).checked_neg())
        }
        fn $abs(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(int(&args[0]).checked_abs())
        }
        pub(super) fn $cast(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $wrap(Some(int(&args[0])))
        }
    };
}

arithmetic!(int2: add2, sub2, mul2, div2, rem2, neg2, abs2, cast2);
arithmetic!(int4: add4, sub4, mul4, div4, rem4, neg4, abs4, cast4);
arithmetic!(int8: add8, sub8, mul8, div8, rem8, neg8, abs8, cast8);

fn identity(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(args[0].clone())
}

/// The value at a row of any integer column; the filler of a NULL may be any value.
fn getter<'a>(operand: &'a Operand<'a>) -> Option<Box<dyn Fn(usize) -> i64 + 'a>> {
    match operand {
        Operand::Column(Column { data: ColumnData::Int2(v), .. }) => Some(Box::new(|row| i64::from(v[row]))),
        Operand::Column(Column { data: ColumnData::Int4(v), .. }) => Some(Box::new(|row| i64::from(v[row]))),
        Operand::Column(Column { data: ColumnData::Int8(v), .. }) => Some(Box::new(|row| v[row])),
        Operand::Const(value @ (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_))) => {
            let value = int(value);
            Some(Box::new(move |_| value))
        }
        _ => None,
    }
}

/// Loops over both operands; where one is NULL the result is never looked at, so it may not fail either.
macro_rules! vector_arithmetic {
    ($name:ident, $row:ident, $variant:ident, $native:ty, $op:ident, $type_name:literal) => {
        fn $name(ctx: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
            let validity = common_validity(&args[0], &args[1]);
            let valid = |row: usize| validity.as_ref().is_none_or(|bits| bits.get(row));
            let mut out: Vec<$native> = Vec::with_capacity(rows);
            // The common case without conversions: two columns, or a column and a constant, of this very width.
            match (&args[0], &args[1]) {
                (
                    Operand::Column(Column { data: ColumnData::$variant(x), .. }),
                    Operand::Column(Column { data: ColumnData::$variant(y), .. }),
                ) if validity.is_none() => {
                    for (x, y) in x.iter().zip(y) {
                        out.push(x.$op(*y).ok_or_else(|| overflow($type_name))?);
                    }
                }
                (
                    Operand::Column(Column { data: ColumnData::$variant(x), .. }),
                    Operand::Const(Datum::$variant(y)),
                ) if validity.is_none() => {
                    for x in x {
                        out.push(x.$op(*y).ok_or_else(|| overflow($type_name))?);
                    }
                }
                (left, right) => {
                    let (Some(left), Some(right)) = (getter(left), getter(right)) else {
                        return by_row(ctx, args, rows, $row, ColumnData::$variant(Vec::new()));
                    };
                    for row in 0..rows {
                        let value = if valid(row) {
                            left(row)
                                .$op(right(row))
                                .and_then(|v| <$native>::try_from(v).ok())
                                .ok_or_else(|| overflow($type_name))?
                        } else {
                            0
                        };
                        out.push(value);
                    }
                }
            }
            Ok(Column { data: ColumnData::$variant(out), validity })
        }
    };
}

vector_arithmetic!(vector_add2, add2, Int2, i16, checked_add, "smallint");
vector_arithmetic!(vector_sub2, sub2, Int2, i16, checked_sub, "smallint");
vector_arithmetic!(vector_mul2, mul2, Int2, i16, checked_mul, "smallint");
vector_arithmetic!(vector_add4, add4, Int4, i32, checked_add, "integer");
vector_arithmetic!(vector_sub4, sub4, Int4, i32, checked_sub, "integer");
vector_arithmetic!(vector_mul4, mul4, Int4, i32, checked_mul, "integer");
vector_arithmetic!(vector_add8, add8, Int8, i64, checked_add, "bigint");
vector_arithmetic!(vector_sub8, sub8, Int8, i64, checked_sub, "bigint");
vector_arithmetic!(vector_mul8, mul8, Int8, i64, checked_mul, "bigint");

/// A strict row function over each row.
fn by_row(
    ctx: &EvalContext<'_>,
    args: &[Operand<'_>],
    rows: usize,
    body: crate::registry::ScalarFn,
    data: ColumnData,
) -> SqlResult<Column> {
    let mut out = Column { data, validity: None };
    for row in 0..rows {
        let values: smallvec::SmallVec<[Datum; 2]> = args.iter().map(|a| a.datum(row)).collect();
        let value = if values.iter().any(Datum::is_null) { Datum::Null } else { body(ctx, &values)? };
        out.push(&value);
    }
    Ok(out)
}

macro_rules! vector_cast {
    ($name:ident, $row:ident, $variant:ident, $native:ty, $type_name:literal) => {
        fn $name(ctx: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
            let (Operand::Column(column), Some(value)) = (&args[0], getter(&args[0])) else {
                return by_row(ctx, args, rows, $row, ColumnData::$variant(Vec::new()));
            };
            let mut out: Vec<$native> = Vec::with_capacity(rows);
            for row in 0..rows {
                out.push(match <$native>::try_from(value(row)) {
                    Ok(value) => value,
                    Err(_) if column.is_null(row) => 0,
                    Err(_) => return Err(overflow($type_name)),
                });
            }
            Ok(Column { data: ColumnData::$variant(out), validity: column.validity.clone() })
        }
    };
}

vector_cast!(vector_cast2, cast2, Int2, i16, "smallint");
vector_cast!(vector_cast4, cast4, Int4, i32, "integer");
vector_cast!(vector_cast8, cast8, Int8, i64, "bigint");

/// Bitwise operators on two values of one width.
macro_rules! bitwise {
    ($name:ident, $op:tt) => {
        fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            Ok(match (&args[0], &args[1]) {
                (Datum::Int2(x), Datum::Int2(y)) => Datum::Int2(x $op y),
                (Datum::Int4(x), Datum::Int4(y)) => Datum::Int4(x $op y),
                (x, y) => Datum::Int8(int(x) $op int(y)),
            })
        }
    };
}

bitwise!(bit_and, &);
bitwise!(bit_or, |);
bitwise!(bit_xor, ^);

fn bit_not(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(match &args[0] {
        Datum::Int2(x) => Datum::Int2(!x),
        Datum::Int4(x) => Datum::Int4(!x),
        x => Datum::Int8(!int(x)),
    })
}

/// Shift counts are taken modulo the width, as the machine does.
fn shift_left(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let by = int(&args[1]) as u32;
    Ok(match &args[0] {
        // smallint is shifted as an integer and then cut.
        Datum::Int2(x) => Datum::Int2(i32::from(*x).wrapping_shl(by) as i16),
        Datum::Int4(x) => Datum::Int4(x.wrapping_shl(by)),
        x => Datum::Int8(int(x).wrapping_shl(by)),
    })
}

fn shift_right(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let by = int(&args[1]) as u32;
    Ok(match &args[0] {
        Datum::Int2(x) => Datum::Int2(i32::from(*x).wrapping_shr(by) as i16),
        Datum::Int4(x) => Datum::Int4(x.wrapping_shr(by)),
        x => Datum::Int8(int(x).wrapping_shr(by)),
    })
}

fn greatest_divisor(a: i64, b: i64) -> u64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn least_multiple(a: i64, b: i64) -> Option<i64> {
    if a == 0 || b == 0 {
        return Some(0);
    }
    i64::try_from((a.unsigned_abs() / greatest_divisor(a, b)).checked_mul(b.unsigned_abs())?).ok()
}

fn gcd4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    int4(i64::try_from(greatest_divisor(int(&args[0]), int(&args[1]))).ok())
}

fn gcd8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    int8(i64::try_from(greatest_divisor(int(&args[0]), int(&args[1]))).ok())
}

fn lcm4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    int4(least_multiple(int(&args[0]), int(&args[1])))
}

fn lcm8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    int8(least_multiple(int(&args[0]), int(&args[1])))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(176, "int2pl", &[Oid::INT2, Oid::INT2], Oid::INT2, add2).vector(vector_add2),
    Function::row(180, "int2mi", &[Oid::INT2, Oid::INT2], Oid::INT2, sub2).vector(vector_sub2),
    Function::row(152, "int2mul", &[Oid::INT2, Oid::INT2], Oid::INT2, mul2).vector(vector_mul2),
    Function::row(153, "int2div", &[Oid::INT2, Oid::INT2], Oid::INT2, div2),
    Function::row(178, "int24pl", &[Oid::INT2, Oid::INT4], Oid::INT4, add4).vector(vector_add4),
    Function::row(182, "int24mi", &[Oid::INT2, Oid::INT4], Oid::INT4, sub4).vector(vector_sub4),
    Function::row(170, "int24mul", &[Oid::INT2, Oid::INT4], Oid::INT4, mul4).vector(vector_mul4),
    Function::row(172, "int24div", &[Oid::INT2, Oid::INT4], Oid::INT4, div4),
    Function::row(841, "int28pl", &[Oid::INT2, Oid::INT8], Oid::INT8, add8).vector(vector_add8),
    Function::row(942, "int28mi", &[Oid::INT2, Oid::INT8], Oid::INT8, sub8).vector(vector_sub8),
    Function::row(943, "int28mul", &[Oid::INT2, Oid::INT8], Oid::INT8, mul8).vector(vector_mul8),
    Function::row(948, "int28div", &[Oid::INT2, Oid::INT8], Oid::INT8, div8),
    Function::row(179, "int42pl", &[Oid::INT4, Oid::INT2], Oid::INT4, add4).vector(vector_add4),
    Function::row(183, "int42mi", &[Oid::INT4, Oid::INT2], Oid::INT4, sub4).vector(vector_sub4),
    Function::row(171, "int42mul", &[Oid::INT4, Oid::INT2], Oid::INT4, mul4).vector(vector_mul4),
    Function::row(173, "int42div", &[Oid::INT4, Oid::INT2], Oid::INT4, div4),
    Function::row(177, "int4pl", &[Oid::INT4, Oid::INT4], Oid::INT4, add4).vector(vector_add4),
    Function::row(181, "int4mi", &[Oid::INT4, Oid::INT4], Oid::INT4, sub4).vector(vector_sub4),
    Function::row(141, "int4mul", &[Oid::INT4, Oid::INT4], Oid::INT4, mul4).vector(vector_mul4),
    Function::row(154, "int4div", &[Oid::INT4, Oid::INT4], Oid::INT4, div4),
    Function::row(1278, "int48pl", &[Oid::INT4, Oid::INT8], Oid::INT8, add8).vector(vector_add8),
    Function::row(1279, "int48mi", &[Oid::INT4, Oid::INT8], Oid::INT8, sub8).vector(vector_sub8),
    Function::row(1280, "int48mul", &[Oid::INT4, Oid::INT8], Oid::INT8, mul8).vector(vector_mul8),
    Function::row(1281, "int48div", &[Oid::INT4, Oid::INT8], Oid::INT8, div8),
    Function::row(837, "int82pl", &[Oid::INT8, Oid::INT2], Oid::INT8, add8).vector(vector_add8),
    Function::row(838, "int82mi", &[Oid::INT8, Oid::INT2], Oid::INT8, sub8).vector(vector_sub8),
    Function::row(839, "int82mul", &[Oid::INT8, Oid::INT2], Oid::INT8, mul8).vector(vector_mul8),
    Function::row(840, "int82div", &[Oid::INT8, Oid::INT2], Oid::INT8, div8),
    Function::row(1274, "int84pl", &[Oid::INT8, Oid::INT4], Oid::INT8, add8).vector(vector_add8),
    Function::row(1275, "int84mi", &[Oid::INT8, Oid::INT4], Oid::INT8, sub8).vector(vector_sub8),
    Function::row(1276, "int84mul", &[Oid::INT8, Oid::INT4], Oid::INT8, mul8).vector(vector_mul8),
    Function::row(1277, "int84div", &[Oid::INT8, Oid::INT4], Oid::INT8, div8),
    Function::row(463, "int8pl", &[Oid::INT8, Oid::INT8], Oid::INT8, add8).vector(vector_add8),
    Function::row(464, "int8mi", &[Oid::INT8, Oid::INT8], Oid::INT8, sub8).vector(vector_sub8),
    Function::row(465, "int8mul", &[Oid::INT8, Oid::INT8], Oid::INT8, mul8).vector(vector_mul8),
    Function::row(466, "int8div", &[Oid::INT8, Oid::INT8], Oid::INT8, div8),
    Function::row(155, "int2mod", &[Oid::INT2, Oid::INT2], Oid::INT2, rem2),
    Function::row(940, "mod", &[Oid::INT2, Oid::INT2], Oid::INT2, rem2),
    Function::row(213, "int2um", &[Oid::INT2], Oid::INT2, neg2),
    Function::row(1911, "int2up", &[Oid::INT2], Oid::INT2, identity),
    Function::row(1253, "int2abs", &[Oid::INT2], Oid::INT2, abs2),
    Function::row(1398, "abs", &[Oid::INT2], Oid::INT2, abs2),
    Function::row(1892, "int2and", &[Oid::INT2, Oid::INT2], Oid::INT2, bit_and),
    Function::row(1893, "int2or", &[Oid::INT2, Oid::INT2], Oid::INT2, bit_or),
    Function::row(1894, "int2xor", &[Oid::INT2, Oid::INT2], Oid::INT2, bit_xor),
    Function::row(1895, "int2not", &[Oid::INT2], Oid::INT2, bit_not),
    Function::row(1896, "int2shl", &[Oid::INT2, Oid::INT4], Oid::INT2, shift_left),
    Function::row(1897, "int2shr", &[Oid::INT2, Oid::INT4], Oid::INT2, shift_right),
    Function::row(313, "int4", &[Oid::INT2], Oid::INT4, cast4).vector(vector_cast4),
    Function::row(754, "int8", &[Oid::INT2], Oid::INT8, cast8).vector(vector_cast8),
    Function::row(156, "int4mod", &[Oid::INT4, Oid::INT4], Oid::INT4, rem4),
    Function::row(941, "mod", &[Oid::INT4, Oid::INT4], Oid::INT4, rem4),
    Function::row(212, "int4um", &[Oid::INT4], Oid::INT4, neg4),
    Function::row(1912, "int4up", &[Oid::INT4], Oid::INT4, identity),
    Function::row(1251, "int4abs", &[Oid::INT4], Oid::INT4, abs4),
    Function::row(1397, "abs", &[Oid::INT4], Oid::INT4, abs4),
    Function::row(1898, "int4and", &[Oid::INT4, Oid::INT4], Oid::INT4, bit_and),
    Function::row(1899, "int4or", &[Oid::INT4, Oid::INT4], Oid::INT4, bit_or),
    Function::row(1900, "int4xor", &[Oid::INT4, Oid::INT4], Oid::INT4, bit_xor),
    Function::row(1901, "int4not", &[Oid::INT4], Oid::INT4, bit_not),
    Function::row(1902, "int4shl", &[Oid::INT4, Oid::INT4], Oid::INT4, shift_left),
    Function::row(1903, "int4shr", &[Oid::INT4, Oid::INT4], Oid::INT4, shift_right),
    Function::row(314, "int2", &[Oid::INT4], Oid::INT2, cast2).vector(vector_cast2),
    Function::row(481, "int8", &[Oid::INT4], Oid::INT8, cast8).vector(vector_cast8),
    Function::row(945, "int8mod", &[Oid::INT8, Oid::INT8], Oid::INT8, rem8),
    Function::row(947, "mod", &[Oid::INT8, Oid::INT8], Oid::INT8, rem8),
    Function::row(462, "int8um", &[Oid::INT8], Oid::INT8, neg8),
    Function::row(1910, "int8up", &[Oid::INT8], Oid::INT8, identity),
    Function::row(1230, "int8abs", &[Oid::INT8], Oid::INT8, abs8),
    Function::row(1396, "abs", &[Oid::INT8], Oid::INT8, abs8),
    Function::row(1904, "int8and", &[Oid::INT8, Oid::INT8], Oid::INT8, bit_and),
    Function::row(1905, "int8or", &[Oid::INT8, Oid::INT8], Oid::INT8, bit_or),
    Function::row(1906, "int8xor", &[Oid::INT8, Oid::INT8], Oid::INT8, bit_xor),
    Function::row(1907, "int8not", &[Oid::INT8], Oid::INT8, bit_not),
    Function::row(1908, "int8shl", &[Oid::INT8, Oid::INT4], Oid::INT8, shift_left),
    Function::row(1909, "int8shr", &[Oid::INT8, Oid::INT4], Oid::INT8, shift_right),
    Function::row(714, "int2", &[Oid::INT8], Oid::INT2, cast2).vector(vector_cast2),
    Function::row(480, "int4", &[Oid::INT8], Oid::INT4, cast4).vector(vector_cast4),
    Function::row(5044, "gcd", &[Oid::INT4, Oid::INT4], Oid::INT4, gcd4),
    Function::row(5046, "lcm", &[Oid::INT4, Oid::INT4], Oid::INT4, lcm4),
    Function::row(5045, "gcd", &[Oid::INT8, Oid::INT8], Oid::INT8, gcd8),
    Function::row(5047, "lcm", &[Oid::INT8, Oid::INT8], Oid::INT8, lcm8),
];
