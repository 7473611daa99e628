//! COMMENT ON.

use super::SchemaContext;
use super::names::{Name, undefined_column, undefined_schema};
use crate::bind::{fold, object_name_parts};
use crate::catalog::TableKind;
use crate::catalog::store::Change;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{CommentObject, ObjectName, ObjectNamePart};
use crate::types::Oid;

/// The OIDs of the catalogs that comments refer to.
pub const PG_CLASS: Oid = Oid(1259);
pub const PG_NAMESPACE: Oid = Oid(2615);
pub const PG_DATABASE: Oid = Oid(1262);
pub const PG_AUTHID: Oid = Oid(1260);

pub async fn execute(
    ctx: &mut SchemaContext<'_>,
    kind: CommentObject,
    name: &ObjectName,
    text: Option<&str>,
) -> SqlResult<&'static str> {
    let at = match kind {
        CommentObject::Table | CommentObject::View | CommentObject::Sequence => {
            let name = Name::of(ctx, name)?;
            let table = name.find(ctx).ok_or_else(|| name.undefined_relation(ctx))?;
            let (fits, noun) = match kind {
                CommentObject::View => (matches!(table.kind, TableKind::View { .. }), "view"),
                CommentObject::Sequence => (table.sequence().is_some(), "sequence"),
                _ => (table.is_table(), "table"),
            };
            if !fits {
                return Err(SqlError::new(
                    state::WRONG_OBJECT_TYPE,
                    format!("\"{}\" is not a {noun}", table.name),
                ));
            }
            (PG_CLASS, Oid(table.id.0), 0)
        }
        CommentObject::Column => column(ctx, name)?,
        CommentObject::Index => {
            let name = Name::of(ctx, name)?;
            let (table, index) = name.find_index(ctx).ok_or_else(|| name.undefined_relation(ctx))?;
            let snapshot = ctx.snapshot();
            let oid = snapshot.tables.get(&table).and_then(|t| t.index(index)).map(|i| i.oid);
            (PG_CLASS, oid.unwrap_or_default(), 0)
        }
        CommentObject::Schema => {
            let name = last(name)?;
            let snapshot = ctx.snapshot();
            let schema = snapshot.schema_named(ctx.database, &name).ok_or_else(|| undefined_schema(&name))?;
            (PG_NAMESPACE, Oid(schema.id.0), 0)
        }
        CommentObject::Database => {
            let name = last(name)?;
            let snapshot = ctx.snapshot();
            let database = snapshot.database_named(&name).ok_or_else(|| {
                SqlError::new(state::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
            })?;
            (PG_DATABASE, Oid(database.id.0), 0)
        }
        CommentObject::Role | CommentObject::User => {
            let name = last(name)?;
            let snapshot = ctx.snapshot();
            let role = snapshot.role_named(&name).ok_or_else(|| {
                SqlError::new(state::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
            })?;
            (PG_AUTHID, role.oid, 0)
        }
        other => return Err(SqlError::unsupported(format!("COMMENT ON {other}"))),
    };
    let text = text.filter(|t| !t.is_empty());
    ctx.change(Change::Comment(at, text.map(Into::into)));
    Ok("COMMENT")
}

fn last(name: &ObjectName) -> SqlResult<String> {
    let parts = object_name_parts(name)?;
    Ok(parts.last().map(|p| fold(p).into_owned()).unwrap_or_default())
}

fn column(ctx: &SchemaContext<'_>, name: &ObjectName) -> SqlResult<(Oid, Oid, i32)> {
    let parts = object_name_parts(name)?;
    let [qualifier @ .., column] = &parts[..] else {
        return Err(SqlError::new(state::SYNTAX_ERROR, "column name must be qualified"));
    };
    if qualifier.is_empty() {
        return Err(SqlError::new(state::SYNTAX_ERROR, "column name must be qualified"));
    }
    let table = ObjectName(qualifier.iter().map(|i| ObjectNamePart::Identifier((*i).clone())).collect());
    let table = Name::of(ctx, &table)?;
    let table = table.find(ctx).ok_or_else(|| table.undefined_relation(ctx))?;
    let column = fold(column);
    let found = table.column_named(&column).ok_or_else(|| undefined_column(&table.name, &column))?;
    Ok((PG_CLASS, Oid(table.id.0), found.id.0 as i32))
}
