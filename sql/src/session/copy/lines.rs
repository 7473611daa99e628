//! COPY's text and CSV formats: bytes to fields and back.
//!
//! Data comes in pieces that end anywhere. [`Splitter`] keeps what is not a whole row yet; [`fields`](Splitter::next_row)
//! gives the fields of one row at a time, `None` for NULL.
//!
//! What must stay true: a byte is searched for the end of its row once, however many pieces the row comes in, and what is
//! kept of a row without an end is bounded by [`ROW_TEXT_MAX`].

use memchr::{memchr_iter, memchr2, memchr3};

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
    /// How lines end: as the first one did.
    line_end: Option<LineEnd>,
    /// 1-based line of the row that was looked for last, for errors: its last line so far.
    pub line: u64,
    /// Lines that have ended within quotes in what has been searched of the row.
    quoted_lines: u64,
    /// `\.` has been seen: what follows is ignored.
    ended: bool,
    no_more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Cr,
    CrLf,
}

/// Where a row ends, and where the next begins.
struct RowEnd {
    end: usize,
    next: usize,
}

/// What a backslash begins.
enum Backslash {
    EndMark,
    Data,
    /// That depends on what is still to come.
    Unknown,
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

    /// Of all fields.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
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
            line_end: None,
            line: 0,
            quoted_lines: 0,
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
        let begin = self.at;
        let found = match self.row_end() {
            Ok(None) if self.buffer.len() - begin > ROW_TEXT_MAX => {
                Err(super::row_too_big(self.buffer.len() - begin))
            }
            Ok(None) => return Ok(false),
            found => found,
        };
        self.line += 1 + std::mem::take(&mut self.quoted_lines);
        let Some(RowEnd { end, next }) = found? else { return Ok(false) };
        self.consume(next);
        if self.ended && end == begin {
            return Ok(false);
        }
        let line = &self.buffer[begin..end];
        row.clear();
        if line.contains(&0) {
            return Err(SqlError::new(
                state::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ));
        }
        if self.csv() {
            csv_fields(line, &self.options, row)?
        } else {
            text_fields(line, &self.options, row)
        }
        Ok(true)
    }

    fn consume(&mut self, to: usize) {
        (self.at, self.searched, self.quoted) = (to, to, false);
    }

    fn csv(&self) -> bool {
        self.options.format == CopyFormat::Csv
    }

    fn row_end(&mut self) -> SqlResult<Option<RowEnd>> {
        if self.csv() { self.csv_row_end() } else { self.text_row_end() }
    }

    /// The first line end or end mark that no backslash is before.
    fn text_row_end(&mut self) -> SqlResult<Option<RowEnd>> {
        while let Some(n) = memchr3(b'\n', b'\r', b'\\', &self.buffer[self.searched..]) {
            self.searched += n;
            if self.buffer[self.searched] != b'\\' {
                return self.end_line();
            }
            match self.backslash(self.searched)? {
                Backslash::EndMark => return Ok(Some(self.end_data())),
                Backslash::Data => self.searched = (self.searched + 2).min(self.buffer.len()),
                Backslash::Unknown => return Ok(None),
            }
        }
        Ok(self.end_without_line_end())
    }

    /// The first line end that is not within quotes, or an end mark that is a line of its own.
    fn csv_row_end(&mut self) -> SqlResult<Option<RowEnd>> {
        if self.searched == self.at && self.buffer.get(self.at) == Some(&b'\\') {
            match self.backslash(self.at)? {
                Backslash::EndMark => return Ok(Some(self.end_data())),
                Backslash::Data => {}
                Backslash::Unknown => return Ok(None),
            }
        }
        let CopyOptions { quote, escape, .. } = self.options;
        loop {
            let rest = &self.buffer[self.searched..];
            let found = match self.quoted {
                true => memchr2(quote, escape, rest),
                false => memchr3(b'\n', b'\r', quote, rest),
            };
            let passed = found.unwrap_or(rest.len());
            if self.quoted {
                // As PostgreSQL counts: of a first row that is not over yet, it is not known how lines end.
                let counted = if self.line_end == Some(LineEnd::Lf) { b'\n' } else { b'\r' };
                self.quoted_lines += memchr_iter(counted, &rest[..passed]).count() as u64;
            }
            self.searched += passed;
            let Some(&b) = self.buffer.get(self.searched) else { return Ok(self.end_without_line_end()) };
            if self.quoted && b == escape && escape != quote {
                match self.buffer.get(self.searched + 1) {
                    // What it is said of is still to come: it is looked at again then.
                    None if !self.no_more => return Ok(None),
                    Some(c) if [quote, escape].contains(c) => self.searched += 2,
                    _ => self.searched += 1,
                }
            } else if b == quote {
                self.quoted = !self.quoted;
                self.searched += 1;
            } else {
                return self.end_line();
            }
        }
    }

    /// A row that ends at the line end at `searched`; `None` while a line feed may follow and matter.
    fn end_line(&mut self) -> SqlResult<Option<RowEnd>> {
        let end = self.searched;
        let known = self.line_end;
        let line_end = if self.buffer[end] == b'\n' {
            LineEnd::Lf
        } else if matches!(known, Some(LineEnd::Lf | LineEnd::Cr)) {
            LineEnd::Cr
        } else {
            match self.buffer.get(end + 1) {
                None if !self.no_more => return Ok(None),
                Some(b'\n') => LineEnd::CrLf,
                _ => LineEnd::Cr,
            }
        };
        if known.is_some_and(|known| known != line_end) {
            return Err(self.stray(line_end));
        }
        self.line_end = Some(line_end);
        let length = if line_end == LineEnd::CrLf { 2 } else { 1 };
        Ok(Some(RowEnd { end, next: end + length }))
    }

    /// A line end of another style than the first one's.
    fn stray(&self, line_end: LineEnd) -> SqlError {
        let (name, escaped) = match line_end {
            LineEnd::Lf => ("newline", "\\n"),
            LineEnd::Cr | LineEnd::CrLf => ("carriage return", "\\r"),
        };
        match self.csv() {
            true => bad(format!("unquoted {name} found in data"))
                .with_hint(format!("Use quoted CSV field to represent {name}.")),
            false => bad(format!("literal {name} found in data"))
                .with_hint(format!("Use \"{escaped}\" to represent {name}.")),
        }
    }

    /// All data has been searched: a last row without a line end.
    fn end_without_line_end(&mut self) -> Option<RowEnd> {
        self.searched = self.buffer.len();
        (self.no_more && self.at < self.searched)
            .then_some(RowEnd { end: self.searched, next: self.searched })
    }

    /// An end mark is at `searched`: what is before it on its line is a row.
    fn end_data(&mut self) -> RowEnd {
        self.ended = true;
        RowEnd { end: self.searched, next: self.buffer.len() }
    }

    /// Whether the backslash at `at` begins an end mark, `\.` and a line end. CSV may also have it as data.
    fn backslash(&self, at: usize) -> SqlResult<Backslash> {
        // 0 stands for the end of the data.
        let byte = |i: usize| self.buffer.get(i).copied().or(self.no_more.then_some(0));
        let data_or = |message| if self.csv() { Ok(Backslash::Data) } else { Err(bad(message)) };
        let (corrupt, mismatch) =
            ("end-of-copy marker corrupt", "end-of-copy marker does not match previous newline style");
        match byte(at + 1) {
            Some(b'.') => {}
            Some(_) => return Ok(Backslash::Data),
            None => return Ok(Backslash::Unknown),
        }
        let mut at = at + 2;
        if self.line_end == Some(LineEnd::CrLf) {
            match byte(at) {
                Some(b'\r') => at += 1,
                Some(b'\n') => return data_or(mismatch),
                Some(_) => return data_or(corrupt),
                None => return Ok(Backslash::Unknown),
            }
        }
        match (byte(at), self.line_end) {
            (None, _) => Ok(Backslash::Unknown),
            (Some(b'\n'), None | Some(LineEnd::Lf | LineEnd::CrLf))
            | (Some(b'\r'), None | Some(LineEnd::Cr)) => Ok(Backslash::EndMark),
            (Some(b'\n' | b'\r'), _) => Err(bad(mismatch)),
            (Some(_), _) => data_or(corrupt),
        }
    }
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(state::BAD_COPY_FILE_FORMAT, message)
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
        if field[i] != b'\\' {
            out.push(field[i]);
            i += 1;
            continue;
        }
        // A backslash that ends the data is of nothing.
        let Some(&c) = field.get(i + 1) else { return };
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
            return Err(bad("unterminated CSV quoted field"));
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

    type Rows = Vec<Vec<Option<String>>>;

    /// Rows of the data, fed in pieces of `n` bytes; or the error and its line.
    fn try_rows(data: &[u8], csv: bool, n: usize) -> Result<Rows, (String, u64)> {
        let mut s = Splitter::new(options(csv));
        let (mut out, mut row) = (Vec::new(), RowFields::default());
        let mut take = |s: &mut Splitter| {
            while s.next_row(&mut row).map_err(|e| (format!("{} {}", e.code(), e.message()), s.line))? {
                let fields = (0..row.len()).map(|i| row.get(i).expect("UTF-8").map(String::from));
                out.push(fields.collect());
            }
            Ok(())
        };
        for piece in data.chunks(n) {
            s.push(piece);
            take(&mut s)?;
        }
        s.finish();
        take(&mut s)?;
        Ok(out)
    }

    fn rows(data: &[u8], csv: bool, n: usize) -> Rows {
        try_rows(data, csv, n).expect("well formed")
    }

    /// What becomes of data of one column, however it is cut: its values, or the error and its line.
    fn outcome(data: &str, csv: bool) -> Result<Vec<String>, (String, u64)> {
        let of = |n| {
            let values = |rows: Rows| rows.into_iter().flatten().map(|v| v.unwrap_or_default()).collect();
            try_rows(data.as_bytes(), csv, n).map(values)
        };
        let whole = of(data.len().max(1));
        for n in 1..data.len() {
            assert_eq!(of(n), whole, "{data:?} in pieces of {n}");
        }
        whole
    }

    fn values(data: &str, csv: bool) -> Vec<String> {
        outcome(data, csv).unwrap_or_else(|e| panic!("{data:?}: {e:?}"))
    }

    fn refused(data: &str, csv: bool, message: &str, line: u64) {
        assert_eq!(outcome(data, csv), Err((format!("22P04 {message}"), line)), "{data:?} csv {csv}");
    }

    /// What PostgreSQL 15 makes of the same data.
    #[test]
    fn a_backslash_takes_the_line_end_after_it_into_the_data() {
        assert_eq!(values("a\\\nb\n", false), ["a\nb"]);
        assert_eq!(values("a\\\\\nb\n", false), ["a\\", "b"]);
        assert_eq!(values("a\\\\\\\nb", false), ["a\\\nb"]);
        assert_eq!(values("a\\\r\nb\n", false), ["a\r", "b"]);
        assert_eq!(values("a\nb\\\n", false), ["a", "b\n"]);
        assert_eq!(values("a\nb\\", false), ["a", "b"]);
        assert_eq!(values("a\\\nb\\\n", true), ["a\\", "b\\"]);
        refused("a\r\nb\\\r\nc\r\n", false, "literal newline found in data", 2);
        refused("a\\\r\nb\r\n", false, "literal carriage return found in data", 2);
    }

    #[test]
    fn lines_end_as_the_first_one_does() {
        for csv in [false, true] {
            for end in ["\n", "\r", "\r\n"] {
                assert_eq!(values(&format!("a{end}b{end}{end}c"), csv), ["a", "b", "", "c"]);
                assert_eq!(values(&format!("a{end}b{end}"), csv), ["a", "b"]);
            }
            let how = if csv { "unquoted" } else { "literal" };
            for data in ["a\nb\rc", "a\nb\r\nc", "a\r\nb\rc", "a\r\nb\r"] {
                refused(data, csv, &format!("{how} carriage return found in data"), 2);
            }
            for data in ["a\rb\nc", "a\r\nb\nc"] {
                refused(data, csv, &format!("{how} newline found in data"), 2);
            }
            refused("a\rb\r\n", csv, &format!("{how} newline found in data"), 3);
        }
        assert_eq!(values("\"a\r\nx\ry\"\nb\n\"\r\"\n", true), ["a\r\nx\ry", "b", "\r"]);
    }

    #[test]
    fn lines_within_quotes_count() {
        refused("a\n\"b\nc\"\n\"d\ne", true, "unterminated CSV quoted field", 5);
        refused("a\r\n\"b\r\nc\"\r\n\"d\r\ne", true, "unterminated CSV quoted field", 5);
        refused("a\r\"b\nc\"\r\"d\re", true, "unterminated CSV quoted field", 4);
        refused("a\n\"b\n\"\r", true, "unquoted carriage return found in data", 3);
    }

    #[test]
    fn the_end_mark_is_a_line() {
        for csv in [false, true] {
            for end in ["\n", "\r", "\r\n"] {
                assert_eq!(values(&format!("a{end}\\.{end}b{end}"), csv), ["a"]);
                assert_eq!(values(&format!("\\.{end}b"), csv), [""; 0]);
            }
            for data in ["a\n\\.\r\n", "a\r\\.\nb"] {
                refused(data, csv, "end-of-copy marker does not match previous newline style", 2);
            }
        }
        assert_eq!(values("a\nb\\.\nc\n", false), ["a", "b"]);
        refused("a\r\n\\.\n", false, "end-of-copy marker does not match previous newline style", 2);
        for data in ["a\n\\.x\n", "a\n\\.", "a\nb\\.", "a\nb\\.c\n", "a\r\n\\.\rb"] {
            refused(data, false, "end-of-copy marker corrupt", 2);
        }
        assert_eq!(values("\\.x\nb\\.\n\\. \n\\.", true), ["\\.x", "b\\.", "\\. ", "\\."]);
        refused("a\r\n\\.\n", true, "unquoted newline found in data", 2);
    }

    fn some(s: &str) -> Option<String> {
        Some(s.into())
    }

    #[test]
    fn text_rows_survive_any_cut() {
        let data = b"1\ta\\tb\t\\N\r\n2\t\\x41\\102\t\r\n3\t\\\\N\tlast";
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
