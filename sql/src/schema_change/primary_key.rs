//! Giving a table new indexes throughout: another primary key, or other representations of its columns.
//!
//! All rows are copied into new index ids and the descriptor is swapped in at the end, while the table is closed. Afterwards
//! a lookup by the new key is one read.

use super::backfill::Fill;
use super::constraints::{KeySpec, key_index, multiple_primary_keys, next_index_id};
use super::create_table::row_id_index;
use super::names::NewNames;
use super::{SchemaContext, columns, jobs, validate};
use crate::catalog::{ColumnId, IndexDescriptor, IndexId, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;

/// ADD PRIMARY KEY.
pub async fn add(ctx: &mut SchemaContext<'_>, table: TableDescriptor, spec: &KeySpec) -> SqlResult<()> {
    if table.has_primary_key() {
        return Err(multiple_primary_keys(&table.name));
    }
    let mut new = table.clone();
    let index = key_index(ctx, &mut new, spec, true, &mut NewNames::default()).await?;
    ctx.take_relation_name(table.schema, &index.name, index.oid.0).await?;
    replace_primary(ctx, &table, new, index).await
}

/// ADD PRIMARY KEY USING INDEX: the unique index gives its columns and its name.
pub async fn add_using_index(
    ctx: &mut SchemaContext<'_>,
    table: TableDescriptor,
    index: &str,
    name: Option<String>,
) -> SqlResult<()> {
    if table.has_primary_key() {
        return Err(multiple_primary_keys(&table.name));
    }
    let found = find_unique(&table, index)?;
    if found.key.iter().any(|k| k.descending || k.nulls_first) {
        return Err(SqlError::new(
            state::WRONG_OBJECT_TYPE,
            format!("index \"{index}\" column number 1 does not have default sorting behavior"),
        )
        .with_detail("Cannot create a primary key or unique constraint using such an index."));
    }
    let mut new = table.clone();
    new.indexes.retain(|i| i.id != found.id);
    let mut promoted = IndexDescriptor {
        id: next_index_id(ctx, &mut new).await?,
        constraint: true,
        is_primary_key: true,
        include: Vec::new(),
        ..found.clone()
    };
    if let Some(name) = name.filter(|n| n != index) {
        ctx.take_relation_name(table.schema, &name, promoted.oid.0).await?;
        ctx.give_relation_name_back(table.schema, index);
        promoted.name = name;
    }
    replace_primary(ctx, &table, new, promoted).await
}

pub fn find_unique<'t>(table: &'t TableDescriptor, index: &str) -> SqlResult<&'t IndexDescriptor> {
    let found =
        table.indexes.iter().find(|i| i.name == index).ok_or_else(|| {
            SqlError::new(state::UNDEFINED_OBJECT, format!("index \"{index}\" does not exist"))
        })?;
    if found.constraint {
        return Err(SqlError::new(
            state::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("index \"{index}\" is already associated with a constraint"),
        ));
    }
    if !found.unique || found.predicate.is_some() {
        let what = if found.unique { "is a partial index" } else { "is not a unique index" };
        return Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{index}\" {what}"))
            .with_detail("Cannot create a primary key or unique constraint using such an index."));
    }
    Ok(found)
}

async fn replace_primary(
    ctx: &mut SchemaContext<'_>,
    old: &TableDescriptor,
    mut new: TableDescriptor,
    primary: IndexDescriptor,
) -> SqlResult<()> {
    let keys: Vec<ColumnId> = primary.key.iter().map(|k| k.column).collect();
    let nullable: Vec<ColumnId> =
        new.columns.iter().filter(|c| keys.contains(&c.id) && !c.not_null).map(|c| c.id).collect();
    if !nullable.is_empty() {
        validate::not_null(ctx, old, &nullable).await?;
    }
    new.columns.iter_mut().filter(|c| keys.contains(&c.id)).for_each(|c| c.not_null = true);
    new.columns.retain(|c| !c.hidden);
    new.primary = primary;
    rewrite(ctx, old, new, identity_columns).await
}

/// DROP CONSTRAINT of the primary key: the rows go back under a hidden row id.
pub async fn remove(ctx: &mut SchemaContext<'_>, table: TableDescriptor) -> SqlResult<()> {
    let mut new = table.clone();
    let id = columns::next_id(&mut new);
    new.columns.push(columns::row_id(id));
    new.primary = row_id_index(ctx, &mut new, id).await?;
    super::drop::refuse_if_referenced(ctx, &new, &table.primary.name)?;
    ctx.give_relation_name_back(table.schema, &table.primary.name);
    super::drop::remove_comments(ctx, &[table.primary.oid]);
    if table.indexes.is_empty() && is_empty(ctx, &table).await? {
        jobs::sweep_after(ctx.db, ctx.txn, table.id, vec![table.primary.id]);
        ctx.put_table(new);
        return Ok(());
    }
    Err(SqlError::unsupported("dropping the primary key of a table with rows")
        .with_hint("Create a new table without the primary key and copy the rows."))
}

pub async fn is_empty(ctx: &SchemaContext<'_>, table: &TableDescriptor) -> SqlResult<bool> {
    let span = crate::row::IndexEncoder::primary(table)?.span();
    let options = meridian_txn::ScanOptions { limit: 1, ..Default::default() };
    let txn = ctx.reader(table.id).await?;
    Ok(txn.scan(span, options).next_block().await?.is_none_or(|b| b.is_empty()))
}

/// Each column of the new table as it is in the old one.
pub fn identity_columns(old: &TableDescriptor, new: &TableDescriptor) -> SqlResult<Vec<Expr>> {
    new.public_columns().map(|column| old_column(old, column.id)).collect()
}

/// A column of the old row.
pub fn old_column(old: &TableDescriptor, id: ColumnId) -> SqlResult<Expr> {
    let found = old.public_columns().enumerate().find(|(_, c)| c.id == id);
    let (index, column) =
        found.ok_or_else(|| SqlError::internal("a column that the old table does not have"))?;
    Ok(Expr::Column { index, ty: column.ty })
}

/// Stores the rows anew: every index of `new` gets a new id, is filled, and replaces those of `old`.
pub async fn rewrite(
    ctx: &mut SchemaContext<'_>,
    old: &TableDescriptor,
    mut new: TableDescriptor,
    columns: impl Fn(&TableDescriptor, &TableDescriptor) -> SqlResult<Vec<Expr>>,
) -> SqlResult<()> {
    let old_ids: Vec<IndexId> = old.all_indexes().map(|i| i.id).collect();
    renumber(ctx, &mut new, &old_ids).await?;
    let new_ids: Vec<IndexId> = new.all_indexes().map(|i| i.id).collect();
    new.columns.iter_mut().for_each(|c| c.missing_value = None);
    let fill = Fill::rewrite(ctx, old, &new, columns(old, &new)?)?;
    if ctx.in_block {
        ctx.note_new_storage(&new);
        fill.run_in_transaction(ctx).await?;
    } else {
        let mut build = jobs::begin_build(ctx.db, old.id, new_ids).await?;
        fill.run_in_chunks(ctx, &mut build).await?;
    }
    jobs::sweep_after(ctx.db, ctx.txn, old.id, old_ids);
    ctx.put_table(new);
    Ok(())
}

/// Gives new ids to the indexes that would otherwise share the old ones' rows.
pub async fn renumber(
    ctx: &SchemaContext<'_>,
    new: &mut TableDescriptor,
    old_ids: &[IndexId],
) -> SqlResult<()> {
    for index in std::iter::once(&mut new.primary).chain(&mut new.indexes) {
        if old_ids.contains(&index.id) {
            index.id = IndexId(ctx.new_oid().await?.0);
        }
    }
    Ok(())
}
