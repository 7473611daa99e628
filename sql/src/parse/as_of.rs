//! AS OF SYSTEM TIME: taken out of the tokens before the grammar, which has no place for it, meets them.
//!
//! CockroachDB has it behind the FROM list of the outermost SELECT, where it is for the whole statement, and among the modes
//! of BEGIN and SET TRANSACTION. Here it may stand at the end of the SELECT as well.

use sqlparser::ast::{self, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Statement, error, parser_over};
use crate::error::{SqlError, SqlResult, state};

/// The tokens without the clause, and its expression.
pub(super) fn take(
    source: &str,
    mut tokens: Vec<TokenWithSpan>,
) -> SqlResult<(Vec<TokenWithSpan>, Option<Box<Expr>>)> {
    let Some((at, end)) = find(&tokens)? else { return Ok((tokens, None)) };
    let mut parser = parser_over(tokens[end..].to_vec());
    let expr = parser.parse_expr().map_err(|e| error::from_parser(source, &parser, &e))?;
    let block = begins_block(&tokens);
    let next = parser.peek_token_ref();
    if !may_follow(&next.token, block) {
        return Err(error::near(source, next));
    }
    if block {
        // Of the commas between modes, the one before it stays, if there is one.
        let _ = parser.consume_token(&Token::Comma);
    }
    let behind = end + parser.index();
    tokens.drain(at..behind.min(tokens.len()));
    match find(&tokens)? {
        Some((again, _)) => Err(error::near(source, &tokens[again])),
        None => Ok((tokens, Some(Box::new(expr)))),
    }
}

/// Where the four words begin, and end.
fn find(tokens: &[TokenWithSpan]) -> SqlResult<Option<(usize, usize)>> {
    if !tokens.iter().any(|t| is(t, Keyword::SYSTEM)) {
        return Ok(None);
    }
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_))).collect();
    let words = [Keyword::AS, Keyword::OF, Keyword::SYSTEM, Keyword::TIME];
    let mut depth = 0;
    for window in solid.windows(words.len()) {
        match tokens[window[0]].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if window.iter().zip(words).all(|(i, word)| is(&tokens[*i], word)) {
            if depth > 0 {
                let message = "AS OF SYSTEM TIME must be provided on a top-level statement";
                return Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, message)
                    .with_hint("It is for the whole statement, and stands behind its last FROM."));
            }
            return Ok(Some((window[0], window[3] + 1)));
        }
    }
    Ok(None)
}

fn is(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.keyword == keyword)
}

fn begins_block(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)));
    first.is_some_and(|t| [Keyword::BEGIN, Keyword::START, Keyword::SET].iter().any(|k| is(t, *k)))
}

/// What may stand behind the clause: in a query, what may stand behind FROM.
fn may_follow(token: &Token, block: bool) -> bool {
    use Keyword as K;
    match token {
        Token::EOF => true,
        Token::Comma => block,
        Token::Word(w) if block => matches!(w.keyword, K::ISOLATION | K::READ | K::NOT | K::DEFERRABLE),
        Token::Word(w) => matches!(
            w.keyword,
            K::WHERE
                | K::GROUP
                | K::HAVING
                | K::WINDOW
                | K::UNION
                | K::EXCEPT
                | K::INTERSECT
                | K::ORDER
                | K::LIMIT
                | K::OFFSET
                | K::FETCH
                | K::FOR
        ),
        _ => false,
    }
}

/// Refuses the clause in a statement that it says nothing about.
pub(super) fn check(statement: &Statement) -> SqlResult<()> {
    if begins_past(statement) || reads(statement) {
        return Ok(());
    }
    Err(SqlError::unsupported("AS OF SYSTEM TIME in this statement")
        .with_hint("It can be used in SELECT and EXPLAIN, in BEGIN and in SET TRANSACTION."))
}

fn begins_past(statement: &Statement) -> bool {
    matches!(statement, Statement::Begin(_) | Statement::SetTransaction { session: false, .. })
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Sql(sql) => matches!(**sql, ast::Statement::Query(_)),
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::Prepare { statement, .. } => reads(statement),
        Statement::DeclareCursor(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_single;

    fn clause(sql: &str) -> Option<String> {
        let parsed = parse_single(sql).expect(sql).expect("a statement");
        parsed.as_of.as_ref().map(|e| e.to_string())
    }

    fn refused(sql: &str) -> (&'static str, String) {
        let e = parse_single(sql).expect_err(sql);
        (e.code(), e.message().to_owned())
    }

    #[test]
    fn it_is_found_where_it_may_stand() {
        for sql in [
            "SELECT * FROM t AS OF SYSTEM TIME '-1s'",
            "select * from t as of system time '-1s' where a = 1 order by b limit 3",
            "SELECT * FROM t WHERE a = 1 AS OF SYSTEM TIME '-1s'",
            "SELECT a FROM t UNION SELECT a FROM u AS OF /* then */ SYSTEM TIME '-1s' ORDER BY 1",
            "TABLE t AS OF SYSTEM TIME '-1s'",
            "EXPLAIN (COSTS OFF) SELECT * FROM t AS OF SYSTEM TIME '-1s'",
            "PREPARE p AS SELECT * FROM t AS OF SYSTEM TIME '-1s' WHERE a = $1",
            "DECLARE c CURSOR FOR SELECT * FROM t AS OF SYSTEM TIME '-1s'",
            "BEGIN AS OF SYSTEM TIME '-1s'",
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, AS OF SYSTEM TIME '-1s', READ ONLY",
            "START TRANSACTION AS OF SYSTEM TIME '-1s' READ ONLY",
            "SET TRANSACTION AS OF SYSTEM TIME '-1s'",
            "SET TRANSACTION AS OF SYSTEM TIME '-1s', READ ONLY",
        ] {
            assert_eq!(clause(sql).as_deref(), Some("'-1s'"), "{sql}");
        }
        assert_eq!(
            clause("SELECT * FROM t AS OF SYSTEM TIME now() - interval '1 min' WHERE a").as_deref(),
            Some("now() - INTERVAL '1 min'")
        );
        assert_eq!(clause("SELECT system AS of, time FROM system"), None);
        assert_eq!(clause("SELECT 'AS OF SYSTEM TIME'"), None);
    }

    #[test]
    fn it_is_refused_where_it_means_nothing() {
        let near = |what: &str| ("42601", format!("syntax error at or near \"{what}\""));
        assert_eq!(refused("SELECT * FROM t AS OF SYSTEM TIME '-1s' x"), near("x"));
        assert_eq!(refused("SELECT * FROM t AS OF SYSTEM TIME '-1s', u"), near(","));
        assert_eq!(refused("SELECT * FROM t AS OF SYSTEM TIME '-1s' AS OF SYSTEM TIME '-2s'"), near("AS"));
        assert_eq!(
            refused("SELECT * FROM t AS OF SYSTEM TIME"),
            ("42601", "syntax error at end of input".into())
        );
        for sql in [
            "SELECT * FROM (SELECT * FROM t AS OF SYSTEM TIME '-1s') x",
            "WITH x AS (SELECT * FROM t AS OF SYSTEM TIME '-1s') SELECT * FROM x",
            "INSERT INTO t SELECT * FROM t AS OF SYSTEM TIME '-1s'",
            "CREATE VIEW v AS SELECT * FROM t AS OF SYSTEM TIME '-1s'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION AS OF SYSTEM TIME '-1s'",
        ] {
            assert_eq!(refused(sql).0, "0A000", "{sql}");
        }
    }
}
