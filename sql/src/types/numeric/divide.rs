//! Division, remainder and square root of NUMERIC.
//!
//! The scale of a quotient is PostgreSQL's: at least 16 significant digits, at least the scale of each operand, at
//! most 1000.

use super::{BASE, DIGIT_WIDTH, Digits, Numeric, Sign};
use crate::error::{SqlError, SqlResult, state};

const MIN_SIGNIFICANT_DIGITS: i32 = 16;
pub(crate) const MAX_DISPLAY_SCALE: i32 = 1000;

pub(crate) fn division_by_zero() -> SqlError {
    SqlError::new(state::DIVISION_BY_ZERO, "division by zero")
}

impl Numeric {
    pub fn div(&self, other: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || other.is_special() {
            return div_special(self, other);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        self.div_scaled(other, self.division_scale(other), true)
    }

    /// The integer part of the quotient.
    pub fn div_trunc(&self, other: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || other.is_special() {
            return div_special(self, other);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        self.div_scaled(other, 0, false)
    }

    /// The remainder, with the sign of `self`.
    pub fn rem(&self, other: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || other.is_special() {
            return rem_special(self, other);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let quotient = self.div_scaled(other, 0, false)?;
        self.sub(&quotient.mul(other)?)
    }

    /// PostgreSQL's select_div_scale.
    pub(crate) fn division_scale(&self, other: &Numeric) -> i32 {
        let lead = |n: &Numeric| match n.digits.first() {
            Some(d) => (i32::from(n.weight), i32::from(*d)),
            None => (0, 0),
        };
        let ((weight1, first1), (weight2, first2)) = (lead(self), lead(other));
        let mut quotient_weight = weight1 - weight2;
        if first1 <= first2 {
            quotient_weight -= 1;
        }
        (MIN_SIGNIFICANT_DIGITS - quotient_weight * DIGIT_WIDTH)
            .max(i32::from(self.scale))
            .max(i32::from(other.scale))
            .clamp(0, MAX_DISPLAY_SCALE)
    }

    /// The quotient of finite values to `scale` digits, rounded or cut.
    pub(crate) fn div_scaled(&self, other: &Numeric, scale: i32, round: bool) -> SqlResult<Numeric> {
        if self.digits.is_empty() {
            return Ok(Numeric::zero(scale as u16));
        }
        // Quotient digits wanted: those before the point, those of the scale, and one to round by.
        let weight = i32::from(self.weight) - i32::from(other.weight);
        let wanted = weight + 1 + (scale + DIGIT_WIDTH - 1) / DIGIT_WIDTH + 1;
        if wanted <= 0 {
            return Ok(Numeric::zero(scale as u16));
        }
        let digits = long_division(&self.digits, &other.digits, wanted as usize);
        let negative = self.sign != other.sign;
        // A long scale, so that `limit` sees every digit.
        let exact = Numeric::from_digits(negative, weight, super::MAX_SCALE, digits)?;
        if round { exact.round(scale) } else { exact.trunc(scale) }
    }

    pub fn sqrt(&self) -> SqlResult<Numeric> {
        let negative = || Err(SqlError::new("2201F", "cannot take square root of a negative number"));
        match self.sign {
            Sign::NaN | Sign::Infinity => return Ok(self.clone()),
            Sign::NegativeInfinity | Sign::Negative => return negative(),
            Sign::Positive => {}
        }
        let sweight = (i32::from(self.weight) + 1) * DIGIT_WIDTH / 2 - 1;
        let scale = (MIN_SIGNIFICANT_DIGITS - sweight).max(i32::from(self.scale)).clamp(0, MAX_DISPLAY_SCALE);
        self.sqrt_scaled(scale)
    }

    /// Newton's iteration from a double, doubling the correct digits each round.
    pub(crate) fn sqrt_scaled(&self, scale: i32) -> SqlResult<Numeric> {
        if self.digits.is_empty() {
            return Ok(Numeric::zero(scale as u16));
        }
        let half_weight = i32::from(self.weight).div_euclid(2);
        let shifted = Numeric { weight: (i32::from(self.weight) - 2 * half_weight) as i16, ..self.clone() };
        let work = scale + 2 * DIGIT_WIDTH + half_weight.max(0) * DIGIT_WIDTH;
        let mut guess = Numeric::from_f64(shifted.to_f64().sqrt())?;
        guess.weight += half_weight as i16;
        let half = Numeric::from_i128(5, 1);
        // 15 digits at the start; each round doubles them.
        let total = work + (i32::from(guess.weight) + 1) * DIGIT_WIDTH;
        let mut correct = 14;
        loop {
            let quotient = self.div_scaled(&guess, work, true)?;
            guess = guess.add(&quotient)?.mul_exact(&half, super::MAX_SCALE)?.round(work)?;
            correct *= 2;
            if correct > total + 8 {
                break;
            }
        }
        guess.round(scale)
    }
}

fn div_special(a: &Numeric, b: &Numeric) -> SqlResult<Numeric> {
    if a.is_nan() || b.is_nan() || (a.is_infinite() && b.is_infinite()) {
        return Ok(Numeric::nan());
    }
    if a.is_infinite() {
        if b.is_zero() {
            return Err(division_by_zero());
        }
        return Ok(if b.is_negative() { a.negate() } else { a.clone() });
    }
    Ok(Numeric::zero(0))
}

fn rem_special(a: &Numeric, b: &Numeric) -> SqlResult<Numeric> {
    if a.is_nan() || b.is_nan() {
        return Ok(Numeric::nan());
    }
    if a.is_infinite() {
        return if b.is_zero() { Err(division_by_zero()) } else { Ok(Numeric::nan()) };
    }
    Ok(a.clone())
}

/// The first `wanted` base-10000 digits of `0.a / 0.b` shifted so that the first has weight weight(a) - weight(b).
fn long_division(a: &[i16], b: &[i16], wanted: usize) -> Digits {
    if b.len() == 1 {
        return short_division(a, i64::from(b[0]), wanted);
    }
    // Knuth's algorithm D: scale so that the divisor's first digit is at least half the base.
    let scale = BASE / (i32::from(b[0]) + 1);
    let divisor = scaled(b, scale, b.len());
    let n = b.len();
    // One more digit in front, for the carry; the quotient's first digit comes from the first n + 1 of them.
    let mut rest = scaled_with_carry(a, scale, (wanted + n).max(a.len()));
    let mut digits = Digits::with_capacity(wanted);
    for at in 0..wanted {
        digits.push(quotient_digit(&mut rest[at..=at + n], &divisor) as i16);
    }
    digits
}

fn short_division(a: &[i16], divisor: i64, wanted: usize) -> Digits {
    let mut rest = 0i64;
    let mut digits = Digits::with_capacity(wanted);
    for at in 0..wanted {
        let current = rest * i64::from(BASE) + a.get(at).map_or(0, |d| i64::from(*d));
        digits.push((current / divisor) as i16);
        rest = current % divisor;
    }
    digits
}

fn scaled(digits: &[i16], by: i32, len: usize) -> Vec<i32> {
    let out = scaled_with_carry(digits, by, len);
    debug_assert_eq!(out[0], 0, "the scaled divisor keeps its length");
    out[1..].to_vec()
}

/// `digits * by` with one more digit in front, padded with zeros to `len` digits behind it.
fn scaled_with_carry(digits: &[i16], by: i32, len: usize) -> Vec<i32> {
    let mut out = vec![0i32; len + 1];
    let mut carry = 0;
    for (at, &d) in digits.iter().enumerate().rev() {
        let product = i32::from(d) * by + carry;
        out[at + 1] = product % BASE;
        carry = product / BASE;
    }
    out[0] = carry;
    out
}

/// One digit of the quotient; `window` (one digit longer than the divisor) becomes the remainder.
fn quotient_digit(window: &mut [i32], divisor: &[i32]) -> i32 {
    let base = i64::from(BASE);
    let head = i64::from(window[0]) * base + i64::from(window[1]);
    let mut guess = (head / i64::from(divisor[0])).min(base - 1);
    let second = divisor.get(1).map_or(0, |d| i64::from(*d));
    let third = window.get(2).map_or(0, |d| i64::from(*d));
    while guess * second > (head - guess * i64::from(divisor[0])) * base + third {
        guess -= 1;
    }
    let mut borrow = 0i64;
    for at in (0..divisor.len()).rev() {
        let value = i64::from(window[at + 1]) - guess * i64::from(divisor[at]) - borrow;
        let digit = value.rem_euclid(base);
        borrow = (digit - value) / base;
        window[at + 1] = digit as i32;
    }
    let mut first = i64::from(window[0]) - borrow;
    if first < 0 {
        guess -= 1;
        let mut carry = 0;
        for at in (0..divisor.len()).rev() {
            let sum = window[at + 1] + divisor[at] + carry;
            carry = i32::from(sum >= BASE);
            window[at + 1] = sum - carry * BASE;
        }
        first += i64::from(carry);
    }
    debug_assert_eq!(first, 0, "the remainder is below the divisor");
    window[0] = first as i32;
    guess as i32
}
