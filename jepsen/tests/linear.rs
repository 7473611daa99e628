//! Registers: what the search says is what trying every order says, and it gives up where it is told to.

mod support;

use meridian_jepsen::check::linear::{MEMORY_MAX, check};
use meridian_jepsen::check::{Report, Verdict};
use meridian_jepsen::history::{Event, History, Kind, Names, RegisterFn, RegisterOp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::exact::is_linearizable;

fn read(lines: &str) -> Report {
    check(&History::read(lines).expect("a history"), MEMORY_MAX)
}

#[test]
fn the_three_operations_and_their_order() {
    let text = "
        {:type :invoke :process 0 :f :write :value 1}
        {:type :invoke :process 1 :f :read}
        {:type :ok :process 1 :f :read :value nil}
        {:type :ok :process 0 :f :write :value 1}
        {:type :invoke :process 1 :f :cas :value [1 2]}
        {:type :ok :process 1 :f :cas :value [1 2]}
        {:type :invoke :process 2 :f :cas :value [1 3]}
        {:type :fail :process 2 :f :cas :value [1 3]}
        {:type :invoke :process :nemesis :f :kill}
        {:type :invoke :process 0 :f :read}
        {:type :ok :process 0 :f :read :value 2}";
    assert_eq!(read(text).verdict(), Verdict::Valid);
    let stale = text.replace(":read :value 2}", ":read :value 1}");
    let report = read(&stale);
    assert_eq!(report.verdict(), Verdict::Invalid);
    assert_eq!(report.names(), ["not-linearizable"]);
    assert!(report.to_string().contains(":read, :value 1"), "{report}");
}

#[test]
fn registers_are_looked_at_one_by_one_in_every_spelling() {
    for (write, other, back) in [
        (":f :write :value [:x 1]", ":f :write :value [:y 2]", ":f :read :value [:y 1]"),
        (":f :write :key :x :value 1", ":f :write :key :y :value 2", ":f :read :key :y :value 1"),
        (":f :txn :value [[:w :x 1]]", ":f :txn :value [[:w :y 2]]", ":f :txn :value [[:r :y 1]]"),
    ] {
        let mut text = String::new();
        for op in [write, other, back] {
            text.push_str(&format!("{{:type :invoke :process 0 {op}}}\n{{:type :ok :process 0 {op}}}\n"));
        }
        let report = read(&text);
        assert_eq!(report.verdict(), Verdict::Invalid, "{text}");
        assert!(report.to_string().contains("register :y"), "{report}");
        assert_eq!(
            read(&text.replace("1]}", "2]}").replace("1]]}", "2]]}").replace(":y :value 1", ":y :value 2"))
                .verdict(),
            Verdict::Valid
        );
    }
}

#[test]
fn a_lost_write_may_take_effect_late_or_never() {
    let text = "
        {:type :invoke :process 0 :f :write :value 1}
        {:type :info :process 0 :f :write :value 1}
        {:type :invoke :process 1 :f :read}
        {:type :ok :process 1 :f :read :value nil}
        {:type :invoke :process 1 :f :read}
        {:type :ok :process 1 :f :read :value 1}";
    assert_eq!(read(text).verdict(), Verdict::Valid);
    assert_eq!(
        read(&text.replace(":value 1}", ":value nil}").replace(":write :value nil", ":write :value 1"))
            .verdict(),
        Verdict::Valid
    );
    let back = format!(
        "{text}\n{{:type :invoke :process 1 :f :read}}\n{{:type :ok :process 1 :f :read :value nil}}"
    );
    assert_eq!(read(&back).verdict(), Verdict::Invalid);
}

/// Clients of one register that takes each operation at a moment between its invocation and its completion; then, of some
/// histories, a read is changed.
fn simulate(seed: u64, operations: usize, clients: usize, values: i64, unknown: u32) -> History<RegisterOp> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut names = Names::default();
    let mut held = None;
    let mut events = Vec::new();
    let mut open: Vec<Option<(RegisterFn, Option<Kind>)>> = vec![None; clients];
    let mut processes: Vec<i64> = (0..clients as i64).collect();
    let mut begun = 0;
    while begun < operations || open.iter().any(Option::is_some) {
        let at = random.random_range(0..clients);
        let mut say = |kind, f: RegisterFn| {
            events.push(Event {
                index: None,
                process: Some(processes[at]),
                kind,
                time: None,
                value: RegisterOp { key: None, f },
            });
        };
        match open[at].take() {
            None if begun == operations => {}
            None => {
                begun += 1;
                let mut value = || names.int(random.random_range(0..values));
                let (a, b) = (value(), value());
                let f = match random.random_range(0..3) {
                    0 => RegisterFn::Read(None),
                    1 => RegisterFn::Write(a),
                    _ => RegisterFn::Cas(a, b),
                };
                say(Kind::Invoke, f.clone());
                open[at] = Some((f, None));
            }
            Some((f, done)) if random.random_ratio(unknown, 100) => {
                let happens = done.is_none() && random.random_ratio(1, 2);
                match f {
                    RegisterFn::Write(new) if happens => held = Some(new),
                    RegisterFn::Cas(old, new) if happens && held == Some(old) => held = Some(new),
                    _ => {}
                }
                say(Kind::Info, f);
                processes[at] += clients as i64;
            }
            Some((f, Some(kind))) => say(kind, f),
            Some((f, None)) => {
                let (f, kind) = match f {
                    RegisterFn::Read(_) => (RegisterFn::Read(held), Kind::Ok),
                    RegisterFn::Write(new) => {
                        held = Some(new);
                        (f, Kind::Ok)
                    }
                    RegisterFn::Cas(old, new) if held == Some(old) => {
                        held = Some(new);
                        (f, Kind::Ok)
                    }
                    RegisterFn::Cas(..) => (f, Kind::Fail),
                };
                open[at] = Some((f, Some(kind)));
            }
        }
    }
    if seed % 2 == 1 {
        let reads: Vec<usize> = (0..events.len())
            .filter(|i| events[*i].kind == Kind::Ok && matches!(events[*i].value.f, RegisterFn::Read(_)))
            .collect();
        if !reads.is_empty() {
            let value = names.int(random.random_range(0..values));
            events[reads[random.random_range(0..reads.len())]].value.f = RegisterFn::Read(Some(value));
        }
    }
    History::new(events, names).expect("well-formed")
}

#[test]
fn tiny_histories_are_judged_exactly() {
    let (mut yes, mut no) = (0, 0);
    for seed in 0..3000 {
        let history = simulate(seed, 8, 4, 3, 10);
        let exact = is_linearizable(&history);
        *(if exact { &mut yes } else { &mut no }) += 1;
        let report = check(&history, MEMORY_MAX);
        let want = if exact { Verdict::Valid } else { Verdict::Invalid };
        assert_eq!(report.verdict(), want, "{seed}: {report}\n{history:?}");
    }
    assert!(yes > 1000 && no > 300, "{yes} {no}");
}

#[test]
fn long_histories_are_found_linearizable() {
    for seed in [0, 2, 4] {
        let history = simulate(seed, 5000, 10, 5, 1);
        assert_eq!(check(&history, MEMORY_MAX).verdict(), Verdict::Valid, "{seed}");
    }
}

#[test]
fn when_memory_ends_nothing_is_said() {
    let history = simulate(0, 500, 10, 5, 0);
    assert_eq!(check(&history, 10_000).verdict(), Verdict::Unknown);
    let report =
        check(&History::read("{:type :ok :process 0 :f :read :value 1}").expect("a history"), MEMORY_MAX);
    assert_eq!(report.verdict(), Verdict::Unknown, "without invocations");
}
