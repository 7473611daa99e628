//! INSERT.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr};
use sqlparser::tokenizer::Location;

use super::assign::{generated_always, is_default};
use super::catalog::table_fields;
use super::name::fold;
use super::scope::{Relation, Scope, computed, public_columns};
use super::select::Clause;
use super::sort::Tail;
use super::{Binder, object_name_parts, start_of};
use crate::catalog::{ColumnDescriptor, ElementState, Identity, IndexDescriptor, IndexId, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{ConflictAction, Insert, LogicalPlan, OnConflict, Schema};

/// A column that the statement names, and its place among the table's public columns.
pub(super) struct Target<'t> {
    pub place: usize,
    pub column: &'t ColumnDescriptor,
}

impl Binder<'_> {
    pub fn bind_insert(&mut self, insert: &ast::Insert) -> SqlResult<LogicalPlan> {
        self.writes = true;
        let foreign =
            insert.or.is_some() || insert.ignore || insert.overwrite || insert.partitioned.is_some();
        if foreign || !insert.assignments.is_empty() || insert.replace_into {
            return Err(SqlError::unsupported("this form of INSERT"));
        }
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into anything but a table"));
        };
        let table = self.resolve_target(name, "insert into")?;
        let targets = self.insert_targets(insert, &table)?;
        let (overriding, source) = self.overriding(insert)?;
        let public: Vec<&ColumnDescriptor> = public_columns(&table).collect();
        let mut values: Vec<Option<Expr>> = (0..public.len()).map(|_| None).collect();
        let input = match source.map(|q| (q, &*q.body)) {
            // DEFAULT VALUES
            None => super::select::single_row(),
            Some((query, SetExpr::Values(rows))) if plain(query) => {
                self.bind_rows(rows, &targets, &mut values, overriding)?
            }
            Some((query, _)) => self.bind_insert_query(query, &targets, &mut values, overriding)?,
        };
        let values = values
            .into_iter()
            .zip(&public)
            .map(|(given, column)| match given {
                Some(value) => Ok(value),
                None => self.default_of(column),
            })
            .collect::<SqlResult<Vec<_>>>()?;
        let alias = insert.table_alias.as_ref().map(|a| fold(&a.alias).into_owned());
        let on_conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(c)) => Some(self.bind_on_conflict(c, &table, alias.as_deref())?),
            Some(_) => return Err(SqlError::unsupported("ON DUPLICATE KEY UPDATE")),
        };
        let checks = self.bind_checks(&table)?;
        let scope = self.table_scope(&table, alias.as_deref());
        let returning = self.bind_returning(insert.returning.as_deref(), &scope)?;
        Ok(LogicalPlan::Insert(Box::new(Insert { table, values, input, on_conflict, checks, returning })))
    }

    /// The table's row alone.
    pub fn table_scope(&self, table: &Arc<TableDescriptor>, alias: Option<&str>) -> Scope<'static> {
        let mut scope = Scope::new(None);
        let fields: Schema = Arc::new(table_fields(table));
        scope.relations.push(Relation::of_table(alias.unwrap_or(&table.name), table, fields));
        scope
    }

    fn insert_targets<'t>(
        &self,
        insert: &ast::Insert,
        table: &'t TableDescriptor,
    ) -> SqlResult<Vec<Target<'t>>> {
        if insert.columns.is_empty() {
            let shown = public_columns(table).enumerate().filter(|(_, c)| !c.hidden);
            return Ok(shown.map(|(place, column)| Target { place, column }).collect());
        }
        let mut targets: Vec<Target<'t>> = Vec::with_capacity(insert.columns.len());
        for name in &insert.columns {
            let parts = object_name_parts(name)?;
            let [ident] = parts.as_slice() else {
                return Err(SqlError::unsupported("inserting into a field of a column"));
            };
            let name = fold(ident);
            let (place, column) = self.target_column(table, &name, ident.span.start)?;
            if targets.iter().any(|t| t.place == place) {
                return Err(self.error_at(
                    state::DUPLICATE_COLUMN,
                    format!("column \"{name}\" specified more than once"),
                    ident.span.start,
                ));
            }
            targets.push(Target { place, column });
        }
        Ok(targets)
    }

    /// OVERRIDING … VALUE, which the parser hands through as an optimizer hint (`parse::rewrite`), and the source.
    fn overriding<'q>(&self, insert: &'q ast::Insert) -> SqlResult<(Overriding, Option<&'q ast::Query>)> {
        let overriding = match insert.optimizer_hints.first().map(|h| h.text.as_str()) {
            Some("overriding system value") => Overriding::System,
            Some("overriding user value") => Overriding::User,
            _ => Overriding::None,
        };
        Ok((overriding, insert.source.as_deref()))
    }

    /// VALUES: rows of values cast to their columns' types.
    fn bind_rows(
        &mut self,
        rows: &ast::Values,
        targets: &[Target<'_>],
        values: &mut [Option<Expr>],
        overriding: Overriding,
    ) -> SqlResult<LogicalPlan> {
        let scope = Scope::new(None);
        let width = rows.rows.first().map_or(0, |r| r.content.len());
        self.check_width(width, targets, rows.rows.first().and_then(|r| r.content.get(targets.len())))?;
        let given = &targets[..width];
        let bound = self.in_level(Clause::Insert, |b| {
            let mut bound = Vec::with_capacity(rows.rows.len());
            for row in &rows.rows {
                if row.content.len() != width {
                    return Err(b.error_at(
                        state::SYNTAX_ERROR,
                        "VALUES lists must all be the same length",
                        row.content.first().map_or(Location::empty(), start_of),
                    ));
                }
                let mut exprs = Vec::with_capacity(width);
                for (e, target) in row.content.iter().zip(given) {
                    exprs.push(b.bind_given(e, target.column, &scope, overriding)?);
                }
                bound.push(exprs);
            }
            Ok(bound)
        })?;
        let mut fields = Vec::with_capacity(width);
        for (i, target) in given.iter().enumerate() {
            fields.push(computed(target.column.name.clone(), target.column.ty));
            values[target.place] = Some(Expr::Column { index: i, ty: target.column.ty });
        }
        Ok(LogicalPlan::Values { rows: bound, schema: Arc::new(fields) })
    }

    fn bind_given(
        &mut self,
        e: &ast::Expr,
        column: &ColumnDescriptor,
        scope: &Scope<'_>,
        overriding: Overriding,
    ) -> SqlResult<Expr> {
        match (overriding, column.identity) {
            (Overriding::User, Some(_)) => self.default_of(column),
            (Overriding::System, Some(Identity::Always)) if !is_default(e) => {
                let bound = self.bind_expr(e, scope)?;
                self.assign(bound, column, start_of(e))
            }
            _ => self.bind_value_for(e, column, scope),
        }
    }

    fn check_width(&self, width: usize, targets: &[Target<'_>], extra: Option<&ast::Expr>) -> SqlResult<()> {
        if width > targets.len() {
            return Err(self.error_at(
                state::SYNTAX_ERROR,
                "INSERT has more expressions than target columns",
                extra.map_or(Location::empty(), start_of),
            ));
        }
        Ok(())
    }

    /// INSERT … SELECT: the query's columns, cast.
    fn bind_insert_query(
        &mut self,
        query: &ast::Query,
        targets: &[Target<'_>],
        values: &mut [Option<Expr>],
        overriding: Overriding,
    ) -> SqlResult<LogicalPlan> {
        let plan = self.bind_query(query, None, false)?;
        let schema = plan.schema();
        if schema.len() > targets.len() {
            return Err(self.error_at(
                state::SYNTAX_ERROR,
                "INSERT has more expressions than target columns",
                start_of(query),
            ));
        }
        // Literals of unknown type are read as their columns' types.
        let wanted: Vec<_> = schema
            .iter()
            .zip(targets)
            .map(|(f, t)| {
                let unknown = f.ty.oid == crate::types::Oid::UNKNOWN;
                crate::plan::Field {
                    ty: if unknown { crate::types::SqlType::new(t.column.ty.oid) } else { f.ty },
                    ..f.clone()
                }
            })
            .collect();
        let plan = self.convert_columns(plan, &wanted, "INSERT")?;
        for (i, (field, target)) in wanted.iter().zip(targets).enumerate() {
            if target.column.identity == Some(Identity::Always) && overriding == Overriding::None {
                return Err(generated_always(&target.column.name));
            }
            if target.column.identity.is_some() && overriding == Overriding::User {
                continue;
            }
            let value = Expr::Column { index: i, ty: field.ty };
            values[target.place] = Some(self.assign(value, target.column, start_of(query))?);
        }
        Ok(plan)
    }

    fn bind_on_conflict(
        &mut self,
        conflict: &ast::OnConflict,
        table: &Arc<TableDescriptor>,
        alias: Option<&str>,
    ) -> SqlResult<OnConflict> {
        let arbiter = match &conflict.conflict_target {
            None => None,
            Some(target) => Some(self.arbiters(target, table)?),
        };
        let action = match &conflict.action {
            ast::OnConflictAction::DoNothing => ConflictAction::Nothing,
            ast::OnConflictAction::DoUpdate(update) => {
                if arbiter.is_none() {
                    return Err(SqlError::new(
                        state::SYNTAX_ERROR,
                        "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                    )
                    .with_hint("For example, ON CONFLICT (column_name)."));
                }
                let mut scope = self.table_scope(table, alias);
                let mut excluded = Relation::of_table("excluded", table, scope.relations[0].fields.clone());
                excluded.first = scope.width();
                scope.relations.push(excluded);
                self.in_level(Clause::Update, |b| {
                    let assignments = b.bind_assignments(&update.assignments, table, &scope)?;
                    let filter = match &update.selection {
                        None => None,
                        Some(e) => Some(b.bind_condition(e, &scope, Clause::Where, "WHERE")?),
                    };
                    Ok(ConflictAction::Update { assignments, filter })
                })?
            }
        };
        Ok(OnConflict { arbiter, action })
    }

    /// The unique indexes that the conflict target means.
    fn arbiters(&self, target: &ast::ConflictTarget, table: &TableDescriptor) -> SqlResult<Vec<IndexId>> {
        let unique = std::iter::once(&table.primary)
            .chain(&table.indexes)
            .filter(|i| i.unique && matches!(i.state, ElementState::Public | ElementState::WriteOnly));
        match target {
            ast::ConflictTarget::OnConstraint(name) => {
                let parts = object_name_parts(name)?;
                let name = parts.last().map(|p| fold(p)).unwrap_or_default();
                let found = unique.clone().find(|i| i.constraint && i.name == name);
                found.map(|i| vec![i.id]).ok_or_else(|| {
                    SqlError::new(
                        state::UNDEFINED_OBJECT,
                        format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
                    )
                })
            }
            ast::ConflictTarget::Columns(columns) => {
                let mut ids = Vec::with_capacity(columns.len());
                for column in columns {
                    let name = fold(column);
                    let found = public_columns(table).find(|c| c.name == name && !c.hidden);
                    let Some(column_descriptor) = found else {
                        return Err(self.error_at(
                            state::UNDEFINED_COLUMN,
                            format!("column \"{name}\" does not exist"),
                            column.span.start,
                        ));
                    };
                    ids.push(column_descriptor.id);
                }
                let matches = |i: &&IndexDescriptor| {
                    i.predicate.is_none()
                        && i.key.iter().all(|k| ids.contains(&k.column))
                        && ids.iter().all(|id| i.key.iter().any(|k| k.column == *id))
                };
                let found: Vec<IndexId> = unique.filter(matches).map(|i| i.id).collect();
                if found.is_empty() {
                    return Err(SqlError::new(
                        state::INVALID_COLUMN_REFERENCE,
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                    ));
                }
                Ok(found)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Overriding {
    None,
    System,
    User,
}

/// VALUES with nothing after it.
fn plain(query: &ast::Query) -> bool {
    query.with.is_none()
        && Tail::of(query).is_ok_and(|t| {
            t.order_by.is_empty() && t.limit.is_none() && t.offset.is_none() && t.locks.is_empty()
        })
}
