//! EDN, the notation of Clojure in which Jepsen writes histories: the forms of a text one after the other.
//!
//! What must stay true: the forms of a large file are never all in memory, and every error names a line and a column of the
//! whole text. The outermost brackets are opaque to the reader of forms for that reason: it is told nothing of them.
//!
//! Alternatives considered: `edn-rs` (given up by its authors), `edn-format` and `edn` (whole documents only, no places in
//! their errors), a parser of our own. `clojure-reader` is kept up, gives the rest of the text after a form, and does not
//! recurse. It does not know `\u` in strings nor integers beyond 64 bits: both are errors with a place.
//!
//! Source: <https://github.com/edn-format/edn>.

use clojure_reader::edn;
pub use clojure_reader::edn::Edn;

/// Where the text ceases to be EDN, or to be a history. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The top-level forms of a text; or, if its only form is a vector or a list, that one's elements.
pub struct Forms<'a> {
    text: &'a str,
    rest: &'a str,
    /// What closes the sequence around the forms, if there is one.
    closing: Option<char>,
    done: bool,
}

impl<'a> Forms<'a> {
    pub fn new(text: &'a str) -> Result<Self, Error> {
        let mut forms = Forms { text, rest: text, closing: None, done: false };
        forms.skip_blanks()?;
        let opened = [('[', ']'), ('(', ')')].into_iter().find(|(open, _)| forms.rest.starts_with(*open));
        if let Some((open, close)) = opened {
            forms.rest = &forms.rest[open.len_utf8()..];
            forms.closing = Some(close);
        }
        Ok(forms)
    }

    /// Where the next form will be looked for, in bytes.
    fn offset(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// An error at a place of the text, in bytes.
    pub fn error_at(&self, offset: usize, message: impl Into<String>) -> Error {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        Error {
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            message: message.into(),
        }
    }

    /// White space, commas, comments, and forms that `#_` discards.
    fn skip_blanks(&mut self) -> Result<(), Error> {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if self.rest.starts_with(';') {
                self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
            } else if let Some(discarded) = self.rest.strip_prefix("#_") {
                self.rest = discarded;
                self.read()?;
            } else {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<Edn<'a>, Error> {
        let from = self.offset();
        match edn::read(self.rest) {
            Ok((form, rest)) => {
                self.rest = rest;
                Ok(form)
            }
            Err(e) => {
                let at = e.ptr.map_or(self.text.len(), |ptr| from + ptr);
                Err(self.error_at(at, format!("not EDN: {}", describe(&e.code))))
            }
        }
    }

    fn advance(&mut self) -> Result<Option<(usize, Edn<'a>)>, Error> {
        self.skip_blanks()?;
        if let Some(close) = self.closing {
            if let Some(rest) = self.rest.strip_prefix(close) {
                (self.rest, self.closing) = (rest, None);
                self.skip_blanks()?;
                if !self.rest.is_empty() {
                    return Err(self.error_at(self.offset(), "text after the end of the history"));
                }
            } else if self.rest.is_empty() {
                return Err(self.error_at(self.text.len(), format!("the text ends without a `{close}`")));
            }
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let at = self.offset();
        self.read().map(|form| Some((at, form)))
    }

    /// The next form and where it begins, in bytes. After an error there are no more.
    pub fn next_form(&mut self) -> Result<Option<(usize, Edn<'a>)>, Error> {
        if self.done {
            return Ok(None);
        }
        let next = self.advance();
        self.done = !matches!(next, Ok(Some(_)));
        next
    }
}

fn describe(code: &clojure_reader::error::Code) -> String {
    use clojure_reader::error::Code;
    match code {
        Code::HashMapDuplicateKey => "a key is twice in one map".into(),
        Code::SetDuplicateKey => "a value is twice in one set".into(),
        Code::InvalidChar => "not a character".into(),
        Code::InvalidEscape => "an escape in a string that is none of \\t \\r \\n \\\\ \\\"".into(),
        Code::InvalidKeyword => "not a keyword".into(),
        Code::InvalidNumber => "not a number of 64 bits".into(),
        Code::InvalidRadix(_) => "not a radix".into(),
        Code::InvalidTag => "not a tag".into(),
        Code::UnexpectedEOF => "the text ends within a form".into(),
        Code::UnmatchedDelimiter(c) => format!("a `{c}` that closes nothing"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Result<Vec<String>, Error> {
        let mut forms = Forms::new(text)?;
        let mut out = Vec::new();
        while let Some((_, form)) = forms.next_form()? {
            out.push(form.to_string());
        }
        Ok(out)
    }

    #[test]
    fn lines_and_one_vector_give_the_same_forms() {
        let want = vec!["{:a 1}".to_string(), "#t {:b [nil \"x\"]}".into()];
        assert_eq!(forms("{:a 1}\n; note\n#t{:b [nil, \"x\"]} #_ {:c 2}\n").as_ref(), Ok(&want));
        assert_eq!(forms(" [{:a 1} #_ 3 #t{:b [nil \"x\"]} ; end\n] ; more\n").as_ref(), Ok(&want));
        assert_eq!(forms(""), Ok(vec![]));
        assert_eq!(forms("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_not_edn_is_an_error_with_its_place() {
        let place = |text: &str| forms(text).map_err(|e| (e.line, e.column));
        assert_eq!(place("{:a 1}\n{:b 1]"), Err((2, 6)));
        assert_eq!(place("{:a 1}\n  {:b"), Err((2, 6)));
        assert_eq!(place("[{:a 1}\n"), Err((2, 1)));
        assert_eq!(place("[{:a 1}] 7"), Err((1, 10)));
        assert_eq!(place("{:a 1}\n\"\\q\""), Err((2, 3)));
        assert_eq!(place("{:a 99999999999999999999}"), Err((1, 5)));
        assert_eq!(place("{:a 1} #_"), Err((1, 10)));
    }

    #[test]
    fn deep_nesting_ends_in_an_answer() {
        assert!(forms(&format!("{{:a {}", "[".repeat(200_000))).is_err());
        let balanced = format!("{{:a {}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(Forms::new(&balanced).and_then(|mut f| f.next_form()).is_ok());
    }
}
