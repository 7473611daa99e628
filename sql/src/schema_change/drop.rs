//! DROP.

use super::dependencies::{inbound_keys, still_needed, views_of};
use super::names::{Name, undefined_schema};
use super::{SchemaContext, database, jobs, role, sequence};
use crate::bind::{fold, object_name_parts};
use crate::catalog::store::Change;
use crate::catalog::{SchemaId, TableDescriptor, TableId, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{ObjectName, ObjectType, Statement};
use crate::types::Oid;

pub async fn execute(ctx: &mut SchemaContext<'_>, statement: &Statement) -> SqlResult<&'static str> {
    let Statement::Drop { object_type, if_exists, names, cascade, .. } = statement else {
        return Err(SqlError::internal("not DROP"));
    };
    match object_type {
        ObjectType::Table | ObjectType::View | ObjectType::Sequence => {
            drop_relations(ctx, *object_type, names, *if_exists, *cascade).await
        }
        ObjectType::Index => {
            for name in names {
                drop_index(ctx, name, *if_exists).await?;
            }
            Ok("DROP INDEX")
        }
        ObjectType::Schema => {
            for name in names {
                drop_schema(ctx, name, *if_exists, *cascade).await?;
            }
            Ok("DROP SCHEMA")
        }
        ObjectType::Database => {
            for name in names {
                database::drop_database(ctx, name, *if_exists).await?;
            }
            Ok("DROP DATABASE")
        }
        ObjectType::Role | ObjectType::User => {
            for name in names {
                role::drop(ctx, name, *if_exists).await?;
            }
            Ok("DROP ROLE")
        }
        other => Err(SqlError::unsupported(format!("DROP {other}"))),
    }
}

/// What kind of relation a DROP is about.
fn words(kind: ObjectType) -> (&'static str, &'static str) {
    match kind {
        ObjectType::View => ("view", "DROP VIEW"),
        ObjectType::Sequence => ("sequence", "DROP SEQUENCE"),
        _ => ("table", "DROP TABLE"),
    }
}

fn kind_of(table: &TableDescriptor) -> ObjectType {
    match table.kind {
        TableKind::Table => ObjectType::Table,
        TableKind::View { .. } => ObjectType::View,
        TableKind::Sequence(_) => ObjectType::Sequence,
    }
}

async fn drop_relations(
    ctx: &mut SchemaContext<'_>,
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> SqlResult<&'static str> {
    let (noun, tag) = words(kind);
    let mut ids: Vec<TableId> = Vec::new();
    for name in names {
        let name = Name::of(ctx, name)?;
        match name.find(ctx) {
            Some(found) if kind_of(&found) == kind => ids.push(found.id),
            Some(found) => return Err(wrong_kind(&found, noun)),
            None if name.find_index(ctx).is_some() => {
                return Err(SqlError::new(
                    state::WRONG_OBJECT_TYPE,
                    format!("\"{}\" is not a {noun}", name.name),
                )
                .with_hint("Use DROP INDEX to remove an index."));
            }
            None if if_exists => {
                ctx.notice("00000", format!("{noun} \"{}\" does not exist, skipping", name.name));
            }
            None => {
                return Err(SqlError::new(
                    state::UNDEFINED_TABLE,
                    format!("{noun} \"{}\" does not exist", name.shown()),
                ));
            }
        }
    }
    drop_all(ctx, ids, cascade).await?;
    Ok(tag)
}

fn wrong_kind(found: &TableDescriptor, wanted: &str) -> SqlError {
    let (noun, command) = words(kind_of(found));
    SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {wanted}", found.name))
        .with_hint(format!("Use {command} to remove a {noun}."))
}

/// Drops these relations together: what depends on one of them only because of another does not matter.
pub async fn drop_all(ctx: &mut SchemaContext<'_>, mut ids: Vec<TableId>, cascade: bool) -> SqlResult<()> {
    for id in ids.clone() {
        ctx.close(id).await?;
    }
    let mut dropped_with = Vec::new();
    let mut next = 0;
    while next < ids.len() {
        let snapshot = ctx.snapshot();
        let Some(table) = snapshot.tables.get(&ids[next]).cloned() else {
            next += 1;
            continue;
        };
        let views: Vec<_> =
            views_of(&snapshot, &table).into_iter().filter(|v| !ids.contains(&v.id)).collect();
        let keys: Vec<_> =
            inbound_keys(&snapshot, table.id).into_iter().filter(|(t, _)| !ids.contains(&t.id)).collect();
        let users = default_users(ctx, &table, &ids);
        if !cascade && (!views.is_empty() || !keys.is_empty() || !users.is_empty()) {
            return Err(refusal(&table, &views, &keys, &users));
        }
        for (from, position) in &keys {
            let name = &from.foreign_keys[*position].name;
            dropped_with.push(format!("drop cascades to constraint {name} on table {}", from.name));
            drop_foreign_key(ctx, from.id, name).await?;
        }
        for (owner, column) in &users {
            dropped_with
                .push(format!("drop cascades to default value for column {column} of table {}", owner.1));
            let mut owner = ctx.close(owner.0).await?;
            owner.columns.iter_mut().filter(|c| c.name == *column).for_each(|c| c.default = None);
            ctx.put_table(owner);
        }
        for view in views {
            dropped_with.push(format!("drop cascades to view {}", view.name));
            ctx.close(view.id).await?;
            ids.push(view.id);
        }
        next += 1;
    }
    match &dropped_with[..] {
        [] => {}
        [only] => ctx.notice("00000", only.clone()),
        many => {
            let notice = SqlError::new("00000", format!("drop cascades to {} other objects", many.len()));
            ctx.notices.push(notice.with_detail(many.join("\n")));
        }
    }
    for id in ids {
        remove_relation(ctx, id);
    }
    Ok(())
}

/// Columns whose DEFAULT takes its values from this sequence: of tables that stay.
fn default_users(
    ctx: &SchemaContext<'_>,
    sequence: &TableDescriptor,
    going: &[TableId],
) -> Vec<((TableId, String), String)> {
    if sequence.sequence().is_none() {
        return Vec::new();
    }
    let snapshot = ctx.snapshot();
    let qualified = super::names::quote_qualified(&snapshot, sequence.schema, &sequence.name);
    let mut users = Vec::new();
    for table in snapshot.tables.values().filter(|t| !going.contains(&t.id)) {
        for column in &table.columns {
            let uses = column.default.as_ref().is_some_and(|d| d.contains(&format!("'{qualified}'")));
            if uses || (column.owned_sequence == Some(sequence.id) && column.identity.is_some()) {
                users.push(((table.id, table.name.clone()), column.name.clone()));
            }
        }
    }
    users
}

type Keys = [(std::sync::Arc<TableDescriptor>, usize)];

fn refusal(
    table: &TableDescriptor,
    views: &[std::sync::Arc<TableDescriptor>],
    keys: &Keys,
    users: &[((TableId, String), String)],
) -> SqlError {
    let what = format!("{} {}", words(kind_of(table)).0, table.name);
    let mut lines: Vec<String> = users
        .iter()
        .map(|((_, owner), column)| {
            format!("default value for column {column} of table {owner} depends on {what}")
        })
        .collect();
    lines.extend(keys.iter().map(|(from, position)| {
        let key = &from.foreign_keys[*position].name;
        format!("constraint {key} on table {} depends on {what}", from.name)
    }));
    lines.extend(views.iter().map(|v| format!("view {} depends on {what}", v.name)));
    still_needed(&what, &lines)
}

pub async fn drop_foreign_key(ctx: &mut SchemaContext<'_>, table: TableId, name: &str) -> SqlResult<()> {
    let mut table = ctx.close(table).await?;
    table.foreign_keys.retain(|k| k.name != name);
    ctx.put_table(table);
    Ok(())
}

/// Removes a relation with its names, indexes, owned sequences, comments and rows. It is closed.
fn remove_relation(ctx: &mut SchemaContext<'_>, id: TableId) {
    let snapshot = ctx.snapshot();
    let Some(table) = snapshot.tables.get(&id) else { return };
    match &table.kind {
        TableKind::Sequence(_) => {
            sequence::remove(ctx, id);
            // A column that it belonged to has none now.
            for owner in snapshot.tables.values() {
                if owner.columns.iter().any(|c| c.owned_sequence == Some(id))
                    && ctx.snapshot().tables.contains_key(&owner.id)
                {
                    let mut owner = TableDescriptor::clone(owner);
                    owner.columns.iter_mut().filter(|c| c.owned_sequence == Some(id)).for_each(|c| {
                        c.owned_sequence = None;
                    });
                    ctx.put_table(owner);
                }
            }
        }
        TableKind::View { .. } => {
            ctx.give_relation_name_back(table.schema, &table.name);
            ctx.change(Change::Table(id, None));
        }
        TableKind::Table => {
            ctx.give_relation_name_back(table.schema, &table.name);
            for index in table.all_indexes().filter(|i| i.has_name()) {
                ctx.give_relation_name_back(table.schema, &index.name);
            }
            ctx.change(Change::Table(id, None));
            for owned in table.columns.iter().filter_map(|c| c.owned_sequence) {
                sequence::remove(ctx, owned);
            }
            jobs::sweep_after(ctx.db, ctx.txn, id, Vec::new());
        }
    }
    if snapshot.statistics.contains_key(&id) {
        ctx.change(Change::Statistics(id, None));
    }
    let mut objects = vec![Oid(id.0)];
    objects.extend(table.all_indexes().map(|i| i.oid));
    remove_comments(ctx, &objects);
}

pub fn remove_comments(ctx: &mut SchemaContext<'_>, objects: &[Oid]) {
    let snapshot = ctx.snapshot();
    let gone = snapshot.comments.keys().filter(|(_, oid, _)| objects.contains(oid));
    for at in gone {
        ctx.change(Change::Comment(*at, None));
    }
}

async fn drop_index(ctx: &mut SchemaContext<'_>, name: &ObjectName, if_exists: bool) -> SqlResult<()> {
    let name = Name::of(ctx, name)?;
    let Some((table, index)) = name.find_index(ctx) else {
        if name.find(ctx).is_some() {
            return Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not an index", name.name),
            ));
        }
        return no_index(ctx, &name, if_exists);
    };
    let mut table = ctx.close(table).await?;
    if table.primary.id == index {
        return Err(needed_by_constraint(&name.name, &table.name));
    }
    let Some(position) = table.indexes.iter().position(|i| i.id == index) else {
        // Somebody else was first.
        return no_index(ctx, &name, if_exists);
    };
    if table.indexes[position].constraint {
        return Err(needed_by_constraint(&name.name, &table.name));
    }
    remove_index(ctx, &mut table, position)?;
    ctx.put_table(table);
    Ok(())
}

fn no_index(ctx: &mut SchemaContext<'_>, name: &Name, if_exists: bool) -> SqlResult<()> {
    if if_exists {
        ctx.notice("00000", format!("index \"{}\" does not exist, skipping", name.name));
        return Ok(());
    }
    Err(SqlError::new(state::UNDEFINED_OBJECT, format!("index \"{}\" does not exist", name.shown())))
}

fn needed_by_constraint(index: &str, table: &str) -> SqlError {
    SqlError::new(
        state::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot drop index {index} because constraint {index} on table {table} requires it"),
    )
    .with_hint(format!("You can drop constraint {index} on table {table} instead."))
}

/// Takes a secondary index out of its table; fails if a foreign key needs it.
pub fn remove_index(
    ctx: &mut SchemaContext<'_>,
    table: &mut TableDescriptor,
    position: usize,
) -> SqlResult<()> {
    let index = table.indexes.remove(position);
    refuse_if_referenced(ctx, table, &index.name)?;
    ctx.give_relation_name_back(table.schema, &index.name);
    remove_comments(ctx, &[index.oid]);
    jobs::sweep_after(ctx.db, ctx.txn, table.id, vec![index.id]);
    Ok(())
}

/// `table` is without the index already: every foreign key must find another.
pub fn refuse_if_referenced(ctx: &SchemaContext<'_>, table: &TableDescriptor, index: &str) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    for (from, position) in snapshot.inbound.get(&table.id).into_iter().flatten() {
        let Some(key) = snapshot.tables.get(from).and_then(|t| t.foreign_keys.get(*position)) else {
            continue;
        };
        if super::foreign_keys::referenced_index(table, &key.referenced_columns).is_none() {
            let from = snapshot.tables.get(from).map_or("", |t| t.name.as_str());
            let what = format!("index {index}");
            let line = format!("constraint {} on table {from} depends on {what}", key.name);
            return Err(still_needed(&what, &[line]));
        }
    }
    Ok(())
}

async fn drop_schema(
    ctx: &mut SchemaContext<'_>,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> SqlResult<()> {
    let parts = object_name_parts(name)?;
    let [ident] = parts[..] else { return Err(SqlError::new(state::SYNTAX_ERROR, "improper schema name")) };
    let name = fold(ident).into_owned();
    let snapshot = ctx.snapshot();
    let Some(schema) = snapshot.schema_named(ctx.database, &name) else {
        if if_exists {
            ctx.notice("00000", format!("schema \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(undefined_schema(&name));
    };
    if schema.database != ctx.database {
        return Err(SqlError::new(
            state::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop schema {name} because it is required by the database system"),
        ));
    }
    let within = relations_in(&snapshot, schema.id);
    if !cascade && !within.is_empty() {
        let lines: Vec<String> = within
            .iter()
            .filter_map(|id| snapshot.tables.get(id))
            .filter(|t| !is_owned(&snapshot, t.id))
            .map(|t| format!("{} {name}.{} depends on schema {name}", words(kind_of(t)).0, t.name))
            .collect();
        return Err(still_needed(&format!("schema {name}"), &lines));
    }
    drop_all(ctx, within, true).await?;
    database::remove_schema(ctx, schema);
    Ok(())
}

/// The relations of a schema; sequences that belong to columns go with their tables.
pub fn relations_in(catalog: &crate::catalog::Catalog, schema: SchemaId) -> Vec<TableId> {
    catalog.tables.values().filter(|t| t.schema == schema).map(|t| t.id).collect()
}

fn is_owned(catalog: &crate::catalog::Catalog, sequence: TableId) -> bool {
    catalog.tables.values().any(|t| t.columns.iter().any(|c| c.owned_sequence == Some(sequence)))
}
