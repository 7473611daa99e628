//! Pairs of rows to batches, for all joins.

use std::sync::Arc;

use super::vector::{NO_ROW, take, take_or_null};
use super::{ExecContext, eval};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::types::{Batch, Oid};

/// Left rows beside right rows; [`NO_ROW`] on a side gives NULLs.
pub fn pairs(
    left: &Batch,
    left_types: &[Oid],
    left_rows: &[u32],
    right: &Batch,
    right_types: &[Oid],
    right_rows: &[u32],
) -> Batch {
    debug_assert_eq!(left_rows.len(), right_rows.len());
    let l = left.columns.iter().zip(left_types).map(|(c, ty)| Arc::new(take_or_null(c, *ty, left_rows)));
    let r = right.columns.iter().zip(right_types).map(|(c, ty)| Arc::new(take_or_null(c, *ty, right_rows)));
    Batch { columns: l.chain(r).collect(), rows: left_rows.len() }
}

/// Keeps those of the candidate pairs for which the condition holds.
pub fn matching(
    on: Option<&Expr>,
    left: &Batch,
    right: &Batch,
    left_rows: &mut Vec<u32>,
    right_rows: &mut Vec<u32>,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let Some(on) = on else { return Ok(()) };
    if left_rows.is_empty() {
        return Ok(());
    }
    // Only the columns that the condition reads are put together.
    let width = left.columns.len();
    let mut used = vec![false; width + right.columns.len()];
    on.columns_used(&mut |i| used[i] = true);
    let none = Arc::new(crate::types::Column::for_type(Oid::BOOL));
    let columns = (0..used.len())
        .map(|i| match (used[i], i < width) {
            (false, _) => none.clone(),
            (true, true) => Arc::new(take(&left.columns[i], left_rows)),
            (true, false) => Arc::new(take(&right.columns[i - width], right_rows)),
        })
        .collect();
    let candidates = Batch { columns, rows: left_rows.len() };
    let passed = eval::selection(on, &candidates, ctx)?;
    *left_rows = passed.iter().map(|&i| left_rows[i as usize]).collect();
    *right_rows = passed.iter().map(|&i| right_rows[i as usize]).collect();
    Ok(())
}

/// Adds the left rows of `range` that are not `matched`, beside no right row; keeps the pairs in the order of the left
/// rows, which parents may count on.
pub fn pad_left(
    left_rows: &mut Vec<u32>,
    right_rows: &mut Vec<u32>,
    matched: &[bool],
    range: std::ops::Range<usize>,
) {
    let unmatched: Vec<u32> = range.filter(|l| !matched[*l]).map(|l| l as u32).collect();
    if unmatched.is_empty() {
        return;
    }
    let mut all: Vec<(u32, u32)> = left_rows.iter().copied().zip(right_rows.iter().copied()).collect();
    all.extend(unmatched.into_iter().map(|l| (l, NO_ROW)));
    all.sort_by_key(|pair| pair.0);
    (*left_rows, *right_rows) = all.into_iter().unzip();
}

/// Which rows of a side of `count` rows are among `rows`.
pub fn mark(rows: &[u32], count: usize) -> Vec<bool> {
    let mut marks = vec![false; count];
    rows.iter().filter(|r| **r != NO_ROW).for_each(|r| marks[*r as usize] = true);
    marks
}
