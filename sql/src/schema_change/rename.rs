//! Renaming tables, views, sequences, indexes, columns and constraints.
//!
//! Expressions and views are kept as text, so a renamed column is renamed in the expressions that mention it, and what
//! a view mentions cannot be renamed.

use super::SchemaContext;
use super::alter_table::undefined_constraint;
use super::constraints::check_constraint_name;
use super::dependencies::{refuse_if_viewed, rename_column};
use super::names::{Name, quote_qualified, undefined_column};
use crate::bind::{fold, object_name_parts};
use crate::catalog::{TableDescriptor, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{AlterIndexOperation, ObjectName, RenameTableNameKind};

pub fn new_name(kind: &RenameTableNameKind) -> SqlResult<String> {
    let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = kind;
    bare(name)
}

fn bare(name: &ObjectName) -> SqlResult<String> {
    match object_name_parts(name)?[..] {
        [name] => Ok(fold(name).into_owned()),
        _ => Err(SqlError::new(state::SYNTAX_ERROR, "syntax error at or near \".\"")),
    }
}

pub async fn table(ctx: &mut SchemaContext<'_>, mut table: TableDescriptor, to: &str) -> SqlResult<()> {
    refuse_if_viewed(ctx, &table, "rename a relation")?;
    ctx.take_relation_name(table.schema, to, table.id.0).await?;
    ctx.give_relation_name_back(table.schema, &table.name);
    let from = std::mem::replace(&mut table.name, to.to_owned());
    if table.sequence().is_some() {
        let snapshot = ctx.snapshot();
        let old = quote_qualified(&snapshot, table.schema, &from);
        let new = quote_qualified(&snapshot, table.schema, to);
        rename_in_defaults(ctx, &table, &old, &new).await?;
    }
    ctx.put_table(table);
    Ok(())
}

/// Defaults name their sequence.
async fn rename_in_defaults(
    ctx: &mut SchemaContext<'_>,
    sequence: &TableDescriptor,
    from: &str,
    to: &str,
) -> SqlResult<()> {
    let (from, to) = (format!("'{}'", from.replace('\'', "''")), format!("'{}'", to.replace('\'', "''")));
    let snapshot = ctx.snapshot();
    let mentions =
        |t: &TableDescriptor| t.columns.iter().any(|c| c.default.as_ref().is_some_and(|d| d.contains(&from)));
    for user in snapshot.tables.values().filter(|t| t.database == sequence.database && mentions(t)) {
        let mut user = ctx.close(user.id).await?;
        for column in &mut user.columns {
            column.default = column.default.take().map(|d| d.replace(&from, &to));
        }
        ctx.put_table(user);
    }
    Ok(())
}

pub async fn alter_index(
    ctx: &mut SchemaContext<'_>,
    name: &ObjectName,
    operation: &AlterIndexOperation,
) -> SqlResult<&'static str> {
    let AlterIndexOperation::RenameIndex { index_name } = operation;
    let name = Name::of(ctx, name)?;
    index(ctx, &name, &bare(index_name)?).await?;
    Ok("ALTER INDEX")
}

pub async fn index(ctx: &mut SchemaContext<'_>, name: &Name, to: &str) -> SqlResult<()> {
    let (table, index) = name.find_index(ctx).ok_or_else(|| name.undefined_relation(ctx))?;
    let mut table = ctx.close(table).await?;
    let schema = table.schema;
    let found = if table.primary.id == index {
        Some(&mut table.primary)
    } else {
        table.indexes.iter_mut().find(|i| i.id == index)
    };
    let Some(found) = found else { return Ok(()) };
    ctx.take_relation_name(schema, to, found.oid.0).await?;
    ctx.give_relation_name_back(schema, &found.name);
    found.name = to.to_owned();
    ctx.put_table(table);
    Ok(())
}

pub async fn column(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    from: &str,
    to: &str,
) -> SqlResult<()> {
    if matches!(table.kind, TableKind::Sequence(_)) {
        return Err(SqlError::new(
            state::WRONG_OBJECT_TYPE,
            format!("cannot rename columns of relation \"{}\"", table.name),
        ));
    }
    if table.column_named(from).is_none() {
        return Err(SqlError::new(state::UNDEFINED_COLUMN, format!("column \"{from}\" does not exist")));
    }
    super::columns::check_system_name(to)?;
    if table.column_named(to).is_some() {
        return Err(SqlError::new(
            state::DUPLICATE_COLUMN,
            format!("column \"{to}\" of relation \"{}\" already exists", table.name),
        ));
    }
    refuse_if_viewed(ctx, &table, "rename a column of a table")?;
    for check in &mut table.checks {
        check.expr = rename_column(&check.expr, from, to)?;
    }
    for index in &mut table.indexes {
        index.predicate = index.predicate.take().map(|p| rename_column(&p, from, to)).transpose()?;
    }
    match table.columns.iter_mut().find(|c| c.name == from && !c.hidden) {
        Some(column) => column.name = to.to_owned(),
        None => return Err(undefined_column(&table.name, from)),
    }
    ctx.put_table(table);
    Ok(())
}

pub async fn constraint(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    from: &str,
    to: &str,
) -> SqlResult<()> {
    let schema = ctx.snapshot().schema_name(table.schema).to_owned();
    if table.all_indexes().any(|i| i.constraint && i.name == from) {
        return index(ctx, &Name { schema: Some(schema), name: from.to_owned() }, to).await;
    }
    check_constraint_name(&table, to)?;
    if let Some(check) = table.checks.iter_mut().find(|c| c.name == from) {
        check.name = to.to_owned();
    } else if let Some(key) = table.foreign_keys.iter_mut().find(|k| k.name == from) {
        key.name = to.to_owned();
    } else {
        return Err(undefined_constraint(&table.name, from));
    }
    ctx.put_table(table);
    Ok(())
}
