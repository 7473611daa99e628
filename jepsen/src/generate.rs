//! Databases of a few lines that make histories which are valid by construction: clients take turns at random, so that their
//! transactions overlap, some fail, and of some nobody knows what became of them. What a checker finds in them it should not
//! find; what it does not find in those of a weaker database it should; and how long it takes for a large one can be measured.
//!
//! What must stay true: the same plan and seed give the same history.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, History, Kind, Malformed, MicroOp, Names, Seen, Symbol, Txn};
use crate::workload::{Chance, SplitMix};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// One transaction at a time, at some moment between its invocation and its completion.
    Strict,
    /// A snapshot from after the invocation; of two that overlap and write one key the second fails.
    Snapshot,
    /// Each operation sees what is committed; a written key is locked until the end.
    ReadCommitted,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub isolation: Isolation,
    pub lists: bool,
    pub transactions: usize,
    pub clients: usize,
    /// Keys in use at a time.
    pub keys: usize,
    /// Writes to a key, after which another one takes its place.
    pub writes_per_key: usize,
    pub ops_max: u64,
    /// Of a hundred transactions, how many fail and of how many the outcome is unknown.
    pub failed: u64,
    pub unknown: u64,
    /// Every write follows a read of its key in its transaction.
    pub reads_before_writes: bool,
    /// At the end somebody reads all keys.
    pub reads_all: bool,
}

impl Plan {
    /// Some hundred transactions.
    pub fn new(isolation: Isolation, lists: bool) -> Plan {
        Plan {
            isolation,
            lists,
            transactions: 300,
            clients: 6,
            keys: 3,
            writes_per_key: 20,
            ops_max: 4,
            failed: 8,
            unknown: 8,
            reads_before_writes: false,
            reads_all: false,
        }
    }

    /// So few that all orders can be tried.
    pub fn tiny(self) -> Plan {
        Plan { transactions: 6, clients: 4, keys: 2, writes_per_key: 100, ops_max: 3, ..self }
    }

    /// So many that time and memory can be measured.
    pub fn large(self, transactions: usize, clients: usize) -> Plan {
        Plan { transactions, clients, keys: 10, writes_per_key: 100, ..self }
    }

    pub fn events(self, seed: u64) -> (Vec<Event<Txn>>, Names) {
        Simulation::new(self, seed).run()
    }

    pub fn history(self, seed: u64) -> Result<History<Txn>, Malformed> {
        let (events, names) = self.events(seed);
        History::new(events, names)
    }
}

/// A list; or what a register holds, in a list of at most one.
type Cell = Vec<Symbol>;

#[derive(Default)]
struct Client {
    process: i64,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Invoked(Txn),
    /// The place of the next operation, what it has written, and when it began.
    Running {
        txn: Txn,
        next: usize,
        own: BTreeMap<Symbol, Cell>,
        snapshot: usize,
        locks: BTreeSet<Symbol>,
    },
    Decided(Kind, Txn),
}

struct Simulation {
    plan: Plan,
    random: SplitMix,
    names: Names,
    events: Vec<Event<Txn>>,
    /// Committed versions of each key, with the number of the commit.
    versions: BTreeMap<Symbol, Vec<(usize, Cell)>>,
    commits: usize,
    locked: BTreeSet<Symbol>,
    keys: Vec<(Symbol, usize)>,
    next_key: i64,
    next_value: BTreeMap<Symbol, i64>,
    processes: i64,
    /// Transactions of which the clients know nothing more and which go on.
    orphans: Vec<Client>,
}

impl Simulation {
    fn new(plan: Plan, seed: u64) -> Simulation {
        let mut names = Names::default();
        let keys = (0..plan.keys as i64).map(|k| (names.int(k), 0)).collect();
        Simulation {
            plan,
            random: SplitMix(seed),
            names,
            events: Vec::new(),
            versions: BTreeMap::new(),
            commits: 0,
            locked: BTreeSet::new(),
            keys,
            next_key: plan.keys as i64,
            next_value: BTreeMap::new(),
            processes: plan.clients as i64,
            orphans: Vec::new(),
        }
    }

    fn run(mut self) -> (Vec<Event<Txn>>, Names) {
        let client = |process| Client { process, stage: Stage::Idle };
        let mut clients: Vec<Client> = (0..self.plan.clients as i64).map(client).collect();
        let mut begun = 0;
        loop {
            let idle = clients.iter().all(|c| matches!(c.stage, Stage::Idle));
            if begun >= self.plan.transactions && idle {
                if self.plan.reads_all {
                    self.read_all();
                }
                return (self.events, self.names);
            }
            if !self.orphans.is_empty() && self.random.percent(20) {
                let at = self.random.below(self.orphans.len() as u64) as usize;
                let mut orphan = self.orphans.swap_remove(at);
                orphan.stage = self.step(orphan.stage);
                if !matches!(orphan.stage, Stage::Decided(..)) {
                    self.orphans.push(orphan);
                }
                continue;
            }
            let at = self.random.below(clients.len() as u64) as usize;
            let process = clients[at].process;
            clients[at].stage = match std::mem::take(&mut clients[at].stage) {
                Stage::Idle if begun >= self.plan.transactions => Stage::Idle,
                Stage::Idle => {
                    begun += 1;
                    let txn = self.plan_txn();
                    self.say(process, Kind::Invoke, txn.clone());
                    Stage::Invoked(txn)
                }
                // The connection is lost at any stage; the client goes on under another name.
                stage if self.random.below(300) < self.plan.unknown => {
                    let txn = match &stage {
                        Stage::Invoked(txn) | Stage::Running { txn, .. } | Stage::Decided(_, txn) => {
                            txn.clone()
                        }
                        Stage::Idle => Txn::new(),
                    };
                    self.say(process, Kind::Info, txn);
                    self.orphans.push(Client { process, stage });
                    self.orphans.retain(|o| !matches!(o.stage, Stage::Decided(..)));
                    clients[at].process = self.processes;
                    self.processes += 1;
                    Stage::Idle
                }
                Stage::Decided(kind, txn) => {
                    self.say(process, kind, txn);
                    Stage::Idle
                }
                stage => self.step(stage),
            };
        }
    }

    fn read_all(&mut self) {
        let keys: Vec<Symbol> = self.keys.iter().map(|(key, _)| *key).collect();
        let read = |key: &Symbol, seen| MicroOp::Read { key: *key, seen };
        self.say(self.processes, Kind::Invoke, keys.iter().map(|key| read(key, Seen::Nil)).collect());
        let done = keys.iter().map(|key| read(key, self.seen(self.committed(*key, self.commits)))).collect();
        self.say(self.processes, Kind::Ok, done);
    }

    fn seen(&self, cell: Cell) -> Seen {
        match (self.plan.lists, cell.last()) {
            (true, Some(_)) => Seen::List(cell.into()),
            (false, Some(value)) => Seen::Value(*value),
            (_, None) => Seen::Nil,
        }
    }

    fn say(&mut self, process: i64, kind: Kind, value: Txn) {
        let index = self.events.len() as u64;
        self.events.push(Event {
            index: Some(index),
            process: Some(process),
            kind,
            time: Some(index as i64 * 1000),
            value,
        });
    }

    fn plan_txn(&mut self) -> Txn {
        let mut txn = Txn::new();
        for _ in 0..=self.random.below(self.plan.ops_max) {
            let at = self.random.below(self.keys.len() as u64) as usize;
            let (key, writes) = self.keys[at];
            if self.random.percent(50) {
                txn.push(MicroOp::Read { key, seen: Seen::Nil });
                continue;
            }
            if self.plan.reads_before_writes && !txn.iter().any(|o| o.key() == key) {
                txn.push(MicroOp::Read { key, seen: Seen::Nil });
            }
            let value = self.next_value.entry(key).or_insert(0);
            *value += 1;
            let value = self.names.int(*value);
            txn.push(match self.plan.lists {
                true => MicroOp::Append { key, element: value },
                false => MicroOp::Write { key, value },
            });
            self.keys[at].1 = writes + 1;
            if writes + 1 >= self.plan.writes_per_key {
                self.keys[at] = (self.names.int(self.next_key), 0);
                self.next_key += 1;
            }
        }
        txn
    }

    fn committed(&self, key: Symbol, snapshot: usize) -> Cell {
        let versions = self.versions.get(&key).map_or(&[][..], |v| &v[..]);
        let end = versions.partition_point(|(commit, _)| *commit <= snapshot);
        end.checked_sub(1).map_or(Vec::new(), |at| versions[at].1.clone())
    }

    fn step(&mut self, stage: Stage) -> Stage {
        match stage {
            Stage::Idle | Stage::Decided(..) => stage,
            Stage::Invoked(txn) if self.random.percent(self.plan.failed) => Stage::Decided(Kind::Fail, txn),
            Stage::Invoked(txn) => Stage::Running {
                txn,
                next: 0,
                own: BTreeMap::new(),
                snapshot: self.commits,
                locks: BTreeSet::new(),
            },
            Stage::Running { mut txn, mut next, mut own, mut snapshot, mut locks } => {
                if self.plan.isolation == Isolation::Strict {
                    snapshot = self.commits;
                }
                loop {
                    if self.plan.isolation == Isolation::ReadCommitted {
                        snapshot = self.commits;
                    }
                    if next == txn.len() {
                        return self.commit(txn, own, snapshot, locks);
                    }
                    let op = txn[next].clone();
                    let key = op.key();
                    let mut cell = own.get(&key).cloned().unwrap_or_else(|| self.committed(key, snapshot));
                    if let Some((_, new)) = op.written() {
                        if self.plan.isolation == Isolation::ReadCommitted && !locks.contains(&key) {
                            if !self.locked.insert(key) {
                                locks.iter().for_each(|k| _ = self.locked.remove(k));
                                return Stage::Decided(Kind::Fail, txn);
                            }
                            locks.insert(key);
                        }
                        if !self.plan.lists {
                            cell.clear();
                        }
                        cell.push(new);
                        own.insert(key, cell);
                    } else {
                        let seen = self.seen(cell);
                        txn[next] = MicroOp::Read { key, seen };
                    }
                    next += 1;
                    if self.plan.isolation != Isolation::Strict {
                        return Stage::Running { txn, next, own, snapshot, locks };
                    }
                }
            }
        }
    }

    fn commit(
        &mut self,
        txn: Txn,
        own: BTreeMap<Symbol, Cell>,
        snapshot: usize,
        locks: BTreeSet<Symbol>,
    ) -> Stage {
        locks.iter().for_each(|k| _ = self.locked.remove(k));
        let changed = |key| self.versions.get(key).and_then(|v| v.last()).is_some_and(|(c, _)| *c > snapshot);
        if own.keys().any(changed) {
            return Stage::Decided(Kind::Fail, txn);
        }
        self.commits += 1;
        for (key, cell) in own {
            self.versions.entry(key).or_default().push((self.commits, cell));
        }
        Stage::Decided(Kind::Ok, txn)
    }
}
