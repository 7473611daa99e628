//! The ways to read a table through one index.
//!
//! The conjuncts are matched with the columns of the index from the left: equalities (also IN, IS NULL) as far as they go,
//! then one range. That is a [`Section`] of the index. A conjunct that is an OR offers another way: each of its arms,
//! together with the other conjuncts, gives a section of its own, and their union is read - if every arm gives one; an
//! arm that says nothing about the index would have to read all of it.
//!
//! What must stay true: a conjunct is counted as *used*, and not looked at again, only if every row of every section
//! satisfies it. An order is claimed only as the index has it: sections are read in its order, whatever the parameters.

use super::build::Want;
use super::conjuncts::{self, Comparison, Restriction, restriction};
use super::statistics::TableFacts;
use crate::catalog::{ColumnId, IndexDescriptor, TableDescriptor};
use crate::expr::Expr;
use crate::plan::TableScan;
use crate::plan::physical::{Bounds, KeyPart, KeyRange, Section};
use crate::row::KeyKind;
use crate::row::decode::covers;
use crate::types::{Datum, Oid};

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

impl Candidate<'_> {
    pub fn is_one_row(&self) -> bool {
        self.unique && self.bounds.is_one_key(self.index.key.len())
    }
}

/// All ways through this index; the one that takes no OR apart comes first.
pub fn candidates<'t>(
    index: &'t IndexDescriptor,
    primary: bool,
    scan: &TableScan,
    conjuncts: &[Expr],
    want: &Want,
    facts: TableFacts<'_>,
) -> Vec<Candidate<'t>> {
    let matcher = Matcher { index, scan, facts };
    let mut cuts = vec![matcher.plain(conjuncts)];
    cuts.extend((0..conjuncts.len()).filter_map(|or| matcher.alternatives(conjuncts, or)));
    cuts.into_iter().map(|cut| candidate(index, primary, scan, cut, want, facts)).collect()
}

fn candidate<'t>(
    index: &'t IndexDescriptor,
    primary: bool,
    scan: &TableScan,
    cut: Cut,
    want: &Want,
    facts: TableFacts<'_>,
) -> Candidate<'t> {
    let mut rows = facts.rows() * cut.share.min(1.0);
    let is_keys =
        |s: &Section| s.prefix.len() == index.key.len() && (0..s.prefix.len()).all(|n| s.excludes_null(n));
    if index.unique && cut.bounds.sections.iter().all(is_keys) {
        rows = rows.min(cut.bounds.sections.iter().map(key_count).sum());
    }
    let mut out = Candidate {
        index,
        primary,
        bounds: cut.bounds,
        used: cut.used,
        index_only: is_index_only(&scan.table, index, primary, scan),
        reverse: false,
        ordered: false,
        bounded_rows: rows.max(1.0),
        unique: index.unique,
    };
    if let Some(reverse) = direction(&out, cut.fixed, scan, want) {
        out.ordered = true;
        out.reverse = reverse;
    }
    out
}

/// Locking reads want the row itself.
pub fn is_index_only(
    table: &TableDescriptor,
    index: &IndexDescriptor,
    primary: bool,
    scan: &TableScan,
) -> bool {
    primary || scan.lock.is_none() && scan.columns.iter().all(|c| covers(table, index, *c))
}

/// About how many places of the index a section names.
pub fn key_count(section: &Section) -> f64 {
    let values = |part: &KeyPart| match part {
        KeyPart::In(list) => list.len() as f64,
        KeyPart::InArray(_) => 10.0,
        KeyPart::Eq(_) | KeyPart::IsNull => 1.0,
    };
    section.prefix.iter().map(values).product()
}

/// What conjuncts leave of an index.
struct Cut {
    bounds: Bounds,
    /// Of the conjuncts: those that the bounds express.
    used: Vec<bool>,
    /// The part of the rows that is within the bounds; the sum over sections, which may be more than all.
    share: f64,
    /// So many columns at the beginning have one value in all that is read.
    fixed: usize,
}

/// One section, and where it is from.
struct Matched {
    section: Section,
    /// For each part of the prefix, the conjunct that it is from.
    sources: Vec<usize>,
    /// Of the conjuncts: those that the section expresses.
    used: Vec<bool>,
    share: f64,
}

impl Matched {
    /// The conjuncts that give the first columns one value each.
    fn fixed(&self) -> impl Iterator<Item = usize> {
        let single = |part: &KeyPart| matches!(part, KeyPart::Eq(_) | KeyPart::IsNull);
        let parts = self.sources.iter().zip(&self.section.prefix);
        parts.take_while(move |(_, part)| single(part)).map(|(source, _)| *source)
    }
}

struct Matcher<'m> {
    index: &'m IndexDescriptor,
    scan: &'m TableScan,
    facts: TableFacts<'m>,
}

impl Matcher<'_> {
    fn plain(&self, conjuncts: &[Expr]) -> Cut {
        let matched = self.section(&conjuncts.iter().collect::<Vec<_>>());
        let fixed = matched.fixed().count();
        Cut { bounds: Bounds::of(matched.section), used: matched.used, share: matched.share, fixed }
    }

    /// A section for each arm of the conjunct at `or`.
    fn alternatives(&self, conjuncts: &[Expr], or: usize) -> Option<Cut> {
        let Expr::Or(arms) = &conjuncts[or] else { return None };
        let rest: Vec<usize> = (0..conjuncts.len()).filter(|n| *n != or).collect();
        let mut bounds = Bounds { sections: Vec::with_capacity(arms.len()), conjuncts: Vec::new() };
        let mut used = vec![true; conjuncts.len()];
        let mut share = 0.0;
        let mut fixed: Option<Vec<usize>> = None;
        let mut expressed = Vec::with_capacity(arms.len());
        for arm in arms.iter().filter(|a| !is_never_true(a)) {
            // The arm's own conditions come first: they are what tells it from the others.
            let own = parts(arm);
            let given: Vec<&Expr> = own.iter().copied().chain(rest.iter().map(|n| &conjuncts[*n])).collect();
            let matched = self.section(&given);
            let said = own.iter().zip(&matched.used).filter(|(_, used)| **used).map(|(e, _)| (*e).clone());
            let said: Vec<Expr> = said.collect();
            used[or] &= said.len() == own.len();
            expressed.push(conjuncts::join(said)?);
            rest.iter().zip(&matched.used[own.len()..]).for_each(|(n, also)| used[*n] &= also);
            let shared = matched.fixed().take_while(|n| *n >= own.len()).map(|n| n - own.len());
            match &mut fixed {
                None => fixed = Some(shared.collect()),
                Some(known) => {
                    let same = known.iter().zip(shared).take_while(|(a, b)| **a == *b).count();
                    known.truncate(same);
                }
            }
            share += matched.share;
            bounds.sections.push(matched.section);
        }
        if !used[or] {
            bounds.conjuncts.push(Expr::Or(expressed));
        }
        Some(Cut { bounds, used, share, fixed: fixed?.len() })
    }

    /// The part of the index in which all of the conjuncts can hold.
    fn section(&self, conjuncts: &[&Expr]) -> Matched {
        let columns = &self.scan.columns;
        let mut out = Matched {
            section: Section::default(),
            sources: Vec::new(),
            used: vec![false; conjuncts.len()],
            share: 1.0,
        };
        for key in &self.index.key {
            let Some(position) = columns.iter().position(|c| *c == key.column) else { break };
            let ty = self.scan.schema[position].ty.oid;
            if let Some((n, part)) = equality(position, ty, conjuncts, &out.used) {
                out.share *= self.facts.selectivity(conjuncts[n], columns);
                out.used[n] = true;
                out.sources.push(n);
                out.section.prefix.push(part);
                continue;
            }
            let mut range = KeyRange::default();
            let mut found = Vec::new();
            for (n, conjunct) in conjuncts.iter().enumerate() {
                if out.used[n] || !bounds_range(position, ty, conjunct, &mut range) {
                    continue;
                }
                found.push(*conjunct);
                out.used[n] = true;
            }
            if !found.is_empty() {
                out.share *= self.facts.combined(found, columns);
                out.section.range = Some(range);
            }
            break;
        }
        out
    }
}

/// The conditions that all have to hold.
fn parts(e: &Expr) -> Vec<&Expr> {
    match e {
        Expr::And(all) => all.iter().flat_map(parts).collect(),
        other => vec![other],
    }
}

fn is_never_true(e: &Expr) -> bool {
    matches!(e, Expr::Const(Datum::Bool(false) | Datum::Null, _))
}

/// Whether comparisons between a column and a value of these types can be bounds of an index on the column.
pub fn comparable(column: Oid, value: Oid) -> bool {
    let integer = |t: Oid| matches!(t, Oid::INT2 | Oid::INT4 | Oid::INT8);
    let text = |t: Oid| matches!(t, Oid::TEXT | Oid::VARCHAR | Oid::NAME);
    KeyKind::of(column).is_some()
        && column != Oid::BPCHAR
        && (column == value || integer(column) && integer(value) || text(column) && text(value))
}

/// The first unused conjunct that fixes the column.
pub fn equality(position: usize, ty: Oid, conjuncts: &[&Expr], used: &[bool]) -> Option<(usize, KeyPart)> {
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

/// Whether the candidate yields the wanted order, and if so whether it has to be read backwards. The first `fixed` columns
/// of the index have one value; by the others what is read comes in the order of the index.
fn direction(candidate: &Candidate<'_>, fixed: usize, scan: &TableScan, want: &Want) -> Option<bool> {
    if want.order.is_empty() {
        return None;
    }
    let mut keys = candidate.index.key.iter().enumerate().skip(fixed);
    let fixed = &candidate.index.key[..fixed];
    let mut reverse = None;
    let mut complete = candidate.is_one_row();
    for order in &want.order {
        let id = *scan.columns.get(order.column)?;
        if complete || fixed.iter().any(|k| k.column == id) {
            continue;
        }
        let (position, key) = keys.next()?;
        if key.column != id {
            return None;
        }
        let backwards = key.descending != order.descending;
        let column = scan.table.columns.iter().find(|c| c.id == id)?;
        let nulls_agree = (key.nulls_first != order.nulls_first) == backwards;
        let no_nulls = column.not_null || candidate.bounds.sections.iter().all(|s| s.excludes_null(position));
        if !nulls_agree && !no_nulls {
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
