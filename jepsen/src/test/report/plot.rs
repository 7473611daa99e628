//! Plots as inline SVG: a frame with axes over the time of the run, fault windows shaded behind, marks on top.

use std::fmt::Write;

use super::super::rounds::Window;

pub const WIDTH: f64 = 1120.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;

/// How values go up.
#[derive(Clone, Copy)]
pub enum Axis {
    /// From zero to this.
    Linear(f64),
    /// Between these, both above zero.
    Log(f64, f64),
}

pub struct Plot {
    seconds: f64,
    height: f64,
    axis: Axis,
    body: String,
}

impl Plot {
    pub fn new(seconds: f64, height: f64, axis: Axis) -> Plot {
        Plot { seconds: seconds.max(1.0), height, axis, body: String::new() }
    }

    pub fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    pub fn y(&self, value: f64) -> f64 {
        let part = match self.axis {
            Axis::Linear(max) => value / max.max(f64::MIN_POSITIVE),
            Axis::Log(min, max) => (value.max(min) / min).ln() / (max / min).ln(),
        };
        let (top, bottom) = (TOP, self.height - BOTTOM);
        bottom - (bottom - top) * part.clamp(0.0, 1.0)
    }

    /// Shades the faults: darker while they lasted, lighter while they were being undone.
    pub fn shade(&mut self, windows: &[Window], colour: impl Fn(&str) -> &'static str) {
        for w in windows {
            let (begun, undone, ended) =
                (w.begun.as_secs_f64(), w.undone.as_secs_f64(), w.ended.as_secs_f64());
            for (from, to, opacity) in [(begun, undone, 0.16), (undone, ended, 0.07)] {
                let (x, end, top) = (self.x(from), self.x(to), TOP);
                let (width, height) = ((end - x).max(0.7), self.height - BOTTOM - TOP);
                let fill = colour(&w.nemesis);
                self.add(&format!(
                    r#"<rect x="{x:.1}" y="{top}" width="{width:.1}" height="{height:.1}" fill="{fill}" fill-opacity="{opacity}"><title>{}</title></rect>"#,
                    escape(&format!("{}: {}", w.nemesis, w.what))
                ));
            }
        }
    }

    /// Lines and labels for these values, and for the time.
    pub fn grid(&mut self, values: &[(f64, String)]) {
        let bottom = self.height - BOTTOM;
        for (value, label) in values {
            let y = self.y(*value);
            self.add(&format!(r#"<path d="M{LEFT} {y:.1}H{:.1}" class="grid"/>"#, WIDTH - RIGHT));
            self.add(&format!(
                r#"<text x="{:.1}" y="{:.1}" class="tick" text-anchor="end">{label}</text>"#,
                LEFT - 8.0,
                y + 4.0
            ));
        }
        let step = nice_step(self.seconds, 12.0).max(1.0);
        let mut t = 0.0;
        while t <= self.seconds {
            let x = self.x(t);
            self.add(&format!(r#"<path d="M{x:.1} {bottom:.1}v4" class="axis"/>"#));
            self.add(&format!(
                r#"<text x="{x:.1}" y="{:.1}" class="tick" text-anchor="middle">{t:.0} s</text>"#,
                bottom + 18.0
            ));
            t += step;
        }
        self.add(&format!(r#"<path d="M{LEFT} {bottom:.1}H{:.1}" class="axis"/>"#, WIDTH - RIGHT));
    }

    /// Dots of one colour, as one path: there may be thousands.
    pub fn dots(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str, size: f64) {
        let mut path = String::new();
        for (t, value) in points {
            let _ = write!(path, "M{:.1} {:.1}h0", self.x(t), self.y(value));
        }
        self.add(&format!(
            r#"<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" stroke-opacity="0.55" fill="none"/>"#
        ));
    }

    /// A line, which is broken where there is nothing.
    pub fn line(&mut self, points: &[(f64, Option<f64>)], colour: &str, width: f64) {
        let (mut path, mut down) = (String::new(), false);
        for (t, value) in points {
            if let Some(v) = value {
                let word = if down { 'L' } else { 'M' };
                let _ = write!(path, "{word}{:.1} {:.1}", self.x(*t), self.y(*v));
                // A single point is a dot.
                if !down {
                    path.push_str("h0.1");
                }
            }
            down = value.is_some();
        }
        self.add(&format!(
            r#"<path d="{path}" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round" fill="none"/>"#
        ));
    }

    /// A bar between two times and two values.
    pub fn bar(&mut self, from: f64, to: f64, low: f64, high: f64, colour: &str) {
        let (x, top, bottom) = (self.x(from), self.y(high), self.y(low));
        let width = (self.x(to) - x - 0.6).max(0.5);
        if bottom - top > 0.05 {
            self.add(&format!(
                r#"<rect x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/>"#,
                bottom - top
            ));
        }
    }

    /// A cell of a row, darker for more.
    pub fn cell(&mut self, row: usize, height: f64, from: f64, to: f64, part: f64, title: &str) {
        let (x, y) = (self.x(from), TOP + row as f64 * height);
        let (width, fill) = (self.x(to) - x + 0.2, if part > 0.0 { "var(--done)" } else { "var(--nothing)" });
        let opacity = if part > 0.0 { 0.18 + 0.82 * part.min(1.0) } else { 1.0 };
        self.add(&format!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{fill}" fill-opacity="{opacity:.2}"><title>{title}</title></rect>"#,
            height - 3.0
        ));
    }

    pub fn label(&mut self, row: usize, height: f64, text: &str) {
        let y = TOP + row as f64 * height + height / 2.0 + 2.5;
        self.add(&format!(
            r#"<text x="{:.1}" y="{y:.1}" class="tick" text-anchor="end">{}</text>"#,
            LEFT - 8.0,
            escape(text)
        ));
    }

    fn add(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    pub fn svg(self) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {h}\" width=\"{WIDTH}\" height=\"{h}\" role=\"img\">\n{body}</svg>\n",
            h = self.height,
            body = self.body
        )
    }
}

/// 1, 2 or 5 times a power of ten, so that there are at most so many steps.
pub fn nice_step(range: f64, steps: f64) -> f64 {
    let rough = (range / steps).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(nice_step(60.0, 12.0), 5.0);
        assert_eq!(nice_step(130.0, 12.0), 20.0);
        assert_eq!(nice_step(0.9, 5.0), 0.2);
    }

    #[test]
    fn values_stay_in_the_frame() {
        let p = Plot::new(10.0, 100.0, Axis::Log(0.001, 10.0));
        assert_eq!(p.y(0.001), 100.0 - BOTTOM);
        assert_eq!(p.y(10.0), TOP);
        assert_eq!(p.y(99.0), TOP);
        assert!((p.y(0.1) - (TOP + 100.0 - BOTTOM) / 2.0).abs() < 1e-9);
        assert_eq!(p.x(20.0), WIDTH - RIGHT);
    }
}
