//! COPY's options, from both the old and the new syntax, checked as PostgreSQL checks them.

use crate::bind::fold;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

#[derive(Clone, Debug)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
    /// Columns by name; `*` is `force_quote_all`.
    pub force_quote: Vec<String>,
    pub force_quote_all: bool,
    pub force_not_null: Vec<String>,
    pub force_null: Vec<String>,
}

impl CopyOptions {
    pub fn new(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> SqlResult<Self> {
        let mut format = CopyFormat::Text;
        let (mut delimiter, mut null, mut header) = (None, None, false);
        let (mut quote, mut escape) = (None, None);
        let (mut force_quote, mut force_not_null, mut force_null) = (Vec::new(), Vec::new(), Vec::new());
        for o in options {
            match o {
                CopyOption::Format(name) => {
                    format = match &*fold(name) {
                        "text" => CopyFormat::Text,
                        "csv" => CopyFormat::Csv,
                        "binary" => CopyFormat::Binary,
                        other => return Err(bad(format!("COPY format \"{other}\" not recognized"))),
                    }
                }
                // Rows are versioned at the transaction's timestamp in any case.
                CopyOption::Freeze(_) => {}
                CopyOption::Delimiter(c) => delimiter = Some(*c),
                CopyOption::Null(s) => null = Some(s.clone()),
                CopyOption::Header(on) => header = *on,
                CopyOption::Quote(c) => quote = Some(*c),
                CopyOption::Escape(c) => escape = Some(*c),
                CopyOption::ForceQuote(names) => {
                    force_quote.extend(names.iter().map(|n| fold(n).into_owned()))
                }
                CopyOption::ForceNotNull(names) => {
                    force_not_null.extend(names.iter().map(|n| fold(n).into_owned()))
                }
                CopyOption::ForceNull(names) => force_null.extend(names.iter().map(|n| fold(n).into_owned())),
                CopyOption::Encoding(name) => {
                    if !["utf8", "utf-8", "unicode"].contains(&name.to_ascii_lowercase().as_str()) {
                        return Err(SqlError::unsupported(format!("COPY encoding \"{name}\"")));
                    }
                }
            }
        }
        for o in legacy {
            match o {
                CopyLegacyOption::Binary => format = CopyFormat::Binary,
                CopyLegacyOption::Delimiter(c) => delimiter = Some(*c),
                CopyLegacyOption::Null(s) => null = Some(s.clone()),
                CopyLegacyOption::Header => header = true,
                CopyLegacyOption::Csv(csv) => {
                    format = CopyFormat::Csv;
                    for o in csv {
                        match o {
                            CopyLegacyCsvOption::Header => header = true,
                            CopyLegacyCsvOption::Quote(c) => quote = Some(*c),
                            CopyLegacyCsvOption::Escape(c) => escape = Some(*c),
                            CopyLegacyCsvOption::ForceQuote(names) => {
                                force_quote.extend(names.iter().map(|n| fold(n).into_owned()))
                            }
                            CopyLegacyCsvOption::ForceNotNull(names) => {
                                force_not_null.extend(names.iter().map(|n| fold(n).into_owned()));
                            }
                        }
                    }
                }
                other => return Err(SqlError::unsupported(format!("the COPY option {other}"))),
            }
        }
        let csv = format == CopyFormat::Csv;
        if format == CopyFormat::Binary && (delimiter.is_some() || null.is_some() || header) {
            return Err(SqlError::new(
                state::SYNTAX_ERROR,
                "cannot specify DELIMITER, NULL or HEADER in BINARY mode",
            ));
        }
        if !csv && (quote.is_some() || escape.is_some()) {
            return Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, "COPY quote available only in CSV mode"));
        }
        let quote = ascii(quote.unwrap_or('"'), "quote")?;
        let options = CopyOptions {
            format,
            delimiter: ascii(delimiter.unwrap_or(if csv { ',' } else { '\t' }), "delimiter")?,
            null: null.unwrap_or_else(|| if csv { "" } else { "\\N" }.into()),
            header,
            quote,
            escape: match escape {
                Some(c) => ascii(c, "escape")?,
                None => quote,
            },
            force_quote_all: force_quote.iter().any(|c| c == "*"),
            force_quote,
            force_not_null,
            force_null,
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> SqlResult<()> {
        if matches!(self.delimiter, b'\n' | b'\r') {
            return Err(bad("COPY delimiter cannot be newline or carriage return"));
        }
        if self.null.contains(['\n', '\r']) {
            return Err(bad("COPY null representation cannot use newline or carriage return"));
        }
        let taken = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";
        if self.format == CopyFormat::Text && taken.contains(&self.delimiter) {
            return Err(bad(format!("COPY delimiter cannot be \"{}\"", self.delimiter as char)));
        }
        if self.format == CopyFormat::Csv && self.delimiter == self.quote {
            return Err(bad("COPY delimiter and quote must be different"));
        }
        if self.null.as_bytes().contains(&self.delimiter) && self.format != CopyFormat::Binary {
            return Err(bad("COPY delimiter must not appear in the NULL specification"));
        }
        Ok(())
    }
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(state::INVALID_PARAMETER_VALUE, message)
}

fn ascii(c: char, what: &str) -> SqlResult<u8> {
    u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
        SqlError::unsupported(format!("a COPY {what} that is not a single one-byte character"))
    })
}
