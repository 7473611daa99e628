//! The keys that a history is made of: so many at a time, and each makes way for a new one once it has been written so often.

use std::collections::BTreeMap;

use super::client::Chance;

#[derive(Debug)]
pub struct Active {
    at_a_time: u64,
    writes_max: i64,
    /// The keys that are worked on, with the last value that is to be written to each.
    last: BTreeMap<i64, i64>,
    made: i64,
}

impl Active {
    pub fn new(at_a_time: u64, writes_max: i64) -> Self {
        Active { at_a_time, writes_max, last: BTreeMap::new(), made: 0 }
    }

    /// All that there have ever been.
    pub fn all(&self) -> std::ops::Range<i64> {
        0..self.made
    }

    pub fn any(&mut self, chance: &mut dyn Chance) -> i64 {
        while (self.last.len() as u64) < self.at_a_time {
            self.last.insert(self.made, 0);
            self.made += 1;
        }
        let at = chance.below(self.at_a_time) as usize;
        self.last.keys().nth(at).copied().unwrap_or_default()
    }

    /// A value that nobody else writes to this key.
    pub fn next_value(&mut self, key: i64) -> i64 {
        let last = self.last.entry(key).or_default();
        *last += 1;
        let value = *last;
        if value >= self.writes_max {
            self.last.remove(&key);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::scripted::Dice;
    use super::*;

    #[test]
    fn no_value_is_written_to_a_key_twice() {
        let (mut active, mut dice) = (Active::new(3, 4), Dice(1));
        let mut written = BTreeSet::new();
        for _ in 0..100 {
            // Of keys that were chosen before, too, one may have made way meanwhile.
            let (key, other) = (active.any(&mut dice), active.any(&mut dice));
            assert!(written.insert((key, active.next_value(key))));
            if other != key {
                assert!(written.insert((other, active.next_value(other))));
            }
        }
        assert!(active.all().end > 40 && active.last.len() <= 3);
    }
}
