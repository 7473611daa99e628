//! Statements whose grammar sqlparser lacks or gets wrong.

use sqlparser::ast::{self, Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Statement, declare, explain, maintenance, split};

pub(super) type Result<T> = std::result::Result<T, ParserError>;

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

#[derive(Clone, Debug)]
pub struct FetchCursor {
    pub cursor: Ident,
    pub count: FetchCount,
    /// MOVE: no rows are returned.
    pub only_move: bool,
}

/// ALTER SEQUENCE: what is not mentioned stays.
#[derive(Clone, Debug)]
pub struct AlterSequence {
    pub if_exists: bool,
    pub name: ObjectName,
    pub data_type: Option<ast::DataType>,
    pub options: Vec<ast::SequenceOptions>,
    /// RESTART, with the value if one is given.
    pub restart: Option<Option<ast::Expr>>,
    /// OWNED BY; NONE is the inner `None`.
    pub owned_by: Option<Option<ObjectName>>,
    pub rename_to: Option<Ident>,
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
        Keyword::EXPLAIN => explain::parse(p),
        Keyword::VACUUM | Keyword::ANALYZE => maintenance::vacuum(p, keyword == Keyword::ANALYZE),
        Keyword::REINDEX => maintenance::reindex(p),
        Keyword::CLUSTER => maintenance::cluster(p),
        Keyword::DECLARE => declare::parse(p),
        Keyword::FETCH => fetch(p, false),
        Keyword::PREPARE => prepare(p),
        Keyword::RESET => reset(p),
        Keyword::CREATE => create(p),
        Keyword::ALTER => alter(p),
        Keyword::DROP if is_word(p, 1, "owned") => unsupported("DROP OWNED"),
        Keyword::DROP if is_word(p, 1, "tablespace") => unsupported("DROP TABLESPACE"),
        Keyword::REFRESH => unsupported("REFRESH MATERIALIZED VIEW"),
        Keyword::DO => unsupported("DO"),
        _ => {
            if word(p, "move") {
                return fetch_tail(p, true);
            }
            if word(p, "analyse") {
                return maintenance::vacuum_tail(p, true);
            }
            if word(p, "checkpoint") {
                return Ok(Statement::Checkpoint);
            }
            sql(p)
        }
    }
}

/// A statement of PostgreSQL's that we know and do not have; `error::from_parser` reads the mark.
fn unsupported<T>(what: &str) -> Result<T> {
    Err(ParserError::ParserError(format!("{UNSUPPORTED}{what}")))
}

pub const UNSUPPORTED: &str = "not supported: ";

/// A syntax error with a message of its own, at a token; `error::from_parser` reads the mark.
pub(super) fn wrong<T>(token: &TokenWithSpan, message: &str) -> Result<T> {
    let at = token.span.start;
    Err(ParserError::ParserError(format!("{WRONG}{message} at Line: {}, Column: {}", at.line, at.column)))
}

pub const WRONG: &str = "wrong: ";

pub(super) fn is_word(p: &Parser<'_>, n: usize, text: &str) -> bool {
    matches!(&p.peek_nth_token_ref(n).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

/// RESET TIME ZONE and the like; all else is sqlparser's.
fn reset(p: &mut Parser<'_>) -> Result<Statement> {
    let parameter = if is_word(p, 1, "time") && is_word(p, 2, "zone") {
        "timezone"
    } else if is_word(p, 1, "transaction") && is_word(p, 2, "isolation") && is_word(p, 3, "level") {
        "transaction_isolation"
    } else {
        return sql(p);
    };
    while p.peek_token_ref().token != Token::EOF {
        p.advance_token();
    }
    let name = ObjectName::from(vec![Ident::new(parameter)]);
    let reset = ast::ResetStatement { reset: ast::Reset::ConfigurationParameter(name) };
    Ok(Statement::Sql(Box::new(ast::Statement::Reset(reset))))
}

fn create(p: &mut Parser<'_>) -> Result<Statement> {
    let temporary = is_word(p, 1, "temp") || is_word(p, 1, "temporary");
    if is_word(p, 1 + usize::from(temporary), "sequence") {
        for _ in 0..2 + usize::from(temporary) {
            p.advance_token();
        }
        return create_sequence(p, temporary);
    }
    if is_word(p, 1, "database") {
        return create_database(p);
    }
    let replaces = is_word(p, 1, "or") && is_word(p, 2, "replace");
    for (word, what) in [
        ("rule", "CREATE RULE"),
        ("publication", "CREATE PUBLICATION"),
        ("cast", "CREATE CAST"),
        ("tablespace", "CREATE TABLESPACE"),
        ("procedure", "CREATE PROCEDURE"),
    ] {
        if is_word(p, if replaces { 3 } else { 1 }, word) {
            return unsupported(what);
        }
    }
    sql(p)
}

/// The options of a sequence, in any order.
#[derive(Default)]
struct SequenceClauses {
    data_type: Option<ast::DataType>,
    options: Vec<ast::SequenceOptions>,
    restart: Option<Option<ast::Expr>>,
    owned_by: Option<Option<ObjectName>>,
}

fn sequence_clauses(p: &mut Parser<'_>) -> Result<SequenceClauses> {
    use ast::SequenceOptions as O;
    let mut c = SequenceClauses::default();
    let number = |p: &mut Parser<'_>| p.parse_prefix();
    loop {
        if p.parse_keyword(Keyword::AS) {
            c.data_type = Some(p.parse_data_type()?);
        } else if p.parse_keyword(Keyword::INCREMENT) {
            let by = p.parse_keyword(Keyword::BY);
            c.options.push(O::IncrementBy(number(p)?, by));
        } else if p.parse_keyword(Keyword::MINVALUE) {
            c.options.push(O::MinValue(Some(number(p)?)));
        } else if p.parse_keyword(Keyword::MAXVALUE) {
            c.options.push(O::MaxValue(Some(number(p)?)));
        } else if p.parse_keyword(Keyword::START) {
            let with = p.parse_keyword(Keyword::WITH);
            c.options.push(O::StartWith(number(p)?, with));
        } else if word(p, "restart") {
            let with = p.parse_keyword(Keyword::WITH);
            let value = with || matches!(p.peek_token_ref().token, Token::Number(..) | Token::Minus);
            c.restart = Some(if value { Some(number(p)?) } else { None });
        } else if p.parse_keyword(Keyword::CACHE) {
            c.options.push(O::Cache(number(p)?));
        } else if p.parse_keyword(Keyword::CYCLE) {
            // sqlparser's flag means NO.
            c.options.push(O::Cycle(false));
        } else if p.parse_keyword(Keyword::NO) {
            if p.parse_keyword(Keyword::CYCLE) {
                c.options.push(O::Cycle(true));
            } else if p.parse_keyword(Keyword::MINVALUE) {
                c.options.push(O::MinValue(None));
            } else if p.parse_keyword(Keyword::MAXVALUE) {
                c.options.push(O::MaxValue(None));
            } else {
                return unexpected(p);
            }
        } else if p.parse_keyword(Keyword::OWNED) {
            p.expect_keyword(Keyword::BY)?;
            let none = p.parse_keyword(Keyword::NONE);
            c.owned_by = Some(if none { None } else { Some(p.parse_object_name(false)?) });
        } else {
            return Ok(c);
        }
    }
}

fn create_sequence(p: &mut Parser<'_>, temporary: bool) -> Result<Statement> {
    let if_not_exists = p.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = p.parse_object_name(false)?;
    let clauses = sequence_clauses(p)?;
    if clauses.restart.is_some() {
        return unexpected(p);
    }
    Ok(Statement::Sql(Box::new(ast::Statement::CreateSequence {
        temporary,
        if_not_exists,
        name,
        data_type: clauses.data_type,
        sequence_options: clauses.options,
        owned_by: clauses.owned_by.flatten(),
    })))
}

fn alter(p: &mut Parser<'_>) -> Result<Statement> {
    if is_word(p, 1, "default") && is_word(p, 2, "privileges") {
        return unsupported("ALTER DEFAULT PRIVILEGES");
    }
    for (word, what) in [
        ("database", "ALTER DATABASE"),
        ("system", "ALTER SYSTEM"),
        ("tablespace", "ALTER TABLESPACE"),
        ("procedure", "ALTER PROCEDURE"),
    ] {
        if is_word(p, 1, word) {
            return unsupported(what);
        }
    }
    if (is_word(p, 1, "table") || is_word(p, 1, "index")) && split::follows(p) {
        return split::parse(p);
    }
    if !is_word(p, 1, "sequence") {
        return sql(p);
    }
    p.advance_token();
    p.advance_token();
    let if_exists = p.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = p.parse_object_name(false)?;
    let mut rename_to = None;
    let mut clauses = SequenceClauses::default();
    if p.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        rename_to = Some(p.parse_identifier()?);
    } else if p.peek_keyword(Keyword::OWNER) || p.peek_keyword(Keyword::SET) {
        return unsupported("this form of ALTER SEQUENCE");
    } else {
        clauses = sequence_clauses(p)?;
    }
    Ok(Statement::AlterSequence(Box::new(AlterSequence {
        if_exists,
        name,
        data_type: clauses.data_type,
        options: clauses.options,
        restart: clauses.restart,
        owned_by: clauses.owned_by,
        rename_to,
    })))
}

/// CREATE DATABASE with PostgreSQL's options: those that change nothing here are passed over, the encoding is UTF8.
fn create_database(p: &mut Parser<'_>) -> Result<Statement> {
    const PASSED_OVER: &[&str] = &[
        "owner",
        "template",
        "lc_collate",
        "lc_ctype",
        "locale",
        "tablespace",
        "connection",
        "allow_connections",
        "is_template",
        "strategy",
        "collation_version",
        "locale_provider",
    ];
    p.advance_token();
    p.advance_token();
    let name = p.parse_identifier()?;
    p.parse_keyword(Keyword::WITH).then_some(());
    while p.peek_token_ref().token != Token::EOF {
        let at = p.peek_token_ref().span.start;
        let option = p.parse_identifier()?.value.to_ascii_lowercase();
        if option == "connection" {
            let _ = word(p, "limit");
        }
        let _ = p.consume_token(&Token::Eq);
        let _ = p.consume_token(&Token::Minus);
        let value = p.next_token().token.to_string();
        let value = value.trim_matches('\'').to_ascii_lowercase();
        match option.as_str() {
            "encoding" if matches!(value.as_str(), "utf8" | "utf-8" | "unicode" | "default" | "6") => {}
            "encoding" => return unsupported("an encoding other than UTF8"),
            known if PASSED_OVER.contains(&known) => {}
            _ => {
                return Err(ParserError::ParserError(format!(
                    "unknown option at Line: {}, Column: {}",
                    at.line, at.column
                )));
            }
        }
    }
    // The statement has two dozen fields of other products: let sqlparser fill them.
    let text = format!("CREATE DATABASE {}", Ident::with_quote('"', super::super::bind::fold(&name)));
    let mut plain = Parser::new(&super::MeridianDialect).try_with_sql(&text)?;
    plain.parse_statement().map(|s| Statement::Sql(Box::new(s)))
}

fn sql(p: &mut Parser<'_>) -> Result<Statement> {
    p.parse_statement().map(|s| Statement::Sql(Box::new(s)))
}

/// Consumes an unquoted word that sqlparser may not know as a keyword.
pub(super) fn word(p: &mut Parser<'_>, text: &str) -> bool {
    let found = matches!(&p.peek_token_ref().token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text));
    if found {
        p.advance_token();
    }
    found
}

pub(super) fn unexpected<T>(p: &Parser<'_>) -> Result<T> {
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

/// `[ boolean ]` of an option in parentheses; a number or word that is not a boolean is passed over.
pub(super) fn option_value(p: &mut Parser<'_>) -> Result<bool> {
    match p.peek_token_ref().token {
        Token::Comma | Token::RParen => Ok(true),
        _ => {
            let value = p.next_token().token.to_string().to_ascii_lowercase();
            Ok(!matches!(value.trim_matches('\''), "false" | "off" | "0" | "no"))
        }
    }
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
    // An EXECUTE among them could come back to itself.
    if !begins_plan(p) {
        return unexpected(p);
    }
    Ok(Statement::Prepare { name, types, statement: Box::new(parse_statement(p)?) })
}

/// PostgreSQL's PreparableStmt: what is planned.
pub(super) fn begins_plan(p: &Parser<'_>) -> bool {
    use Keyword::{DELETE, INSERT, MERGE, SELECT, TABLE, UPDATE, VALUES, WITH};
    p.peek_token_ref().token == Token::LParen
        || begins_with(p, &[SELECT, VALUES, WITH, TABLE, INSERT, UPDATE, DELETE, MERGE])
}

pub(super) fn begins_with(p: &Parser<'_>, keywords: &[Keyword]) -> bool {
    matches!(&p.peek_token_ref().token, Token::Word(w) if keywords.contains(&w.keyword))
}
