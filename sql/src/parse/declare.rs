//! DECLARE CURSOR.

use sqlparser::ast::{self, Ident, SetExpr, Spanned};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

use super::Statement;
use super::utility::word;

type Result<T> = std::result::Result<T, ParserError>;

#[derive(Clone, Debug)]
pub struct DeclareCursor {
    pub name: Ident,
    pub binary: bool,
    pub scroll: Option<bool>,
    pub hold: bool,
    /// A `Statement::Sql` that holds a query.
    pub query: Box<Statement>,
}

pub(super) fn parse(p: &mut Parser<'_>) -> Result<Statement> {
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
    let query = ast::Statement::Query(select(p)?);
    Ok(Statement::DeclareCursor(DeclareCursor {
        name,
        binary,
        scroll,
        hold,
        query: Box::new(Statement::Sql(Box::new(query))),
    }))
}

/// PostgreSQL's SelectStmt. sqlparser takes an INSERT, UPDATE or DELETE for a query, too.
fn select(p: &mut Parser<'_>) -> Result<Box<ast::Query>> {
    let query = p.parse_query()?;
    let mut body = &*query.body;
    while let SetExpr::Query(inner) = body {
        body = &inner.body;
    }
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            let at = body.span().start;
            let place = format!("a query expected at Line: {}, Column: {}", at.line, at.column);
            Err(ParserError::ParserError(place))
        }
        _ => Ok(query),
    }
}
