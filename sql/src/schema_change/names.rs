//! Names in statements: where an object is, where a new one goes, and the names that PostgreSQL gives to what has none.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::SchemaContext;
use crate::bind::{fold, object_name_parts};
use crate::catalog::{
    CATALOG_SCHEMA, Catalog, INFORMATION_SCHEMA, IndexId, SchemaId, TableDescriptor, TableId,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{Ident, ObjectName};

/// PostgreSQL cuts names to this many bytes.
const NAME_BYTES_MAX: usize = 63;

/// A name in a statement: folded, the schema if it was said.
#[derive(Clone, Debug)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

impl Name {
    pub fn of(ctx: &SchemaContext<'_>, name: &ObjectName) -> SqlResult<Name> {
        let parts = object_name_parts(name)?;
        let fold = |ident: &Ident| fold(ident).into_owned();
        match parts[..] {
            [name] => Ok(Name { schema: None, name: fold(name) }),
            [schema, name] => Ok(Name { schema: Some(fold(schema)), name: fold(name) }),
            [database, schema, name] => {
                let here = ctx.snapshot().databases.get(&ctx.database).map(|d| d.name.clone());
                if here.is_some_and(|here| here == fold(database)) {
                    return Ok(Name { schema: Some(fold(schema)), name: fold(name) });
                }
                Err(SqlError::new(
                    state::FEATURE_NOT_SUPPORTED,
                    "cross-database references are not implemented",
                ))
            }
            _ => Err(SqlError::new(
                state::SYNTAX_ERROR,
                format!("improper qualified name (too many dotted names): {name}"),
            )),
        }
    }

    /// As messages show it.
    pub fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// The schemas in which it may be.
    fn candidates(&self, ctx: &SchemaContext<'_>, catalog: &Catalog) -> Vec<SchemaId> {
        match &self.schema {
            Some(schema) => catalog.schema_named(ctx.database, schema).map(|s| s.id).into_iter().collect(),
            None => ctx.search_path.to_vec(),
        }
    }

    /// Table, view or sequence.
    pub fn find(&self, ctx: &SchemaContext<'_>) -> Option<Arc<TableDescriptor>> {
        let catalog = ctx.snapshot();
        self.candidates(ctx, &catalog).into_iter().find_map(|s| catalog.relation(s, &self.name).cloned())
    }

    pub fn find_index(&self, ctx: &SchemaContext<'_>) -> Option<(TableId, IndexId)> {
        let catalog = ctx.snapshot();
        self.candidates(ctx, &catalog)
            .into_iter()
            .find_map(|s| catalog.index_named(s, &self.name).map(|(t, i)| (t.id, i.id)))
    }

    /// A table; not a view or sequence.
    pub fn table(&self, ctx: &SchemaContext<'_>) -> SqlResult<Arc<TableDescriptor>> {
        match self.find(ctx) {
            Some(table) if table.is_table() => Ok(table),
            Some(_) => {
                Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", self.name)))
            }
            None => Err(self.undefined_relation(ctx)),
        }
    }

    pub fn undefined_relation(&self, ctx: &SchemaContext<'_>) -> SqlError {
        if let Some(schema) = &self.schema
            && ctx.snapshot().schema_named(ctx.database, schema).is_none()
        {
            return undefined_schema(schema);
        }
        SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", self.shown()))
    }

    /// Where a new object of this name goes.
    pub fn creation_schema(&self, ctx: &SchemaContext<'_>) -> SqlResult<SchemaId> {
        let catalog = ctx.snapshot();
        let id = match &self.schema {
            Some(schema) => catalog
                .schema_named(ctx.database, schema)
                .map(|s| s.id)
                .ok_or_else(|| undefined_schema(schema))?,
            None => *ctx.search_path.first().ok_or_else(|| {
                SqlError::new(state::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
            })?,
        };
        if id == CATALOG_SCHEMA || id == INFORMATION_SCHEMA {
            return Err(SqlError::new(
                state::INSUFFICIENT_PRIVILEGE,
                format!("permission denied to create \"{}.{}\"", catalog.schema_name(id), self.name),
            )
            .with_detail("System catalog modifications are currently disallowed."));
        }
        Ok(id)
    }
}

pub fn undefined_schema(name: &str) -> SqlError {
    SqlError::new(state::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
}

pub fn undefined_column(table: &str, column: &str) -> SqlError {
    SqlError::new(
        state::UNDEFINED_COLUMN,
        format!("column \"{column}\" of relation \"{table}\" does not exist"),
    )
}

/// An identifier as SQL text, quoted if it has to be.
pub fn quote(name: &str) -> String {
    crate::catalog::virtual_tables::quote_ident(name)
}

/// `schema.name` as SQL text.
pub fn quote_qualified(catalog: &Catalog, schema: SchemaId, name: &str) -> String {
    format!("{}.{}", quote(catalog.schema_name(schema)), quote(name))
}

/// PostgreSQL's makeObjectName: `<table>_<columns>_<label>`, the longer parts cut so that it fits.
fn make_name(first: &str, second: &str, label: &str) -> String {
    let overhead = 1 + label.len() + usize::from(!second.is_empty());
    let available = NAME_BYTES_MAX - overhead;
    let (mut a, mut b) = (first.len(), second.len());
    while a + b > available {
        if a > b {
            a -= 1;
        } else {
            b -= 1;
        }
    }
    let cut = |s: &str, mut n: usize| {
        while !s.is_char_boundary(n) {
            n -= 1;
        }
        s[..n].to_owned()
    };
    let first = cut(first, a);
    match second {
        "" => format!("{first}_{label}"),
        _ => format!("{first}_{}_{label}", cut(second, b)),
    }
}

/// PostgreSQL's ChooseRelationName and ChooseConstraintName: the first of `…label`, `…label1`, … that is free.
pub fn choose_name(first: &str, second: &str, label: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = make_name(first, second, label);
    let mut pass = 0;
    while taken(&name) {
        pass += 1;
        name = make_name(first, second, &format!("{label}{pass}"));
    }
    name
}

/// Names that the statement gives out, besides those that exist.
#[derive(Default)]
pub struct NewNames(pub BTreeSet<String>);

impl NewNames {
    /// A name for an index or sequence that has none.
    pub fn choose_relation(
        &mut self,
        catalog: &Catalog,
        schema: SchemaId,
        first: &str,
        second: &str,
        label: &str,
    ) -> String {
        let name = choose_name(first, second, label, |n| self.0.contains(n) || catalog.name_taken(schema, n));
        self.0.insert(name.clone());
        name
    }
}

/// Column names joined as in the names of constraints and indexes.
pub fn join_columns<'n>(columns: impl IntoIterator<Item = &'n str>) -> String {
    columns.into_iter().collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_names_are_postgresqls() {
        assert_eq!(choose_name("t", "", "pkey", |_| false), "t_pkey");
        assert_eq!(choose_name("t", "a_b", "key", |n| n == "t_a_b_key"), "t_a_b_key1");
        let long = "x".repeat(60);
        let name = choose_name(&long, "column", "idx", |_| false);
        assert_eq!(name.len(), 63);
        assert_eq!(name, format!("{}_column_idx", "x".repeat(52)));
    }
}
