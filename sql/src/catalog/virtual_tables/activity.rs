//! Settings and sessions.

use super::{Rows, Source};
use crate::error::SqlResult;

pub fn pg_settings(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for setting in source.node.settings() {
        rows.set("name", &setting.name)
            .set("setting", &setting.value)
            .set("category", "")
            .set("short_desc", &setting.description)
            .set("context", if setting.read_only { "internal" } else { "user" })
            .set("vartype", setting.kind)
            .set("source", if setting.value == setting.default { "default" } else { "session" })
            .set("boot_val", &setting.default)
            .set("reset_val", &setting.default)
            .set("pending_restart", false)
            .push();
    }
    Ok(())
}

pub fn pg_stat_activity(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for session in source.node.sessions() {
        let database = source.catalog.database_named(&session.database).map(|d| d.id.0);
        let role = source.catalog.role_named(&session.user).map(|r| r.oid);
        rows.set("datid", database)
            .set("datname", &session.database)
            .set("pid", session.pid)
            .set("usesysid", role)
            .set("usename", &session.user)
            .set("application_name", &session.application)
            .set("backend_start", session.started)
            .set("xact_start", session.transaction_started)
            .set("query_start", session.query_started)
            .set("state", session.state)
            .set("query", &session.query)
            .set("backend_type", "client backend")
            .push();
    }
    Ok(())
}
