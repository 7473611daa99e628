//! Names to ids, types to everything: syntax trees become logical plans.
//!
//! The binder is synchronous: the catalog is an immutable snapshot. One [`Binder`] binds one statement. It follows
//! PostgreSQL's parse analysis (chapter 10 of the manual, and `src/backend/parser`), because clients depend on which
//! type an expression gets and on the wording of what is refused.
//!
//! Reading order: `query` (WITH, set operations, VALUES), `select` (one SELECT, with `group`, `window` and `sort`),
//! `from` (tables, joins, functions, views), `scope` (which names are visible where), `expr` (expressions), `coerce`
//! (changes of type), then one file per data-modifying statement.
//!
//! What must stay true: every expression of a bound plan has its type, every implicit cast is explicit, and
//! references count levels as `plan::walk` does: a subquery's plan and the right side of a lateral join are one level
//! further in than what is around them.

mod aggregate;
mod argument;
mod assign;
mod catalog;
mod coerce;
mod copy;
mod delete;
mod expr;
mod from;
mod functions;
mod group;
mod grouping_sets;
mod insert;
mod locks;
mod name;
mod names_out;
mod params;
mod query;
mod record_columns;
mod scalar;
mod scope;
mod select;
mod sort;
mod type_name;
mod update;
mod window;
mod with;

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

pub use argument::{bind_argument, bind_as_of, bind_execute_argument};
pub use copy::{CopiedQuery, CopyTarget, SUPPLIED_ROWS, bind_copied, bind_copy_from};
pub use name::{fold, object_name_parts};
pub use scalar::{bind_column_default, bind_default, bind_scalar, bind_type_name};
pub use select::Clause;
pub use type_name::bind_data_type;

use crate::catalog::{Catalog, DatabaseId, SchemaId};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::parse::{DeclareCursor, Explain, ParsedStatement, Statement, position_of};
use crate::plan::{LogicalPlan, Schema};
use crate::registry::EvalContext;
use crate::types::Oid;

/// Expressions within expressions, queries within queries. Whoever walks a plan may recurse this deep.
const MAX_DEPTH: usize = 500;

/// Relations, queries and window functions of a statement, those of its views included, without what stands beside
/// each other: each can make its plan deeper.
const MAX_PARTS: usize = 2_000;

/// All of these, wherever they stand, and the texts of views: views of views can double them with each step.
const MAX_TOTAL: usize = 50_000;

/// So many bytes of a view's text count as a part.
const VIEW_PART: usize = 64;

/// The size of what is copied for forms that use an operand, or a query, more than once: each can be within the next.
const MAX_COPIED: usize = 1_000_000;

/// Finds a computed relation by schema and name.
pub type VirtualLookup = fn(&str, &str) -> Option<Schema>;

/// What the binder needs to know of its surroundings.
#[derive(Clone, Copy)]
pub struct BindContext<'a> {
    pub catalog: &'a Catalog,
    pub database: DatabaseId,
    /// The existing schemas of the search path, without the implicit pg_catalog.
    pub search_path: &'a [SchemaId],
    pub virtual_tables: VirtualLookup,
    /// For the input functions of literals.
    pub eval: &'a EvalContext<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueryKind {
    Select,
    Insert,
    Update,
    Delete,
}

/// A statement that becomes a plan.
#[derive(Clone, Debug)]
pub struct BoundQuery {
    pub kind: QueryKind,
    pub plan: LogicalPlan,
    /// The columns of the rows that go to the client; `None` if none go (DML without RETURNING).
    pub output: Option<Schema>,
    /// The type of each parameter.
    pub params: Vec<Oid>,
    /// Neither changes nor locks rows.
    pub read_only: bool,
    /// Changes rows, be it only in WITH.
    pub changes_data: bool,
}

pub enum BoundStatement<'s> {
    Query(BoundQuery),
    Explain(&'s Explain, BoundQuery),
    /// Not a plan: the session or the schema changes run it from its tree.
    Utility(&'s Statement),
}

/// Binds one statement. `hints` are the parameter types that the client declared (0 or UNKNOWN: not declared); `None`:
/// it is run without parameters, and may not name any.
pub fn bind_statement<'s>(
    statement: &'s ParsedStatement,
    context: BindContext<'_>,
    hints: Option<&[Oid]>,
) -> SqlResult<BoundStatement<'s>> {
    let source = Arc::clone(&statement.source);
    match &statement.statement {
        Statement::Sql(sql) if is_plannable(sql) => {
            bind_sql(sql, &source, context, hints).map(BoundStatement::Query)
        }
        Statement::Explain(explain) => {
            let inner = match &*explain.statement {
                Statement::Sql(sql) => sql,
                Statement::DeclareCursor(d) => {
                    return Ok(BoundStatement::Explain(explain, bind_declared(d, &source, context, hints)?));
                }
                _ => return Ok(BoundStatement::Utility(&statement.statement)),
            };
            let query = bind_sql(inner, &source, context, hints)?;
            Ok(BoundStatement::Explain(explain, query))
        }
        other => Ok(BoundStatement::Utility(other)),
    }
}

fn is_plannable(sql: &ast::Statement) -> bool {
    matches!(
        sql,
        ast::Statement::Query(_)
            | ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
            | ast::Statement::Merge(_)
    )
}

/// Binds a query or data-modifying statement. `source` is the client's text, for positions.
pub fn bind_sql(
    sql: &ast::Statement,
    source: &str,
    context: BindContext<'_>,
    hints: Option<&[Oid]>,
) -> SqlResult<BoundQuery> {
    let mut binder = Binder::new(context, source);
    if let Some(hints) = hints {
        binder.params = params::Params::new(hints);
    }
    let (kind, mut plan) = binder.bind_plannable(sql)?;
    let output = match kind {
        QueryKind::Select => Some(plan.schema()),
        _ => plan.returned_schema(),
    };
    let read_only = kind == QueryKind::Select && !binder.writes;
    let changes_data = !read_only && with::changes_data(&mut plan);
    Ok(BoundQuery { kind, plan, output, params: binder.params.finish()?, read_only, changes_data })
}

/// Binds the query of DECLARE CURSOR.
pub fn bind_declared(
    declare: &DeclareCursor,
    source: &str,
    context: BindContext<'_>,
    hints: Option<&[Oid]>,
) -> SqlResult<BoundQuery> {
    let Statement::Sql(sql) = &*declare.query else {
        return Err(SqlError::internal("a cursor is a query"));
    };
    let query = bind_sql(sql, source, context, hints)?;
    if query.changes_data {
        return Err(SqlError::new(
            state::FEATURE_NOT_SUPPORTED,
            "DECLARE CURSOR must not contain data-modifying statements in WITH",
        ));
    }
    Ok(query)
}

/// Binds a query that stands inside another statement (CREATE TABLE AS, CREATE VIEW). It has no parameters.
pub fn bind_query(query: &ast::Query, source: &str, context: BindContext<'_>) -> SqlResult<LogicalPlan> {
    Binder::new(context, source).bind_query(query, None, true)
}

/// Binds one statement; see the module's text.
pub struct Binder<'a> {
    context: BindContext<'a>,
    source: &'a str,
    params: params::Params,
    /// The SELECTs being bound, innermost last.
    levels: Vec<select::Level>,
    /// The CTEs in sight, innermost last.
    ctes: Vec<with::CteBinding>,
    next_cte: usize,
    /// Expressions and queries that the current one is within.
    depth: usize,
    /// Relations, queries and window functions so far, without those of the parts beside each other.
    parts: usize,
    /// The most that one of the parts beside each other has, so far.
    widest: usize,
    /// All relations, queries and window functions so far.
    total: usize,
    /// The size of what was copied.
    copied: usize,
    /// Rows are changed or locked.
    writes: bool,
}

impl<'a> Binder<'a> {
    /// Without parameters.
    pub fn new(context: BindContext<'a>, source: &'a str) -> Self {
        Binder {
            context,
            source,
            params: params::Params::none(),
            levels: Vec::new(),
            ctes: Vec::new(),
            next_cte: 0,
            depth: 0,
            parts: 0,
            widest: 0,
            total: 0,
            copied: 0,
            writes: false,
        }
    }

    fn bind_plannable(&mut self, sql: &ast::Statement) -> SqlResult<(QueryKind, LogicalPlan)> {
        match sql {
            ast::Statement::Query(query) => self.bind_top_query(query),
            ast::Statement::Insert(insert) => Ok((QueryKind::Insert, self.bind_insert(insert)?)),
            ast::Statement::Update(update) => Ok((QueryKind::Update, self.bind_update(update)?)),
            ast::Statement::Delete(delete) => Ok((QueryKind::Delete, self.bind_delete(delete)?)),
            ast::Statement::Merge(_) => Err(SqlError::unsupported("MERGE")),
            _ => Err(SqlError::unsupported("this statement as a query")),
        }
    }

    /// Adds the position of `at` to an error that has none.
    fn locate(&self, error: SqlError, at: Location) -> SqlError {
        if error.fields().position.is_some() {
            return error;
        }
        match position_of(self.source, at) {
            Some(p) => error.with_position(p),
            None => error,
        }
    }

    fn error_at(&self, code: &'static str, message: impl Into<String>, at: Location) -> SqlError {
        self.locate(SqlError::new(code, message), at)
    }

    /// Notes a part of the statement that is not nested in the text, and still makes the plan deeper.
    fn count_part(&mut self) -> SqlResult<()> {
        self.parts += 1;
        if self.parts + self.widest > MAX_PARTS {
            return Err(SqlError::too_complex());
        }
        self.count_text(0)
    }

    /// Counts towards the whole: a part, or so many bytes of a view's text.
    fn count_text(&mut self, bytes: usize) -> SqlResult<()> {
        self.total += 1 + bytes / VIEW_PART;
        if self.total > MAX_TOTAL {
            return Err(SqlError::too_complex());
        }
        Ok(())
    }

    /// Binds one of the parts that stand beside each other (subqueries in expressions, branches of set operations):
    /// only the largest of them makes the plan deeper.
    fn beside<R>(&mut self, f: impl FnOnce(&mut Self) -> SqlResult<R>) -> SqlResult<R> {
        let before = self.parts;
        let widest = std::mem::take(&mut self.widest);
        let result = f(self);
        self.widest = widest.max(self.parts + self.widest - before);
        self.parts = before;
        result
    }

    /// A copy of an operand that is used once more.
    fn copy_of(&mut self, e: &Expr) -> SqlResult<Expr> {
        let mut copy = e.clone();
        self.count_copies(copy.size())?;
        Ok(copy)
    }

    fn count_copies(&mut self, size: usize) -> SqlResult<()> {
        self.copied = self.copied.saturating_add(size);
        if self.copied > MAX_COPIED {
            return Err(SqlError::too_complex());
        }
        Ok(())
    }

    /// Runs `f` one level of nesting deeper, on more stack where it runs short.
    fn nested<R>(&mut self, f: impl FnOnce(&mut Self) -> SqlResult<R>) -> SqlResult<R> {
        if self.depth >= MAX_DEPTH {
            return Err(SqlError::too_complex());
        }
        self.depth += 1;
        let result = stacker::maybe_grow(128 << 10, 2 << 20, || f(self));
        self.depth -= 1;
        result
    }
}

/// Where a node of the syntax tree begins. Chains of operators, which nest to the left, are followed without
/// recursion: they may be longer than the stack is deep.
fn start_of(node: &impl Begin) -> Location {
    node.begin()
}

trait Begin {
    fn begin(&self) -> Location;
}

impl Begin for ast::Expr {
    fn begin(&self) -> Location {
        use ast::Expr as E;
        let mut e = self;
        loop {
            e = match e {
                E::BinaryOp { left, .. } | E::AnyOp { left, .. } | E::AllOp { left, .. } => left,
                E::Cast { expr, kind: ast::CastKind::DoubleColon, .. }
                | E::IsNull(expr)
                | E::IsNotNull(expr)
                | E::IsTrue(expr)
                | E::IsFalse(expr)
                | E::IsNotTrue(expr)
                | E::IsNotFalse(expr)
                | E::InList { expr, .. }
                | E::InSubquery { expr, .. }
                | E::Between { expr, .. }
                | E::Like { expr, .. }
                | E::ILike { expr, .. }
                | E::SimilarTo { expr, .. }
                | E::Collate { expr, .. }
                | E::IsDistinctFrom(expr, _)
                | E::IsNotDistinctFrom(expr, _)
                | E::AtTimeZone { timestamp: expr, .. }
                | E::CompoundFieldAccess { root: expr, .. }
                | E::Nested(expr) => expr,
                E::Identifier(ident) => return ident.span.start,
                E::CompoundIdentifier(parts) => {
                    return parts.first().map_or(Location::empty(), |p| p.span.start);
                }
                E::Value(value) => return value.span.start,
                other => return ast::Spanned::span(other).start,
            }
        }
    }
}

impl Begin for ast::Query {
    fn begin(&self) -> Location {
        match &self.with {
            Some(with) => ast::Spanned::span(with).start,
            None => self.body.begin(),
        }
    }
}

impl Begin for ast::SetExpr {
    fn begin(&self) -> Location {
        match self {
            ast::SetExpr::SetOperation { .. } => first_branch(self).begin(),
            ast::SetExpr::Query(query) => query.begin(),
            other => ast::Spanned::span(other).start,
        }
    }
}

/// The leftmost branch of a chain of set operations.
fn first_branch(mut body: &ast::SetExpr) -> &ast::SetExpr {
    while let ast::SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    body
}

impl Begin for ast::ObjectName {
    fn begin(&self) -> Location {
        ast::Spanned::span(self).start
    }
}

#[cfg(test)]
mod tests;
