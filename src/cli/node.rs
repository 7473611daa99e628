//! `meridian node …`: asks any node of a running cluster.

use std::time::Duration;

use super::{NodeArgs, NodeCommand};
use crate::rpc::peers::call_address;
use crate::rpc::proto::{Answer, Ask, Decommission, Request, Status};

const TIMEOUT: Duration = Duration::from_secs(10);
/// A node that was silent for this long is shown as not live.
const SILENT_MS: u64 = 5_000;

pub async fn run(command: NodeCommand) -> Result<(), String> {
    match command {
        NodeCommand::Status(args) => status(&args).await,
        NodeCommand::Decommission { node, args, no_wait } => decommission(node, &args, no_wait).await,
    }
}

async fn ask(args: &NodeArgs, what: Ask) -> Result<Answer, String> {
    ask_within(args, what, TIMEOUT).await
}

/// Asks the node that the command line names.
pub async fn ask_within(args: &NodeArgs, ask: Ask, time: Duration) -> Result<Answer, String> {
    let request = Request { cluster: String::new(), ask: Some(ask) };
    let response = call_address(&args.host.to_string(), request, time).await.map_err(|e| {
        format!("node at {} gave no answer: {e}\nIs it running? Name another node with --host.", args.host)
    })?;
    response.answer.ok_or_else(|| format!("node at {} gave an empty answer", args.host))
}

async fn status(args: &NodeArgs) -> Result<(), String> {
    let Answer::Status(answer) = ask(args, Ask::Status(Status {})).await? else {
        return Err("unexpected answer".into());
    };
    println!("cluster {}", answer.cluster);
    println!(
        "{:>4}  {:<22} {:<22} {:<15} {:>7} {:>7} {:>10}  version",
        "node", "rpc", "sql", "state", "ranges", "leases", "bytes"
    );
    for n in answer.nodes {
        let Some(s) = n.state else { continue };
        let state = match () {
            () if n.silent_ms > SILENT_MS => format!("silent {} s", n.silent_ms / 1000),
            () if s.decommissioning && s.ranges == 0 => "decommissioned".into(),
            () if s.decommissioning => "leaving".into(),
            () if s.fenced => "fenced: clock".into(),
            () if s.draining => "draining".into(),
            () => "live".to_string(),
        };
        println!(
            "{:>4}  {:<22} {:<22} {:<15} {:>7} {:>7} {:>10}  {}",
            s.node, s.address, s.sql_address, state, s.ranges, s.leases, s.bytes, s.version
        );
    }
    Ok(())
}

async fn decommission(node: u32, args: &NodeArgs, no_wait: bool) -> Result<(), String> {
    let mut shown = None;
    loop {
        let Answer::Decommission(answer) = ask(args, Ask::Decommission(Decommission { node })).await? else {
            return Err("unexpected answer".into());
        };
        if shown != Some(answer.replicas_left) {
            println!("node {node}: {} replicas left", answer.replicas_left);
            shown = Some(answer.replicas_left);
        }
        if answer.replicas_left == 0 {
            println!("node {node} is decommissioned and can be stopped");
            return Ok(());
        }
        if no_wait {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
