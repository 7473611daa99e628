//! A whole query: WITH, set operations, VALUES, and the clauses at its end.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};
use sqlparser::tokenizer::Location;

use super::scope::{Relation, Scope, computed};
use super::select::{Clause, Item};
use super::sort::Tail;
use super::{Binder, QueryKind, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{Field, LogicalPlan, Schema, SetOp};
use crate::registry::{CastContext, resolve_common_type, type_name};
use crate::types::{Oid, SqlType};

impl Binder<'_> {
    /// A query at the top of a statement; with WITH, it may be an INSERT, UPDATE or DELETE.
    pub fn bind_top_query(&mut self, query: &ast::Query) -> SqlResult<(QueryKind, LogicalPlan)> {
        let kind = match &*query.body {
            SetExpr::Insert(_) => QueryKind::Insert,
            SetExpr::Update(_) => QueryKind::Update,
            SetExpr::Delete(_) => QueryKind::Delete,
            _ => QueryKind::Select,
        };
        Ok((kind, self.bind_query(query, None, true)?))
    }

    /// `resolve_unknown`: literals in the select list that nothing gave a type become text.
    pub fn bind_query(
        &mut self,
        query: &ast::Query,
        parent: Option<&Scope<'_>>,
        resolve_unknown: bool,
    ) -> SqlResult<LogicalPlan> {
        self.count_part()?;
        self.nested(|b| {
            let tail = Tail::of(query)?;
            if query.for_clause.is_some() || query.settings.is_some() || !query.pipe_operators.is_empty() {
                return Err(SqlError::unsupported("this clause of a query"));
            }
            match &query.with {
                None => b.bind_set_expr(&query.body, &tail, parent, resolve_unknown),
                Some(with) => b.bind_with(with, parent, |b| {
                    b.bind_set_expr(&query.body, &tail, parent, resolve_unknown)
                }),
            }
        })
    }

    pub fn bind_set_expr(
        &mut self,
        body: &SetExpr,
        tail: &Tail<'_>,
        parent: Option<&Scope<'_>>,
        resolve_unknown: bool,
    ) -> SqlResult<LogicalPlan> {
        match body {
            SetExpr::Select(select) => self.bind_select(select, tail, parent, resolve_unknown),
            SetExpr::Query(query) => {
                let plan = self.bind_query(query, parent, resolve_unknown)?;
                self.finish_set(plan, tail)
            }
            SetExpr::Values(values) => {
                let plan = self.bind_values(&values.rows, parent, resolve_unknown)?;
                self.finish_set(plan, tail)
            }
            SetExpr::SetOperation { .. } => {
                self.lock_requests(tail, None)?;
                let plan = self.nested(|b| b.bind_set_operations(body, parent))?;
                self.finish_set(plan, tail)
            }
            SetExpr::Insert(ast::Statement::Insert(insert)) => self.bind_insert(insert),
            SetExpr::Update(ast::Statement::Update(update)) => self.bind_update(update),
            SetExpr::Delete(ast::Statement::Delete(delete)) => self.bind_delete(delete),
            SetExpr::Merge(_) => Err(SqlError::unsupported("MERGE")),
            SetExpr::Table(_) | SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) => {
                Err(SqlError::unsupported("this statement as a query"))
            }
        }
    }

    /// A chain of set operations: the branches from the first one on, without nesting.
    fn bind_set_operations(&mut self, body: &SetExpr, parent: Option<&Scope<'_>>) -> SqlResult<LogicalPlan> {
        let none = Tail::default();
        let mut operations = Vec::new();
        let mut first = body;
        while let SetExpr::SetOperation { op, set_quantifier, left, right } = first {
            operations.push((op, set_quantifier, &**right));
            first = left;
        }
        let plan = self.beside(|b| b.bind_set_expr(first, &none, parent, false))?;
        let mut chain = Chain { schema: plan.schema(), branches: vec![plan], operation: None };
        for (op, quantifier, right) in operations.into_iter().rev() {
            let (operation, name) = set_operation(op, quantifier)?;
            let right_plan = self.beside(|b| b.bind_set_expr(right, &none, parent, false))?;
            let own = right_plan.schema();
            let fields = self.common_fields(name, &chain.schema, &own, right)?;
            if chain.operation != Some(operation)
                || !operation.is_associative()
                || !fit(&chain.schema, &fields)
            {
                if chain.branches.len() > 1 {
                    self.count_part()?;
                }
                let left = self.convert_columns(chain.finish(), &fields, name)?;
                chain = Chain { schema: left.schema(), branches: vec![left], operation: Some(operation) };
            }
            let right_plan = self
                .convert_columns(right_plan, &fields, name)
                .map_err(|e| self.locate(e, first_item(right)))?;
            chain.branches.push(right_plan);
            chain.schema = Arc::new(fields);
        }
        Ok(chain.finish())
    }

    /// The fields of the result of one set operation.
    fn common_fields(
        &mut self,
        name: &str,
        left: &[Field],
        right: &[Field],
        branch: &SetExpr,
    ) -> SqlResult<Vec<Field>> {
        if left.len() != right.len() {
            return Err(self.error_at(
                state::SYNTAX_ERROR,
                format!("each {name} query must have the same number of columns"),
                first_item(branch),
            ));
        }
        let mut fields = Vec::with_capacity(left.len());
        for (l, r) in left.iter().zip(right) {
            let oid = resolve_common_type(name, &[l.ty.oid, r.ty.oid])
                .map_err(|e| self.locate(e, first_item(branch)))?;
            let typmod = if l.ty == r.ty { l.ty.typmod } else { -1 };
            fields.push(computed(l.name.clone(), SqlType::with_typmod(oid, typmod)));
        }
        Ok(fields)
    }

    /// Casts a plan's columns to the types of `fields`.
    pub fn convert_columns(
        &mut self,
        plan: LogicalPlan,
        fields: &[Field],
        context: &str,
    ) -> SqlResult<LogicalPlan> {
        let own = plan.schema();
        if fit(&own, fields) {
            return Ok(plan);
        }
        // Literals of unknown type are read where they stand: a cast above them would come too late.
        let (input, exprs) = match plan {
            LogicalPlan::Project { input, exprs, .. } => (input, exprs),
            LogicalPlan::Values { rows, schema } => {
                return self.convert_values(rows, &schema, fields, context);
            }
            other => {
                let columns =
                    own.iter().enumerate().map(|(i, f)| Expr::Column { index: i, ty: f.ty }).collect();
                (Box::new(other), columns)
            }
        };
        let mut done = Vec::with_capacity(exprs.len());
        for (e, field) in exprs.into_iter().zip(fields) {
            done.push(self.convert(e, field, context)?);
        }
        let schema = own.iter().zip(fields).map(|(f, t)| Field { ty: t.ty, ..f.clone() }).collect();
        Ok(LogicalPlan::Project { input, exprs: done, schema: Arc::new(schema) })
    }

    fn convert_values(
        &mut self,
        rows: Vec<Vec<Expr>>,
        own: &[Field],
        fields: &[Field],
        context: &str,
    ) -> SqlResult<LogicalPlan> {
        let mut done = Vec::with_capacity(rows.len());
        for row in rows {
            let mut converted = Vec::with_capacity(row.len());
            for (e, field) in row.into_iter().zip(fields) {
                converted.push(self.convert(e, field, context)?);
            }
            done.push(converted);
        }
        let schema = own.iter().zip(fields).map(|(f, t)| Field { ty: t.ty, ..f.clone() }).collect();
        Ok(LogicalPlan::Values { rows: done, schema: Arc::new(schema) })
    }

    fn convert(&mut self, e: Expr, field: &Field, context: &str) -> SqlResult<Expr> {
        let from = e.ty().oid;
        match self.try_coerce(e, SqlType::new(field.ty.oid), CastContext::Implicit)? {
            Ok(e) => Ok(e),
            Err(_) => Err(SqlError::new(
                state::CANNOT_COERCE,
                format!(
                    "{context} could not convert type {} to {}",
                    type_name(from),
                    type_name(field.ty.oid)
                ),
            )),
        }
    }

    /// ORDER BY and LIMIT over the result of a set operation, of VALUES, or of a query in parentheses.
    fn finish_set(&mut self, plan: LogicalPlan, tail: &Tail<'_>) -> SqlResult<LogicalPlan> {
        if tail.order_by.is_empty() && tail.limit.is_none() && tail.offset.is_none() {
            return Ok(plan);
        }
        let fields = plan.schema();
        let items: Vec<Item> = fields
            .iter()
            .enumerate()
            .map(|(i, f)| Item {
                expr: Expr::Column { index: i, ty: f.ty },
                field: f.clone(),
                at: sqlparser::tokenizer::Location::empty(),
            })
            .collect();
        let mut scope = Scope::new(None);
        scope.relations.push(Relation::new("*VALUES*", fields.clone()));
        self.in_level(Clause::OrderBy, |b| {
            let order = b.bind_order(tail, None, &scope, &items)?;
            if let Some(key) =
                order.keys.iter().find(|k| matches!(k.source, super::sort::KeySource::Input(_)))
            {
                return Err(b
                    .error_at(
                        state::FEATURE_NOT_SUPPORTED,
                        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                        key.at,
                    )
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint(
                        "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
                    ));
            }
            let keys: Vec<_> = order
                .keys
                .into_iter()
                .filter_map(|k| match k.source {
                    super::sort::KeySource::Output(i) => Some(crate::plan::SortKey {
                        expr: Expr::Column { index: i, ty: fields[i].ty },
                        descending: k.descending,
                        nulls_first: k.nulls_first,
                    }),
                    super::sort::KeySource::Input(_) => None,
                })
                .collect();
            let ties = tail.with_ties.then(|| keys.clone());
            let mut plan = plan;
            if !keys.is_empty() {
                plan = LogicalPlan::Sort { input: Box::new(plan), keys };
            }
            b.add_limit(plan, tail, ties)
        })
    }

    /// VALUES as a query: columns are called column1, column2, …
    fn bind_values(
        &mut self,
        rows: &[ast::Parens<Vec<ast::Expr>>],
        parent: Option<&Scope<'_>>,
        resolve_unknown: bool,
    ) -> SqlResult<LogicalPlan> {
        let scope = Scope::new(parent);
        let bound = self.in_level(Clause::Values, |b| {
            let mut bound = Vec::with_capacity(rows.len());
            for row in rows {
                let mut exprs = Vec::with_capacity(row.content.len());
                for e in &row.content {
                    exprs.push(b.bind_expr(e, &scope)?);
                }
                bound.push(exprs);
            }
            Ok(bound)
        })?;
        let width = bound.first().map_or(0, Vec::len);
        if bound.iter().any(|r| r.len() != width) {
            return Err(SqlError::new(state::SYNTAX_ERROR, "VALUES lists must all be the same length"));
        }
        // Column by column to one type.
        let count = bound.len();
        let mut columns: Vec<Vec<Expr>> = (0..width).map(|_| Vec::with_capacity(count)).collect();
        for row in bound {
            for (column, e) in columns.iter_mut().zip(row) {
                column.push(e);
            }
        }
        let mut fields = Vec::with_capacity(width);
        let mut unified = Vec::with_capacity(width);
        for (i, column) in columns.into_iter().enumerate() {
            let unknown = column.iter().all(|e| e.ty().oid == Oid::UNKNOWN);
            let (column, ty) = if unknown && !resolve_unknown {
                (column, SqlType::new(Oid::UNKNOWN))
            } else {
                self.unify(column, "VALUES")?
            };
            fields.push(computed(format!("column{}", i + 1), ty));
            unified.push(column.into_iter());
        }
        let rows = (0..count).map(|_| unified.iter_mut().filter_map(Iterator::next).collect()).collect();
        Ok(LogicalPlan::Values { rows, schema: Arc::new(fields) })
    }
}

/// An operation of a set, and whether it keeps duplicates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    op: SetOp,
    all: bool,
}

impl Operation {
    pub const UNION_ALL: Operation = Operation { op: SetOp::Union, all: true };

    /// Whether branches may be put together in any grouping, in their order.
    fn is_associative(self) -> bool {
        matches!(self.op, SetOp::Union | SetOp::Intersect)
    }
}

/// Branches that one operation puts together, and the fields of what comes out.
struct Chain {
    branches: Vec<LogicalPlan>,
    /// None as long as there is one branch.
    operation: Option<Operation>,
    schema: Schema,
}

impl Chain {
    fn finish(self) -> LogicalPlan {
        let Chain { branches, operation, schema } = self;
        let operation = operation.unwrap_or(Operation::UNION_ALL);
        combined(branches, operation, &schema)
    }
}

/// The branches as a balanced tree, which is not deep, however many they are.
pub fn combined(mut branches: Vec<LogicalPlan>, operation: Operation, schema: &Schema) -> LogicalPlan {
    let right = branches.split_off(branches.len().div_ceil(2));
    if right.is_empty() {
        return branches.pop().expect("a set operation has branches");
    }
    LogicalPlan::SetOp {
        op: operation.op,
        all: operation.all,
        left: Box::new(combined(branches, operation, schema)),
        right: Box::new(combined(right, operation, schema)),
        schema: schema.clone(),
    }
}

fn set_operation(op: &SetOperator, quantifier: &SetQuantifier) -> SqlResult<(Operation, &'static str)> {
    let (op, name) = match op {
        SetOperator::Union => (SetOp::Union, "UNION"),
        SetOperator::Intersect => (SetOp::Intersect, "INTERSECT"),
        SetOperator::Except => (SetOp::Except, "EXCEPT"),
        SetOperator::Minus => return Err(SqlError::unsupported("MINUS")),
    };
    let all = match quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        _ => return Err(SqlError::unsupported("BY NAME")),
    };
    Ok((Operation { op, all }, name))
}

/// Whether columns of these types need no cast to those of `fields`.
fn fit(own: &[Field], fields: &[Field]) -> bool {
    let same = |(a, b): (&Field, &Field)| a.ty.oid == b.ty.oid && (b.ty.typmod < 0 || a.ty == b.ty);
    own.iter().zip(fields).all(same)
}

/// Where PostgreSQL points to in a branch of a set operation: its select list.
fn first_item(branch: &SetExpr) -> Location {
    match branch {
        SetExpr::Select(select) => match select.projection.first() {
            Some(ast::SelectItem::UnnamedExpr(e) | ast::SelectItem::ExprWithAlias { expr: e, .. }) => {
                start_of(e)
            }
            _ => start_of(branch),
        },
        _ => start_of(branch),
    }
}
