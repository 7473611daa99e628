//! The bank's books: what clients know of their transfers, held against what the database shows.
//!
//! What is checked: an acknowledged transfer is in the ledger, a refused one is not, one whose outcome the client never
//! learnt may be either; the balances are exactly what the ledger says.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What every account begins with.
pub const OPENING: i64 = 100;

/// What the client knows of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Pending,
    Acknowledged,
    Refused,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    pub from: u64,
    pub to: u64,
    pub amount: i64,
    pub outcome: Outcome,
}

/// All of the bank, as one snapshot shows it.
#[derive(Clone, Default, Debug)]
pub struct Books {
    pub balances: BTreeMap<u64, i64>,
    /// From, to, how much.
    pub ledger: BTreeMap<String, (u64, u64, i64)>,
}

/// All transfers of a run, by their ids.
#[derive(Default)]
pub struct Transfers(Mutex<BTreeMap<String, Transfer>>);

impl Transfers {
    /// Before its first message is sent.
    pub fn enter(&self, id: &str, transfer: Transfer) {
        self.0.lock().insert(id.into(), transfer);
    }

    pub fn end(&self, id: &str, outcome: Outcome) {
        if let Some(transfer) = self.0.lock().get_mut(id) {
            transfer.outcome = outcome;
        }
    }

    pub fn known(&self) -> BTreeMap<String, Transfer> {
        self.0.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What is wrong with the books. `before`: what was known of all transfers when the books were opened; what is known now
    /// may be more.
    pub fn check(&self, books: &Books, accounts: u64, before: &BTreeMap<String, Transfer>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (id, transfer) in before {
            if transfer.outcome == Outcome::Acknowledged && !books.ledger.contains_key(id) {
                wrong.push(format!("acknowledged, but not there: {id} {transfer:?}"));
            }
        }
        let mut expected: BTreeMap<u64, i64> = (0..accounts).map(|a| (a, OPENING)).collect();
        let transfers = self.known();
        for (id, (from, to, amount)) in &books.ledger {
            match transfers.get(id) {
                // Nobody may ever see it, however long it took until its client knew.
                Some(t) if t.outcome == Outcome::Refused => {
                    wrong.push(format!("refused, but there: {id} {t:?}"))
                }
                Some(t) if (t.from, t.to, t.amount) == (*from, *to, *amount) => {}
                Some(t) => wrong.push(format!("{id} was sent as {t:?}, and is {:?}", books.ledger[id])),
                None => wrong.push(format!("nobody sent {id}")),
            }
            *expected.entry(*from).or_default() -= amount;
            *expected.entry(*to).or_default() += amount;
        }
        if books.balances != expected {
            let found = &books.balances;
            wrong.push(format!("the balances are {found:?}; what the ledger says is {expected:?}"));
        }
        let total: i64 = books.balances.values().sum();
        if total != OPENING * accounts as i64 {
            wrong.push(format!("the total is {total}: money was made or lost"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(outcome: Outcome, change: impl FnOnce(&mut Books)) -> Vec<String> {
        let transfers = Transfers::default();
        transfers.enter("t", Transfer { from: 0, to: 1, amount: 5, outcome });
        let mut books = Books {
            balances: BTreeMap::from([(0, OPENING - 5), (1, OPENING + 5)]),
            ledger: BTreeMap::from([("t".into(), (0, 1, 5))]),
        };
        change(&mut books);
        transfers.check(&books, 2, &transfers.known())
    }

    #[test]
    fn right_books_are_right() {
        assert_eq!(checked(Outcome::Acknowledged, |_| {}), [""; 0]);
        let none = |books: &mut Books| {
            *books = Books { balances: BTreeMap::from([(0, OPENING), (1, OPENING)]), ..Books::default() }
        };
        assert_eq!(checked(Outcome::Unknown, none), [""; 0]);
        assert!(checked(Outcome::Acknowledged, none)[0].starts_with("acknowledged, but not there"));
    }

    #[test]
    fn wrong_books_are_found_out() {
        assert!(checked(Outcome::Refused, |_| {})[0].starts_with("refused, but there"));
        let transfers = Transfers::default();
        transfers.enter("t", Transfer { from: 0, to: 1, amount: 5, outcome: Outcome::Pending });
        let before = transfers.known();
        transfers.end("t", Outcome::Refused);
        let balances = BTreeMap::from([(0, OPENING - 5), (1, OPENING + 5)]);
        let dirty = Books { balances, ledger: BTreeMap::from([("t".into(), (0, 1, 5))]) };
        assert!(transfers.check(&dirty, 2, &before)[0].starts_with("refused, but there"));
        let half = checked(Outcome::Acknowledged, |books| *books.balances.entry(1).or_default() -= 5);
        assert!(half[0].starts_with("the balances are"), "{half:?}");
        assert!(half[1].starts_with("the total is 195"), "{half:?}");
        let stranger = checked(Outcome::Acknowledged, |books| {
            books.ledger.insert("u".into(), (0, 0, 1));
        });
        assert_eq!(stranger, ["nobody sent u"]);
    }
}
