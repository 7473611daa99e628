//! From dependencies to a report: the last steps, which both workloads share.

use crate::history::{History, Txn};

use super::anomaly::{Anomaly, Order};
use super::cycles;
use super::explain::explain;
use super::graph::Builder;
use super::order;
use super::report::{Finding, Report};

/// Adds sessions and real time if the model asks for them, and names the cycles.
pub fn conclude(history: &History<Txn>, happened: &[bool], mut graph: Builder, report: &mut Report) {
    let model = report.model;
    let order = if model.is_realtime() { Order::Realtime } else { Order::Data };
    if model.is_realtime() {
        order::draw(&history.operations, happened, &mut graph);
        if !history.has_invocations {
            report.doubts.push("real-time order: the history has no invocations".into());
        }
    }
    let timeline = order::Timeline::new(&history.operations);
    let cycles = cycles::find(&graph.finish(), &timeline, order);
    for cycle in cycles {
        report.add(Anomaly::Cycle(cycle.class, cycle.order), || Finding {
            text: explain(history, &cycle),
            cycle: Some(cycle.clone()),
        });
    }
}
