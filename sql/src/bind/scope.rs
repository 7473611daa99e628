//! Which names are visible where, and to which column of which row they lead.
//!
//! A scope is the row of one FROM clause: its relations lie side by side in it. Scopes are linked outwards; every link
//! is one level of `Expr::Outer`, except that a [`Scope::skip`] stands for levels whose names may not be seen from
//! here (the left sides of joins, from something that is not LATERAL).

use std::cell::Cell;
use std::sync::Arc;

use crate::catalog::{ElementState, TableDescriptor};
use crate::expr::Expr;
use crate::plan::{Field, Schema};
use crate::types::{Oid, SqlType};

/// A relation of a FROM clause.
#[derive(Clone)]
pub struct Relation {
    /// What it is called in this scope.
    pub alias: String,
    /// Its schema's name, as long as no alias hides it.
    pub schema_name: Option<String>,
    /// Position of its first column in the row.
    pub first: usize,
    pub fields: Schema,
    /// The stored table behind it, with `fields` its public columns.
    pub table: Option<Arc<TableDescriptor>>,
    /// Hidden from `*` and from names: the row id of a table without a primary key.
    pub hidden: Option<usize>,
    /// For the sole column of a function the alias is its name, too: `generate_series(1, 3) g` has `g.g`.
    pub is_function: bool,
}

/// A column that JOIN USING made of two, or that stands beside such.
#[derive(Clone)]
pub struct Visible {
    pub field: Field,
    /// Over the scope's row.
    pub expr: Expr,
}

pub struct Scope<'p> {
    pub relations: Vec<Relation>,
    /// What bare names and `*` see, if that is not simply all columns of `relations` in order.
    pub visible: Option<Vec<Visible>>,
    pub parent: Option<&'p Scope<'p>>,
    /// Levels that this scope stands for without showing any names; 0 for an ordinary scope.
    skipped: usize,
    /// Something inside refers to this scope's row.
    pub used: Cell<bool>,
}

/// Where a name leads.
pub enum Found {
    /// Nowhere.
    No,
    Column {
        /// 0: the scope's own row.
        depth: usize,
        expr: Expr,
    },
    /// Two columns are called so.
    Ambiguous,
    /// The relation is there, its column is not.
    NoColumn,
}

impl Relation {
    pub fn new(alias: impl Into<String>, fields: Schema) -> Self {
        Relation {
            alias: alias.into(),
            schema_name: None,
            first: 0,
            fields,
            table: None,
            hidden: None,
            is_function: false,
        }
    }

    /// A stored table: all its public columns.
    pub fn of_table(alias: impl Into<String>, table: &Arc<TableDescriptor>, fields: Schema) -> Self {
        let hidden = public_columns(table).position(|c| c.hidden);
        Relation { table: Some(Arc::clone(table)), hidden, ..Relation::new(alias, fields) }
    }

    fn column(&self, i: usize) -> Expr {
        Expr::Column { index: self.first + i, ty: self.fields[i].ty }
    }

    fn position(&self, name: &str) -> Result<Option<usize>, ()> {
        let mut found = None;
        for (i, field) in self.fields.iter().enumerate() {
            if field.name == name && self.hidden != Some(i) {
                if found.is_some() {
                    return Err(());
                }
                found = Some(i);
            }
        }
        Ok(found)
    }

    /// All columns that `*` shows.
    pub fn shown(&self) -> impl Iterator<Item = (Expr, &Field)> {
        let hidden = self.hidden;
        self.fields
            .iter()
            .enumerate()
            .filter(move |(i, _)| hidden != Some(*i))
            .map(|(i, field)| (self.column(i), field))
    }
}

/// The columns that statements see, in descriptor order: what scans yield and rows are made of.
pub fn public_columns(table: &TableDescriptor) -> impl Iterator<Item = &crate::catalog::ColumnDescriptor> {
    table.columns.iter().filter(|c| c.state == ElementState::Public)
}

impl<'p> Scope<'p> {
    pub fn new(parent: Option<&'p Scope<'p>>) -> Self {
        Scope { relations: Vec::new(), visible: None, parent, skipped: 0, used: Cell::new(false) }
    }

    /// `levels` levels without names between here and `parent`.
    pub fn skip(levels: usize, parent: Option<&'p Scope<'p>>) -> Self {
        Scope { skipped: levels, ..Scope::new(parent) }
    }

    pub fn width(&self) -> usize {
        self.relations.iter().map(|r| r.first + r.fields.len()).max().unwrap_or(0)
    }

    /// The columns that a bare `*` shows, in order.
    pub fn star(&self) -> Vec<(Expr, Field)> {
        match &self.visible {
            Some(visible) => visible.iter().map(|v| (v.expr.clone(), v.field.clone())).collect(),
            None => self.relations.iter().flat_map(|r| r.shown().map(|(e, f)| (e, f.clone()))).collect(),
        }
    }

    /// Follows a bare column name through this scope and those around it.
    pub fn find_column(&self, name: &str) -> Found {
        self.search(|scope| scope.own_column(name))
    }

    /// Follows `qualifier.name`.
    pub fn find_qualified(&self, schema: Option<&str>, qualifier: &str, name: &str) -> Found {
        self.search(|scope| {
            let Some(relation) = scope.own_relation(schema, qualifier) else { return Found::No };
            match relation.position(name) {
                Ok(Some(i)) => Found::Column { depth: 0, expr: relation.column(i) },
                Ok(None) => Found::NoColumn,
                Err(()) => Found::Ambiguous,
            }
        })
    }

    /// The relation of that name, and how many levels out it is.
    pub fn find_relation(&self, schema: Option<&str>, name: &str) -> Option<(usize, &Relation)> {
        let mut depth = 0;
        let mut at = Some(self);
        while let Some(scope) = at {
            if let Some(relation) = scope.own_relation(schema, name) {
                scope.mark_used(depth);
                return Some((depth, relation));
            }
            depth += scope.levels();
            at = scope.parent;
        }
        None
    }

    fn levels(&self) -> usize {
        if self.skipped > 0 { self.skipped } else { 1 }
    }

    fn mark_used(&self, depth: usize) {
        if depth > 0 {
            self.used.set(true);
        }
    }

    fn search(&self, look: impl Fn(&Scope<'_>) -> Found) -> Found {
        let mut depth = 0;
        let mut at = Some(self);
        while let Some(scope) = at {
            match look(scope) {
                Found::No => {}
                Found::Column { expr, .. } => {
                    scope.mark_used(depth);
                    return Found::Column { depth, expr: outward(expr, depth) };
                }
                other => return other,
            }
            depth += scope.levels();
            at = scope.parent;
        }
        Found::No
    }

    pub fn own_relation(&self, schema: Option<&str>, name: &str) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|r| r.alias == name && (schema.is_none() || r.schema_name.as_deref() == schema))
    }

    fn own_column(&self, name: &str) -> Found {
        let mut found = None;
        if let Some(visible) = &self.visible {
            for v in visible.iter().filter(|v| v.field.name == name) {
                if found.is_some() {
                    return Found::Ambiguous;
                }
                found = Some(v.expr.clone());
            }
        } else {
            for relation in self.relations.iter() {
                match relation.position(name) {
                    Ok(None) => {}
                    Ok(Some(_)) if found.is_some() => return Found::Ambiguous,
                    Ok(Some(i)) => found = Some(relation.column(i)),
                    Err(()) => return Found::Ambiguous,
                }
            }
        }
        match found {
            Some(expr) => Found::Column { depth: 0, expr },
            None => Found::No,
        }
    }

    /// Every name of a column in sight, for hints.
    pub fn all_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.relations.iter().flat_map(|r| r.shown().map(|(_, f)| (r.alias.as_str(), f.name.as_str())))
    }

    /// As errors name the column at this position of the row: `alias.column`.
    pub fn describe(&self, index: usize) -> String {
        self.relations
            .iter()
            .find(|r| (r.first..r.first + r.fields.len()).contains(&index))
            .map_or_else(|| "?column?".into(), |r| format!("{}.{}", r.alias, r.fields[index - r.first].name))
    }
}

/// An expression over a scope's row, as seen from `depth` levels within.
pub fn outward(mut expr: Expr, depth: usize) -> Expr {
    if depth > 0 {
        crate::plan::walk::visit_expr(&mut expr, 0, &mut |e, _| {
            if let Expr::Column { index, ty } = *e {
                *e = Expr::Outer { depth, index, ty };
            }
        });
    }
    expr
}

/// An expression over a row, as seen from the right side of a lateral join whose left side is that row.
pub fn one_level_in(mut expr: Expr) -> Expr {
    crate::plan::walk::visit_expr(&mut expr, 0, &mut |e, level| match *e {
        Expr::Column { index, ty } if level == 0 => *e = Expr::Outer { depth: 1, index, ty },
        Expr::Outer { ref mut depth, .. } if *depth >= level => *depth += 1,
        _ => {}
    });
    expr
}

/// A field that is not a plain column of a table.
pub fn computed(name: impl Into<String>, ty: SqlType) -> Field {
    Field { name: name.into(), ty, origin: None }
}

/// A value of type `record` made of all columns of a relation.
pub fn whole_row(relation: &Relation) -> Expr {
    Expr::Row { fields: relation.shown().map(|(e, _)| e).collect(), ty: SqlType::new(Oid::RECORD) }
}
