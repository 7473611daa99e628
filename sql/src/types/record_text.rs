//! The text form of rows: `(1,"a b",)`.

use super::Record;
use super::text::{TextContext, write_value};

pub fn write(record: &Record, ctx: &TextContext<'_>, out: &mut String) {
    out.push('(');
    for (i, (value, ty)) in record.fields.iter().zip(&record.types).enumerate() {
        if i > 0 {
            out.push(',');
        }
        if value.is_null() {
            continue;
        }
        let start = out.len();
        write_value(*ty, value, ctx, out);
        quote_from(start, out);
    }
    out.push(')');
}

fn quote_from(start: usize, out: &mut String) {
    let text = &out[start..];
    let special =
        |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace() || c == '\u{b}';
    if !text.is_empty() && !text.contains(special) {
        return;
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\"\"");
    out.truncate(start);
    out.push('"');
    out.push_str(&quoted);
    out.push('"');
}
