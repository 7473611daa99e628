//! Text to NUMERIC and back.

use std::fmt;

use super::{BASE, DIGIT_WIDTH, Digits, MAX_SCALE, Numeric, Sign, overflow};
use crate::error::{SqlError, SqlResult, state};

impl Numeric {
    /// Parses PostgreSQL's input syntax; surrounding blanks are allowed.
    pub fn parse(text: &str) -> SqlResult<Numeric> {
        let invalid = || {
            SqlError::new(
                state::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type numeric: \"{text}\""),
            )
        };
        let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
        let (negative, magnitude) = match body.as_bytes().first() {
            Some(b'-') => (true, &body[1..]),
            Some(b'+') => (false, &body[1..]),
            _ => (false, body),
        };
        match magnitude.to_ascii_lowercase().as_str() {
            "nan" if magnitude.len() == body.len() => return Ok(Self::nan()),
            "inf" | "infinity" if negative => return Ok(Self::special(Sign::NegativeInfinity)),
            "inf" | "infinity" => return Ok(Self::special(Sign::Infinity)),
            _ => {}
        }
        parse_decimal(negative, magnitude.as_bytes(), &invalid)
    }
}

fn parse_decimal(negative: bool, text: &[u8], invalid: &dyn Fn() -> SqlError) -> SqlResult<Numeric> {
    let mut decimals: Vec<u8> = Vec::with_capacity(text.len());
    let mut point: Option<usize> = None;
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        match c {
            b'0'..=b'9' => decimals.push(c - b'0'),
            b'.' if point.is_none() => point = Some(decimals.len()),
            _ => break,
        }
        at += 1;
    }
    if decimals.is_empty() {
        return Err(invalid());
    }
    let mut exponent = 0i64;
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let digits = std::str::from_utf8(&text[at + 1..]).map_err(|_| invalid())?;
        let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        exponent = digits.parse::<i64>().unwrap_or(i64::MAX).clamp(-1 << 31, 1 << 31);
        at = text.len();
    }
    if at != text.len() {
        return Err(invalid());
    }
    let integer_digits = point.unwrap_or(decimals.len()) as i64 + exponent;
    let scale = (decimals.len() as i64 - integer_digits).max(0);
    if scale > i64::from(MAX_SCALE) || integer_digits > 1 << 20 {
        return Err(overflow());
    }
    from_decimals(negative, &decimals, integer_digits as i32, scale as i32)
}

/// From decimal digits of which the first `integer_digits` (may be negative) stand before the point.
pub(crate) fn from_decimals(
    negative: bool,
    decimals: &[u8],
    integer_digits: i32,
    scale: i32,
) -> SqlResult<Numeric> {
    let weight = (integer_digits - 1).div_euclid(DIGIT_WIDTH);
    // Zeros put in front so that the digits align to groups of four around the point.
    let pad = ((weight + 1) * DIGIT_WIDTH - integer_digits) as usize;
    let mut digits = Digits::new();
    let mut group = 0i32;
    let mut filled = pad;
    for &d in decimals {
        group = group * 10 + i32::from(d);
        filled += 1;
        if filled == DIGIT_WIDTH as usize {
            digits.push(group as i16);
            (group, filled) = (0, 0);
        }
    }
    if filled > 0 {
        digits.push((group * 10i32.pow((DIGIT_WIDTH as usize - filled) as u32)) as i16);
    }
    Numeric::from_digits(negative, weight, scale, digits)
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sign {
            Sign::NaN => return f.write_str("NaN"),
            Sign::Infinity => return f.write_str("Infinity"),
            Sign::NegativeInfinity => return f.write_str("-Infinity"),
            Sign::Negative => f.write_str("-")?,
            Sign::Positive => {}
        }
        let weight = i32::from(self.weight);
        let digit = |w: i32| {
            let at = weight - w;
            if at < 0 { 0 } else { self.digits.get(at as usize).copied().unwrap_or(0) }
        };
        if weight < 0 || self.digits.is_empty() {
            f.write_str("0")?;
        } else {
            write!(f, "{}", digit(weight))?;
            for w in (0..weight).rev() {
                write!(f, "{:04}", digit(w))?;
            }
        }
        if self.scale == 0 {
            return Ok(());
        }
        f.write_str(".")?;
        let mut left = i32::from(self.scale);
        let mut w = -1;
        while left > 0 {
            let group = i32::from(digit(w));
            if left >= DIGIT_WIDTH {
                write!(f, "{group:04}")?;
            } else {
                let shown = group / 10i32.pow((DIGIT_WIDTH - left) as u32);
                write!(f, "{shown:0width$}", width = left as usize)?;
            }
            left -= DIGIT_WIDTH;
            w -= 1;
        }
        debug_assert!(self.digits.iter().all(|d| (0..BASE).contains(&i32::from(*d))));
        Ok(())
    }
}
