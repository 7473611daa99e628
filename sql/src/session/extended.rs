//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Sync.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{Client, Format, column_format};
use super::prepared::{Planned, Portal, Prepared, Running, cannot_run, result_type_changed, same_columns};
use super::set_show::dotted_name;
use super::statement::Delivery;
use super::transaction::State;
use super::{Session, classify, text_rows};
use crate::error::{SqlError, SqlResult, state};
use crate::parse;
use crate::plan::Schema;
use crate::types::{Datum, Oid, SqlType, binary, text};

/// The answer to Describe.
pub struct Described {
    /// Only for statements.
    pub params: Option<Vec<Oid>>,
    /// `None`: no rows.
    pub fields: Option<Schema>,
    pub formats: Vec<Format>,
}

impl Session {
    pub async fn parse(&mut self, name: &str, text: &str, types: &[u32]) -> SqlResult<()> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(SqlError::new(
                state::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let parsed = parse::parse_single(text)?;
        if let Some(p) = &parsed
            && matches!(self.state, State::Failed(_))
            && !classify::ends_failed(&p.statement)
        {
            return Err(SqlError::new(
                state::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let hints = types.iter().map(|t| Oid(*t)).collect();
        let prepared = Arc::new(Prepared::new(text, parsed, Some(hints)));
        // Errors of names and types show now.
        self.planned_anew(&prepared).await?;
        self.prepared.insert(name.into(), prepared);
        Ok(())
    }

    pub async fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        formats: &[Format],
        values: Vec<Option<Bytes>>,
        result_formats: Vec<Format>,
    ) -> SqlResult<()> {
        let prepared = self.statement_named(statement)?;
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(SqlError::new(
                state::DUPLICATE_CURSOR,
                format!("cursor \"{portal}\" already exists"),
            ));
        }
        if let Some(p) = &prepared.parsed
            && matches!(self.state, State::Failed(_))
            && !classify::ends_failed(&p.statement)
        {
            return Err(SqlError::new(
                state::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let planned = self.planned(&prepared)?;
        let types = planned.params();
        if values.len() != types.len() {
            return Err(SqlError::new(
                state::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                    values.len(),
                    types.len()
                ),
            ));
        }
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(SqlError::new(
                state::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {} parameter formats but {} parameters",
                    formats.len(),
                    values.len()
                ),
            ));
        }
        let fields = self.fields_of(&prepared, &planned)?;
        if let Some(fields) = &fields
            && result_formats.len() > 1
            && result_formats.len() != fields.len()
        {
            return Err(SqlError::new(
                state::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {} result formats but query has {} columns",
                    result_formats.len(),
                    fields.len()
                ),
            ));
        }
        let params = if values.is_empty() {
            self.no_params.clone()
        } else {
            self.parameters(types, formats, &values)?
        };
        let made_in = self.subtransaction();
        self.portals.insert(
            portal.into(),
            Portal {
                prepared,
                fields,
                params,
                formats: result_formats,
                made_in,
                running: Running::NotStarted,
            },
        );
        Ok(())
    }

    fn parameters(
        &mut self,
        types: &[Oid],
        formats: &[Format],
        values: &[Option<Bytes>],
    ) -> SqlResult<Arc<[Datum]>> {
        let view = self.view();
        let one = |i: usize, value: &Option<Bytes>| -> SqlResult<Datum> {
            let Some(bytes) = value else { return Ok(Datum::Null) };
            match column_format(formats, i) {
                Format::Binary => binary::receive(SqlType::new(types[i]), bytes)
                    .map_err(|e| e.with_context(format!("unnamed portal parameter ${}", i + 1))),
                Format::Text => {
                    let text = std::str::from_utf8(bytes).map_err(|_| {
                        SqlError::new(
                            state::CHARACTER_NOT_IN_REPERTOIRE,
                            "invalid byte sequence for encoding \"UTF8\"",
                        )
                    })?;
                    if text.contains('\0') {
                        return Err(SqlError::new(
                            state::CHARACTER_NOT_IN_REPERTOIRE,
                            "invalid byte sequence for encoding \"UTF8\": 0x00",
                        ));
                    }
                    text::input(SqlType::new(types[i]), text, &view.text())
                }
            }
        };
        values.iter().enumerate().map(|(i, v)| one(i, v)).collect()
    }

    pub fn describe_statement(&mut self, name: &str) -> SqlResult<Described> {
        let prepared = self.statement_named(name)?;
        let planned = self.planned(&prepared)?;
        Ok(Described {
            params: Some(planned.params().to_vec()),
            fields: self.fields_of(&prepared, &planned)?,
            formats: Vec::new(),
        })
    }

    pub fn describe_portal(&mut self, name: &str) -> SqlResult<Described> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        Ok(Described { params: None, fields: portal.fields.clone(), formats: portal.formats.clone() })
    }

    /// The fields of the rows that a statement would return now.
    pub(super) fn result_fields(&mut self, prepared: &Arc<Prepared>) -> SqlResult<Option<Schema>> {
        let planned = self.planned(prepared)?;
        self.fields_of(prepared, &planned)
    }

    fn fields_of(&mut self, prepared: &Prepared, planned: &Planned) -> SqlResult<Option<Schema>> {
        match planned {
            Planned::Query(q) => Ok(q.output.clone()),
            Planned::Explain { .. } => Ok(Some(text_rows::text_fields(&["QUERY PLAN"]))),
            Planned::Utility { .. } => match &prepared.parsed {
                Some(parsed) => self.utility_fields(&parsed.statement),
                None => Ok(None),
            },
        }
    }

    /// The statement or the cursor that a portal's names denote may be another one than when the portal was made, and
    /// perhaps described.
    fn check_fields(&mut self, prepared: &Prepared, bound: Option<&Schema>) -> SqlResult<()> {
        let Some(parsed) = &prepared.parsed else { return Ok(()) };
        if !classify::is_utility(&parsed.statement) {
            return Ok(());
        }
        match self.utility_fields(&parsed.statement)? {
            Some(now) if !same_columns(bound, Some(&now)) => Err(result_type_changed()),
            _ => Ok(()),
        }
    }

    /// `sync_follows`: the client's next message is Sync, so that the statement, if it is the pipeline's only one, can be
    /// committed before it is acknowledged.
    pub async fn execute(
        &mut self,
        name: &str,
        max_rows: usize,
        sync_follows: bool,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        self.cancel.clear();
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let running = std::mem::replace(&mut portal.running, Running::Active);
        let result = self.run_portal(name, running, max_rows, sync_follows, client).await;
        let (running, result) = match result {
            Ok(running) => (running, Ok(())),
            Err(e) => (Running::Failed, Err(e)),
        };
        if let Some(portal) = self.portals.get_mut(name) {
            portal.running = running;
        }
        result
    }

    async fn run_portal(
        &mut self,
        name: &str,
        running: Running,
        max_rows: usize,
        sync_follows: bool,
        client: &mut dyn Client,
    ) -> SqlResult<Running> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        let (prepared, params, formats) =
            (portal.prepared.clone(), portal.params.clone(), portal.formats.clone());
        let fields = portal.fields.clone();
        if matches!(running, Running::NotStarted) {
            self.check_fields(&prepared, fields.as_ref())?;
        }
        let autocommit = sync_follows && matches!(self.state, State::Idle);
        let delivery = Delivery { client, formats: &formats, describe: false, max_rows, autocommit };
        match running {
            Running::NotStarted => {
                if let (Some(parsed), State::Implicit(_)) = (&prepared.parsed, &self.state) {
                    let what = "cannot be executed within a pipeline";
                    classify::refuse_among_others(&parsed.statement, what)?;
                }
                self.run(&prepared, &params, delivery).await
            }
            Running::Suspended(s) => self.resume(*s, delivery).await,
            Running::Stored(s) => {
                let fields = fields.unwrap_or_default();
                self.deliver(s, &fields, delivery).await
            }
            Running::Finished if prepared.parsed.is_none() => {
                delivery.client.empty_query();
                Ok(Running::Finished)
            }
            Running::Finished if fields.is_some() => {
                delivery.client.complete(self.finished_tag(&prepared));
                Ok(Running::Finished)
            }
            Running::Finished | Running::Active | Running::Failed => Err(cannot_run(name)),
        }
    }

    /// EXECUTE answers as what it executes.
    fn finished_tag(&self, prepared: &Prepared) -> &'static str {
        let executed = prepared.parsed.as_ref().and_then(|p| classify::executed_name(&p.statement));
        let inner = executed.and_then(|name| self.prepared.get(&dotted_name(name).ok()?));
        classify::finished_tag(inner.map_or(prepared, |inner| inner))
    }

    /// Ends the pipeline: commits the implicit transaction. An error is for the caller to report.
    pub async fn sync(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        if let Err(e) = self.commit_implicit(client).await {
            self.fail(&e, client).await;
            return Err(e);
        }
        if matches!(self.state, State::Idle) {
            self.portals.clear();
        }
        Ok(())
    }

    pub fn close_statement(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub(super) fn statement_named(&self, name: &str) -> SqlResult<Arc<Prepared>> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            let text = if name.is_empty() {
                "unnamed prepared statement does not exist".to_string()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            SqlError::new(state::INVALID_SQL_STATEMENT_NAME, text)
        })
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(state::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}
