//! The page of a run: one HTML file that needs no other.

use std::fmt::Write;

use super::super::numbers::{self, Gap};
use super::super::rounds::Window;
use super::super::samples::{Outcome, Sample};
use super::super::verdict::Summary;
use super::Run;
use super::plot::{Axis, Plot, escape, nice_step};

/// Dots of a kind; of more, every so-manieth is shown.
const DOTS_MAX: usize = 6000;
/// Rows of the tables of faults and violations.
const COLUMNS_MAX: f64 = 180.0;
pub const STYLE: &str = include_str!("page.css");

const DONE: &str = "var(--done)";
const REFUSED: &str = "var(--refused)";
const UNKNOWN: &str = "var(--unknown)";

pub fn page(run: &Run<'_>, summary: &Summary, gaps: &[Gap], logs: &[String]) -> String {
    let verdict = summary.get("verdict").unwrap_or_default();
    let title = format!("{} under {}", run.args.workload.join(", "), run.args.nemesis.join(", "));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body><header><h1>{title}</h1><span class=\"badge {}\">{verdict}</span></header>",
        verdict.to_lowercase(),
        title = escape(&title)
    );
    facts(&mut out, summary);
    wrongs(&mut out, &summary.wrongs);
    legend(&mut out, &run.windows);
    let seconds = run.samples.iter().map(|s| s.at).chain([run.calm]).max().unwrap_or_default().as_secs_f64();
    let step = (seconds / COLUMNS_MAX).ceil().max(1.0);
    section(&mut out, "Latency of transactions", "each by how it ended; log scale", &scatter(run, seconds));
    let key = "<span class=\"key p50\"></span>median <span class=\"key p95\"></span>95 % <span class=\"key p99\"></span>99 %";
    section(
        &mut out,
        "Latency by percentile",
        &format!("of what was done, in steps of {step:.0} s: {key}"),
        &percentiles(run, seconds, step),
    );
    section(
        &mut out,
        "Throughput",
        "transactions a second, by how they ended",
        &throughput(run, seconds, step),
    );
    section(
        &mut out,
        "Service by node",
        "transactions done through each; red: none",
        &by_node(run, seconds, step),
    );
    section(
        &mut out,
        "Time without service",
        "the longest time in which nobody's transaction was done, for each fault",
        &without_service(&run.windows, gaps),
    );
    faults(&mut out, run, gaps);
    errors(&mut out, &run.samples);
    let _ = write!(out, "<h2>Files</h2><p>");
    for file in ["verdict.txt", "history.edn"].into_iter().chain(logs.iter().map(String::as_str)) {
        let _ = write!(out, "<a href=\"{file}\">{file}</a> ", file = escape(file));
    }
    out.push_str("</p></body></html>\n");
    out
}

pub fn colour_of(nemesis: &str) -> &'static str {
    match nemesis.split(':').next().unwrap_or_default() {
        "kill" => "#d1495b",
        "pause" => "#8f5bd1",
        "restart" => "#3d9a50",
        "partition" => "#2f6db5",
        "packets" => "#1c9c9c",
        "clock" => "#c98a1b",
        "disk-full" => "#7a4a2b",
        "disk-slow" => "#a08060",
        "member" => "#c2559d",
        "ranges" => "#6b7b8c",
        _ => "#4d8f2f",
    }
}

fn section(out: &mut String, title: &str, about: &str, svg: &str) {
    let _ = write!(out, "<h2>{title} <small>{about}</small></h2>\n{svg}");
}

fn facts(out: &mut String, summary: &Summary) {
    out.push_str("<dl>");
    for (name, value) in summary.facts.iter().skip(1) {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

fn wrongs(out: &mut String, wrongs: &[String]) {
    for wrong in wrongs {
        let (first, rest) = wrong.split_once('\n').unwrap_or((wrong, ""));
        let _ = match rest.is_empty() {
            true => writeln!(out, "<p class=\"wrong\">{}</p>", escape(first)),
            false => writeln!(
                out,
                "<details class=\"wrong\"><summary>{}</summary><pre>{}</pre></details>",
                escape(first),
                escape(rest)
            ),
        };
    }
}

fn legend(out: &mut String, windows: &[Window]) {
    let mut names: Vec<_> = windows.iter().map(|w| w.nemesis.as_str()).collect();
    names.sort();
    names.dedup();
    out.push_str("<p class=\"legend\">");
    for (colour, name) in [(DONE, "done"), (REFUSED, "refused"), (UNKNOWN, "unknown")] {
        let _ = write!(out, "<span class=\"key\" style=\"background:{colour}\"></span>{name} ");
    }
    out.push_str("<span class=\"apart\">shaded: ");
    for name in names {
        let colour = colour_of(name);
        let _ =
            write!(out, "<span class=\"key shade\" style=\"background:{colour}\"></span>{} ", escape(name));
    }
    out.push_str("</span></p>\n");
}

fn scatter(run: &Run<'_>, seconds: f64) -> String {
    let mut plot = Plot::new(seconds, 300.0, Axis::Log(0.0001, 30.0));
    plot.shade(&run.windows, colour_of);
    plot.grid(&times());
    let kinds: [(fn(&Outcome) -> bool, &str, f64); 3] = [
        (|o| *o == Outcome::Done, DONE, 2.0),
        (|o| matches!(o, Outcome::Refused(_)), REFUSED, 2.6),
        (|o| matches!(o, Outcome::Unknown(_)), UNKNOWN, 3.4),
    ];
    for (is, colour, size) in kinds {
        let of_kind: Vec<_> = run.samples.iter().filter(|s| is(&s.outcome)).collect();
        let every = of_kind.len().div_ceil(DOTS_MAX).max(1);
        let shown = of_kind.iter().step_by(every);
        plot.dots(shown.map(|s| (s.at.as_secs_f64(), s.took.as_secs_f64())), colour, size);
    }
    plot.svg()
}

fn times() -> Vec<(f64, String)> {
    let labels =
        [(0.0001, "0.1 ms"), (0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s")];
    labels.map(|(t, label)| (t, label.to_string())).to_vec()
}

fn percentiles(run: &Run<'_>, seconds: f64, step: f64) -> String {
    let mut plot = Plot::new(seconds, 240.0, Axis::Log(0.0001, 30.0));
    plot.shade(&run.windows, colour_of);
    plot.grid(&times());
    let mut columns: Vec<_> = (0..=(seconds / step) as usize).map(|_| numbers::histogram()).collect();
    for s in run.samples.iter().filter(|s| s.outcome == Outcome::Done) {
        if let Some(column) = columns.get_mut((s.at.as_secs_f64() / step) as usize) {
            numbers::note(column, s.took);
        }
    }
    for (q, colour) in [(0.99, "var(--p99)"), (0.95, "var(--p95)"), (0.5, "var(--p50)")] {
        let value = |h| numbers::quantile(h, q);
        let points = columns
            .iter()
            .enumerate()
            .map(|(i, h)| ((i as f64 + 0.5) * step, (!h.is_empty()).then(|| value(h))));
        plot.line(&points.collect::<Vec<_>>(), colour, 2.0);
    }
    plot.svg()
}

fn throughput(run: &Run<'_>, seconds: f64, step: f64) -> String {
    let mut columns = vec![[0.0; 3]; (seconds / step) as usize + 1];
    for s in &run.samples {
        let kind = match s.outcome {
            Outcome::Done => 0,
            Outcome::Refused(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        if let Some(column) = columns.get_mut((s.at.as_secs_f64() / step) as usize) {
            column[kind] += 1.0 / step;
        }
    }
    let most = columns.iter().map(|c| c.iter().sum::<f64>()).fold(1.0, f64::max);
    let tick = nice_step(most, 4.0);
    let mut plot = Plot::new(seconds, 220.0, Axis::Linear(most * 1.05));
    plot.shade(&run.windows, colour_of);
    plot.grid(
        &(0..=(most / tick) as u32)
            .map(|i| (f64::from(i) * tick, format!("{:.0}", f64::from(i) * tick)))
            .collect::<Vec<_>>(),
    );
    for (i, column) in columns.iter().enumerate() {
        let (from, mut low) = (i as f64 * step, 0.0);
        for (n, colour) in column.iter().zip([DONE, REFUSED, UNKNOWN]) {
            plot.bar(from, from + step, low, low + n, colour);
            low += n;
        }
    }
    plot.svg()
}

fn by_node(run: &Run<'_>, seconds: f64, step: f64) -> String {
    const ROW: f64 = 22.0;
    let nodes = usize::from(run.args.nodes);
    let columns = (seconds / step) as usize + 1;
    let mut counts = vec![vec![0u32; columns]; nodes + 1];
    for s in run.samples.iter().filter(|s| s.outcome == Outcome::Done && s.node <= nodes) {
        if let Some(count) = counts[s.node].get_mut((s.at.as_secs_f64() / step) as usize) {
            *count += 1;
        }
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let mut plot = Plot::new(seconds, nodes as f64 * ROW + 40.0, Axis::Linear(1.0));
    plot.grid(&[]);
    for (node, of_node) in counts.iter().enumerate().skip(1) {
        plot.label(node - 1, ROW, &format!("n{node}"));
        for (i, count) in of_node.iter().enumerate() {
            let (from, part) = (i as f64 * step, f64::from(*count) / f64::from(most));
            plot.cell(
                node - 1,
                ROW,
                from,
                (from + step).min(seconds),
                part,
                &format!("n{node}, {from:.0} s: {count}"),
            );
        }
    }
    plot.svg()
}

/// The distribution: one bar for each fault, the longest first.
fn without_service(windows: &[Window], gaps: &[Gap]) -> String {
    const ROW: f64 = 16.0;
    let mut rows: Vec<_> = windows.iter().zip(gaps).collect();
    rows.sort_by_key(|(_, g)| std::cmp::Reverse(g.longest));
    let Some((_, most)) = rows.first() else { return "<p>There were no faults.</p>".into() };
    let most = most.longest.as_secs_f64().max(1.0);
    let mut svg = String::new();
    for (i, (window, gap)) in rows.iter().enumerate() {
        let (y, seconds) = (i as f64 * ROW, gap.longest.as_secs_f64());
        let width = (760.0 * seconds / most).max(1.0);
        let _ = writeln!(
            svg,
            "<text x=\"152\" y=\"{:.1}\" class=\"tick\" text-anchor=\"end\">{}</text>\
             <rect x=\"160\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{}\" fill-opacity=\"0.8\"><title>{}</title></rect>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"tick\">{seconds:.2} s</text>",
            y + 11.0,
            escape(&window.nemesis),
            ROW - 4.0,
            colour_of(&window.nemesis),
            escape(&window.what),
            168.0 + width,
            y + 11.0
        );
    }
    let height = rows.len() as f64 * ROW + 6.0;
    let mut histogram = numbers::histogram();
    gaps.iter().for_each(|g| numbers::note(&mut histogram, g.longest));
    let q = |q| numbers::quantile(&histogram, q);
    format!(
        "<p>Of {} faults: least {:.2} s, median {:.2} s, nine in ten {:.2} s, longest {:.2} s.</p>\n\
         <svg viewBox=\"0 0 1120 {height}\" width=\"1120\" height=\"{height}\" role=\"img\">{svg}</svg>\n",
        gaps.len(),
        q(0.0),
        q(0.5),
        q(0.9),
        q(1.0)
    )
}

fn faults(out: &mut String, run: &Run<'_>, gaps: &[Gap]) {
    out.push_str(
        "<h2>Faults</h2><table><tr><th>fault</th><th class=\"n\">from</th><th>what</th><th class=\"n\">until</th>\
         <th>undone</th><th class=\"n\">no service</th><th class=\"n\">back after</th></tr>\n",
    );
    for (w, gap) in run.windows.iter().zip(gaps) {
        let _ = writeln!(
            out,
            "<tr><td><span class=\"key\" style=\"background:{}\"></span>{}</td><td class=\"n\">{:.1}</td><td>{}</td>\
             <td class=\"n\">{:.1}</td><td>{}</td><td class=\"n\">{:.2} s</td><td class=\"n\">{:.2} s</td></tr>",
            colour_of(&w.nemesis),
            escape(&w.nemesis),
            w.begun.as_secs_f64(),
            escape(&w.what),
            w.ended.as_secs_f64(),
            escape(w.healed.lines().next().unwrap_or_default()),
            gap.longest.as_secs_f64(),
            gap.back_after.as_secs_f64()
        );
    }
    out.push_str("</table>\n");
}

fn errors(out: &mut String, samples: &[Sample]) {
    let all = numbers::outcomes(samples);
    out.push_str("<h2>Errors <small>by SQLSTATE</small></h2>");
    if all.errors.is_empty() {
        return out.push_str("<p>None.</p>");
    }
    out.push_str(
        "<table class=\"narrow\"><tr><th>SQLSTATE</th><th>means</th><th class=\"n\">times</th><th class=\"n\">outcome unknown</th></tr>",
    );
    for (code, (times, unknown)) in &all.errors {
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"n\">{times}</td><td class=\"n\">{unknown}</td></tr>",
            escape(code),
            numbers::meaning(code)
        );
    }
    out.push_str("</table>\n");
}
