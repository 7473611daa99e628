//! information_schema: the standard's view of the catalog.

use super::relations::{has_default, schema_of, tables as relations, type_words};
use super::{Rows, Source, all, text};
use crate::catalog::{FkAction, Identity, TableDescriptor, TableKind};
use crate::error::SqlResult;
use crate::registry::{element_of, type_info};
use crate::types::typmod::numeric_parts;
use crate::types::{Oid, SqlType};

fn database<'a>(source: &'a Source<'_>) -> &'a str {
    source.catalog.databases.get(&source.database).map_or("", |d| &d.name)
}

fn schema<'a>(source: &'a Source<'_>, table: &TableDescriptor) -> &'a str {
    source.catalog.schema_name(table.schema)
}

pub fn schemata(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for schema in source.catalog.schemas_of(source.database) {
        rows.set("catalog_name", database(source))
            .set("schema_name", &schema.name)
            .set("schema_owner", "postgres")
            .push();
    }
    Ok(())
}

pub fn tables(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source).filter(|t| t.sequence().is_none()) {
        rows.set("table_catalog", database(source))
            .set("table_schema", schema(source, table))
            .set("table_name", &table.name)
            .set("table_type", if table.is_table() { "BASE TABLE" } else { "VIEW" })
            .set("is_insertable_into", table.is_table())
            .set("is_typed", false)
            .push();
    }
    for table in all() {
        rows.set("table_catalog", database(source))
            .set("table_schema", table.schema)
            .set("table_name", table.name)
            .set("table_type", if table.kind == 'r' { "BASE TABLE" } else { "VIEW" })
            .set_all(&["is_insertable_into", "is_typed"], false)
            .push();
    }
    Ok(())
}

pub fn columns(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source).filter(|t| t.sequence().is_none()) {
        for (n, column) in table.visible_columns().enumerate() {
            let identity = column.identity;
            rows.set("table_schema", schema(source, table))
                .set("table_name", &table.name)
                .set("column_default", has_default(column).then(|| text::default(column)))
                .set("is_nullable", !column.not_null)
                .set("is_identity", identity.is_some())
                .set("is_updatable", table.is_table());
            if let Some(identity) = identity {
                let kind = if identity == Identity::Always { "ALWAYS" } else { "BY DEFAULT" };
                rows.set("identity_generation", kind);
            }
            common_column(source, rows, &column.name, n, column.ty);
            rows.push();
        }
    }
    for table in all() {
        for (n, column) in table.columns.iter().enumerate() {
            rows.set("table_schema", source.catalog.schema_name(schema_of(table)))
                .set("table_name", table.name)
                .set("is_nullable", true)
                .set_all(&["is_identity", "is_updatable"], false);
            common_column(source, rows, &column.name, n, column.ty);
            rows.push();
        }
    }
    Ok(())
}

fn common_column(source: &Source<'_>, rows: &mut Rows, name: &str, n: usize, ty: SqlType) {
    rows.set_all(&["table_catalog", "udt_catalog"], database(source))
        .set("column_name", name)
        .set("ordinal_position", n as i32 + 1)
        .set("dtd_identifier", (n + 1).to_string())
        .set("data_type", type_words(ty))
        .set("udt_schema", "pg_catalog")
        .set("udt_name", type_info(ty.oid).map_or("", |t| t.name))
        .set_all(&["is_self_referencing", "identity_cycle"], false)
        .set("is_generated", "NEVER");
    if element_of(ty.oid).is_some() {
        return;
    }
    match ty.oid {
        Oid::VARCHAR | Oid::BPCHAR if ty.typmod > 0 => {
            rows.set("character_maximum_length", ty.typmod - 4)
                .set("character_octet_length", (i64::from(ty.typmod) - 4) * 4);
        }
        Oid::TEXT | Oid::VARCHAR => {
            rows.set("character_octet_length", 1 << 30);
        }
        Oid::INT2 | Oid::INT4 | Oid::INT8 => {
            let bits = match ty.oid {
                Oid::INT2 => 16,
                Oid::INT4 => 32,
                _ => 64,
            };
            rows.set("numeric_precision", bits).set("numeric_precision_radix", 2).set("numeric_scale", 0);
        }
        Oid::FLOAT4 | Oid::FLOAT8 => {
            let bits = if ty.oid == Oid::FLOAT4 { 24 } else { 53 };
            rows.set("numeric_precision", bits).set("numeric_precision_radix", 2);
        }
        Oid::NUMERIC => {
            rows.set("numeric_precision_radix", 10);
            if ty.typmod > 0 {
                let (precision, scale) = numeric_parts(ty.typmod);
                rows.set("numeric_precision", precision).set("numeric_scale", scale);
            }
        }
        Oid::DATE => {
            rows.set("datetime_precision", 0);
        }
        Oid::TIME | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::INTERVAL => {
            let precision = if (0..=6).contains(&ty.typmod) { ty.typmod } else { 6 };
            rows.set("datetime_precision", precision);
        }
        _ => {}
    }
}

pub fn views(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source) {
        let TableKind::View { query } = &table.kind else { continue };
        rows.set("table_catalog", database(source))
            .set("table_schema", schema(source, table))
            .set("table_name", &table.name)
            .set("view_definition", format!(" {query};"))
            .set("check_option", "NONE")
            .set_all(&["is_updatable", "is_insertable_into"], false)
            .set_all(&["is_trigger_updatable", "is_trigger_deletable", "is_trigger_insertable_into"], false)
            .push();
    }
    Ok(())
}

pub fn sequences(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source) {
        let Some(s) = table.sequence() else { continue };
        let bits = match s.ty {
            Oid::INT2 => 16,
            Oid::INT4 => 32,
            _ => 64,
        };
        rows.set("sequence_catalog", database(source))
            .set("sequence_schema", schema(source, table))
            .set("sequence_name", &table.name)
            .set("data_type", type_words(SqlType::new(s.ty)))
            .set("numeric_precision", bits)
            .set("numeric_precision_radix", 2)
            .set("numeric_scale", 0)
            .set("start_value", s.start.to_string())
            .set("minimum_value", s.min.to_string())
            .set("maximum_value", s.max.to_string())
            .set("increment", s.increment.to_string())
            .set("cycle_option", s.cycle)
            .push();
    }
    Ok(())
}

/// (name, kind) of a table's constraints.
fn constraints_of(table: &TableDescriptor) -> Vec<(&str, &'static str)> {
    let kind = |primary| if primary { "PRIMARY KEY" } else { "UNIQUE" };
    let keys =
        table.all_indexes().filter(|i| i.constraint).map(|i| (i.name.as_str(), kind(i.is_primary_key)));
    let checks = table.checks.iter().map(|c| (c.name.as_str(), "CHECK"));
    let foreign = table.foreign_keys.iter().map(|k| (k.name.as_str(), "FOREIGN KEY"));
    keys.chain(checks).chain(foreign).collect()
}

pub fn table_constraints(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source).filter(|t| t.is_table()) {
        for (name, kind) in constraints_of(table) {
            rows.set_all(&["constraint_catalog", "table_catalog"], database(source))
                .set_all(&["constraint_schema", "table_schema"], schema(source, table))
                .set("constraint_name", name)
                .set("table_name", &table.name)
                .set("constraint_type", kind)
                .set_all(&["is_deferrable", "initially_deferred"], false)
                .set("enforced", true)
                .push();
        }
    }
    Ok(())
}

pub fn key_column_usage(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source).filter(|t| t.is_table()) {
        let mut row = |name: &str, n: usize, column, referenced: Option<usize>| {
            let Some(column) = table.column(column) else { return };
            rows.set_all(&["constraint_catalog", "table_catalog"], database(source))
                .set_all(&["constraint_schema", "table_schema"], schema(source, table))
                .set("constraint_name", name)
                .set("table_name", &table.name)
                .set("column_name", &column.name)
                .set("ordinal_position", n as i32 + 1)
                .set("position_in_unique_constraint", referenced.map(|n| n as i32 + 1))
                .push();
        };
        for index in table.all_indexes().filter(|i| i.constraint) {
            for (n, part) in index.key.iter().enumerate() {
                row(&index.name, n, part.column, None);
            }
        }
        for key in &table.foreign_keys {
            for (n, column) in key.columns.iter().enumerate() {
                row(&key.name, n, *column, Some(n));
            }
        }
    }
    Ok(())
}

fn rule(action: FkAction) -> &'static str {
    match action {
        FkAction::NoAction => "NO ACTION",
        FkAction::Restrict => "RESTRICT",
        FkAction::Cascade => "CASCADE",
        FkAction::SetNull => "SET NULL",
        FkAction::SetDefault => "SET DEFAULT",
    }
}

pub fn referential_constraints(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source) {
        for key in &table.foreign_keys {
            let Some(target) = source.catalog.tables.get(&key.references) else { continue };
            let unique = target.all_indexes().find(|i| {
                i.constraint
                    && i.key.len() == key.referenced_columns.len()
                    && i.key.iter().all(|k| key.referenced_columns.contains(&k.column))
            });
            rows.set("constraint_catalog", database(source))
                .set("constraint_schema", schema(source, table))
                .set("constraint_name", &key.name);
            if let Some(unique) = unique {
                rows.set("unique_constraint_catalog", database(source))
                    .set("unique_constraint_schema", schema(source, target))
                    .set("unique_constraint_name", &unique.name);
            }
            rows.set("match_option", if key.match_full { "FULL" } else { "NONE" })
                .set("update_rule", rule(key.on_update))
                .set("delete_rule", rule(key.on_delete))
                .push();
        }
    }
    Ok(())
}

pub fn constraint_column_usage(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source).filter(|t| t.is_table()) {
        let mut row = |of: &TableDescriptor, name: &str, column| {
            let Some(column) = of.column(column) else { return };
            rows.set_all(&["table_catalog", "constraint_catalog"], database(source))
                .set("table_schema", schema(source, of))
                .set("table_name", &of.name)
                .set("column_name", &column.name)
                .set("constraint_schema", schema(source, table))
                .set("constraint_name", name)
                .push();
        };
        for index in table.all_indexes().filter(|i| i.constraint) {
            index.key.iter().for_each(|part| row(table, &index.name, part.column));
        }
        for key in &table.foreign_keys {
            let Some(target) = source.catalog.tables.get(&key.references) else { continue };
            key.referenced_columns.iter().for_each(|column| row(target, &key.name, *column));
        }
    }
    Ok(())
}

pub fn check_constraints(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in relations(source) {
        for check in &table.checks {
            rows.set("constraint_catalog", database(source))
                .set("constraint_schema", schema(source, table))
                .set("constraint_name", &check.name)
                .set("check_clause", format!("({})", check.expr))
                .push();
        }
    }
    Ok(())
}
