//! How many rows: what is known or assumed about tables and conditions.
//!
//! Without statistics a table is taken to have a thousand rows, and a column a tenth as many distinct values as there are
//! rows (all of them if it is unique). The defaults for conditions are PostgreSQL's.

use super::conjuncts::{Comparison, Restriction, restriction};
use crate::catalog::{Catalog, ColumnId, ColumnStatistics, TableDescriptor, TableStatistics};
use crate::expr::Expr;
use crate::types::{Datum, Oid, SqlType};

pub const DEFAULT_ROWS: f64 = 1000.0;
const RANGE: f64 = 1.0 / 3.0;
/// A column between two bounds.
const INTERVAL: f64 = 0.005;
const MATCH: f64 = 0.005;
const OTHER: f64 = 0.33;
const NULLS: f64 = 0.005;
/// Rows of a function or VALUES-like source that cannot be counted.
pub const FUNCTION_ROWS: f64 = 100.0;

/// What is known about one stored table.
#[derive(Clone, Copy)]
pub struct TableFacts<'c> {
    table: &'c TableDescriptor,
    statistics: Option<&'c TableStatistics>,
}

impl<'c> TableFacts<'c> {
    pub fn of(catalog: &'c Catalog, table: &'c TableDescriptor) -> Self {
        TableFacts { table, statistics: catalog.statistics.get(&table.id).map(|s| &**s) }
    }

    pub fn rows(&self) -> f64 {
        self.statistics.map_or(DEFAULT_ROWS, |s| s.rows.max(1.0))
    }

    fn column(&self, id: ColumnId) -> Option<&ColumnStatistics> {
        self.statistics?.columns.get(&id)
    }

    pub fn distinct(&self, id: ColumnId) -> f64 {
        let unique = |index: &crate::catalog::IndexDescriptor| {
            index.unique && index.predicate.is_none() && matches!(index.key.as_slice(), [k] if k.column == id)
        };
        if unique(&self.table.primary) || self.table.indexes.iter().any(unique) {
            return self.rows();
        }
        if let Some(c) = self.column(id) {
            return c.distinct.clamp(1.0, self.rows());
        }
        let boolean = self.table.columns.iter().any(|c| c.id == id && c.ty.oid == Oid::BOOL);
        if boolean { 2.0 } else { (self.rows() / 10.0).clamp(1.0, 200.0f64.max(self.rows() / 10.0)) }
    }

    pub fn null_fraction(&self, id: ColumnId) -> f64 {
        self.column(id).map_or(NULLS, |c| c.null_fraction)
    }

    pub fn width(&self, id: ColumnId, ty: SqlType) -> f64 {
        self.column(id).map_or_else(|| type_width(ty), |c| c.width)
    }

    /// The share of rows for which all of the conjuncts over `columns` are true. A lower and an upper bound of the same
    /// column are one interval.
    pub fn combined<'e>(&self, conjuncts: impl IntoIterator<Item = &'e Expr>, columns: &[ColumnId]) -> f64 {
        let mut share = 1.0;
        let mut bounds: Vec<(ColumnId, bool)> = Vec::new();
        for conjunct in conjuncts {
            let bound = match restriction(conjunct) {
                Some((column, Restriction::Compare(Comparison::Less | Comparison::LessEqual, _))) => {
                    Some((columns[column], true))
                }
                Some((column, Restriction::Compare(Comparison::Greater | Comparison::GreaterEqual, _))) => {
                    Some((columns[column], false))
                }
                _ => None,
            };
            share *= match bound {
                Some((id, upper)) if bounds.contains(&(id, !upper)) && !bounds.contains(&(id, upper)) => {
                    INTERVAL / RANGE
                }
                _ => self.selectivity(conjunct, columns),
            };
            bounds.extend(bound);
        }
        share
    }

    /// The share of rows for which a conjunct over `columns` is true.
    pub fn selectivity(&self, conjunct: &Expr, columns: &[ColumnId]) -> f64 {
        match restriction(conjunct) {
            Some((column, said)) => {
                let id = columns[column];
                let equal = (1.0 / self.distinct(id)).min(1.0);
                match said {
                    Restriction::Compare(Comparison::Equal, _) => equal,
                    Restriction::Compare(Comparison::NotEqual, _) => 1.0 - equal,
                    Restriction::Compare(..) => RANGE,
                    Restriction::In(list) => (equal * list.len() as f64).min(1.0),
                    Restriction::InArray(_) => (equal * 10.0).min(1.0),
                    Restriction::IsNull => self.null_fraction(id),
                    Restriction::IsNotNull => 1.0 - self.null_fraction(id),
                }
            }
            None => match conjunct {
                Expr::And(parts) => self.combined(parts, columns),
                _ => shape_selectivity(conjunct, &mut |part| self.selectivity(part, columns)),
            },
        }
    }
}

/// By the shape of a condition alone.
pub fn shape_selectivity(e: &Expr, of: &mut dyn FnMut(&Expr) -> f64) -> f64 {
    match e {
        Expr::Const(Datum::Bool(true), _) => 1.0,
        Expr::Const(_, _) => 0.0,
        Expr::And(parts) => parts.iter().map(of).product(),
        Expr::Or(parts) => 1.0 - parts.iter().map(|p| 1.0 - of(p)).product::<f64>(),
        Expr::Not(arg) => 1.0 - of(arg),
        Expr::Column { .. } => 0.5,
        Expr::Call { function, .. } => match super::conjuncts::symbol(function) {
            Some("=") => MATCH,
            Some("<>") => 1.0 - MATCH,
            Some("<" | "<=" | ">" | ">=") => RANGE,
            Some("~~" | "~~*" | "~" | "~*") => 0.02,
            _ => OTHER,
        },
        Expr::IsNull { negated, .. } => {
            if *negated {
                1.0 - NULLS
            } else {
                NULLS
            }
        }
        _ => OTHER,
    }
}

/// The selectivity of a condition over rows of which nothing is known.
pub fn blind_selectivity(e: &Expr) -> f64 {
    shape_selectivity(e, &mut blind_selectivity)
}

pub fn type_width(ty: SqlType) -> f64 {
    match ty.oid {
        Oid::BOOL => 1.0,
        Oid::INT2 => 2.0,
        Oid::INT4 | Oid::FLOAT4 | Oid::DATE | Oid::OID => 4.0,
        Oid::INT8 | Oid::FLOAT8 | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::TIME => 8.0,
        Oid::UUID | Oid::INTERVAL => 16.0,
        _ => 32.0,
    }
}
