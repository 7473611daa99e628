//! exp, ln, log and power of NUMERIC.
//!
//! Scales of results are PostgreSQL's. Values are computed with guard digits by series over exact decimal arithmetic,
//! after reducing the argument to where the series converges quickly.

use super::divide::MAX_DISPLAY_SCALE;
use super::{MAX_SCALE, Numeric, Sign, overflow};
use crate::error::{SqlError, SqlResult, state};

const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// Digits computed beyond those that are shown.
const GUARD: i32 = 8;

fn logarithm_domain(n: &Numeric) -> SqlResult<()> {
    match n.signum() {
        0 => Err(SqlError::new("2201E", "cannot take logarithm of zero")),
        -1 => Err(SqlError::new("2201E", "cannot take logarithm of a negative number")),
        _ => Ok(()),
    }
}

fn display_scale(wanted: i32) -> i32 {
    wanted.clamp(0, MAX_DISPLAY_SCALE)
}

impl Numeric {
    /// The smallest scale that shows every digit.
    pub fn min_scale(&self) -> i32 {
        let Some(&last) = self.digits.last() else { return 0 };
        let behind = self.digits.len() as i32 - 1 - i32::from(self.weight);
        if behind <= 0 {
            return 0;
        }
        let zeros = if last % 1000 == 0 {
            3
        } else if last % 100 == 0 {
            2
        } else {
            i32::from(last % 10 == 0)
        };
        behind * super::DIGIT_WIDTH - zeros
    }

    pub fn exp(&self) -> SqlResult<Numeric> {
        match self.sign {
            Sign::NaN | Sign::Infinity => return Ok(self.clone()),
            Sign::NegativeInfinity => return Ok(Numeric::zero(0)),
            _ => {}
        }
        // Decimal digits before the point of the result: x / ln 10.
        let weight = self.to_f64() * std::f64::consts::LOG10_E;
        let scale = display_scale(MIN_SIGNIFICANT_DIGITS - weight.clamp(-2000.0, 2000.0) as i32)
            .max(i32::from(self.scale))
            .min(MAX_DISPLAY_SCALE);
        self.exp_scaled(scale)
    }

    /// exp to `scale` digits behind the point.
    fn exp_scaled(&self, scale: i32) -> SqlResult<Numeric> {
        let x = self.to_f64();
        if x.abs() >= f64::from(3 * MAX_SCALE * 6) {
            return if x > 0.0 { Err(overflow()) } else { Ok(Numeric::zero(scale as u16)) };
        }
        let weight = (x * std::f64::consts::LOG10_E) as i32;
        // exp(x) = exp(x / 2^n)^(2^n), with x / 2^n below 0.01.
        let mut halvings = 0;
        let mut magnitude = x.abs();
        while magnitude > 0.01 {
            magnitude /= 2.0;
            halvings += 1;
        }
        let work = (scale + weight.max(0) + GUARD + halvings / 3 + 2).max(GUARD);
        let divisor = Numeric::from_i128(1i128 << halvings, 0);
        let reduced = self.div_scaled(&divisor, work + weight.abs().min(work), true)?;
        let work = work + weight.abs().min(work);
        let mut sum = Numeric::from(1);
        let mut term = Numeric::from(1);
        for i in 1i64.. {
            term = term.mul_exact(&reduced, MAX_SCALE)?.round(work)?.div_scaled(
                &Numeric::from(i),
                work,
                true,
            )?;
            if term.is_zero() {
                break;
            }
            sum = sum.add(&term)?;
        }
        for _ in 0..halvings {
            // The digits that count shrink as the value grows.
            let keep = (work - sum.integer_digits().max(0)).max(scale + GUARD);
            sum = sum.mul_exact(&sum.clone(), MAX_SCALE)?.round(keep)?;
        }
        sum.round(scale)
    }

    /// Decimal weight of the result of ln, as PostgreSQL estimates it to choose scales.
    fn ln_weight(&self) -> i32 {
        let near_one = self.sub(&Numeric::from(1)).map(|d| d.to_f64().abs()).unwrap_or(1.0);
        if (0.9..=1.1).contains(&self.to_f64()) {
            if near_one == 0.0 { 0 } else { near_one.log10().floor() as i32 }
        } else {
            let ln = self.ln_estimate().abs();
            if ln == 0.0 { 0 } else { ln.log10() as i32 }
        }
    }

    /// ln of the magnitude as a double, also where the value itself has no double.
    fn ln_estimate(&self) -> f64 {
        let Some(&first) = self.digits.first() else { return 0.0 };
        let second = self.digits.get(1).copied().unwrap_or(0);
        let third = self.digits.get(2).copied().unwrap_or(0);
        let lead = f64::from(first) + f64::from(second) / 1e4 + f64::from(third) / 1e8;
        lead.ln() + f64::from(self.weight) * 10_000f64.ln()
    }

    pub fn ln(&self) -> SqlResult<Numeric> {
        if self.is_nan() {
            return Ok(self.clone());
        }
        logarithm_domain(self)?;
        if self.is_infinite() {
            return Ok(self.clone());
        }
        let scale = display_scale(MIN_SIGNIFICANT_DIGITS - self.ln_weight())
            .max(i32::from(self.scale))
            .min(MAX_DISPLAY_SCALE);
        self.ln_scaled(scale)
    }

    /// ln of a positive value to `scale` digits behind the point.
    fn ln_scaled(&self, scale: i32) -> SqlResult<Numeric> {
        let work = scale + GUARD;
        // ln(x) = 2^n ln(x^(1 / 2^n)), with the root within 0.95 and 1.05.
        let one = Numeric::from(1);
        let mut roots = 0;
        let mut x = self.clone();
        let mut digits = work + 2;
        while (x.ln_estimate()).abs() > 0.05 {
            digits += 1;
            x = x.sqrt_scaled(digits + 12)?;
            roots += 1;
        }
        let work = digits + 10;
        // ln((1 + z) / (1 - z)) = 2 (z + z^3 / 3 + z^5 / 5 + …)
        let z = x.sub(&one)?.div_scaled(&x.add(&one)?, work, true)?;
        let square = z.mul_exact(&z, MAX_SCALE)?.round(work)?;
        let mut power = z.clone();
        let mut sum = z;
        for i in (3i64..).step_by(2) {
            power = power.mul_exact(&square, MAX_SCALE)?.round(work)?;
            let term = power.div_scaled(&Numeric::from(i), work, true)?;
            if term.is_zero() {
                break;
            }
            sum = sum.add(&term)?;
        }
        let factor = Numeric::from_i128(1i128 << (roots + 1), 0);
        sum.mul_exact(&factor, MAX_SCALE)?.round(scale)
    }

    /// The logarithm of `of` to the base `self`.
    pub fn log(&self, of: &Numeric) -> SqlResult<Numeric> {
        if self.is_nan() || of.is_nan() {
            return Ok(Numeric::nan());
        }
        logarithm_domain(self)?;
        logarithm_domain(of)?;
        if self.is_infinite() || of.is_infinite() {
            return Ok(match (self.is_infinite(), of.is_infinite()) {
                (true, true) => Numeric::nan(),
                (true, false) => Numeric::zero(0),
                _ => Numeric::special(Sign::Infinity),
            });
        }
        let (base_ln, of_ln) = (self.ln_estimate(), of.ln_estimate());
        let (base_weight, of_weight) = (self.ln_weight(), of.ln_weight());
        let _ = (base_ln, of_ln);
        let result_weight = of_weight - base_weight;
        let scale = display_scale(MIN_SIGNIFICANT_DIGITS - result_weight)
            .max(i32::from(self.scale))
            .max(i32::from(of.scale))
            .min(MAX_DISPLAY_SCALE);
        let work = scale + result_weight.max(0) + GUARD;
        let numerator = of.ln_scaled((work - of_weight.min(0)).max(0))?;
        let denominator = self.ln_scaled((work - base_weight.min(0)).max(0))?;
        if denominator.is_zero() {
            return Err(super::divide::division_by_zero());
        }
        numerator.div_scaled(&denominator, scale, true)
    }

    pub fn power(&self, exponent: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || exponent.is_special() {
            return self.power_special(exponent);
        }
        let zero_base = self.is_zero();
        if zero_base && exponent.is_negative() {
            return Err(SqlError::new("2201F", "zero raised to a negative power is undefined"));
        }
        let integral = exponent.min_scale() == 0;
        if self.is_negative() && !integral {
            return Err(SqlError::new(
                "2201F",
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        let scales = i32::from(self.scale).max(i32::from(exponent.scale));
        if integral
            && let Some(n) = exponent.to_i64()
            && n.abs() <= i64::from(i32::MAX)
        {
            return self.power_integer(n, i32::from(self.scale));
        }
        if zero_base {
            return Ok(Numeric::zero(MIN_SIGNIFICANT_DIGITS as u16));
        }
        let negative = self.is_negative() && exponent.is_odd();
        let result = self.abs().power_fraction(exponent, scales)?;
        Ok(if negative { result.negate() } else { result })
    }

    fn is_odd(&self) -> bool {
        self.digits.len() as i32 == i32::from(self.weight) + 1
            && self.digits.last().is_some_and(|d| d % 2 != 0)
    }

    /// exp(exponent · ln(self)), for a positive base.
    fn power_fraction(&self, exponent: &Numeric, scales: i32) -> SqlResult<Numeric> {
        let log_estimate = self.ln_estimate() * exponent.to_f64();
        if log_estimate.abs() > f64::from(MAX_SCALE) * 20.0 {
            if log_estimate > 0.0 {
                return Err(overflow());
            }
            return Ok(Numeric::zero(MAX_DISPLAY_SCALE as u16));
        }
        let weight = (log_estimate * std::f64::consts::LOG10_E) as i32;
        let scale = display_scale(MIN_SIGNIFICANT_DIGITS - weight).max(scales).min(MAX_DISPLAY_SCALE);
        let product_weight = if log_estimate == 0.0 { 0 } else { log_estimate.abs().log10().max(0.0) as i32 };
        let work = scale + weight.max(0) + product_weight + GUARD;
        let exponent_digits = exponent.integer_digits().max(0);
        let ln = self.ln_scaled(work + exponent_digits)?;
        ln.mul_exact(exponent, MAX_SCALE)?.round(work)?.exp_scaled(scale)
    }

    fn power_integer(&self, n: i64, input_scale: i32) -> SqlResult<Numeric> {
        let log10 = if self.is_zero() { 0.0 } else { self.abs().ln_estimate() * std::f64::consts::LOG10_E };
        let weight = log10 * n as f64;
        if weight > f64::from(super::MAX_WEIGHT_DIGITS) + 100.0 {
            return Err(overflow());
        }
        let scale = display_scale(MIN_SIGNIFICANT_DIGITS.max(input_scale));
        if weight < -f64::from(MAX_SCALE) * 2.0 {
            return Ok(Numeric::zero(scale as u16));
        }
        match n {
            0 => return Numeric::from(1).round(scale),
            1 => return self.round(scale),
            -1 => return Numeric::from(1).div_scaled(self, scale, true),
            2 => return self.mul_exact(self, MAX_SCALE)?.round(scale),
            _ => {}
        }
        if self.is_zero() {
            return Ok(Numeric::zero(scale as u16));
        }
        // Significant digits kept while multiplying.
        let significant =
            (1 + scale + weight.abs() as i32).max(1) + GUARD + 64 - (n.unsigned_abs().leading_zeros() as i32);
        let trim = |v: Numeric| -> SqlResult<Numeric> {
            let keep = significant - v.integer_digits();
            if keep < MAX_SCALE { v.round(keep.max(-100_000)) } else { Ok(v) }
        };
        let mut base = self.clone();
        let mut result = Numeric::from(1);
        let mut bits = n.unsigned_abs();
        while bits > 0 {
            if bits & 1 == 1 {
                result = trim(result.mul_exact(&base, MAX_SCALE)?)?;
            }
            bits >>= 1;
            if bits > 0 {
                base = trim(base.mul_exact(&base.clone(), MAX_SCALE)?)?;
            }
        }
        if n < 0 {
            return Numeric::from(1).div_scaled(&result, scale, true);
        }
        result.round(scale)
    }

    fn power_special(&self, exponent: &Numeric) -> SqlResult<Numeric> {
        let one = Numeric::from(1);
        if self.is_nan() {
            return Ok(if exponent.is_zero() { one } else { Numeric::nan() });
        }
        if exponent.is_nan() {
            return Ok(if self.compare(&one).is_eq() { one } else { Numeric::nan() });
        }
        if self.signum() == 0 && exponent.signum() < 0 {
            return Err(SqlError::new("2201F", "zero raised to a negative power is undefined"));
        }
        if exponent.is_infinite() {
            let magnitude = self.abs().compare(&one);
            return Ok(if magnitude.is_eq() {
                one
            } else if magnitude.is_gt() == (exponent.sign == Sign::Infinity) {
                Numeric::special(Sign::Infinity)
            } else {
                Numeric::zero(0)
            });
        }
        if exponent.is_zero() {
            return Ok(one);
        }
        if self.sign == Sign::NegativeInfinity && exponent.min_scale() > 0 {
            return Err(SqlError::new(
                state::NUMERIC_VALUE_OUT_OF_RANGE,
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        if exponent.is_negative() {
            return Ok(Numeric::zero(0));
        }
        let negative = self.sign == Sign::NegativeInfinity && exponent.is_odd();
        Ok(Numeric::special(if negative { Sign::NegativeInfinity } else { Sign::Infinity }))
    }
}
