//! What depends on what: columns in expressions, tables in views, and the errors of RESTRICT.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::SchemaContext;
use crate::bind::{fold, object_name_parts};
use crate::catalog::{Catalog, TableDescriptor, TableId, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse;
use crate::parse::ast::{Expr, Ident, Visit, visit_expressions, visit_expressions_mut, visit_relations};

/// The names of the table's columns that an expression mentions, each once, in the table's order.
pub fn columns_of(expr: &Expr, table: &TableDescriptor) -> Vec<String> {
    let mut mentioned = Vec::new();
    let _ = visit_expressions(expr, |e| {
        let ident = match e {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        mentioned.extend(ident.map(|i| fold(i).into_owned()));
        ControlFlow::<()>::Continue(())
    });
    table.visible_columns().map(|c| c.name.clone()).filter(|n| mentioned.contains(n)).collect()
}

/// As [`columns_of`], of an expression's text.
pub fn columns_of_text(text: &str, table: &TableDescriptor) -> SqlResult<Vec<String>> {
    Ok(columns_of(&parse::parse_expression(text)?, table))
}

/// The expression's text with a column renamed.
pub fn rename_column(text: &str, from: &str, to: &str) -> SqlResult<String> {
    let mut expr = parse::parse_expression(text)?;
    let replace = |ident: &mut Ident| {
        if fold(ident) == from {
            *ident = Ident::with_quote('"', to);
        }
    };
    let _ = visit_expressions_mut(&mut expr, |e| {
        match e {
            Expr::Identifier(ident) => replace(ident),
            Expr::CompoundIdentifier(parts) => parts.last_mut().into_iter().for_each(replace),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(expr.to_string())
}

/// The relations that a view's query names.
fn relations_of(query: &str) -> Vec<(Option<String>, String)> {
    let Ok(statements) = parse::parse(query) else { return Vec::new() };
    let mut names = Vec::new();
    for statement in &statements {
        if let parse::Statement::Sql(sql) = &statement.statement {
            collect_relations(&**sql, &mut names);
        }
    }
    names
}

fn collect_relations<V: Visit>(tree: &V, names: &mut Vec<(Option<String>, String)>) {
    let _ = visit_relations(tree, |name| {
        if let Ok(parts) = object_name_parts(name) {
            match parts[..] {
                [name] => names.push((None, fold(name).into_owned())),
                [.., schema, name] => names.push((Some(fold(schema).into_owned()), fold(name).into_owned())),
                [] => {}
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The views whose queries name this relation.
pub fn views_of(catalog: &Catalog, relation: &TableDescriptor) -> Vec<Arc<TableDescriptor>> {
    let schema = catalog.schema_name(relation.schema);
    let mut views = Vec::new();
    for table in catalog.tables.values().filter(|t| t.database == relation.database && t.id != relation.id) {
        let TableKind::View { query } = &table.kind else { continue };
        let names = relations_of(query);
        if names.iter().any(|(s, n)| *n == relation.name && s.as_ref().is_none_or(|s| s == schema)) {
            views.push(table.clone());
        }
    }
    views
}

/// Fails if a view would lose what it selects from.
pub fn refuse_if_viewed(ctx: &SchemaContext<'_>, table: &TableDescriptor, what: &str) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    match views_of(&snapshot, table).first() {
        None => Ok(()),
        Some(view) => {
            Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, format!("cannot {what} used by a view"))
                .with_detail(format!("view {} depends on table {}", view.name, table.name))
                .with_hint("Drop the view, change the table, and create the view again."))
        }
    }
}

/// PostgreSQL's refusal to drop what others depend on.
pub fn still_needed(what: &str, dependents: &[String]) -> SqlError {
    SqlError::new(
        state::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot drop {what} because other objects depend on it"),
    )
    .with_detail(dependents.join("\n"))
    .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// The foreign keys of other tables that refer to this one.
pub fn inbound_keys(catalog: &Catalog, id: TableId) -> Vec<(Arc<TableDescriptor>, usize)> {
    let list = catalog.inbound.get(&id).into_iter().flatten();
    list.filter(|(from, _)| *from != id)
        .filter_map(|(from, position)| Some((catalog.tables.get(from)?.clone(), *position)))
        .collect()
}
