//! Histories of transactions that append to lists, and whether they are serializable.
//!
//! Every appended value is unique, and a list shows the order in which its values were appended. So the dependencies
//! between transactions can be read off what they saw (Kingsbury and Alvaro, "Elle", 2020):
//!
//! - ww: the one appended the value just before the other's
//! - wr: the one appended the last value that the other saw
//! - rw: the one saw a list that ended just before the value that the other appended
//! - rt: the one was acknowledged before the other began (for strict serializability)
//!
//! A history is serializable if there is no circle.

use std::collections::BTreeMap;

/// A transaction that is known to have committed.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Key and the list that was seen, not counting own appends.
    pub reads: Vec<(u32, Vec<u64>)>,
    /// Key and value, at most one for each key.
    pub appends: Vec<(u32, u64)>,
    /// When it began and when it was acknowledged, on one clock.
    pub began: u64,
    pub ended: u64,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub committed: Vec<Committed>,
    /// Values of transactions that surely were not committed.
    pub aborted: Vec<u64>,
    /// What each list was at the end.
    pub lists: BTreeMap<u32, Vec<u64>>,
}

impl History {
    /// What is wrong with it, if anything. `real_time`: later transactions must also be ordered later.
    pub fn check(&self, real_time: bool) -> Result<(), String> {
        self.check_lists()?;
        let edges = self.dependencies(real_time)?;
        match find_cycle(self.committed.len(), &edges) {
            None => Ok(()),
            Some(cycle) => Err(format!("cycle {}", self.explain(&cycle, &edges))),
        }
    }

    /// Everything committed is there once; nothing aborted is; everything seen is a beginning of the final list.
    pub fn check_lists(&self) -> Result<(), String> {
        for txn in &self.committed {
            for (key, value) in &txn.appends {
                let times = self.list(*key).iter().filter(|v| *v == value).count();
                if times != 1 {
                    return Err(format!("committed value {value} is {times} times in list {key}"));
                }
            }
            for (key, seen) in &txn.reads {
                if !self.list(*key).starts_with(seen) {
                    return Err(format!("list {key} was seen as {seen:?}, but is {:?}", self.list(*key)));
                }
            }
        }
        for value in &self.aborted {
            if let Some((key, _)) = self.lists.iter().find(|(_, list)| list.contains(value)) {
                return Err(format!("aborted value {value} is in list {key}"));
            }
        }
        Ok(())
    }

    fn list(&self, key: u32) -> &[u64] {
        self.lists.get(&key).map_or(&[], Vec::as_slice)
    }

    fn dependencies(&self, real_time: bool) -> Result<Vec<(usize, usize, &'static str)>, String> {
        let mut writer = BTreeMap::new();
        for (i, txn) in self.committed.iter().enumerate() {
            writer.extend(txn.appends.iter().map(|append| (*append, i)));
        }
        let mut edges = Vec::new();
        let mut add = |from: Option<&usize>, to: Option<&usize>, kind| {
            if let (Some(&from), Some(&to)) = (from, to)
                && from != to
            {
                edges.push((from, to, kind));
            }
        };
        for (key, list) in &self.lists {
            for pair in list.windows(2) {
                add(writer.get(&(*key, pair[0])), writer.get(&(*key, pair[1])), "ww");
            }
        }
        for (i, txn) in self.committed.iter().enumerate() {
            for (key, seen) in &txn.reads {
                if let Some(last) = seen.last() {
                    add(writer.get(&(*key, *last)), Some(&i), "wr");
                }
                if let Some(next) = self.list(*key).get(seen.len()) {
                    add(Some(&i), writer.get(&(*key, *next)), "rw");
                }
            }
        }
        if real_time {
            for (i, a) in self.committed.iter().enumerate() {
                for (j, b) in self.committed.iter().enumerate() {
                    if a.ended < b.began {
                        add(Some(&i), Some(&j), "rt");
                    }
                }
            }
        }
        Ok(edges)
    }

    fn explain(&self, cycle: &[usize], edges: &[(usize, usize, &'static str)]) -> String {
        let mut text = String::new();
        for (n, from) in cycle.iter().enumerate() {
            let to = cycle[(n + 1) % cycle.len()];
            let kind = edges.iter().find(|(a, b, _)| a == from && *b == to).map_or("?", |e| e.2);
            text.push_str(&format!("\n  T{from} -{kind}-> T{to}: {:?}", self.committed[*from]));
        }
        text
    }
}

/// The nodes of some circle, by depth-first search with an explicit stack.
fn find_cycle(nodes: usize, edges: &[(usize, usize, &'static str)]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (from, to, _) in edges {
        next[*from].push(*to);
    }
    let mut marks = vec![Mark::New; nodes];
    for start in 0..nodes {
        if marks[start] != Mark::New {
            continue;
        }
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath;
        while let Some((at, tried)) = path.last_mut() {
            let Some(&to) = next[*at].get(*tried) else {
                marks[*at] = Mark::Done;
                path.pop();
                continue;
            };
            *tried += 1;
            match marks[to] {
                Mark::Done => {}
                Mark::New => {
                    marks[to] = Mark::OnPath;
                    path.push((to, 0));
                }
                Mark::OnPath => {
                    let from = path.iter().position(|(n, _)| *n == to)?;
                    return Some(path[from..].iter().map(|(n, _)| *n).collect());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(reads: &[(u32, &[u64])], appends: &[(u32, u64)], began: u64, ended: u64) -> Committed {
        let reads = reads.iter().map(|(k, seen)| (*k, seen.to_vec())).collect();
        Committed { reads, appends: appends.to_vec(), began, ended }
    }

    fn history(committed: Vec<Committed>, lists: &[(u32, &[u64])]) -> History {
        let lists = lists.iter().map(|(k, l)| (*k, l.to_vec())).collect();
        History { committed, aborted: Vec::new(), lists }
    }

    #[test]
    fn write_skew_is_a_cycle() {
        let a = txn(&[(1, &[]), (2, &[])], &[(1, 10)], 0, 9);
        let b = txn(&[(1, &[]), (2, &[])], &[(2, 20)], 0, 9);
        let e = history(vec![a, b], &[(1, &[10]), (2, &[20])]).check(false).expect_err("cycle");
        assert!(e.contains("-rw->"), "{e}");
    }

    #[test]
    fn serial_histories_pass() {
        let a = txn(&[(1, &[])], &[(1, 10)], 0, 1);
        let b = txn(&[(1, &[10])], &[(1, 11), (2, 20)], 2, 3);
        let c = txn(&[(1, &[10, 11]), (2, &[20])], &[], 4, 5);
        assert_eq!(history(vec![a, b, c], &[(1, &[10, 11]), (2, &[20])]).check(true), Ok(()));
    }

    #[test]
    fn a_stale_read_offends_real_time_only() {
        let a = txn(&[], &[(1, 10)], 0, 1);
        let b = txn(&[(1, &[])], &[], 2, 3);
        let h = history(vec![a, b], &[(1, &[10])]);
        assert_eq!(h.check(false), Ok(()));
        assert!(h.check(true).is_err());
    }

    #[test]
    fn lost_and_dirty_writes_are_found() {
        let a = txn(&[], &[(1, 10)], 0, 1);
        assert!(history(vec![a.clone()], &[]).check(false).is_err());
        let dirty = txn(&[(1, &[99])], &[], 0, 1);
        assert!(history(vec![a.clone(), dirty], &[(1, &[10])]).check(false).is_err());
        let mut aborted = history(vec![a], &[(1, &[10, 99])]);
        aborted.aborted.push(99);
        assert!(aborted.check(false).is_err());
    }
}
