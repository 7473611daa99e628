//! to_char of numbers and to_number, by templates such as `FM999,990.00`.

use super::arguments::{from_numeric, numeric, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::{Datum, Numeric, Oid};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token {
    /// 9 (`false`) or 0 (`true`): a digit position.
    Digit(bool),
    Point,
    Group,
    Literal(char),
    /// S, MI, PL, SG, PR
    Sign(Sign),
    /// TH or th
    Ordinal(bool),
    Currency,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Sign {
    /// S: in front of or behind the number, whichever side it stands on.
    Anchored,
    Minus,
    Plus,
    Either,
    Brackets,
}

struct Template {
    tokens: Vec<Token>,
    fill: bool,
    /// V: shift by as many digits.
    shift: i32,
    integer_digits: usize,
    fraction_digits: usize,
    brackets: bool,
    anchored: bool,
}

impl Template {
    fn parse(template: &str) -> SqlResult<Template> {
        let mut t = Template {
            tokens: Vec::new(),
            fill: true,
            shift: 0,
            integer_digits: 0,
            fraction_digits: 0,
            brackets: false,
            anchored: false,
        };
        let mut rest = template;
        let (mut after_point, mut after_shift) = (false, false);
        while let Some(c) = rest.chars().next() {
            let two = rest.get(..2).unwrap_or("").to_ascii_uppercase();
            let mut width = 2;
            match two.as_str() {
                "FM" => t.fill = false,
                "MI" => t.tokens.push(Token::Sign(Sign::Minus)),
                "PL" => t.tokens.push(Token::Sign(Sign::Plus)),
                "SG" => t.tokens.push(Token::Sign(Sign::Either)),
                "PR" => {
                    t.brackets = true;
                    t.tokens.push(Token::Sign(Sign::Brackets));
                }
                "TH" => t.tokens.push(Token::Ordinal(rest.starts_with("TH"))),
                "EE" | "RN" => return Err(SqlError::unsupported(format!("number template \"{two}\""))),
                _ => {
                    width = c.len_utf8();
                    match c {
                        '9' | '0' => {
                            t.tokens.push(Token::Digit(c == '0'));
                            match (after_point, after_shift) {
                                (true, _) => t.fraction_digits += 1,
                                (false, shifted) => {
                                    t.integer_digits += 1;
                                    t.shift += i32::from(shifted);
                                }
                            }
                        }
                        '.' | 'D' | 'd' if after_point => {
                            return Err(SqlError::new(state::SYNTAX_ERROR, "multiple decimal points"));
                        }
                        '.' | 'D' | 'd' => {
                            after_point = true;
                            t.tokens.push(Token::Point);
                        }
                        ',' | 'G' | 'g' => t.tokens.push(Token::Group),
                        'V' | 'v' => after_shift = true,
                        'S' | 's' => {
                            t.anchored = true;
                            t.tokens.push(Token::Sign(Sign::Anchored));
                        }
                        'L' | 'l' => t.tokens.push(Token::Currency),
                        '"' => {
                            let quoted = &rest[1..];
                            let end = quoted.find('"').unwrap_or(quoted.len());
                            t.tokens.extend(quoted[..end].chars().map(Token::Literal));
                            width = (end + 2).min(rest.len());
                        }
                        c => t.tokens.push(Token::Literal(c)),
                    }
                }
            }
            rest = &rest[width..];
        }
        Ok(t)
    }

    /// PL shows a plus beside the place of the sign, not in it.
    fn has_sign(&self) -> bool {
        self.tokens.iter().any(|t| matches!(t, Token::Sign(sign) if *sign != Sign::Plus))
    }

    fn show(&self, value: &Numeric) -> SqlResult<String> {
        let scaled = if self.shift > 0 {
            value.mul(&Numeric::from_i128(10i128.pow(self.shift.min(38) as u32), 0))?
        } else {
            value.clone()
        };
        let rounded = scaled.round(self.fraction_digits as i32)?;
        let negative = rounded.is_negative();
        let form = rounded.abs().to_string();
        let (integer, fraction) = form.split_once('.').unwrap_or((&form, ""));
        let integer = integer.trim_start_matches('0');
        let overflow = integer.len() > self.integer_digits || value.is_special();
        let mut digits: Vec<char> = vec![' '; self.integer_digits.saturating_sub(integer.len())];
        digits.extend(integer.chars());
        self.lay_out(&digits, fraction, negative, overflow, integer.is_empty())
    }

    /// Integer digits come right-aligned, with blanks for the leading positions that have none.
    fn lay_out(
        &self,
        digits: &[char],
        fraction: &str,
        negative: bool,
        overflow: bool,
        below_one: bool,
    ) -> SqlResult<String> {
        let first_zero = self.tokens.iter().filter(|t| matches!(t, Token::Digit(_) | Token::Point));
        let first_zero =
            first_zero.clone().take_while(|t| **t != Token::Point).position(|t| *t == Token::Digit(true));
        // Where fraction digits may be dropped (FM): behind the last 0 of the template.
        let fraction_tokens: Vec<bool> = self
            .tokens
            .iter()
            .skip_while(|t| **t != Token::Point)
            .filter_map(|t| if let Token::Digit(zero) = t { Some(*zero) } else { None })
            .collect();
        let required = fraction_tokens.iter().rposition(|zero| *zero).map_or(0, |at| at + 1);
        let mut body = String::new();
        let mut sign_placed = self.has_sign();
        let (mut at, mut fraction_at, mut started) = (0, 0, false);
        let mut pending_sign = None;
        for (i, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Digit(_) if fraction_at == 0 && !self.tokens[..i].contains(&Token::Point) => {
                    let zero_from_here = first_zero.is_some_and(|z| at >= z);
                    let c = digits.get(at).copied().unwrap_or(' ');
                    at += 1;
                    let last = at == digits.len();
                    let show_zero = zero_from_here || (last && below_one && self.fraction_digits == 0);
                    if c != ' ' || show_zero {
                        if !started {
                            started = true;
                            pending_sign = Some(body.len());
                        }
                        body.push(if overflow {
                            '#'
                        } else if c == ' ' {
                            '0'
                        } else {
                            c
                        });
                    } else if overflow {
                        body.push('#');
                    } else if self.fill {
                        body.push(' ');
                    }
                }
                Token::Digit(_) => {
                    let c = fraction.chars().nth(fraction_at).unwrap_or('0');
                    let rest_zero = fraction.chars().skip(fraction_at).all(|c| c == '0');
                    if self.fill || fraction_at < required || !rest_zero {
                        body.push(if overflow { '#' } else { c });
                    }
                    fraction_at += 1;
                }
                Token::Point => {
                    if !started {
                        started = true;
                        pending_sign = Some(body.len());
                    }
                    body.push('.');
                }
                Token::Group if started => body.push(','),
                Token::Group if self.fill => body.push(' '),
                Token::Group => {}
                Token::Literal(c) => body.push(*c),
                Token::Currency => body.push(' '),
                Token::Sign(Sign::Minus) => {
                    if negative || self.fill {
                        body.push(if negative { '-' } else { ' ' });
                    }
                }
                Token::Sign(Sign::Plus) => {
                    if !negative || self.fill {
                        body.push(if negative { ' ' } else { '+' });
                    }
                }
                Token::Sign(Sign::Either) => body.push(if negative { '-' } else { '+' }),
                Token::Sign(Sign::Anchored) if i > 0 && at > 0 => {
                    body.push(if negative { '-' } else { '+' });
                    pending_sign = None;
                    sign_placed = true;
                }
                Token::Sign(Sign::Anchored) => sign_placed = false,
                Token::Sign(Sign::Brackets) => {}
                Token::Ordinal(upper) => {
                    if !negative && self.fraction_digits == 0 {
                        let suffix = ordinal(body.trim());
                        body.push_str(&if *upper { suffix.to_uppercase() } else { suffix.to_owned() });
                    }
                }
            }
        }
        let position = pending_sign.unwrap_or(0);
        if self.brackets {
            let (open, close) = if negative {
                ("<", ">")
            } else if self.fill {
                (" ", " ")
            } else {
                ("", "")
            };
            body.insert_str(position, open);
            body.push_str(close);
        } else if self.anchored && !sign_placed {
            body.insert(position, if negative { '-' } else { '+' });
        } else if !sign_placed {
            if negative {
                body.insert(position, '-');
            } else if self.fill {
                body.insert(position, ' ');
            }
        }
        Ok(body)
    }
}

fn ordinal(shown: &str) -> &'static str {
    let digits = shown.as_bytes();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

fn to_char(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = match &args[0] {
        Datum::Numeric(n) => (**n).clone(),
        Datum::Float4(v) => Numeric::from_f32(*v)?,
        Datum::Float8(v) => Numeric::from_f64(*v)?,
        other => Numeric::from(super::arguments::int(other)),
    };
    Ok(Datum::text(&Template::parse(text(&args[1]))?.show(&value)?))
}

fn to_number(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (source, template) = (text(&args[0]), Template::parse(text(&args[1]))?);
    let mut digits = String::new();
    let mut negative = template.brackets && source.trim_start().starts_with('<');
    for c in source.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '.' if template.tokens.contains(&Token::Point) => digits.push('.'),
            '-' => negative = true,
            _ => {}
        }
    }
    if digits.is_empty() {
        return Err(SqlError::new(
            state::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type numeric: \"{}\"", source.chars().next().unwrap_or(' ')),
        ));
    }
    let value = Numeric::parse(&digits)?.round(template.fraction_digits as i32)?;
    let value = if template.shift > 0 {
        value.div(&Numeric::from_i128(10i128.pow(template.shift.min(38) as u32), 0))?
    } else {
        value
    };
    let result = from_numeric(value);
    Ok(if negative { from_numeric(numeric(&result).negate()) } else { result })
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1772, "to_char", &[Oid::NUMERIC, Oid::TEXT], Oid::TEXT, to_char).stable(),
    Function::row(1773, "to_char", &[Oid::INT4, Oid::TEXT], Oid::TEXT, to_char).stable(),
    Function::row(1774, "to_char", &[Oid::INT8, Oid::TEXT], Oid::TEXT, to_char).stable(),
    Function::row(1775, "to_char", &[Oid::FLOAT4, Oid::TEXT], Oid::TEXT, to_char).stable(),
    Function::row(1776, "to_char", &[Oid::FLOAT8, Oid::TEXT], Oid::TEXT, to_char).stable(),
    Function::row(1777, "to_number", &[Oid::TEXT, Oid::TEXT], Oid::NUMERIC, to_number).stable(),
];
