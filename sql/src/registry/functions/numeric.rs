//! Arithmetic and mathematics of NUMERIC, and its casts.

use super::arguments::{from_numeric, int, numeric};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::numeric::MAX_SCALE;
use crate::types::{Datum, Numeric, Oid};

macro_rules! binary {
    ($($name:ident = $method:ident;)*) => {
        $(fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            numeric(&args[0]).$method(numeric(&args[1])).map(from_numeric)
        })*
    };
}

binary! {
    add = add;
    sub = sub;
    mul = mul;
    div = div;
    div_trunc = div_trunc;
    rem = rem;
    power = power;
    log = log;
}

macro_rules! unary {
    ($($name:ident = $body:expr;)*) => {
        $(fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let body: fn(&Numeric) -> SqlResult<Numeric> = $body;
            body(numeric(&args[0])).map(from_numeric)
        })*
    };
}

unary! {
    neg = |n| Ok(n.negate());
    identity = |n| Ok(n.clone());
    abs = |n| Ok(n.abs());
    sign = |n| Ok(if n.is_nan() { Numeric::nan() } else { Numeric::from(n.signum()) });
    ceil = Numeric::ceil;
    floor = Numeric::floor;
    round0 = |n| n.round(0);
    trunc0 = |n| n.trunc(0);
    sqrt = Numeric::sqrt;
    exp = Numeric::exp;
    ln = Numeric::ln;
    log10 = |n| Numeric::from(10).log(n);
    increment = |n| n.add(&Numeric::from(1));
    trim_scale = |n| n.round(n.min_scale());
}

fn round(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    numeric(&args[0]).round(int(&args[1]).clamp(-2000, 2000) as i32).map(from_numeric)
}

fn trunc(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    numeric(&args[0]).trunc(int(&args[1]).clamp(-2000, 2000) as i32).map(from_numeric)
}

fn scale(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let n = numeric(&args[0]);
    Ok(if n.is_special() { Datum::Null } else { Datum::Int4(i32::from(n.scale)) })
}

fn min_scale(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let n = numeric(&args[0]);
    Ok(if n.is_special() { Datum::Null } else { Datum::Int4(n.min_scale()) })
}

fn gcd(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    greatest_divisor(numeric(&args[0]), numeric(&args[1])).map(from_numeric)
}

fn greatest_divisor(a: &Numeric, b: &Numeric) -> SqlResult<Numeric> {
    if a.is_special() || b.is_special() {
        return Ok(Numeric::nan());
    }
    let scale = i32::from(a.scale.max(b.scale));
    let (mut a, mut b) = (a.abs(), b.abs());
    while !b.is_zero() {
        let rest = a.rem(&b)?;
        (a, b) = (b, rest);
    }
    a.round(scale.min(MAX_SCALE))
}

fn lcm(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (a, b) = (numeric(&args[0]), numeric(&args[1]));
    let scale = a.scale.max(b.scale);
    if a.is_zero() || b.is_zero() {
        return Ok(from_numeric(Numeric::zero(scale)));
    }
    let divisor = greatest_divisor(a, b)?;
    a.div_trunc(&divisor)?.mul(b)?.abs().round(i32::from(scale)).map(from_numeric)
}

fn factorial(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let n = int(&args[0]);
    if n < 0 {
        return Err(SqlError::new(
            state::NUMERIC_VALUE_OUT_OF_RANGE,
            "factorial of a negative number is undefined",
        ));
    }
    if n > 32_177 {
        return Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
    }
    (2..=n).try_fold(Numeric::from(1), |product, i| product.mul(&Numeric::from(i))).map(from_numeric)
}

fn from_integer(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(from_numeric(Numeric::from(int(&args[0]))))
}

fn to_integer(n: &Numeric, name: &str) -> SqlResult<i64> {
    if n.is_special() {
        let kind = if n.is_nan() { "NaN" } else { "infinity" };
        return Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, format!("cannot convert {kind} to {name}")));
    }
    n.to_i64().ok_or_else(|| out_of_range(name))
}

fn out_of_range(name: &str) -> SqlError {
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
}

fn to_int2(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = to_integer(numeric(&args[0]), "smallint")?;
    i16::try_from(value).map(Datum::Int2).map_err(|_| out_of_range("smallint"))
}

fn to_int4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = to_integer(numeric(&args[0]), "integer")?;
    i32::try_from(value).map(Datum::Int4).map_err(|_| out_of_range("integer"))
}

fn to_int8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    to_integer(numeric(&args[0]), "bigint").map(Datum::Int8)
}

pub(super) fn bucket_bounds(count: i64, equal: bool) -> SqlResult<()> {
    if count <= 0 {
        return Err(SqlError::new("2201G", "count must be greater than zero"));
    }
    if equal {
        return Err(SqlError::new("2201G", "lower bound cannot equal upper bound"));
    }
    Ok(())
}

fn width_bucket(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (operand, low, high, count) =
        (numeric(&args[0]), numeric(&args[1]), numeric(&args[2]), int(&args[3]));
    bucket_bounds(count, low.compare(high).is_eq())?;
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(SqlError::new("2201G", "operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(SqlError::new("2201G", "lower and upper bounds must be finite"));
    }
    let ascending = low.compare(high).is_lt();
    let before = if ascending { operand.compare(low).is_lt() } else { operand.compare(low).is_gt() };
    let beyond = if ascending { operand.compare(high).is_ge() } else { operand.compare(high).is_le() };
    let bucket = if before {
        0
    } else if beyond {
        count + 1
    } else {
        let position = operand.sub(low)?.mul(&Numeric::from(count))?;
        position.div_trunc(&high.sub(low)?)?.to_i64().unwrap_or(0) + 1
    };
    i32::try_from(bucket).map(Datum::Int4).map_err(|_| out_of_range("integer"))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1724, "numeric_add", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, add),
    Function::row(1725, "numeric_sub", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, sub),
    Function::row(1726, "numeric_mul", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, mul),
    Function::row(1727, "numeric_div", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, div),
    Function::row(1973, "div", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, div_trunc),
    Function::row(1729, "numeric_mod", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, rem),
    Function::row(1728, "mod", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, rem),
    Function::row(2169, "power", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, power),
    Function::row(1738, "pow", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, power),
    Function::row(1739, "numeric_power", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, power),
    Function::row(1736, "log", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, log),
    Function::row(5048, "gcd", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, gcd),
    Function::row(5049, "lcm", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, lcm),
    Function::row(1771, "numeric_uminus", &[Oid::NUMERIC], Oid::NUMERIC, neg),
    Function::row(1915, "numeric_uplus", &[Oid::NUMERIC], Oid::NUMERIC, identity),
    Function::row(1704, "numeric_abs", &[Oid::NUMERIC], Oid::NUMERIC, abs),
    Function::row(1705, "abs", &[Oid::NUMERIC], Oid::NUMERIC, abs),
    Function::row(1706, "sign", &[Oid::NUMERIC], Oid::NUMERIC, sign),
    Function::row(1711, "ceil", &[Oid::NUMERIC], Oid::NUMERIC, ceil),
    Function::row(2167, "ceiling", &[Oid::NUMERIC], Oid::NUMERIC, ceil),
    Function::row(1712, "floor", &[Oid::NUMERIC], Oid::NUMERIC, floor),
    Function::row(1708, "round", &[Oid::NUMERIC], Oid::NUMERIC, round0),
    Function::row(1710, "trunc", &[Oid::NUMERIC], Oid::NUMERIC, trunc0),
    Function::row(1730, "sqrt", &[Oid::NUMERIC], Oid::NUMERIC, sqrt),
    Function::row(1731, "numeric_sqrt", &[Oid::NUMERIC], Oid::NUMERIC, sqrt),
    Function::row(1732, "exp", &[Oid::NUMERIC], Oid::NUMERIC, exp),
    Function::row(1733, "numeric_exp", &[Oid::NUMERIC], Oid::NUMERIC, exp),
    Function::row(1734, "ln", &[Oid::NUMERIC], Oid::NUMERIC, ln),
    Function::row(1735, "numeric_ln", &[Oid::NUMERIC], Oid::NUMERIC, ln),
    Function::row(1741, "log", &[Oid::NUMERIC], Oid::NUMERIC, log10),
    Function::row(1481, "log10", &[Oid::NUMERIC], Oid::NUMERIC, log10),
    Function::row(1764, "numeric_inc", &[Oid::NUMERIC], Oid::NUMERIC, increment),
    Function::row(5043, "trim_scale", &[Oid::NUMERIC], Oid::NUMERIC, trim_scale),
    Function::row(1707, "round", &[Oid::NUMERIC, Oid::INT4], Oid::NUMERIC, round),
    Function::row(1709, "trunc", &[Oid::NUMERIC, Oid::INT4], Oid::NUMERIC, trunc),
    Function::row(3281, "scale", &[Oid::NUMERIC], Oid::INT4, scale),
    Function::row(5042, "min_scale", &[Oid::NUMERIC], Oid::INT4, min_scale),
    Function::row(1376, "factorial", &[Oid::INT8], Oid::NUMERIC, factorial),
    Function::row(1782, "numeric", &[Oid::INT2], Oid::NUMERIC, from_integer),
    Function::row(1783, "int2", &[Oid::NUMERIC], Oid::INT2, to_int2),
    Function::row(1740, "numeric", &[Oid::INT4], Oid::NUMERIC, from_integer),
    Function::row(1744, "int4", &[Oid::NUMERIC], Oid::INT4, to_int4),
    Function::row(1781, "numeric", &[Oid::INT8], Oid::NUMERIC, from_integer),
    Function::row(1779, "int8", &[Oid::NUMERIC], Oid::INT8, to_int8),
    Function::row(2170, "width_bucket", &[Oid::NUMERIC, Oid::NUMERIC, Oid::NUMERIC, Oid::INT4], Oid::INT4, width_bucket),
];
