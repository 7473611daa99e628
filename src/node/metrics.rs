//! The pages of a node: whether it is well, and its numbers in Prometheus's text form.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Inner;
use crate::http::Pages;

pub struct NodePages(pub Arc<Inner>);

impl Pages for NodePages {
    fn health(&self) -> (bool, String) {
        let draining = self
            .0
            .members
            .status()
            .iter()
            .any(|s| s.state.as_ref().is_some_and(|s| s.node == self.0.id.0 && s.draining));
        if let Some(reason) = self.0.clock.unsound() {
            return (false, format!("{} is fenced and serves nothing: {reason}", self.0.id));
        }
        match (self.0.sql.get().is_some(), draining) {
            (true, false) => (true, format!("{} is well", self.0.id)),
            (true, true) => (false, format!("{} is stopping", self.0.id)),
            (false, _) => (false, format!("{} waits for its cluster", self.0.id)),
        }
    }

    fn metrics(&self) -> String {
        let mut out = Out(String::new());
        let inner = &self.0;
        let s = inner.store.status();
        out.gauge("meridian_ranges", "Replicas on this node.", s.ranges as f64);
        out.gauge("meridian_leases", "Ranges that this node leads.", s.leases as f64);
        out.gauge("meridian_replicas_awake", "Replicas that wait for something.", s.awake as f64);
        out.gauge("meridian_replicas_stranded", "Replicas that must be moved away.", s.stranded as f64);
        out.counter("meridian_raft_proposals_total", "Commands proposed here.", s.proposals as f64);
        out.counter("meridian_raft_applied_entries_total", "Log entries applied.", s.applied_entries as f64);
        out.counter("meridian_log_syncs_total", "Synced writes of the log.", s.log_syncs as f64);
        out.counter("meridian_store_turns_total", "Turns of the store.", s.turns as f64);
        out.gauge("meridian_log_bytes", "Size of the log.", inner.log.size() as f64);
        self.clock_metrics(&mut out);
        out.head(
            "meridian_peer_clock_offset_seconds",
            "gauge",
            "Measured difference of another node's clock.",
        );
        for p in &s.peers {
            let _ = writeln!(
                out.0,
                "meridian_peer_clock_offset_seconds{{node=\"{}\"}} {}",
                p.node.0,
                p.clock_offset as f64 / 1e9
            );
        }
        out.head(
            "meridian_probes_total",
            "counter",
            "Times that a rarely passed place was passed, by its name.",
        );
        for (name, passed) in meridian_storage::base::probe::counts() {
            let _ = writeln!(out.0, "meridian_probes_total{{name=\"{name}\"}} {passed}");
        }
        out.head("meridian_engine", "gauge", "Numbers of the state engine, by name.");
        for (name, value) in inner.store.engine().metrics() {
            let _ = writeln!(out.0, "meridian_engine{{name=\"{name}\"}} {value}");
        }
        if let Some((node, pg)) = inner.sql.get() {
            let c = &node.counters;
            out.gauge(
                "meridian_sql_connections",
                "Open client connections.",
                pg.connections.load(Relaxed) as f64,
            );
            out.counter(
                "meridian_sql_statements_total",
                "Statements run.",
                c.statements.load(Relaxed) as f64,
            );
            out.head("meridian_sql_errors_total", "counter", "Errors given to clients, by SQLSTATE.");
            for (code, n) in &*c.errors.lock() {
                let _ = writeln!(out.0, "meridian_sql_errors_total{{sqlstate=\"{code}\"}} {n}");
            }
            out.counter(
                "meridian_sql_commits_total",
                "Transactions committed.",
                c.commits.load(Relaxed) as f64,
            );
            out.counter(
                "meridian_sql_rollbacks_total",
                "Transactions rolled back.",
                c.rollbacks.load(Relaxed) as f64,
            );
            out.counter(
                "meridian_sql_retries_total",
                "Serialization failures retried unseen.",
                c.retries.load(Relaxed) as f64,
            );
            out.counter(
                "meridian_sql_admission_waits_total",
                "Transaction blocks that had to wait because too many failed.",
                node.admission.waits.load(Relaxed) as f64,
            );
        }
        out.0
    }
}

impl NodePages {
    fn clock_metrics(&self, out: &mut Out) {
        let clock = &self.0.clock;
        let counts = clock.fence_counts();
        let fenced = f64::from(u8::from(clock.is_fenced()));
        out.gauge(
            "meridian_clock_fenced",
            "1 while the clock cannot be relied upon, and nothing is served.",
            fenced,
        );
        out.gauge(
            "meridian_clock_bound_seconds",
            "The largest difference that two nodes' clocks may have.",
            clock.max_offset().as_secs_f64(),
        );
        out.gauge(
            "meridian_clock_machine_ahead_seconds",
            "By how much the machine's clock is ahead of the one that the node goes by.",
            clock.machine_ahead() as f64 / 1e9,
        );
        out.counter("meridian_clock_fences_total", "How often the clock was fenced.", counts.raised as f64);
        out.counter(
            "meridian_clock_fences_lifted_total",
            "How often it was sound again.",
            counts.lifted as f64,
        );
        out.counter(
            "meridian_clock_refusals_total",
            "Requests that were refused while the clock was fenced.",
            counts.refused as f64,
        );
    }
}

struct Out(String);

impl Out {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }
}
