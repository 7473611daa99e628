//! One part of `meridian debug check`: the ranges and their locks, or some rows.

use std::time::Duration;

use meridian_sql::check;
use meridian_storage::base::{Key, Timestamp};
use meridian_txn::Db;

use crate::rpc::proto::{Check, CheckAnswer};

/// What was to be read may have been dropped.
pub const SNAPSHOT_TOO_OLD: &str = "72000";

/// `meta` is told of a split or a move within this time.
pub const LAYOUT_SETTLES: Duration = Duration::from_secs(10);

/// Looks at the part that is asked for.
pub async fn part(db: &Db, ask: Check) -> Result<CheckAnswer, String> {
    let at = if ask.wall == 0 { db.clock().now() } else { Timestamp::new(ask.wall, ask.logical) };
    let answer = CheckAnswer { wall: at.wall, logical: at.logical, ..CheckAnswer::default() };
    if ask.from.is_empty() {
        return ranges(db, Duration::from_millis(ask.locks_older_ms), answer).await;
    }
    match check::sweep(db, at, Key::new(ask.from)).await {
        Ok(part) => Ok(CheckAnswer {
            next: part.next.map(Key::into_bytes).unwrap_or_default(),
            violations: part.violations.iter().map(ToString::to_string).collect(),
            looked_at: part.looked_at,
            ..answer
        }),
        Err(e) if e.code() == SNAPSHOT_TOO_OLD => Ok(CheckAnswer { too_old: true, ..answer }),
        Err(e) => Err(format!("cannot look at the rows: {e}")),
    }
}

async fn ranges(db: &Db, older: Duration, answer: CheckAnswer) -> Result<CheckAnswer, String> {
    let cannot = |e| format!("cannot look at the ranges: {e}");
    let (mut violations, ranges) = db.check_settled_layout(LAYOUT_SETTLES).await.map_err(cannot)?;
    for left in db.left_over_locks(older).await.map_err(cannot)? {
        let lock = left.lock;
        violations.push(format!(
            "key {}: a lock of transaction {:?} stands since {}: {}",
            lock.key, lock.txn, lock.write_ts, left.why
        ));
    }
    let next = check::first_key().into_bytes();
    Ok(CheckAnswer { next, violations, ranges: ranges as u64, ..answer })
}
