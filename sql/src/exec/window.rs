//! Window functions: over the whole input, sorted by partition and order of each call.
//!
//! A partition's rows are numbered in their order; rows with equal order keys are *peers*. For each row the frame is a range
//! of these numbers. Aggregates whose frames all begin with the partition are carried on from row to row, others are
//! computed anew for each row. Rows are yielded in the order of the last call's sort, as PostgreSQL does.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::context::Reservation;
use super::keys::{KeyColumn, KeyEncoder};
use super::{ExecContext, Operator, build, drain, eval, vector};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::eval::call2;
use crate::plan::physical::WindowNode;
use crate::plan::{FrameBound, FrameUnit, WindowCall, WindowFrame};
use crate::registry::{Body, CallTypes, function_by_oid, operators_named};
use crate::types::column::BATCH_ROWS;
use crate::types::compare::compare;
use crate::types::{Batch, Column, Datum, Oid, SqlType};

pub struct Window {
    plan: Arc<WindowNode>,
    input: Option<Box<dyn Operator>>,
    ctx: ExecContext,
    memory: Reservation,
    result: Option<(Batch, Vec<u32>)>,
    done: usize,
}

impl Window {
    pub fn new(plan: &Arc<WindowNode>, ctx: &ExecContext) -> Self {
        let input = Some(build(&plan.input, ctx));
        Window { plan: plan.clone(), input, ctx: ctx.clone(), memory: ctx.reserve(), result: None, done: 0 }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if let Some(mut input) = self.input.take() {
            let batches = drain(&mut *input, &mut self.memory).await?;
            let mut all = vector::concat(&batches, &self.plan.input.types());
            let mut order: Vec<u32> = (0..all.rows as u32).collect();
            let source = all.clone();
            for call in &self.plan.calls {
                let computed = Computation::new(call, &source, &self.ctx)?;
                all.columns.push(Arc::new(computed.column()?));
                order = computed.order;
            }
            self.result = Some((all, order));
        }
        let Some((all, order)) = &self.result else { return Ok(None) };
        let rows = &order[self.done..];
        let rows = &rows[..rows.len().min(BATCH_ROWS)];
        if rows.is_empty() {
            self.result = None;
            return Ok(None);
        }
        self.done += rows.len();
        Ok(Some(vector::take_batch(all, rows)))
    }
}

impl Operator for Window {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}

/// One call over all rows.
struct Computation<'a> {
    call: &'a WindowCall,
    ctx: &'a ExecContext,
    /// Row numbers, by partition and order.
    order: Vec<u32>,
    /// By row number.
    partition: Vec<Vec<u8>>,
    sort: Vec<Vec<u8>>,
    args: Vec<Arc<Column>>,
    order_columns: Vec<Arc<Column>>,
    passed: Option<Vec<bool>>,
}

/// A partition: its rows in order, and where the group of peers of each begins and ends.
struct Partition<'a> {
    rows: &'a [u32],
    peers: Vec<Range<usize>>,
    /// The number of each row's group of peers.
    group: Vec<usize>,
    groups: Vec<Range<usize>>,
}

impl<'a> Computation<'a> {
    fn new(call: &'a WindowCall, all: &Batch, ctx: &'a ExecContext) -> SqlResult<Self> {
        let partition_columns = eval::columns(&call.partition_by, all, ctx)?;
        let order_columns = eval::columns(call.order_by.iter().map(|k| &k.expr), all, ctx)?;
        let by_partition = KeyEncoder::equality(call.partition_by.iter().map(|e| e.ty().oid));
        let sort_key =
            |k: &crate::plan::SortKey| KeyColumn::ordered(k.expr.ty().oid, k.descending, k.nulls_first);
        let by_order = KeyEncoder::new(call.order_by.iter().map(sort_key).collect());
        let mut partition = Vec::with_capacity(all.rows);
        let mut sort = Vec::with_capacity(all.rows);
        for row in 0..all.rows {
            let (mut p, mut s) = (Vec::new(), Vec::new());
            by_partition.encode(&mut p, &partition_columns, row)?;
            by_order.encode(&mut s, &order_columns, row)?;
            partition.push(p);
            sort.push(s);
        }
        let mut order: Vec<u32> = (0..all.rows as u32).collect();
        let key = |r: &u32| (&partition[*r as usize], &sort[*r as usize]);
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        let passed = match &call.filter {
            None => None,
            Some(filter) => {
                let mut passed = vec![false; all.rows];
                eval::selection(filter, all, ctx)?.into_iter().for_each(|r| passed[r as usize] = true);
                Some(passed)
            }
        };
        let args = eval::columns(&call.args, all, ctx)?;
        Ok(Computation { call, ctx, order, partition, sort, args, order_columns, passed })
    }

    /// The results by row number.
    fn column(&self) -> SqlResult<Column> {
        let mut values = vec![Datum::Null; self.order.len()];
        let mut start = 0;
        while start < self.order.len() {
            self.ctx.check_cancel()?;
            let key = &self.partition[self.order[start] as usize];
            let count =
                self.order[start..].iter().take_while(|r| self.partition[**r as usize] == *key).count();
            let partition = self.partition_of(&self.order[start..start + count]);
            self.compute(&partition, &mut values)?;
            start += count;
        }
        let mut column = Column::for_type(self.call.ty.oid);
        values.iter().for_each(|v| column.push(v));
        Ok(column)
    }

    fn partition_of<'r>(&self, rows: &'r [u32]) -> Partition<'r> {
        let mut out = Partition { rows, peers: Vec::new(), group: Vec::new(), groups: Vec::new() };
        let mut start = 0;
        while start < rows.len() {
            let key = &self.sort[rows[start] as usize];
            let count = rows[start..].iter().take_while(|r| self.sort[**r as usize] == *key).count();
            for _ in 0..count {
                out.peers.push(start..start + count);
                out.group.push(out.groups.len());
            }
            out.groups.push(start..start + count);
            start += count;
        }
        out
    }

    fn compute(&self, p: &Partition<'_>, values: &mut [Datum]) -> SqlResult<()> {
        if let Body::Aggregate(_) = self.call.function.body {
            return self.aggregate(p, values);
        }
        for i in 0..p.rows.len() {
            values[p.rows[i] as usize] = self.function(p, i)?;
        }
        Ok(())
    }

    fn arg(&self, n: usize, row: u32) -> Datum {
        self.args.get(n).map_or(Datum::Null, |c| c.datum(row as usize))
    }

    fn function(&self, p: &Partition<'_>, i: usize) -> SqlResult<Datum> {
        let n = p.rows.len();
        let row = p.rows[i];
        Ok(match self.call.function.name {
            "row_number" => Datum::Int8(i as i64 + 1),
            "rank" => Datum::Int8(p.peers[i].start as i64 + 1),
            "dense_rank" => Datum::Int8(p.group[i] as i64 + 1),
            "percent_rank" if n == 1 => Datum::Float8(0.0),
            "percent_rank" => Datum::Float8(p.peers[i].start as f64 / (n - 1) as f64),
            "cume_dist" => Datum::Float8(p.peers[i].end as f64 / n as f64),
            "ntile" => self.ntile(p, i)?,
            "lag" => self.neighbour(p, i, -1)?,
            "lead" => self.neighbour(p, i, 1)?,
            "first_value" => self.nth(p, i, |frame| Some(frame.start))?,
            "last_value" => self.nth(p, i, |frame| Some(frame.end - 1))?,
            "nth_value" => {
                let wanted = match self.arg(1, row) {
                    Datum::Null => return Ok(Datum::Null),
                    Datum::Int4(n) if n > 0 => n as usize,
                    _ => {
                        return Err(SqlError::new(
                            "22016",
                            "argument of nth_value must be greater than zero",
                        ));
                    }
                };
                self.nth(p, i, |frame| (frame.start + wanted <= frame.end).then(|| frame.start + wanted - 1))?
            }
            name => return Err(SqlError::unsupported(format!("window function {name}"))),
        })
    }

    fn ntile(&self, p: &Partition<'_>, i: usize) -> SqlResult<Datum> {
        let buckets = match self.arg(0, p.rows[0]) {
            Datum::Null => return Ok(Datum::Null),
            Datum::Int4(n) if n > 0 => n as usize,
            _ => return Err(SqlError::new("22014", "argument of ntile must be greater than zero")),
        };
        // The first buckets take one row more each until the remainder is used up.
        let (size, more) = (p.rows.len() / buckets, p.rows.len() % buckets);
        let large = more * (size + 1);
        let bucket = if i < large { i / (size + 1) } else { more + (i - large) / size.max(1) };
        Ok(Datum::Int4(bucket as i32 + 1))
    }

    fn neighbour(&self, p: &Partition<'_>, i: usize, direction: i64) -> SqlResult<Datum> {
        let row = p.rows[i];
        let distance = match self.args.len() {
            1 => 1,
            _ => match self.arg(1, row) {
                Datum::Int4(d) => i64::from(d),
                _ => return Ok(Datum::Null),
            },
        };
        let at = i as i64 + direction * distance;
        Ok(match usize::try_from(at).ok().and_then(|at| p.rows.get(at)) {
            Some(other) => self.arg(0, *other),
            None => self.arg(2, row),
        })
    }

    fn nth(
        &self,
        p: &Partition<'_>,
        i: usize,
        pick: impl Fn(&Range<usize>) -> Option<usize>,
    ) -> SqlResult<Datum> {
        let frame = self.frame(p, i)?;
        if frame.is_empty() {
            return Ok(Datum::Null);
        }
        Ok(pick(&frame).map_or(Datum::Null, |at| self.arg(0, p.rows[at])))
    }

    fn aggregate(&self, p: &Partition<'_>, values: &mut [Datum]) -> SqlResult<()> {
        let types: Vec<SqlType> = self.call.args.iter().map(|a| a.ty()).collect();
        let new = || {
            let types = CallTypes { args: &types, result: self.call.ty };
            let made = self.call.function.accumulator(&types);
            made.ok_or_else(|| SqlError::internal("an aggregate without an accumulator"))
        };
        let grows = match &self.call.frame {
            None => true,
            Some(frame) => matches!(frame.start, FrameBound::UnboundedPreceding),
        };
        let columns: Vec<&Column> = self.args.iter().map(|c| &**c).collect();
        let mut state = new()?;
        let mut added = 0;
        let mut last: Option<(Range<usize>, Datum)> = None;
        for i in 0..p.rows.len() {
            let frame = self.frame(p, i)?;
            if let Some((known, value)) = &last
                && *known == frame
            {
                values[p.rows[i] as usize] = value.clone();
                continue;
            }
            let from = if grows && frame.end >= added {
                added
            } else {
                state = new()?;
                frame.start
            };
            let rows: Vec<u32> = p.rows[from..frame.end.max(from)]
                .iter()
                .copied()
                .filter(|r| self.passed.as_ref().is_none_or(|passed| passed[*r as usize]))
                .collect();
            state.add_rows(&self.ctx.eval(), &columns, &rows)?;
            added = frame.end.max(from);
            let value = state.finish(&self.ctx.eval())?;
            values[p.rows[i] as usize] = value.clone();
            last = Some((frame, value));
        }
        Ok(())
    }

    /// The rows of the partition that are in the frame of row `i`; possibly none.
    fn frame(&self, p: &Partition<'_>, i: usize) -> SqlResult<Range<usize>> {
        let Some(frame) = &self.call.frame else { return Ok(0..p.peers[i].end) };
        let start = self.bound(p, i, frame, &frame.start, true)?;
        let end = self.bound(p, i, frame, &frame.end, false)?;
        Ok(start..end.max(start))
    }

    fn bound(
        &self,
        p: &Partition<'_>,
        i: usize,
        frame: &WindowFrame,
        bound: &FrameBound,
        start: bool,
    ) -> SqlResult<usize> {
        let n = p.rows.len();
        let (offset, forward) = match bound {
            FrameBound::UnboundedPreceding => return Ok(0),
            FrameBound::UnboundedFollowing => return Ok(n),
            FrameBound::CurrentRow => {
                return Ok(match (frame.unit, start) {
                    (FrameUnit::Rows, true) => i,
                    (FrameUnit::Rows, false) => i + 1,
                    (_, true) => p.peers[i].start,
                    (_, false) => p.peers[i].end,
                });
            }
            FrameBound::Preceding(e) => (eval::constant(e, self.ctx)?, false),
            FrameBound::Following(e) => (eval::constant(e, self.ctx)?, true),
        };
        let signed = |count: i64| if forward { count } else { -count };
        match frame.unit {
            FrameUnit::Rows => {
                let at = i as i64 + signed(count(&offset, start)?) + !start as i64;
                Ok(at.clamp(0, n as i64) as usize)
            }
            FrameUnit::Groups => {
                let group = p.group[i] as i64 + signed(count(&offset, start)?);
                Ok(match (usize::try_from(group).ok(), start) {
                    (None, _) => 0,
                    (Some(g), true) => p.groups.get(g).map_or(n, |r| r.start),
                    (Some(g), false) => p.groups.get(g).map_or(n, |r| r.end),
                })
            }
            FrameUnit::Range => self.range_bound(p, i, &offset, forward, start),
        }
    }

    /// The rows whose order value is at most so far from that of row `i`.
    fn range_bound(
        &self,
        p: &Partition<'_>,
        i: usize,
        offset: &Datum,
        forward: bool,
        start: bool,
    ) -> SqlResult<usize> {
        let [key] = self.call.order_by.as_slice() else {
            return Err(SqlError::new(
                "42P20",
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
            ));
        };
        let column = &self.order_columns[0];
        let value = column.datum(p.rows[i] as usize);
        if value.is_null() {
            // NULLs are peers of one another and of nothing else.
            return Ok(if start { p.peers[i].start } else { p.peers[i].end });
        }
        if offset.is_null() {
            return Err(null_offset(start));
        }
        let limit = self.shifted(value, key.expr.ty().oid, offset, forward != key.descending, start)?;
        let side = |r: &u32| -> Option<Ordering> {
            let value = column.datum(*r as usize);
            let order = (!value.is_null()).then(|| compare(&comparable(value), &limit))?;
            Some(if key.descending { order.reverse() } else { order })
        };
        // NULLs stand at one end of the partition and are outside of every such frame.
        let nulls_first = key.nulls_first;
        let before = |r: &u32| match side(r) {
            None => nulls_first,
            Some(order) => order == Ordering::Less || !start && order == Ordering::Equal,
        };
        Ok(p.rows.partition_point(before))
    }

    fn shifted(&self, value: Datum, ty: Oid, offset: &Datum, plus: bool, start: bool) -> SqlResult<Datum> {
        let offset_type = self.offset_type(start);
        let symbol = if plus { "+" } else { "-" };
        let operator = operators_named(symbol).iter().find(|o| o.left == ty && o.right == offset_type);
        let function = operator.and_then(|o| function_by_oid(o.function)).ok_or_else(|| {
            SqlError::unsupported(format!(
                "RANGE with offset PRECEDING/FOLLOWING for column type {}",
                crate::registry::type_name(ty)
            ))
        })?;
        if is_negative(offset) {
            return Err(SqlError::new("22013", "invalid preceding or following size in window function"));
        }
        Ok(comparable(call2(function, value, offset.clone(), &self.ctx.eval())?))
    }

    fn offset_type(&self, start: bool) -> Oid {
        let frame = self.call.frame.as_ref();
        let bound = frame.map(|f| if start { &f.start } else { &f.end });
        match bound {
            Some(FrameBound::Preceding(e) | FrameBound::Following(e)) => e.ty().oid,
            _ => Oid::INVALID,
        }
    }
}

/// Dates as timestamps: a date plus an interval is one.
fn comparable(value: Datum) -> Datum {
    match value {
        Datum::Date(d) if d != i32::MAX && d != i32::MIN => Datum::Timestamp(i64::from(d) * 86_400_000_000),
        other => other,
    }
}

fn is_negative(offset: &Datum) -> bool {
    match offset {
        Datum::Int2(v) => *v < 0,
        Datum::Int4(v) => *v < 0,
        Datum::Int8(v) => *v < 0,
        Datum::Float4(v) => *v < 0.0,
        Datum::Float8(v) => *v < 0.0,
        Datum::Numeric(n) => matches!(n.sign, crate::types::numeric::Sign::Negative),
        Datum::Interval(i) => i.months < 0 || i.days < 0 || i.micros < 0,
        _ => false,
    }
}

fn null_offset(start: bool) -> SqlError {
    let which = if start { "starting" } else { "ending" };
    SqlError::new(state::NULL_VALUE_NOT_ALLOWED, format!("frame {which} offset must not be null"))
}

/// A frame offset in rows or groups.
fn count(offset: &Datum, start: bool) -> SqlResult<i64> {
    let count = match offset {
        Datum::Null => return Err(null_offset(start)),
        Datum::Int2(v) => i64::from(*v),
        Datum::Int4(v) => i64::from(*v),
        Datum::Int8(v) => *v,
        other => return Err(SqlError::internal(format!("frame offset {other:?}"))),
    };
    if count < 0 {
        let which = if start { "starting" } else { "ending" };
        return Err(SqlError::new("22013", format!("frame {which} offset must not be negative")));
    }
    Ok(count)
}
