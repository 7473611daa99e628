//! ALTER TABLE … SPLIT AT and ALTER INDEX … SPLIT AT, which sqlparser does not have.

use sqlparser::ast::{self, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::Statement;
use super::utility::is_word;

type Result<T> = std::result::Result<T, ParserError>;

/// ALTER TABLE or INDEX name SPLIT AT VALUES (…), …
#[derive(Clone, Debug)]
pub struct SplitAt {
    pub index: bool,
    pub name: ObjectName,
    /// The first columns of the key, or all of them.
    pub rows: Vec<Vec<ast::Expr>>,
}

/// Whether SPLIT AT follows the name.
pub fn follows(p: &Parser<'_>) -> bool {
    let mut name = 2;
    while p.peek_nth_token_ref(name + 1).token == Token::Period {
        name += 2;
    }
    is_word(p, name + 1, "split") && is_word(p, name + 2, "at")
}

pub fn parse(p: &mut Parser<'_>) -> Result<Statement> {
    p.advance_token();
    let index = is_word(p, 0, "index");
    p.advance_token();
    let name = p.parse_object_name(false)?;
    p.advance_token();
    p.advance_token();
    p.expect_keyword(Keyword::VALUES)?;
    let rows = p.parse_comma_separated(|p| {
        p.expect_token(&Token::LParen)?;
        let row = p.parse_comma_separated(Parser::parse_expr)?;
        p.expect_token(&Token::RParen)?;
        Ok(row)
    })?;
    Ok(Statement::SplitAt(Box::new(SplitAt { index, name, rows })))
}
