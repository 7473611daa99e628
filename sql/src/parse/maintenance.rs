//! VACUUM, ANALYZE, REINDEX and CLUSTER: what PostgreSQL's users do for its storage, with its options.
//!
//! What must stay true: an option that PostgreSQL does not know is an error here, whatever the statement then does.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Statement;
use super::utility::{Result, WRONG, unexpected, word, wrong};

/// VACUUM or ANALYZE.
#[derive(Clone, Debug)]
pub struct Vacuum {
    /// ANALYZE without VACUUM.
    pub only_analyze: bool,
    pub analyze: bool,
    pub full: bool,
    /// With one worker at least.
    pub parallel: bool,
    pub disable_page_skipping: bool,
    pub verbose: bool,
    /// Empty: all tables of the database.
    pub tables: Vec<VacuumTable>,
}

#[derive(Clone, Debug)]
pub struct VacuumTable {
    pub name: ObjectName,
    pub columns: Vec<Ident>,
}

/// REINDEX.
#[derive(Clone, Debug)]
pub struct Reindex {
    pub kind: ReindexKind,
    pub name: ObjectName,
    pub concurrently: bool,
    pub tablespace: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReindexKind {
    Index,
    Table,
    Schema,
    Database,
    System,
}

/// CLUSTER.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `None`: all tables that were clustered before.
    pub table: Option<ObjectName>,
    pub index: Option<Ident>,
}

/// One of `( name [ value ] [, …] )`.
struct Choice {
    /// In lower case.
    name: String,
    value: Option<String>,
    at: TokenWithSpan,
}

impl Choice {
    fn parse(p: &mut Parser<'_>) -> Result<Choice> {
        let Token::Word(name) = &p.peek_token_ref().token else { return unexpected(p) };
        let name = match name.value.to_ascii_lowercase() {
            name if name == "analyse" => "analyze".into(),
            name => name,
        };
        let at = p.next_token();
        let value = match &p.peek_token_ref().token {
            Token::Comma | Token::RParen => None,
            Token::Word(w) => Some(w.value.clone()),
            Token::SingleQuotedString(s) | Token::Number(s, _) => Some(s.clone()),
            _ => return unexpected(p),
        };
        if value.is_some() {
            p.advance_token();
        }
        Ok(Choice { name, value, at })
    }

    fn is_on(&self) -> Result<bool> {
        match self.value.as_ref().map(|v| v.to_ascii_lowercase()).as_deref() {
            None | Some("true" | "on" | "1") => Ok(true),
            Some("false" | "off" | "0") => Ok(false),
            Some(_) => {
                Err(ParserError::ParserError(format!("{WRONG}{} requires a Boolean value", self.name)))
            }
        }
    }

    fn unknown<T>(&self, statement: &str) -> Result<T> {
        wrong(&self.at, &format!("unrecognized {statement} option \"{}\"", self.name))
    }

    /// VACUUM's number of workers.
    fn workers(&self) -> Result<i64> {
        let Some(value) = &self.value else {
            return wrong(&self.at, "parallel option requires a value between 0 and 1024");
        };
        match value.parse::<i64>() {
            Ok(n @ 0..=1024) => Ok(n),
            Ok(_) => wrong(&self.at, "parallel workers for vacuum must be between 0 and 1024"),
            Err(_) => Err(ParserError::ParserError(format!("{WRONG}parallel requires an integer value"))),
        }
    }
}

/// The options in parentheses, if the next is a parenthesis.
fn choices(p: &mut Parser<'_>) -> Result<Vec<Choice>> {
    if !p.consume_token(&Token::LParen) {
        return Ok(Vec::new());
    }
    let choices = p.parse_comma_separated(Choice::parse)?;
    p.expect_token(&Token::RParen)?;
    Ok(choices)
}

pub(super) fn vacuum(p: &mut Parser<'_>, only_analyze: bool) -> Result<Statement> {
    p.advance_token();
    vacuum_tail(p, only_analyze)
}

/// After the first word.
pub(super) fn vacuum_tail(p: &mut Parser<'_>, only_analyze: bool) -> Result<Statement> {
    let mut v = Vacuum {
        only_analyze,
        analyze: only_analyze,
        full: false,
        parallel: false,
        disable_page_skipping: false,
        verbose: false,
        tables: Vec::new(),
    };
    if p.peek_token_ref().token == Token::LParen {
        for choice in choices(p)? {
            vacuum_choice(&mut v, &choice)?;
        }
    } else if only_analyze {
        v.verbose = p.parse_keyword(Keyword::VERBOSE);
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

fn vacuum_choice(v: &mut Vacuum, choice: &Choice) -> Result<()> {
    match &*choice.name {
        "verbose" => v.verbose = choice.is_on()?,
        "skip_locked" => drop(choice.is_on()?),
        _ if v.only_analyze => return choice.unknown("ANALYZE"),
        "analyze" => v.analyze = choice.is_on()?,
        "full" => v.full = choice.is_on()?,
        "disable_page_skipping" => v.disable_page_skipping = choice.is_on()?,
        "freeze" | "process_toast" | "truncate" => drop(choice.is_on()?),
        "index_cleanup" if choice.value.as_ref().is_some_and(|v| v.eq_ignore_ascii_case("auto")) => {}
        "index_cleanup" => drop(choice.is_on()?),
        "parallel" => v.parallel = choice.workers()? > 0,
        _ => return choice.unknown("VACUUM"),
    }
    Ok(())
}

pub(super) fn reindex(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    let (mut concurrently, mut tablespace) = (false, None);
    for choice in choices(p)? {
        match &*choice.name {
            "verbose" => drop(choice.is_on()?),
            "concurrently" => concurrently = choice.is_on()?,
            "tablespace" if choice.value.is_some() => tablespace = choice.value,
            "tablespace" => {
                return Err(ParserError::ParserError(format!("{WRONG}tablespace requires a parameter")));
            }
            _ => return choice.unknown("REINDEX"),
        }
    }
    let kind = if p.parse_keyword(Keyword::INDEX) {
        ReindexKind::Index
    } else if p.parse_keyword(Keyword::TABLE) {
        ReindexKind::Table
    } else if p.parse_keyword(Keyword::SCHEMA) {
        ReindexKind::Schema
    } else if p.parse_keyword(Keyword::DATABASE) {
        ReindexKind::Database
    } else if word(p, "system") {
        ReindexKind::System
    } else {
        return unexpected(p);
    };
    concurrently |= p.parse_keyword(Keyword::CONCURRENTLY);
    let name = p.parse_object_name(false)?;
    Ok(Statement::Reindex(Reindex { kind, name, concurrently, tablespace }))
}

pub(super) fn cluster(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    for choice in choices(p)? {
        match &*choice.name {
            "verbose" => drop(choice.is_on()?),
            _ => return choice.unknown("CLUSTER"),
        }
    }
    let _ = p.parse_keyword(Keyword::VERBOSE);
    if p.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Cluster(Cluster { table: None, index: None }));
    }
    let first = p.parse_object_name(false)?;
    if p.parse_keyword(Keyword::USING) {
        let index = Some(p.parse_identifier()?);
        return Ok(Statement::Cluster(Cluster { table: Some(first), index }));
    }
    // The order of old: CLUSTER index ON table.
    if p.parse_keyword(Keyword::ON) {
        let index = first.0.last().and_then(|part| part.as_ident()).cloned();
        return Ok(Statement::Cluster(Cluster { table: Some(p.parse_object_name(false)?), index }));
    }
    Ok(Statement::Cluster(Cluster { table: Some(first), index: None }))
}
