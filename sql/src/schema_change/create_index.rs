//! CREATE INDEX.
//!
//! Outside of a transaction block an index is built online, in three steps: it is published as write-only with the table closed
//! for a moment, so that from then on every transaction maintains it; it is filled in chunks while reads and writes go
//! on; it is published for reading. In a block it is filled within the transaction, which keeps others from the table.

use std::sync::Arc;

use meridian_storage::probe;

use super::backfill::Fill;
use super::constraints::{check_indexable, next_index_id};
use super::jobs;
use super::names::{Name, choose_name, join_columns};
use super::{SchemaContext, validate};
use crate::bind::fold;
use crate::catalog::store::{self, Change, NameSpace};
use crate::catalog::{
    CatalogCache, ColumnId, ElementState, IndexColumn, IndexDescriptor, IndexId, SessionCatalog,
    TableDescriptor, TableId,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, CreateIndex, Expr, IndexType, OrderBySort};

const TAG: &str = "CREATE INDEX";

pub async fn execute(ctx: &mut SchemaContext<'_>, create: &CreateIndex) -> SqlResult<&'static str> {
    refuse_options(ctx, create)?;
    let table_name = Name::of(ctx, &create.table_name)?;
    let table = table_name.table(ctx)?;
    let name = index_name(ctx, &table, create)?;
    if ctx.snapshot().name_taken(table.schema, &name) {
        if create.if_not_exists {
            ctx.notice(state::DUPLICATE_TABLE, format!("relation \"{name}\" already exists, skipping"));
            return Ok(TAG);
        }
        return Err(super::context::relation_exists(&name));
    }
    let mut table = ctx.close(table.id).await?;
    let index = define(ctx, &mut table, name, create).await?;
    if ctx.in_block {
        build_in_transaction(ctx, table, index).await?;
    } else {
        build_online(ctx, table, index).await?;
    }
    Ok(TAG)
}

fn refuse_options(ctx: &SchemaContext<'_>, create: &CreateIndex) -> SqlResult<()> {
    if create.concurrently && ctx.in_block {
        return Err(SqlError::new(
            state::ACTIVE_SQL_TRANSACTION,
            "CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
        ));
    }
    match &create.using {
        None | Some(IndexType::BTree) => {}
        // Equality is what a hash index is for, and ours can do that.
        Some(IndexType::Hash) if !create.unique && create.columns.len() == 1 => {}
        Some(other) => return Err(SqlError::unsupported(format!("the index method {other}"))),
    }
    if create.nulls_distinct == Some(false) {
        return Err(SqlError::unsupported("NULLS NOT DISTINCT"));
    }
    Ok(())
}

fn index_name(ctx: &SchemaContext<'_>, table: &TableDescriptor, create: &CreateIndex) -> SqlResult<String> {
    if let Some(name) = &create.name {
        return Ok(Name::of(ctx, name)?.name);
    }
    let mut columns = Vec::new();
    for column in &create.columns {
        match &column.column.expr {
            Expr::Identifier(ident) => columns.push(fold(ident).into_owned()),
            _ => columns.push("expr".to_owned()),
        }
    }
    columns.extend(create.include.iter().map(|c| fold(c).into_owned()));
    let second = join_columns(columns.iter().map(String::as_str));
    let snapshot = ctx.snapshot();
    Ok(choose_name(&table.name, &second, "idx", |n| snapshot.name_taken(table.schema, n)))
}

async fn define(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    name: String,
    create: &CreateIndex,
) -> SqlResult<IndexDescriptor> {
    let key = create.columns.iter().map(|c| index_column(table, c)).collect::<SqlResult<Vec<_>>>()?;
    let include = create.include.iter().map(|c| column_id(table, &fold(c))).collect::<SqlResult<Vec<_>>>()?;
    let predicate = match &create.predicate {
        Some(expr) => {
            let text = expr.to_string();
            validate::bind_condition(ctx, table, &text, true)?;
            Some(text)
        }
        None => None,
    };
    Ok(IndexDescriptor {
        id: next_index_id(ctx, table).await?,
        name,
        oid: ctx.new_oid().await?,
        unique: create.unique,
        constraint: false,
        is_primary_key: false,
        key,
        include,
        predicate,
        state: ElementState::Public,
    })
}

fn index_column(table: &TableDescriptor, column: &ast::IndexColumn) -> SqlResult<IndexColumn> {
    let Expr::Identifier(ident) = &column.column.expr else {
        return Err(SqlError::unsupported("an index on an expression"));
    };
    if let Some(class) = &column.operator_class {
        let class = class.to_string();
        let known = class.ends_with("_ops") && !class.contains("gin") && !class.contains("trgm");
        if !known {
            return Err(SqlError::unsupported(format!("the operator class {class}")));
        }
    }
    let id = column_id(table, &fold(ident))?;
    if let Some(column) = table.column(id) {
        check_indexable(column.ty.oid)?;
    }
    let options = &column.column.options;
    let descending = match &options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(other) => return Err(SqlError::unsupported(format!("the order {other:?} of an index column"))),
    };
    Ok(IndexColumn { column: id, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
}

fn column_id(table: &TableDescriptor, name: &str) -> SqlResult<ColumnId> {
    table
        .column_named(name)
        .map(|c| c.id)
        .ok_or_else(|| SqlError::new(state::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))
}

/// Fills the index within the transaction, over a closed table, and publishes it.
pub async fn build_in_transaction(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    index: IndexDescriptor,
) -> SqlResult<()> {
    ctx.take_relation_name(table.schema, &index.name, index.oid.0).await?;
    Fill::index(ctx, &table, &index, true)?.run_in_transaction(ctx).await?;
    table.indexes.push(index);
    ctx.put_table(table);
    Ok(())
}

/// Builds the index while others use the table. The table comes closed, and is closed again at the end.
pub async fn build_online(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    mut index: IndexDescriptor,
) -> SqlResult<()> {
    let (id, index_id) = (table.id, index.id);
    let mut build = jobs::begin_build(ctx.db, id, vec![index_id]).await?;
    index.state = ElementState::WriteOnly;
    table.indexes.push(index.clone());
    publish(ctx.db, ctx.catalog, table.clone(), &index).await?;
    if let Err(error) = fill_online(ctx, &table, &index, &mut build).await {
        if abandon(ctx.catalog.cache(), id, index_id).await.is_err() {
            build.give_up(ctx.db).await?;
        }
        return Err(error);
    }
    if let Err(error) = open_for_reading(ctx, id, index_id).await {
        // The table is in use: whoever takes the job waits for that.
        build.give_up(ctx.db).await?;
        return Err(error);
    }
    Ok(())
}

async fn fill_online(
    ctx: &mut SchemaContext<'_>,
    table: &TableDescriptor,
    index: &IndexDescriptor,
    build: &mut jobs::Build,
) -> SqlResult<()> {
    ctx.catalog.open_table(table.id).await?;
    Fill::index(ctx, table, index, false)?.run_in_chunks(ctx, build).await
}

/// Publishes a filled index, and opens the table with it. Conflicts are met here: were they told, the statement would be
/// repeated from its start, where the name is taken - by itself.
async fn open_for_reading(ctx: &mut SchemaContext<'_>, id: TableId, index: IndexId) -> SqlResult<()> {
    loop {
        match try_open_for_reading(ctx, id, index).await {
            Err(error) if store::is_retryable(&error) => {
                probe!("index: published at a later attempt");
                ctx.catalog.open_table(id).await?;
                ctx.guard.run(pause(ctx.db)).await?;
            }
            done => return done,
        }
    }
}

async fn pause(db: &meridian_txn::Db) -> SqlResult<()> {
    db.runtime().sleep(std::time::Duration::from_millis(1 + db.runtime().random() % 20)).await;
    Ok(())
}

async fn try_open_for_reading(ctx: &mut SchemaContext<'_>, id: TableId, index: IndexId) -> SqlResult<()> {
    let mut table = ctx.close(id).await?;
    let Some(built) = table.indexes.iter_mut().find(|i| i.id == index) else {
        return Err(SqlError::new(state::UNDEFINED_OBJECT, "the index was dropped while it was being built"));
    };
    built.state = ElementState::Public;
    table.version += 1;
    let change = Change::Table(id, Some(Arc::new(table)));
    let (catalog, change) = (&*ctx.catalog, &change);
    let published = store::transact(ctx.db, |txn| async move {
        if !catalog.end_closures(&txn).await? {
            return Ok(false);
        }
        change.write(&txn);
        store::touch_version(&txn);
        Ok(true)
    });
    catalog.publish(published).await?;
    ctx.catalog.opened().await;
    Ok(())
}

/// Stores a descriptor with its new index in a transaction of its own and makes it this node's newest. The table is closed.
async fn publish(
    db: &meridian_txn::Db,
    catalog: &SessionCatalog,
    mut table: TableDescriptor,
    new_index: &IndexDescriptor,
) -> SqlResult<()> {
    table.version += 1;
    let schema = table.schema;
    let change = Change::Table(table.id, Some(Arc::new(table)));
    let published = store::transact(db, |txn| {
        let change = change.clone();
        async move {
            if !catalog.still_closed(&txn).await? {
                return Ok(false);
            }
            let (name, oid) = (&new_index.name, new_index.oid.0);
            if !store::take_name(&txn, NameSpace::Relation(schema), name, oid).await? {
                return Err(super::context::relation_exists(name));
            }
            change.write(&txn);
            store::touch_version(&txn);
            Ok(true)
        }
    });
    catalog.publish(published).await
}

/// Takes back an index that was published as write-only and will not be finished.
pub async fn abandon(cache: &Arc<CatalogCache>, table: TableId, index: IndexId) -> SqlResult<()> {
    let mut session = SessionCatalog::new(cache.clone());
    session.close_table(table).await?;
    let snapshot = session.snapshot();
    let Some(found) = snapshot.tables.get(&table) else { return Ok(()) };
    let mut found = TableDescriptor::clone(found);
    let Some(position) = found.indexes.iter().position(|i| i.id == index && i.state != ElementState::Public)
    else {
        return Ok(());
    };
    let dropped = found.indexes.remove(position);
    found.version += 1;
    let schema = found.schema;
    let change = Change::Table(table, Some(Arc::new(found)));
    let db = cache.db();
    let (session, change, dropped) = (&session, &change, &dropped);
    let abandoned = store::transact(db, |txn| async move {
        if !session.still_closed(&txn).await? {
            return Ok(false);
        }
        change.write(&txn);
        store::give_name_back(&txn, NameSpace::Relation(schema), &dropped.name);
        store::touch_version(&txn);
        jobs::sweep_after(db, &txn, table, vec![index]);
        Ok(true)
    });
    session.publish(abandoned).await
}
