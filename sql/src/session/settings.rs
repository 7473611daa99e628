//! The settings of a session: what SET, SHOW and the startup message know.
//!
//! One table describes them all. A SET inside a transaction is undone when the transaction rolls back; a SET LOCAL also
//! when it commits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_txn::Isolation;

use super::date_style::date_style;
use crate::error::{SqlError, SqlResult, state};
use crate::types::datetime::{DateOrder, DateStyle, IntervalStyle, TimeZone};
use crate::types::text::FormatSettings;

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// Milliseconds, with PostgreSQL's units (us, ms, s, min, h, d).
    Millis,
    Enum(&'static [&'static str]),
    Text,
    Real,
    /// Bytes in kB, with units.
    Memory,
    TimeZone,
    DateStyle,
    Isolation,
}

pub struct Definition {
    pub name: &'static str,
    pub default: &'static str,
    pub kind: Kind,
    /// The client is told of changes (ParameterStatus), with the setting's name in this spelling.
    pub report: Option<&'static str>,
    pub read_only: bool,
    pub description: &'static str,
}

const fn def(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition { name, default, kind, report: None, read_only: false, description }
}

const fn reported(
    name: &'static str,
    shown: &'static str,
    default: &'static str,
    kind: Kind,
    description: &'static str,
) -> Definition {
    Definition { name, default, kind, report: Some(shown), read_only: false, description }
}

const fn fixed(name: &'static str, value: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition { name, default: value, kind, report: None, read_only: true, description }
}

const fn fixed_reported(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    description: &'static str,
) -> Definition {
    Definition { name, default: value, kind, report: Some(name), read_only: true, description }
}

/// The version of PostgreSQL whose behaviour we give.
pub const SERVER_VERSION: &str = "15.0 (Meridian 0.1.0)";

/// Every setting, by name in ascending order.
pub static DEFINITIONS: &[Definition] = &[
    reported(
        "application_name",
        "application_name",
        "",
        Kind::Text,
        "Name of the application, for logs and statistics.",
    ),
    def("array_nulls", "on", Kind::Bool, "Whether NULL in array input means a null."),
    def(
        "backslash_quote",
        "safe_encoding",
        Kind::Enum(&["safe_encoding", "on", "off"]),
        "Whether \\' is allowed in strings.",
    ),
    fixed("block_size", "8192", Kind::Int { min: 8192, max: 8192 }, "Size of a disk block."),
    def("bytea_output", "hex", Kind::Enum(&["hex", "escape"]), "The output format for bytea."),
    def("check_function_bodies", "on", Kind::Bool, "Checks functions when they are made."),
    reported(
        "client_encoding",
        "client_encoding",
        "UTF8",
        Kind::Text,
        "The client's character set: UTF8 only.",
    ),
    def(
        "client_min_messages",
        "notice",
        Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "The least severity sent to the client.",
    ),
    reported("datestyle", "DateStyle", "ISO, MDY", Kind::DateStyle, "The display format of dates and times."),
    fixed("data_directory_mode", "0700", Kind::Text, "Mode of the data directory."),
    def("deadlock_timeout", "1000", Kind::Millis, "Accepted; deadlocks are found within a second."),
    fixed("debug_assertions", "off", Kind::Bool, "Whether assertions are on."),
    def(
        "default_statistics_target",
        "100",
        Kind::Int { min: 1, max: 10000 },
        "Accepted; statistics are exact or sampled as needed.",
    ),
    def("default_table_access_method", "heap", Kind::Text, "Accepted."),
    def("default_tablespace", "", Kind::Text, "Accepted."),
    def("default_toast_compression", "pglz", Kind::Text, "Accepted."),
    def("default_transaction_deferrable", "off", Kind::Bool, "Whether new transactions are deferrable."),
    def(
        "default_transaction_isolation",
        "serializable",
        Kind::Isolation,
        "The isolation level of new transactions.",
    ),
    def("default_transaction_read_only", "off", Kind::Bool, "Whether new transactions are read only."),
    def("default_with_oids", "off", Kind::Bool, "Accepted."),
    def("enable_bitmapscan", "on", Kind::Bool, "Accepted."),
    def("enable_hashagg", "on", Kind::Bool, "Whether the planner may aggregate by hashing."),
    def("enable_hashjoin", "on", Kind::Bool, "Whether the planner may join by hashing."),
    def("enable_indexonlyscan", "on", Kind::Bool, "Accepted."),
    def("enable_indexscan", "on", Kind::Bool, "Accepted."),
    def("enable_material", "on", Kind::Bool, "Accepted."),
    def("enable_mergejoin", "on", Kind::Bool, "Accepted."),
    def("enable_nestloop", "on", Kind::Bool, "Accepted."),
    def("enable_seqscan", "on", Kind::Bool, "Accepted."),
    def("enable_sort", "on", Kind::Bool, "Accepted."),
    def("escape_string_warning", "on", Kind::Bool, "Accepted."),
    def("extra_float_digits", "1", Kind::Int { min: -15, max: 3 }, "Digits of floating point output."),
    def("geqo", "on", Kind::Bool, "Accepted."),
    def("gin_fuzzy_search_limit", "0", Kind::Int { min: 0, max: i32::MAX as i64 }, "Accepted."),
    def(
        "idle_in_transaction_session_timeout",
        "0",
        Kind::Millis,
        "How long a transaction may be idle; 0 = forever.",
    ),
    def("idle_session_timeout", "0", Kind::Millis, "How long a session may be idle; 0 = forever."),
    reported("in_hot_standby", "in_hot_standby", "off", Kind::Bool, "Always off: every node accepts writes."),
    fixed_reported("integer_datetimes", "on", Kind::Bool, "Times are integers of microseconds."),
    reported(
        "intervalstyle",
        "IntervalStyle",
        "postgres",
        Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "The display format of intervals.",
    ),
    fixed_reported("is_superuser", "on", Kind::Bool, "Whether the user is a superuser."),
    def("jit", "off", Kind::Bool, "Accepted."),
    def("join_collapse_limit", "8", Kind::Int { min: 1, max: i32::MAX as i64 }, "Accepted."),
    fixed("lc_collate", "C.UTF-8", Kind::Text, "Collation order: by bytes."),
    fixed("lc_ctype", "C.UTF-8", Kind::Text, "Character classes."),
    def("lc_messages", "C", Kind::Text, "Accepted."),
    def("lc_monetary", "C", Kind::Text, "Accepted."),
    def("lc_numeric", "C", Kind::Text, "Accepted."),
    def("lc_time", "C", Kind::Text, "Accepted."),
    def("lock_timeout", "0", Kind::Millis, "How long a statement waits for one lock; 0 = forever."),
    def("log_min_duration_statement", "-1", Kind::Int { min: -1, max: i32::MAX as i64 }, "Accepted."),
    def("log_statement", "none", Kind::Text, "Accepted."),
    def("maintenance_work_mem", "65536", Kind::Memory, "Accepted."),
    fixed(
        "max_connections",
        "1000",
        Kind::Int { min: 1, max: 262143 },
        "The number of sessions that a node takes.",
    ),
    fixed(
        "max_identifier_length",
        "63",
        Kind::Int { min: 63, max: 63 },
        "The length to which names are cut.",
    ),
    fixed("max_index_keys", "32", Kind::Int { min: 32, max: 32 }, "The number of columns of an index."),
    def("max_parallel_workers_per_gather", "0", Kind::Int { min: 0, max: 1024 }, "Accepted."),
    fixed(
        "max_prepared_transactions",
        "0",
        Kind::Int { min: 0, max: 0 },
        "PREPARE TRANSACTION is not supported.",
    ),
    fixed("meridian.clock", "", Kind::Text, "Whether this node's clock can be relied upon."),
    fixed("meridian.consistency", "", Kind::Text, "The guarantee in force at SERIALIZABLE."),
    def("password_encryption", "scram-sha-256", Kind::Text, "Accepted."),
    def(
        "plan_cache_mode",
        "auto",
        Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "Accepted.",
    ),
    def("quote_all_identifiers", "off", Kind::Bool, "Accepted."),
    def("random_page_cost", "4", Kind::Real, "Accepted."),
    def("row_security", "on", Kind::Bool, "Accepted."),
    def(
        "search_path",
        "\"$user\", public",
        Kind::Text,
        "The schemas in which unqualified names are looked up.",
    ),
    fixed_reported("server_encoding", "UTF8", Kind::Text, "The character set of what is stored."),
    fixed_reported("server_version", SERVER_VERSION, Kind::Text, "The version."),
    fixed(
        "server_version_num",
        "150000",
        Kind::Int { min: 0, max: i32::MAX as i64 },
        "The version as a number.",
    ),
    reported("session_authorization", "session_authorization", "postgres", Kind::Text, "The session's user."),
    def("session_replication_role", "origin", Kind::Enum(&["origin", "replica", "local"]), "Accepted."),
    reported(
        "standard_conforming_strings",
        "standard_conforming_strings",
        "on",
        Kind::Bool,
        "Backslashes in strings are themselves; always on.",
    ),
    def("statement_timeout", "0", Kind::Millis, "How long a statement may run; 0 = forever."),
    def("synchronize_seqscans", "on", Kind::Bool, "Accepted."),
    def(
        "synchronous_commit",
        "on",
        Kind::Enum(&["on", "off", "local", "remote_write", "remote_apply"]),
        "Accepted; every commit is synchronous.",
    ),
    reported("timezone", "TimeZone", "UTC", Kind::TimeZone, "The time zone of the session."),
    def("transaction_deferrable", "off", Kind::Bool, "Whether the transaction is deferrable."),
    def("transaction_isolation", "serializable", Kind::Isolation, "The isolation level of the transaction."),
    def("transaction_read_only", "off", Kind::Bool, "Whether the transaction is read only."),
    def("transform_null_equals", "off", Kind::Bool, "Accepted; `= NULL` stays unknown."),
    def("vacuum_cost_delay", "0", Kind::Real, "Accepted."),
    def("wal_level", "replica", Kind::Text, "Accepted."),
    def("work_mem", "65536", Kind::Memory, "Memory of one sort or hash table, in kB."),
    def("xmlbinary", "base64", Kind::Text, "Accepted."),
    def("xmloption", "content", Kind::Text, "Accepted."),
];

pub fn definition(name: &str) -> Option<&'static Definition> {
    let lower = name.to_ascii_lowercase();
    DEFINITIONS.iter().find(|d| d.name == lower)
}

/// The values of one session.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Values that differ from the default; also settings of extensions (`a.b`), which anybody may make up.
    values: BTreeMap<Cow<'static, str>, String>,
    /// What RESET goes back to: given at the start of the session.
    startup: BTreeMap<Cow<'static, str>, String>,
    /// Values before the changes of the running transaction, with whether the change ends with it anyway.
    undo: Vec<(Cow<'static, str>, Option<String>, bool)>,
    cached: Cached,
}

/// What the hot path reads, parsed.
#[derive(Clone, Debug, Default)]
pub struct Cached {
    pub statement_timeout: Option<Duration>,
    pub lock_timeout: Option<Duration>,
    pub idle_in_transaction_timeout: Option<Duration>,
    pub format: FormatSettings,
    pub search_path: Vec<String>,
    /// Of new transactions.
    pub isolation: Isolation,
    pub read_only: bool,
    pub deferrable: bool,
    /// Changes with every change of a setting that a plan may depend on.
    pub generation: u64,
}

impl Settings {
    pub fn new(user: &str) -> Self {
        let mut s = Settings::default();
        s.values.insert("session_authorization".into(), user.into());
        s.startup = s.values.clone();
        s.refresh_cache(user);
        s
    }

    pub fn cached(&self) -> &Cached {
        &self.cached
    }

    /// The value as SHOW gives it; `None`: no such setting.
    pub fn get(&self, name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        if let Some(v) = self.values.get(lower.as_str()) {
            return Some(show(definition(&lower), v));
        }
        definition(&lower).map(|d| show(Some(d), d.default))
    }

    /// `value` None: back to the default. Gives the ParameterStatus to report, if any.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
        in_transaction: bool,
    ) -> SqlResult<Option<(&'static str, String)>> {
        let lower = name.to_ascii_lowercase();
        let definition = definition(&lower);
        let key: Cow<'static, str> = match definition {
            Some(d) if d.read_only => {
                return Err(SqlError::new("55P02", format!("parameter \"{}\" cannot be changed", d.name)));
            }
            Some(d) => d.name.into(),
            None if lower.contains('.') => lower.clone().into(),
            None => return Err(unrecognized(name)),
        };
        let new = match value {
            Some(v) => Some(match definition {
                Some(d) => {
                    let reset = self.startup.get(&key).map_or(d.default, String::as_str);
                    canonical(d, v, self.raw(d.name), reset)?
                }
                None => v.to_string(),
            }),
            None => self.startup.get(&key).cloned(),
        };
        let old = match new {
            Some(v) => self.values.insert(key.clone(), v),
            None => self.values.remove(&key),
        };
        if in_transaction {
            self.undo.push((key, old, local));
        }
        self.changed();
        Ok(definition.and_then(|d| d.report.map(|shown| (shown, self.get(d.name).unwrap_or_default()))))
    }

    /// Sets what the startup message asks for; also what RESET goes back to.
    pub fn set_at_startup(&mut self, name: &str, value: &str) -> SqlResult<()> {
        self.set(name, Some(value), false, false)?;
        self.startup = self.values.clone();
        Ok(())
    }

    /// Gives the reported settings whose value changed by that.
    pub fn reset_all(&mut self, in_transaction: bool) -> Vec<(&'static str, String)> {
        let before = self.reported();
        let names: Vec<_> = self.values.keys().cloned().collect();
        for name in names {
            let old = self.values.get(&name).cloned();
            match self.startup.get(&name) {
                Some(v) => self.values.insert(name.clone(), v.clone()),
                None => self.values.remove(&name),
            };
            if in_transaction {
                self.undo.push((name, old, false));
            }
        }
        self.changed();
        self.reported_anew(&before)
    }

    /// The transaction ended: gives the reported settings whose value changed by that.
    pub fn end_transaction(&mut self, committed: bool) -> Vec<(&'static str, String)> {
        self.undo_to(0, committed)
    }

    /// For savepoints: how much of the undo log there is.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back the changes since `mark`; with `keep`, only those that are LOCAL and newer than the last that is not.
    pub fn undo_to(&mut self, mark: usize, keep: bool) -> Vec<(&'static str, String)> {
        if self.undo.len() <= mark {
            return Vec::new();
        }
        let before = self.reported();
        let mut settled = BTreeSet::new();
        // Oldest value wins: walk back from the newest.
        for (name, old, local) in self.undo.split_off(mark).into_iter().rev() {
            if keep && !local {
                settled.insert(name.clone());
            }
            if settled.contains(&name) {
                continue;
            }
            match old {
                Some(v) => self.values.insert(name, v),
                None => self.values.remove(&name),
            };
        }
        self.changed();
        self.reported_anew(&before)
    }

    fn reported_anew(&self, before: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        self.reported().into_iter().filter(|now| !before.contains(now)).collect()
    }

    /// All reported settings, for the start of a session.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        DEFINITIONS
            .iter()
            .filter_map(|d| d.report.map(|shown| (shown, self.get(d.name).unwrap_or_default())))
            .collect()
    }

    /// (name, value, description) of every setting.
    pub fn all(&self) -> Vec<(String, String, &'static str)> {
        let mut rows: Vec<_> = DEFINITIONS
            .iter()
            .map(|d| {
                (d.report.unwrap_or(d.name).to_string(), self.get(d.name).unwrap_or_default(), d.description)
            })
            .collect();
        rows.sort();
        rows
    }

    fn format(&self) -> FormatSettings {
        let style = self.raw("datestyle");
        FormatSettings {
            date_style: match style.split(',').next().unwrap_or_default() {
                "SQL" => DateStyle::Sql,
                "Postgres" => DateStyle::Postgres,
                "German" => DateStyle::German,
                _ => DateStyle::Iso,
            },
            date_order: match style.rsplit(' ').next().unwrap_or_default() {
                "DMY" => DateOrder::Dmy,
                "YMD" => DateOrder::Ymd,
                _ => DateOrder::Mdy,
            },
            interval_style: match self.raw("intervalstyle") {
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                "iso_8601" => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            },
            time_zone: TimeZone::by_name(self.raw("timezone")).unwrap_or(TimeZone::UTC),
            extra_float_digits: self.raw("extra_float_digits").parse().unwrap_or(1),
            bytea_escape: self.raw("bytea_output") == "escape",
        }
    }

    fn raw(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(v) => v,
            None => definition(name).map_or("", |d| d.default),
        }
    }

    fn changed(&mut self) {
        let user = self.raw("session_authorization").to_string();
        self.refresh_cache(&user);
    }

    fn refresh_cache(&mut self, user: &str) {
        let millis = |s: &str| match s.parse::<u64>() {
            Ok(0) | Err(_) => None,
            Ok(n) => Some(Duration::from_millis(n)),
        };
        self.cached = Cached {
            statement_timeout: millis(self.raw("statement_timeout")),
            lock_timeout: millis(self.raw("lock_timeout")),
            idle_in_transaction_timeout: millis(self.raw("idle_in_transaction_session_timeout")),
            format: self.format(),
            search_path: split_identifiers(self.raw("search_path"))
                .into_iter()
                .map(|s| if s == "$user" { user.to_string() } else { s })
                .collect(),
            isolation: isolation_of(self.raw("default_transaction_isolation")),
            read_only: self.raw("default_transaction_read_only") == "on",
            deferrable: self.raw("default_transaction_deferrable") == "on",
            generation: self.cached.generation + 1,
        };
    }
}

/// A possibly qualified name as SQL writes it.
pub fn split_qualified(name: &str) -> SqlResult<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = name.trim();
    loop {
        let (part, tail) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next() {
                    Some((_, '"')) if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                        chars.next();
                        part.push('"');
                    }
                    Some((i, '"')) => break i + 1,
                    Some((_, c)) => part.push(c),
                    None => return Err(SqlError::new(state::INVALID_NAME, "invalid name syntax")),
                }
            };
            (part, &quoted[end..])
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].trim().to_lowercase(), &rest[end..])
        };
        if part.is_empty() {
            return Err(SqlError::new(state::INVALID_NAME, "invalid name syntax"));
        }
        parts.push(part);
        match tail.trim_start().strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if tail.trim().is_empty() => return Ok(parts),
            None => return Err(SqlError::new(state::INVALID_NAME, "invalid name syntax")),
        }
    }
}

pub fn unrecognized(name: &str) -> SqlError {
    SqlError::new(state::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// `a, "B c", d` as names, folded to lower case unless quoted.
pub fn split_identifiers(list: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut chars = list.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c == ',' || c.is_whitespace() {
            chars.next();
            continue;
        }
        let mut name = String::new();
        if c == '"' {
            chars.next();
            while let Some(c) = chars.next() {
                if c == '"' {
                    if chars.peek() != Some(&'"') {
                        break;
                    }
                    chars.next();
                }
                name.push(c);
            }
        } else {
            while let Some(&c) = chars.peek() {
                if c == ',' || c.is_whitespace() {
                    break;
                }
                name.extend(c.to_lowercase());
                chars.next();
            }
        }
        out.push(name);
    }
    out
}

/// What pg_settings calls the kind.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int { .. } | Kind::Millis | Kind::Memory => "integer",
        Kind::Real => "real",
        Kind::Enum(_) | Kind::Isolation => "enum",
        Kind::Text | Kind::TimeZone | Kind::DateStyle => "string",
    }
}

fn invalid(d: &Definition, value: &str) -> SqlError {
    SqlError::new(
        state::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{}\": \"{value}\"", d.report.unwrap_or(d.name)),
    )
}

/// Checks a value and gives the form in which it is kept. `now` and `reset`: what it is, and what RESET would make it.
fn canonical(d: &Definition, value: &str, now: &str, reset: &str) -> SqlResult<String> {
    let v = value.trim();
    Ok(match d.kind {
        Kind::Bool => match parse_bool(v) {
            Some(false) if d.name == "standard_conforming_strings" => {
                return Err(SqlError::unsupported("standard_conforming_strings = off"));
            }
            Some(b) => if b { "on" } else { "off" }.into(),
            None => {
                return Err(SqlError::new(
                    state::INVALID_PARAMETER_VALUE,
                    format!("parameter \"{}\" requires a Boolean value", d.name),
                ));
            }
        },
        Kind::Int { min, max } => {
            let n: i64 = v.parse().map_err(|_| invalid(d, value))?;
            if n < min || n > max {
                return Err(SqlError::new(
                    state::INVALID_PARAMETER_VALUE,
                    format!("{n} is outside the valid range for parameter \"{}\" ({min} .. {max})", d.name),
                ));
            }
            n.to_string()
        }
        Kind::Real => {
            v.parse::<f64>().map_err(|_| invalid(d, value))?;
            v.into()
        }
        Kind::Millis => with_unit(
            v,
            &[("us", 0.001), ("ms", 1.0), ("s", 1e3), ("min", 60e3), ("h", 3600e3), ("d", 86400e3)],
        )
        .ok_or_else(|| invalid(d, value))?
        .to_string(),
        Kind::Memory => with_unit(v, &[("B", 1.0 / 1024.0), ("kB", 1.0), ("MB", 1024.0), ("GB", 1048576.0)])
            .ok_or_else(|| invalid(d, value))?
            .to_string(),
        Kind::Enum(allowed) => {
            let lower = v.to_ascii_lowercase();
            let lower = match lower.as_str() {
                "true" | "yes" | "1" if allowed.contains(&"on") => "on".into(),
                "false" | "no" | "0" if allowed.contains(&"off") => "off".into(),
                _ => lower,
            };
            if !allowed.contains(&lower.as_str()) {
                return Err(invalid(d, value).with_hint(format!("Available values: {}.", allowed.join(", "))));
            }
            lower
        }
        Kind::Isolation => isolation_name(v).ok_or_else(|| invalid(d, value))?.into(),
        Kind::DateStyle => {
            date_style(v, now, reset).map_err(|detail| invalid(d, value).with_detail(detail))?
        }
        Kind::TimeZone => TimeZone::by_name(v).ok_or_else(|| invalid(d, value))?.name().to_string(),
        Kind::Text if d.name == "client_encoding" => {
            let plain: String = v.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
            match plain.to_ascii_uppercase().as_str() {
                "UTF8" | "UNICODE" => "UTF8".into(),
                _ => {
                    return Err(SqlError::new(
                        state::FEATURE_NOT_SUPPORTED,
                        format!("client encoding \"{v}\" is not supported: use UTF8"),
                    ));
                }
            }
        }
        Kind::Text => value.into(),
    })
}

pub fn parse_bool(v: &str) -> Option<bool> {
    let lower = v.to_ascii_lowercase();
    match lower.as_str() {
        "on" | "1" => Some(true),
        "of" | "off" | "0" => Some(false),
        "" => None,
        l if "true".starts_with(l) || "yes".starts_with(l) => Some(true),
        l if "false".starts_with(l) || "no".starts_with(l) => Some(false),
        _ => None,
    }
}

fn with_unit(v: &str, units: &[(&str, f64)]) -> Option<i64> {
    let split = v.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(v.len());
    let number: f64 = v[..split].trim().parse().ok()?;
    let unit = v[split..].trim();
    let factor = if unit.is_empty() { 1.0 } else { units.iter().find(|(u, _)| *u == unit)?.1 };
    let n = (number * factor).round();
    (-1.0..=i32::MAX as f64).contains(&n).then_some(n as i64)
}

/// The canonical spelling of an isolation level.
pub fn isolation_name(v: &str) -> Option<&'static str> {
    match v.to_ascii_lowercase().as_str() {
        "serializable" => Some("serializable"),
        "repeatable read" => Some("repeatable read"),
        "read committed" => Some("read committed"),
        // As in PostgreSQL, the next stricter level that exists.
        "read uncommitted" => Some("read uncommitted"),
        _ => None,
    }
}

/// The level by its canonical name.
fn isolation_of(name: &str) -> Isolation {
    match name {
        "read committed" | "read uncommitted" => Isolation::ReadCommitted,
        "repeatable read" => Isolation::Snapshot,
        _ => Isolation::Serializable,
    }
}

fn show(d: Option<&Definition>, v: &str) -> String {
    match d.map(|d| d.kind) {
        Some(Kind::Millis) => match v.parse::<i64>() {
            Ok(0) => "0".into(),
            Ok(n) if n < 0 => v.into(),
            Ok(n) if n % 86_400_000 == 0 => format!("{}d", n / 86_400_000),
            Ok(n) if n % 3_600_000 == 0 => format!("{}h", n / 3_600_000),
            Ok(n) if n % 60_000 == 0 => format!("{}min", n / 60_000),
            Ok(n) if n % 1000 == 0 => format!("{}s", n / 1000),
            _ => format!("{v}ms"),
        },
        Some(Kind::Memory) => match v.parse::<i64>() {
            Ok(n) if n > 0 && n % 1_048_576 == 0 => format!("{}GB", n / 1_048_576),
            Ok(n) if n > 0 && n % 1024 == 0 => format!("{}MB", n / 1024),
            _ => format!("{v}kB"),
        },
        _ => v.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_in_order() {
        let names: Vec<_> = DEFINITIONS.iter().map(|d| d.name).collect();
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names.len(), sorted.len());
    }

    #[test]
    fn a_rolled_back_set_is_undone_and_a_committed_one_stays() {
        let mut s = Settings::new("postgres");
        s.set("extra_float_digits", Some("3"), false, true).expect("valid");
        s.end_transaction(false);
        assert_eq!(s.get("extra_float_digits").as_deref(), Some("1"));
        s.set("application_name", Some("a"), false, true).expect("valid");
        s.set("application_name", Some("b"), true, true).expect("valid");
        assert_eq!(s.get("application_name").as_deref(), Some("b"));
        let reports = s.end_transaction(true);
        assert_eq!(s.get("application_name").as_deref(), Some("a"));
        assert_eq!(reports, [("application_name", "a".to_string())]);
    }

    #[test]
    fn units_are_read_and_shown_as_postgres_does() {
        let mut s = Settings::new("postgres");
        s.set("statement_timeout", Some("2min"), false, false).expect("valid");
        assert_eq!(s.get("statement_timeout").as_deref(), Some("2min"));
        assert_eq!(s.cached().statement_timeout, Some(Duration::from_secs(120)));
        s.set("statement_timeout", Some("1500"), false, false).expect("valid");
        assert_eq!(s.get("statement_timeout").as_deref(), Some("1500ms"));
        assert_eq!(s.get("work_mem").as_deref(), Some("64MB"));
    }

    #[test]
    fn nonsense_is_refused_with_postgres_words() {
        let mut s = Settings::new("postgres");
        let e = s.set("nope", Some("1"), false, false).expect_err("unknown");
        assert_eq!((e.code(), e.message()), ("42704", "unrecognized configuration parameter \"nope\""));
        let e = s.set("server_version", Some("1"), false, false).expect_err("fixed");
        assert_eq!(e.code(), "55P02");
        let e = s.set("bytea_output", Some("x"), false, false).expect_err("enum");
        assert_eq!(e.fields().hint.as_deref(), Some("Available values: hex, escape."));
    }

    #[test]
    fn identifiers_are_split_with_quotes() {
        assert_eq!(
            split_identifiers("\"$user\", public,\"A\"\"b\" , FOO"),
            ["$user", "public", "A\"b", "foo"]
        );
    }
}
