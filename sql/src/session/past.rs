//! Reading the past: AS OF SYSTEM TIME.
//!
//! A statement with the clause, or a block that begins with it, runs in a transaction that reads at that time exactly, and in the
//! catalog of that time ([`crate::catalog::past`]). The time may be written as a timestamp, as an interval before the beginning of the
//! transaction, or as the decimal that `cluster_logical_timestamp()` gives. `now()` and its kin are of the present.
//!
//! What must stay true: nothing runs at a time that its text does not ask for. A statement with the clause runs in a
//! transaction of just that time or is refused; one without it never runs in the transaction that such a statement has begun.

use std::sync::Arc;

use meridian_storage::base::Timestamp;
use meridian_txn::{Txn, TxnOptions};

use super::characteristics::Progress;
use super::classify::{beside_past, is_utility};
use super::node::POSTGRES_EPOCH_MICROS;
use super::prepared::{Planned, Prepared};
use super::transaction::State;
use super::{Client, Session};
use crate::bind;
use crate::catalog::Catalog;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::eval::eval_row;
use crate::parse::{ParsedStatement, Statement, ast};
use crate::registry::EvalContext;
use crate::types::datetime::{add_interval_in_zone, date_to_timestamp, parse_interval, parse_timestamptz};
use crate::types::text::TextContext;
use crate::types::{Datum, Interval, Numeric, Oid, hybrid};

/// The clause of a statement that is to run in the past, not of one that only leads others there.
pub(super) fn clause_of(parsed: &ParsedStatement) -> Option<&ast::Expr> {
    let reads = !is_utility(&parsed.statement) || matches!(parsed.statement, Statement::DeclareCursor(_));
    parsed.as_of.as_deref().filter(|_| reads)
}

impl Session {
    /// The time that the clause means: not one that is still to come.
    pub(super) fn time_of(&mut self, clause: &ast::Expr, source: &str) -> SqlResult<Timestamp> {
        let base = self.state.active().map_or_else(|| self.node.now(), |active| active.started);
        self.time_from(clause, source, base)
    }

    /// Of BEGIN and SET TRANSACTION: the time that they lead to.
    pub(super) fn time_said(&mut self, parsed: &ParsedStatement) -> SqlResult<Option<Timestamp>> {
        parsed.as_of.as_deref().map(|clause| self.time_of(clause, &parsed.source)).transpose()
    }

    /// `base`: what intervals count from.
    fn time_from(&mut self, clause: &ast::Expr, source: &str, base: i64) -> SqlResult<Timestamp> {
        let bound = self.with_bind_context(|context| bind::bind_as_of(context, source, clause))?;
        let view = self.view();
        let eval = EvalContext { transaction_time: base, statement_time: base, ..view.planning_eval() };
        let value = eval_row(&bound, &[], &eval)?;
        let at = Meaning { base, text: &eval.text() }.of(&value, bound.ty().oid)?;
        let now = self.node.clock().now();
        if at > now {
            let (at, now) = (hybrid::to_numeric(at), hybrid::to_numeric(now));
            let message = format!("AS OF SYSTEM TIME: cannot specify timestamp in the future ({at} > {now})");
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message).with_hint(
                "If another node has given the time, this one's clock is behind: it will be there in a moment.",
            ));
        }
        Ok(at)
    }

    /// Before a statement runs: if it has the clause, it is in a transaction of that time afterwards; if it has not, and the
    /// transaction is that of a statement that has, it is refused.
    pub(super) async fn enter_past(&mut self, parsed: &ParsedStatement) -> SqlResult<()> {
        let Some(clause) = clause_of(parsed) else {
            return match &self.state {
                State::Implicit(active) if active.of_past_statement && !beside_past(&parsed.statement) => {
                    Err(SqlError::unsupported("a statement beside one AS OF SYSTEM TIME in the same message")
                        .with_hint("Send it by itself, or begin a transaction with BEGIN AS OF SYSTEM TIME."))
                }
                _ => Ok(()),
            };
        };
        if matches!(self.state, State::Idle) {
            let base = self.node.now();
            let at = self.time_from(clause, &parsed.source, base)?;
            let mut active = self.begin_active(self.modes().in_past(at, None)?)?;
            active.started = base;
            active.of_past_statement = true;
            self.state = State::Implicit(active);
            return self.load_past().await;
        }
        let at = self.time_of(clause, &parsed.source)?;
        match &self.state {
            State::Implicit(a) | State::Block(a) | State::Failed(a) if a.modes.as_of == Some(at) => Ok(()),
            State::Implicit(a) if a.modes.as_of.is_none() && a.progress() == Progress::Fresh => {
                self.move_to_past(at, None)?;
                if let Some(active) = self.state.active_mut() {
                    active.of_past_statement = true;
                }
                self.load_past().await
            }
            _ => Err(SqlError::unsupported("AS OF SYSTEM TIME within a transaction of another time")
                .with_hint(
                    "Use BEGIN AS OF SYSTEM TIME, or SET TRANSACTION AS OF SYSTEM TIME before any query.",
                )),
        }
    }

    /// Makes the running transaction one of that time, as long as nothing has happened in it. Its catalog is to be loaded
    /// next.
    pub(super) fn move_to_past(&mut self, at: Timestamp, read_only: Option<bool>) -> SqlResult<()> {
        let Some(active) = self.state.active() else { return Ok(()) };
        let (started, modes) = (active.started, active.modes.in_past(at, read_only)?);
        if active.progress() != Progress::Fresh {
            let message = "SET TRANSACTION AS OF SYSTEM TIME must be called before any query";
            return Err(SqlError::new(state::ACTIVE_SQL_TRANSACTION, message));
        }
        let mut other = self.begin_active(modes)?;
        other.started = started;
        if let Some(active) = self.state.active_mut() {
            *active = other;
        }
        Ok(())
    }

    /// Has names mean what they meant at the time of the transaction, if that is past.
    pub(super) async fn load_past(&mut self) -> SqlResult<()> {
        let Some(active) = self.state.active().filter(|a| a.modes.as_of.is_some()) else { return Ok(()) };
        let txn = active.txn.clone();
        let past = self.catalog_as_of(txn).await?;
        self.catalog.go_back(past);
        Ok(())
    }

    /// As [`load_past`](Self::load_past), for a block that has just begun and is not to be there if that fails.
    pub(super) async fn load_past_or_end(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        let loaded = self.load_past().await;
        if loaded.is_err()
            && let Some(active) = self.take_active()
        {
            self.abandon(active, client).await;
        }
        loaded
    }

    async fn catalog_as_of(&mut self, txn: Txn) -> SqlResult<Arc<Catalog>> {
        let cache = self.catalog.cache().clone();
        let at = txn.read_timestamp();
        let load = async move { cache.as_of(&txn).await };
        let past = self.guarded(load).await?;
        if !past.databases.contains_key(&self.database) {
            let (name, at) = (&self.database_name, hybrid::to_numeric(at));
            let message = format!("database \"{name}\" did not exist at the time {at}");
            return Err(SqlError::new(state::INVALID_CATALOG_NAME, message));
        }
        Ok(past)
    }

    /// The plan of a statement with the clause, outside of the transaction in which it will run.
    pub(super) async fn planned_in_past(
        &mut self,
        prepared: &Arc<Prepared>,
        clause: &ast::Expr,
        source: &str,
    ) -> SqlResult<Arc<Planned>> {
        let at = self.time_of(clause, source)?;
        let txn = self.node.db.begin(TxnOptions { read_only: true, as_of: Some(at), ..Default::default() });
        let past = self.catalog_as_of(txn).await?;
        self.catalog.go_back(past);
        let planned = self.planned(prepared);
        self.catalog.return_to_now();
        planned
    }
}

/// What a value means as a time.
struct Meaning<'a> {
    /// What intervals count from, microseconds since 2000-01-01 UTC.
    base: i64,
    text: &'a TextContext<'a>,
}

impl Meaning<'_> {
    fn of(&self, value: &Datum, ty: Oid) -> SqlResult<Timestamp> {
        let number = |n: i64| Numeric::from_i128(n.into(), 0);
        match value {
            Datum::Text(text) => self.of_text(text.trim()),
            Datum::Interval(interval) => self.before(interval),
            Datum::Timestamp(t) if ty == Oid::TIMESTAMPTZ => at_micros(*t),
            Datum::Timestamp(t) => self.local(*t),
            Datum::Date(days) => self.local(date_to_timestamp(*days)?),
            Datum::Numeric(n) => decimal(n),
            Datum::Int8(n) => decimal(&number(*n)),
            Datum::Int4(n) => decimal(&number((*n).into())),
            Datum::Int2(n) => decimal(&number((*n).into())),
            Datum::Null => {
                Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "AS OF SYSTEM TIME: NULL is no time"))
            }
            _ => Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                "AS OF SYSTEM TIME: expected a timestamp, a decimal, or an interval",
            )),
        }
    }

    fn of_text(&self, text: &str) -> SqlResult<Timestamp> {
        if hybrid::is_decimal(text) {
            return decimal(&Numeric::parse(text)?);
        }
        let interval = || parse_interval(text, -1, self.text);
        // What begins with a sign is no timestamp, whatever else could be read from it.
        if text.starts_with('-')
            && let Ok(interval) = interval()
        {
            return self.before(&interval);
        }
        match parse_timestamptz(text, self.text) {
            Ok(t) => at_micros(t),
            // The day there is not, for instance.
            Err(e) if e.code() != state::INVALID_DATETIME_FORMAT => Err(e),
            Err(_) => match interval() {
                Ok(interval) => self.before(&interval),
                Err(_) => Err(SqlError::new(
                    state::INVALID_DATETIME_FORMAT,
                    format!(
                        "AS OF SYSTEM TIME: \"{text}\" is neither a timestamp, nor a decimal, nor an interval"
                    ),
                )
                .with_hint(
                    "Write '2024-02-29 12:00:00+00', '-10s', or what cluster_logical_timestamp() has given.",
                )),
            },
        }
    }

    /// A negative interval leads to the past.
    fn before(&self, interval: &Interval) -> SqlResult<Timestamp> {
        at_micros(add_interval_in_zone(self.base, interval, &self.text.format.time_zone)?)
    }

    fn local(&self, t: i64) -> SqlResult<Timestamp> {
        at_micros(self.text.format.time_zone.to_utc(t))
    }
}

fn decimal(number: &Numeric) -> SqlResult<Timestamp> {
    let at = hybrid::from_numeric(number).filter(|at| !at.is_zero());
    at.ok_or_else(|| {
        let message = format!("AS OF SYSTEM TIME: {number} is no timestamp of the cluster's");
        SqlError::new(state::INVALID_PARAMETER_VALUE, message).with_hint(
            "It is to be nanoseconds since 1970, with ten digits for the counter behind the point.",
        )
    })
}

/// `t`: microseconds since 2000-01-01 UTC.
fn at_micros(t: i64) -> SqlResult<Timestamp> {
    let nanos = (i128::from(t) + i128::from(POSTGRES_EPOCH_MICROS)) * 1000;
    if nanos <= 0 {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            "AS OF SYSTEM TIME: there was nothing before 1970",
        ));
    }
    Ok(Timestamp::new(u64::try_from(nanos).unwrap_or(u64::MAX), 0))
}
