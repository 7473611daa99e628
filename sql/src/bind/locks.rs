//! FOR UPDATE and its relatives: which scans lock, and how.

use std::cell::Cell;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

use super::sort::Tail;
use super::{Binder, fold};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::LOCK_STRENGTH_MARK;
use crate::plan::{LogicalPlan, RowLock, RowLockStrength, RowLockWait};

/// One lock clause: for the named relations of FROM, or for all.
pub struct LockRequest {
    of: Vec<(String, Location, Cell<bool>)>,
    lock: RowLock,
    clause: &'static str,
}

impl LockRequest {
    /// The lock that these clauses put on a relation of FROM; the strongest, and the least patient, win.
    pub fn on(requests: &[LockRequest], alias: &str) -> Option<RowLock> {
        let mut lock: Option<RowLock> = None;
        for request in requests {
            let named = request.of.iter().find(|(name, ..)| name == alias);
            if let Some((.., used)) = named {
                used.set(true);
            }
            if named.is_some() || request.of.is_empty() {
                lock = Some(match lock {
                    None => request.lock,
                    Some(l) => RowLock {
                        strength: l.strength.max(request.lock.strength),
                        wait: stricter(l.wait, request.lock.wait),
                    },
                });
            }
        }
        lock
    }

    pub fn check_all_used(requests: &[LockRequest], binder: &Binder<'_>) -> SqlResult<()> {
        for request in requests {
            if let Some((name, at, _)) = request.of.iter().find(|(.., used)| !used.get()) {
                return Err(binder.error_at(
                    state::UNDEFINED_TABLE,
                    format!("relation \"{name}\" in {} clause not found in FROM clause", request.clause),
                    *at,
                ));
            }
        }
        Ok(())
    }
}

fn stricter(a: RowLockWait, b: RowLockWait) -> RowLockWait {
    match (a, b) {
        (RowLockWait::NoWait, _) | (_, RowLockWait::NoWait) => RowLockWait::NoWait,
        (RowLockWait::SkipLocked, _) | (_, RowLockWait::SkipLocked) => RowLockWait::SkipLocked,
        _ => RowLockWait::Block,
    }
}

impl Binder<'_> {
    /// The lock clauses of a query, refused where rows of the result are not rows of tables.
    pub fn lock_requests(
        &mut self,
        tail: &Tail<'_>,
        select: Option<&ast::Select>,
    ) -> SqlResult<Vec<LockRequest>> {
        if tail.locks.is_empty() {
            return Ok(Vec::new());
        }
        self.writes = true;
        let requests = tail.locks.iter().map(request).collect::<SqlResult<Vec<_>>>()?;
        let clause = requests[0].clause;
        let refused = match select {
            None => Some("UNION/INTERSECT/EXCEPT"),
            Some(s) if s.distinct.as_ref().is_some_and(|d| !matches!(d, ast::Distinct::All)) => {
                Some("DISTINCT clause")
            }
            Some(s) if !matches!(&s.group_by, ast::GroupByExpr::Expressions(e, _) if e.is_empty()) => {
                Some("GROUP BY clause")
            }
            Some(s) if s.having.is_some() => Some("HAVING clause"),
            Some(_) => None,
        };
        match refused {
            Some(what) => Err(SqlError::new(
                state::FEATURE_NOT_SUPPORTED,
                format!("{clause} is not allowed with {what}"),
            )),
            None => Ok(requests),
        }
    }
}

impl Binder<'_> {
    /// Rows that are computed from others cannot be locked.
    pub fn refuse_locks_on_computed_rows(&mut self, requests: &[LockRequest]) -> SqlResult<()> {
        let Some(request) = requests.first() else { return Ok(()) };
        let level = self.level();
        let what = if !level.aggregates.is_empty() {
            "aggregate functions"
        } else if !level.windows.is_empty() {
            "window functions"
        } else if !level.sets.is_empty() {
            "set-returning functions in the target list"
        } else {
            return Ok(());
        };
        let message = format!("{} is not allowed with {what}", request.clause);
        Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, message))
    }
}

fn request(clause: &ast::LockClause) -> SqlResult<LockRequest> {
    let mut strength = match clause.lock_type {
        ast::LockType::Update => RowLockStrength::Update,
        ast::LockType::Share => RowLockStrength::Share,
    };
    let mut of = Vec::new();
    if let Some(name) = &clause.of {
        let parts = super::name::object_name_parts(name)?;
        let mut names = parts.as_slice();
        if let Some(mark) = names.first().and_then(|p| p.value.strip_prefix(LOCK_STRENGTH_MARK)) {
            strength = match mark {
                "no key update" => RowLockStrength::NoKeyUpdate,
                "key share" => RowLockStrength::KeyShare,
                "share" => RowLockStrength::Share,
                _ => RowLockStrength::Update,
            };
            names = &names[1..];
        }
        of = names.iter().map(|p| (fold(p).into_owned(), p.span.start, Cell::new(false))).collect();
    }
    let wait = match clause.nonblock {
        None => RowLockWait::Block,
        Some(ast::NonBlock::Nowait) => RowLockWait::NoWait,
        Some(ast::NonBlock::SkipLocked) => RowLockWait::SkipLocked,
    };
    let clause = match strength {
        RowLockStrength::Update => "FOR UPDATE",
        RowLockStrength::NoKeyUpdate => "FOR NO KEY UPDATE",
        RowLockStrength::Share => "FOR SHARE",
        RowLockStrength::KeyShare => "FOR KEY SHARE",
    };
    Ok(LockRequest { of, lock: RowLock { strength, wait }, clause })
}

/// Puts the lock on every scan of a subquery in FROM.
pub fn lock_scans(plan: &mut LogicalPlan, lock: RowLock) {
    if let LogicalPlan::Scan(scan) = plan {
        scan.lock = Some(lock);
    }
    plan.for_each_input_mut(&mut |input, _| lock_scans(input, lock));
}
