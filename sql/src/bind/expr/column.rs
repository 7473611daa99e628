//! Column references, and the errors about names that lead nowhere.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Location;

use crate::bind::name::dotted;
use crate::bind::scope::{Found, Scope, outward, whole_row};
use crate::bind::{Binder, fold};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::types::{Datum, Oid, SqlType};

/// Columns that every stored row has in PostgreSQL.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax"];

impl Binder<'_> {
    pub fn bind_column(&mut self, ident: &Ident, scope: &Scope<'_>) -> SqlResult<Expr> {
        let name = fold(ident);
        let at = ident.span.start;
        match scope.find_column(&name) {
            Found::Column { depth, expr } => {
                if depth == 0 {
                    self.note_reference(&expr, at);
                }
                Ok(expr)
            }
            Found::Ambiguous => Err(self.ambiguous(&name, at)),
            Found::No | Found::NoColumn => {
                if let Some(special) = self.unnamed_value(&name, ident.quote_style.is_some(), at)? {
                    return Ok(special);
                }
                if let Some((depth, relation)) = scope.find_relation(None, &name) {
                    // A function's row of one column is that column.
                    if relation.is_function && relation.fields.len() == 1 {
                        let column = Expr::Column { index: relation.first, ty: relation.fields[0].ty };
                        return Ok(outward(column, depth));
                    }
                    return Ok(outward(whole_row(relation), depth));
                }
                if name == "tableoid"
                    && let [relation] = scope.relations.as_slice()
                    && let Some(table) = &relation.table
                {
                    return Ok(table_oid(table.id.0));
                }
                self.refuse_system_column(&name, scope, at)?;
                Err(self.undefined_column(&name, None, scope, at))
            }
        }
    }

    pub fn bind_compound(&mut self, parts: &[Ident], scope: &Scope<'_>) -> SqlResult<Expr> {
        let (schema, qualifier, column) = match parts {
            [qualifier, column] => (None, qualifier, column),
            [schema, qualifier, column] => (Some(fold(schema)), qualifier, column),
            [database, schema, qualifier, column] => {
                let here = self.context.catalog.databases.get(&self.context.database);
                if here.is_none_or(|d| d.name != fold(database)) {
                    let all: Vec<&Ident> = parts.iter().collect();
                    return Err(self.error_at(
                        state::FEATURE_NOT_SUPPORTED,
                        format!("cross-database references are not implemented: {}", dotted(&all)),
                        database.span.start,
                    ));
                }
                (Some(fold(schema)), qualifier, column)
            }
            _ => return Err(SqlError::unsupported("a column name of so many parts")),
        };
        let at = parts[0].span.start;
        let (table, name) = (fold(qualifier), fold(column));
        match scope.find_qualified(schema.as_deref(), &table, &name) {
            Found::Column { depth, expr } => {
                if depth == 0 {
                    self.note_reference(&expr, at);
                }
                Ok(expr)
            }
            Found::Ambiguous => Err(self.ambiguous(&name, at)),
            Found::No => Err(self.missing_from_entry(scope, &table, at)),
            Found::NoColumn => {
                if name == "tableoid"
                    && let Some((_, relation)) = scope.find_relation(schema.as_deref(), &table)
                    && let Some(table) = &relation.table
                {
                    return Ok(table_oid(table.id.0));
                }
                self.refuse_system_column(&name, scope, at)?;
                Err(self.undefined_column(&name, Some(&table), scope, at))
            }
        }
    }

    /// Words that are values without parentheses; sqlparser gives some of them as plain names.
    fn unnamed_value(&mut self, name: &str, quoted: bool, at: Location) -> SqlResult<Option<Expr>> {
        if quoted {
            return Ok(None);
        }
        match name {
            "current_role" | "current_schema" | "current_catalog" | "current_user" | "session_user" => {
                self.niladic(name, None, at).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn refuse_system_column(&self, name: &str, scope: &Scope<'_>, at: Location) -> SqlResult<()> {
        let stored = scope.relations.iter().any(|r| r.table.is_some());
        if stored && SYSTEM_COLUMNS.contains(&name) {
            return Err(self.locate(SqlError::unsupported(format!("system column \"{name}\"")), at));
        }
        Ok(())
    }

    fn ambiguous(&self, name: &str, at: Location) -> SqlError {
        self.error_at(state::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"), at)
    }

    /// The table is not there, or not to be seen from here.
    pub fn missing_from_entry(&self, scope: &Scope<'_>, table: &str, at: Location) -> SqlError {
        // Under an alias the table's own name is hidden.
        let mut around = Some(scope);
        while let Some(s) = around {
            let hidden = s.relations.iter().find(|r| r.table.as_ref().is_some_and(|t| t.name == table));
            if let Some(relation) = hidden {
                return self
                    .error_at(
                        state::UNDEFINED_TABLE,
                        format!("invalid reference to FROM-clause entry for table \"{table}\""),
                        at,
                    )
                    .with_hint(format!(
                        "Perhaps you meant to reference the table alias \"{}\".",
                        relation.alias
                    ));
            }
            around = s.parent;
        }
        self.error_at(state::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""), at)
    }

    fn undefined_column(&self, name: &str, table: Option<&str>, scope: &Scope<'_>, at: Location) -> SqlError {
        let shown = match table {
            Some(table) => format!("{table}.{name}"),
            None => format!("\"{name}\""),
        };
        let error = self.error_at(state::UNDEFINED_COLUMN, format!("column {shown} does not exist"), at);
        match closest(name, table, scope) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn table_oid(oid: u32) -> Expr {
    Expr::Const(Datum::Oid(oid), SqlType::new(Oid::OID))
}

/// "Perhaps you meant …", for the nearest name at most half of the letters away (as in PostgreSQL at most three).
fn closest(name: &str, table: Option<&str>, scope: &Scope<'_>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    let mut tied = false;
    for (alias, column) in scope.all_names() {
        let mut distance = edit_distance(name, column, 3);
        if let Some(table) = table {
            distance += edit_distance(table, alias, 3);
        }
        if distance > 3 || distance > name.chars().count() / 2 {
            continue;
        }
        match &best {
            Some((d, _)) if *d < distance => {}
            Some((d, _)) if *d == distance => tied = true,
            _ => {
                tied = false;
                best = Some((
                    distance,
                    format!("Perhaps you meant to reference the column \"{alias}.{column}\"."),
                ));
            }
        }
    }
    best.filter(|_| !tied).map(|(_, hint)| hint)
}

/// Levenshtein's distance, or more than `max` if it is more.
fn edit_distance(a: &str, b: &str, max: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > max {
        return max + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
