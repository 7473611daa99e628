//! How far other nodes' clocks are from this one's, as intervals, and what the node may conclude from them about its own.
//!
//! A question and its answer tell that the other clock stood at `w` at some moment between sending and receiving: nothing
//! more, whichever way took longer. So an offset is an interval as wide as the round trip, and no guess within it. Each answer
//! narrows it; as time passes it becomes wider, by what two clocks can drift apart ([`DRIFT_PPM`]). (Marzullo and Owicki,
//! "Maintaining the time in a distributed system", 1983; RFC 5905, section 11.2.)
//!
//! A clock speaks against this one only if it is *surely* too far away: the whole interval is. So a slow network fences
//! nobody. What cannot be told apart at the width of a round trip is not: a bound far below it rests on the machines'
//! time services alone.
//!
//! How far is too far: of the bound, nine tenths less the width of the interval, but not less than a half nor more than four
//! fifths. So no two nodes that rely on their clocks differ by more than the bound, and what is within four fifths of one
//! another is left alone.
//!
//! What must stay true:
//! - A node from which more than half of all nodes, heard or not, are too far fences itself, whether they are fenced or not: so
//!   a clock that has fenced the right ones, when too few of them were there, does not go on doing so.
//! - Of two that rely on their clocks and are too far from one another, one yields: the one that is surely further from the
//!   middle clock, and if nobody can tell, the one with the greater id. So of three in a row, each near the next, one end
//!   yields, and of two one serves. Both may yield, where what they have measured differs; never neither.
//! - A node that is fenced already comes back against another one only if it is near most of all nodes, itself included; and
//!   against one that relies on its clock, only if it is surely the one nearer to the middle: the other one finds out, too.
//!   So of two that start and contradict one another neither serves until a third one tells, or somebody sets a clock: a
//!   time that is an hour ahead, once it has been given to data, has to be waited for.

use std::time::Duration;

use super::NodeId;

/// By how much two clocks may drift apart, in parts per million: the worst crystals, and both slewed, in opposite directions.
const DRIFT_PPM: u64 = 1500;

/// By how much another clock is ahead of this one: at least `low`, at most `high` nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    pub low: i64,
    pub high: i64,
}

impl Interval {
    /// The other clock stood at `there` at some moment of the round trip that has just ended, at `now` on this clock.
    pub fn measured(there: u64, now: u64, round_trip: Duration) -> Self {
        let low = clamp(i128::from(there) - i128::from(now));
        Interval { low, high: low.saturating_add(clamp(round_trip.as_nanos() as i128)) }
    }

    /// After so much time without news.
    pub fn aged(self, by: Duration) -> Self {
        let drift = clamp(by.as_nanos() as i128 * i128::from(DRIFT_PPM) / 1_000_000);
        Interval { low: self.low.saturating_sub(drift), high: self.high.saturating_add(drift) }
    }

    /// What both say; the newer if they contradict one another, since then a clock has been moved.
    pub fn narrowed(self, newer: Interval) -> Self {
        let both = Interval { low: self.low.max(newer.low), high: self.high.min(newer.high) };
        if both.low <= both.high { both } else { newer }
    }

    /// As seen from a clock that is ahead of this one.
    pub fn seen_from(self, ahead: i64) -> Self {
        Interval { low: self.low.saturating_sub(ahead), high: self.high.saturating_sub(ahead) }
    }

    pub fn is_surely_beyond(self, limit: Duration) -> bool {
        let limit = clamp(limit.as_nanos() as i128);
        self.low > limit || self.high < -limit
    }

    /// How little is known.
    pub fn width(self) -> i64 {
        self.high.saturating_sub(self.low)
    }

    /// The best guess.
    pub fn middle(self) -> i64 {
        clamp((i128::from(self.low) + i128::from(self.high)) / 2)
    }
}

/// What another node says of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    pub node: NodeId,
    pub offset: Interval,
    /// Whether the other node relies on its own clock.
    pub sound: bool,
}

/// Those whose word counts, for a node that does or does not rely on its own clock so far.
pub fn counted(votes: &[Vote], sound: bool) -> Vec<Interval> {
    let nobody = !votes.iter().any(|v| v.sound);
    votes.iter().filter(|v| v.sound || (nobody && !sound)).map(|v| v.offset).collect()
}

/// All that a node has heard from the others.
#[derive(Clone, Copy)]
pub struct Jury<'a> {
    pub me: NodeId,
    /// Whether this node relies on its own clock so far.
    pub sound: bool,
    pub votes: &'a [Vote],
    /// How many others there are, whether they have been heard or not.
    pub known: usize,
    /// How far clocks may be apart.
    pub bound: Duration,
}

/// How far two clocks may be apart at most, as far as can be measured.
pub fn most(bound: Duration) -> Duration {
    bound * 4 / 5
}

/// The same for a clock that was too far away before, and is to come back at once: so that one at the edge is not fenced and
/// found sound again all the time.
pub fn most_at_rest(bound: Duration) -> Duration {
    bound * 3 / 5
}

impl Jury<'_> {
    /// Whether a clock that is `ahead` of the node's own, and may be up to `most` from another one, cannot be relied upon.
    pub fn is_against(&self, ahead: i64, most: Duration) -> bool {
        let far = self.far(ahead, most);
        let all = 1 + self.known.max(self.votes.len());
        let near_most = 2 * (1 + self.votes.len() - far.len()) > all;
        2 * far.len() > all || self.rivals(&far).any(|rival| self.yields(ahead, rival, near_most))
    }

    /// Whether somebody relies on a clock that is too far away.
    pub fn is_contested(&self, ahead: i64, most: Duration) -> bool {
        self.far(ahead, most).iter().any(|v| v.sound)
    }

    /// Whether a clock that is `ahead` of the node's own is too far only from those that the own one is too far from, too.
    pub fn is_no_worse(&self, ahead: i64, most: Duration) -> bool {
        let own = self.far(0, most);
        self.far(ahead, most).iter().all(|v| own.contains(v))
    }

    /// From how many the node's own clock is too far.
    pub fn far_off(&self, most: Duration) -> usize {
        self.far(0, most).len()
    }

    fn far(&self, ahead: i64, most: Duration) -> Vec<&Vote> {
        let limit = |width: i64| {
            let width = Duration::from_nanos(width.unsigned_abs());
            (self.bound * 9 / 10).saturating_sub(width).max(self.bound / 2).min(most)
        };
        let is_far = |v: &&Vote| v.offset.seen_from(ahead).is_surely_beyond(limit(v.offset.width()));
        self.votes.iter().filter(is_far).collect()
    }

    /// With whom this node cannot serve.
    fn rivals<'v>(&self, far: &'v [&Vote]) -> impl Iterator<Item = &'v Vote> {
        let all = !self.sound && !self.votes.iter().any(|v| v.sound);
        far.iter().filter(move |v| v.sound || all).map(|v| &**v)
    }

    /// Whether it is this node that has to yield to one that is too far away.
    fn yields(&self, ahead: i64, rival: &Vote, near_most: bool) -> bool {
        let (middle, width) = self.middle(ahead);
        let distance = |at: i64| (i128::from(at) - i128::from(middle)).abs();
        let nearer = distance(rival.offset.seen_from(ahead).middle()) - distance(0);
        let error = i128::from(rival.offset.width()) + i128::from(width);
        if !self.sound {
            !near_most || (rival.sound && nearer <= 3 * error)
        } else if self.me < rival.node {
            nearer < -error
        } else {
            nearer <= 3 * error
        }
    }

    /// The middle one of all clocks that were heard, this one included, and how well it is known.
    fn middle(&self, ahead: i64) -> (i64, i64) {
        let others = self.votes.iter().map(|v| v.offset.seen_from(ahead));
        let mut all: Vec<Interval> = others.chain([Interval { low: 0, high: 0 }]).collect();
        all.sort_unstable_by_key(|o| o.middle());
        let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        (Interval { low: low.middle(), high: high.middle() }.middle(), low.width().max(high.width()))
    }
}

/// By how much most others' clocks are ahead, if there are any: the middle one's best guess, and its highest.
pub fn middle_of(others: &[Interval]) -> Option<(i64, i64)> {
    let mut sorted: Vec<Interval> = others.to_vec();
    sorted.sort_unstable_by_key(|o| o.middle());
    let middle = sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some((middle.middle(), middle.high))
}

fn clamp(n: i128) -> i64 {
    n.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const LIMIT: Duration = Duration::from_millis(100);

    fn ms(low: i64, high: i64) -> Interval {
        Interval { low: low * MS, high: high * MS }
    }

    const BOUND: Duration = Duration::from_millis(125);

    /// The others are nodes 2, 3 and so on.
    fn votes(of: &[(Interval, bool)]) -> Vec<Vote> {
        let vote = |(n, &(offset, sound)): (usize, &(Interval, bool))| {
            let node = NodeId(n as u32 + 2);
            Vote { node, offset, sound }
        };
        of.iter().enumerate().map(vote).collect()
    }

    fn is_sound_as(me: u32, before: bool, known: usize, of: &[(Interval, bool)]) -> bool {
        let jury = Jury { me: NodeId(me), sound: before, votes: &votes(of), known, bound: BOUND };
        !jury.is_against(0, most(BOUND))
    }

    fn is_sound(before: bool, of: &[(Interval, bool)]) -> bool {
        is_sound_as(1, before, of.len(), of)
    }

    /// Which of the nodes 1, 2 and so on, whose clocks are there, serve in the end. They look one after the other.
    fn serving(clocks_ms: &[i64], width_ms: i64, all_sound: bool) -> Vec<u32> {
        let mut sound = vec![all_sound; clocks_ms.len()];
        for _ in 0..20 {
            for me in 0..clocks_ms.len() {
                let offset = |n: usize| {
                    let by = clocks_ms[n] - clocks_ms[me];
                    Interval { low: by * MS - width_ms * MS / 2, high: by * MS + width_ms * MS / 2 }
                };
                let others = (0..clocks_ms.len()).filter(|n| *n != me);
                let vote = |n: usize| Vote { node: NodeId(n as u32 + 1), offset: offset(n), sound: sound[n] };
                let votes: Vec<Vote> = others.map(vote).collect();
                let (id, known) = (NodeId(me as u32 + 1), votes.len());
                let jury = Jury { me: id, sound: sound[me], votes: &votes, known, bound: BOUND };
                sound[me] = !jury.is_against(0, most(BOUND));
            }
        }
        (1..=clocks_ms.len() as u32).filter(|n| sound[*n as usize - 1]).collect()
    }

    /// A bound of 125 ms: clocks may be 100 ms apart.
    #[test]
    fn as_many_serve_as_can_serve_together() {
        for all_sound in [true, false] {
            for width in [0, 4] {
                let serving = |clocks: &[i64]| serving(clocks, width, all_sound);
                assert_eq!(serving(&[0, 51, 103]), [1, 2], "each is near the next: one end yields");
                assert_eq!(serving(&[0, 99]), [1, 2]);
                assert_eq!(serving(&[0, 98, 0, 98]), [1, 2, 3, 4]);
                let served = |who: &[u32]| if all_sound { who.to_vec() } else { Vec::new() };
                assert_eq!(serving(&[0, 9_000]), served(&[1]), "two");
                assert_eq!(serving(&[9_000, 0]), served(&[1]), "whichever is right");
                assert_eq!(serving(&[0, 0, 9_000, 9_000]), served(&[1, 2]), "two against two");
                assert_eq!(serving(&[0, 9_000, 0, 9_000]), served(&[1, 3]));
                assert_eq!(serving(&[9_000, 0, 0]), [2, 3]);
                assert_eq!(serving(&[0, 9_000, 0, 0, -9_000]), [1, 3, 4]);
                assert_eq!(serving(&[0, 1_000, 2_000]), Vec::<u32>::new(), "all are wrong");
            }
        }
    }

    /// What is measured badly may be further away than it seems.
    #[test]
    fn two_that_serve_are_within_the_bound() {
        for width in 1..200 {
            for by in 0..300 {
                let at = ms(by - width / 2, by + width - width / 2);
                if is_sound_as(9, true, 1, &[(at, true)]) {
                    assert!(
                        at.high <= BOUND.as_nanos() as i64 || at.low <= BOUND.as_nanos() as i64 / 2,
                        "{at:?}"
                    );
                    assert!(at.low <= 100 * MS);
                }
            }
        }
    }

    #[test]
    fn an_answer_says_no_more_than_its_round_trip_allows() {
        let at = |t: i64| (1_000_000 * MS + t * MS) as u64;
        let equal = Interval::measured(at(20), at(30), Duration::from_millis(30));
        assert_eq!(equal, ms(-10, 20));
        assert!(!ms(-10, 20).is_surely_beyond(LIMIT));
        // A second and a half to and fro: it may be anywhere in between.
        let slow = Interval::measured(at(1400), at(1500), Duration::from_millis(1500));
        assert!(!slow.is_surely_beyond(LIMIT));
        assert!(ms(101, 900).is_surely_beyond(LIMIT) && ms(-900, -101).is_surely_beyond(LIMIT));
        assert!(!ms(100, 900).is_surely_beyond(LIMIT), "it may be just within");
    }

    #[test]
    fn answers_narrow_one_another_and_wear_out() {
        let wide = ms(-50, 150);
        assert_eq!(wide.narrowed(ms(90, 300)), ms(90, 150));
        assert_eq!(wide.narrowed(ms(900, 1000)), ms(900, 1000), "a clock has jumped");
        assert_eq!(ms(90, 110).aged(Duration::from_secs(2)), ms(87, 113));
        assert_eq!(ms(90, 110).seen_from(100 * MS), ms(-10, 10));
    }

    #[test]
    fn whoever_is_beyond_the_others_is_fenced_and_they_are_not() {
        let (near, far) = (ms(-1, 1), ms(9_000, 9_001));
        assert!(
            is_sound(true, &[(near, true), (far, true)]),
            "one of three is wrong, and it is not this one"
        );
        assert!(is_sound_as(9, true, 2, &[(near, true), (far, true)]), "whatever its id is");
        assert!(!is_sound(true, &[(far, true), (far, true)]));
        assert!(is_sound(true, &[]), "nobody has spoken");
    }

    #[test]
    fn who_is_fenced_speaks_against_nobody() {
        let (near, far) = (ms(-1, 1), ms(9_000, 9_001));
        assert!(is_sound_as(9, true, 1, &[(far, false)]), "a node that joins with a wrong clock");
        assert!(!is_sound(true, &[(far, false), (far, false)]), "most of three");
        assert!(is_sound_as(9, true, 4, &[(far, false), (far, false)]), "two of five, and two are silent");
        assert!(!is_sound_as(1, false, 2, &[(far, true)]), "who starts is not sound against one that is");
        assert!(!is_sound_as(1, false, 1, &[(far, true)]), "not even of two");
        assert!(
            !is_sound_as(1, false, 4, &[(near, true), (far, true)]),
            "who knows what the silent ones say"
        );
        // All have just started.
        assert!(is_sound(false, &[(near, false), (far, false)]));
        assert!(!is_sound(false, &[(far, false), (far, false)]));
        assert!(!is_sound_as(9, false, 1, &[(far, false)]));
    }

    /// The wrong one of three was alone with one of the others, which was fenced first. Now the third is there again.
    #[test]
    fn most_of_all_nodes_are_right_though_they_are_fenced() {
        let (near, far) = (ms(-1, 1), ms(9_000, 9_001));
        assert!(!is_sound(true, &[(far, false), (far, false)]), "the wrong one");
        for before in [true, false] {
            assert!(is_sound(before, &[(far, true), (near, false)]), "the others");
        }
    }

    #[test]
    fn the_machines_clock_may_be_right_where_the_own_is_wrong() {
        let others = [ms(9_990, 10_010), ms(10_000, 10_020)];
        let all = votes(&others.map(|o| (o, true)));
        let jury = Jury { me: NodeId(1), sound: false, votes: &all, known: 2, bound: BOUND };
        assert!(jury.is_against(0, most(BOUND)));
        assert!(!jury.is_against(10_000 * MS, most(BOUND)));
        assert_eq!(middle_of(&others), Some((10_000 * MS, 10_010 * MS)));
        assert_eq!(middle_of(&[]), None);
    }
}
