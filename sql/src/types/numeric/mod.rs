//! NUMERIC: arbitrary precision decimals with PostgreSQL's scale rules, NaN and infinities.
//!
//! A value is a string of base-10000 digits, a weight and a display scale, as in PostgreSQL, so that the scale of every
//! result can be computed by PostgreSQL's rules. What must stay true: `digits` has neither leading nor trailing
//! zeros; zero has no digits, weight 0 and a positive sign; a scale never cuts digits that are there.

pub mod convert;
pub mod text;
pub mod arithmetic;
pub mod divide;
pub mod transcendental;

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::error::{SqlError, SqlResult, state};

/// Up to eight (32 decimal digits) without an allocation of their own.
pub type Digits = SmallVec<[i16; 8]>;

/// The base of a digit, and its decimal digits.
pub(crate) const BASE: i32 = 10_000;
pub(crate) const DIGIT_WIDTH: i32 = 4;
pub(crate) const MAX_SCALE: i32 = 16_383;
/// Decimal digits before the point, at most.
pub(crate) const MAX_WEIGHT_DIGITS: i32 = 131_072;
const MAX_WEIGHT: i32 = 131_072 / DIGIT_WIDTH;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Numeric {
    pub sign: Sign,
    /// Weight of the first digit: the value is `sum(digits[i] * 10000^(weight - i))`.
    pub weight: i16,
    /// Digits after the decimal point that are shown.
    pub scale: u16,
    /// Without leading or trailing zero digits; empty for zero, NaN and infinities.
    pub digits: Digits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    Positive,
    Negative,
    NaN,
    Infinity,
    NegativeInfinity,
}

impl Numeric {
    pub fn zero(scale: u16) -> Numeric {
        Numeric { sign: Sign::Positive, weight: 0, scale, digits: Digits::new() }
    }

    pub fn special(sign: Sign) -> Numeric {
        Numeric { sign, weight: 0, scale: 0, digits: Digits::new() }
    }

    pub fn nan() -> Numeric {
        Self::special(Sign::NaN)
    }

    /// From a magnitude, stripping zeros; `22003` where the weight exceeds the format.
    pub(crate) fn from_digits(
        negative: bool,
        mut weight: i32,
        scale: i32,
        mut digits: Digits,
    ) -> SqlResult<Numeric> {
        let leading = digits.iter().take_while(|d| **d == 0).count();
        if leading > 0 {
            digits.drain(..leading);
            weight -= leading as i32;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Ok(Self::zero(scale as u16));
        }
        if weight >= MAX_WEIGHT {
            return Err(overflow());
        }
        let sign = if negative { Sign::Negative } else { Sign::Positive };
        Ok(Numeric { sign, weight: weight as i16, scale: scale as u16, digits })
    }

    pub fn is_nan(&self) -> bool {
        self.sign == Sign::NaN
    }

    pub fn is_infinite(&self) -> bool {
        matches!(self.sign, Sign::Infinity | Sign::NegativeInfinity)
    }

    pub fn is_special(&self) -> bool {
        !matches!(self.sign, Sign::Positive | Sign::Negative)
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty() && !self.is_special()
    }

    pub fn is_negative(&self) -> bool {
        matches!(self.sign, Sign::Negative | Sign::NegativeInfinity)
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match self.sign {
            Sign::Negative | Sign::NegativeInfinity => -1,
            _ if self.is_zero() => 0,
            _ => 1,
        }
    }

    /// NaN is equal to itself and above everything.
    pub fn compare(&self, other: &Numeric) -> Ordering {
        fn rank(n: &Numeric) -> u8 {
            match n.sign {
                Sign::NegativeInfinity => 0,
                Sign::Negative => 1,
                Sign::Positive => 2,
                Sign::Infinity => 3,
                Sign::NaN => 4,
            }
        }
        rank(self).cmp(&rank(other)).then_with(|| match self.sign {
            Sign::Positive => self.compare_magnitude(other),
            Sign::Negative => other.compare_magnitude(self),
            _ => Ordering::Equal,
        })
    }

    pub(crate) fn compare_magnitude(&self, other: &Numeric) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.weight.cmp(&other.weight).then_with(|| self.digits.cmp(&other.digits)),
        }
    }

    /// Equal values give equal bytes, whatever their scale.
    pub fn hash_key(&self, out: &mut Vec<u8>) {
        out.push(self.sign as u8);
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.push(self.digits.len() as u8);
        for digit in &self.digits {
            out.extend_from_slice(&digit.to_le_bytes());
        }
    }

    /// numeric(precision, scale): rounds, and refuses what has more integer digits than fit.
    pub fn apply_typmod(&self, precision: i32, scale: i32) -> SqlResult<Numeric> {
        if self.is_nan() {
            return Ok(self.clone());
        }
        let field_overflow = |detail: String| {
            Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
                .with_detail(detail))
        };
        if self.is_infinite() {
            return field_overflow(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            ));
        }
        let rounded = self.round(scale)?;
        if rounded.integer_digits() > precision - scale {
            let power = precision - scale;
            let limit = if power == 0 { "1".to_owned() } else { format!("10^{power}") };
            return field_overflow(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
            ));
        }
        Ok(rounded)
    }

    /// Decimal digits before the point, negative for leading zeros behind it; very negative for zero.
    pub(crate) fn integer_digits(&self) -> i32 {
        let Some(&first) = self.digits.first() else { return i32::MIN / 2 };
        let width = match first {
            0..=9 => 1,
            10..=99 => 2,
            100..=999 => 3,
            _ => 4,
        };
        i32::from(self.weight) * DIGIT_WIDTH + width
    }
}

pub(crate) fn overflow() -> SqlError {
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}
