//! COPY's text and CSV formats: bytes to fields and back.
//!
//! Data comes in pieces that end anywhere. [`Splitter`] keeps what is not a whole row yet; [`fields`](Splitter::next_row)
//! gives the fields of one row at a time, `None` for NULL.
//!
//! What must stay true: a byte is searched for the end of its row once, however many pieces the row comes in, and what is
//! kept of a row without an end is bounded by [`ROW_TEXT_MAX`].

use super::ROW_TEXT_MAX;
use super::options::{CopyFormat, CopyOptions};
use crate::error::{SqlError, SqlResult, state};

/// Takes pieces of data, gives rows.
pub struct Splitter {
    options: CopyOptions,
    buffer: Vec<u8>,
    /// What has been consumed of `buffer`.
    at: usize,
    /// Where the search for the end of the row at `at` goes on, and whether that is within quotes.
    searched: usize,
    quoted: bool,
    /// 1-based line of the next row, for errors.
    pub line: u64,
    /// `\.` has been seen: what follows is ignored.
    ended: bool,
    no_more: bool,
}

/// The fields of one row; the vectors are reused from row to row.
#[derive(Default)]
pub struct RowFields {
    bytes: Vec<u8>,
    /// End of each field in `bytes`, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

impl RowFields {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// `None`: NULL.
    pub fn get(&self, i: usize) -> SqlResult<Option<&str>> {
        let (end, null) = self.ends[i];
        if null {
            return Ok(None);
        }
        let start = if i == 0 { 0 } else { self.ends[i - 1].0 };
        std::str::from_utf8(&self.bytes[start..end]).map(Some).map_err(|_| {
            SqlError::new(state::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_field(&mut self, null: bool) {
        self.ends.push((self.bytes.len(), null));
    }
}

impl Splitter {
    pub fn new(options: CopyOptions) -> Self {
        Splitter {
            options,
            buffer: Vec::new(),
            at: 0,
            searched: 0,
            quoted: false,
            line: 0,
            ended: false,
            no_more: false,
        }
    }

    pub fn push(&mut self, data: &[u8]) {
        self.buffer.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        self.buffer.extend_from_slice(data);
    }

    /// No more data will come: a last row without a newline is a row.
    pub fn finish(&mut self) {
        self.no_more = true;
    }

    /// Fills `row` with the next row; `false` when there is none (yet).
    pub fn next_row(&mut self, row: &mut RowFields) -> SqlResult<bool> {
        if self.ended {
            self.consume(self.buffer.len());
            return Ok(false);
        }
        let csv = self.options.format == CopyFormat::Csv;
        let begin = self.at;
        let Some((end, next)) = self.row_end(csv) else {
            let kept = self.buffer.len() - self.at;
            if kept > ROW_TEXT_MAX {
                self.line += 1;
                return Err(super::row_too_big(kept));
            }
            return Ok(false);
        };
        self.consume(next);
        self.line += 1;
        let line = &self.buffer[begin..end];
        if line == b"\\." {
            self.ended = true;
            self.consume(self.buffer.len());
            return Ok(false);
        }
        row.clear();
        if line.contains(&0) {
            return Err(SqlError::new(
                state::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ));
        }
        if csv {
            csv_fields(line, &self.options, row)?
        } else {
            text_fields(line, &self.options, row)
        }
        Ok(true)
    }

    fn consume(&mut self, to: usize) {
        (self.at, self.searched, self.quoted) = (to, to, false);
    }

    /// (end of the row's bytes, begin of the next).
    fn row_end(&mut self, csv: bool) -> Option<(usize, usize)> {
        let newline = if csv { self.csv_newline() } else { self.text_newline() };
        let end = match newline {
            Some(n) => n,
            None if self.no_more && self.at < self.buffer.len() => self.buffer.len(),
            None => return None,
        };
        let row = &self.buffer[self.at..end];
        let length = row.strip_suffix(b"\r").unwrap_or(row).len();
        Some((self.at + length, (end + 1).min(self.buffer.len())))
    }

    fn text_newline(&mut self) -> Option<usize> {
        let found = self.buffer[self.searched..].iter().position(|b| *b == b'\n').map(|n| self.searched + n);
        self.searched = found.unwrap_or(self.buffer.len());
        found
    }

    /// The first newline that is not within quotes.
    fn csv_newline(&mut self) -> Option<usize> {
        let CopyOptions { quote, escape, .. } = self.options;
        while let Some(&b) = self.buffer.get(self.searched) {
            if self.quoted && b == escape && escape != quote {
                // What it is said of is still to come: it is looked at again then.
                if self.searched + 1 == self.buffer.len() && !self.no_more {
                    return None;
                }
                self.searched += 1;
            } else if b == quote {
                self.quoted = !self.quoted;
            } else if b == b'\n' && !self.quoted {
                return Some(self.searched);
            }
            self.searched += 1;
        }
        self.searched = self.buffer.len();
        None
    }
}

fn text_fields(line: &[u8], o: &CopyOptions, row: &mut RowFields) {
    let mut rest = line;
    loop {
        let mut i = 0;
        while i < rest.len() && rest[i] != o.delimiter {
            i += if rest[i] == b'\\' { 2 } else { 1 };
        }
        let i = i.min(rest.len());
        let field = &rest[..i];
        // NULL is recognised before escapes are undone.
        if field == o.null.as_bytes() {
            row.end_field(true);
        } else {
            unescape(field, &mut row.bytes);
            row.end_field(false);
        }
        if i >= rest.len() {
            return;
        }
        rest = &rest[i + 1..];
    }
}

fn unescape(field: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while i < field.len() {
        if field[i] != b'\\' || i + 1 == field.len() {
            out.push(field[i]);
            i += 1;
            continue;
        }
        let c = field[i + 1];
        i += 2;
        match c {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'x' => {
                let n = field[i..].iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                match std::str::from_utf8(&field[i..i + n]).ok().and_then(|s| u8::from_str_radix(s, 16).ok())
                {
                    Some(byte) => out.push(byte),
                    None => out.push(b'x'),
                }
                i += n;
            }
            b'0'..=b'7' => {
                let n = field[i - 1..].iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let value = field[i - 1..i - 1 + n].iter().fold(0u32, |v, b| v * 8 + u32::from(b - b'0'));
                out.push(value as u8);
                i += n - 1;
            }
            other => out.push(other),
        }
    }
}

fn csv_fields(line: &[u8], o: &CopyOptions, row: &mut RowFields) -> SqlResult<()> {
    let mut i = 0;
    loop {
        let start = row.bytes.len();
        let (mut quoted, mut was_quoted) = (false, false);
        while i < line.len() {
            let b = line[i];
            if quoted {
                if b == o.escape && i + 1 < line.len() && (line[i + 1] == o.quote || line[i + 1] == o.escape)
                {
                    row.bytes.push(line[i + 1]);
                    i += 2;
                    continue;
                }
                if b == o.quote {
                    quoted = false;
                } else {
                    row.bytes.push(b);
                }
            } else if b == o.delimiter {
                break;
            } else if b == o.quote {
                (quoted, was_quoted) = (true, true);
            } else {
                row.bytes.push(b);
            }
            i += 1;
        }
        if quoted {
            return Err(SqlError::new(state::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
        }
        let null = !was_quoted && row.bytes[start..] == *o.null.as_bytes();
        row.end_field(null);
        if i >= line.len() {
            return Ok(());
        }
        i += 1;
    }
}

/// Appends a field in the text format.
pub fn write_text(out: &mut Vec<u8>, value: &str, o: &CopyOptions) {
    for b in value.bytes() {
        match b {
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            11 => out.extend_from_slice(b"\\v"),
            b if b == o.delimiter => out.extend_from_slice(&[b'\\', b]),
            b => out.push(b),
        }
    }
}

/// Appends a field in the CSV format.
pub fn write_csv(out: &mut Vec<u8>, value: &str, o: &CopyOptions, force: bool, alone: bool) {
    let special = |b: u8| b == o.delimiter || b == o.quote || b == b'\n' || b == b'\r';
    let quote = force || value == o.null || value.bytes().any(special) || (alone && value == "\\.");
    if !quote {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(o.quote);
    for b in value.bytes() {
        if b == o.quote || b == o.escape {
            out.push(o.escape);
        }
        out.push(b);
    }
    out.push(o.quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(csv: bool) -> CopyOptions {
        use crate::parse::ast::{CopyOption, Ident};
        let o: &[CopyOption] = if csv { &[CopyOption::Format(Ident::new("csv"))] } else { &[] };
        CopyOptions::new(o, &[]).expect("valid")
    }

    /// Rows of the data, fed in pieces of `n` bytes.
    fn rows(data: &[u8], csv: bool, n: usize) -> Vec<Vec<Option<String>>> {
        let mut s = Splitter::new(options(csv));
        let (mut out, mut row) = (Vec::new(), RowFields::default());
        let mut take = |s: &mut Splitter| {
            while s.next_row(&mut row).expect("well formed") {
                let fields = (0..row.len()).map(|i| row.get(i).expect("UTF-8").map(String::from));
                out.push(fields.collect());
            }
        };
        for piece in data.chunks(n) {
            s.push(piece);
            take(&mut s);
        }
        s.finish();
        take(&mut s);
        out
    }

    fn some(s: &str) -> Option<String> {
        Some(s.into())
    }

    #[test]
    fn text_rows_survive_any_cut() {
        let data = b"1\ta\\tb\t\\N\r\n2\t\\x41\\102\t\n3\t\\\\N\tlast";
        for n in 1..data.len() {
            assert_eq!(
                rows(data, false, n),
                [
                    vec![some("1"), some("a\tb"), None],
                    vec![some("2"), some("AB"), some("")],
                    vec![some("3"), some("\\N"), some("last")],
                ],
                "pieces of {n}"
            );
        }
    }

    #[test]
    fn csv_rows_survive_any_cut() {
        let data = b"1,\"a,\n\"\"b\"\"\",\n2,\"\",x\n";
        for n in 1..data.len() {
            assert_eq!(
                rows(data, true, n),
                [vec![some("1"), some("a,\n\"b\""), None], vec![some("2"), some(""), some("x")]],
                "pieces of {n}"
            );
        }
    }

    #[test]
    fn csv_escapes_survive_any_cut() {
        use crate::parse::ast::{CopyOption, Ident};
        let o = [CopyOption::Format(Ident::new("csv")), CopyOption::Escape('\\')];
        let data = b"\"a\\\"\n\\\\\",x\n\"\\\\\"\n";
        for n in 1..data.len() {
            let mut s = Splitter::new(CopyOptions::new(&o, &[]).expect("valid"));
            let (mut ends, mut row) = (Vec::<Vec<Option<String>>>::new(), RowFields::default());
            for piece in data.chunks(n) {
                s.push(piece);
                while s.next_row(&mut row).expect("well formed") {
                    ends.push((0..row.len()).map(|i| row.get(i).expect("UTF-8").map(String::from)).collect());
                }
            }
            let rows: [Vec<_>; 2] = [vec![some("a\"\n\\"), some("x")], vec![some("\\")]];
            assert_eq!(ends, rows, "pieces of {n}");
        }
    }

    /// A megabyte that comes byte by byte: searched from its beginning for each, that would be half a tera of steps.
    #[test]
    fn a_long_row_is_searched_once() {
        for csv in [false, true] {
            let mut s = Splitter::new(options(csv));
            let mut row = RowFields::default();
            s.push(b"\"");
            for _ in 0..1 << 20 {
                s.push(b"x");
                assert!(!s.next_row(&mut row).expect("not too long"));
            }
            s.push(b"\"\n");
            assert!(s.next_row(&mut row).expect("well formed"));
            let length = row.get(0).expect("UTF-8").map(str::len);
            assert_eq!(length, Some((1 << 20) + if csv { 0 } else { 2 }));
        }
    }

    #[test]
    fn a_row_without_an_end_is_refused_as_it_grows() {
        for csv in [false, true] {
            let mut s = Splitter::new(options(csv));
            let mut row = RowFields::default();
            let piece = vec![b'x'; 1 << 20];
            s.push(if csv { b"1\n\"" } else { b"1\n" });
            assert!(s.next_row(&mut row).expect("a row"));
            let mut pieces = 0;
            let error = loop {
                s.push(&piece);
                pieces += 1;
                match s.next_row(&mut row) {
                    Ok(found) => assert!(!found && pieces < 1000),
                    Err(e) => break e,
                }
            };
            assert_eq!((error.code(), s.line), ("54000", 2));
            assert!(pieces <= ROW_TEXT_MAX / piece.len() + 1);
        }
    }

    #[test]
    fn the_end_mark_ends() {
        assert_eq!(rows(b"1\n\\.\n2\n", false, 3).len(), 1);
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in ["", "plain", "a\tb\nc\\", "q\"uote,", "\\N", "\\."] {
            for csv in [false, true] {
                let mut out = Vec::new();
                match csv {
                    false => write_text(&mut out, value, &options(csv)),
                    true => write_csv(&mut out, value, &options(csv), false, true),
                }
                out.push(b'\n');
                assert_eq!(rows(&out, csv, 1), [vec![some(value)]], "{value:?} csv {csv}");
            }
        }
    }
}
