//! JSON text to jsonb values and back.

use std::fmt::Write;

use super::{Json, Numeric};
use crate::error::{SqlError, SqlResult, state};

const MAX_DEPTH: usize = 512;

/// Parses and checks a JSON text. Of equal keys the last wins; keys are ordered as jsonb orders them.
pub fn parse(text: &str) -> SqlResult<Json> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.skip_blanks();
    if parser.at < text.len() {
        return Err(parser.unexpected("end of input"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, detail: String) -> SqlError {
        SqlError::new(state::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
    }

    fn unexpected(&self, expected: &str) -> SqlError {
        let rest = &self.text[self.at..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match rest.chars().next() {
            None => return self.error("The input string ended unexpectedly.".to_owned()),
            Some(c) if is_word(c) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            Some(c) => c.len_utf8(),
        };
        let token = &rest[..end];
        match expected {
            "" => self.error(format!("Token \"{token}\" is invalid.")),
            expected => self.error(format!("Expected {expected}, but found \"{token}\".")),
        }
    }

    fn value(&mut self, depth: usize) -> SqlResult<Json> {
        if depth > MAX_DEPTH {
            return Err(SqlError::new(state::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b',' | b':' | b'}' | b']') => Err(self.unexpected("JSON value")),
            _ => Err(self.unexpected("")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> SqlResult<Json> {
        let rest = &self.text[self.at..];
        let after = rest.get(word.len()..).and_then(|r| r.chars().next());
        if !rest.starts_with(word) || after.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return Err(self.unexpected(""));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> SqlResult<Json> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')))
            .unwrap_or(rest.len());
        let token = &rest[..end];
        if !is_json_number(token.as_bytes()) {
            return Err(self.error(format!("Token \"{token}\" is invalid.")));
        }
        self.at += end;
        Numeric::parse(token).map(Json::Number)
    }

    fn string(&mut self) -> SqlResult<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(c) => {
                    return Err(self.error(format!("Character with value 0x{c:02x} must be escaped.")));
                }
                None => return Err(self.error("The input string ended unexpectedly.".to_owned())),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> SqlResult<()> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        out.push(match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(out),
            _ => {
                self.at = (self.at - 1).min(self.text.len());
                return Err(self.error("Escape sequence is invalid.".to_owned()));
            }
        });
        Ok(())
    }

    fn unicode(&mut self, out: &mut String) -> SqlResult<()> {
        let high = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error("Unicode low surrogate must follow a high surrogate.".to_owned()));
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        if code == 0 {
            return Err(SqlError::new("22P05", "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text."));
        }
        let c = char::from_u32(code).ok_or_else(|| {
            self.error("Unicode high surrogate must not follow a high surrogate.".to_owned())
        })?;
        out.push(c);
        Ok(())
    }

    fn hex4(&mut self) -> SqlResult<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at = (self.at + 4).min(self.text.len());
        value.ok_or_else(|| self.error("\"\\u\" must be followed by four hexadecimal digits.".to_owned()))
    }

    fn array(&mut self, depth: usize) -> SqlResult<Json> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> SqlResult<Json> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("string"));
            }
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("\":\""));
            }
            self.at += 1;
            members.push((key, self.value(depth + 1)?));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(object(members));
                }
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
    }
}

/// An object of members in any order: sorted by key length, then bytes; the last of equal keys stays.
pub fn object(mut members: Vec<(String, Json)>) -> Json {
    members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes())));
    let mut unique: Vec<(String, Json)> = Vec::with_capacity(members.len());
    for member in members {
        match unique.last_mut() {
            Some(last) if last.0 == member.0 => *last = member,
            _ => unique.push(member),
        }
    }
    Json::Object(unique)
}

fn is_json_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> usize {
        text.iter().take_while(|b| b.is_ascii_digit()).count()
    }
    let body = text.strip_prefix(b"-").unwrap_or(text);
    let integer = digits(body);
    if integer == 0 || (integer > 1 && body[0] == b'0') {
        return false;
    }
    let mut rest = &body[integer..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = &fraction[n..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let n = digits(exponent);
        return n > 0 && n == exponent.len();
    }
    rest.is_empty()
}

/// jsonb's output: `{"a": 1, "b": [1, 2]}`.
pub fn write(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Json::Number(n) => write!(out, "{n}").expect("writing to a string"),
        Json::String(s) => write_string(s, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_string(key, out);
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// A JSON string literal.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("writing to a string"),
            c => out.push(c),
        }
    }
    out.push('"');
}
