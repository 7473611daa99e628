//! The order of inner joins.
//!
//! A tree of inner joins is taken apart into its relations and its conditions. All orders of up to eight relations are
//! compared by dynamic programming over sets (Selinger et al., "Access path selection in a relational database management system",
//! 1979), more are put together greedily, always joining the pair with the smallest result. Joins without a condition
//! between the sides come last. The measure is the sum of the intermediate results' sizes, the right sides of joins
//! counting as what is kept in memory.
//!
//! Outer, semi and anti joins, lateral sides and whatever else stands in the tree are relations of their own here; they are ordered
//! inside by themselves.

use std::sync::Arc;

use super::build::Builder;
use super::conjuncts::{self, Comparison, comparison_of};
use super::statistics::{FUNCTION_ROWS, TableFacts, blind_selectivity};
use crate::catalog::IndexDescriptor;
use crate::expr::Expr;
use crate::plan::{Field, JoinKind, LogicalPlan};

/// Relations of which all orders are compared.
const EXHAUSTIVE: usize = 8;
/// A lookup, in rows of a scan.
const LOOKUP: f64 = 4.0;
/// Beyond so many the order of the text is kept.
const RELATIONS_MAX: usize = 40;

/// A relation of the tree, with where its fields stand in the original result.
struct Relation {
    plan: Option<LogicalPlan>,
    start: usize,
    fields: Vec<Field>,
    rows: f64,
}

struct Condition {
    expr: Expr,
    /// The relations that it reads, as bits.
    reads: u64,
    selectivity: f64,
    /// The relations that it can be looked up in: it fixes the first column of one of their indexes.
    lookups: u64,
}

/// A way to join a set of relations.
#[derive(Clone)]
struct Tree {
    cost: f64,
    rows: f64,
    /// `None`: a single relation.
    split: Option<(u64, u64)>,
}

/// The plan with its inner joins in a better order; every node's fields stay where they are.
pub fn reorder(builder: &Builder<'_>, mut plan: LogicalPlan) -> LogicalPlan {
    plan.for_each_expr_mut(&mut |e| {
        e.rewrite(&mut |e| {
            if let Expr::Subquery(s) = e {
                let taken = std::mem::replace(&mut s.plan, nothing());
                s.plan = reorder(builder, taken);
            }
        });
    });
    if !is_inner(&plan) || !(2..=RELATIONS_MAX).contains(&count(&plan)) {
        plan.for_each_input_mut(&mut |input, _| {
            let taken = std::mem::replace(input, nothing());
            *input = reorder(builder, taken);
        });
        return plan;
    }
    let schema = plan.schema();
    let mut relations = Vec::new();
    let mut conditions = Vec::new();
    flatten(builder, plan, &mut relations, &mut conditions);
    for relation in &mut relations {
        relation.plan = relation.plan.take().map(|p| reorder(builder, p));
    }
    let conditions: Vec<Condition> =
        conditions.into_iter().map(|e| condition(builder, e, &relations)).collect();
    let shape = match relations.len() {
        n if n <= EXHAUSTIVE => exhaustive(&relations, &conditions),
        _ => greedy(&relations, &conditions),
    };
    assemble(relations, conditions, shape, schema)
}

fn nothing() -> LogicalPlan {
    LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) }
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join { kind: JoinKind::Inner | JoinKind::Cross, lateral: false, .. })
}

fn count(plan: &LogicalPlan) -> usize {
    match plan {
        LogicalPlan::Join { left, right, .. } if is_inner(plan) => count(left) + count(right),
        _ => 1,
    }
}

fn flatten(
    builder: &Builder<'_>,
    plan: LogicalPlan,
    relations: &mut Vec<Relation>,
    conditions: &mut Vec<Expr>,
) {
    let start = relations.last().map_or(0, |r| r.start + r.fields.len());
    match plan {
        LogicalPlan::Join {
            kind: JoinKind::Inner | JoinKind::Cross,
            left,
            right,
            on,
            lateral: false,
            ..
        } => {
            flatten(builder, *left, relations, conditions);
            flatten(builder, *right, relations, conditions);
            let mut own = Vec::new();
            on.into_iter().for_each(|e| conjuncts::split(e, &mut own));
            own.iter_mut().for_each(|e| e.map_columns(&mut |i| i + start));
            conditions.extend(own);
        }
        other => {
            let rows = estimate(builder, &other);
            let fields = other.schema().to_vec();
            relations.push(Relation { plan: Some(other), start, fields, rows });
        }
    }
}

/// About how many rows a plan yields, without building it.
pub fn estimate(builder: &Builder<'_>, plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::Scan(scan) => TableFacts::of(builder.catalog, &scan.table).rows(),
        LogicalPlan::Filter { input, predicate } => {
            let mut all = Vec::new();
            conjuncts::split(predicate.clone(), &mut all);
            let share: f64 = match &**input {
                LogicalPlan::Scan(scan) => {
                    let facts = TableFacts::of(builder.catalog, &scan.table);
                    facts.combined(&all, &scan.columns)
                }
                _ => all.iter().map(blind_selectivity).product(),
            };
            (estimate(builder, input) * share).max(1.0)
        }
        LogicalPlan::Values { rows, .. } => rows.len() as f64,
        LogicalPlan::FunctionScan { .. } | LogicalPlan::VirtualScan { .. } => FUNCTION_ROWS,
        LogicalPlan::CteScan { id, .. } => builder.ctes.get(id).map_or(FUNCTION_ROWS, |c| c.1.rows),
        LogicalPlan::Project { input, .. }
        | LogicalPlan::Sort { input, .. }
        | LogicalPlan::Window { input, .. } => estimate(builder, input),
        LogicalPlan::Distinct { input, .. } => (estimate(builder, input) / 5.0).max(1.0),
        LogicalPlan::Aggregate { input, groups, .. } => match groups.is_empty() {
            true => 1.0,
            false => (estimate(builder, input) / 5.0).max(1.0),
        },
        LogicalPlan::Limit { input, limit, .. } => match limit {
            Some(Expr::Const(crate::types::Datum::Int8(n), _)) => estimate(builder, input).min(*n as f64),
            _ => estimate(builder, input),
        },
        LogicalPlan::Join { kind, left, right, on, .. } => {
            let (l, r) = (estimate(builder, left), estimate(builder, right));
            let keys = on.is_some() as usize;
            super::join::join_rows(*kind, l, r, keys, &[])
        }
        LogicalPlan::SetOp { left, right, .. } => estimate(builder, left) + estimate(builder, right),
        LogicalPlan::With { body, .. } => estimate(builder, body),
        LogicalPlan::RecursiveUnion { base, .. } => 10.0 * estimate(builder, base),
        LogicalPlan::Insert(_) | LogicalPlan::Update(_) | LogicalPlan::Delete(_) => FUNCTION_ROWS,
    }
}

fn relation_of(relations: &[Relation], column: usize) -> usize {
    relations.partition_point(|r| r.start <= column) - 1
}

fn condition(builder: &Builder<'_>, expr: Expr, relations: &[Relation]) -> Condition {
    let mut reads = 0;
    expr.columns_used(&mut |c| reads |= 1 << relation_of(relations, c));
    let mut lookups = 0;
    let selectivity = match &expr {
        Expr::Call { function, args, .. } if comparison_of(function) == Some(Comparison::Equal) => {
            let mut most: f64 = 0.0;
            for column in args.iter().filter_map(conjuncts::as_column) {
                most = most.max(distinct(builder, relations, column));
                let relation = relation_of(relations, column);
                if leads_an_index(&relations[relation], column) {
                    lookups |= 1 << relation;
                }
            }
            1.0 / if most > 0.0 { most } else { 200.0 }
        }
        other => blind_selectivity(other),
    };
    Condition { expr, reads, selectivity, lookups }
}

/// Whether a column of the joined row is the first of an index of its relation, which must be a stored table; not
/// counting columns that are pinned to a value.
fn leads_an_index(relation: &Relation, column: usize) -> bool {
    let mut plan = relation.plan.as_ref();
    let mut conditions = Vec::new();
    while let Some(LogicalPlan::Filter { input, predicate }) = plan {
        conjuncts::split(predicate.clone(), &mut conditions);
        plan = Some(input);
    }
    let Some(LogicalPlan::Scan(scan)) = plan else { return false };
    let id = scan.columns[column - relation.start];
    let mut indexes = std::iter::once(&scan.table.primary).chain(&scan.table.indexes);
    let pins = |condition: &Expr| match conjuncts::restriction(condition) {
        Some((column, conjuncts::Restriction::Compare(Comparison::Equal, _))) => Some(scan.columns[column]),
        _ => None,
    };
    let pinned: Vec<_> = conditions.iter().filter_map(pins).collect();
    let first = |i: &IndexDescriptor| i.key.iter().map(|k| k.column).find(|c| !pinned.contains(c));
    scan.lock.is_none() && indexes.any(|i| first(i) == Some(id))
}

/// Distinct values of a column of the joined row.
fn distinct(builder: &Builder<'_>, relations: &[Relation], column: usize) -> f64 {
    let relation = &relations[relation_of(relations, column)];
    let place = column - relation.start;
    fn of(builder: &Builder<'_>, plan: &LogicalPlan, place: usize) -> Option<f64> {
        match plan {
            LogicalPlan::Scan(scan) => {
                Some(TableFacts::of(builder.catalog, &scan.table).distinct(scan.columns[place]))
            }
            LogicalPlan::Filter { input, .. } => of(builder, input, place),
            LogicalPlan::Project { input, exprs, .. } => {
                of(builder, input, conjuncts::as_column(&exprs[place])?)
            }
            _ => None,
        }
    }
    let known = relation.plan.as_ref().and_then(|p| of(builder, p, place));
    known.unwrap_or(relation.rows).min(relation.rows)
}

/// Rows of the join of a set.
fn joined_rows(relations: &[Relation], conditions: &[Condition], set: u64) -> f64 {
    let product: f64 =
        relations.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, r)| r.rows).product();
    let applied = conditions.iter().filter(|c| c.reads & !set == 0);
    (product * applied.map(|c| c.selectivity).product::<f64>()).max(1.0)
}

/// The cost of joining two sets. A hash join keeps its right side; a lookup join asks for each left row.
fn combined(conditions: &[Condition], (a, l): (u64, &Tree), (b, r): (u64, &Tree), rows: f64) -> f64 {
    let between = |c: &&Condition| c.reads & a != 0 && c.reads & b != 0 && c.reads & !(a | b) == 0;
    let connected = conditions.iter().any(|c| between(&c));
    let pairs = if connected { 0.0 } else { l.rows * r.rows };
    let hash = l.cost + r.cost + rows + 0.5 * l.rows + 1.5 * r.rows + pairs;
    let single = b.count_ones() == 1 && conditions.iter().filter(between).any(|c| c.lookups & b != 0);
    if single { hash.min(l.cost + rows + LOOKUP * l.rows) } else { hash }
}

fn exhaustive(relations: &[Relation], conditions: &[Condition]) -> Vec<Option<Tree>> {
    let n = relations.len();
    let mut best: Vec<Option<Tree>> = vec![None; 1 << n];
    for (i, r) in relations.iter().enumerate() {
        best[1 << i] = Some(Tree { cost: 0.0, rows: r.rows, split: None });
    }
    for set in 1u64..1 << n {
        if set.count_ones() < 2 {
            continue;
        }
        let rows = joined_rows(relations, conditions, set);
        let mut left = (set - 1) & set;
        while left != 0 {
            let right = set & !left;
            if let (Some(l), Some(r)) = (&best[left as usize], &best[right as usize]) {
                let cost = combined(conditions, (left, l), (right, r), rows);
                if best[set as usize].as_ref().is_none_or(|b| cost < b.cost) {
                    best[set as usize] = Some(Tree { cost, rows, split: Some((left, right)) });
                }
            }
            left = (left - 1) & set;
        }
    }
    best
}

/// Trees by set, for many relations: only those that were joined.
fn greedy(relations: &[Relation], conditions: &[Condition]) -> Vec<Option<Tree>> {
    // Numbered sets do not fit a table here; the steps are replayed from a list.
    let mut sets: Vec<(u64, Tree)> = relations
        .iter()
        .enumerate()
        .map(|(i, r)| (1 << i, Tree { cost: 0.0, rows: r.rows, split: None }))
        .collect();
    let mut steps: Vec<Option<Tree>> = Vec::new();
    while sets.len() > 1 {
        let mut best: Option<(f64, usize, usize)> = None;
        for a in 0..sets.len() {
            for b in 0..sets.len() {
                if a == b {
                    continue;
                }
                let rows = joined_rows(relations, conditions, sets[a].0 | sets[b].0);
                let cost = combined(conditions, (sets[a].0, &sets[a].1), (sets[b].0, &sets[b].1), rows);
                if best.is_none_or(|(least, _, _)| cost < least) {
                    best = Some((cost, a, b));
                }
            }
        }
        let Some((cost, a, b)) = best else { break };
        let (left, right) = (sets[a].0, sets[b].0);
        let rows = joined_rows(relations, conditions, left | right);
        let tree = Tree { cost, rows, split: Some((left, right)) };
        steps.push(Some(tree.clone()));
        sets.retain(|(set, _)| *set != left && *set != right);
        sets.push((left | right, tree));
    }
    steps
}

/// The joins of a chosen order, under a projection that puts the fields back.
fn assemble(
    mut relations: Vec<Relation>,
    conditions: Vec<Condition>,
    shape: Vec<Option<Tree>>,
    schema: crate::plan::Schema,
) -> LogicalPlan {
    let all = (1u64 << relations.len()) - 1;
    let by_set = shape.len() == 1 << relations.len();
    let split_of = |set: u64| match by_set {
        true => shape[set as usize].as_ref().and_then(|t| t.split),
        false => shape.iter().flatten().find_map(|t| t.split.filter(|(l, r)| l | r == set)),
    };
    let mut left_over: Vec<Option<Condition>> = conditions.into_iter().map(Some).collect();
    let (plan, order) = assemble_set(all, &mut relations, &mut left_over, &split_of);
    let fields: Vec<usize> = order
        .iter()
        .flat_map(|&r| relations[r].start..relations[r].start + relations[r].fields.len())
        .collect();
    if fields.iter().enumerate().all(|(i, f)| i == *f) {
        return plan;
    }
    let exprs = schema
        .iter()
        .enumerate()
        .map(|(i, f)| {
            let index = fields.iter().position(|x| *x == i).expect("every field has a place");
            Expr::Column { index, ty: f.ty }
        })
        .collect();
    LogicalPlan::Project { input: Box::new(plan), exprs, schema }
}

fn assemble_set(
    set: u64,
    relations: &mut [Relation],
    conditions: &mut [Option<Condition>],
    split_of: &dyn Fn(u64) -> Option<(u64, u64)>,
) -> (LogicalPlan, Vec<usize>) {
    let Some((l, r)) = split_of(set) else {
        let relation = set.trailing_zeros() as usize;
        let plan = relations[relation].plan.take().expect("each relation is used once");
        let own = take_conditions(set, relations, conditions, &[relation]);
        let plan = match conjuncts::join(own) {
            Some(predicate) => LogicalPlan::Filter { input: Box::new(plan), predicate },
            None => plan,
        };
        return (plan, vec![relation]);
    };
    let (left, mut order) = assemble_set(l, relations, conditions, split_of);
    let (right, more) = assemble_set(r, relations, conditions, split_of);
    order.extend(more);
    let on = conjuncts::join(take_conditions(set, relations, conditions, &order));
    let fields = left.schema().iter().chain(right.schema().iter()).cloned().collect();
    let plan = LogicalPlan::Join {
        kind: if on.is_some() { JoinKind::Inner } else { JoinKind::Cross },
        left: Box::new(left),
        right: Box::new(right),
        on,
        lateral: false,
        schema: Arc::new(fields),
    };
    (plan, order)
}

/// The conditions that the set can decide, over its fields in the given order of relations.
fn take_conditions(
    set: u64,
    relations: &[Relation],
    conditions: &mut [Option<Condition>],
    order: &[usize],
) -> Vec<Expr> {
    let mut out = Vec::new();
    for slot in conditions.iter_mut() {
        if slot.as_ref().is_some_and(|c| c.reads & !set == 0)
            && let Some(Condition { mut expr, .. }) = slot.take()
        {
            expr.map_columns(&mut |column| {
                let relation = relation_of(relations, column);
                let before: usize =
                    order.iter().take_while(|r| **r != relation).map(|r| relations[*r].fields.len()).sum();
                before + column - relations[relation].start
            });
            out.push(expr);
        }
    }
    out
}
