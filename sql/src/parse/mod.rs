//! Text to syntax trees.
//!
//! sqlparser does the grammar, through a dialect of ours that corrects its operator precedences (`dialect`); what it
//! lacks is parsed here (`utility`) or rewritten in the token stream (`rewrite`, `as_of`). A string of several statements is
//! parsed as a whole before any of them runs, as in PostgreSQL, and every statement keeps its place in the text.
//!
//! What must stay true: no text makes the parser, or dropping its trees, overflow the stack. Nesting is limited
//! ([`MAX_NESTING`]); chains of operators, which nest to the left without nesting in the text, are counted, and
//! trees with long chains are dropped on a stack of their own.

mod as_of;
mod declare;
mod dialect;
mod error;
mod explain;
mod maintenance;
mod rewrite;
mod split;
mod tokens;
mod utility;

use std::ops::Range;
use std::sync::Arc;

pub use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

pub use declare::DeclareCursor;
pub use dialect::MeridianDialect;
pub use error::{Places, offset_of, position_of};
pub use explain::{Explain, ExplainFormat};
pub use maintenance::{Cluster, Reindex, ReindexKind, Vacuum, VacuumTable};
pub use rewrite::LOCK_STRENGTH_MARK;
pub use split::SplitAt;
use tokens::tokenize;
pub use utility::{AlterSequence, FetchCount, FetchCursor, IsolationLevel, TransactionModes};

use crate::error::{SqlError, SqlResult, state};

/// Words and signs of operators in a row, without a comma, a clause or AND and OR between them: the binder would refuse
/// a chain of so many, after much work.
const MAX_CHAIN: usize = 4_000;
/// ANDs and ORs in a row. They become one flat list, but their syntax tree is as deep as they are many.
const MAX_LINKS: usize = 50_000;
/// CASEs within one another.
const MAX_CASES: usize = 500;
/// UNIONs and the like in a statement.
const MAX_SET_OPERATIONS: usize = 10_000;
/// Parentheses and subqueries within one another.
const MAX_NESTING: usize = 200;
/// Chains of more operators than this are handled on a stack of their own.
const LONG_CHAIN: usize = 1_000;
/// Stack that one operator of a chain may need while its tree is dropped.
const BYTES_PER_OPERATOR: usize = 1024;

/// A statement, and where in the client's text it stands.
#[derive(Debug)]
pub struct ParsedStatement {
    pub statement: Statement,
    /// The whole string that the client sent; positions in errors count from its beginning.
    pub source: Arc<str>,
    /// Bytes of `source`.
    pub span: Range<usize>,
    /// AS OF SYSTEM TIME: what it says of the statement, or of the one within it (PREPARE, DECLARE).
    pub as_of: Option<Box<ast::Expr>>,
    operators: usize,
}

/// What sqlparser's tree can say, and what it cannot.
#[derive(Clone, Debug)]
pub enum Statement {
    Sql(Box<ast::Statement>),
    Begin(TransactionModes),
    /// SET TRANSACTION, or SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        session: bool,
        modes: TransactionModes,
    },
    Explain(Explain),
    /// VACUUM and ANALYZE.
    Vacuum(Vacuum),
    DeclareCursor(DeclareCursor),
    /// FETCH and MOVE.
    Fetch(FetchCursor),
    Prepare {
        name: ast::Ident,
        types: Vec<ast::DataType>,
        statement: Box<Statement>,
    },
    SetConstraints {
        /// Empty: ALL.
        names: Vec<ast::ObjectName>,
        deferred: bool,
    },
    AlterSequence(Box<AlterSequence>),
    SplitAt(Box<SplitAt>),
    Checkpoint,
    Reindex(Reindex),
    Cluster(Cluster),
}

impl ParsedStatement {
    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.source[self.span.clone()]
    }

    /// The statement within PREPARE or DECLARE, as one of its own at the same place in the text.
    pub fn inner(&self) -> SqlResult<ParsedStatement> {
        let inner = match &self.statement {
            Statement::Prepare { statement, .. } => statement,
            Statement::DeclareCursor(d) => &d.query,
            _ => return Err(SqlError::internal("the statement has no other within it")),
        };
        Ok(ParsedStatement {
            statement: Statement::clone(inner),
            source: self.source.clone(),
            span: self.span.clone(),
            as_of: self.as_of.clone(),
            operators: self.operators,
        })
    }
}

impl Drop for ParsedStatement {
    fn drop(&mut self) {
        if self.operators > LONG_CHAIN {
            let statement = std::mem::replace(&mut self.statement, Statement::Checkpoint);
            with_stack_for(self.operators, || drop(statement));
        }
    }
}

fn with_stack_for<R>(operators: usize, f: impl FnOnce() -> R) -> R {
    let bytes = (operators * BYTES_PER_OPERATOR).clamp(1 << 20, 1 << 30);
    stacker::maybe_grow(bytes, bytes, f)
}

/// All statements of a string; none for a string of nothing but white space and comments.
pub fn parse(sql: &str) -> SqlResult<Vec<ParsedStatement>> {
    let source: Arc<str> = Arc::from(sql);
    let mut statements = Vec::new();
    let mut places = Places::of(&source);
    let mut tokens = tokenize(sql)?.into_iter();
    while tokens.len() > 0 {
        let own: Vec<_> = tokens.by_ref().take_while(|t| t.token != Token::SemiColon).collect();
        if let (Some(first), Some(last)) = (own.iter().find(is_solid), own.iter().rfind(is_solid)) {
            let span = places.offset_of(first.span.start)..places.offset_of(last.span.end);
            statements.push(parse_one(&source, own, span)?);
        }
    }
    Ok(statements)
}

fn is_solid(t: &&TokenWithSpan) -> bool {
    !matches!(t.token, Token::Whitespace(_))
}

/// Exactly one statement (the extended protocol's Parse); `None` for an empty string.
pub fn parse_single(sql: &str) -> SqlResult<Option<ParsedStatement>> {
    let mut statements = parse(sql)?;
    if statements.len() > 1 {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            "cannot insert multiple commands into a prepared statement",
        ));
    }
    Ok(statements.pop())
}

/// A lone expression: defaults, checks, predicates as they are stored in descriptors.
pub fn parse_expression(text: &str) -> SqlResult<ast::Expr> {
    let tokens = tokenize(text)?;
    check_nesting(&tokens)?;
    let mut parser = parser_over(tokens);
    let expr = parser.parse_expr().map_err(|e| error::from_parser(text, &parser, &e))?;
    expect_end(text, &parser)?;
    Ok(expr)
}

/// A type's name as SQL spells it, for instance `varchar(10)[]`.
pub fn parse_data_type(text: &str) -> SqlResult<ast::DataType> {
    let mut parser = parser_over(tokenize(text)?);
    let ty = parser.parse_data_type().map_err(|e| error::from_parser(text, &parser, &e))?;
    expect_end(text, &parser)?;
    Ok(ty)
}

fn parser_over(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    static DIALECT: MeridianDialect = MeridianDialect;
    Parser::new(&DIALECT).with_recursion_limit(4 * MAX_NESTING).with_tokens_with_locations(tokens)
}

fn parse_one(
    source: &Arc<str>,
    tokens: Vec<TokenWithSpan>,
    span: Range<usize>,
) -> SqlResult<ParsedStatement> {
    check_nesting(&tokens)?;
    let operators = tokens.iter().filter(|t| can_chain(&t.token)).count();
    if operators > LONG_CHAIN {
        // An error on the way drops half a tree: that, too, needs the stack.
        with_stack_for(operators, || parse_tokens(source, tokens, span, operators))
    } else {
        parse_tokens(source, tokens, span, operators)
    }
}

fn parse_tokens(
    source: &Arc<str>,
    tokens: Vec<TokenWithSpan>,
    span: Range<usize>,
    operators: usize,
) -> SqlResult<ParsedStatement> {
    let (tokens, as_of) = as_of::take(source, tokens)?;
    let tokens = rewrite::rewrite(tokens);
    let mut parser = parser_over(tokens);
    let statement =
        utility::parse_statement(&mut parser).map_err(|e| error::from_parser(source, &parser, &e))?;
    expect_end(source, &parser)?;
    if as_of.is_some() {
        as_of::check(&statement)?;
    }
    Ok(ParsedStatement { statement, source: source.clone(), span, as_of, operators })
}

fn expect_end(source: &str, parser: &Parser<'_>) -> SqlResult<()> {
    let next = parser.peek_token_ref();
    match next.token {
        Token::EOF => Ok(()),
        _ => Err(error::near(source, next)),
    }
}

/// Refuses what nests too deeply before the grammar meets it: sqlparser tries alternatives at every level, and hides
/// its own limit behind them.
fn check_nesting(tokens: &[TokenWithSpan]) -> SqlResult<()> {
    let mut levels = vec![Chain::default()];
    let (mut prefixes, mut set_operations, mut cases) = (0usize, 0usize, 0usize);
    for t in tokens {
        match &t.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => levels.push(Chain::default()),
            Token::RParen | Token::RBracket if levels.len() > 1 => {
                levels.pop();
            }
            Token::Word(w) if is_set_operation(w.keyword) => set_operations += 1,
            Token::Word(w) if w.keyword == Keyword::CASE => cases += 1,
            Token::Word(w) if w.keyword == Keyword::END => cases = cases.saturating_sub(1),
            _ => {}
        }
        let prefix = matches!(t.token, Token::Minus | Token::Plus | Token::Tilde | Token::AtSign)
            || matches!(&t.token, Token::Word(w) if matches!(w.keyword, Keyword::NOT | Keyword::CASE));
        prefixes = if prefix { prefixes + 1 } else { 0 };
        let within = levels.last_mut().expect("the outermost level stays");
        let too_long = within.is_too_long_with(&t.token);
        let too_deep = levels.len() > MAX_NESTING + 1 || prefixes > MAX_NESTING;
        if too_deep || too_long || set_operations > MAX_SET_OPERATIONS || cases > MAX_CASES {
            return Err(error::too_deep());
        }
    }
    Ok(())
}

/// What stands in a row between two parentheses.
#[derive(Default)]
struct Chain {
    operators: usize,
    links: usize,
}

impl Chain {
    fn is_too_long_with(&mut self, token: &Token) -> bool {
        match token {
            Token::Comma => *self = Chain::default(),
            Token::Word(w) if matches!(w.keyword, Keyword::AND | Keyword::OR) => {
                self.operators = 0;
                self.links += 1;
            }
            Token::Word(w) if begins_expression(w.keyword) => self.operators = 0,
            other => self.operators += usize::from(can_chain(other)),
        }
        self.operators > MAX_CHAIN || self.links > MAX_LINKS
    }
}

fn is_set_operation(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT)
}

/// Words after which nothing is an operand of what stood before.
fn begins_expression(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::SELECT
            | K::FROM
            | K::WHERE
            | K::ON
            | K::JOIN
            | K::WHEN
            | K::THEN
            | K::ELSE
            | K::BY
            | K::HAVING
            | K::LIMIT
            | K::OFFSET
            | K::VALUES
            | K::WITH
            | K::SET
            | K::RETURNING
    ) || is_set_operation(keyword)
}

/// Tokens that build trees to the left without nesting in the text.
fn can_chain(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Comma
            | Token::LParen
            | Token::RParen
            | Token::Placeholder(_)
            | Token::Period
    ) && !matches!(token, Token::Word(w) if !is_chain_word(w.keyword))
}

fn is_chain_word(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::AND
            | K::OR
            | K::NOT
            | K::IS
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::JOIN
            | K::LIKE
            | K::ILIKE
            | K::COLLATE
            | K::AT
            | K::IN
            | K::BETWEEN
            | K::NOTNULL
            | K::OPERATOR
            | K::SIMILAR
    )
}

#[cfg(test)]
mod tests;
