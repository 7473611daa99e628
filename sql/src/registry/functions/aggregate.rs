//! count, min, max, sum, avg, and the aggregates over booleans and bits.
//!
//! Result types are PostgreSQL's: sums of integers widen, averages of integers are numeric. Sums run in machine
//! integers as long as they fit.

use super::arguments::{boolean, float, from_numeric, int, interval, numeric};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{Accumulator, AggregateDef, CallTypes, EvalContext, Function};
use crate::types::compare::compare_typed;
use crate::types::{Column, ColumnData, Datum, Interval, Numeric, Oid};

macro_rules! aggregate {
    ($name:ident, $new:expr) => {
        static $name: AggregateDef = AggregateDef { new: $new };
    };
}

aggregate!(COUNT_ROWS, |_| Box::new(Count { rows: 0, all: true }));
aggregate!(COUNT, |_| Box::new(Count { rows: 0, all: false }));
aggregate!(MIN, |types| Box::new(Extreme::new(types, false)));
aggregate!(MAX, |types| Box::new(Extreme::new(types, true)));
aggregate!(SUM_INT, |_| Box::new(IntegerSum { result: IntegerResult::Int8, ..Default::default() }));
aggregate!(SUM_INT8, |_| Box::new(IntegerSum { result: IntegerResult::Numeric, ..Default::default() }));
aggregate!(AVG_INT, |_| Box::new(IntegerSum { result: IntegerResult::Average, ..Default::default() }));
aggregate!(SUM_NUMERIC, |_| Box::new(NumericSum::new(false)));
aggregate!(AVG_NUMERIC, |_| Box::new(NumericSum::new(true)));
aggregate!(SUM_FLOAT4, |_| Box::new(FloatSum { result: FloatResult::Float4, sum: 0.0, rows: 0 }));
aggregate!(SUM_FLOAT8, |_| Box::new(FloatSum { result: FloatResult::Float8, sum: 0.0, rows: 0 }));
aggregate!(AVG_FLOAT, |_| Box::new(FloatSum { result: FloatResult::Average, sum: 0.0, rows: 0 }));
aggregate!(SUM_INTERVAL, |_| Box::new(IntervalSum { average: false, sum: Interval::default(), rows: 0 }));
aggregate!(AVG_INTERVAL, |_| Box::new(IntervalSum { average: true, sum: Interval::default(), rows: 0 }));
aggregate!(BOOL_AND, |_| Box::new(Fold(Datum::Null, |a, b| Datum::Bool(boolean(a) && boolean(b)))));
aggregate!(BOOL_OR, |_| Box::new(Fold(Datum::Null, |a, b| Datum::Bool(boolean(a) || boolean(b)))));
aggregate!(BIT_AND, |_| Box::new(Fold(Datum::Null, |a, b| bits(a, b, |x, y| x & y))));
aggregate!(BIT_OR, |_| Box::new(Fold(Datum::Null, |a, b| bits(a, b, |x, y| x | y))));
aggregate!(BIT_XOR, |_| Box::new(Fold(Datum::Null, |a, b| bits(a, b, |x, y| x ^ y))));

struct Count {
    rows: i64,
    /// count(*): rows, not values.
    all: bool,
}

impl Accumulator for Count {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        self.rows += i64::from(self.all || !args[0].is_null());
        Ok(())
    }

    fn add_rows(&mut self, _: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        self.rows += match args.first() {
            Some(column) if !self.all && column.may_have_nulls() => {
                rows.iter().filter(|row| !column.is_null(**row as usize)).count() as i64
            }
            _ => rows.len() as i64,
        };
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(Datum::Int8(self.rows))
    }
}

/// min and max; `best` is NULL before the first value.
struct Extreme {
    ty: Oid,
    greatest: bool,
    best: Datum,
}

impl Extreme {
    fn new(types: &CallTypes<'_>, greatest: bool) -> Self {
        Extreme { ty: types.args.first().map_or(Oid::INVALID, |t| t.oid), greatest, best: Datum::Null }
    }

    fn offer(&mut self, value: Datum) {
        let better = self.best.is_null() || {
            let order = compare_typed(self.ty, &value, &self.best);
            if self.greatest { order.is_gt() } else { order.is_lt() }
        };
        if better {
            self.best = value;
        }
    }

    fn offer_machine<T: PartialOrd + Copy>(
        &mut self,
        values: &[T],
        column: &Column,
        rows: &[u32],
        wrap: fn(T) -> Datum,
    ) {
        let valid = rows.iter().map(|r| *r as usize).filter(|r| !column.is_null(*r)).map(|r| values[r]);
        let better = |a: T, b: T| if self.greatest == (b > a) { b } else { a };
        if let Some(best) = valid.reduce(better) {
            self.offer(wrap(best));
        }
    }
}

impl Accumulator for Extreme {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if !args[0].is_null() {
            self.offer(args[0].clone());
        }
        Ok(())
    }

    fn add_rows(&mut self, _: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        let column = args[0];
        match &column.data {
            ColumnData::Int2(v) => self.offer_machine(v, column, rows, Datum::Int2),
            ColumnData::Int4(v) => self.offer_machine(v, column, rows, Datum::Int4),
            ColumnData::Int8(v) => self.offer_machine(v, column, rows, Datum::Int8),
            ColumnData::Date(v) => self.offer_machine(v, column, rows, Datum::Date),
            ColumnData::Timestamp(v) => self.offer_machine(v, column, rows, Datum::Timestamp),
            _ => {
                for &row in rows {
                    if !column.is_null(row as usize) {
                        self.offer(column.datum(row as usize));
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(self.best.clone())
    }
}

#[derive(Clone, Copy, Default)]
enum IntegerResult {
    #[default]
    Int8,
    Numeric,
    Average,
}

/// Sums of integers; 128 bits hold any number of rows that can exist.
#[derive(Default)]
struct IntegerSum {
    sum: i128,
    rows: i64,
    result: IntegerResult,
}

impl Accumulator for IntegerSum {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if !args[0].is_null() {
            self.sum += i128::from(int(&args[0]));
            self.rows += 1;
        }
        Ok(())
    }

    fn add_rows(&mut self, ctx: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        let column = args[0];
        let valid = rows.iter().map(|r| *r as usize).filter(|r| !column.is_null(*r));
        let mut count = 0;
        let counted = valid.inspect(|_| count += 1);
        let sum: i128 = match &column.data {
            ColumnData::Int2(v) => i128::from(counted.map(|r| i64::from(v[r])).sum::<i64>()),
            ColumnData::Int4(v) => i128::from(counted.map(|r| i64::from(v[r])).sum::<i64>()),
            ColumnData::Int8(v) => counted.map(|r| i128::from(v[r])).sum(),
            _ => {
                return rows.iter().try_for_each(|r| self.add(ctx, &[column.datum(*r as usize)]));
            }
        };
        self.sum += sum;
        self.rows += count;
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        match self.result {
            IntegerResult::Int8 => i64::try_from(self.sum)
                .map(Datum::Int8)
                .map_err(|_| SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")),
            IntegerResult::Numeric => Ok(from_numeric(Numeric::from_i128(self.sum, 0))),
            IntegerResult::Average => {
                Numeric::from_i128(self.sum, 0).div(&Numeric::from(self.rows)).map(from_numeric)
            }
        }
    }
}

/// Sums of numerics: in 128 bits at the largest scale seen, until something does not fit.
struct NumericSum {
    average: bool,
    rows: i64,
    fast: i128,
    scale: u16,
    /// What the fast sum could not hold.
    exact: Option<Numeric>,
}

impl NumericSum {
    fn new(average: bool) -> Self {
        NumericSum { average, rows: 0, fast: 0, scale: 0, exact: None }
    }

    fn add_fast(&mut self, n: &Numeric) -> Option<()> {
        let scale = self.scale.max(n.scale);
        let rescaled = if scale == self.scale {
            self.fast
        } else {
            self.fast.checked_mul(10i128.checked_pow(u32::from(scale - self.scale))?)?
        };
        let sum = rescaled.checked_add(n.to_i128(scale)?)?;
        (self.fast, self.scale) = (sum, scale);
        Some(())
    }

    fn sum(&self) -> SqlResult<Numeric> {
        let fast = Numeric::from_i128(self.fast, self.scale);
        match &self.exact {
            Some(exact) => exact.add(&fast),
            None => Ok(fast),
        }
    }
}

impl Accumulator for NumericSum {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() {
            return Ok(());
        }
        let n = numeric(&args[0]);
        self.rows += 1;
        if self.add_fast(n).is_none() {
            let exact = self.exact.take();
            self.exact = Some(match exact {
                Some(exact) => exact.add(n)?,
                None => n.clone(),
            });
        }
        Ok(())
    }

    fn add_rows(&mut self, ctx: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        let ColumnData::Datum(values) = &args[0].data else {
            return rows.iter().try_for_each(|r| self.add(ctx, &[args[0].datum(*r as usize)]));
        };
        rows.iter().try_for_each(|r| self.add(ctx, std::slice::from_ref(&values[*r as usize])))
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        let sum = self.sum()?;
        if self.average { sum.div(&Numeric::from(self.rows)) } else { Ok(sum) }.map(from_numeric)
    }
}

enum FloatResult {
    Float4,
    Float8,
    Average,
}

struct FloatSum {
    result: FloatResult,
    sum: f64,
    rows: i64,
}

impl FloatSum {
    fn add_value(&mut self, value: f64) -> SqlResult<()> {
        let infinite = self.sum.is_infinite() || value.is_infinite();
        self.sum = match self.result {
            FloatResult::Float4 => f64::from((self.sum + value) as f32),
            _ => self.sum + value,
        };
        self.rows += 1;
        if self.sum.is_infinite() && !infinite {
            return Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
        }
        Ok(())
    }
}

impl Accumulator for FloatSum {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() { Ok(()) } else { self.add_value(float(&args[0])) }
    }

    fn add_rows(&mut self, ctx: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        let column = args[0];
        let ColumnData::Float8(values) = &column.data else {
            return rows.iter().try_for_each(|r| self.add(ctx, &[column.datum(*r as usize)]));
        };
        let mut valid = rows.iter().map(|r| *r as usize).filter(|r| !column.is_null(*r));
        valid.try_for_each(|r| self.add_value(values[r]))
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        Ok(match self.result {
            FloatResult::Float4 => Datum::Float4(self.sum as f32),
            FloatResult::Float8 => Datum::Float8(self.sum),
            FloatResult::Average => Datum::Float8(self.sum / self.rows as f64),
        })
    }
}

struct IntervalSum {
    average: bool,
    sum: Interval,
    rows: i64,
}

impl Accumulator for IntervalSum {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if !args[0].is_null() {
            let sum = self.sum.checked_add(interval(&args[0]));
            self.sum = sum.ok_or_else(crate::types::datetime::interval_out_of_range)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        let value = if self.average { self.sum.divide(self.rows as f64)? } else { self.sum };
        Ok(Datum::Interval(value))
    }
}

/// Combines values two by two; NULLs are passed over.
struct Fold(Datum, fn(&Datum, &Datum) -> Datum);

impl Accumulator for Fold {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if self.0.is_null() {
            self.0 = args[0].clone();
        } else if !args[0].is_null() {
            self.0 = (self.1)(&self.0, &args[0]);
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(self.0.clone())
    }
}

fn bits(a: &Datum, b: &Datum, op: fn(i64, i64) -> i64) -> Datum {
    let value = op(int(a), int(b));
    match a {
        Datum::Int2(_) => Datum::Int2(value as i16),
        Datum::Int4(_) => Datum::Int4(value as i32),
        _ => Datum::Int8(value),
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::aggregate(2803, "count", &[], Oid::INT8, &COUNT_ROWS),
    Function::aggregate(2147, "count", &[Oid::ANY], Oid::INT8, &COUNT),
    Function::aggregate(2131, "min", &[Oid::INT8], Oid::INT8, &MIN),
    Function::aggregate(2115, "max", &[Oid::INT8], Oid::INT8, &MAX),
    Function::aggregate(2132, "min", &[Oid::INT4], Oid::INT4, &MIN),
    Function::aggregate(2116, "max", &[Oid::INT4], Oid::INT4, &MAX),
    Function::aggregate(2133, "min", &[Oid::INT2], Oid::INT2, &MIN),
    Function::aggregate(2117, "max", &[Oid::INT2], Oid::INT2, &MAX),
    Function::aggregate(2134, "min", &[Oid::OID], Oid::OID, &MIN),
    Function::aggregate(2118, "max", &[Oid::OID], Oid::OID, &MAX),
    Function::aggregate(2135, "min", &[Oid::FLOAT4], Oid::FLOAT4, &MIN),
    Function::aggregate(2119, "max", &[Oid::FLOAT4], Oid::FLOAT4, &MAX),
    Function::aggregate(2136, "min", &[Oid::FLOAT8], Oid::FLOAT8, &MIN),
    Function::aggregate(2120, "max", &[Oid::FLOAT8], Oid::FLOAT8, &MAX),
    Function::aggregate(2138, "min", &[Oid::DATE], Oid::DATE, &MIN),
    Function::aggregate(2122, "max", &[Oid::DATE], Oid::DATE, &MAX),
    Function::aggregate(2139, "min", &[Oid::TIME], Oid::TIME, &MIN),
    Function::aggregate(2123, "max", &[Oid::TIME], Oid::TIME, &MAX),
    Function::aggregate(2142, "min", &[Oid::TIMESTAMP], Oid::TIMESTAMP, &MIN),
    Function::aggregate(2126, "max", &[Oid::TIMESTAMP], Oid::TIMESTAMP, &MAX),
    Function::aggregate(2143, "min", &[Oid::TIMESTAMPTZ], Oid::TIMESTAMPTZ, &MIN),
    Function::aggregate(2127, "max", &[Oid::TIMESTAMPTZ], Oid::TIMESTAMPTZ, &MAX),
    Function::aggregate(2144, "min", &[Oid::INTERVAL], Oid::INTERVAL, &MIN),
    Function::aggregate(2128, "max", &[Oid::INTERVAL], Oid::INTERVAL, &MAX),
    Function::aggregate(2145, "min", &[Oid::TEXT], Oid::TEXT, &MIN),
    Function::aggregate(2129, "max", &[Oid::TEXT], Oid::TEXT, &MAX),
    Function::aggregate(2146, "min", &[Oid::NUMERIC], Oid::NUMERIC, &MIN),
    Function::aggregate(2130, "max", &[Oid::NUMERIC], Oid::NUMERIC, &MAX),
    Function::aggregate(2245, "min", &[Oid::BPCHAR], Oid::BPCHAR, &MIN),
    Function::aggregate(2244, "max", &[Oid::BPCHAR], Oid::BPCHAR, &MAX),
    Function::aggregate(2051, "min", &[Oid::ANYARRAY], Oid::ANYARRAY, &MIN),
    Function::aggregate(2050, "max", &[Oid::ANYARRAY], Oid::ANYARRAY, &MAX),
    Function::aggregate(2109, "sum", &[Oid::INT2], Oid::INT8, &SUM_INT),
    Function::aggregate(2102, "avg", &[Oid::INT2], Oid::NUMERIC, &AVG_INT),
    Function::aggregate(2108, "sum", &[Oid::INT4], Oid::INT8, &SUM_INT),
    Function::aggregate(2101, "avg", &[Oid::INT4], Oid::NUMERIC, &AVG_INT),
    Function::aggregate(2107, "sum", &[Oid::INT8], Oid::NUMERIC, &SUM_INT8),
    Function::aggregate(2100, "avg", &[Oid::INT8], Oid::NUMERIC, &AVG_INT),
    Function::aggregate(2114, "sum", &[Oid::NUMERIC], Oid::NUMERIC, &SUM_NUMERIC),
    Function::aggregate(2103, "avg", &[Oid::NUMERIC], Oid::NUMERIC, &AVG_NUMERIC),
    Function::aggregate(2110, "sum", &[Oid::FLOAT4], Oid::FLOAT4, &SUM_FLOAT4),
    Function::aggregate(2111, "sum", &[Oid::FLOAT8], Oid::FLOAT8, &SUM_FLOAT8),
    Function::aggregate(2104, "avg", &[Oid::FLOAT4], Oid::FLOAT8, &AVG_FLOAT),
    Function::aggregate(2105, "avg", &[Oid::FLOAT8], Oid::FLOAT8, &AVG_FLOAT),
    Function::aggregate(2113, "sum", &[Oid::INTERVAL], Oid::INTERVAL, &SUM_INTERVAL),
    Function::aggregate(2106, "avg", &[Oid::INTERVAL], Oid::INTERVAL, &AVG_INTERVAL),
    Function::aggregate(2517, "bool_and", &[Oid::BOOL], Oid::BOOL, &BOOL_AND),
    Function::aggregate(2519, "every", &[Oid::BOOL], Oid::BOOL, &BOOL_AND),
    Function::aggregate(2518, "bool_or", &[Oid::BOOL], Oid::BOOL, &BOOL_OR),
    Function::aggregate(2236, "bit_and", &[Oid::INT2], Oid::INT2, &BIT_AND),
    Function::aggregate(2237, "bit_or", &[Oid::INT2], Oid::INT2, &BIT_OR),
    Function::aggregate(6164, "bit_xor", &[Oid::INT2], Oid::INT2, &BIT_XOR),
    Function::aggregate(2238, "bit_and", &[Oid::INT4], Oid::INT4, &BIT_AND),
    Function::aggregate(2239, "bit_or", &[Oid::INT4], Oid::INT4, &BIT_OR),
    Function::aggregate(6165, "bit_xor", &[Oid::INT4], Oid::INT4, &BIT_XOR),
    Function::aggregate(2240, "bit_and", &[Oid::INT8], Oid::INT8, &BIT_AND),
    Function::aggregate(2241, "bit_or", &[Oid::INT8], Oid::INT8, &BIT_OR),
    Function::aggregate(6166, "bit_xor", &[Oid::INT8], Oid::INT8, &BIT_XOR),
];
