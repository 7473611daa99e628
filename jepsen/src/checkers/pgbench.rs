//! What must hold of pgbench's TPC-B: each transaction adds one amount to an account, a teller and a branch, and notes it.

/// What the runs of pgbench have said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub made: u64,
    /// Given up after retries.
    pub failed: u64,
    /// Clients that lost their node, each with at most one transaction of which it does not know.
    pub cut_off: u64,
}

/// What the database holds in the end.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    pub branches: i64,
    pub tellers: i64,
    pub accounts: i64,
    pub history: i64,
    /// Rows of the history table.
    pub rows: u64,
}

/// What was broken, a sentence each.
pub fn check(counts: Counts, sums: Sums) -> Vec<String> {
    let mut broken = Vec::new();
    if [sums.tellers, sums.accounts, sums.history] != [sums.branches; 3] {
        broken.push(format!("pgbench's sums differ: {sums:?}"));
    }
    let possible = counts.made..=counts.made + counts.cut_off;
    if !possible.contains(&sums.rows) {
        broken.push(format!(
            "pgbench made {} transactions and does not know of at most {}; {} are noted",
            counts.made, counts.cut_off, sums.rows
        ));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_or_invented_transaction_is_found_and_an_indeterminate_one_is_not() {
        let counts = Counts { made: 10, failed: 1, cut_off: 2 };
        let sums = |rows| Sums { branches: 5, tellers: 5, accounts: 5, history: 5, rows };
        assert!(check(counts, sums(10)).is_empty());
        assert!(check(counts, sums(12)).is_empty());
        assert_eq!(check(counts, sums(9)).len(), 1);
        assert_eq!(check(counts, sums(13)).len(), 1);
        assert_eq!(check(counts, Sums { tellers: 6, ..sums(10) }).len(), 1);
    }
}
