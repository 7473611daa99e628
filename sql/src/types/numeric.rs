//! NUMERIC: arbitrary precision decimals with PostgreSQL's scale rules, NaN and infinities.

/// Base-10000 digits, as in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Numeric {
    pub sign: Sign,
    /// Weight of the first digit: the value is `sum(digits[i] * 10000^(weight - i))`.
    pub weight: i16,
    /// Digits after the decimal point that are shown.
    pub scale: u16,
    /// Without leading or trailing zero digits; empty for zero, NaN and infinities.
    pub digits: Vec<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    Positive,
    Negative,
    NaN,
    Infinity,
    NegativeInfinity,
}
