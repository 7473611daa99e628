//! A cycle as a drawing: its transactions one below the other, an arrow from each to the next, and one back to the first.
//!
//! What must stay true: the text is well-formed XML whatever the history's keys and elements are.

use std::fmt::Write;

use crate::history::{History, Txn};

use super::anomaly::{Anomaly, Order};
use super::cycles::Cycle;
use super::explain::{because, micro_op};
use super::graph::{Dependency, Kind};

const WIDTH: usize = 900;
const BOX_WIDTH: usize = 620;
const LINE: usize = 18;
const GAP: usize = 62;
const MARGIN: usize = 24;
const TITLE: usize = 34;
/// Characters of a line in a box.
const CHARS_MAX: usize = 84;

/// The text of an SVG document.
pub fn draw(history: &History<Txn>, cycle: &Cycle) -> String {
    let title = Anomaly::Cycle(cycle.class, cycle.order).name();
    let boxes: Vec<(Vec<String>, usize)> = cycle
        .steps
        .iter()
        .enumerate()
        .map(|(i, step)| lines(history, i, step.operation))
        .scan(MARGIN + TITLE, |y, lines| {
            let top = *y;
            *y += lines.len() * LINE + 12 + GAP;
            Some((lines, top))
        })
        .collect();
    let bottom = |(lines, top): &(Vec<String>, usize)| top + lines.len() * LINE + 12;
    let height = boxes.last().map_or(0, bottom) + GAP;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"12\">"
    );
    out.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" fill=\"#444\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    let _ = writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"{}\" font-size=\"16\" font-weight=\"bold\">{}</text>",
        MARGIN + 8,
        escape(title)
    );
    for b in &boxes {
        let (lines, top) = b;
        let _ = writeln!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{}\" rx=\"5\" fill=\"#f4f6fa\" stroke=\"#667\"/>",
            bottom(b) - top
        );
        for (i, line) in lines.iter().enumerate() {
            let weight = if i == 0 { " font-weight=\"bold\"" } else { "" };
            let y = top + (i + 1) * LINE;
            let _ = writeln!(out, "<text x=\"{}\" y=\"{y}\"{weight}>{}</text>", MARGIN + 10, escape(line));
        }
    }
    let center = MARGIN + 40;
    for (i, step) in cycle.steps.iter().enumerate() {
        let next = (i + 1) % cycle.steps.len();
        let (this, that) = (format!("T{}", i + 1), format!("T{}", next + 1));
        let reason = because(history, step, &cycle.steps[next], &this, &that);
        let color = color(step.kind);
        let from = bottom(&boxes[i]);
        let label = |y: usize| {
            format!(
                "<text x=\"{}\" y=\"{y}\" fill=\"{color}\">{}: {}</text>\n",
                center + 12,
                kind_name(step.kind),
                escape(&shorten(&reason))
            )
        };
        if next != 0 {
            let to = boxes[next].1;
            let _ = writeln!(out, "{}", arrow(&format!("M{center} {from}L{center} {to}"), color));
            out.push_str(&label((from + to) / 2 + 4));
        } else {
            let (right, to) = (MARGIN + BOX_WIDTH, boxes[0].1 + 14);
            let (far, under) = (right + 180, from + 26);
            let path = format!(
                "M{center} {from}L{center} {under}L{} {under}Q{far} {under} {far} {}L{far} {}Q{far} {to} {right} {to}",
                far - 40,
                under - 40,
                to + 40
            );
            let _ = writeln!(out, "{}", arrow(&path, color));
            out.push_str(&label(under + 18));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn arrow(path: &str, color: &str) -> String {
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" marker-end=\"url(#tip)\"/>"
    )
}

fn lines(history: &History<Txn>, at: usize, operation: u32) -> Vec<String> {
    let op = &history.operations[operation as usize];
    let process = op.process.map_or(String::new(), |p| format!(", process {p}"));
    let mut lines = vec![format!("T{}: op {}{process}", at + 1, op.index)];
    lines.extend(op.value.iter().map(|m| shorten(&micro_op(&history.names, m))));
    lines
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= CHARS_MAX {
        return text.into();
    }
    text.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Data(Dependency::Ww, _) => "ww",
        Kind::Data(Dependency::Wr, _) => "wr",
        Kind::Data(Dependency::Rw, _) => "rw",
        Kind::Process => "process",
        Kind::Realtime => "realtime",
        Kind::Pass => "",
    }
}

fn color(kind: Kind) -> &'static str {
    match (kind, kind.order()) {
        (Kind::Data(Dependency::Ww, _), Order::Data) => "#b00020",
        (Kind::Data(Dependency::Wr, _), Order::Data) => "#1a5fb4",
        (Kind::Data(Dependency::Rw, _), Order::Data) => "#7b3fa0",
        _ => "#3d7a33",
    }
}

/// Text that XML takes as text: its marks written out, and nothing that it forbids.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_xml_forbids_does_not_come_through() {
        assert_eq!(super::escape("<a & \"b\">\u{1}\n"), "&lt;a &amp; &quot;b&quot;&gt;\u{fffd} ");
    }
}
