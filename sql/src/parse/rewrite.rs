//! Rewrites of the token stream, for what sqlparser's grammar lacks and no hook can add.
//!
//! Small differences in spelling (COPY's booleans, CREATE USER, DROP INDEX CONCURRENTLY) become what sqlparser reads.
//! `TABLE t` becomes `SELECT * FROM t`. The row lock clauses `FOR NO KEY UPDATE`, `FOR KEY SHARE` and `OF a, b` become
//! `FOR UPDATE OF "<mark>strength"."a"."b"`, which the binder reads back.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

/// First character of the identifier that carries a lock strength; it cannot occur in a client's identifier.
pub const LOCK_STRENGTH_MARK: char = '\u{1}';

pub fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let first = solid(&tokens, 0);
    match tokens.get(first).map(keyword) {
        Some(Keyword::COPY) => copy_options(&mut tokens),
        Some(Keyword::INSERT | Keyword::WITH) => overriding(&mut tokens),
        Some(Keyword::CREATE) if has_word(&tokens, solid(&tokens, first + 1), "user") => {
            create_user(&mut tokens, first);
        }
        Some(Keyword::DROP) => drop_concurrently(&mut tokens, first),
        _ => {}
    }
    if tokens.iter().any(|t| keyword(t) == Keyword::TRIM) {
        trim_sides(&mut tokens);
    }
    let has = |k: Keyword| tokens.iter().any(|t| keyword(t) == k);
    let tokens = if has(Keyword::FOR) { lock_clauses(tokens) } else { tokens };
    if tokens.iter().any(|t| keyword(t) == Keyword::TABLE) { table_commands(tokens) } else { tokens }
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(w) => w.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn has_word(tokens: &[TokenWithSpan], at: usize, text: &str) -> bool {
    matches!(tokens.get(at).map(|t| &t.token),
        Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

/// Booleans of COPY options (`freeze on`, `header 1`) in the spelling that sqlparser knows.
fn copy_options(tokens: &mut [TokenWithSpan]) {
    for i in 0..tokens.len() {
        if !has_word(tokens, i, "freeze") && !has_word(tokens, i, "header") {
            continue;
        }
        let value = solid(tokens, i + 1);
        let Some(token) = tokens.get(value) else { continue };
        let text = token.token.to_string().to_ascii_lowercase();
        let spelled = match text.trim_matches('\'') {
            "on" | "1" | "true" => word("true", Keyword::TRUE),
            "off" | "0" | "false" => word("false", Keyword::FALSE),
            _ => continue,
        };
        tokens[value].token = spelled;
    }
}

/// INSERT … OVERRIDING SYSTEM|USER VALUE: a hint after INSERT instead.
fn overriding(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = (0..tokens.len()).find(|i| has_word(tokens, *i, "overriding")) else { return };
    let kind = solid(tokens, at + 1);
    let value = solid(tokens, kind + 1);
    let hint = if has_word(tokens, kind, "system") {
        "+overriding system value"
    } else if has_word(tokens, kind, "user") {
        "+overriding user value"
    } else {
        return;
    };
    if !has_word(tokens, value, "value") {
        return;
    }
    let insert = (0..at).rev().find(|i| keyword(&tokens[*i]) == Keyword::INSERT);
    let Some(insert) = insert else { return };
    let span = tokens[at].span;
    tokens.drain(at..=value);
    let token = Token::Whitespace(Whitespace::MultiLineComment(hint.into()));
    tokens.insert(insert + 1, TokenWithSpan { token, span });
}

/// `trim(trailing from x)`: the FROM that follows no characters goes.
fn trim_sides(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i < tokens.len() {
        if keyword(&tokens[i]) == Keyword::TRIM {
            let open = solid(tokens, i + 1);
            let side = solid(tokens, open + 1);
            let from = solid(tokens, side + 1);
            let k = |i: usize| tokens.get(i).map_or(Keyword::NoKeyword, keyword);
            let sided = matches!(k(side), Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH);
            if sided && k(from) == Keyword::FROM {
                tokens.remove(from);
            } else if k(side) == Keyword::FROM {
                tokens.remove(side);
            }
        }
        i += 1;
    }
}

/// CREATE USER is CREATE ROLE … LOGIN.
fn create_user(tokens: &mut Vec<TokenWithSpan>, first: usize) {
    let user = solid(tokens, first + 1);
    if has_word(tokens, solid(tokens, user + 1), "mapping") {
        return;
    }
    tokens[user].token = word("role", Keyword::ROLE);
    if (0..tokens.len()).any(|i| has_word(tokens, i, "login") || has_word(tokens, i, "nologin")) {
        return;
    }
    let span = tokens[user].span;
    tokens.push(TokenWithSpan { token: Token::Whitespace(Whitespace::Space), span });
    tokens.push(TokenWithSpan { token: word("login", Keyword::LOGIN), span });
}

/// DROP INDEX CONCURRENTLY: every drop is concurrent here.
fn drop_concurrently(tokens: &mut Vec<TokenWithSpan>, first: usize) {
    let index = solid(tokens, first + 1);
    let at = solid(tokens, index + 1);
    if has_word(tokens, index, "index") && has_word(tokens, at, "concurrently") {
        tokens.remove(at);
    }
}

fn solid(tokens: &[TokenWithSpan], from: usize) -> usize {
    (from..tokens.len()).find(|&i| !matches!(tokens[i].token, Token::Whitespace(_))).unwrap_or(tokens.len())
}

/// `TABLE name` at the start of a query: at the start of the statement, after a parenthesis or set operator, or after the
/// word that leads to the query within a PREPARE, a CREATE or a DECLARE: the first outside of parentheses.
fn table_commands(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut at_query_start = true;
    let mut leads = match tokens.get(solid(&tokens, 0)).map(keyword) {
        Some(Keyword::PREPARE | Keyword::CREATE) => Some(Keyword::AS),
        Some(Keyword::DECLARE) => Some(Keyword::FOR),
        _ => None,
    };
    let mut depth = 0;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            out.push(token);
            continue;
        }
        if at_query_start && keyword(&token) == Keyword::TABLE {
            let span = token.span;
            for t in [word("select", Keyword::SELECT), Token::Mul, word("from", Keyword::FROM)] {
                out.push(TokenWithSpan { token: t, span });
            }
            at_query_start = false;
            continue;
        }
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let led = depth == 0 && leads.is_some_and(|word| word == keyword(&token));
        leads = leads.filter(|_| !led);
        at_query_start = led
            || matches!(token.token, Token::LParen)
            || matches!(keyword(&token), Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT)
            || (matches!(keyword(&token), Keyword::ALL) && at_query_start)
            || (keyword(&token) == Keyword::EXPLAIN && out.iter().all(|t| keyword(t) == Keyword::NoKeyword));
        out.push(token);
    }
    out
}

fn word(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

fn quoted(text: String) -> Token {
    Token::Word(Word { value: text, quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

fn lock_clauses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut i = 0;
    while i < tokens.len() {
        match lock_clause(&tokens, i) {
            Some((replacement, next)) => {
                out.extend(replacement);
                i = next;
            }
            None => {
                out.push(tokens[i].clone());
                i += 1;
            }
        }
    }
    out
}

/// The clause that starts at `at`, rewritten, and the index after it.
fn lock_clause(tokens: &[TokenWithSpan], at: usize) -> Option<(Vec<TokenWithSpan>, usize)> {
    if keyword(&tokens[at]) != Keyword::FOR {
        return None;
    }
    let words = |n: usize| -> Vec<usize> {
        let mut found = Vec::new();
        let mut i = at;
        for _ in 0..n {
            i = solid(tokens, i + 1);
            found.push(i);
        }
        found
    };
    let next = words(3);
    let k = |i: usize| tokens.get(i).map_or(Keyword::NoKeyword, keyword);
    let (strength, last) = match (k(next[0]), k(next[1]), k(next[2])) {
        (Keyword::NO, Keyword::KEY, Keyword::UPDATE) => ("no key update", next[2]),
        (Keyword::KEY, Keyword::SHARE, _) => ("key share", next[1]),
        (Keyword::UPDATE, Keyword::OF, _) => ("update", next[0]),
        (Keyword::SHARE, Keyword::OF, _) => ("share", next[0]),
        _ => return None,
    };
    let span = tokens[at].span;
    let mut out: Vec<TokenWithSpan> = [
        word("for", Keyword::FOR),
        word("update", Keyword::UPDATE),
        word("of", Keyword::OF),
        quoted(format!("{LOCK_STRENGTH_MARK}{strength}")),
    ]
    .into_iter()
    .map(|token| TokenWithSpan { token, span })
    .collect();
    let mut i = last + 1;
    let of = solid(tokens, i);
    if k(of) == Keyword::OF {
        i = of;
        loop {
            let name = solid(tokens, i + 1);
            let Some(TokenWithSpan { token: Token::Word(w), span }) = tokens.get(name) else { return None };
            let text = if w.quote_style.is_some() { w.value.clone() } else { w.value.to_lowercase() };
            out.push(TokenWithSpan { token: Token::Period, span: *span });
            out.push(TokenWithSpan { token: quoted(text), span: *span });
            i = name;
            let comma = solid(tokens, i + 1);
            if tokens.get(comma).is_none_or(|t| t.token != Token::Comma) {
                i += 1;
                break;
            }
            i = comma;
        }
    }
    Some((out, i))
}
