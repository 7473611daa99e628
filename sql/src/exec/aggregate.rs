//! Aggregation: plain (one row), by hash, or over input that comes in the order of the groups.
//!
//! Groups are numbered as they appear, and that is the order in which they are yielded: with the hash method no
//! order is promised, with the sorted one it is the input's. A group's key is kept as the values of its first row.
//!
//! DISTINCT arguments are remembered by their encoded bytes per group; ORDER BY inside an aggregate gathers the
//! arguments of each group and sorts them at the end.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::{FxHashMap, FxHashSet};

use super::context::Reservation;
use super::keys::{KeyColumn, KeyEncoder};
use super::{ExecContext, Operator, build, eval, vector};
use crate::error::{SqlError, SqlResult};
use crate::plan::AggregateCall;
use crate::plan::physical::{AggregateMethod, AggregateNode};
use crate::registry::{Accumulator, CallTypes};
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Column, Datum, Oid, SqlType};

pub struct Aggregate {
    plan: Arc<AggregateNode>,
    types: Vec<Oid>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
    memory: Reservation,
    groups: Groups,
    input_done: bool,
    /// Groups already yielded.
    yielded: usize,
}

/// The groups so far.
struct Groups {
    encoder: KeyEncoder,
    by_key: FxHashMap<Vec<u8>, u32>,
    /// The group expressions' values, a row per group.
    keys: Vec<Column>,
    states: Vec<Vec<State>>,
    /// The last group's key, for the sorted method.
    current: Vec<u8>,
}

/// One aggregate in one group.
struct State {
    accumulator: Box<dyn Accumulator>,
    seen: Option<FxHashSet<Vec<u8>>>,
    /// Sort key and arguments.
    ordered: Option<Vec<(Vec<u8>, Vec<Datum>)>>,
}

/// The arguments of one aggregate call over a batch.
struct Arguments {
    columns: Vec<Arc<Column>>,
    /// Which rows the FILTER lets through.
    passed: Option<Vec<bool>>,
    order: Vec<Arc<Column>>,
}

impl Aggregate {
    pub fn new(plan: &Arc<AggregateNode>, types: Vec<Oid>, ctx: &ExecContext) -> Self {
        let group_types: Vec<Oid> = plan.groups.iter().map(|g| g.ty().oid).collect();
        Aggregate {
            groups: Groups {
                encoder: KeyEncoder::equality(group_types.iter().copied()),
                by_key: FxHashMap::default(),
                keys: group_types.iter().map(|t| Column::for_type(*t)).collect(),
                states: Vec::new(),
                current: Vec::new(),
            },
            input: build(&plan.input, ctx),
            plan: plan.clone(),
            types,
            memory: ctx.reserve(),
            ctx: ctx.clone(),
            input_done: false,
            yielded: 0,
        }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        while !self.input_done {
            match self.input.next().await? {
                Some(batch) => {
                    self.ctx.check_cancel()?;
                    self.consume(&batch)?;
                    // All groups but the last are complete; a limit may need no more than these.
                    let complete = self.groups.states.len().saturating_sub(1);
                    if self.plan.method == AggregateMethod::Sorted && complete > 0 {
                        return self.yield_groups(complete).map(Some);
                    }
                }
                None => {
                    self.input_done = true;
                    if self.plan.method == AggregateMethod::Plain && self.groups.states.is_empty() {
                        let states = self.new_states()?;
                        self.groups.states.push(states);
                    }
                }
            }
        }
        let left = self.groups.states.len() - self.yielded;
        if left == 0 {
            self.memory.release_all();
            return Ok(None);
        }
        self.yield_groups(left.min(BATCH_ROWS)).map(Some)
    }

    fn new_states(&self) -> SqlResult<Vec<State>> {
        self.plan.aggregates.iter().map(new_state).collect()
    }

    fn consume(&mut self, batch: &Batch) -> SqlResult<()> {
        let keys = eval::columns(&self.plan.groups, batch, &self.ctx)?;
        let arguments = self
            .plan
            .aggregates
            .iter()
            .map(|call| Arguments::of(call, batch, &self.ctx))
            .collect::<SqlResult<Vec<_>>>()?;
        let groups = self.assign(&keys, batch.rows)?;
        // Rows by group, so that each accumulator sees its rows of the batch at once.
        let mut rows_of: Vec<(u32, Vec<u32>)> = Vec::new();
        match groups {
            None => rows_of.push((0, (0..batch.rows as u32).collect())),
            Some(groups) => {
                let mut place: FxHashMap<u32, usize> = FxHashMap::default();
                for (row, group) in groups.into_iter().enumerate() {
                    let at = *place.entry(group).or_insert_with(|| {
                        rows_of.push((group, Vec::new()));
                        rows_of.len() - 1
                    });
                    rows_of[at].1.push(row as u32);
                }
            }
        }
        for (n, arguments) in arguments.iter().enumerate() {
            for (group, rows) in &rows_of {
                let state = &mut self.groups.states[*group as usize][n];
                state.add(&self.plan.aggregates[n], arguments, rows, &self.ctx)?;
            }
        }
        Ok(())
    }

    /// The group of each row; `None`: there is one group.
    fn assign(&mut self, keys: &[Arc<Column>], rows: usize) -> SqlResult<Option<Vec<u32>>> {
        if self.plan.method == AggregateMethod::Plain {
            if self.groups.states.is_empty() {
                let states = self.new_states()?;
                self.groups.states.push(states);
            }
            return Ok(None);
        }
        let sorted = self.plan.method == AggregateMethod::Sorted;
        let mut out = Vec::with_capacity(rows);
        let mut key = Vec::new();
        for row in 0..rows {
            key.clear();
            self.groups.encoder.encode(&mut key, keys, row)?;
            let known = match sorted {
                true if self.groups.states.is_empty() || self.groups.current != key => None,
                true => Some(self.groups.states.len() as u32 - 1),
                false => self.groups.by_key.get(&key).copied(),
            };
            out.push(match known {
                Some(group) => group,
                None => self.new_group(&key, keys, row, sorted)?,
            });
        }
        Ok(Some(out))
    }

    fn new_group(&mut self, key: &[u8], keys: &[Arc<Column>], row: usize, sorted: bool) -> SqlResult<u32> {
        let states = self.new_states()?;
        let bytes: usize = states.iter().map(|s| s.accumulator.size() + 48).sum();
        self.memory.grow(2 * key.len() + bytes + 64)?;
        let group = self.groups.states.len() as u32;
        self.groups.states.push(states);
        for (to, from) in self.groups.keys.iter_mut().zip(keys) {
            to.push(&from.datum(row));
        }
        if sorted {
            self.groups.current = key.to_vec();
        } else {
            self.groups.by_key.insert(key.to_vec(), group);
        }
        Ok(group)
    }

    /// The results of the next `count` groups.
    fn yield_groups(&mut self, count: usize) -> SqlResult<Batch> {
        let range = self.yielded..self.yielded + count;
        let rows: Vec<u32> = range.clone().map(|g| g as u32).collect();
        let mut columns: Vec<Arc<Column>> =
            self.groups.keys.iter().map(|c| Arc::new(vector::take(c, &rows))).collect();
        let first = columns.len();
        for n in 0..self.plan.aggregates.len() {
            let mut column = Column::for_type(self.types[first + n]);
            for group in range.clone() {
                column.push(&self.groups.states[group][n].finish(&self.ctx)?);
            }
            columns.push(Arc::new(column));
        }
        self.yielded += count;
        if self.plan.method == AggregateMethod::Sorted && !self.input_done {
            self.forget_yielded();
        }
        Ok(Batch { columns, rows: count })
    }

    /// Drops the groups that were yielded, so that a sorted aggregate runs in bounded memory.
    fn forget_yielded(&mut self) {
        let left: Vec<u32> = (self.yielded as u32..self.groups.states.len() as u32).collect();
        for column in &mut self.groups.keys {
            *column = vector::take(column, &left);
        }
        self.groups.states.drain(..self.yielded);
        self.yielded = 0;
        self.memory.release_all();
    }
}

fn new_state(call: &AggregateCall) -> SqlResult<State> {
    let args: Vec<SqlType> = call.args.iter().map(|a| a.ty()).collect();
    let accumulator = call
        .function
        .accumulator(&CallTypes { args: &args, result: call.ty })
        .ok_or_else(|| SqlError::internal(format!("{} is not an aggregate", call.function.name)))?;
    Ok(State {
        accumulator,
        seen: call.distinct.then(FxHashSet::default),
        ordered: (!call.order_by.is_empty()).then(Vec::new),
    })
}

impl Arguments {
    fn of(call: &AggregateCall, batch: &Batch, ctx: &ExecContext) -> SqlResult<Self> {
        let passed = match &call.filter {
            None => None,
            Some(filter) => {
                let mut passed = vec![false; batch.rows];
                eval::selection(filter, batch, ctx)?.into_iter().for_each(|r| passed[r as usize] = true);
                Some(passed)
            }
        };
        Ok(Arguments {
            columns: eval::columns(&call.args, batch, ctx)?,
            passed,
            order: eval::columns(call.order_by.iter().map(|k| &k.expr), batch, ctx)?,
        })
    }
}

impl State {
    fn add(
        &mut self,
        call: &AggregateCall,
        arguments: &Arguments,
        rows: &[u32],
        ctx: &ExecContext,
    ) -> SqlResult<()> {
        let mut chosen = Vec::new();
        let rows = match (&arguments.passed, &mut self.seen) {
            (None, None) => rows,
            (passed, seen) => {
                let encoder = KeyEncoder::equality(call.args.iter().map(|a| a.ty().oid));
                for row in rows.iter().copied() {
                    if passed.as_ref().is_some_and(|p| !p[row as usize]) {
                        continue;
                    }
                    if let Some(seen) = seen {
                        let mut key = Vec::new();
                        encoder.encode(&mut key, &arguments.columns, row as usize)?;
                        if !seen.insert(key) {
                            continue;
                        }
                    }
                    chosen.push(row);
                }
                &chosen[..]
            }
        };
        if let Some(ordered) = &mut self.ordered {
            let column =
                |k: &crate::plan::SortKey| KeyColumn::ordered(k.expr.ty().oid, k.descending, k.nulls_first);
            let encoder = KeyEncoder::new(call.order_by.iter().map(column).collect());
            for row in rows {
                let mut key = Vec::new();
                encoder.encode(&mut key, &arguments.order, *row as usize)?;
                ordered.push((key, arguments.columns.iter().map(|c| c.datum(*row as usize)).collect()));
            }
            return Ok(());
        }
        let columns: Vec<&Column> = arguments.columns.iter().map(|c| &**c).collect();
        self.accumulator.add_rows(&ctx.eval(), &columns, rows)
    }

    fn finish(&mut self, ctx: &ExecContext) -> SqlResult<Datum> {
        if let Some(mut ordered) = self.ordered.take() {
            ordered.sort_by(|a, b| a.0.cmp(&b.0));
            for (_, row) in ordered {
                self.accumulator.add(&ctx.eval(), &row)?;
            }
        }
        self.accumulator.finish(&ctx.eval())
    }
}

impl Operator for Aggregate {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
