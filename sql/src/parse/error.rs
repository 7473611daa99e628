//! The parser's errors in PostgreSQL's words, with positions.

use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};

use crate::error::{SqlError, state};

/// The byte offset of a location in `source`.
pub fn offset_of(source: &str, at: Location) -> usize {
    Places::of(source).offset_of(at)
}

/// Byte offsets of locations, each behind the one before: all of them in one walk through the text.
pub struct Places<'a> {
    source: &'a str,
    at: Location,
    offset: usize,
}

impl<'a> Places<'a> {
    pub fn of(source: &'a str) -> Self {
        Places { source, at: Location { line: 1, column: 1 }, offset: 0 }
    }

    pub fn offset_of(&mut self, at: Location) -> usize {
        while self.at.line < at.line
            && let Some(i) = self.source[self.offset..].find('\n')
        {
            self.offset += i + 1;
            self.at = Location { line: self.at.line + 1, column: 1 };
        }
        let further = at.column.saturating_sub(self.at.column) as usize;
        let mut chars = self.source[self.offset..].char_indices();
        self.offset = chars.nth(further).map_or(self.source.len(), |(i, _)| self.offset + i);
        self.at.column += further as u64;
        self.offset
    }
}

/// The 1-based character position of a location, as ErrorResponse gives it; `None` for an unknown location.
pub fn position_of(source: &str, at: Location) -> Option<u32> {
    if at.line == 0 {
        return None;
    }
    let offset = offset_of(source, at);
    Some(source[..offset].chars().count() as u32 + 1)
}

pub fn from_tokenizer(source: &str, e: &TokenizerError) -> SqlError {
    let offset = offset_of(source, e.location);
    let near = &source[offset..];
    let message = if e.message.starts_with("Unterminated") {
        let what = if e.message.contains("comment") {
            "/* comment"
        } else if e.message.contains("dollar") {
            "dollar-quoted string"
        } else {
            "quoted string"
        };
        format!("unterminated {what} at or near \"{near}\"")
    } else if e.message.contains("delimited identifier") || e.message.contains("close delimiter") {
        format!("unterminated quoted identifier at or near \"{near}\"")
    } else if e.message.to_lowercase().contains("unterminated")
        || e.message.contains("EOF while in a multi-line")
    {
        "unterminated /* comment".to_string()
    } else {
        format!("syntax error at or near \"{}\"", near.chars().next().map(String::from).unwrap_or_default())
    };
    let error = SqlError::new(state::SYNTAX_ERROR, message);
    match position_of(source, e.location) {
        Some(p) => error.with_position(p),
        None => error,
    }
}

pub fn from_parser(source: &str, parser: &Parser<'_>, e: &ParserError) -> SqlError {
    let message = match e {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::ParserError(m) | ParserError::TokenizerError(m) => m,
    };
    if let Some(what) = message.strip_prefix(super::utility::UNSUPPORTED) {
        return SqlError::unsupported(what);
    }
    if let Some(own) = message.strip_prefix(super::utility::WRONG) {
        let text = own.rsplit_once(" at Line: ").map_or(own, |(text, _)| text);
        let error = SqlError::new(state::SYNTAX_ERROR, text);
        return match location_in(own).and_then(|at| position_of(source, at)) {
            Some(position) => error.with_position(position),
            None => error,
        };
    }
    let token = location_in(message).and_then(|at| token_at(parser, at));
    match token {
        Some(token) => near(source, token),
        None if message.contains("found: EOF") => at_end(source),
        None => near(source, parser.peek_token_ref()),
    }
}

pub fn too_deep() -> SqlError {
    SqlError::too_complex()
}

/// `syntax error at or near "token"`.
pub fn near(source: &str, token: &TokenWithSpan) -> SqlError {
    if token.token == Token::EOF || token.span.start.line == 0 {
        return at_end(source);
    }
    let start = offset_of(source, token.span.start);
    let end = offset_of(source, token.span.end).max(start);
    let text = source.get(start..end).unwrap_or_default();
    let error = SqlError::new(state::SYNTAX_ERROR, format!("syntax error at or near \"{text}\""));
    match position_of(source, token.span.start) {
        Some(p) => error.with_position(p),
        None => error,
    }
}

fn at_end(source: &str) -> SqlError {
    SqlError::new(state::SYNTAX_ERROR, "syntax error at end of input")
        .with_position(source.trim_end().chars().count() as u32 + 1)
}

/// sqlparser writes the place into the message: `… at Line: 1, Column: 8`.
fn location_in(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn token_at<'a>(parser: &'a Parser<'_>, at: Location) -> Option<&'a TokenWithSpan> {
    (0..).map(|i| parser.token_at(i)).take_while(|t| t.token != Token::EOF).find(|t| t.span.start == at)
}
