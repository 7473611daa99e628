//! Choosing how to read a stored table: which index, which part of it, in which direction.
//!
//! Every index offers its candidates ([`super::candidate`]): all of it, or the parts that the conjuncts leave. What the
//! bounds express exactly is not looked at again; the rest is the filter. The cheapest candidate is taken, counting a sort
//! that it would save and a limit that lets it stop early.

use std::sync::Arc;

use super::build::{Builder, Ordering, Want};
use super::candidate::{Candidate, candidates, comparable, equality, is_index_only, key_count};
use super::conjuncts::{self, Restriction, restriction};
use super::cost;
use super::statistics::TableFacts;
use crate::catalog::{ColumnId, ElementState, IndexDescriptor, TableDescriptor};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::TableScan;
use crate::plan::physical::{Access, AccessCodec, Bounds, Estimate, KeyPart, Node, NodeKind, Section};
use crate::row::decode::PrimaryKeyFinder;
use crate::row::{IndexEncoder, RowDecoder};

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
            for candidate in candidates(index, primary, scan, &conjuncts, want, facts) {
                let cost = self.access_cost(&candidate, facts, rows, conjuncts.len(), want);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, candidate));
                }
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
        let own: Vec<&Expr> = conjuncts.iter().collect();
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
                    let pinned = place.and_then(|p| equality(p, scan.schema[p].ty.oid, &own, &used));
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
                    bounds: Bounds::of(Section { prefix, range: None }),
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
        let rows = if chosen.is_one_row() { 1.0 } else { rows };
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

/// `IS NOT NULL` follows from any comparison of the column, and from an OR of them.
fn implied(part: &Expr, conjuncts: &[Expr]) -> bool {
    let Some((column, Restriction::IsNotNull)) = restriction(part) else { return false };
    conjuncts.iter().any(|c| excludes_null(c, column))
}

fn excludes_null(condition: &Expr, column: usize) -> bool {
    match condition {
        Expr::Or(arms) => arms.iter().all(|arm| excludes_null(arm, column)),
        Expr::And(parts) => parts.iter().any(|part| excludes_null(part, column)),
        _ => match restriction(condition) {
            Some((_, Restriction::IsNull)) | None => false,
            Some((other, _)) => other == column,
        },
    }
}

fn readable(table: &TableDescriptor) -> impl Iterator<Item = (bool, &IndexDescriptor)> {
    let secondary = table.indexes.iter().filter(|i| i.state == ElementState::Public);
    std::iter::once((true, &table.primary)).chain(secondary.map(|i| (false, i)))
}

fn access_cost(candidate: &Candidate<'_>, facts: TableFacts<'_>, conjuncts: usize) -> (f64, f64) {
    let rows = candidate.bounded_rows;
    let parts: f64 = candidate.bounds.sections.iter().map(key_count).sum();
    let row = if candidate.primary {
        cost::SCAN_ROW
    } else if candidate.index_only {
        cost::ENTRY
    } else {
        cost::ENTRY + cost::FETCH
    };
    // One after the other: a scan that stops early has not begun them all.
    let begin = cost::REQUEST + cost::SEEK;
    let seeks = cost::REQUEST + cost::SEEK * parts;
    let checks = rows * cost::CALL * (conjuncts - candidate.used.iter().filter(|u| **u).count()) as f64;
    // A whole table is read at least as dearly as its rows: small differences go to the narrower index.
    (begin, seeks + rows.min(facts.rows()) * row + checks)
}
