//! ALTER TABLE: one action after the other, each on the table as the one before has left it.

use super::constraints::{CheckSpec, Constraints, check_constraint, key_index};
use super::create_table::{add_column, attach_sequence};
use super::dependencies::{columns_of_text, inbound_keys, refuse_if_viewed, still_needed};
use super::names::{Name, NewNames, undefined_column};
use super::{
    SchemaContext, alter_column, backfill::Fill, columns, create_index, drop, foreign_keys, jobs,
    primary_key, rename, sequence, validate,
};
use crate::bind::{bind_default, fold};
use crate::catalog::{ElementState, TableDescriptor, TableId};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::expr::eval::eval;
use crate::parse::ast::{self, AlterTable, AlterTableOperation as Op, DropBehavior, TableConstraint};
use crate::registry::Volatility;
use crate::row::ValueRef;
use crate::types::Datum;

const TAG: &str = "ALTER TABLE";

pub async fn execute(ctx: &mut SchemaContext<'_>, alter: &AlterTable) -> SqlResult<&'static str> {
    let name = Name::of(ctx, &alter.name)?;
    let Some(found) = name.find(ctx) else {
        if name.find_index(ctx).is_some() && matches!(alter.operations[..], [Op::RenameTable { .. }]) {
            let [Op::RenameTable { table_name }] = &alter.operations[..] else { return Ok(TAG) };
            rename::index(ctx, &name, &rename::new_name(table_name)?).await?;
            return Ok(TAG);
        }
        if alter.if_exists {
            let message = format!("relation \"{}\" does not exist, skipping", name.shown());
            ctx.notice("00000", message);
            return Ok(TAG);
        }
        return Err(name.undefined_relation(ctx));
    };
    for operation in &alter.operations {
        let table = ctx.close(found.id).await?;
        run(ctx, table, operation).await?;
    }
    Ok(TAG)
}

async fn run(ctx: &mut SchemaContext<'_>, table: TableDescriptor, operation: &Op) -> SqlResult<()> {
    match operation {
        Op::RenameTable { table_name } => {
            return rename::table(ctx, table, &rename::new_name(table_name)?).await;
        }
        // Everything belongs to everybody who may log in.
        Op::OwnerTo { .. } => return Ok(()),
        Op::RenameColumn { old_column_name, new_column_name } => {
            return rename::column(ctx, table, &fold(old_column_name), &fold(new_column_name)).await;
        }
        _ if !table.is_table() => {
            return Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", table.name),
            ));
        }
        _ => {}
    }
    match operation {
        Op::AddColumn { column_def, if_not_exists, .. } => add(ctx, table, column_def, *if_not_exists).await,
        Op::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade = *drop_behavior == Some(DropBehavior::Cascade);
            let id = table.id;
            for column in column_names {
                let table = ctx.close(id).await?;
                drop_column(ctx, table, &fold(column), *if_exists, cascade).await?;
            }
            Ok(())
        }
        Op::AlterColumn { column_name, op } => {
            alter_column::execute(ctx, table, &fold(column_name), op).await
        }
        Op::AddConstraint { constraint, not_valid } => {
            add_constraint(ctx, table, constraint, *not_valid).await
        }
        Op::DropConstraint { if_exists, name, drop_behavior } => {
            let cascade = *drop_behavior == Some(DropBehavior::Cascade);
            drop_constraint(ctx, table, &fold(name), *if_exists, cascade).await
        }
        Op::ValidateConstraint { name } => validate_constraint(ctx, table, &fold(name)).await,
        Op::RenameConstraint { old_name, new_name } => {
            rename::constraint(ctx, table, &fold(old_name), &fold(new_name)).await
        }
        // Storage parameters have no meaning here, and every table is logged.
        Op::SetOptionsParens { .. } | Op::SetLogged | Op::SetUnlogged => Ok(()),
        other => Err(SqlError::unsupported(format!("ALTER TABLE … {other}"))),
    }
}

// ----- columns -----

async fn add(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    def: &ast::ColumnDef,
    if_not_exists: bool,
) -> SqlResult<()> {
    let name = fold(&def.name).into_owned();
    if table.column_named(&name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
        if if_not_exists {
            ctx.notice(state::DUPLICATE_COLUMN, format!("{message}, skipping"));
            return Ok(());
        }
        return Err(SqlError::new(state::DUPLICATE_COLUMN, message));
    }
    let old = table.clone();
    let mut constraints = Constraints::default();
    let id = columns::next_id(&mut table);
    let column = columns::define(ctx, &table.name, id, def, &mut constraints)?;
    let mut sequences = Vec::new();
    add_column(ctx, &mut table, column, &mut sequences)?;
    let serial = !sequences.is_empty();
    for pending in sequences {
        attach_sequence(ctx, &mut table, pending, &mut NewNames::default()).await?;
    }
    if serial {
        if !primary_key::is_empty(ctx, &old).await? {
            return Err(SqlError::unsupported("adding a serial or identity column to a table with rows"));
        }
    } else {
        fill_existing(ctx, &old, &mut table).await?;
    }
    ctx.put_table(table);
    let id = old.id;
    if let Some(key) = &constraints.primary_key {
        let table = ctx.close(id).await?;
        primary_key::add(ctx, table, key).await?;
    }
    for key in &constraints.uniques {
        add_unique(ctx, id, key).await?;
    }
    for check in &constraints.checks {
        add_check(ctx, id, check, true).await?;
    }
    for key in &constraints.foreign_keys {
        add_foreign_key(ctx, id, key, true).await?;
    }
    Ok(())
}

/// What the rows that are there hold in the column that is added last: its default's value, once for all if it is
/// the same for all.
async fn fill_existing(
    ctx: &mut SchemaContext<'_>,
    old: &TableDescriptor,
    table: &mut TableDescriptor,
) -> SqlResult<()> {
    let Some(column) = table.columns.last().cloned() else { return Ok(()) };
    let default = match &column.default {
        Some(text) => {
            let snapshot = ctx.snapshot();
            let eval = ctx.eval();
            Some(bind_default(ctx.bind(&snapshot, &eval), text, &column.name, column.ty)?)
        }
        None => None,
    };
    if default.as_ref().is_some_and(is_volatile) && !primary_key::is_empty(ctx, old).await? {
        return Err(SqlError::unsupported("adding a column with a volatile default to a table with rows"));
    }
    let value = match &default {
        Some(expr) if !is_volatile(expr) => eval(expr, &[][..], &ctx.eval())?,
        _ => Datum::Null,
    };
    if value.is_null() {
        if column.not_null && !primary_key::is_empty(ctx, old).await? {
            return Err(SqlError::new(
                state::NOT_NULL_VIOLATION,
                format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name),
            ));
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    crate::row::datum_value::encode(&mut bytes, ValueRef::from(&value))?;
    if let Some(last) = table.columns.last_mut() {
        last.missing_value = Some(bytes.into());
    }
    Ok(())
}

/// Whether each row must get a value of its own.
pub fn is_volatile(expr: &Expr) -> bool {
    let mut found = false;
    crate::plan::walk::visit_expr(&mut expr.clone(), 0, &mut |e, _| {
        found |= matches!(e, Expr::Call { function, .. } if function.volatility == Volatility::Volatile);
    });
    found
}

async fn drop_column(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    name: &str,
    if_exists: bool,
    cascade: bool,
) -> SqlResult<()> {
    let Some(column) = table.column_named(name).cloned() else {
        if if_exists {
            let message =
                format!("column \"{name}\" of relation \"{}\" does not exist, skipping", table.name);
            ctx.notice("00000", message);
            return Ok(());
        }
        return Err(undefined_column(&table.name, name));
    };
    refuse_if_viewed(ctx, &table, "drop a column of a table")?;
    if table.primary.key.iter().any(|k| k.column == column.id) {
        primary_key::remove(ctx, table.clone()).await?;
        table = ctx.close(table.id).await?;
    }
    drop_inbound(ctx, &table, column.id, name, cascade).await?;
    // Constraints and indexes over the column go with it.
    table.foreign_keys.retain(|k| !k.columns.contains(&column.id));
    let mut checks = Vec::new();
    for check in &table.checks {
        if !columns_of_text(&check.expr, &table)?.contains(&column.name) {
            checks.push(check.clone());
        }
    }
    table.checks = checks;
    while let Some(position) = table.indexes.iter().position(|i| uses(i, column.id, name, &table)) {
        drop::remove_index(ctx, &mut table, position)?;
    }
    table.columns.retain(|c| c.id != column.id);
    if let Some(owned) = column.owned_sequence {
        sequence::remove(ctx, owned);
    }
    ctx.put_table(table);
    Ok(())
}

fn uses(
    index: &crate::catalog::IndexDescriptor,
    column: crate::catalog::ColumnId,
    name: &str,
    table: &TableDescriptor,
) -> bool {
    index.key.iter().any(|k| k.column == column)
        || index.include.contains(&column)
        || index
            .predicate
            .as_ref()
            .is_some_and(|p| columns_of_text(p, table).is_ok_and(|columns| columns.iter().any(|c| c == name)))
}

/// Foreign keys of other tables that refer to the column.
async fn drop_inbound(
    ctx: &mut SchemaContext<'_>,
    table: &TableDescriptor,
    column: crate::catalog::ColumnId,
    name: &str,
    cascade: bool,
) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    for (from, position) in inbound_keys(&snapshot, table.id) {
        let key = &from.foreign_keys[position];
        if !key.referenced_columns.contains(&column) {
            continue;
        }
        if !cascade {
            let what = format!("column {name} of table {}", table.name);
            let line = format!("constraint {} on table {} depends on {what}", key.name, from.name);
            return Err(still_needed(&what, &[line]));
        }
        ctx.notice("00000", format!("drop cascades to constraint {} on table {}", key.name, from.name));
        drop::drop_foreign_key(ctx, from.id, &key.name).await?;
    }
    Ok(())
}

// ----- constraints -----

async fn add_constraint(
    ctx: &mut SchemaContext<'_>,
    table: TableDescriptor,
    constraint: &TableConstraint,
    not_valid: bool,
) -> SqlResult<()> {
    let id = table.id;
    match constraint {
        TableConstraint::PrimaryKeyUsingIndex(c) => {
            let name = c.name.as_ref().map(|n| fold(n).into_owned());
            return primary_key::add_using_index(ctx, table, &fold(&c.index_name), name).await;
        }
        TableConstraint::UniqueUsingIndex(c) => {
            let name = c.name.as_ref().map(|n| fold(n).into_owned());
            return unique_using_index(ctx, table, &fold(&c.index_name), name).await;
        }
        _ => {}
    }
    let mut constraints = Constraints::default();
    constraints.add(&table.name, constraint)?;
    if let Some(key) = &constraints.primary_key {
        return primary_key::add(ctx, table, key).await;
    }
    for key in &constraints.uniques {
        add_unique(ctx, id, key).await?;
    }
    for check in &constraints.checks {
        add_check(ctx, id, check, !not_valid).await?;
    }
    for key in &constraints.foreign_keys {
        add_foreign_key(ctx, id, key, !not_valid).await?;
    }
    Ok(())
}

async fn add_unique(
    ctx: &mut SchemaContext<'_>,
    id: TableId,
    spec: &super::constraints::KeySpec,
) -> SqlResult<()> {
    let mut table = ctx.close(id).await?;
    let index = key_index(ctx, &mut table, spec, false, &mut NewNames::default()).await?;
    // The table is closed, and was perhaps changed by this statement: fill the index here and now.
    let unchanged = ctx.catalog.overlay_generation() == 0;
    if ctx.in_block || !unchanged || primary_key::is_empty(ctx, &table).await? {
        return create_index::build_in_transaction(ctx, table, index).await;
    }
    ctx.take_relation_name(table.schema, &index.name, index.oid.0).await?;
    let mut build = jobs::begin_build(ctx.db, table.id, vec![index.id]).await?;
    Fill::index(ctx, &table, &index, true)?.run_in_chunks(ctx, &mut build).await?;
    table.indexes.push(index);
    ctx.put_table(table);
    Ok(())
}

async fn unique_using_index(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    index: &str,
    name: Option<String>,
) -> SqlResult<()> {
    let id = primary_key::find_unique(&table, index)?.id;
    let schema = table.schema;
    let Some(found) = table.indexes.iter_mut().find(|i| i.id == id) else { return Ok(()) };
    found.constraint = true;
    if let Some(name) = name.filter(|n| n != index) {
        ctx.take_relation_name(schema, &name, found.oid.0).await?;
        ctx.give_relation_name_back(schema, index);
        found.name = name;
    }
    ctx.put_table(table);
    Ok(())
}

async fn add_check(
    ctx: &mut SchemaContext<'_>,
    id: TableId,
    spec: &CheckSpec,
    validated: bool,
) -> SqlResult<()> {
    let mut table = ctx.close(id).await?;
    let check = check_constraint(ctx, &table, spec, validated).await?;
    if validated {
        validate::check(ctx, &table, &check.name, &check.expr).await?;
    }
    table.checks.push(check);
    ctx.put_table(table);
    Ok(())
}

async fn add_foreign_key(
    ctx: &mut SchemaContext<'_>,
    id: TableId,
    spec: &super::constraints::ForeignKeySpec,
    validated: bool,
) -> SqlResult<()> {
    let mut table = ctx.close(id).await?;
    let key = foreign_keys::define(ctx, &table, spec, validated).await?;
    if validated {
        validate::foreign_key(ctx, &table, &key).await?;
    }
    table.foreign_keys.push(key);
    ctx.put_table(table);
    Ok(())
}

async fn validate_constraint(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    name: &str,
) -> SqlResult<()> {
    if let Some(position) = table.checks.iter().position(|c| c.name == name) {
        let text = table.checks[position].expr.clone();
        validate::check(ctx, &table, name, &text).await?;
        table.checks[position].validated = true;
    } else if let Some(position) = table.foreign_keys.iter().position(|k| k.name == name) {
        let key = table.foreign_keys[position].clone();
        ctx.close(key.references).await?;
        validate::foreign_key(ctx, &table, &key).await?;
        table.foreign_keys[position].validated = true;
    } else {
        return Err(undefined_constraint(&table.name, name));
    }
    ctx.put_table(table);
    Ok(())
}

pub fn undefined_constraint(table: &str, name: &str) -> SqlError {
    SqlError::new(
        state::UNDEFINED_OBJECT,
        format!("constraint \"{name}\" of relation \"{table}\" does not exist"),
    )
}

async fn drop_constraint(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    name: &str,
    if_exists: bool,
    cascade: bool,
) -> SqlResult<()> {
    let index = table.all_indexes().find(|i| i.constraint && i.name == name).cloned();
    if table.checks.iter().any(|c| c.name == name) {
        table.checks.retain(|c| c.name != name);
    } else if table.foreign_keys.iter().any(|k| k.name == name) {
        table.foreign_keys.retain(|k| k.name != name);
    } else if let Some(index) = index {
        drop_keys_on(ctx, &table, &index, cascade).await?;
        if index.id == table.primary.id {
            return primary_key::remove(ctx, table).await;
        }
        let position = table.indexes.iter().position(|i| i.id == index.id);
        if let Some(position) = position {
            drop::remove_index(ctx, &mut table, position)?;
        }
    } else if if_exists {
        let message =
            format!("constraint \"{name}\" of relation \"{}\" does not exist, skipping", table.name);
        ctx.notice("00000", message);
        return Ok(());
    } else {
        return Err(undefined_constraint(&table.name, name));
    }
    ctx.put_table(table);
    Ok(())
}

/// Foreign keys that need this index.
async fn drop_keys_on(
    ctx: &mut SchemaContext<'_>,
    table: &TableDescriptor,
    index: &crate::catalog::IndexDescriptor,
    cascade: bool,
) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    let mut without = table.clone();
    without.indexes.retain(|i| i.id != index.id);
    if table.primary.id == index.id {
        without.primary.state = ElementState::Dropping;
    }
    for (from, position) in inbound_keys(&snapshot, table.id) {
        let key = &from.foreign_keys[position];
        if foreign_keys::referenced_index(&without, &key.referenced_columns).is_some() {
            continue;
        }
        if !cascade {
            let what = format!("constraint {} on table {}", index.name, table.name);
            let line =
                format!("constraint {} on table {} depends on index {}", key.name, from.name, index.name);
            return Err(still_needed(&what, &[line]));
        }
        ctx.notice("00000", format!("drop cascades to constraint {} on table {}", key.name, from.name));
        drop::drop_foreign_key(ctx, from.id, &key.name).await?;
    }
    Ok(())
}
