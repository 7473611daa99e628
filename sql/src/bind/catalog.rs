//! Finding relations by name on the search path.

use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::Location;

use super::name::{dotted, fold, object_name_parts};
use super::scope::public_columns;
use super::{BindContext, Binder};
use crate::catalog::{TableDescriptor, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::{Field, Schema};

/// What a relation's name leads to.
pub enum NamedRelation {
    /// Table, view or sequence.
    Stored(Arc<TableDescriptor>),
    /// Computed: its `schema.name` and its columns.
    Virtual(String, Schema),
}

impl BindContext<'_> {
    /// Follows a name of one or two parts.
    pub fn find_relation(&self, schema: Option<&str>, name: &str) -> Option<NamedRelation> {
        let computed = |schema: &str| {
            (self.virtual_tables)(schema, name)
                .map(|fields| NamedRelation::Virtual(format!("{schema}.{name}"), fields))
        };
        match schema {
            Some(schema @ ("pg_catalog" | "information_schema")) => computed(schema),
            Some(schema) => {
                let id = self.catalog.schema_named(self.database, schema)?.id;
                self.catalog.relation(id, name).cloned().map(NamedRelation::Stored)
            }
            None => {
                // pg_catalog comes first on every path, and everything in it is called pg_….
                if name.starts_with("pg_")
                    && let Some(found) = computed("pg_catalog")
                {
                    return Some(found);
                }
                let found = self.search_path.iter().find_map(|s| self.catalog.relation(*s, name));
                found.cloned().map(NamedRelation::Stored)
            }
        }
    }
}

impl Binder<'_> {
    /// Follows the name of a relation in a statement.
    pub fn resolve_relation(&self, name: &ObjectName) -> SqlResult<NamedRelation> {
        let parts = object_name_parts(name)?;
        let at = parts.first().map_or(Location::empty(), |p| p.span.start);
        let (schema, relation) = self.split_relation_name(&parts)?;
        let schema = schema.map(fold);
        let found = self.context.find_relation(schema.as_deref(), &fold(relation));
        found.ok_or_else(|| {
            self.error_at(
                state::UNDEFINED_TABLE,
                format!("relation \"{}\" does not exist", dotted(&parts)),
                at,
            )
        })
    }

    /// (schema, name); a third part in front must be this database.
    fn split_relation_name<'n>(&self, parts: &[&'n Ident]) -> SqlResult<(Option<&'n Ident>, &'n Ident)> {
        match parts {
            [name] => Ok((None, name)),
            [schema, name] => Ok((Some(schema), name)),
            [database, schema, name] => {
                let here = self.context.catalog.databases.get(&self.context.database);
                if here.is_some_and(|d| d.name == fold(database)) {
                    return Ok((Some(schema), name));
                }
                Err(self.error_at(
                    state::FEATURE_NOT_SUPPORTED,
                    format!("cross-database references are not implemented: \"{}\"", dotted(parts)),
                    database.span.start,
                ))
            }
            _ => Err(SqlError::new(
                state::SYNTAX_ERROR,
                format!("improper qualified name (too many dotted names): {}", dotted(parts)),
            )),
        }
    }

    /// A table to write to; views, sequences and computed relations are refused.
    pub fn resolve_target(&self, name: &ObjectName, verb: &str) -> SqlResult<Arc<TableDescriptor>> {
        match self.resolve_relation(name)? {
            NamedRelation::Stored(table) => match table.kind {
                TableKind::Table => Ok(table),
                TableKind::View { .. } => Err(SqlError::new(
                    state::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("cannot {verb} view \"{}\"", table.name),
                )
                .with_detail("Views are not automatically updatable here.")),
                TableKind::Sequence(_) => Err(SqlError::new(
                    state::WRONG_OBJECT_TYPE,
                    format!("cannot change sequence \"{}\"", table.name),
                )),
            },
            NamedRelation::Virtual(name, _) => {
                let bare = name.rsplit('.').next().unwrap_or(&name);
                Err(SqlError::new(
                    state::INSUFFICIENT_PRIVILEGE,
                    format!("permission denied: \"{bare}\" is a system catalog"),
                ))
            }
        }
    }
}

/// The fields that a scan of all public columns yields.
pub fn table_fields(table: &TableDescriptor) -> Vec<Field> {
    public_columns(table)
        .map(|c| Field { name: c.name.clone(), ty: c.ty, origin: Some((table.id.0, c.id.0 as i16)) })
        .collect()
}
