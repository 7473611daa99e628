//! CREATE and DROP DATABASE, CREATE and ALTER SCHEMA.

use std::sync::Arc;

use super::names::undefined_schema;
use super::{SchemaContext, drop};
use crate::bind::{fold, object_name_parts};
use crate::catalog::bootstrap::{TEMPLATE0, TEMPLATE1};
use crate::catalog::store::{self, Change, NameSpace};
use crate::catalog::{DatabaseDescriptor, DatabaseId, SchemaDescriptor, SchemaId};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{AlterSchema, AlterSchemaOperation, ObjectName, SchemaName};
use crate::types::Oid;

fn single(name: &ObjectName) -> SqlResult<String> {
    match object_name_parts(name)?[..] {
        [name] => Ok(fold(name).into_owned()),
        _ => Err(SqlError::new(state::SYNTAX_ERROR, "syntax error at or near \".\"")),
    }
}

pub async fn create_schema(
    ctx: &mut SchemaContext<'_>,
    name: &SchemaName,
    if_not_exists: bool,
) -> SqlResult<&'static str> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => single(name)?,
        SchemaName::UnnamedAuthorization(user) => fold(user).into_owned(),
    };
    check_reserved(&name)?;
    if if_not_exists && ctx.snapshot().schema_named(ctx.database, &name).is_some() {
        ctx.notice(state::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists, skipping"));
        return Ok("CREATE SCHEMA");
    }
    add_schema(ctx, ctx.database, name).await?;
    Ok("CREATE SCHEMA")
}

fn check_reserved(name: &str) -> SqlResult<()> {
    if name.starts_with("pg_") {
        return Err(SqlError::new("42939", format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}

async fn add_schema(ctx: &mut SchemaContext<'_>, database: DatabaseId, name: String) -> SqlResult<()> {
    let exists = ctx.snapshot().schema_named(database, &name).is_some();
    let id = SchemaId(ctx.new_oid().await?.0);
    if exists || !store::take_name(ctx.txn, NameSpace::Schema(database), &name, id.0).await? {
        return Err(SqlError::new(state::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists")));
    }
    ctx.change(Change::Schema(id, Some(Arc::new(SchemaDescriptor { id, database, name }))));
    Ok(())
}

pub fn remove_schema(ctx: &mut SchemaContext<'_>, schema: &SchemaDescriptor) {
    store::give_name_back(ctx.txn, NameSpace::Schema(schema.database), &schema.name);
    drop::remove_comments(ctx, &[Oid(schema.id.0)]);
    ctx.change(Change::Schema(schema.id, None));
}

pub async fn alter_schema(ctx: &mut SchemaContext<'_>, alter: &AlterSchema) -> SqlResult<&'static str> {
    let name = single(&alter.name)?;
    let snapshot = ctx.snapshot();
    let Some(schema) = snapshot.schema_named(ctx.database, &name) else {
        return Err(undefined_schema(&name));
    };
    for operation in &alter.operations {
        match operation {
            AlterSchemaOperation::Rename { name: to } => {
                let to = single(to)?;
                check_reserved(&to)?;
                if !drop::relations_in(&snapshot, schema.id).is_empty() {
                    // Defaults and views name their schema.
                    return Err(SqlError::unsupported("renaming a schema that is not empty"));
                }
                if !store::take_name(ctx.txn, NameSpace::Schema(schema.database), &to, schema.id.0).await? {
                    return Err(SqlError::new(
                        state::DUPLICATE_SCHEMA,
                        format!("schema \"{to}\" already exists"),
                    ));
                }
                store::give_name_back(ctx.txn, NameSpace::Schema(schema.database), &name);
                let renamed = SchemaDescriptor { name: to, ..SchemaDescriptor::clone(schema) };
                ctx.change(Change::Schema(schema.id, Some(Arc::new(renamed))));
            }
            AlterSchemaOperation::OwnerTo { .. } => {}
            other => return Err(SqlError::unsupported(format!("ALTER SCHEMA … {other}"))),
        }
    }
    Ok("ALTER SCHEMA")
}

fn refuse_in_block(ctx: &SchemaContext<'_>, what: &str) -> SqlResult<()> {
    if ctx.in_block {
        return Err(SqlError::new(
            state::ACTIVE_SQL_TRANSACTION,
            format!("{what} cannot run inside a transaction block"),
        ));
    }
    Ok(())
}

pub async fn create_database(
    ctx: &mut SchemaContext<'_>,
    name: &ObjectName,
    if_not_exists: bool,
) -> SqlResult<&'static str> {
    refuse_in_block(ctx, "CREATE DATABASE")?;
    let name = single(name)?;
    let exists = ctx.snapshot().database_named(&name).is_some();
    if exists && if_not_exists {
        ctx.notice(state::DUPLICATE_DATABASE, format!("database \"{name}\" already exists, skipping"));
        return Ok("CREATE DATABASE");
    }
    let id = DatabaseId(ctx.new_oid().await?.0);
    if exists || !store::take_name(ctx.txn, NameSpace::Database, &name, id.0).await? {
        return Err(SqlError::new(state::DUPLICATE_DATABASE, format!("database \"{name}\" already exists")));
    }
    ctx.change(Change::Database(id, Some(Arc::new(DatabaseDescriptor { id, name }))));
    add_schema(ctx, id, "public".into()).await?;
    Ok("CREATE DATABASE")
}

pub async fn drop_database(ctx: &mut SchemaContext<'_>, name: &ObjectName, if_exists: bool) -> SqlResult<()> {
    refuse_in_block(ctx, "DROP DATABASE")?;
    let name = single(name)?;
    let snapshot = ctx.snapshot();
    let Some(database) = snapshot.database_named(&name) else {
        if if_exists {
            ctx.notice("00000", format!("database \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(SqlError::new(
            state::INVALID_CATALOG_NAME,
            format!("database \"{name}\" does not exist"),
        ));
    };
    if database.id == ctx.database {
        return Err(SqlError::new("55006", "cannot drop the currently open database"));
    }
    if database.id == TEMPLATE0 || database.id == TEMPLATE1 {
        return Err(SqlError::new(state::WRONG_OBJECT_TYPE, "cannot drop a template database"));
    }
    let relations = snapshot.tables.values().filter(|t| t.database == database.id).map(|t| t.id).collect();
    let told = ctx.notices.len();
    drop::drop_all(ctx, relations, true).await?;
    ctx.notices.truncate(told);
    for schema in snapshot.schemas.values().filter(|s| s.database == database.id) {
        remove_schema(ctx, schema);
    }
    store::give_name_back(ctx.txn, NameSpace::Database, &name);
    ctx.change(Change::Database(database.id, None));
    Ok(())
}
