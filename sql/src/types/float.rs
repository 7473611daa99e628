//! Text forms of float4 and float8: the shortest digits that read back the same, laid out as PostgreSQL 12 and later do.

use std::fmt::Write;

use crate::error::{SqlError, SqlResult, state};

pub fn write_f64(v: f64, extra_digits: i32, out: &mut String) {
    if write_special(v, out) {
        return;
    }
    let scientific =
        if extra_digits > 0 { format!("{v:e}") } else { rounded(v, (15 + extra_digits).max(1) as usize) };
    lay_out(&scientific, if extra_digits > 0 { 15 } else { 15 + extra_digits }, out);
}

pub fn write_f32(v: f32, extra_digits: i32, out: &mut String) {
    if write_special(f64::from(v), out) {
        return;
    }
    let scientific = if extra_digits > 0 {
        format!("{v:e}")
    } else {
        rounded(f64::from(v), (6 + extra_digits).max(1) as usize)
    };
    lay_out(&scientific, if extra_digits > 0 { 6 } else { 6 + extra_digits }, out);
}

fn write_special(v: f64, out: &mut String) -> bool {
    if v.is_nan() {
        out.push_str("NaN");
    } else if v.is_infinite() {
        out.push_str(if v > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        return false;
    }
    true
}

/// `%.{digits}g` without trailing zeros, as `d.ddde±x`.
fn rounded(v: f64, digits: usize) -> String {
    let text = format!("{v:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').expect("scientific notation has an exponent");
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}e{exponent}")
}

/// Fixed notation for exponents from -4 up to `limit`, scientific with at least two exponent digits outside.
fn lay_out(scientific: &str, limit: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.push_str(sign);
    if exponent < -4 || exponent >= limit.max(1) {
        out.push_str(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.abs()).expect("writing to a string");
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
    } else {
        let point = exponent as usize + 1;
        if digits.len() <= point {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', point - digits.len()));
        } else {
            out.push_str(&digits[..point]);
            out.push('.');
            out.push_str(&digits[point..]);
        }
    }
}

pub fn parse_f64(text: &str) -> SqlResult<f64> {
    parse(text, "double precision", |body| body.parse::<f64>().ok().map(|v| (v, v.is_infinite(), v == 0.0)))
}

pub fn parse_f32(text: &str) -> SqlResult<f32> {
    parse(text, "real", |body| body.parse::<f32>().ok().map(|v| (v, v.is_infinite(), v == 0.0)))
}

fn parse<T>(text: &str, name: &str, read: impl Fn(&str) -> Option<(T, bool, bool)>) -> SqlResult<T> {
    let invalid = || {
        SqlError::new(
            state::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {name}: \"{text}\""),
        )
    };
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let unsigned = body.strip_prefix(['+', '-']).unwrap_or(body).to_ascii_lowercase();
    let word = matches!(unsigned.as_str(), "nan" | "inf" | "infinity");
    if !word && !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(invalid());
    }
    let (value, infinite, zero) = read(body).ok_or_else(invalid)?;
    let significant = unsigned.split('e').next().unwrap_or("").bytes().any(|b| (b'1'..=b'9').contains(&b));
    if !word && (infinite || (zero && significant)) {
        return Err(SqlError::new(
            state::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{body}\" is out of range for type {name}"),
        ));
    }
    Ok(value)
}
