//! Keys and elements as small numbers, so that a read of a thousand elements takes four kilobytes.
//!
//! What must stay true: equal EDN has equal symbols, and a symbol's text is the EDN that it stands for.

use std::fmt;
use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use crate::edn::Edn;

/// A key, an element or a value of the history that it was named in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(NonZeroU32);

impl Symbol {
    fn new(at: usize) -> Symbol {
        let number = u32::try_from(at + 1).ok().and_then(NonZeroU32::new);
        Symbol(number.expect("a history has fewer than four thousand million different values"))
    }

    /// From 0, without gaps within one history.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Int(i64),
    /// Place in `texts`.
    Text(u32),
}

#[derive(Clone, Debug, Default)]
pub struct Names {
    forms: Vec<Form>,
    texts: Vec<Box<str>>,
    ints: FxHashMap<i64, Symbol>,
    others: FxHashMap<Box<str>, Symbol>,
}

impl Names {
    pub fn int(&mut self, n: i64) -> Symbol {
        *self.ints.entry(n).or_insert_with(|| {
            self.forms.push(Form::Int(n));
            Symbol::new(self.forms.len() - 1)
        })
    }

    /// Any other EDN, by its text: `:x`, `"account 7"`.
    pub fn text(&mut self, text: &str) -> Symbol {
        if let Some(known) = self.others.get(text) {
            return *known;
        }
        let symbol = Symbol::new(self.forms.len());
        self.forms.push(Form::Text(self.texts.len() as u32));
        self.texts.push(text.into());
        self.others.insert(text.into(), symbol);
        symbol
    }

    pub fn edn(&mut self, form: &Edn<'_>) -> Symbol {
        match form {
            Edn::Int(n) => self.int(*n),
            other => self.text(&other.to_string()),
        }
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.forms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The EDN that a symbol stands for.
    pub fn show(&self, symbol: Symbol) -> Shown<'_> {
        Shown { names: self, symbol }
    }
}

pub struct Shown<'a> {
    names: &'a Names,
    symbol: Symbol,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.forms.get(self.symbol.index()) {
            Some(Form::Int(n)) => write!(f, "{n}"),
            Some(Form::Text(at)) => f.write_str(&self.names.texts[*at as usize]),
            None => write!(f, "#{}", self.symbol.index()),
        }
    }
}
