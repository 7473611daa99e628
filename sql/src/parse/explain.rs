//! EXPLAIN: its options, and the statements that have a plan to explain.

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::Statement;
use super::utility::{
    Result, begins_plan, begins_with, is_word, option_value, parse_statement, unexpected, word,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    Xml,
    Yaml,
}

#[derive(Clone, Debug)]
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

pub(super) fn parse(p: &mut Parser<'_>) -> Result<Statement> {
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
    // PostgreSQL's ExplainableStmt. An EXPLAIN among them could hold another, without end.
    use Keyword::{CREATE, DECLARE, EXECUTE, REFRESH};
    if begins_with(p, &[CREATE]) {
        expect_create_table_as(p)?;
    } else if !begins_plan(p) && !begins_with(p, &[DECLARE, EXECUTE, REFRESH]) {
        return unexpected(p);
    }
    e.statement = Box::new(parse_statement(p)?);
    let without_query = matches!(&*e.statement, Statement::Sql(s)
        if matches!(&**s, ast::Statement::CreateTable(table) if table.query.is_none()));
    if without_query {
        return unexpected(p);
    }
    Ok(Statement::Explain(e))
}

/// Of all CREATE statements only those that store a query's rows have a plan. The parser stays where it is.
fn expect_create_table_as(p: &mut Parser<'_>) -> Result<()> {
    let kind = (1..).find(|&n| {
        !["temp", "temporary", "local", "global", "unlogged"].iter().any(|word| is_word(p, n, word))
    });
    let kind = kind.expect("a text ends");
    if is_word(p, kind, "table") || is_word(p, kind, "materialized") {
        return Ok(());
    }
    (0..kind).for_each(|_| p.advance_token());
    unexpected(p)
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
