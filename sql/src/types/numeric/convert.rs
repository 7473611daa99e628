//! NUMERIC to and from integers and floats.

use super::{BASE, DIGIT_WIDTH, Digits, Numeric, Sign};
use crate::error::SqlResult;

impl From<i64> for Numeric {
    fn from(v: i64) -> Self {
        Numeric::from_i128(i128::from(v), 0)
    }
}

impl From<i32> for Numeric {
    fn from(v: i32) -> Self {
        Numeric::from(i64::from(v))
    }
}

impl Numeric {
    /// `value / 10^scale`, shown with `scale` digits.
    pub fn from_i128(value: i128, scale: u16) -> Numeric {
        let mut magnitude = value.unsigned_abs();
        let scale_groups = (i32::from(scale) + DIGIT_WIDTH - 1) / DIGIT_WIDTH;
        let pad = scale_groups * DIGIT_WIDTH - i32::from(scale);
        let mut reversed: smallvec::SmallVec<[i16; 16]> = smallvec::SmallVec::new();
        if pad > 0 {
            // The last group takes fewer decimals than the others.
            let unit = 10u128.pow((DIGIT_WIDTH - pad) as u32);
            reversed.push(((magnitude % unit) as i32 * 10i32.pow(pad as u32)) as i16);
            magnitude /= unit;
        }
        while magnitude > u128::from(u64::MAX) {
            reversed.push((magnitude % BASE as u128) as i16);
            magnitude /= BASE as u128;
        }
        let mut small = magnitude as u64;
        while small > 0 {
            reversed.push((small % BASE as u64) as i16);
            small /= BASE as u64;
        }
        let weight = reversed.len() as i32 - 1 - scale_groups;
        let digits: Digits = reversed.iter().rev().copied().collect();
        Numeric::from_digits(value < 0, weight, i32::from(scale), digits)
            .expect("39 decimal digits fit the format")
    }

    /// `self * 10^scale` exactly, if it is an integer that fits; `scale` must be at least the value's own.
    pub fn to_i128(&self, scale: u16) -> Option<i128> {
        if self.is_special() {
            return None;
        }
        let mut value: i128 = 0;
        for &digit in &self.digits {
            value = value.checked_mul(i128::from(BASE))?.checked_add(i128::from(digit))?;
        }
        // The last digit's unit is 10^last.
        let last = (i32::from(self.weight) + 1 - self.digits.len() as i32) * DIGIT_WIDTH;
        let shift = last + i32::from(scale);
        value = if shift >= 0 {
            if value == 0 { 0 } else { value.checked_mul(10i128.checked_pow(shift as u32)?)? }
        } else {
            let unit = 10i128.checked_pow((-shift) as u32)?;
            if value % unit != 0 {
                return None;
            }
            value / unit
        };
        Some(if self.sign == Sign::Negative { -value } else { value })
    }

    /// Rounded half away from zero; `None` for NaN, infinities and what does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        if self.is_special() {
            return None;
        }
        let rounded = self.round(0).ok()?;
        i64::try_from(rounded.to_i128(0)?).ok()
    }

    pub fn to_f64(&self) -> f64 {
        match self.sign {
            Sign::NaN => f64::NAN,
            Sign::Infinity => f64::INFINITY,
            Sign::NegativeInfinity => f64::NEG_INFINITY,
            // The nearest double: decimal text is exact, and the standard parser rounds correctly.
            _ => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// As PostgreSQL casts: through 15 (float4: 6) significant decimal digits.
    pub fn from_f64(v: f64) -> SqlResult<Numeric> {
        Self::from_float(v, 15)
    }

    pub fn from_f32(v: f32) -> SqlResult<Numeric> {
        Self::from_float(f64::from(v), 6)
    }

    fn from_float(v: f64, significant: usize) -> SqlResult<Numeric> {
        if v.is_nan() {
            return Ok(Numeric::nan());
        }
        if v.is_infinite() {
            return Ok(Numeric::special(if v > 0.0 { Sign::Infinity } else { Sign::NegativeInfinity }));
        }
        // %.15g: the shortest of the digits, without trailing zeros.
        let text = format!("{v:.*e}", significant - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = if mantissa.contains('.') {
            mantissa.trim_end_matches('0').trim_end_matches('.')
        } else {
            mantissa
        };
        Numeric::parse(&format!("{mantissa}e{exponent}"))
    }
}
