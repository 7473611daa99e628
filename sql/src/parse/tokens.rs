//! Text to tokens: sqlparser's tokenizer, and the strings with escapes that it gives up on.
//!
//! sqlparser refuses every `E'…'` in which an escape is a byte above 127, half of a surrogate pair, or nonsense, and says of all of
//! them that they do not end. Such a string is read here, and sqlparser goes on behind it.
//!
//! What must stay true: every byte of the text is tokenized once, however many such strings there are.

use std::iter::Peekable;
use std::str::CharIndices;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::MeridianDialect;
use super::error::{from_tokenizer, offset_of, position_of};
use crate::error::{SqlError, SqlResult, state};

pub fn tokenize(sql: &str) -> SqlResult<Vec<TokenWithSpan>> {
    let mut tokens = Vec::with_capacity(sql.len() / 3 + 4);
    let (mut begin, mut origin) = (0, Location { line: 1, column: 1 });
    loop {
        let (known, rest) = (tokens.len(), &sql[begin..]);
        let result = Tokenizer::new(&MeridianDialect, rest).tokenize_with_location_into_buf(&mut tokens);
        if begin > 0 {
            for token in &mut tokens[known..] {
                token.span = Span::new(behind(origin, token.span.start), behind(origin, token.span.end));
            }
        }
        let Err(mut e) = result else { return Ok(tokens) };
        let at = offset_of(rest, e.location);
        e.location = behind(origin, e.location);
        let opens = rest[at..].starts_with("E'") || rest[at..].starts_with("e'");
        if !opens {
            return Err(from_tokenizer(sql, &e));
        }
        let literal = Literal { source: sql, begin: begin + at + 2, location: e.location };
        let Some((text, length)) = literal.read()? else { return Err(from_tokenizer(sql, &e)) };
        let end = behind(e.location, end_of(&rest[at..at + 2 + length]));
        tokens.push(TokenWithSpan::new(Token::EscapedStringLiteral(text), Span::new(e.location, end)));
        (begin, origin) = (begin + at + 2 + length, end);
    }
}

/// A place in a text that itself begins at `origin`.
fn behind(origin: Location, at: Location) -> Location {
    match at.line {
        0 => at,
        1 => Location { line: origin.line, column: origin.column + at.column - 1 },
        line => Location { line: origin.line + line - 1, column: at.column },
    }
}

/// The place behind the last character.
fn end_of(text: &str) -> Location {
    let line = text.matches('\n').count() as u64 + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    Location { line, column: last.chars().count() as u64 + 1 }
}

struct Literal<'a> {
    source: &'a str,
    /// Behind the opening quote.
    begin: usize,
    location: Location,
}

type Chars<'a> = Peekable<CharIndices<'a>>;

impl Literal<'_> {
    /// The string that is meant, and the bytes it takes with its closing quote; `None` if there is no such quote.
    fn read(&self) -> SqlResult<Option<(String, usize)>> {
        let mut chars = self.source[self.begin..].char_indices().peekable();
        let mut bytes = Vec::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' if chars.next_if(|(_, c)| *c == '\'').is_none() => {
                    if let Some(bad) = bytes.iter().position(|b| *b == 0) {
                        return Err(SqlError::invalid_utf8(&bytes[bad..]));
                    }
                    return match String::from_utf8(bytes) {
                        Ok(text) => Ok(Some((text, at + 1))),
                        Err(e) => Err(SqlError::invalid_utf8(&e.as_bytes()[e.utf8_error().valid_up_to()..])),
                    };
                }
                '\\' => {
                    if !self.escape(at, &mut chars, &mut bytes)? {
                        return Ok(None);
                    }
                }
                c => push(&mut bytes, c),
            }
        }
        Ok(None)
    }

    /// What follows a backslash at `at`; `false` if the text ends.
    fn escape(&self, at: usize, chars: &mut Chars<'_>, bytes: &mut Vec<u8>) -> SqlResult<bool> {
        let Some((_, c)) = chars.next() else { return Ok(false) };
        match c {
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '0'..='7' => {
                let first = c.to_digit(8).unwrap_or_default();
                // Above 255 the upper bits go, as in PostgreSQL.
                bytes.push(digits(chars, 8, 2).iter().fold(first, |n, d| n * 8 + d) as u8);
            }
            'x' => match digits(chars, 16, 2)[..] {
                [] => bytes.push(b'x'),
                ref some => bytes.push(some.iter().fold(0, |n, d| n * 16 + d) as u8),
            },
            'u' | 'U' => {
                let first = self.unicode(at, c, chars)?;
                let c = match first {
                    0xd800..0xdc00 => {
                        let second = match (chars.next(), chars.next()) {
                            (Some((at, '\\')), Some((_, c @ ('u' | 'U')))) => self.unicode(at, c, chars)?,
                            _ => 0,
                        };
                        match second {
                            0xdc00..0xe000 => {
                                char::from_u32(0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff))
                            }
                            _ => {
                                return Err(self.wrong(
                                    state::SYNTAX_ERROR,
                                    at,
                                    "invalid Unicode surrogate pair",
                                ));
                            }
                        }
                    }
                    0xdc00..0xe000 => {
                        return Err(self.wrong(state::SYNTAX_ERROR, at, "invalid Unicode surrogate pair"));
                    }
                    0 => None,
                    n => char::from_u32(n),
                };
                match c {
                    Some(c) => push(bytes, c),
                    None => return Err(self.wrong(state::SYNTAX_ERROR, at, "invalid Unicode escape value")),
                }
            }
            c => push(bytes, c),
        }
        Ok(true)
    }

    /// The digits of `\u` or `\U`.
    fn unicode(&self, at: usize, kind: char, chars: &mut Chars<'_>) -> SqlResult<u32> {
        let wanted = if kind == 'u' { 4 } else { 8 };
        let digits = digits(chars, 16, wanted);
        if digits.len() < wanted {
            return Err(self
                .wrong(state::INVALID_ESCAPE_SEQUENCE, at, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX."));
        }
        Ok(digits.iter().fold(0, |n, d| n << 4 | d))
    }

    fn wrong(&self, code: &'static str, at: usize, message: &str) -> SqlError {
        let error = SqlError::new(code, message);
        let before = self.source[self.begin..self.begin + at].chars().count() as u32;
        match position_of(self.source, self.location) {
            Some(literal) => error.with_position(literal + 2 + before),
            None => error,
        }
    }
}

/// Up to `most` digits.
fn digits(chars: &mut Chars<'_>, radix: u32, most: usize) -> Vec<u32> {
    let mut digits = Vec::with_capacity(most);
    while digits.len() < most
        && let Some((_, c)) = chars.next_if(|(_, c)| c.is_digit(radix))
    {
        digits.extend(c.to_digit(radix));
    }
    digits
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(sql: &str) -> SqlResult<Vec<String>> {
        let tokens = tokenize(sql)?.into_iter();
        Ok(tokens
            .filter_map(|t| if let Token::EscapedStringLiteral(s) = t.token { Some(s) } else { None })
            .collect())
    }

    #[test]
    fn bytes_are_put_together_to_characters() {
        let sql = "SELECT E'\\303\\251', e'\\xc3\\xA9 ''\\\\\\'', E'\\ud83d\\ude00', E'plain\\n'";
        assert_eq!(strings(sql), Ok(vec!["é".into(), "é '\\'".into(), "😀".into(), "plain\n".into()]));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (literal, code, says) in [
            ("\\xff", "22021", "invalid byte sequence for encoding \"UTF8\": 0xff"),
            ("a\\xc3\\x28b", "22021", "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28"),
            ("\\377", "22021", "invalid byte sequence for encoding \"UTF8\": 0xff"),
            ("\\xe2\\x28\\xa1", "22021", "invalid byte sequence for encoding \"UTF8\": 0xe2 0x28 0xa1"),
            ("\\xc3", "22021", "invalid byte sequence for encoding \"UTF8\": 0xc3"),
            ("\\0", "22021", "invalid byte sequence for encoding \"UTF8\": 0x00"),
            ("abc\\u0000", "42601", "invalid Unicode escape value"),
            ("\\ud800", "42601", "invalid Unicode surrogate pair"),
            ("\\uzz", "22025", "invalid Unicode escape"),
        ] {
            let e = strings(&format!("SELECT 'é', E'{literal}', 1")).expect_err(literal);
            assert_eq!((e.code(), e.message()), (code, says), "{literal}");
        }
        let e = strings("SELECT 'é', E'ab\\uzz'").expect_err("no digits");
        assert_eq!(e.fields().position, Some(17));
        let e = strings("SELECT E'\\xff").expect_err("it does not end");
        assert_eq!((e.code(), e.message()), ("42601", "unterminated quoted string at or near \"E'\\xff\""));
    }

    #[test]
    fn places_behind_such_a_string_are_right() {
        let sql = "SELECT E'\\xc3\\xa9\n', a,\n  E'\\xc3\\xa9' b";
        for token in tokenize(sql).expect("tokens") {
            if let Token::Word(w) = &token.token {
                let (start, end) = (offset_of(sql, token.span.start), offset_of(sql, token.span.end));
                assert_eq!(&sql[start..end], w.value);
            }
        }
    }
}
