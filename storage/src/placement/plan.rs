//! The plan: for each range at most one action, the most urgent first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, ClusterView, NodeView, Policy, RangeView, Why};
use crate::base::{NodeId, RangeId};
use crate::replica::{Merging, RangeDescriptor, ReplicaKind};

/// Without news for this long, a node gets no new replicas or leases; nothing is taken from it yet.
const SUSPECT_AFTER: Duration = Duration::from_secs(5);

/// What `me` should do about the ranges that it leads.
pub fn plan(view: &ClusterView, me: NodeId, policy: &Policy) -> Vec<Action> {
    let mut planner = Planner { me, policy, nodes: view.nodes.clone(), moves: 0 };
    let mut ranges: Vec<&RangeView> = view.ranges.iter().collect();
    ranges.sort_by_key(|r| r.descriptor.range);
    let mut actions = Vec::new();
    let mut calm = Vec::new();
    for range in ranges {
        // A joint configuration is left, and a merge ended, by the leaseholder itself.
        if range.descriptor.is_joint() || range.descriptor.merging != Merging::No {
            continue;
        }
        match planner.urgent(range) {
            Some(action) => actions.push(action),
            None => calm.push(range),
        }
    }
    if !view.balances {
        return actions;
    }
    actions.extend(calm.into_iter().filter_map(|range| planner.balance(&range.descriptor)));
    actions
}

/// Counts what its own actions will change, so that one plan does not send everything to the same node.
struct Planner<'a> {
    me: NodeId,
    policy: &'a Policy,
    nodes: BTreeMap<NodeId, NodeView>,
    moves: usize,
}

impl Planner<'_> {
    fn is_dead(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_none_or(|n| n.silent_for >= self.policy.dead_after)
    }

    fn is_draining(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.draining)
    }

    /// Whether a node may be given more.
    fn takes(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| !n.draining && !n.fenced && n.silent_for < SUSPECT_AFTER)
    }

    /// The emptiest nodes that may take a replica of the range.
    fn candidates(&self, d: &RangeDescriptor) -> Vec<NodeId> {
        let mut free: Vec<_> = self
            .nodes
            .iter()
            .filter(|(node, _)| self.takes(**node) && d.replica_on(**node).is_none())
            .map(|(node, view)| (view.replicas, *node))
            .collect();
        free.sort_unstable();
        free.into_iter().map(|(_, node)| node).collect()
    }

    fn change(&mut self, range: RangeId, add: Vec<NodeId>, remove: Vec<NodeId>, why: Why) -> Action {
        for node in &add {
            if let Some(n) = self.nodes.get_mut(node) {
                n.replicas += 1;
            }
        }
        for node in &remove {
            if let Some(n) = self.nodes.get_mut(node) {
                n.replicas = n.replicas.saturating_sub(1);
            }
        }
        Action::Change { range, add, remove, why }
    }

    fn transfer(&mut self, range: RangeId, to: NodeId, why: Why) -> Action {
        if let Some(n) = self.nodes.get_mut(&to) {
            n.leases += 1;
        }
        if let Some(n) = self.nodes.get_mut(&self.me) {
            n.leases = n.leases.saturating_sub(1);
        }
        Action::TransferLease { range, to, why }
    }

    fn urgent(&mut self, range: &RangeView) -> Option<Action> {
        let d = &range.descriptor;
        self.repair(d)
            .or_else(|| self.finish(d))
            .or_else(|| self.drain(d))
            .or_else(|| self.trim(d))
            .or_else(|| (range.bytes > self.policy.split_bytes).then_some(Action::Split { range: d.range }))
    }

    /// Too few voters, or some on nodes that will not come back.
    fn repair(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let voters: Vec<NodeId> = d.voters().map(|r| r.node).collect();
        let free = self.candidates(d);
        if let Some(dead) = voters.iter().copied().find(|n| self.is_dead(*n)) {
            let living = voters.iter().filter(|n| !self.is_dead(**n)).count();
            if let Some(&new) = free.first() {
                return Some(self.change(d.range, vec![new], vec![dead], Why::DeadNode));
            }
            // Nowhere to go: a dead voter is only dropped if enough remain.
            return (living >= self.policy.replicas)
                .then(|| self.change(d.range, vec![], vec![dead], Why::DeadNode));
        }
        let missing = self.policy.replicas.saturating_sub(voters.len());
        // Two voters survive no more than one; so from one voter, wait for two further nodes.
        let wanted = if voters.len() + free.len().min(missing) == 2 { 0 } else { missing.min(free.len()) };
        (wanted > 0).then(|| self.change(d.range, free[..wanted].to_vec(), vec![], Why::TooFew))
    }

    /// A learner that somebody left behind: promote it if a voter is missing, else remove it.
    fn finish(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let learner = d.replicas.iter().find(|r| r.kind == ReplicaKind::Learner)?.node;
        let wanted = d.voters().count() < self.policy.replicas && self.takes(learner);
        let (add, remove) = if wanted { (vec![learner], vec![]) } else { (vec![], vec![learner]) };
        Some(self.change(d.range, add, remove, Why::Unfinished))
    }

    fn drain(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let leaving = d.voters().map(|r| r.node).find(|n| self.is_draining(*n) && *n != self.me);
        if let Some(node) = leaving {
            let new = self.candidates(d).first().copied()?;
            return Some(self.change(d.range, vec![new], vec![node], Why::Draining));
        }
        if !self.is_draining(self.me) {
            return None;
        }
        match self.heir(d) {
            Some(to) => Some(self.transfer(d.range, to, Why::Draining)),
            // The only voter cannot leave before there is another.
            None => {
                let new = self.candidates(d).first().copied()?;
                Some(self.change(d.range, vec![new], vec![], Why::Draining))
            }
        }
    }

    /// The voter with the fewest leases, other than this node.
    fn heir(&self, d: &RangeDescriptor) -> Option<NodeId> {
        d.voters()
            .map(|r| r.node)
            .filter(|n| *n != self.me && self.takes(*n))
            .min_by_key(|n| (self.nodes[n].leases, *n))
    }

    /// More voters than wanted: the fullest node gives one up.
    fn trim(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let voters: Vec<NodeId> = d.voters().map(|r| r.node).collect();
        if voters.len() <= self.policy.replicas {
            return None;
        }
        let fullest = voters
            .into_iter()
            .filter(|n| *n != self.me)
            .max_by_key(|n| (self.nodes.get(n).map_or(usize::MAX, |v| v.replicas), *n))?;
        Some(self.change(d.range, vec![], vec![fullest], Why::TooMany))
    }

    /// Evens out replicas, then leases.
    fn balance(&mut self, d: &RangeDescriptor) -> Option<Action> {
        if self.moves >= self.policy.max_balance_moves {
            return None;
        }
        let action = self.balance_replicas(d).or_else(|| self.balance_leases(d));
        self.moves += usize::from(action.is_some());
        action
    }

    /// The mean over the nodes that take more, and how far from it a node is left alone; none for a single node.
    fn mean(&self, count: fn(&NodeView) -> usize) -> Option<(usize, usize)> {
        let living: Vec<_> = self.nodes.keys().filter(|n| self.takes(**n)).map(|n| &self.nodes[n]).collect();
        let total: usize = living.iter().map(|n| count(n)).sum();
        let mean = total / living.len().max(1);
        (living.len() > 1).then(|| (mean, (mean * self.policy.tolerance_percent / 100).max(1)))
    }

    /// From a node that has too many, or to one that has too few: a new node gets its share although no other is too full.
    fn balance_replicas(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let (mean, slack) = self.mean(|n| n.replicas)?;
        // With a voter silent, a change that need not be could cost the majority.
        if !d.voters().all(|r| self.takes(r.node)) {
            return None;
        }
        let voters = d.voters().map(|r| r.node).filter(|n| *n != self.me);
        let from = voters.max_by_key(|n| (self.nodes[n].replicas, *n))?;
        let to = self.candidates(d).first().copied()?;
        let (full, empty) = (self.nodes[&from].replicas, self.nodes[&to].replicas);
        // The move must leave the two nearer to one another.
        ((full > mean + slack || empty + slack < mean) && empty + 1 < full)
            .then(|| self.change(d.range, vec![to], vec![from], Why::Balance))
    }

    fn balance_leases(&mut self, d: &RangeDescriptor) -> Option<Action> {
        let (mean, slack) = self.mean(|n| n.leases)?;
        let own = self.nodes.get(&self.me)?.leases;
        let to = self.heir(d)?;
        (own > mean + slack.max(2) && self.nodes[&to].leases + 1 < own)
            .then(|| self.transfer(d.range, to, Why::Balance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, ReplicaId};
    use crate::replica::ReplicaDescriptor;

    const ME: NodeId = NodeId(1);

    fn node(replicas: usize, leases: usize) -> NodeView {
        NodeView { silent_for: Duration::ZERO, draining: false, fenced: false, replicas, leases }
    }

    fn nodes(n: u32) -> BTreeMap<NodeId, NodeView> {
        (1..=n).map(|i| (NodeId(i), node(10, 5))).collect()
    }

    fn range(id: u64, on: &[(u32, ReplicaKind)]) -> RangeView {
        let replicas = on
            .iter()
            .map(|&(n, kind)| ReplicaDescriptor { node: NodeId(n), replica: ReplicaId(n.into()), kind })
            .collect();
        let descriptor = RangeDescriptor {
            range: RangeId(id),
            start: Key::MIN,
            end: Key::from("z"),
            generation: 1,
            replicas,
            next_replica: ReplicaId(99),
            merging: Default::default(),
        };
        RangeView { descriptor, bytes: 1 << 20 }
    }

    fn voters(id: u64, on: &[u32]) -> RangeView {
        range(id, &on.iter().map(|n| (*n, ReplicaKind::Voter)).collect::<Vec<_>>())
    }

    fn planned(nodes: BTreeMap<NodeId, NodeView>, ranges: Vec<RangeView>) -> Vec<Action> {
        plan(&ClusterView { nodes, ranges, balances: true }, ME, &Policy::default())
    }

    fn change(id: u64, add: &[u32], remove: &[u32], why: Why) -> Action {
        let ids = |n: &[u32]| n.iter().map(|n| NodeId(*n)).collect();
        Action::Change { range: RangeId(id), add: ids(add), remove: ids(remove), why }
    }

    #[test]
    fn one_replica_becomes_three_when_there_are_three_nodes() {
        assert_eq!(planned(nodes(3), vec![voters(1, &[1])]), [change(1, &[2, 3], &[], Why::TooFew)]);
        assert_eq!(planned(nodes(2), vec![voters(1, &[1])]), [], "two voters survive no more than one");
        assert_eq!(planned(nodes(1), vec![voters(1, &[1])]), []);
        assert_eq!(planned(nodes(3), vec![voters(1, &[1, 2])]), [change(1, &[3], &[], Why::TooFew)]);
    }

    #[test]
    fn a_dead_node_is_replaced_by_the_emptiest_and_a_silent_one_is_left_alone() {
        let mut n = nodes(5);
        n.insert(NodeId(5), node(3, 0));
        n.get_mut(&NodeId(2)).expect("there").silent_for = Duration::from_secs(20);
        assert_eq!(planned(n.clone(), vec![voters(1, &[1, 2, 3])]), []);
        n.get_mut(&NodeId(2)).expect("there").silent_for = Duration::from_secs(301);
        assert_eq!(planned(n, vec![voters(1, &[1, 2, 3])]), [change(1, &[5], &[2], Why::DeadNode)]);
        let mut three = nodes(3);
        three.remove(&NodeId(2));
        assert_eq!(planned(three, vec![voters(1, &[1, 2, 3])]), [], "nowhere to go");
    }

    #[test]
    fn one_plan_does_not_send_everything_to_one_node() {
        let mut n = nodes(5);
        n.remove(&NodeId(2));
        let plan = planned(n, (1..=4).map(|r| voters(r, &[1, 2, 3])).collect());
        let to: Vec<_> = plan
            .iter()
            .map(|a| match a {
                Action::Change { add, .. } => add[0].0,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(to, [4, 5, 4, 5]);
    }

    #[test]
    fn a_node_with_a_bad_clock_keeps_what_it_has_and_is_given_nothing() {
        let mut n = nodes(3);
        n.insert(ME, node(10, 20));
        n.insert(NodeId(4), node(0, 0));
        n.get_mut(&NodeId(2)).expect("there").leases = 0;
        for id in [2, 4] {
            n.get_mut(&NodeId(id)).expect("there").fenced = true;
        }
        let range = || vec![voters(1, &[1, 2, 3])];
        let to_the_third = Action::TransferLease { range: RangeId(1), to: NodeId(3), why: Why::Balance };
        assert_eq!(planned(n.clone(), range()), [to_the_third]);
        n.values_mut().for_each(|v| v.fenced = false);
        assert_eq!(planned(n, range()), [change(1, &[4], &[3], Why::Balance)]);
    }

    #[test]
    fn a_draining_node_loses_its_replicas_and_hands_its_leases_over() {
        let mut n = nodes(4);
        n.get_mut(&NodeId(3)).expect("there").draining = true;
        assert_eq!(planned(n, vec![voters(1, &[1, 2, 3])]), [change(1, &[4], &[3], Why::Draining)]);
        let mut n = nodes(4);
        n.get_mut(&ME).expect("there").draining = true;
        let to = Action::TransferLease { range: RangeId(1), to: NodeId(2), why: Why::Draining };
        assert_eq!(planned(n, vec![voters(1, &[1, 2, 3])]), [to]);
    }

    #[test]
    fn leftover_learners_are_finished() {
        let learner = |on: &[u32]| {
            let mut all: Vec<_> = on.iter().map(|n| (*n, ReplicaKind::Voter)).collect();
            all.push((4, ReplicaKind::Learner));
            range(1, &all)
        };
        assert_eq!(planned(nodes(4), vec![learner(&[1, 2, 3])]), [change(1, &[], &[4], Why::Unfinished)]);
        let mut few = nodes(4);
        few.remove(&NodeId(3));
        assert_eq!(planned(few, vec![learner(&[1, 2])]), [change(1, &[4], &[], Why::Unfinished)]);
    }

    #[test]
    fn too_many_voters_and_too_many_bytes() {
        assert_eq!(planned(nodes(4), vec![voters(1, &[1, 2, 3, 4])]), [change(1, &[], &[4], Why::TooMany)]);
        let mut big = voters(1, &[1, 2, 3]);
        big.bytes = Policy::default().split_bytes + 1;
        assert_eq!(planned(nodes(3), vec![big]), [Action::Split { range: RangeId(1) }]);
    }

    #[test]
    fn balance_moves_little_and_stops_when_it_is_reached() {
        let mut n = nodes(4);
        n.insert(NodeId(2), node(40, 5));
        n.insert(NodeId(4), node(0, 0));
        let ranges: Vec<_> = (1..=3).map(|r| voters(r, &[1, 2, 3])).collect();
        assert_eq!(planned(n, ranges), [change(1, &[4], &[2], Why::Balance)]);
        assert_eq!(planned(nodes(4), vec![voters(1, &[1, 2, 3])]), []);
        let mut n: BTreeMap<_, _> = (1..=3).map(|i| (NodeId(i), node(4, 1))).collect();
        n.insert(NodeId(4), node(0, 0));
        assert_eq!(
            planned(n.clone(), vec![voters(1, &[1, 2, 3])]),
            [change(1, &[4], &[3], Why::Balance)],
            "a new node gets its share of four ranges"
        );
        n.get_mut(&NodeId(2)).expect("there").silent_for = Duration::from_secs(20);
        assert_eq!(planned(n, vec![voters(1, &[1, 2, 3])]), [], "but not while a voter is silent");
        let mut n = nodes(3);
        n.insert(ME, node(10, 30));
        n.insert(NodeId(3), node(10, 1));
        let to = Action::TransferLease { range: RangeId(1), to: NodeId(3), why: Why::Balance };
        assert_eq!(planned(n, vec![voters(1, &[1, 2, 3])]), [to]);
    }
}
