//! Addition, subtraction, multiplication and rounding of NUMERIC.
//!
//! Scales as in PostgreSQL: a sum has the larger scale of its terms, a product the sum of the scales (at most 16383).

use super::{BASE, DIGIT_WIDTH, Digits, MAX_SCALE, Numeric, Sign};
use crate::error::SqlResult;

impl Numeric {
    pub fn negate(&self) -> Numeric {
        let mut out = self.clone();
        out.sign = match self.sign {
            Sign::Positive if self.digits.is_empty() => Sign::Positive,
            Sign::Positive => Sign::Negative,
            Sign::Negative => Sign::Positive,
            Sign::NaN => Sign::NaN,
            Sign::Infinity => Sign::NegativeInfinity,
            Sign::NegativeInfinity => Sign::Infinity,
        };
        out
    }

    pub fn abs(&self) -> Numeric {
        if self.is_negative() { self.negate() } else { self.clone() }
    }

    pub fn add(&self, other: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || other.is_special() {
            return Ok(add_special(self, other));
        }
        let scale = i32::from(self.scale.max(other.scale));
        let negative = self.sign == Sign::Negative;
        if self.sign == other.sign {
            let (weight, digits) = add_magnitudes(self, other);
            return Numeric::from_digits(negative, weight, scale, digits);
        }
        match self.compare_magnitude(other) {
            std::cmp::Ordering::Equal => Ok(Numeric::zero(scale as u16)),
            std::cmp::Ordering::Greater => Numeric::from_digits(
                negative,
                i32::from(self.weight),
                scale,
                subtract_magnitudes(self, other),
            ),
            std::cmp::Ordering::Less => Numeric::from_digits(
                !negative,
                i32::from(other.weight),
                scale,
                subtract_magnitudes(other, self),
            ),
        }
    }

    pub fn sub(&self, other: &Numeric) -> SqlResult<Numeric> {
        self.add(&other.negate())
    }

    pub fn mul(&self, other: &Numeric) -> SqlResult<Numeric> {
        if self.is_special() || other.is_special() {
            return Ok(mul_special(self, other));
        }
        let scale = i32::from(self.scale) + i32::from(other.scale);
        let product = self.mul_exact(other, scale)?;
        if scale > MAX_SCALE { product.round(MAX_SCALE) } else { Ok(product) }
    }

    /// The product of finite values, every digit of it; `scale` is only recorded.
    pub(crate) fn mul_exact(&self, other: &Numeric, scale: i32) -> SqlResult<Numeric> {
        let (a, b) = (&self.digits, &other.digits);
        if a.is_empty() || b.is_empty() {
            return Ok(Numeric::zero(scale.min(MAX_SCALE) as u16));
        }
        let mut sums: smallvec::SmallVec<[u64; 24]> = smallvec::SmallVec::from_elem(0, a.len() + b.len());
        for (i, &x) in a.iter().enumerate() {
            for (j, &y) in b.iter().enumerate() {
                sums[i + j + 1] += x as u64 * y as u64;
            }
        }
        let mut digits: Digits = Digits::from_elem(0, sums.len());
        let mut carry = 0u64;
        for (digit, sum) in digits.iter_mut().zip(&sums).rev() {
            let total = sum + carry;
            *digit = (total % BASE as u64) as i16;
            carry = total / BASE as u64;
        }
        let weight = i32::from(self.weight) + i32::from(other.weight) + 1;
        Numeric::from_digits(self.sign != other.sign, weight, scale, digits)
    }

    /// To `scale` digits after the point (negative: before it), halves away from zero.
    pub fn round(&self, scale: i32) -> SqlResult<Numeric> {
        self.limit(scale, true)
    }

    pub fn trunc(&self, scale: i32) -> SqlResult<Numeric> {
        self.limit(scale, false)
    }

    fn limit(&self, scale: i32, round: bool) -> SqlResult<Numeric> {
        if self.is_special() {
            return Ok(self.clone());
        }
        let scale = scale.clamp(-131_072, MAX_SCALE);
        let shown = scale.max(0);
        if i32::from(self.scale) <= scale {
            let mut out = self.clone();
            out.scale = shown as u16;
            return Ok(out);
        }
        // Decimal digits kept, counted from the first digit's first decimal.
        let keep = (i32::from(self.weight) + 1) * DIGIT_WIDTH + scale;
        if keep < 0 || self.digits.is_empty() {
            return Ok(Numeric::zero(shown as u16));
        }
        let (groups, part) = ((keep / DIGIT_WIDTH) as usize, keep % DIGIT_WIDTH);
        if groups >= self.digits.len() {
            let mut out = self.clone();
            out.scale = shown as u16;
            return Ok(out);
        }
        let mut digits: Digits = Digits::with_capacity(groups + 2);
        digits.push(0);
        digits.extend_from_slice(&self.digits[..groups]);
        let unit = 10i32.pow((DIGIT_WIDTH - part) as u32);
        let next = i32::from(self.digits[groups]);
        if part > 0 {
            digits.push((next / unit * unit) as i16);
        }
        if round && next % unit >= unit / 2 {
            carry_up(&mut digits, if part > 0 { unit } else { 1 });
        }
        Numeric::from_digits(self.sign == Sign::Negative, i32::from(self.weight) + 1, shown, digits)
    }

    pub fn floor(&self) -> SqlResult<Numeric> {
        let truncated = self.trunc(0)?;
        if self.is_negative() && truncated.compare(self).is_ne() {
            return truncated.sub(&Numeric::from(1));
        }
        Ok(truncated)
    }

    pub fn ceil(&self) -> SqlResult<Numeric> {
        Ok(self.negate().floor()?.negate())
    }
}

/// Adds `amount` to the last digit; the first digit is a zero that takes the last carry.
fn carry_up(digits: &mut Digits, amount: i32) {
    let mut carry = amount;
    for digit in digits.iter_mut().rev() {
        let sum = i32::from(*digit) + carry;
        if sum < BASE {
            *digit = sum as i16;
            return;
        }
        *digit = (sum - BASE) as i16;
        carry = 1;
    }
}

fn add_special(a: &Numeric, b: &Numeric) -> Numeric {
    match (a.sign, b.sign) {
        (Sign::NaN, _) | (_, Sign::NaN) => Numeric::nan(),
        (Sign::Infinity, Sign::NegativeInfinity) | (Sign::NegativeInfinity, Sign::Infinity) => Numeric::nan(),
        (Sign::Infinity | Sign::NegativeInfinity, _) => a.clone(),
        _ => b.clone(),
    }
}

fn mul_special(a: &Numeric, b: &Numeric) -> Numeric {
    if a.is_nan() || b.is_nan() || a.is_zero() || b.is_zero() {
        return Numeric::nan();
    }
    let negative = a.is_negative() != b.is_negative();
    Numeric::special(if negative { Sign::NegativeInfinity } else { Sign::Infinity })
}

fn add_magnitudes(a: &Numeric, b: &Numeric) -> (i32, Digits) {
    if a.digits.is_empty() {
        return (i32::from(b.weight), b.digits.clone());
    }
    if b.digits.is_empty() {
        return (i32::from(a.weight), a.digits.clone());
    }
    let weight = i32::from(a.weight.max(b.weight)) + 1;
    let last = |n: &Numeric| i32::from(n.weight) - n.digits.len() as i32 + 1;
    let lowest = last(a).min(last(b));
    let mut digits: Digits = Digits::from_elem(0, (weight - lowest + 1) as usize);
    let mut carry = 0;
    for (at, out) in digits.iter_mut().enumerate().rev() {
        let w = weight - at as i32;
        let sum = digit_at(a, w) + digit_at(b, w) + carry;
        carry = i32::from(sum >= BASE);
        *out = (sum - carry * BASE) as i16;
    }
    (weight, digits)
}

/// `a - b` where |a| > |b|; the result has a's weight.
fn subtract_magnitudes(a: &Numeric, b: &Numeric) -> Digits {
    if b.digits.is_empty() {
        return a.digits.clone();
    }
    let weight = i32::from(a.weight);
    let last = |n: &Numeric| i32::from(n.weight) - n.digits.len() as i32 + 1;
    let lowest = last(a).min(last(b));
    let mut digits: Digits = Digits::from_elem(0, (weight - lowest + 1) as usize);
    let mut borrow = 0;
    for (at, out) in digits.iter_mut().enumerate().rev() {
        let w = weight - at as i32;
        let difference = digit_at(a, w) - digit_at(b, w) - borrow;
        borrow = i32::from(difference < 0);
        *out = (difference + borrow * BASE) as i16;
    }
    digits
}

/// The digit of weight `w`, zero outside of what is stored.
fn digit_at(n: &Numeric, w: i32) -> i32 {
    let at = i32::from(n.weight) - w;
    if at < 0 { 0 } else { n.digits.get(at as usize).map_or(0, |d| i32::from(*d)) }
}
