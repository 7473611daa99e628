//! The bank's promises, held against the history and the final state:
//! every acknowledged transfer is in the ledger once, as it was made; no refused one is; every entry is somebody's transfer;
//! balances are what the ledger says; every total that was ever read is the one there was at the beginning.

use std::collections::BTreeMap;

use crate::records::{Outcome, Records, Transfer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: u128,
    pub source: i64,
    pub target: i64,
    pub amount: i64,
}

/// What the database held after the last transfer.
pub struct Final {
    pub ledger: Vec<Entry>,
    pub balances: BTreeMap<i64, i64>,
}

/// What was broken, a sentence each.
pub fn check(history: &Records, end: &Final, accounts: i64, opening: i64) -> Vec<String> {
    let mut broken = Vec::new();
    let mut found: BTreeMap<u128, Vec<&Entry>> = BTreeMap::new();
    for e in &end.ledger {
        found.entry(e.id).or_default().push(e);
    }
    for t in &history.transfers {
        let entries = found.remove(&t.id).unwrap_or_default();
        if let Some(what) = disagrees(t, &entries) {
            broken.push(format!(
                "transfer {:032x} by client {} on node {}, {:.3} s to {:.3} s, {:?}: {what}",
                t.id,
                t.process,
                t.node,
                t.begun.as_secs_f64(),
                t.ended.as_secs_f64(),
                t.outcome
            ));
        }
    }
    for id in found.keys() {
        broken.push(format!("the ledger has {id:032x}, which nobody wrote"));
    }
    broken.extend(wrong_balances(end, accounts, opening));
    for r in history.totals.iter().filter(|r| r.total != accounts * opening) {
        broken.push(format!(
            "client {} on node {} read a total of {} at {:.3} s: not one moment's state",
            r.process,
            r.node,
            r.total,
            r.ended.as_secs_f64()
        ));
    }
    broken
}

fn disagrees(t: &Transfer, entries: &[&Entry]) -> Option<String> {
    let made = Entry { id: t.id, source: t.source, target: t.target, amount: t.amount };
    if let Some(e) = entries.iter().find(|e| ***e != made) {
        return Some(format!("it is in the ledger as {e:?}"));
    }
    match (&t.outcome, entries.len()) {
        (Outcome::Acknowledged, 1) | (Outcome::Refused(_), 0) | (Outcome::Indeterminate(_), 0 | 1) => None,
        (Outcome::Acknowledged, 0) => Some("it was acknowledged and is lost".into()),
        (Outcome::Refused(_), 1) => Some("it was refused and is there".into()),
        (_, n) => Some(format!("it is there {n} times")),
    }
}

fn wrong_balances(end: &Final, accounts: i64, opening: i64) -> Vec<String> {
    let mut want: BTreeMap<i64, i64> = (1..=accounts).map(|a| (a, opening)).collect();
    for e in &end.ledger {
        *want.entry(e.source).or_default() -= e.amount;
        *want.entry(e.target).or_default() += e.amount;
    }
    let mut broken = Vec::new();
    for (account, want) in &want {
        match end.balances.get(account) {
            Some(got) if got == want => {}
            Some(got) => {
                broken.push(format!("account {account} has {got}; its entries in the ledger give {want}"));
            }
            None => broken.push(format!("account {account} is gone")),
        }
    }
    let total: i64 = end.balances.values().sum();
    if total != accounts * opening {
        broken.push(format!("the total is {total}; it was {}", accounts * opening));
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::records::TotalRead;

    fn transfer(id: u128, outcome: Outcome) -> Transfer {
        let (begun, ended) = (Duration::ZERO, Duration::ZERO);
        Transfer { id, process: 0, node: 0, source: 1, target: 2, amount: 3, begun, ended, outcome }
    }

    fn entry(id: u128) -> Entry {
        Entry { id, source: 1, target: 2, amount: 3 }
    }

    /// The balances that the given number of transfers leaves.
    fn after(ledger: Vec<Entry>) -> Final {
        let moved = 3 * ledger.len() as i64;
        Final { ledger, balances: BTreeMap::from([(1, 10 - moved), (2, 10 + moved)]) }
    }

    fn broken(transfers: Vec<Transfer>, end: Final) -> Vec<String> {
        check(&Records { transfers, ..Records::default() }, &end, 2, 10)
    }

    #[test]
    fn a_clean_history_passes() {
        let open = || Outcome::Indeterminate("lost".into());
        let transfers = vec![
            transfer(1, Outcome::Acknowledged),
            transfer(2, Outcome::Refused("40001".into())),
            transfer(3, open()),
            transfer(4, open()),
        ];
        assert_eq!(broken(transfers, after(vec![entry(1), entry(3)])), Vec::<String>::new());
    }

    #[test]
    fn lost_ghostly_foreign_and_doubled_transfers_are_found() {
        let acknowledged = || vec![transfer(1, Outcome::Acknowledged)];
        let one = |found: Vec<String>, word: &str| {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(word), "{found:?}");
        };
        one(broken(acknowledged(), after(vec![])), "is lost");
        one(broken(vec![transfer(1, Outcome::Refused("40001".into()))], after(vec![entry(1)])), "refused");
        one(broken(vec![], after(vec![entry(7)])), "nobody wrote");
        one(broken(acknowledged(), after(vec![entry(1), entry(1)])), "2 times");
    }

    #[test]
    fn wrong_balances_and_torn_totals_are_found() {
        let mut end = after(vec![]);
        end.balances.insert(1, 11);
        assert_eq!(broken(vec![], end).len(), 2, "the account and the total");
        let torn = TotalRead { process: 0, node: 1, begun: Duration::ZERO, ended: Duration::ZERO, total: 17 };
        let records = Records { totals: vec![torn], ..Records::default() };
        assert_eq!(check(&records, &after(vec![]), 2, 10).len(), 1);
    }
}
