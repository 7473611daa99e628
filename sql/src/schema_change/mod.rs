//! Statements that change the schema, and the long work that goes with them.
//!
//! A schema change is a part of the session's transaction: it closes the tables that it changes (see [`crate::catalog`]),
//! changes the transaction's copy of the catalog, and writes descriptors through the transaction. Work over existing rows
//! is done in one of two ways:
//!
//! - within the transaction, when it is a transaction block: what it has written itself is not visible to anybody else;
//! - in many small transactions of its own ([`backfill`]), when the statement stands alone. An index is then built
//!   *online*: published as write-only, filled, and published for reading. A rebuilt primary index is filled while the
//!   table is closed, and swapped in at the end.
//!
//! What must stay true: a statement that fails leaves nothing behind that a later statement could meet; what a dead node
//! leaves behind (half-built indexes, dropped rows) is cleaned up by the [`jobs`] of any node.

pub mod context;
pub mod jobs;
mod alter_column;
mod alter_sequence;
mod alter_table;
pub mod backfill;
mod columns;
mod comment;
mod constraints;
mod create_index;
mod create_table;
mod create_table_as;
mod database;
mod dependencies;
mod drop;
mod foreign_keys;
mod names;
mod primary_key;
pub mod references;
mod rename;
mod role;
mod sequence;
mod split;
mod statistics;
mod truncate;
mod validate;
mod view;
#[cfg(test)]
mod tests;

pub use context::SchemaContext;
pub use names::undefined_schema;
pub use statistics::{Target, analyze_targets, find_target, store_statistics};

use crate::error::{SqlError, SqlResult};
use crate::parse::ast::Statement as Sql;
use crate::parse::{ParsedStatement, Statement};

/// Runs one statement that changes the schema. Answers its command tag.
pub async fn execute(mut context: SchemaContext<'_>, parsed: &ParsedStatement) -> SqlResult<String> {
    let ctx = &mut context;
    ctx.catalog.refresh().await?;
    let statement = match &parsed.statement {
        Statement::Sql(statement) => statement,
        Statement::AlterSequence(alter) => return Ok(alter_sequence::execute(ctx, alter).await?.to_owned()),
        Statement::SplitAt(split) => {
            return Ok(split::execute(ctx, split, &parsed.source).await?.to_owned());
        }
        _ => return Err(SqlError::unsupported("this statement")),
    };
    let tag = match &**statement {
        Sql::CreateTable(create) if create.query.is_some() => {
            return create_table_as::execute(ctx, create, parsed).await;
        }
        Sql::CreateTable(create) => create_table::execute(ctx, create).await?,
        Sql::AlterTable(alter) => alter_table::execute(ctx, alter).await?,
        Sql::CreateIndex(create) => create_index::execute(ctx, create).await?,
        Sql::AlterIndex { name, operation } => rename::alter_index(ctx, name, operation).await?,
        Sql::Drop { .. } => drop::execute(ctx, statement).await?,
        Sql::Truncate(truncate) => truncate::execute(ctx, truncate).await?,
        Sql::CreateView(create) => view::execute(ctx, create, parsed).await?,
        Sql::CreateSequence { .. } => sequence::execute(ctx, statement).await?,
        Sql::CreateSchema { schema_name, if_not_exists, .. } => {
            database::create_schema(ctx, schema_name, *if_not_exists).await?
        }
        Sql::CreateDatabase { db_name, if_not_exists, .. } => {
            database::create_database(ctx, db_name, *if_not_exists).await?
        }
        Sql::AlterSchema(alter) => database::alter_schema(ctx, alter).await?,
        Sql::Comment { object_type, object_name, comment, .. } => {
            comment::execute(ctx, *object_type, object_name, comment.as_deref()).await?
        }
        Sql::CreateRole(create) => role::create(ctx, create).await?,
        Sql::Grant(_) => return role::grant("GRANT"),
        Sql::Revoke(_) => return role::grant("REVOKE"),
        Sql::CreateExtension(create) => {
            return role::create_extension(&create.name.value, create.if_not_exists);
        }
        other => return Err(SqlError::unsupported(first_words(&other.to_string()))),
    };
    Ok(tag.to_owned())
}

/// The keywords that a statement begins with: they name the feature.
fn first_words(text: &str) -> String {
    let keyword = |w: &&str| w.bytes().all(|b| b.is_ascii_uppercase());
    text.split_ascii_whitespace().take_while(keyword).take(3).collect::<Vec<_>>().join(" ")
}

/// Sessions run on any thread: the future must be able to move.
#[allow(dead_code)]
fn can_be_spawned(context: SchemaContext<'_>, parsed: &ParsedStatement) -> impl Send {
    execute(context, parsed)
}
