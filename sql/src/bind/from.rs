//! FROM: tables, views, CTEs, subqueries, functions, and the joins between them.
//!
//! A FROM clause yields one row: its relations side by side. An item that may look at the items to its left (LATERAL,
//! functions) is bound with their row as one more enclosing scope; if it does look, the join becomes lateral, if not,
//! that level is taken out again.

use std::sync::Arc;

use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor};
use sqlparser::tokenizer::Location;

use super::catalog::{NamedRelation, table_fields};
use super::locks::{LockRequest, lock_scans};
use super::scope::{Relation, Scope, Visible, computed};
use super::select::{Clause, single_row};
use super::with::rename;
use super::{Binder, fold};
use crate::catalog::{TableDescriptor, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{Field, JoinKind, LogicalPlan, Schema, TableScan};
use crate::registry::Body;

/// A bound FROM clause, or a part of one.
pub struct From {
    pub plan: LogicalPlan,
    relations: Vec<Relation>,
    visible: Option<Vec<Visible>>,
    width: usize,
}

/// What an item of FROM may look at.
#[derive(Clone, Copy)]
struct Surroundings<'s> {
    /// The enclosing query's scope.
    parent: Option<&'s Scope<'s>>,
    /// The innermost row to the left, if any is in sight.
    left: Option<&'s Scope<'s>>,
    /// How many left rows there are.
    lefts: usize,
    locks: &'s [LockRequest],
}

impl From {
    fn single(plan: LogicalPlan, relation: Relation) -> Self {
        let width = relation.fields.len();
        From { plan, relations: vec![relation], visible: None, width }
    }

    /// The scope that sees this clause's row.
    pub fn take_scope<'p>(&mut self, parent: Option<&'p Scope<'p>>) -> Scope<'p> {
        let mut scope = Scope::new(parent);
        scope.relations = std::mem::take(&mut self.relations);
        scope.visible = self.visible.take();
        scope
    }

    fn scope_copy<'p>(&self, parent: Option<&'p Scope<'p>>) -> Scope<'p> {
        let mut scope = Scope::new(parent);
        scope.relations = self.relations.clone();
        scope.visible = self.visible.clone();
        scope
    }

    fn shift(&mut self, by: usize) {
        self.relations.iter_mut().for_each(|r| r.first += by);
        for v in self.visible.iter_mut().flatten() {
            v.expr.map_columns(&mut |i| i + by);
        }
    }

    fn visible(&self) -> Vec<Visible> {
        match &self.visible {
            Some(v) => v.clone(),
            None => self
                .relations
                .iter()
                .flat_map(|r| r.shown().map(|(expr, f)| Visible { field: f.clone(), expr }))
                .collect(),
        }
    }
}

impl Binder<'_> {
    pub fn bind_from(
        &mut self,
        from: &[ast::TableWithJoins],
        parent: Option<&Scope<'_>>,
        locks: &[LockRequest],
    ) -> SqlResult<From> {
        let around = Surroundings { parent, left: None, lefts: 0, locks };
        let mut items = from.iter();
        let Some(first) = items.next() else {
            return Ok(From { plan: single_row(), relations: Vec::new(), visible: None, width: 0 });
        };
        let mut left = self.bind_joins(first, around)?;
        for item in items {
            let lateral = looks_left(item);
            let (right, lateral) = self.bind_right(&left, lateral, around, |b, s| b.bind_joins(item, s))?;
            left = self.join(left, right, JoinKind::Cross, lateral, None)?;
        }
        Ok(left)
    }

    /// More relations to the right of a bound part: FROM of UPDATE, USING of DELETE.
    pub fn bind_more(&mut self, left: From, from: &[ast::TableWithJoins]) -> SqlResult<From> {
        let around = Surroundings { parent: None, left: None, lefts: 0, locks: &[] };
        let mut left = left;
        for item in from {
            let lateral = looks_left(item);
            let (right, lateral) = self.bind_right(&left, lateral, around, |b, s| b.bind_joins(item, s))?;
            left = self.join(left, right, JoinKind::Cross, lateral, None)?;
        }
        Ok(left)
    }

    /// Binds what stands to the right of `left`; says whether it looks at it.
    fn bind_right(
        &mut self,
        left: &From,
        may_look: bool,
        around: Surroundings<'_>,
        bind: impl FnOnce(&mut Self, Surroundings<'_>) -> SqlResult<From>,
    ) -> SqlResult<(From, bool)> {
        if !may_look {
            return Ok((bind(self, around)?, false));
        }
        let frame = left.scope_copy(around.left.or(around.parent));
        let mut right = bind(self, Surroundings { left: Some(&frame), lefts: around.lefts + 1, ..around })?;
        let lateral = frame.used.get();
        if !lateral && frame.parent.is_some() {
            // The level that was opened in vain goes: whatever lies beyond it comes one step nearer.
            right.plan.visit_exprs_mut(0, &mut |e, level| {
                if let Expr::Outer { depth, .. } = e
                    && *depth > level + 1
                {
                    *depth -= 1;
                }
            });
        }
        Ok((right, lateral))
    }

    fn bind_joins(&mut self, item: &ast::TableWithJoins, around: Surroundings<'_>) -> SqlResult<From> {
        let mut left = self.bind_factor(&item.relation, around)?;
        for join in &item.joins {
            let lateral = factor_looks_left(&join.relation);
            let (right, lateral) =
                self.bind_right(&left, lateral, around, |b, s| b.bind_factor(&join.relation, s))?;
            let (kind, constraint) = join_kind(&join.join_operator)?;
            if lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
                return Err(SqlError::new(
                    state::INVALID_COLUMN_REFERENCE,
                    "invalid reference to FROM-clause entry for a LATERAL item",
                )
                .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
            }
            left = self.join(left, right, kind, lateral, Some((constraint, around)))?;
        }
        Ok(left)
    }

    fn join(
        &mut self,
        left: From,
        mut right: From,
        kind: JoinKind,
        lateral: bool,
        constraint: Option<(&JoinConstraint, Surroundings<'_>)>,
    ) -> SqlResult<From> {
        for r in &right.relations {
            if left.relations.iter().any(|l| l.alias == r.alias && l.schema_name == r.schema_name) {
                return Err(SqlError::new(
                    state::DUPLICATE_ALIAS,
                    format!("table name \"{}\" specified more than once", r.alias),
                ));
            }
        }
        right.shift(left.width);
        let left_visible = left.visible.is_some() || right.visible.is_some();
        let columns = match constraint {
            Some((JoinConstraint::Using(names), _)) => Some(using_columns(names)?),
            Some((JoinConstraint::Natural, _)) => Some(natural_columns(&left, &right)),
            _ => None,
        };
        let mut joined = From {
            plan: single_row(),
            visible: None,
            width: left.width + right.width,
            relations: Vec::new(),
        };
        let mut on = None;
        if let Some(columns) = columns {
            let (condition, visible) = self.merge_columns(&left, &right, kind, &columns)?;
            on = condition;
            joined.visible = Some(visible);
        } else if left_visible {
            let mut visible = left.visible();
            visible.extend(right.visible());
            joined.visible = Some(visible);
        }
        joined.relations = left.relations;
        joined.relations.extend(right.relations);
        if let Some((JoinConstraint::On(condition), around)) = constraint {
            let skip = Scope::skip(around.lefts, around.parent);
            let parent = if around.lefts > 0 { Some(&skip) } else { around.parent };
            let scope = joined.scope_copy(parent);
            on = Some(self.bind_condition(condition, &scope, Clause::JoinOn, "JOIN/ON")?);
        }
        let kind = match kind {
            JoinKind::Inner if on.is_none() => JoinKind::Cross,
            JoinKind::Cross if on.is_some() => JoinKind::Inner,
            kind => kind,
        };
        let mut fields = left.plan.schema().to_vec();
        fields.extend(right.plan.schema().iter().cloned());
        joined.plan = LogicalPlan::Join {
            kind,
            left: Box::new(left.plan),
            right: Box::new(right.plan),
            on,
            lateral,
            schema: Arc::new(fields),
        };
        Ok(joined)
    }

    /// JOIN USING: equal columns of both sides, and one visible column for each pair.
    fn merge_columns(
        &mut self,
        left: &From,
        right: &From,
        kind: JoinKind,
        names: &[(String, Location)],
    ) -> SqlResult<(Option<Expr>, Vec<Visible>)> {
        let (mut lv, mut rv) = (left.visible(), right.visible());
        let mut merged = Vec::with_capacity(names.len());
        let mut conditions = Vec::with_capacity(names.len());
        for (name, at) in names {
            let l = take_column(self, &mut lv, name, "left", *at)?;
            let r = take_column(self, &mut rv, name, "right", *at)?;
            conditions.push(self.binary_operator("=", l.expr.clone(), r.expr.clone(), *at)?);
            let (both, ty) = self.unify(vec![l.expr.clone(), r.expr.clone()], "JOIN/USING")?;
            let mut both = both.into_iter();
            let (lx, rx) = (both.next(), both.next());
            let (Some(lx), Some(rx)) = (lx, rx) else { return Err(SqlError::internal("a pair of columns")) };
            let (expr, origin) = match kind {
                JoinKind::Right => (rx, r.field.origin),
                JoinKind::Full => (Expr::Coalesce { args: vec![lx, rx], ty }, None),
                _ => (lx, l.field.origin),
            };
            merged.push(Visible { field: Field { name: name.clone(), ty, origin }, expr });
        }
        merged.extend(lv);
        merged.extend(rv);
        let on = match conditions.len() {
            0 => None,
            1 => conditions.pop(),
            _ => Some(Expr::And(conditions)),
        };
        Ok((on, merged))
    }

    fn bind_factor(&mut self, factor: &TableFactor, around: Surroundings<'_>) -> SqlResult<From> {
        self.count_part()?;
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let foreign = !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty();
                if foreign || json_path.is_some() || *with_ordinality {
                    return Err(SqlError::unsupported("this clause of a table reference"));
                }
                if version.is_some() {
                    return Err(SqlError::unsupported("AS OF SYSTEM TIME in FROM"));
                }
                if sample.is_some() {
                    return Err(SqlError::unsupported("TABLESAMPLE"));
                }
                self.bind_named(name, alias.as_ref(), around)
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.bind_function(name, &args.args, *with_ordinality, alias.as_ref(), around)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.bind_function(name, args, *with_ordinality, alias.as_ref(), around)
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
                let calls: Vec<(&str, Vec<&ast::Expr>)> =
                    array_exprs.iter().map(|e| ("unnest", vec![e])).collect();
                self.bind_functions(&calls, "unnest", *with_ordinality, alias.as_ref(), around)
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.bind_derived(*lateral, subquery, alias.as_ref(), around)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let inner = self.nested(|b| b.bind_joins(table_with_joins, around))?;
                match alias {
                    None => Ok(inner),
                    Some(alias) => alias_join(inner, alias),
                }
            }
            TableFactor::TableFunction { .. } => Err(SqlError::unsupported("TABLE(…)")),
            TableFactor::JsonTable { .. } => Err(SqlError::unsupported("JSON_TABLE")),
            TableFactor::XmlTable { .. } => Err(SqlError::unsupported("XMLTABLE")),
            _ => Err(SqlError::unsupported("this form of table reference")),
        }
    }

    fn bind_named(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        around: Surroundings<'_>,
    ) -> SqlResult<From> {
        if let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() {
            let folded = fold(ident);
            if !self.ctes.is_empty()
                && let Some((id, schema)) = self.find_cte(&folded)
            {
                let plan = LogicalPlan::CteScan { id, schema };
                return finish_relation(plan, alias, &folded);
            }
        }
        match self.resolve_relation(name)? {
            NamedRelation::Stored(table) => self.bind_stored(table, alias, around),
            NamedRelation::Virtual(full, schema) => {
                let (schema_name, bare) = full.split_once('.').unwrap_or(("", &full));
                let (schema_name, bare) = (schema_name.to_string(), bare.to_string());
                let mut from =
                    finish_relation(LogicalPlan::VirtualScan { name: full, schema }, alias, &bare)?;
                if alias.is_none() {
                    from.relations[0].schema_name = Some(schema_name);
                }
                Ok(from)
            }
        }
    }

    fn bind_stored(
        &mut self,
        table: Arc<TableDescriptor>,
        alias: Option<&ast::TableAlias>,
        around: Surroundings<'_>,
    ) -> SqlResult<From> {
        match &table.kind {
            TableKind::Table => {
                let name = alias.map_or_else(|| table.name.clone(), |a| fold(&a.name).into_owned());
                let lock = LockRequest::on(around.locks, &name);
                Ok(self.scan(&table, name, alias, lock)?)
            }
            TableKind::View { query } => {
                let query = query.clone();
                let mut plan = self.expand_view(&table, &query)?;
                let name = alias.map_or(table.name.as_str(), |a| a.name.value.as_str());
                if let Some(lock) = LockRequest::on(around.locks, name) {
                    lock_scans(&mut plan, lock);
                }
                finish_relation(plan, alias, &table.name)
            }
            TableKind::Sequence(_) => Err(SqlError::unsupported("reading a sequence as a table")),
        }
    }

    /// The scan of a stored table, all public columns.
    pub fn scan(
        &mut self,
        table: &Arc<TableDescriptor>,
        name: String,
        alias: Option<&ast::TableAlias>,
        lock: Option<crate::plan::RowLock>,
    ) -> SqlResult<From> {
        let mut fields = table_fields(table);
        if let Some(alias) = alias {
            rename_fields(&mut fields, &alias.columns, &name)?;
        }
        let schema: Schema = Arc::new(fields);
        let mut relation = Relation::of_table(name.clone(), table, schema.clone());
        if alias.is_none() {
            relation.schema_name = Some(self.context.catalog.schema_name(table.schema).to_string());
        }
        let columns = super::scope::public_columns(table).map(|c| c.id).collect();
        let scan = TableScan { table: Arc::clone(table), columns, alias: name, lock, schema };
        Ok(From::single(LogicalPlan::Scan(Box::new(scan)), relation))
    }

    /// A view's query, bound anew from its text.
    fn expand_view(&mut self, view: &TableDescriptor, query: &str) -> SqlResult<LogicalPlan> {
        let parsed = crate::parse::parse_single(query)?
            .ok_or_else(|| SqlError::internal(format!("view {} without a query", view.name)))?;
        let crate::parse::Statement::Sql(sql) = &parsed.statement else {
            return Err(SqlError::internal(format!("view {} is not a query", view.name)));
        };
        let ast::Statement::Query(query) = &**sql else {
            return Err(SqlError::internal(format!("view {} is not a query", view.name)));
        };
        let mut inner = Binder::new(self.context, &parsed.source);
        inner.depth = self.depth;
        inner.parts = self.parts;
        inner.widest = self.widest;
        inner.total = self.total;
        inner.copied = self.copied;
        inner.count_text(parsed.source.len())?;
        inner.next_cte = self.next_cte;
        let plan = inner.nested(|b| b.bind_query(query, None, true))?;
        self.next_cte = inner.next_cte;
        self.parts = inner.parts;
        self.widest = inner.widest;
        self.total = inner.total;
        self.copied = inner.copied;
        // The view's columns have the names that it was made with.
        let names: Vec<&str> =
            super::scope::public_columns(view).filter(|c| !c.hidden).map(|c| c.name.as_str()).collect();
        let schema = plan.schema();
        if names.is_empty() || names.iter().zip(schema.iter()).all(|(n, f)| *n == f.name) {
            return Ok(plan);
        }
        let fields = schema
            .iter()
            .enumerate()
            .map(|(i, f)| Field { name: names.get(i).map_or(f.name.clone(), |n| n.to_string()), ..f.clone() })
            .collect();
        let exprs = schema.iter().enumerate().map(|(i, f)| Expr::Column { index: i, ty: f.ty }).collect();
        Ok(super::sort::project(plan, exprs, fields))
    }

    fn bind_derived(
        &mut self,
        lateral: bool,
        query: &ast::Query,
        alias: Option<&ast::TableAlias>,
        around: Surroundings<'_>,
    ) -> SqlResult<From> {
        let skip = Scope::skip(around.lefts, around.parent);
        let parent = match (lateral, around.lefts) {
            (true, _) => around.left.or(around.parent),
            (false, 0) => around.parent,
            (false, _) => Some(&skip),
        };
        let Some(alias) = alias else {
            return Err(SqlError::new(state::SYNTAX_ERROR, "subquery in FROM must have an alias")
                .with_hint("For example, FROM (SELECT ...) [AS] foo."));
        };
        let mut plan = self.bind_query(query, parent, true)?;
        if let Some(lock) = LockRequest::on(around.locks, &fold(&alias.name)) {
            lock_scans(&mut plan, lock);
        }
        finish_relation(plan, Some(alias), "subquery")
    }

    fn bind_function(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        around: Surroundings<'_>,
    ) -> SqlResult<From> {
        let name = super::functions::function_name(name)?;
        let mut exprs = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => exprs.push(e),
                _ => return Err(SqlError::unsupported("named arguments of functions in FROM")),
            }
        }
        self.bind_functions(&[(&name, exprs)], &name, ordinality, alias, around)
    }

    fn bind_functions(
        &mut self,
        calls: &[(&str, Vec<&ast::Expr>)],
        name: &str,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        around: Surroundings<'_>,
    ) -> SqlResult<From> {
        let scope = Scope::new(around.left.or(around.parent));
        let (bound, mut fields) = self.in_level(Clause::From, |b| {
            let mut bound = Vec::with_capacity(calls.len());
            let mut fields = Vec::new();
            for (name, args) in calls {
                let mut exprs = Vec::with_capacity(args.len());
                for e in args {
                    exprs.push(b.bind_expr(e, &scope)?);
                }
                let at = args.first().map_or(Location::empty(), |e| super::start_of(*e));
                let call = b.resolve_call(name, exprs, false, at)?;
                fields.extend(call.fields(name));
                bound.push(call);
            }
            Ok((bound, fields))
        })?;
        if ordinality {
            fields.push(computed("ordinality", crate::types::SqlType::new(crate::types::Oid::INT8)));
        }
        let named = alias.map_or_else(|| name.to_string(), |a| fold(&a.name).into_owned());
        if let Some(alias) = alias {
            // A function's only column takes the alias' name.
            if fields.len() == 1 + usize::from(ordinality) && alias.columns.is_empty() {
                fields[0].name = named.clone();
            }
            rename_fields(&mut fields, &alias.columns, &named)?;
        }
        let schema: Schema = Arc::new(fields);
        let plan = if let [only] = bound.as_slice()
            && !matches!(only.function.body, Body::Set(_))
        {
            if ordinality {
                return Err(SqlError::unsupported("WITH ORDINALITY of a function that returns no set"));
            }
            LogicalPlan::Project {
                input: Box::new(single_row()),
                exprs: bound.into_iter().map(|c| c.into_expr()).collect(),
                schema: schema.clone(),
            }
        } else {
            if let Some(scalar) = bound.iter().find(|c| !matches!(c.function.body, Body::Set(_))) {
                return Err(SqlError::unsupported(format!("{} in ROWS FROM", scalar.function.name)));
            }
            let calls = bound.into_iter().map(|c| (c.function, c.args)).collect();
            LogicalPlan::FunctionScan { calls, ordinality, schema: schema.clone() }
        };
        let mut relation = Relation::new(named, schema);
        relation.is_function = true;
        Ok(From::single(plan, relation))
    }
}

fn finish_relation(plan: LogicalPlan, alias: Option<&ast::TableAlias>, name: &str) -> SqlResult<From> {
    match alias {
        None => {
            let schema = plan.schema();
            Ok(From::single(plan, Relation::new(name, schema)))
        }
        Some(alias) => {
            let name = fold(&alias.name).into_owned();
            let schema = plan.schema();
            if alias.columns.is_empty() {
                return Ok(From::single(plan, Relation::new(name, schema)));
            }
            // Only the names change: no operator is needed for that.
            let mut fields = schema.to_vec();
            rename_fields(&mut fields, &alias.columns, &name)?;
            let plan = rename(plan, &[], &name)?;
            Ok(From::single(plan, Relation::new(name, Arc::new(fields))))
        }
    }
}

fn rename_fields(fields: &mut [Field], columns: &[ast::TableAliasColumnDef], name: &str) -> SqlResult<()> {
    if columns.len() > fields.len() {
        return Err(SqlError::new(
            state::INVALID_COLUMN_REFERENCE,
            format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                fields.len(),
                columns.len()
            ),
        ));
    }
    for (field, column) in fields.iter_mut().zip(columns) {
        field.name = fold(&column.name).into_owned();
    }
    Ok(())
}

/// `(a JOIN b …) AS j`: one relation of all visible columns, which hides those within.
fn alias_join(inner: From, alias: &ast::TableAlias) -> SqlResult<From> {
    let visible = inner.visible();
    let (exprs, mut fields): (Vec<Expr>, Vec<Field>) = visible.into_iter().map(|v| (v.expr, v.field)).unzip();
    let name = fold(&alias.name).into_owned();
    rename_fields(&mut fields, &alias.columns, &name)?;
    let schema: Schema = Arc::new(fields);
    let plan = LogicalPlan::Project { input: Box::new(inner.plan), exprs, schema: schema.clone() };
    Ok(From::single(plan, Relation::new(name, schema)))
}

fn join_kind(operator: &JoinOperator) -> SqlResult<(JoinKind, &JoinConstraint)> {
    Ok(match operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
        JoinOperator::FullOuter(c) => (JoinKind::Full, c),
        JoinOperator::CrossJoin(c) => (JoinKind::Cross, c),
        _ => return Err(SqlError::unsupported("this kind of join")),
    })
}

fn using_columns(names: &[ast::ObjectName]) -> SqlResult<Vec<(String, Location)>> {
    names
        .iter()
        .map(|name| match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] => Ok((fold(ident).into_owned(), ident.span.start)),
            _ => Err(SqlError::new(state::SYNTAX_ERROR, "a column of USING must be a bare name")),
        })
        .collect()
}

fn natural_columns(left: &From, right: &From) -> Vec<(String, Location)> {
    let right = right.visible();
    left.visible()
        .into_iter()
        .filter(|l| right.iter().any(|r| r.field.name == l.field.name))
        .map(|l| (l.field.name, Location::empty()))
        .collect()
}

fn take_column(
    binder: &Binder<'_>,
    columns: &mut Vec<Visible>,
    name: &str,
    side: &str,
    at: Location,
) -> SqlResult<Visible> {
    let mut found = columns.iter().enumerate().filter(|(_, v)| v.field.name == name).map(|(i, _)| i);
    let (first, second) = (found.next(), found.next());
    match (first, second) {
        (Some(i), None) => Ok(columns.remove(i)),
        (Some(_), Some(_)) => Err(binder.error_at(
            state::AMBIGUOUS_COLUMN,
            format!("common column name \"{name}\" appears more than once in {side} table"),
            at,
        )),
        (None, _) => Err(binder.error_at(
            state::UNDEFINED_COLUMN,
            format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
            at,
        )),
    }
}

fn looks_left(item: &ast::TableWithJoins) -> bool {
    factor_looks_left(&item.relation) || item.joins.iter().any(|j| factor_looks_left(&j.relation))
}

/// Whether an item of FROM may, by its syntax, refer to items on its left.
fn factor_looks_left(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Table { args, .. } => args.is_some(),
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        TableFactor::NestedJoin { table_with_joins, .. } => looks_left(table_with_joins),
        _ => false,
    }
}
