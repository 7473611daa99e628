//! Choosing how to read a stored table: which index, which part of it, in which direction.
//!
//! For every index the conjuncts are matched with its columns from the left: equalities (also IN, IS NULL) as far as they
//! go, then one range. What the bounds express exactly is not looked at again; the rest is the filter. The cheapest
//! candidate is taken, counting a sort that it would save and a limit that lets it stop early.

use std::sync::Arc;

use super::build::{Builder, Ordering, Want};
use super::conjuncts::{self, Comparison, Restriction, restriction};
use super::cost;
use super::statistics::TableFacts;
use crate::catalog::{ColumnId, ElementState, IndexDescriptor, TableDescriptor};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::TableScan;
use crate::plan::physical::{Access, AccessCodec, Bounds, Estimate, KeyPart, KeyRange, Node, NodeKind};
use crate::row::decode::{PrimaryKeyFinder, covers};
use crate::row::{IndexEncoder, KeyKind, RowDecoder};
use crate::types::Oid;

/// One way to read the table.
pub struct Candidate<'t> {
    pub index: &'t IndexDescriptor,
    pub primary: bool,
    pub bounds: Bounds,
    /// Which of the conjuncts the bounds express.
    pub used: Vec<bool>,
    pub index_only: bool,
    pub reverse: bool,
    /// The rows come in the wanted order.
    pub ordered: bool,
    /// Rows within the bounds.
    pub bounded_rows: f64,
    /// At most one row for each set of bound values.
    pub unique: bool,
}

/// Whether comparisons between a column and a value of these types can be bounds of an index on the column.
pub fn comparable(column: Oid, value: Oid) -> bool {
    let integer = |t: Oid| matches!(t, Oid::INT2 | Oid::INT4 | Oid::INT8);
    let text = |t: Oid| matches!(t, Oid::TEXT | Oid::VARCHAR | Oid::NAME);
    KeyKind::of(column).is_some()
        && column != Oid::BPCHAR
        && (column == value || integer(column) && integer(value) || text(column) && text(value))
}

impl Builder<'_> {
    /// The node that reads the table's rows for which all of `conjuncts` (over the scan's columns) hold.
    pub fn access(
        &mut self,
        scan: &TableScan,
        conjuncts: Vec<Expr>,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        let table = scan.table.clone();
        let facts = TableFacts::of(self.catalog, &table);
        let selectivity = facts.combined(&conjuncts, &scan.columns);
        let rows = (facts.rows() * selectivity).max(1.0);
        let mut best: Option<(f64, Candidate<'_>)> = None;
        for (primary, index) in readable(&table) {
            if !self.predicate_holds(&table, index, scan, &conjuncts)? {
                continue;
            }
            let candidate = candidate(&table, index, primary, scan, &conjuncts, want, facts);
            let cost = self.access_cost(&candidate, facts, rows, conjuncts.len(), want);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, candidate));
            }
        }
        let (_, chosen) = best.expect("the primary index is always a candidate");
        let ordered = chosen.ordered;
        let (access, rows, total) = self.finish_access(scan, chosen, conjuncts, facts, rows, want)?;
        let width = scan.schema.iter().zip(&scan.columns).map(|(f, c)| facts.width(*c, f.ty)).sum();
        let estimate = Estimate { rows, startup: cost::SEEK, total, width };
        let node = self.node(NodeKind::Scan(Arc::new(access)), scan.schema.clone(), estimate);
        Ok((node, if ordered { Ordering::AsWanted } else { Ordering::Unknown }))
    }

    /// The access that reads the table by values of another row: for lookup joins. `keys`: for some of the scan's
    /// columns, an expression over that row. `None` if no index helps.
    pub fn lookup_access(
        &mut self,
        scan: &TableScan,
        keys: &[(usize, Expr)],
        conjuncts: Vec<Expr>,
    ) -> SqlResult<Option<(Access, f64, Vec<usize>)>> {
        let table = scan.table.clone();
        let facts = TableFacts::of(self.catalog, &table);
        let mut best: Option<(f64, Candidate<'_>, Vec<usize>)> = None;
        for (primary, index) in readable(&table) {
            if !self.predicate_holds(&table, index, scan, &conjuncts)? {
                continue;
            }
            let mut prefix = Vec::new();
            let mut used_keys = Vec::new();
            let mut share = 1.0;
            let mut used = vec![false; conjuncts.len()];
            for column in &index.key {
                let key = keys.iter().position(|(c, e)| {
                    scan.columns[*c] == column.column && comparable(scan.schema[*c].ty.oid, e.ty().oid)
                });
                if let Some(key) = key {
                    prefix.push(KeyPart::Eq(keys[key].1.clone()));
                    used_keys.push(key);
                } else {
                    // A column may as well be pinned by a condition of its own.
                    let place = scan.columns.iter().position(|c| *c == column.column);
                    let pinned = place.and_then(|p| equality(p, scan.schema[p].ty.oid, &conjuncts, &used));
                    let Some((n, part @ KeyPart::Eq(_))) = pinned else { break };
                    prefix.push(part);
                    used[n] = true;
                }
                share /= facts.distinct(column.column);
            }
            if used_keys.is_empty() {
                continue;
            }
            let unique = index.unique && prefix.len() == index.key.len();
            let per_row = if unique { 1.0 } else { (facts.rows() * share).max(1.0) };
            let index_only = is_index_only(&table, index, primary, scan);
            let row_cost = if primary || index_only { cost::SCAN_ROW } else { cost::FETCH };
            let cost = per_row * row_cost + if unique && primary { 0.0 } else { cost::SEEK };
            if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
                let candidate = Candidate {
                    index,
                    primary,
                    bounds: Bounds { prefix, range: None, conjuncts: Vec::new() },
                    used,
                    index_only,
                    reverse: false,
                    ordered: false,
                    bounded_rows: per_row,
                    unique,
                };
                best = Some((cost, candidate, used_keys));
            }
        }
        let Some((cost, chosen, used)) = best else { return Ok(None) };
        let want = Want::default();
        let (access, _, _) = self.finish_access(scan, chosen, conjuncts, facts, 1.0, &want)?;
        Ok(Some((access, cost, used)))
    }

    fn access_cost(
        &self,
        candidate: &Candidate<'_>,
        facts: TableFacts<'_>,
        rows: f64,
        conjuncts: usize,
        want: &Want,
    ) -> f64 {
        let (startup, total) = access_cost(candidate, facts, conjuncts);
        let fraction = match want.rows {
            Some(wanted) if candidate.ordered || want.order.is_empty() => (wanted / rows).min(1.0),
            _ => 1.0,
        };
        let sort = if candidate.ordered || want.order.is_empty() || want.optional {
            0.0
        } else {
            cost::sort(rows, want.rows.unwrap_or(rows))
        };
        startup + (total - startup) * fraction + sort
    }

    /// The access for a candidate, with its estimated rows and cost.
    fn finish_access(
        &mut self,
        scan: &TableScan,
        chosen: Candidate<'_>,
        conjuncts: Vec<Expr>,
        facts: TableFacts<'_>,
        rows: f64,
        want: &Want,
    ) -> SqlResult<(Access, f64, f64)> {
        let (_, total) = access_cost(&chosen, facts, conjuncts.len());
        let table = &*scan.table;
        let rows = if chosen.unique && chosen.bounds_are_points() { 1.0 } else { rows };
        let mut bounds = chosen.bounds;
        let mut filter = Vec::new();
        for (conjunct, used) in conjuncts.into_iter().zip(&chosen.used) {
            if *used {
                // A row that is locked may have left the bounds of a secondary index.
                if scan.lock.is_some() && !chosen.primary {
                    filter.push(conjunct.clone());
                }
                bounds.conjuncts.push(conjunct);
            } else {
                filter.push(conjunct);
            }
        }
        let fetch = !chosen.primary && !chosen.index_only;
        let codec = AccessCodec {
            primary: IndexEncoder::primary(table)?,
            index: if chosen.primary {
                IndexEncoder::primary(table)?
            } else {
                IndexEncoder::secondary(table, chosen.index)?
            },
            finder: if fetch { Some(PrimaryKeyFinder::new(table, chosen.index)?) } else { None },
            decoder: if chosen.index_only && !chosen.primary {
                RowDecoder::secondary(table, chosen.index, &scan.columns)?
            } else {
                RowDecoder::primary(table, &scan.columns)?
            },
        };
        let takes_limit = chosen.ordered || want.order.is_empty();
        let access = Access {
            table: scan.table.clone(),
            alias: scan.alias.clone(),
            columns: scan.columns.clone(),
            index: chosen.index.id,
            index_only: chosen.index_only && !chosen.primary,
            bounds,
            reverse: chosen.reverse,
            filter: conjuncts::join(filter),
            lock: scan.lock,
            limit: want.limit.clone().filter(|_| takes_limit),
            offset: want.offset.clone().filter(|_| takes_limit),
            codec,
        };
        Ok((access, rows, total))
    }

    /// Whether a partial index has all rows that the conjuncts let through: its predicate is one of them.
    fn predicate_holds(
        &self,
        table: &Arc<TableDescriptor>,
        index: &IndexDescriptor,
        scan: &TableScan,
        conjuncts: &[Expr],
    ) -> SqlResult<bool> {
        let Some(text) = &index.predicate else { return Ok(true) };
        let mut predicate = self.exprs.table_expr(table, text)?;
        let public: Vec<ColumnId> =
            table.columns.iter().filter(|c| c.state == ElementState::Public).map(|c| c.id).collect();
        let mut known = true;
        predicate.map_columns(&mut |i| match scan.columns.iter().position(|c| *c == public[i]) {
            Some(position) => position,
            None => {
                known = false;
                0
            }
        });
        if !known {
            return Ok(false);
        }
        let mut parts = Vec::new();
        conjuncts::split(predicate, &mut parts);
        let given: Vec<String> = conjuncts.iter().map(|c| format!("{c:?}")).collect();
        Ok(parts.iter().all(|p| implied(p, conjuncts) || given.contains(&format!("{p:?}"))))
    }
}

impl Candidate<'_> {
    fn bounds_are_points(&self) -> bool {
        self.bounds.prefix.len() == self.index.key.len()
            && self.bounds.prefix.iter().all(|p| matches!(p, KeyPart::Eq(_)))
    }
}

/// `IS NOT NULL` follows from any comparison of the column.
fn implied(part: &Expr, conjuncts: &[Expr]) -> bool {
    let Some((column, Restriction::IsNotNull)) = restriction(part) else { return false };
    conjuncts.iter().any(|c| match restriction(c) {
        Some((_, Restriction::IsNull)) | None => false,
        Some((other, _)) => other == column,
    })
}

fn readable(table: &TableDescriptor) -> impl Iterator<Item = (bool, &IndexDescriptor)> {
    let secondary = table.indexes.iter().filter(|i| i.state == ElementState::Public);
    std::iter::once((true, &table.primary)).chain(secondary.map(|i| (false, i)))
}

/// Locking reads want the row itself.
fn is_index_only(table: &TableDescriptor, index: &IndexDescriptor, primary: bool, scan: &TableScan) -> bool {
    primary || scan.lock.is_none() && scan.columns.iter().all(|c| covers(table, index, *c))
}

fn access_cost(candidate: &Candidate<'_>, facts: TableFacts<'_>, conjuncts: usize) -> (f64, f64) {
    let rows = candidate.bounded_rows;
    let parts: f64 = candidate.bounds.prefix.iter().map(part_count).product();
    let row = if candidate.primary {
        cost::SCAN_ROW
    } else if candidate.index_only {
        cost::ENTRY
    } else {
        cost::ENTRY + cost::FETCH
    };
    let seek = cost::REQUEST + cost::SEEK * parts;
    let checks = rows * cost::CALL * (conjuncts - candidate.used.iter().filter(|u| **u).count()) as f64;
    // A whole table is read at least as dearly as its rows: small differences go to the narrower index.
    (seek, seek + rows.min(facts.rows()) * row + checks)
}

fn part_count(part: &KeyPart) -> f64 {
    match part {
        KeyPart::In(list) => list.len() as f64,
        KeyPart::InArray(_) => 10.0,
        _ => 1.0,
    }
}

fn candidate<'t>(
    table: &'t TableDescriptor,
    index: &'t IndexDescriptor,
    primary: bool,
    scan: &TableScan,
    conjuncts: &[Expr],
    want: &Want,
    facts: TableFacts<'_>,
) -> Candidate<'t> {
    let mut out = Candidate {
        index,
        primary,
        bounds: Bounds::default(),
        used: vec![false; conjuncts.len()],
        index_only: is_index_only(table, index, primary, scan),
        reverse: false,
        ordered: false,
        bounded_rows: facts.rows(),
        unique: index.unique,
    };
    for key in &index.key {
        let Some(position) = scan.columns.iter().position(|c| *c == key.column) else { break };
        let ty = scan.schema[position].ty.oid;
        if let Some((n, part)) = equality(position, ty, conjuncts, &out.used) {
            out.bounded_rows *= facts.selectivity(&conjuncts[n], &scan.columns);
            out.used[n] = true;
            out.bounds.prefix.push(part);
            continue;
        }
        let mut range = KeyRange::default();
        let mut found = Vec::new();
        for (n, conjunct) in conjuncts.iter().enumerate() {
            if out.used[n] || !bounds_range(position, ty, conjunct, &mut range) {
                continue;
            }
            found.push(conjunct);
            out.used[n] = true;
        }
        if !found.is_empty() {
            out.bounded_rows *= facts.combined(found, &scan.columns);
            out.bounds.range = Some(range);
        }
        break;
    }
    if out.unique && out.bounds.prefix.len() == index.key.len() {
        let keys: f64 = out.bounds.prefix.iter().map(part_count).product();
        out.bounded_rows = out.bounded_rows.min(keys);
    }
    out.bounded_rows = out.bounded_rows.max(1.0);
    if let Some(reverse) = direction(&out, scan, want) {
        out.ordered = true;
        out.reverse = reverse;
    }
    out
}

/// The first unused conjunct that fixes the column.
fn equality(position: usize, ty: Oid, conjuncts: &[Expr], used: &[bool]) -> Option<(usize, KeyPart)> {
    conjuncts.iter().enumerate().filter(|(n, _)| !used[*n]).find_map(|(n, conjunct)| {
        let (column, said) = restriction(conjunct)?;
        if column != position {
            return None;
        }
        let part = match said {
            Restriction::Compare(Comparison::Equal, value) if comparable(ty, value.ty().oid) => {
                KeyPart::Eq(value.clone())
            }
            Restriction::In(list) if list.iter().all(|e| comparable(ty, e.ty().oid)) => {
                KeyPart::In(list.to_vec())
            }
            Restriction::InArray(array)
                if crate::registry::element_of(array.ty().oid).is_some_and(|e| comparable(ty, e)) =>
            {
                KeyPart::InArray(array.clone())
            }
            Restriction::IsNull => KeyPart::IsNull,
            _ => return None,
        };
        Some((n, part))
    })
}

/// Adds the conjunct to the range if it bounds the column on a side that is still open.
fn bounds_range(position: usize, ty: Oid, conjunct: &Expr, range: &mut KeyRange) -> bool {
    let Some((column, said)) = restriction(conjunct) else { return false };
    if column != position {
        return false;
    }
    let (comparison, value) = match said {
        Restriction::IsNotNull => return true,
        Restriction::Compare(comparison, value) if comparable(ty, value.ty().oid) => (comparison, value),
        _ => return false,
    };
    let (side, inclusive) = match comparison {
        Comparison::Less => (&mut range.upper, false),
        Comparison::LessEqual => (&mut range.upper, true),
        Comparison::Greater => (&mut range.lower, false),
        Comparison::GreaterEqual => (&mut range.lower, true),
        _ => return false,
    };
    if side.is_some() {
        return false;
    }
    *side = Some((value.clone(), inclusive));
    true
}

/// Whether the candidate yields the wanted order, and if so whether it has to be read backwards.
fn direction(candidate: &Candidate<'_>, scan: &TableScan, want: &Want) -> Option<bool> {
    if want.order.is_empty() {
        return None;
    }
    let multiple = |p: &KeyPart| matches!(p, KeyPart::In(_) | KeyPart::InArray(_));
    if candidate.bounds.prefix.iter().any(multiple) {
        return None;
    }
    let fixed: Vec<ColumnId> =
        candidate.index.key[..candidate.bounds.prefix.len()].iter().map(|k| k.column).collect();
    let mut keys = candidate.index.key[candidate.bounds.prefix.len()..].iter();
    let mut reverse = None;
    let mut complete = candidate.unique && candidate.bounds.prefix.len() == candidate.index.key.len();
    for order in &want.order {
        let id = *scan.columns.get(order.column)?;
        if complete || fixed.contains(&id) {
            continue;
        }
        let key = keys.next()?;
        if key.column != id {
            return None;
        }
        let backwards = key.descending != order.descending;
        let column = scan.table.columns.iter().find(|c| c.id == id)?;
        let nulls_agree = (key.nulls_first != order.nulls_first) == backwards;
        // A range has no NULLs in it.
        let first = candidate.index.key.get(candidate.bounds.prefix.len());
        let in_range = candidate.bounds.range.is_some() && first.is_some_and(|f| f.column == id);
        if !nulls_agree && !column.not_null && !in_range {
            return None;
        }
        if *reverse.get_or_insert(backwards) != backwards {
            return None;
        }
        // Past the last column of a unique key every row is its own group.
        complete = keys.len() == 0
            && candidate.unique
            && candidate.index.key.iter().all(|k| not_null(scan, k.column));
    }
    Some(reverse.unwrap_or(false))
}

fn not_null(scan: &TableScan, id: ColumnId) -> bool {
    scan.table.columns.iter().any(|c| c.id == id && c.not_null)
}
