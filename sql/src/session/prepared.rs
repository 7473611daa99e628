//! Prepared statements and portals.
//!
//! A prepared statement keeps its plan until the catalog changes or a setting that the plan depends on does; then it is bound and
//! optimised again, and refused (`0A000`, as in PostgreSQL) if that changes the columns of its result.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::Format;
use super::transaction::SubtransactionId;
use crate::bind::QueryKind;
use crate::catalog::TableDescriptor;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{ExecContext, Operator};
use crate::parse::{Explain, ParsedStatement};
use crate::plan::Schema;
use crate::plan::physical::PhysicalPlan;
use crate::types::{Batch, Datum, Oid};

pub struct Prepared {
    pub text: Arc<str>,
    /// `None`: the empty statement.
    pub parsed: Option<ParsedStatement>,
    /// Parameter types that the client declared; `None`: it has no way to give parameters.
    pub hints: Option<Vec<Oid>>,
    planned: Mutex<Option<(PlanKey, Arc<Planned>)>>,
    /// Made by SQL's PREPARE rather than by the protocol.
    pub from_sql: bool,
}

/// What a plan was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanKey {
    pub catalog_version: u64,
    /// Of the session's own changed copy of the catalog; 0 outside of schema changes.
    pub overlay: u64,
    pub settings: u64,
}

pub enum Planned {
    Query(PlannedQuery),
    Explain {
        explain: ExplainFlags,
        query: PlannedQuery,
    },
    /// Run from its tree. What it returns may change with every name that changes hands: nothing of it is kept.
    Utility {
        params: Vec<Oid>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct ExplainFlags {
    pub analyze: bool,
    pub verbose: bool,
    pub costs: bool,
    pub timing: bool,
    pub json: bool,
}

impl ExplainFlags {
    pub fn of(e: &Explain) -> SqlResult<Self> {
        use crate::parse::ExplainFormat::*;
        let json = match e.format {
            Text => false,
            Json => true,
            Xml => return Err(SqlError::unsupported("EXPLAIN (FORMAT XML)")),
            Yaml => return Err(SqlError::unsupported("EXPLAIN (FORMAT YAML)")),
        };
        Ok(ExplainFlags { analyze: e.analyze, verbose: e.verbose, costs: e.costs, timing: e.timing, json })
    }
}

pub struct PlannedQuery {
    pub kind: QueryKind,
    pub plan: Arc<PhysicalPlan>,
    /// What is pinned while it runs.
    pub tables: Vec<Arc<TableDescriptor>>,
    pub output: Option<Schema>,
    pub params: Vec<Oid>,
    pub read_only: bool,
    /// Changes rows, be it only in WITH.
    pub changes_data: bool,
}

impl Planned {
    /// What is run bit by bit.
    pub fn query(&self) -> Option<&PlannedQuery> {
        match self {
            Planned::Query(query) => Some(query),
            Planned::Explain { .. } | Planned::Utility { .. } => None,
        }
    }

    pub fn params(&self) -> &[Oid] {
        match self {
            Planned::Query(q) | Planned::Explain { query: q, .. } => &q.params,
            Planned::Utility { params } => params,
        }
    }
}

impl Prepared {
    pub fn new(text: &str, parsed: Option<ParsedStatement>, hints: Option<Vec<Oid>>) -> Self {
        Prepared { text: text.into(), parsed, hints, planned: Mutex::new(None), from_sql: false }
    }

    /// The plan, if it is still good.
    pub fn planned(&self, key: PlanKey) -> Option<Arc<Planned>> {
        self.planned.lock().as_ref().filter(|(k, _)| *k == key).map(|(_, p)| p.clone())
    }

    /// The plan that was made last, whatever it was made for.
    pub fn last_plan(&self) -> Option<Arc<Planned>> {
        self.planned.lock().as_ref().map(|(_, planned)| planned.clone())
    }

    /// Keeps a new plan. Refuses one whose result has other columns than the one before, unless the statement is run at
    /// once, as a simple query is: nobody has been told of them.
    pub fn keep(&self, key: PlanKey, planned: Planned) -> SqlResult<Arc<Planned>> {
        let mut slot = self.planned.lock();
        if self.hints.is_some()
            && let Some((_, old)) = &*slot
            && let (Planned::Query(old), Planned::Query(new)) = (&**old, &planned)
            && !same_columns(old.output.as_ref(), new.output.as_ref())
        {
            return Err(result_type_changed());
        }
        let planned = Arc::new(planned);
        *slot = Some((key, planned.clone()));
        Ok(planned)
    }
}

pub fn result_type_changed() -> SqlError {
    SqlError::new(state::FEATURE_NOT_SUPPORTED, "cached plan must not change result type")
}

pub fn same_columns(a: Option<&Schema>, b: Option<&Schema>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.ty == b.ty && a.name == b.name)
        }
        _ => false,
    }
}

/// A statement with its parameters, run wholly or piece by piece.
pub struct Portal {
    pub prepared: Arc<Prepared>,
    /// Of the rows that it returns, as they were when it was made; `None`: no rows.
    pub fields: Option<Schema>,
    pub params: Arc<[Datum]>,
    pub formats: Vec<Format>,
    /// In which subtransaction it was made: it goes with what that has written.
    pub made_in: SubtransactionId,
    pub running: Running,
}

/// The error of a portal that runs already, has failed, or returns no rows and has run.
pub fn cannot_run(portal: &str) -> SqlError {
    SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("portal \"{portal}\" cannot be run"))
}

/// How far a portal has got.
#[derive(Default)]
pub enum Running {
    #[default]
    NotStarted,
    /// It is running.
    Active,
    /// Its run has failed: it cannot be run again, nor go on.
    Failed,
    /// Suspended at a row limit.
    Suspended(Box<Suspended>),
    /// Run to its end, its rows not all handed over.
    Stored(Stored),
    Finished,
}

pub struct Suspended {
    pub operator: Box<dyn Operator>,
    pub planned: Arc<Planned>,
    /// Rows that have been computed but not sent.
    pub rest: Option<Batch>,
    pub sent: u64,
    /// What it runs in, if it can begin anew: nobody has seen anything of it.
    pub unseen: Option<ExecContext>,
}

/// What is left of a result that is known as a whole.
pub struct Stored {
    pub rows: VecDeque<Batch>,
    /// Of the whole.
    pub tag: String,
}

impl Stored {
    /// The tag of a last piece of so many rows: where the tag counts, it counts these.
    pub fn tag_of(&self, rows: u64) -> String {
        match self.tag.rsplit_once(' ') {
            Some((command, count)) if count.parse::<u64>().is_ok() => format!("{command} {rows}"),
            _ => self.tag.clone(),
        }
    }
}
