//! Whether every read saw what had been acknowledged before it began. No isolation level promises it in so many words, and
//! cycles alone do not show what is missing: an append that was acknowledged and is lost could have come after all reads. But
//! each key by itself is linearizable here, at every level and whether or not the cluster is strict.
//!
//! What must stay true: the moments are those of a [`Transcript`](super::Transcript), in which a transaction begins before
//! its first message and ends after its last answer. Of one whose outcome is not known nothing is asked.

use std::collections::BTreeMap;

use crate::history::{Event, Kind, MicroOp, Names, Seen, Symbol, Txn};

/// What was acknowledged of a key so far.
#[derive(Default)]
struct Key {
    /// Elements that were appended.
    elements: Vec<Symbol>,
    /// Of the writes that were acknowledged, that which began last, and when.
    last: Option<(usize, Symbol)>,
    /// When what wrote a value was acknowledged.
    ended: BTreeMap<Symbol, usize>,
}

/// What was known of a key when a transaction began: how many elements, and the write that began last.
type Before = (usize, Option<(usize, Symbol)>);

/// What was read and had been replaced, or was not read and had been there.
pub fn wrong(events: &[Event<Txn>], names: &Names) -> Vec<String> {
    let mut keys: BTreeMap<Symbol, Key> = BTreeMap::new();
    let mut open: BTreeMap<Option<i64>, (usize, Vec<Before>)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (now, event) in events.iter().enumerate() {
        match event.kind {
            Kind::Invoke => {
                let before = |op: &MicroOp| {
                    keys.get(&op.key()).map(|key| (key.elements.len(), key.last)).unwrap_or_default()
                };
                open.insert(event.process, (now, event.value.iter().map(before).collect()));
            }
            Kind::Ok => {
                let Some((began, before)) = open.remove(&event.process) else { continue };
                for (op, before) in event.value.iter().zip(before) {
                    let lacks = keys.get(&op.key()).and_then(|key| key.lacks(op, before));
                    wrong.extend(lacks.map(|missed| tell(names, &event.value, op, missed)));
                }
                for op in &event.value {
                    keys.entry(op.key()).or_default().written(op, began, now);
                }
            }
            Kind::Fail | Kind::Info => {}
        }
    }
    wrong
}

impl Key {
    fn written(&mut self, op: &MicroOp, began: usize, now: usize) {
        match op {
            MicroOp::Append { element, .. } => self.elements.push(*element),
            MicroOp::Write { value, .. } => {
                self.ended.insert(*value, now);
                if self.last.is_none_or(|(last, _)| last <= began) {
                    self.last = Some((began, *value));
                }
            }
            MicroOp::Read { .. } => {}
        }
    }

    /// What a read had to see, and did not; or, of a register, what had replaced what it saw.
    fn lacks(&self, op: &MicroOp, (elements, last): Before) -> Option<Symbol> {
        let MicroOp::Read { seen, .. } = op else { return None };
        match seen {
            Seen::List(list) => self.elements[..elements].iter().find(|e| !list.contains(e)).copied(),
            Seen::Nil => self.elements[..elements].first().copied().or(last.map(|(_, value)| value)),
            Seen::Value(value) => {
                let ended = self.ended.get(value)?;
                last.filter(|(began, _)| ended < began).map(|(_, value)| value)
            }
        }
    }
}

fn tell(names: &Names, txn: &Txn, op: &MicroOp, missed: Symbol) -> String {
    let mut text = |op: &MicroOp| {
        let mut text = String::new();
        op.write(names, &mut text);
        text
    };
    let all: Vec<String> = txn.iter().map(&mut text).collect();
    let (read, missed) = (text(op), names.show(missed));
    format!("{read} has not seen {missed}, which was acknowledged before it began: {}", all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::asking::Told;
    use super::super::client::Refusal;
    use super::super::transcript::{Asked, Transcript, answered};
    use super::*;

    #[derive(Default)]
    struct Book(Transcript<Txn>);

    impl Book {
        fn append(&mut self, element: i64) -> Asked<Txn> {
            let (key, element) = (self.0.names.int(0), self.0.names.int(element));
            self.0.begin(vec![MicroOp::Append { key, element }])
        }

        fn write(&mut self, value: i64) -> Asked<Txn> {
            let (key, value) = (self.0.names.int(0), self.0.names.int(value));
            self.0.begin(vec![MicroOp::Write { key, value }])
        }

        fn read(&mut self) -> Asked<Txn> {
            let key = self.0.names.int(0);
            self.0.begin(vec![MicroOp::Read { key, seen: Seen::Nil }])
        }

        fn end(&mut self, asked: Asked<Txn>, told: Told<Seen>) {
            self.0.end(asked, told, |_, asked, seen| answered(asked, [seen]));
        }

        fn done(&mut self, asked: Asked<Txn>) {
            self.end(asked, Told::Done(Seen::Nil));
        }

        /// What is wrong with a read that saw this.
        fn saw(&self, asked: &Asked<Txn>, seen: Seen) -> Vec<String> {
            let mut book = Book(self.0.clone());
            book.end(asked.clone(), Told::Done(seen));
            wrong(book.0.events(), &book.0.names)
        }
    }

    #[test]
    fn an_append_that_is_lost_is_found_out() {
        let mut book = Book::default();
        let early = book.read();
        let (one, two, three) = (book.append(1), book.append(2), book.append(3));
        book.done(one);
        book.end(two, Told::Unknown(Refusal::lost("")));
        book.end(three, Told::Refused(Refusal::new("40001", "")));
        let late = book.read();
        let four = book.append(4);
        book.done(four);
        let list = |elements: &[i64]| {
            let mut names = book.0.names.clone();
            Seen::List(elements.iter().map(|e| names.int(*e)).collect())
        };
        assert_eq!(book.saw(&early, Seen::Nil), [""; 0], "it began before");
        assert_eq!(book.saw(&late, list(&[1])), [""; 0]);
        assert_eq!(book.saw(&late, list(&[2, 1, 4])), [""; 0]);
        let lost = "has not seen 1, which was acknowledged before it began";
        assert!(book.saw(&late, Seen::Nil)[0].contains(lost));
        assert!(book.saw(&late, list(&[2, 4]))[0].contains(lost));
    }

    #[test]
    fn a_value_that_had_been_replaced_is_found_out() {
        let mut book = Book::default();
        let one = book.write(1);
        book.done(one);
        let (two, beside) = (book.write(2), book.write(3));
        book.done(two);
        let late = book.read();
        book.done(beside);
        let value = |value: i64| Seen::Value(book.0.names.clone().int(value));
        assert_eq!(book.saw(&late, value(2)), [""; 0]);
        assert_eq!(book.saw(&late, value(3)), [""; 0], "it may have come before or after 2");
        assert!(book.saw(&late, value(1))[0].contains("has not seen 2"));
        assert!(book.saw(&late, Seen::Nil)[0].contains("has not seen 2"));
    }
}
