//! Arithmetic and mathematics of real and double precision.

use std::f64::consts::PI;

use super::arguments::{float, from_numeric, int};
use super::comparison::common_validity;
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function, Operand};
use crate::types::{Column, ColumnData, Datum, Numeric, Oid};

fn out_of_range(message: &str) -> SqlError {
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// Overflow to infinity and underflow to zero are errors, unless an operand was infinite (or zero) already.
fn checked(value: f64, infinite_operand: bool, zero_allowed: bool) -> SqlResult<f64> {
    if value.is_infinite() && !infinite_operand {
        return Err(out_of_range("value out of range: overflow"));
    }
    if value == 0.0 && !zero_allowed {
        return Err(out_of_range("value out of range: underflow"));
    }
    Ok(value)
}

fn add(x: f64, y: f64) -> SqlResult<f64> {
    checked(x + y, x.is_infinite() || y.is_infinite(), true)
}

fn sub(x: f64, y: f64) -> SqlResult<f64> {
    checked(x - y, x.is_infinite() || y.is_infinite(), true)
}

fn mul(x: f64, y: f64) -> SqlResult<f64> {
    checked(x * y, x.is_infinite() || y.is_infinite(), x == 0.0 || y == 0.0)
}

fn div(x: f64, y: f64) -> SqlResult<f64> {
    if y == 0.0 && !x.is_nan() {
        return Err(SqlError::new(state::DIVISION_BY_ZERO, "division by zero"));
    }
    checked(x / y, x.is_infinite(), x == 0.0 || y.is_infinite())
}

/// Single precision: computed and checked in it.
fn single(operation: fn(f64, f64) -> SqlResult<f64>, x: f64, y: f64) -> SqlResult<Datum> {
    let exact = operation(x, y)?;
    let value = exact as f32;
    checked(f64::from(value), exact.is_infinite(), exact == 0.0)?;
    Ok(Datum::Float4(value))
}

macro_rules! binary {
    ($double:ident, $single:ident, $vector:ident, $operation:ident) => {
        fn $double(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            $operation(float(&args[0]), float(&args[1])).map(Datum::Float8)
        }
        fn $single(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            single($operation, float(&args[0]), float(&args[1]))
        }
        fn $vector(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
            let validity = common_validity(&args[0], &args[1]);
            let (left, right) = (getter(&args[0]), getter(&args[1]));
            let mut out = vec![0.0; rows];
            for (row, out) in out.iter_mut().enumerate() {
                if validity.as_ref().is_none_or(|bits| bits.get(row)) {
                    if let (Some(x), Some(y)) = (left(row), right(row)) {
                        *out = $operation(x, y)?;
                    }
                }
            }
            let no_value = |o: &Operand<'_>| matches!(o, Operand::Const(Datum::Null));
            if no_value(&args[0]) || no_value(&args[1]) {
                let mut column = Column { data: ColumnData::Float8(Vec::new()), validity: None };
                (0..rows).for_each(|_| column.push(&Datum::Null));
                return Ok(column);
            }
            Ok(Column { data: ColumnData::Float8(out), validity })
        }
    };
}

binary!(add8, add4, vector_add, add);
binary!(sub8, sub4, vector_sub, sub);
binary!(mul8, mul4, vector_mul, mul);
binary!(div8, div4, vector_div, div);

fn getter<'a>(operand: &'a Operand<'a>) -> Box<dyn Fn(usize) -> Option<f64> + 'a> {
    match operand {
        Operand::Column(Column { data: ColumnData::Float8(v), .. }) => Box::new(|row| Some(v[row])),
        Operand::Column(Column { data: ColumnData::Float4(v), .. }) => {
            Box::new(|row| Some(f64::from(v[row])))
        }
        Operand::Const(value @ (Datum::Float8(_) | Datum::Float4(_))) => {
            let value = float(value);
            Box::new(move |_| Some(value))
        }
        _ => Box::new(|_| None),
    }
}

fn same_width(value: &Datum, result: f64) -> Datum {
    match value {
        Datum::Float4(_) => Datum::Float4(result as f32),
        _ => Datum::Float8(result),
    }
}

fn neg(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(same_width(&args[0], -float(&args[0])))
}

fn identity(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(args[0].clone())
}

fn abs(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(same_width(&args[0], float(&args[0]).abs()))
}

/// Functions of one double that cannot fail.
macro_rules! unary {
    ($($name:ident = $body:expr;)*) => {
        $(fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let body: fn(f64) -> f64 = $body;
            Ok(Datum::Float8(body(float(&args[0]))))
        })*
    };
}

unary! {
    ceil = f64::ceil;
    floor = f64::floor;
    round = f64::round_ties_even;
    trunc = f64::trunc;
    sign = |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 };
    cbrt = f64::cbrt;
    degrees = |x| x * (180.0 / PI);
    radians = |x| x * (PI / 180.0);
    atan = f64::atan;
    sinh = f64::sinh;
    cosh = f64::cosh;
    tanh = f64::tanh;
    asinh = f64::asinh;
    atand = |x| snap(x.atan() * 180.0 / PI);
}

/// Functions of one double with a domain; outside of it `22003`.
macro_rules! bounded {
    ($($name:ident = $body:expr, if $domain:expr;)*) => {
        $(fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let body: fn(f64) -> f64 = $body;
            let domain: fn(f64) -> bool = $domain;
            let x = float(&args[0]);
            if !x.is_nan() && !domain(x) {
                return Err(out_of_range("input is out of range"));
            }
            Ok(Datum::Float8(body(x)))
        })*
    };
}

bounded! {
    sin = f64::sin, if |x| x.is_finite();
    cos = f64::cos, if |x| x.is_finite();
    tan = f64::tan, if |x| x.is_finite();
    cot = |x| 1.0 / x.tan(), if |x| x.is_finite();
    asin = f64::asin, if |x| (-1.0..=1.0).contains(&x);
    acos = f64::acos, if |x| (-1.0..=1.0).contains(&x);
    acosh = f64::acosh, if |x| x >= 1.0;
    atanh = f64::atanh, if |x| (-1.0..=1.0).contains(&x);
    sind = |x| snap((x % 360.0).to_radians().sin()), if |x| x.is_finite();
    cosd = |x| snap((x % 360.0).to_radians().cos()), if |x| x.is_finite();
    tand = |x| snap(snap((x % 360.0).to_radians().sin()) / snap((x % 360.0).to_radians().cos())), if |x| x.is_finite();
    cotd = |x| snap(snap((x % 360.0).to_radians().cos()) / snap((x % 360.0).to_radians().sin())), if |x| x.is_finite();
    asind = |x| snap(x.asin() * 180.0 / PI), if |x| (-1.0..=1.0).contains(&x);
    acosd = |x| snap(x.acos() * 180.0 / PI), if |x| (-1.0..=1.0).contains(&x);
}

/// The functions over degrees are exact at the angles where the result is: results next to a multiple of a half become it.
fn snap(x: f64) -> f64 {
    let halves = (x * 2.0).round() / 2.0;
    if (x - halves).abs() < 1e-14 * halves.abs().max(1.0) { halves } else { x }
}

fn sqrt(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let x = float(&args[0]);
    if x < 0.0 {
        return Err(SqlError::new("2201F", "cannot take square root of a negative number"));
    }
    Ok(Datum::Float8(x.sqrt()))
}

fn exp(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let x = float(&args[0]);
    checked(x.exp(), x.is_infinite(), x.is_infinite()).map(Datum::Float8)
}

fn logarithm(x: f64, body: fn(f64) -> f64) -> SqlResult<Datum> {
    if x == 0.0 {
        return Err(SqlError::new("2201E", "cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(SqlError::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(Datum::Float8(body(x)))
}

fn ln(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    logarithm(float(&args[0]), f64::ln)
}

fn log10(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    logarithm(float(&args[0]), f64::log10)
}

fn power(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (x, y) = (float(&args[0]), float(&args[1]));
    if x == 0.0 && y < 0.0 {
        return Err(SqlError::new("2201F", "zero raised to a negative power is undefined"));
    }
    if x < 0.0 && y.fract() != 0.0 && y.is_finite() {
        return Err(SqlError::new(
            "2201F",
            "a negative number raised to a non-integer power yields a complex result",
        ));
    }
    let infinite = x.is_infinite() || y.is_infinite();
    checked(x.powf(y), infinite, infinite || x == 0.0).map(Datum::Float8)
}

fn atan2(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Float8(float(&args[0]).atan2(float(&args[1]))))
}

fn atan2d(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Float8(snap(float(&args[0]).atan2(float(&args[1])) * 180.0 / PI)))
}

fn pi(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Float8(PI))
}

/// 53 random bits as a fraction.
fn random(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Float8((ctx.session.random() >> 11) as f64 / (1u64 << 53) as f64))
}

fn to_float8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Float8(match &args[0] {
        Datum::Numeric(n) => {
            let value = n.to_f64();
            checked(value, n.is_special(), true)?
        }
        Datum::Float4(_) => float(&args[0]),
        other => int(other) as f64,
    }))
}

fn to_float4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let exact = match &args[0] {
        Datum::Numeric(n) => n.to_f64(),
        Datum::Float8(v) => *v,
        other => return Ok(Datum::Float4(int(other) as f32)),
    };
    let value = exact as f32;
    checked(f64::from(value), exact.is_infinite(), exact == 0.0)?;
    Ok(Datum::Float4(value))
}

/// Rounds to the nearest integer, ties to even.
fn to_integer(value: &Datum, low: f64, high: f64, name: &str) -> SqlResult<i64> {
    let rounded = float(value).round_ties_even();
    if rounded >= low && rounded < high {
        return Ok(rounded as i64);
    }
    Err(out_of_range(&format!("{name} out of range")))
}

fn to_int2(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    to_integer(&args[0], -32_768.0, 32_768.0, "smallint").map(|v| Datum::Int2(v as i16))
}

fn to_int4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    to_integer(&args[0], -2_147_483_648.0, 2_147_483_648.0, "integer").map(|v| Datum::Int4(v as i32))
}

fn to_int8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let limit = 9_223_372_036_854_775_808.0;
    to_integer(&args[0], -limit, limit, "bigint").map(Datum::Int8)
}

fn to_numeric(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    match &args[0] {
        Datum::Float4(v) => Numeric::from_f32(*v),
        other => Numeric::from_f64(float(other)),
    }
    .map(from_numeric)
}

fn width_bucket(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (operand, low, high, count) = (float(&args[0]), float(&args[1]), float(&args[2]), int(&args[3]));
    super::numeric::bucket_bounds(count, low == high)?;
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(SqlError::new("2201G", "operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(SqlError::new("2201G", "lower and upper bounds must be finite"));
    }
    let (position, width) =
        if low < high { (operand - low, high - low) } else { (low - operand, low - high) };
    let bucket = if position < 0.0 {
        0
    } else if position >= width {
        count + 1
    } else {
        (position / width * count as f64).floor() as i64 + 1
    };
    Ok(Datum::Int4(bucket as i32))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(218, "float8pl", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, add8).vector(vector_add),
    Function::row(281, "float48pl", &[Oid::FLOAT4, Oid::FLOAT8], Oid::FLOAT8, add8).vector(vector_add),
    Function::row(285, "float84pl", &[Oid::FLOAT8, Oid::FLOAT4], Oid::FLOAT8, add8).vector(vector_add),
    Function::row(204, "float4pl", &[Oid::FLOAT4, Oid::FLOAT4], Oid::FLOAT4, add4),
    Function::row(219, "float8mi", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, sub8).vector(vector_sub),
    Function::row(282, "float48mi", &[Oid::FLOAT4, Oid::FLOAT8], Oid::FLOAT8, sub8).vector(vector_sub),
    Function::row(286, "float84mi", &[Oid::FLOAT8, Oid::FLOAT4], Oid::FLOAT8, sub8).vector(vector_sub),
    Function::row(205, "float4mi", &[Oid::FLOAT4, Oid::FLOAT4], Oid::FLOAT4, sub4),
    Function::row(216, "float8mul", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, mul8).vector(vector_mul),
    Function::row(279, "float48mul", &[Oid::FLOAT4, Oid::FLOAT8], Oid::FLOAT8, mul8).vector(vector_mul),
    Function::row(283, "float84mul", &[Oid::FLOAT8, Oid::FLOAT4], Oid::FLOAT8, mul8).vector(vector_mul),
    Function::row(202, "float4mul", &[Oid::FLOAT4, Oid::FLOAT4], Oid::FLOAT4, mul4),
    Function::row(217, "float8div", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, div8).vector(vector_div),
    Function::row(280, "float48div", &[Oid::FLOAT4, Oid::FLOAT8], Oid::FLOAT8, div8).vector(vector_div),
    Function::row(284, "float84div", &[Oid::FLOAT8, Oid::FLOAT4], Oid::FLOAT8, div8).vector(vector_div),
    Function::row(203, "float4div", &[Oid::FLOAT4, Oid::FLOAT4], Oid::FLOAT4, div4),
    Function::row(206, "float4um", &[Oid::FLOAT4], Oid::FLOAT4, neg),
    Function::row(1913, "float4up", &[Oid::FLOAT4], Oid::FLOAT4, identity),
    Function::row(207, "float4abs", &[Oid::FLOAT4], Oid::FLOAT4, abs),
    Function::row(1394, "abs", &[Oid::FLOAT4], Oid::FLOAT4, abs),
    Function::row(238, "int2", &[Oid::FLOAT4], Oid::INT2, to_int2),
    Function::row(319, "int4", &[Oid::FLOAT4], Oid::INT4, to_int4),
    Function::row(653, "int8", &[Oid::FLOAT4], Oid::INT8, to_int8),
    Function::row(1742, "numeric", &[Oid::FLOAT4], Oid::NUMERIC, to_numeric),
    Function::row(220, "float8um", &[Oid::FLOAT8], Oid::FLOAT8, neg),
    Function::row(1914, "float8up", &[Oid::FLOAT8], Oid::FLOAT8, identity),
    Function::row(221, "float8abs", &[Oid::FLOAT8], Oid::FLOAT8, abs),
    Function::row(1395, "abs", &[Oid::FLOAT8], Oid::FLOAT8, abs),
    Function::row(237, "int2", &[Oid::FLOAT8], Oid::INT2, to_int2),
    Function::row(317, "int4", &[Oid::FLOAT8], Oid::INT4, to_int4),
    Function::row(483, "int8", &[Oid::FLOAT8], Oid::INT8, to_int8),
    Function::row(1743, "numeric", &[Oid::FLOAT8], Oid::NUMERIC, to_numeric),
    Function::row(235, "float8", &[Oid::INT2], Oid::FLOAT8, to_float8),
    Function::row(316, "float8", &[Oid::INT4], Oid::FLOAT8, to_float8),
    Function::row(482, "float8", &[Oid::INT8], Oid::FLOAT8, to_float8),
    Function::row(1746, "float8", &[Oid::NUMERIC], Oid::FLOAT8, to_float8),
    Function::row(311, "float8", &[Oid::FLOAT4], Oid::FLOAT8, to_float8),
    Function::row(236, "float4", &[Oid::INT2], Oid::FLOAT4, to_float4),
    Function::row(318, "float4", &[Oid::INT4], Oid::FLOAT4, to_float4),
    Function::row(652, "float4", &[Oid::INT8], Oid::FLOAT4, to_float4),
    Function::row(1745, "float4", &[Oid::NUMERIC], Oid::FLOAT4, to_float4),
    Function::row(312, "float4", &[Oid::FLOAT8], Oid::FLOAT4, to_float4),
    Function::row(2308, "ceil", &[Oid::FLOAT8], Oid::FLOAT8, ceil),
    Function::row(2309, "floor", &[Oid::FLOAT8], Oid::FLOAT8, floor),
    Function::row(1342, "round", &[Oid::FLOAT8], Oid::FLOAT8, round),
    Function::row(1343, "trunc", &[Oid::FLOAT8], Oid::FLOAT8, trunc),
    Function::row(2310, "sign", &[Oid::FLOAT8], Oid::FLOAT8, sign),
    Function::row(1345, "cbrt", &[Oid::FLOAT8], Oid::FLOAT8, cbrt),
    Function::row(1608, "degrees", &[Oid::FLOAT8], Oid::FLOAT8, degrees),
    Function::row(1609, "radians", &[Oid::FLOAT8], Oid::FLOAT8, radians),
    Function::row(1602, "atan", &[Oid::FLOAT8], Oid::FLOAT8, atan),
    Function::row(2462, "sinh", &[Oid::FLOAT8], Oid::FLOAT8, sinh),
    Function::row(2463, "cosh", &[Oid::FLOAT8], Oid::FLOAT8, cosh),
    Function::row(2464, "tanh", &[Oid::FLOAT8], Oid::FLOAT8, tanh),
    Function::row(2465, "asinh", &[Oid::FLOAT8], Oid::FLOAT8, asinh),
    Function::row(2733, "atand", &[Oid::FLOAT8], Oid::FLOAT8, atand),
    Function::row(1604, "sin", &[Oid::FLOAT8], Oid::FLOAT8, sin),
    Function::row(1605, "cos", &[Oid::FLOAT8], Oid::FLOAT8, cos),
    Function::row(1606, "tan", &[Oid::FLOAT8], Oid::FLOAT8, tan),
    Function::row(1607, "cot", &[Oid::FLOAT8], Oid::FLOAT8, cot),
    Function::row(1600, "asin", &[Oid::FLOAT8], Oid::FLOAT8, asin),
    Function::row(1601, "acos", &[Oid::FLOAT8], Oid::FLOAT8, acos),
    Function::row(2466, "acosh", &[Oid::FLOAT8], Oid::FLOAT8, acosh),
    Function::row(2467, "atanh", &[Oid::FLOAT8], Oid::FLOAT8, atanh),
    Function::row(2735, "sind", &[Oid::FLOAT8], Oid::FLOAT8, sind),
    Function::row(2736, "cosd", &[Oid::FLOAT8], Oid::FLOAT8, cosd),
    Function::row(2737, "tand", &[Oid::FLOAT8], Oid::FLOAT8, tand),
    Function::row(2738, "cotd", &[Oid::FLOAT8], Oid::FLOAT8, cotd),
    Function::row(2731, "asind", &[Oid::FLOAT8], Oid::FLOAT8, asind),
    Function::row(2732, "acosd", &[Oid::FLOAT8], Oid::FLOAT8, acosd),
    Function::row(1344, "sqrt", &[Oid::FLOAT8], Oid::FLOAT8, sqrt),
    Function::row(1347, "exp", &[Oid::FLOAT8], Oid::FLOAT8, exp),
    Function::row(1341, "ln", &[Oid::FLOAT8], Oid::FLOAT8, ln),
    Function::row(2320, "ceiling", &[Oid::FLOAT8], Oid::FLOAT8, ceil),
    Function::row(1340, "log", &[Oid::FLOAT8], Oid::FLOAT8, log10),
    Function::row(1194, "log10", &[Oid::FLOAT8], Oid::FLOAT8, log10),
    Function::row(230, "dsqrt", &[Oid::FLOAT8], Oid::FLOAT8, sqrt),
    Function::row(231, "dcbrt", &[Oid::FLOAT8], Oid::FLOAT8, cbrt),
    Function::row(1368, "power", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, power),
    Function::row(1346, "pow", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, power),
    Function::row(232, "dpow", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, power),
    Function::row(1603, "atan2", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, atan2),
    Function::row(2734, "atan2d", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, atan2d),
    Function::row(1610, "pi", &[], Oid::FLOAT8, pi),
    Function::row(1598, "random", &[], Oid::FLOAT8, random).volatile(),
    Function::row(320, "width_bucket", &[Oid::FLOAT8, Oid::FLOAT8, Oid::FLOAT8, Oid::INT4], Oid::INT4, width_bucket),
];
