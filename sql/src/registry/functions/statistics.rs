//! Variance, standard deviation, covariance and linear regression.

use super::arguments::{float, from_numeric, int};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{Accumulator, AggregateDef, EvalContext, Function};
use crate::types::{Datum, Numeric, Oid};

/// Which moment is asked for.
#[derive(Clone, Copy)]
struct Spread {
    /// Divides by n rather than n - 1.
    population: bool,
    /// Standard deviation rather than variance.
    root: bool,
}

macro_rules! spreads {
    ($($exact:ident, $float:ident: $population:literal, $root:literal;)*) => {
        $(
            static $exact: AggregateDef = AggregateDef {
                new: |_| Box::new(ExactSpread::new(Spread { population: $population, root: $root })),
            };
            static $float: AggregateDef = AggregateDef {
                new: |_| Box::new(FloatSpread::new(Spread { population: $population, root: $root })),
            };
        )*
    };
}

spreads! {
    VAR_SAMP, FLOAT_VAR_SAMP: false, false;
    VAR_POP, FLOAT_VAR_POP: true, false;
    STDDEV_SAMP, FLOAT_STDDEV_SAMP: false, true;
    STDDEV_POP, FLOAT_STDDEV_POP: true, true;
}

/// Over integers and numerics: exact sums of values and squares.
struct ExactSpread {
    spread: Spread,
    rows: i64,
    sum: Numeric,
    squares: Numeric,
}

impl ExactSpread {
    fn new(spread: Spread) -> Self {
        ExactSpread { spread, rows: 0, sum: Numeric::zero(0), squares: Numeric::zero(0) }
    }
}

impl Accumulator for ExactSpread {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        let value = match &args[0] {
            Datum::Null => return Ok(()),
            Datum::Numeric(n) => (**n).clone(),
            other => Numeric::from(int(other)),
        };
        self.rows += 1;
        self.sum = self.sum.add(&value)?;
        self.squares = self.squares.add(&value.mul(&value)?)?;
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        let Spread { population, root } = self.spread;
        if self.rows == 0 || (self.rows == 1 && !population) {
            return Ok(Datum::Null);
        }
        if self.sum.is_special() {
            return Ok(from_numeric(Numeric::nan()));
        }
        let n = Numeric::from(self.rows);
        let scaled = self.squares.mul(&n)?.sub(&self.sum.mul(&self.sum)?)?;
        if scaled.signum() <= 0 {
            return Ok(from_numeric(Numeric::zero(0)));
        }
        let divisor = if population { n.mul(&n)? } else { n.mul(&Numeric::from(self.rows - 1))? };
        let scale = scaled.division_scale(&divisor);
        let variance = scaled.div_scaled(&divisor, scale, true)?;
        if root { variance.sqrt_scaled(scale) } else { Ok(variance) }.map(from_numeric)
    }
}

/// Over floats, by Youngs and Cramer's updating formula, as PostgreSQL does.
struct FloatSpread {
    spread: Spread,
    rows: f64,
    sum: f64,
    squares: f64,
}

impl FloatSpread {
    fn new(spread: Spread) -> Self {
        FloatSpread { spread, rows: 0.0, sum: 0.0, squares: 0.0 }
    }
}

impl Accumulator for FloatSpread {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() {
            return Ok(());
        }
        let value = float(&args[0]);
        self.rows += 1.0;
        self.sum += value;
        if self.rows > 1.0 {
            let difference = value * self.rows - self.sum;
            self.squares += difference * difference / (self.rows * (self.rows - 1.0));
            if self.squares.is_infinite() && value.is_finite() && self.sum.is_finite() {
                return Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
            }
        } else if !value.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        let Spread { population, root } = self.spread;
        if self.rows == 0.0 || (self.rows == 1.0 && !population) {
            return Ok(Datum::Null);
        }
        let variance = self.squares / if population { self.rows } else { self.rows - 1.0 };
        Ok(Datum::Float8(if root { variance.sqrt() } else { variance }))
    }
}

/// What the two-argument statistics compute from the sums over pairs (y, x).
type PairResult = fn(&Pairs) -> Option<f64>;

/// Sums over pairs of doubles: corr, covar and the regr family.
struct Pairs {
    result: PairResult,
    n: f64,
    sum_x: f64,
    sum_xx: f64,
    sum_y: f64,
    sum_yy: f64,
    sum_xy: f64,
}

impl Accumulator for Pairs {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() || args[1].is_null() {
            return Ok(());
        }
        let (y, x) = (float(&args[0]), float(&args[1]));
        self.n += 1.0;
        self.sum_x += x;
        self.sum_y += y;
        if self.n > 1.0 {
            let (dx, dy) = (x * self.n - self.sum_x, y * self.n - self.sum_y);
            let weight = 1.0 / (self.n * (self.n - 1.0));
            self.sum_xx += dx * dx * weight;
            self.sum_yy += dy * dy * weight;
            self.sum_xy += dx * dy * weight;
        } else if !x.is_finite() || !y.is_finite() {
            (self.sum_xx, self.sum_yy, self.sum_xy) = (f64::NAN, f64::NAN, f64::NAN);
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok((self.result)(self).map_or(Datum::Null, Datum::Float8))
    }
}

fn some_if(condition: bool, value: f64) -> Option<f64> {
    condition.then_some(value)
}

macro_rules! pairs {
    ($($name:ident = $body:expr;)*) => {
        $(static $name: AggregateDef = AggregateDef {
            new: |_| {
                let result: PairResult = $body;
                Box::new(Pairs { result, n: 0.0, sum_x: 0.0, sum_xx: 0.0, sum_y: 0.0, sum_yy: 0.0, sum_xy: 0.0 })
            },
        };)*
    };
}

pairs! {
    COVAR_POP = |p| some_if(p.n >= 1.0, p.sum_xy / p.n);
    COVAR_SAMP = |p| some_if(p.n >= 2.0, p.sum_xy / (p.n - 1.0));
    CORR = |p| some_if(p.n >= 1.0 && p.sum_xx != 0.0 && p.sum_yy != 0.0, p.sum_xy / (p.sum_xx * p.sum_yy).sqrt());
    REGR_AVGX = |p| some_if(p.n >= 1.0, p.sum_x / p.n);
    REGR_AVGY = |p| some_if(p.n >= 1.0, p.sum_y / p.n);
    REGR_SXX = |p| some_if(p.n >= 1.0, p.sum_xx);
    REGR_SYY = |p| some_if(p.n >= 1.0, p.sum_yy);
    REGR_SXY = |p| some_if(p.n >= 1.0, p.sum_xy);
    REGR_SLOPE = |p| some_if(p.n >= 1.0 && p.sum_xx != 0.0, p.sum_xy / p.sum_xx);
    REGR_INTERCEPT = |p| some_if(
        p.n >= 1.0 && p.sum_xx != 0.0,
        (p.sum_y - p.sum_x * p.sum_xy / p.sum_xx) / p.n
    );
    REGR_R2 = |p| {
        if p.n < 1.0 || p.sum_xx == 0.0 {
            return None;
        }
        Some(if p.sum_yy == 0.0 { 1.0 } else { p.sum_xy * p.sum_xy / (p.sum_xx * p.sum_yy) })
    };
}

static REGR_COUNT: AggregateDef = AggregateDef { new: |_| Box::new(PairCount(0)) };

struct PairCount(i64);

impl Accumulator for PairCount {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        self.0 += i64::from(!args[0].is_null() && !args[1].is_null());
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(Datum::Int8(self.0))
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::aggregate(2641, "var_samp", &[Oid::INT8], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2642, "var_samp", &[Oid::INT4], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2643, "var_samp", &[Oid::INT2], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2646, "var_samp", &[Oid::NUMERIC], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2644, "var_samp", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_VAR_SAMP),
    Function::aggregate(2645, "var_samp", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_VAR_SAMP),
    Function::aggregate(2148, "variance", &[Oid::INT8], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2149, "variance", &[Oid::INT4], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2150, "variance", &[Oid::INT2], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2153, "variance", &[Oid::NUMERIC], Oid::NUMERIC, &VAR_SAMP),
    Function::aggregate(2151, "variance", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_VAR_SAMP),
    Function::aggregate(2152, "variance", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_VAR_SAMP),
    Function::aggregate(2718, "var_pop", &[Oid::INT8], Oid::NUMERIC, &VAR_POP),
    Function::aggregate(2719, "var_pop", &[Oid::INT4], Oid::NUMERIC, &VAR_POP),
    Function::aggregate(2720, "var_pop", &[Oid::INT2], Oid::NUMERIC, &VAR_POP),
    Function::aggregate(2723, "var_pop", &[Oid::NUMERIC], Oid::NUMERIC, &VAR_POP),
    Function::aggregate(2721, "var_pop", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_VAR_POP),
    Function::aggregate(2722, "var_pop", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_VAR_POP),
    Function::aggregate(2712, "stddev_samp", &[Oid::INT8], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2713, "stddev_samp", &[Oid::INT4], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2714, "stddev_samp", &[Oid::INT2], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2717, "stddev_samp", &[Oid::NUMERIC], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2715, "stddev_samp", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_STDDEV_SAMP),
    Function::aggregate(2716, "stddev_samp", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_STDDEV_SAMP),
    Function::aggregate(2154, "stddev", &[Oid::INT8], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2155, "stddev", &[Oid::INT4], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2156, "stddev", &[Oid::INT2], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2159, "stddev", &[Oid::NUMERIC], Oid::NUMERIC, &STDDEV_SAMP),
    Function::aggregate(2157, "stddev", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_STDDEV_SAMP),
    Function::aggregate(2158, "stddev", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_STDDEV_SAMP),
    Function::aggregate(2724, "stddev_pop", &[Oid::INT8], Oid::NUMERIC, &STDDEV_POP),
    Function::aggregate(2725, "stddev_pop", &[Oid::INT4], Oid::NUMERIC, &STDDEV_POP),
    Function::aggregate(2726, "stddev_pop", &[Oid::INT2], Oid::NUMERIC, &STDDEV_POP),
    Function::aggregate(2729, "stddev_pop", &[Oid::NUMERIC], Oid::NUMERIC, &STDDEV_POP),
    Function::aggregate(2727, "stddev_pop", &[Oid::FLOAT4], Oid::FLOAT8, &FLOAT_STDDEV_POP),
    Function::aggregate(2728, "stddev_pop", &[Oid::FLOAT8], Oid::FLOAT8, &FLOAT_STDDEV_POP),
    Function::aggregate(2827, "covar_pop", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &COVAR_POP),
    Function::aggregate(2828, "covar_samp", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &COVAR_SAMP),
    Function::aggregate(2829, "corr", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &CORR),
    Function::aggregate(2822, "regr_avgx", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_AVGX),
    Function::aggregate(2823, "regr_avgy", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_AVGY),
    Function::aggregate(2819, "regr_sxx", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_SXX),
    Function::aggregate(2820, "regr_syy", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_SYY),
    Function::aggregate(2821, "regr_sxy", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_SXY),
    Function::aggregate(2825, "regr_slope", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_SLOPE),
    Function::aggregate(2826, "regr_intercept", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_INTERCEPT),
    Function::aggregate(2824, "regr_r2", &[Oid::FLOAT8, Oid::FLOAT8], Oid::FLOAT8, &REGR_R2),
    Function::aggregate(2818, "regr_count", &[Oid::FLOAT8, Oid::FLOAT8], Oid::INT8, &REGR_COUNT),
];
