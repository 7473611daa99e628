//! EXPLAIN: a plan in PostgreSQL's text layout, or as JSON; with what was counted, after EXPLAIN ANALYZE.

use std::time::Duration;

use super::ExecContext;
use super::explain_expr::Printer;
use super::instrument::NodeCounts;
use crate::plan::physical::*;
use crate::plan::{JoinKind, RowLockStrength, SetOp};

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions {
    pub verbose: bool,
    pub costs: bool,
    pub timing: bool,
    pub json: bool,
    /// How long the execution took, after EXPLAIN ANALYZE.
    pub execution: Option<Duration>,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        ExplainOptions { verbose: false, costs: true, timing: true, json: false, execution: None }
    }
}

/// The lines of the plan.
pub fn explain(plan: &PhysicalPlan, ctx: &ExecContext, options: &ExplainOptions) -> Vec<String> {
    let counts = |node: usize| match (&options.execution, &ctx.statement.statistics) {
        (Some(_), Some(all)) => Some(all.of(node)),
        _ => None,
    };
    render(plan, options, &counts)
}

/// The lines of a plan that is not run.
pub fn describe_plan(plan: &PhysicalPlan, options: &ExplainOptions) -> Vec<String> {
    render(plan, options, &|_| None)
}

fn render(
    plan: &PhysicalPlan,
    options: &ExplainOptions,
    counts: &dyn Fn(usize) -> Option<NodeCounts>,
) -> Vec<String> {
    let printer = Printer::of(plan, options.verbose);
    let root = shown(&plan.root, None, &printer, options.verbose);
    if options.json {
        return json(&root, options, counts);
    }
    let mut lines = Vec::new();
    text(&root, 0, options, counts, &mut lines);
    if let (Some(time), true) = (options.execution, options.timing) {
        lines.push(format!("Execution Time: {:.3} ms", ms(time)));
    }
    lines
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A node as it is shown: some nodes of the plan are folded into their neighbours.
struct Shown {
    id: usize,
    name: String,
    /// How it hangs on its parent: `InitPlan 1 (returns $0)`.
    label: Option<String>,
    estimate: Estimate,
    details: Vec<(&'static str, String)>,
    children: Vec<Shown>,
    output: Option<String>,
}

impl Shown {
    fn plain(id: usize, name: String, estimate: Estimate) -> Self {
        Shown { id, name, label: None, estimate, details: Vec::new(), children: Vec::new(), output: None }
    }
}

fn shown(node: &Node, label: Option<String>, printer: &Printer, verbose: bool) -> Shown {
    // Projections are part of what they project, as in PostgreSQL.
    if let NodeKind::Project(project) = &node.kind {
        let mut inner = shown(&project.input, label, printer, verbose);
        if verbose {
            let list: Vec<String> =
                project.exprs.iter().map(|e| printer.bare(e, &[&project.input])).collect();
            inner.output = Some(list.join(", "));
        }
        return inner;
    }
    if let NodeKind::InitPlans(init) = &node.kind {
        let mut inner = shown(&init.input, label, printer, verbose);
        for (n, plan) in init.plans.iter().enumerate() {
            let label = format!("InitPlan {} (returns {})", n + 1, printer.slot(plan.slot));
            inner.children.insert(n, shown(&plan.plan.plan, Some(label), printer, verbose));
        }
        return inner;
    }
    let mut out = Shown::plain(node.id, name(node), node.estimate);
    out.label = label;
    if verbose && !node.schema.is_empty() {
        let columns = (0..node.schema.len()).map(|i| printer.column(node, i));
        out.output = Some(columns.collect::<Vec<_>>().join(", "));
    }
    details(node, printer, &mut out.details);
    children(node, printer, verbose, &mut out.children);
    out
}

fn on(table: &crate::catalog::TableDescriptor, alias: &str) -> String {
    if alias.is_empty() || alias == table.name {
        table.name.clone()
    } else {
        format!("{} {alias}", table.name)
    }
}

fn join_name(method: &str, kind: JoinKind) -> String {
    let nested = method == "Nested Loop";
    let kind = match kind {
        JoinKind::Inner | JoinKind::Cross => {
            return if nested { method.into() } else { format!("{method} Join") };
        }
        JoinKind::Left => "Left",
        JoinKind::Right => "Right",
        JoinKind::Full => "Full",
        JoinKind::Semi => "Semi",
        JoinKind::Anti => "Anti",
    };
    format!("{method} {kind} Join")
}

fn name(node: &Node) -> String {
    match &node.kind {
        NodeKind::Values(v) if v.rows.len() == 1 => "Result".into(),
        NodeKind::Values(_) => "Values Scan on \"*VALUES*\"".into(),
        NodeKind::Scan(access) => access_name(access),
        NodeKind::VirtualScan(v) => {
            format!("Virtual Scan on {}", v.name.rsplit('.').next().unwrap_or(&v.name))
        }
        NodeKind::FunctionScan(f) => match f.calls.as_slice() {
            [(function, _)] => format!("Function Scan on {}", function.name),
            _ => "Function Scan".into(),
        },
        NodeKind::Filter(_) => "Filter".into(),
        NodeKind::Project(_) | NodeKind::InitPlans(_) => "Result".into(),
        NodeKind::ProjectSet(_) => "ProjectSet".into(),
        NodeKind::Calls(_) => "Calls".into(),
        NodeKind::NestedLoop(j) => join_name("Nested Loop", j.kind),
        NodeKind::HashJoin(j) => join_name("Hash", j.kind),
        NodeKind::LookupJoin(j) => join_name("Lookup", j.kind),
        NodeKind::Lateral(j) => join_name("Nested Loop", j.kind),
        NodeKind::Apply(_) => "Apply".into(),
        NodeKind::Aggregate(a) => match a.method {
            AggregateMethod::Plain => "Aggregate".into(),
            AggregateMethod::Hash => "HashAggregate".into(),
            AggregateMethod::Sorted => "GroupAggregate".into(),
        },
        NodeKind::Window(_) => "WindowAgg".into(),
        NodeKind::LockRows(_) => "LockRows".into(),
        NodeKind::Sort(s) if s.limit.is_some() => "Sort (top-N)".into(),
        NodeKind::Sort(_) => "Sort".into(),
        NodeKind::Limit(_) => "Limit".into(),
        NodeKind::Distinct(d) if d.on.is_some() => "Unique".into(),
        NodeKind::Distinct(_) => "HashAggregate".into(),
        NodeKind::SetOp(s) => {
            let op = match s.op {
                SetOp::Union => "Union",
                SetOp::Intersect => "Intersect",
                SetOp::Except => "Except",
            };
            format!("HashSetOp {op}{}", if s.all { " All" } else { "" })
        }
        NodeKind::Append(_) => "Append".into(),
        NodeKind::With(_) => "With".into(),
        NodeKind::CteScan(c) => format!("CTE Scan on {}", c.name),
        NodeKind::RecursiveUnion(_) => "Recursive Union".into(),
        NodeKind::Insert(n) => format!("Insert on {}", n.targets.first().table.name),
        NodeKind::Update(n) => format!("Update on {}", n.targets.first().table.name),
        NodeKind::Delete(n) => format!("Delete on {}", n.targets.first().table.name),
    }
}

fn access_name(access: &Access) -> String {
    let target = on(&access.table, &access.alias);
    let backward = if access.reverse { " Backward" } else { "" };
    if access.index == access.table.primary.id {
        if access.bounds.is_whole() {
            let direction = if access.reverse { " Backward" } else { "" };
            return format!("Seq Scan{direction} on {target}");
        }
        return format!("Index Scan{backward} using {} on {target}", access.table.primary.name);
    }
    let index = access.table.indexes.iter().find(|i| i.id == access.index).map_or("?", |i| i.name.as_str());
    let only = if access.index_only { " Only" } else { "" };
    format!("Index{only} Scan{backward} using {index} on {target}")
}

fn details(node: &Node, printer: &Printer, out: &mut Vec<(&'static str, String)>) {
    match &node.kind {
        NodeKind::Scan(access) => {
            if !access.bounds.conjuncts.is_empty() {
                out.push(("Index Cond", printer.all(&access.bounds.conjuncts, &[node])));
            }
            if let Some(filter) = &access.filter {
                out.push(("Filter", printer.expr(filter, &[node])));
            }
            if let Some(lock) = access.lock {
                out.push(("Lock", strength(lock.strength).into()));
            }
        }
        NodeKind::Filter(f) => out.push(("Filter", printer.expr(&f.predicate, &[&f.input]))),
        NodeKind::NestedLoop(j) => {
            if let Some(on) = &j.on {
                out.push(("Join Filter", printer.expr(on, &[&j.left, &j.right])));
            }
        }
        NodeKind::Lateral(j) => {
            if let Some(on) = &j.on {
                out.push(("Join Filter", printer.expr(on, &[&j.left, &j.right])));
            }
        }
        NodeKind::HashJoin(j) => {
            let pair =
                |(l, r)| format!("({} = {})", printer.bare(l, &[&j.left]), printer.bare(r, &[&j.right]));
            let conditions: Vec<String> = j.left_keys.iter().zip(&j.right_keys).map(pair).collect();
            out.push(("Hash Cond", Printer::conjunction(conditions)));
            if let Some(on) = &j.on {
                out.push(("Join Filter", printer.expr(on, &[&j.left, &j.right])));
            }
        }
        NodeKind::LookupJoin(j) => {
            out.push(("Lookup", access_name(&j.access)));
            out.push(("Index Cond", printer.bounds(&j.access, &j.left)));
            if let Some(filter) = &j.access.filter {
                out.push(("Filter", printer.access_expr(filter, &j.access)));
            }
            if let Some(on) = &j.on {
                out.push(("Join Filter", printer.lookup_expr(on, &j.left, &j.access)));
            }
        }
        NodeKind::Aggregate(a) if !a.groups.is_empty() => {
            let keys: Vec<String> = a.groups.iter().map(|g| printer.bare(g, &[&a.input])).collect();
            out.push(("Group Key", keys.join(", ")));
        }
        NodeKind::Distinct(d) => {
            let keys: Vec<String> = match &d.on {
                Some(exprs) => exprs.iter().map(|e| printer.bare(e, &[&d.input])).collect(),
                None => (0..d.input.schema.len()).map(|i| printer.column(&d.input, i)).collect(),
            };
            out.push(("Group Key", keys.join(", ")));
        }
        NodeKind::Sort(s) => {
            let key = |k: &crate::plan::SortKey| {
                let mut text = printer.bare(&k.expr, &[&s.input]);
                if k.descending {
                    text.push_str(" DESC");
                }
                match (k.descending, k.nulls_first) {
                    (false, true) => text.push_str(" NULLS FIRST"),
                    (true, false) => text.push_str(" NULLS LAST"),
                    _ => {}
                }
                text
            };
            out.push(("Sort Key", s.keys.iter().map(key).collect::<Vec<_>>().join(", ")));
        }
        NodeKind::Insert(n) => {
            if let Some(conflict) = &n.on_conflict {
                let what = match conflict.action {
                    crate::plan::ConflictAction::Nothing => "NOTHING",
                    crate::plan::ConflictAction::Update { .. } => "UPDATE",
                };
                out.push(("Conflict Resolution", what.into()));
            }
        }
        NodeKind::LockRows(n) => out.push(("Lock", strength(n.lock.strength).into())),
        NodeKind::FunctionScan(f) => {
            for (function, args) in &f.calls {
                let args: Vec<String> = args.iter().map(|a| printer.bare(a, &[])).collect();
                out.push(("Function Call", format!("{}({})", function.name, args.join(", "))));
            }
        }
        _ => {}
    }
}

fn strength(of: RowLockStrength) -> &'static str {
    match of {
        RowLockStrength::KeyShare => "KEY SHARE",
        RowLockStrength::Share => "SHARE",
        RowLockStrength::NoKeyUpdate => "NO KEY UPDATE",
        RowLockStrength::Update => "UPDATE",
    }
}

fn children(node: &Node, printer: &Printer, verbose: bool, out: &mut Vec<Shown>) {
    match &node.kind {
        // The row without columns under a SELECT without FROM.
        NodeKind::Apply(apply) => {
            out.push(shown(&apply.input, None, printer, verbose));
            for (n, plan) in apply.subplans.iter().enumerate() {
                out.push(shown(&plan.plan, Some(format!("SubPlan {}", n + 1)), printer, verbose));
            }
        }
        NodeKind::HashJoin(join) => {
            out.push(shown(&join.left, None, printer, verbose));
            let right = shown(&join.right, None, printer, verbose);
            let mut hash = Shown::plain(right.id, "Hash".into(), right.estimate);
            hash.estimate.startup = hash.estimate.total;
            hash.children.push(right);
            out.push(hash);
        }
        NodeKind::With(with) => {
            out.push(shown(&with.definition, Some(format!("CTE {}", with.name)), printer, verbose));
            out.push(shown(&with.body, None, printer, verbose));
        }
        _ => node.for_each_input(&mut |input| out.push(shown(input, None, printer, verbose))),
    }
}

fn figures(node: &Shown, options: &ExplainOptions, counts: &dyn Fn(usize) -> Option<NodeCounts>) -> String {
    let mut out = String::new();
    if options.costs {
        let e = node.estimate;
        out.push_str(&format!(
            "  (cost={:.2}..{:.2} rows={:.0} width={:.0})",
            e.startup.min(e.total),
            e.total,
            e.rows,
            e.width
        ));
    }
    if let Some(c) = counts(node.id) {
        if c.loops == 0 {
            out.push_str(" (never executed)");
        } else {
            let loops = c.loops as f64;
            let rows = c.rows as f64 / loops;
            let time = if options.timing {
                format!("time={:.3}..{:.3} ", ms(c.first), ms(c.total) / loops)
            } else {
                String::new()
            };
            out.push_str(&format!(" (actual {time}rows={rows:.0} loops={})", c.loops));
        }
    }
    out
}

fn text(
    node: &Shown,
    depth: usize,
    options: &ExplainOptions,
    counts: &dyn Fn(usize) -> Option<NodeCounts>,
    lines: &mut Vec<String>,
) {
    // PostgreSQL indents six columns a level: two for the arrow's margin, four for the arrow.
    let margin = if depth == 0 { String::new() } else { " ".repeat(6 * depth - 4) };
    if let Some(label) = &node.label {
        lines.push(format!("{margin}{label}"));
        let inner = format!("{margin}  ");
        lines.push(format!("{inner}->  {}{}", node.name, figures(node, options, counts)));
    } else {
        let arrow = if depth == 0 { "" } else { "->  " };
        lines.push(format!("{margin}{arrow}{}{}", node.name, figures(node, options, counts)));
    }
    let below = " ".repeat(if depth == 0 { 2 } else { 6 * depth + 2 });
    let below = if node.label.is_some() { format!("{below}  ") } else { below };
    if let Some(output) = &node.output {
        lines.push(format!("{below}Output: {output}"));
    }
    for (key, value) in &node.details {
        lines.push(format!("{below}{key}: {value}"));
    }
    for child in &node.children {
        text(child, depth + 1, options, counts, lines);
    }
}

fn json(root: &Shown, options: &ExplainOptions, counts: &dyn Fn(usize) -> Option<NodeCounts>) -> Vec<String> {
    let mut lines = vec!["[".to_string(), "  {".into(), "    \"Plan\": {".into()];
    json_node(root, 6, options, counts, &mut lines);
    let more = options.execution.filter(|_| options.timing);
    lines.push(format!("    }}{}", if more.is_some() { "," } else { "" }));
    if let Some(time) = more {
        lines.push(format!("    \"Execution Time\": {:.3}", ms(time)));
    }
    lines.push("  }".into());
    lines.push("]".into());
    lines
}

fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn json_node(
    node: &Shown,
    indent: usize,
    options: &ExplainOptions,
    counts: &dyn Fn(usize) -> Option<NodeCounts>,
    lines: &mut Vec<String>,
) {
    let mut fields = vec![format!("\"Node Type\": {}", quoted(&node.name))];
    if let Some(label) = &node.label {
        fields.push(format!("\"Subplan Name\": {}", quoted(label)));
    }
    if options.costs {
        let e = node.estimate;
        fields.push(format!("\"Startup Cost\": {:.2}", e.startup.min(e.total)));
        fields.push(format!("\"Total Cost\": {:.2}", e.total));
        fields.push(format!("\"Plan Rows\": {:.0}", e.rows));
        fields.push(format!("\"Plan Width\": {:.0}", e.width));
    }
    if let Some(c) = counts(node.id) {
        let loops = c.loops.max(1) as f64;
        if options.timing {
            fields.push(format!("\"Actual Startup Time\": {:.3}", ms(c.first)));
            fields.push(format!("\"Actual Total Time\": {:.3}", ms(c.total) / loops));
        }
        fields.push(format!("\"Actual Rows\": {:.0}", c.rows as f64 / loops));
        fields.push(format!("\"Actual Loops\": {}", c.loops));
    }
    if let Some(output) = &node.output {
        fields.push(format!("\"Output\": {}", quoted(output)));
    }
    fields.extend(node.details.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))));
    let pad = " ".repeat(indent);
    let count = fields.len();
    for (n, field) in fields.into_iter().enumerate() {
        let comma = if n + 1 < count || !node.children.is_empty() { "," } else { "" };
        lines.push(format!("{pad}{field}{comma}"));
    }
    if node.children.is_empty() {
        return;
    }
    lines.push(format!("{pad}\"Plans\": ["));
    for (n, child) in node.children.iter().enumerate() {
        lines.push(format!("{pad}  {{"));
        json_node(child, indent + 4, options, counts, lines);
        lines.push(format!("{pad}  }}{}", if n + 1 < node.children.len() { "," } else { "" }));
    }
    lines.push(format!("{pad}]"));
}
