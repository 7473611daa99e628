//! Statements whose grammar sqlparser lacks or gets wrong.

use sqlparser::ast::{self, Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::Statement;

type Result<T> = std::result::Result<T, ParserError>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// The modes of BEGIN and SET TRANSACTION; what is not mentioned is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransactionModes {
    pub isolation: Option<IsolationLevel>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    Xml,
    Yaml,
}

#[derive(Debug)]
pub struct Explain {
    pub analyze: bool,
    pub verbose: bool,
    pub costs: bool,
    pub buffers: bool,
    pub timing: bool,
    pub summary: Option<bool>,
    pub distsql: bool,
    pub format: ExplainFormat,
    pub statement: Box<Statement>,
}

/// VACUUM or ANALYZE.
#[derive(Debug)]
pub struct Vacuum {
    /// ANALYZE without VACUUM.
    pub only_analyze: bool,
    pub analyze: bool,
    pub full: bool,
    pub verbose: bool,
    /// Empty: all tables of the database.
    pub tables: Vec<VacuumTable>,
}

#[derive(Debug)]
pub struct VacuumTable {
    pub name: ObjectName,
    pub columns: Vec<Ident>,
}

#[derive(Debug)]
pub struct DeclareCursor {
    pub name: Ident,
    pub binary: bool,
    pub scroll: Option<bool>,
    pub hold: bool,
    /// A `Statement::Sql` that holds a query.
    pub query: Box<Statement>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchCount {
    /// That many rows forward; negative: backward; zero: the current row again.
    Relative(i64),
    /// All that remain, forward or backward.
    All { backward: bool },
    /// The row at that place (negative: from the end).
    Absolute(i64),
    /// The row that many places away.
    Skip(i64),
}

#[derive(Debug)]
pub struct FetchCursor {
    pub cursor: Ident,
    pub count: FetchCount,
    /// MOVE: no rows are returned.
    pub only_move: bool,
}

pub fn parse_statement(p: &mut Parser<'_>) -> Result<Statement> {
    let keyword = match &p.peek_token_ref().token {
        Token::Word(w) => w.keyword,
        _ => Keyword::NoKeyword,
    };
    match keyword {
        Keyword::BEGIN => {
            p.advance_token();
            let _ = p.parse_one_of_keywords(&[Keyword::TRANSACTION, Keyword::WORK]);
            Ok(Statement::Begin(modes(p)?))
        }
        Keyword::START => {
            p.advance_token();
            p.expect_keyword(Keyword::TRANSACTION)?;
            Ok(Statement::Begin(modes(p)?))
        }
        Keyword::SET => set(p),
        Keyword::EXPLAIN => explain(p),
        Keyword::VACUUM | Keyword::ANALYZE => vacuum(p, keyword == Keyword::ANALYZE),
        Keyword::DECLARE => declare(p),
        Keyword::FETCH => fetch(p, false),
        Keyword::PREPARE => prepare(p),
        _ => {
            if word(p, "move") {
                return fetch_tail(p, true);
            }
            if word(p, "analyse") {
                return vacuum_tail(p, true);
            }
            if word(p, "checkpoint") {
                return Ok(Statement::Checkpoint);
            }
            if keyword == Keyword::REINDEX || keyword == Keyword::CLUSTER {
                while p.peek_token_ref().token != Token::EOF {
                    p.advance_token();
                }
                return Ok(Statement::Reindex);
            }
            sql(p)
        }
    }
}

fn sql(p: &mut Parser<'_>) -> Result<Statement> {
    p.parse_statement().map(|s| Statement::Sql(Box::new(s)))
}

/// Consumes an unquoted word that sqlparser may not know as a keyword.
fn word(p: &mut Parser<'_>, text: &str) -> bool {
    let found = matches!(&p.peek_token_ref().token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text));
    if found {
        p.advance_token();
    }
    found
}

fn unexpected<T>(p: &Parser<'_>) -> Result<T> {
    let token = p.peek_token_ref();
    if token.token == Token::EOF {
        return Err(ParserError::ParserError("found: EOF".into()));
    }
    let at = token.span.start;
    Err(ParserError::ParserError(format!("unexpected at Line: {}, Column: {}", at.line, at.column)))
}

fn modes(p: &mut Parser<'_>) -> Result<TransactionModes> {
    let mut modes = TransactionModes::default();
    loop {
        if p.parse_keywords(&[Keyword::ISOLATION, Keyword::LEVEL]) {
            modes.isolation = Some(isolation(p)?);
        } else if p.parse_keyword(Keyword::READ) {
            modes.read_only = Some(if p.parse_keyword(Keyword::ONLY) {
                true
            } else if p.parse_keyword(Keyword::WRITE) {
                false
            } else {
                return unexpected(p);
            });
        } else if p.parse_keyword(Keyword::NOT) {
            if !word(p, "deferrable") {
                return unexpected(p);
            }
            modes.deferrable = Some(false);
        } else if word(p, "deferrable") {
            modes.deferrable = Some(true);
        } else {
            return Ok(modes);
        }
        let _ = p.consume_token(&Token::Comma);
    }
}

fn isolation(p: &mut Parser<'_>) -> Result<IsolationLevel> {
    if p.parse_keywords(&[Keyword::READ, Keyword::UNCOMMITTED]) {
        Ok(IsolationLevel::ReadUncommitted)
    } else if p.parse_keywords(&[Keyword::READ, Keyword::COMMITTED]) {
        Ok(IsolationLevel::ReadCommitted)
    } else if p.parse_keywords(&[Keyword::REPEATABLE, Keyword::READ]) {
        Ok(IsolationLevel::RepeatableRead)
    } else if p.parse_keyword(Keyword::SERIALIZABLE) {
        Ok(IsolationLevel::Serializable)
    } else {
        unexpected(p)
    }
}

fn set(p: &mut Parser<'_>) -> Result<Statement> {
    let next = |p: &Parser<'_>, n: usize, k: Keyword| matches!(&p.peek_nth_token_ref(n).token, Token::Word(w) if w.keyword == k);
    if next(p, 1, Keyword::TRANSACTION) && !next(p, 2, Keyword::SNAPSHOT) {
        p.advance_token();
        p.advance_token();
        return Ok(Statement::SetTransaction { session: false, modes: modes(p)? });
    }
    if next(p, 1, Keyword::SESSION) && next(p, 2, Keyword::CHARACTERISTICS) {
        for _ in 0..3 {
            p.advance_token();
        }
        p.expect_keywords(&[Keyword::AS, Keyword::TRANSACTION])?;
        return Ok(Statement::SetTransaction { session: true, modes: modes(p)? });
    }
    let constraints = matches!(&p.peek_nth_token_ref(1).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("constraints"));
    if constraints && !matches!(p.peek_nth_token_ref(2).token, Token::Eq) {
        p.advance_token();
        p.advance_token();
        return set_constraints(p);
    }
    sql(p)
}

fn set_constraints(p: &mut Parser<'_>) -> Result<Statement> {
    let names = if p.parse_keyword(Keyword::ALL) {
        Vec::new()
    } else {
        p.parse_comma_separated(|p| p.parse_object_name(false))?
    };
    let deferred = if p.parse_keyword(Keyword::DEFERRED) {
        true
    } else if p.parse_keyword(Keyword::IMMEDIATE) {
        false
    } else {
        return unexpected(p);
    };
    Ok(Statement::SetConstraints { names, deferred })
}

fn explain(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    let mut e = Explain {
        analyze: false,
        verbose: false,
        costs: true,
        buffers: false,
        timing: true,
        summary: None,
        distsql: false,
        format: ExplainFormat::Text,
        statement: Box::new(Statement::Checkpoint),
    };
    if p.peek_token_ref().token == Token::LParen && !query_in_parentheses(p) {
        p.advance_token();
        p.parse_comma_separated(|p| explain_option(p, &mut e))?;
        p.expect_token(&Token::RParen)?;
    } else {
        if p.parse_keyword(Keyword::ANALYZE) || word(p, "analyse") {
            e.analyze = true;
        }
        e.verbose = p.parse_keyword(Keyword::VERBOSE);
    }
    e.statement = Box::new(parse_statement(p)?);
    match *e.statement {
        Statement::Sql(_) | Statement::DeclareCursor(_) => Ok(Statement::Explain(e)),
        _ => unexpected(p),
    }
}

fn query_in_parentheses(p: &Parser<'_>) -> bool {
    (1..)
        .map(|n| &p.peek_nth_token_ref(n).token)
        .find(|t| **t != Token::LParen)
        .is_some_and(|t| {
            matches!(t, Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::WITH | Keyword::TABLE))
        })
}

fn explain_option(p: &mut Parser<'_>, e: &mut Explain) -> Result<()> {
    let at = p.peek_token_ref().span.start;
    let name = p.parse_identifier()?.value.to_ascii_lowercase();
    if name == "format" {
        let format = p.parse_identifier()?.value.to_ascii_lowercase();
        e.format = match format.as_str() {
            "text" => ExplainFormat::Text,
            "json" => ExplainFormat::Json,
            "xml" => ExplainFormat::Xml,
            "yaml" => ExplainFormat::Yaml,
            _ => return unexpected(p),
        };
        return Ok(());
    }
    let on = option_value(p)?;
    match name.as_str() {
        "analyze" | "analyse" => e.analyze = on,
        "verbose" => e.verbose = on,
        "costs" => e.costs = on,
        "buffers" | "wal" | "settings" => e.buffers = on,
        "timing" => e.timing = on,
        "summary" => e.summary = Some(on),
        "distsql" => e.distsql = on,
        _ => {
            return Err(ParserError::ParserError(format!(
                "unrecognized EXPLAIN option at Line: {}, Column: {}",
                at.line, at.column
            )));
        }
    }
    Ok(())
}

/// `[ boolean ]` of an option in parentheses; a number or word that is not a boolean is passed over.
fn option_value(p: &mut Parser<'_>) -> Result<bool> {
    match p.peek_token_ref().token {
        Token::Comma | Token::RParen => Ok(true),
        _ => {
            let value = p.next_token().token.to_string().to_ascii_lowercase();
            Ok(!matches!(value.trim_matches('\''), "false" | "off" | "0" | "no"))
        }
    }
}

fn vacuum(p: &mut Parser<'_>, only_analyze: bool) -> Result<Statement> {
    p.advance_token();
    vacuum_tail(p, only_analyze)
}

fn vacuum_tail(p: &mut Parser<'_>, only_analyze: bool) -> Result<Statement> {
    let mut v =
        Vacuum { only_analyze, analyze: only_analyze, full: false, verbose: false, tables: Vec::new() };
    if p.consume_token(&Token::LParen) {
        p.parse_comma_separated(|p| {
            let name = p.next_token().token.to_string().to_ascii_lowercase();
            let on = option_value(p)?;
            match name.as_str() {
                "analyze" | "analyse" => v.analyze = on || only_analyze,
                "full" => v.full = on,
                "verbose" => v.verbose = on,
                _ => {}
            }
            Ok(())
        })?;
        p.expect_token(&Token::RParen)?;
    } else {
        v.full = p.parse_keyword(Keyword::FULL);
        let _ = p.parse_keyword(Keyword::FREEZE);
        v.verbose = p.parse_keyword(Keyword::VERBOSE);
        v.analyze |= p.parse_keyword(Keyword::ANALYZE) || word(p, "analyse");
    }
    if p.peek_token_ref().token != Token::EOF {
        v.tables = p.parse_comma_separated(|p| {
            let name = p.parse_object_name(false)?;
            let mut columns = Vec::new();
            if p.consume_token(&Token::LParen) {
                columns = p.parse_comma_separated(Parser::parse_identifier)?;
                p.expect_token(&Token::RParen)?;
            }
            Ok(VacuumTable { name, columns })
        })?;
    }
    Ok(Statement::Vacuum(v))
}

fn declare(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    let name = p.parse_identifier()?;
    let (mut binary, mut scroll, mut hold) = (false, None, false);
    loop {
        if p.parse_keyword(Keyword::BINARY) {
            binary = true;
        } else if p.parse_keyword(Keyword::INSENSITIVE) || word(p, "asensitive") {
        } else if p.parse_keyword(Keyword::SCROLL) {
            scroll = Some(true);
        } else if p.parse_keywords(&[Keyword::NO, Keyword::SCROLL]) {
            scroll = Some(false);
        } else {
            break;
        }
    }
    p.expect_keyword(Keyword::CURSOR)?;
    if p.parse_keywords(&[Keyword::WITH, Keyword::HOLD]) {
        hold = true;
    } else {
        let _ = p.parse_keywords(&[Keyword::WITHOUT, Keyword::HOLD]);
    }
    p.expect_keyword(Keyword::FOR)?;
    let query = ast::Statement::Query(p.parse_query()?);
    Ok(Statement::DeclareCursor(DeclareCursor {
        name,
        binary,
        scroll,
        hold,
        query: Box::new(Statement::Sql(Box::new(query))),
    }))
}

fn fetch(p: &mut Parser<'_>, only_move: bool) -> Result<Statement> {
    p.advance_token();
    fetch_tail(p, only_move)
}

fn fetch_tail(p: &mut Parser<'_>, only_move: bool) -> Result<Statement> {
    let count = fetch_count(p)?;
    let _ = p.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]);
    let cursor = p.parse_identifier()?;
    Ok(Statement::Fetch(FetchCursor { cursor, count, only_move }))
}

fn fetch_count(p: &mut Parser<'_>) -> Result<FetchCount> {
    if let Some(n) = signed(p)? {
        return Ok(FetchCount::Relative(n));
    }
    let directions = [
        Keyword::NEXT,
        Keyword::PRIOR,
        Keyword::FIRST,
        Keyword::LAST,
        Keyword::ABSOLUTE,
        Keyword::RELATIVE,
        Keyword::ALL,
        Keyword::FORWARD,
        Keyword::BACKWARD,
    ];
    Ok(match p.parse_one_of_keywords(&directions) {
        Some(Keyword::PRIOR) => FetchCount::Relative(-1),
        Some(Keyword::FIRST) => FetchCount::Absolute(1),
        Some(Keyword::LAST) => FetchCount::Absolute(-1),
        Some(k @ (Keyword::ABSOLUTE | Keyword::RELATIVE)) => match signed(p)? {
            Some(n) if k == Keyword::ABSOLUTE => FetchCount::Absolute(n),
            Some(n) => FetchCount::Skip(n),
            None => return unexpected(p),
        },
        Some(Keyword::ALL) => FetchCount::All { backward: false },
        Some(k @ (Keyword::FORWARD | Keyword::BACKWARD)) => {
            let backward = k == Keyword::BACKWARD;
            if p.parse_keyword(Keyword::ALL) {
                FetchCount::All { backward }
            } else {
                let n = signed(p)?.unwrap_or(1);
                FetchCount::Relative(if backward { -n } else { n })
            }
        }
        _ => FetchCount::Relative(1),
    })
}

fn signed(p: &mut Parser<'_>) -> Result<Option<i64>> {
    let sign = if p.consume_token(&Token::Minus) {
        -1
    } else {
        let _ = p.consume_token(&Token::Plus);
        1
    };
    let Token::Number(digits, _) = &p.peek_token_ref().token else { return Ok(None) };
    let Ok(n) = digits.parse::<i64>() else { return unexpected(p) };
    p.advance_token();
    Ok(Some(sign * n))
}

fn prepare(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    let name = p.parse_identifier()?;
    let mut types = Vec::new();
    if p.consume_token(&Token::LParen) {
        types = p.parse_comma_separated(Parser::parse_data_type)?;
        p.expect_token(&Token::RParen)?;
    }
    p.expect_keyword(Keyword::AS)?;
    Ok(Statement::Prepare { name, types, statement: Box::new(parse_statement(p)?) })
}
