//! CREATE TABLE.

use super::columns::{self, NewColumn};
use super::constraints::{Constraints, check_constraint, key_index};
use super::names::{Name, NewNames, quote_qualified};
use super::{SchemaContext, foreign_keys, sequence};
use crate::bind::bind_default;
use crate::catalog::{
    ColumnDescriptor, ColumnId, ElementState, IndexDescriptor, IndexId, SchemaId, TableDescriptor, TableId,
    TableKind,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{
    self, CreateTable, CreateTableLikeDefaults, CreateTableLikeKind, CreateTableOptions,
};
use crate::types::Oid;

const TAG: &str = "CREATE TABLE";
/// PostgreSQL's MaxHeapAttributeNumber.
const COLUMNS_MAX: usize = 1600;

pub async fn execute(ctx: &mut SchemaContext<'_>, create: &CreateTable) -> SqlResult<&'static str> {
    refuse_options(create)?;
    let Some((schema, name)) = target(ctx, create)? else { return Ok(TAG) };
    let mut table = empty(ctx, schema, name).await?;
    let mut constraints = Constraints::default();
    let mut sequences = Vec::new();
    if let Some(like) = &create.like {
        copy_columns(ctx, &mut table, like)?;
    }
    for def in &create.columns {
        let id = columns::next_id(&mut table);
        let column = columns::define(ctx, &table.name, id, def, &mut constraints)?;
        add_column(ctx, &mut table, column, &mut sequences)?;
    }
    for constraint in &create.constraints {
        constraints.add(&table.name, constraint)?;
    }
    finish(ctx, table, constraints, sequences).await?;
    Ok(TAG)
}

/// Where the table goes; `None` if it exists and may (IF NOT EXISTS).
pub fn target(ctx: &mut SchemaContext<'_>, create: &CreateTable) -> SqlResult<Option<(SchemaId, String)>> {
    let name = Name::of(ctx, &create.name)?;
    let schema = name.creation_schema(ctx)?;
    if ctx.snapshot().name_taken(schema, &name.name) {
        if create.if_not_exists {
            let message = format!("relation \"{}\" already exists, skipping", name.name);
            ctx.notice(state::DUPLICATE_TABLE, message);
            return Ok(None);
        }
        return Err(super::context::relation_exists(&name.name));
    }
    Ok(Some((schema, name.name)))
}

pub fn refuse_options(create: &CreateTable) -> SqlResult<()> {
    let refused = [
        (create.temporary, "a temporary table"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "partitioning"),
        (create.inherits.is_some(), "inheritance"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external, "an external table"),
        (create.clone.is_some(), "CLONE"),
        (create.on_commit.is_some(), "ON COMMIT"),
    ];
    if let Some((_, what)) = refused.iter().find(|(on, _)| *on) {
        return Err(SqlError::unsupported(what));
    }
    match &create.table_options {
        // Storage parameters such as fillfactor: accepted, they have no meaning here.
        CreateTableOptions::None | CreateTableOptions::With(_) => Ok(()),
        other => Err(SqlError::unsupported(format!("the table option {other}"))),
    }
}

/// A table without columns, with a new id.
pub async fn empty(ctx: &SchemaContext<'_>, schema: SchemaId, name: String) -> SqlResult<TableDescriptor> {
    Ok(TableDescriptor {
        id: TableId(ctx.new_oid().await?.0),
        database: ctx.database,
        schema,
        name,
        version: 0,
        kind: TableKind::Table,
        columns: Vec::new(),
        next_column: 1,
        primary: no_index(),
        indexes: Vec::new(),
        next_index: 1,
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        next_constraint: 1,
    })
}

/// The primary index of what stores no rows.
pub fn no_index() -> IndexDescriptor {
    IndexDescriptor {
        id: IndexId(0),
        name: String::new(),
        oid: Oid::INVALID,
        unique: true,
        constraint: false,
        is_primary_key: false,
        key: Vec::new(),
        include: Vec::new(),
        predicate: None,
        state: ElementState::Public,
    }
}

/// A sequence to make, and the column that it is to belong to.
pub struct PendingSequence {
    pub column: ColumnId,
    pub options: crate::catalog::SequenceOptions,
}

/// Appends a column, with its default bound.
pub fn add_column(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    new: NewColumn,
    sequences: &mut Vec<PendingSequence>,
) -> SqlResult<()> {
    let mut column = new.descriptor;
    if table.columns.iter().any(|c| c.name == column.name && !c.hidden) {
        return Err(SqlError::new(
            state::DUPLICATE_COLUMN,
            format!("column \"{}\" specified more than once", column.name),
        ));
    }
    if let Some(options) = new.sequence {
        sequences.push(PendingSequence { column: column.id, options });
    }
    if let Some(expr) = &new.default {
        column.default = bound_default(ctx, &column, expr)?;
    }
    table.columns.push(column);
    if table.columns.len() > COLUMNS_MAX {
        return Err(SqlError::new("54011", format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    Ok(())
}

/// The text of a default, after it has been bound once; `None` for DEFAULT NULL.
pub fn bound_default(
    ctx: &SchemaContext<'_>,
    column: &ColumnDescriptor,
    expr: &ast::Expr,
) -> SqlResult<Option<String>> {
    let text = expr.to_string();
    let snapshot = ctx.snapshot();
    let eval = ctx.eval();
    bind_default(ctx.bind(&snapshot, &eval), &text, &column.name, column.ty)?;
    let null = matches!(expr, ast::Expr::Value(v) if matches!(v.value, ast::Value::Null));
    Ok((!null).then_some(text))
}

/// LIKE: names, types and NOT NULL; defaults if asked for.
fn copy_columns(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    like: &CreateTableLikeKind,
) -> SqlResult<()> {
    let (CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = like;
    let name = Name::of(ctx, &like.name)?;
    let source = name.find(ctx).ok_or_else(|| name.undefined_relation(ctx))?;
    let defaults = matches!(like.defaults, Some(CreateTableLikeDefaults::Including));
    for column in source.visible_columns() {
        let mut copy = columns::plain(columns::next_id(table), column.name.clone(), column.ty);
        copy.not_null = column.not_null;
        if defaults && column.identity.is_none() {
            copy.default = column.default.clone();
        }
        table.columns.push(copy);
    }
    Ok(())
}

/// Makes the table with its constraints, indexes and sequences.
pub async fn finish(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    constraints: Constraints,
    sequences: Vec<PendingSequence>,
) -> SqlResult<TableId> {
    let mut names = NewNames::default();
    names.0.insert(table.name.clone());
    ctx.take_relation_name(table.schema, &table.name, table.id.0).await?;
    for pending in sequences {
        attach_sequence(ctx, &mut table, pending, &mut names).await?;
    }
    set_primary_index(ctx, &mut table, &constraints, &mut names).await?;
    for unique in &constraints.uniques {
        let index = key_index(ctx, &mut table, unique, false, &mut names).await?;
        // A second constraint over the same columns is the same index.
        if table.all_indexes().any(|i| i.constraint && i.key == index.key && unique.name.is_none()) {
            continue;
        }
        ctx.take_relation_name(table.schema, &index.name, index.oid.0).await?;
        table.indexes.push(index);
    }
    for check in &constraints.checks {
        let check = check_constraint(ctx, &table, check, true).await?;
        table.checks.push(check);
    }
    for key in &constraints.foreign_keys {
        let key = foreign_keys::define(ctx, &table, key, true).await?;
        table.foreign_keys.push(key);
    }
    let id = table.id;
    ctx.note_new_storage(&table);
    ctx.put_table(table);
    Ok(id)
}

async fn set_primary_index(
    ctx: &mut SchemaContext<'_>,
    table: &mut TableDescriptor,
    constraints: &Constraints,
    names: &mut NewNames,
) -> SqlResult<()> {
    if let Some(key) = &constraints.primary_key {
        let index = key_index(ctx, table, key, true, names).await?;
        for part in &index.key {
            if let Some(column) = table.columns.iter_mut().find(|c| c.id == part.column) {
                column.not_null = true;
            }
        }
        ctx.take_relation_name(table.schema, &index.name, index.oid.0).await?;
        table.primary = index;
        return Ok(());
    }
    let id = columns::next_id(table);
    table.columns.push(columns::row_id(id));
    table.primary = row_id_index(ctx, table, id).await?;
    Ok(())
}

/// The primary index of a table without a primary key.
pub async fn row_id_index(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    row_id: ColumnId,
) -> SqlResult<IndexDescriptor> {
    Ok(IndexDescriptor {
        id: super::constraints::next_index_id(ctx, table).await?,
        oid: ctx.new_oid().await?,
        key: super::constraints::ascending(&[row_id]),
        ..no_index()
    })
}

/// Makes the sequence of a serial or identity column.
pub async fn attach_sequence(
    ctx: &mut SchemaContext<'_>,
    table: &mut TableDescriptor,
    pending: PendingSequence,
    names: &mut NewNames,
) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    let position = table
        .columns
        .iter()
        .position(|c| c.id == pending.column)
        .ok_or_else(|| SqlError::internal("a sequence for a column that is not there"))?;
    let column = table.columns[position].name.clone();
    let name = names.choose_relation(&snapshot, table.schema, &table.name, &column, "seq");
    let id = sequence::create(ctx, table.schema, name.clone(), pending.options).await?;
    let column = &mut table.columns[position];
    column.owned_sequence = Some(id);
    if column.identity.is_some() {
        return Ok(());
    }
    let text = quote_qualified(&snapshot, table.schema, &name).replace('\'', "''");
    column.default = Some(format!("nextval('{text}'::regclass)"));
    Ok(())
}
