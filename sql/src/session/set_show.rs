//! SET, RESET, SHOW and DISCARD: the statements by which a client reaches its session's settings.
//!
//! What settings exist and what values they take is told in [`super::settings`]; here is how statements name, write and
//! show them.
//!
//! What must stay true:
//! - A change of a setting that the client tracks is reported to it before the statement is acknowledged.
//! - The modes of the running transaction are no settings, though they have names like theirs: what is set goes to
//!   [`super::modes`], what is shown is the transaction's own where there is one.
//! - Describe names the same columns that SHOW then sends.
//! - Of users and roles nothing can be set but what the session is already.

use super::Session;
use super::client::Client;
use super::modes::warn_outside_block;
use super::settings::{definition, unrecognized};
use super::statement::Delivery;
use super::text_rows::{send_table, text_fields};
use super::transaction::State;
use crate::bind::{fold, object_name_parts};
use crate::catalog::virtual_tables::quote_ident;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, Expr, Ident, ObjectName};
use crate::plan::Schema;

impl Session {
    pub(super) fn set(&mut self, set: &ast::Set, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        match set {
            ast::Set::SingleAssignment { scope, variable, values, .. } => {
                let local = matches!(scope, Some(ast::ContextModifier::Local));
                let name = dotted_name(variable)?;
                self.set_one(&name, setting_value(&name, values)?.as_deref(), local, delivery)?;
            }
            ast::Set::SetTimeZone { local, value } => {
                let value = match value {
                    Expr::Identifier(i) if ["local", "default"].contains(&&*fold(i)) => None,
                    e => Some(setting_text(e)?),
                };
                self.set_one("timezone", value.as_deref(), *local, delivery)?;
            }
            ast::Set::SetNames { charset_name, .. } => {
                let name = charset_name.value.clone();
                self.set_one("client_encoding", Some(&name), false, delivery)?;
            }
            ast::Set::SetNamesDefault {} => self.set_one("client_encoding", None, false, delivery)?,
            ast::Set::SetSessionAuthorization(param) => {
                let own = match &param.kind {
                    ast::SetSessionAuthorizationParamKind::Default => true,
                    ast::SetSessionAuthorizationParamKind::User(user) => fold(user) == self.user,
                };
                if !own {
                    return Err(SqlError::unsupported("SET SESSION AUTHORIZATION to another user"));
                }
            }
            ast::Set::SetRole { role_name, .. } => {
                if role_name.as_ref().is_some_and(|r| fold(r) != self.user && fold(r) != "none") {
                    return Err(SqlError::unsupported("SET ROLE to another role"));
                }
            }
            _ => return Err(SqlError::unsupported(format!("SET in this form ({set})"))),
        }
        delivery.client.complete("SET");
        Ok(())
    }

    fn set_one(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let lower = name.to_ascii_lowercase();
        let in_transaction = self.settings_transaction(delivery)?;
        if local && !in_transaction {
            warn_outside_block("SET LOCAL", delivery.client);
        }
        if self.set_mode(&lower, value, delivery)? {
            return Ok(());
        }
        if local && !in_transaction {
            // It would end with the statement: only what is wrong with it matters.
            self.settings.clone().set(name, value, true, false)?;
            return Ok(());
        }
        if let Some((name, value)) = self.settings.set(name, value, local, in_transaction)? {
            delivery.client.parameter_status(name, &value);
        }
        Ok(())
    }

    /// Whether a change of settings is undone with a transaction: also with that of a message or a pipeline, which begins
    /// here if nothing has begun it.
    pub(super) fn settings_transaction(&mut self, delivery: &Delivery<'_>) -> SqlResult<bool> {
        if !delivery.autocommit && matches!(self.state, State::Idle) {
            self.state = State::Implicit(self.begin_active(self.modes())?);
        }
        Ok(self.state.active().is_some())
    }

    pub(super) fn reset(&mut self, reset: &ast::Reset, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        match reset {
            ast::Reset::ALL => {
                let in_transaction = self.settings_transaction(delivery)?;
                for (name, value) in self.settings.reset_all(in_transaction) {
                    delivery.client.parameter_status(name, &value);
                }
            }
            ast::Reset::SessionAuthorization => {}
            ast::Reset::ConfigurationParameter(name) => {
                let name = dotted_name(name)?;
                if name.eq_ignore_ascii_case("role") {
                    delivery.client.complete("RESET");
                    return Ok(());
                }
                self.set_one(&name, None, false, delivery)?;
            }
        }
        delivery.client.complete("RESET");
        Ok(())
    }

    pub(super) fn show(&mut self, variable: &[Ident], delivery: &mut Delivery<'_>) -> SqlResult<()> {
        let view = self.view();
        let name = show_name(variable);
        if name == "all" {
            let row = |(name, value, description): (String, String, &str)| {
                let value = self.setting_now(&name).unwrap_or(value);
                vec![name, value, description.to_string()]
            };
            let rows: Vec<Vec<String>> = self.settings.all().into_iter().map(row).collect();
            send_table(delivery, &["name", "setting", "description"], &rows, &view)?;
        } else {
            let value = self.setting_now(&name).ok_or_else(|| unrecognized(&name))?;
            let shown = definition(&name).map_or(name.clone(), |d| d.report.unwrap_or(d.name).to_string());
            send_table(delivery, &[&shown], &[vec![value]], &view)?;
        }
        delivery.client.complete("SHOW");
        Ok(())
    }

    /// A setting's value, those of the running transaction included.
    fn setting_now(&self, name: &str) -> Option<String> {
        match name.to_ascii_lowercase().as_str() {
            "meridian.clock" => Some(self.node.clock_state()),
            "meridian.consistency" => Some(self.node.consistency.clone()),
            name => self.modes().shown(name).map(String::from).or_else(|| self.settings.get(name)),
        }
    }

    pub(super) fn discard(&mut self, what: &ast::DiscardObject, client: &mut dyn Client) -> SqlResult<()> {
        let tag = match what {
            ast::DiscardObject::ALL => {
                if self.state.in_block() {
                    return Err(SqlError::new(
                        state::ACTIVE_SQL_TRANSACTION,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.prepared.clear();
                self.portals.clear();
                for (name, value) in self.settings.reset_all(false) {
                    client.parameter_status(name, &value);
                }
                self.sequences.clear();
                "DISCARD ALL"
            }
            ast::DiscardObject::PLANS => "DISCARD PLANS",
            ast::DiscardObject::SEQUENCES => {
                self.sequences.clear();
                "DISCARD SEQUENCES"
            }
            ast::DiscardObject::TEMP => "DISCARD TEMP",
        };
        client.complete(tag);
        Ok(())
    }
}

/// The fields of what SHOW answers.
pub(super) fn show_fields(variable: &[Ident]) -> Schema {
    match show_name(variable).as_str() {
        "all" => text_fields(&["name", "setting", "description"]),
        name => text_fields(&[
            &definition(name).map_or(name.to_string(), |d| d.report.unwrap_or(d.name).to_string())
        ]),
    }
}

fn show_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|w| fold(w).into_owned()).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        _ => words.join("."),
    }
}

/// A name of several parts, folded, as one text.
pub(super) fn dotted_name(name: &ObjectName) -> SqlResult<String> {
    let parts: Vec<String> = object_name_parts(name)?.into_iter().map(|p| fold(p).into_owned()).collect();
    Ok(parts.join("."))
}

/// The text of what is assigned to a setting; `None` for DEFAULT. A list is joined as PostgreSQL does: one of names keeps
/// their quotes, so that it reads back the same.
fn setting_value(name: &str, values: &[Expr]) -> SqlResult<Option<String>> {
    if let [Expr::Identifier(i)] = values
        && i.quote_style.is_none()
        && i.value.eq_ignore_ascii_case("default")
    {
        return Ok(None);
    }
    let names = name.eq_ignore_ascii_case("search_path");
    if values.len() > 1 && !names && !name.eq_ignore_ascii_case("datestyle") {
        let what = format!("SET {name} takes only one argument");
        return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, what));
    }
    let parts = values.iter().map(|e| match is_number(e) {
        false if names => setting_text(e).map(|text| quote_ident(&text)),
        _ => setting_text(e),
    });
    Ok(Some(parts.collect::<SqlResult<Vec<String>>>()?.join(", ")))
}

fn is_number(e: &Expr) -> bool {
    match e {
        Expr::Value(v) => matches!(v.value, ast::Value::Number(..)),
        Expr::UnaryOp { expr, .. } => is_number(expr),
        _ => false,
    }
}

fn setting_text(e: &Expr) -> SqlResult<String> {
    use ast::Value::*;
    Ok(match e {
        Expr::Value(v) => match &v.value {
            Number(n, _) => n.to_string(),
            SingleQuotedString(s) | EscapedStringLiteral(s) | DoubleQuotedString(s) => s.clone(),
            DollarQuotedString(s) => s.value.clone(),
            Boolean(b) => if *b { "on" } else { "off" }.into(),
            other => {
                return Err(SqlError::new(
                    state::SYNTAX_ERROR,
                    format!("syntax error at or near \"{other}\""),
                ));
            }
        },
        Expr::Identifier(i) => fold(i).into_owned(),
        Expr::CompoundIdentifier(parts) => {
            parts.iter().map(|p| fold(p).into_owned()).collect::<Vec<_>>().join(".")
        }
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => format!("-{}", setting_text(expr)?),
        Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => setting_text(expr)?,
        Expr::Interval(i) => setting_text(&i.value)?,
        other => {
            return Err(SqlError::new(state::SYNTAX_ERROR, format!("syntax error at or near \"{other}\"")));
        }
    })
}
