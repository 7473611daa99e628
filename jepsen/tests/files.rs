//! Histories as files: what is written is read back, and what is not a history is refused with its place.

mod support;

use meridian_jepsen::generate::{Isolation, Plan};
use meridian_jepsen::history::{History, Malformed, Outcome, ReadError, RegisterOp, Txn};

fn same(a: &History<Txn>, b: &History<Txn>) {
    let text = |h: &History<Txn>| {
        let mut lines = Vec::new();
        for op in &h.operations {
            let mut line = format!(
                "{} {:?} {:?} {:?} {:?} ",
                op.index, op.process, op.invoked, op.completed, op.outcome
            );
            op.value.iter().for_each(|m| m.write(&h.names, &mut line));
            lines.push(line);
        }
        lines
    };
    assert_eq!(text(a), text(b));
}

#[test]
fn what_is_written_is_read_back() {
    for (seed, lists) in [(1, true), (2, false)] {
        let (events, names) = Plan::new(Isolation::Snapshot, lists).events(seed);
        let text = names.write_events(&events);
        let want = History::new(events, names).expect("well-formed");
        same(&want, &History::read(&text).expect("the same"));
        same(&want, &History::read(&format!("[{text}]")).expect("the same in a vector"));
        let tagged = text.replace("{:index", "#jepsen.history.Op{:unknown {:a [1.5 #inst \"2020\"]}, :index");
        same(&want, &History::read(&tagged).expect("the same with tags and more fields"));
    }
}

#[test]
fn keys_and_elements_may_be_any_edn() {
    let text = "{:type :ok, :process 0, :value [[:append \"a \\\"key\\\"\" :e] [:r [1 :x] nil] (:r sym (1 \"two\" 3.5))]}\n";
    let history: History<Txn> = History::read(text).expect("a history");
    let mut out = String::new();
    history.operations[0].value.iter().for_each(|m| m.write(&history.names, &mut out));
    assert_eq!(out, "[:append \"a \\\"key\\\"\" :e][:r [1 :x] nil][:r sym [1 \"two\" 3.5]]");
}

#[test]
fn completions_find_their_invocations() {
    let text = "
        {:index 3 :type :info :process 1 :f :txn :value nil}
        {:index 0 :type :invoke :process 0 :f :txn :value [[:w 1 1] [:r 2]]}
        {:index 1 :type :invoke :process 1 :f :txn :value [[:w 1 2]]}
        {:index 2 :type :ok :process 0 :f :txn :value [[:w 1 1] [:r 2 7]]}
        {:index 4 :type :info :process :nemesis :f :kill}
        {:index 5 :type :invoke :process 0 :f :txn :value [[:w 1 3]]}";
    let history: History<Txn> = History::read(text).expect("a history");
    let ops: Vec<_> = history
        .operations
        .iter()
        .map(|o| (o.index, o.outcome, o.invoked, o.completed, o.value.len()))
        .collect();
    assert_eq!(
        ops,
        [
            (2, Outcome::Ok, Some(0), Some(2), 2),
            (3, Outcome::Info, Some(1), None, 1),
            (5, Outcome::Info, Some(4), None, 1)
        ]
    );
    assert_eq!(history.ignored, 1);
}

#[test]
fn pairs_that_do_not_fit_are_named() {
    let malformed = |text: &str| match History::<Txn>::read(text) {
        Err(ReadError::Malformed(why)) => why,
        other => panic!("{other:?}"),
    };
    let invoke = "{:type :invoke :process 0 :value [[:w 1 1]]}";
    assert_eq!(
        malformed(&format!("{invoke}{invoke}")),
        Malformed::DoubleInvocation { process: "0".into(), first: 0, second: 1 }
    );
    let lonely = format!("{invoke} {{:type :ok :process 1 :value []}}");
    assert_eq!(malformed(&lonely), Malformed::NeverInvoked { process: "1".into(), index: 1 });
    let other = format!("{invoke} {{:type :ok :process 0 :value [[:w 1 2]]}}");
    assert_eq!(malformed(&other), Malformed::Mismatch { invoked: 0, completed: 1 });
    let twice = "{:index 7 :type :ok :value []} {:index 7 :type :ok :value []}";
    assert_eq!(malformed(twice), Malformed::DuplicateIndex(7));
    assert_eq!(malformed("{:index 7 :type :ok :value []} {:type :ok :value []}"), Malformed::MixedIndices);
}

#[test]
fn what_is_no_history_is_refused_with_its_place() {
    let place = |text: &str| match History::<Txn>::read(text) {
        Err(ReadError::Text(e)) => (e.line, e.column),
        other => panic!("{text}: {other:?}"),
    };
    for bad in [
        "7",
        "{:process 0}",
        "{:type :maybe :process 0}",
        "{:type 3}",
        "{:type :ok :process 0}",
        "{:type :ok :process 0 :value 7}",
        "{:type :ok :process 0 :value [7]}",
        "{:type :ok :process 0 :value [[]]}",
        "{:type :ok :process 0 :value [[:r]]}",
        "{:type :ok :process 0 :value [[:r 1 2 3]]}",
        "{:type :ok :process 0 :value [[:append 1]]}",
        "{:type :ok :process 0 :value [[:w 1 nil]]}",
        "{:type :ok :process 0 :value [[:delete 1 2]]}",
        "{:type :ok :process 0 :index -1 :value []}",
        "{:type :ok :process 0 :index :x :value []}",
    ] {
        assert_eq!(place(&format!("{{:type :info :process 9 :value []}}\n  {bad}")), (2, 3), "{bad}");
    }
    assert!(History::<RegisterOp>::read("{:type :ok :process 0 :f :cas :value 3}").is_err());
    assert!(
        History::<RegisterOp>::read("{:type :ok :process 0 :f :txn :value [[:r 1 1] [:r 1 1]]}").is_err()
    );
}

#[test]
fn no_text_ends_the_process() {
    let (events, names) = Plan::new(Isolation::Strict, true).tiny().events(3);
    let text = names.write_events(&events);
    // Every beginning of it, and every text with one character gone or changed.
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        for text in [
            before.to_string(),
            format!("{before}{after}"),
            format!("{before}[{after}"),
            format!("{before}\u{e9}{after}"),
        ] {
            let _ = History::<Txn>::read(&text);
            let _ = History::<RegisterOp>::read(&text);
        }
    }
    assert!(History::<Txn>::read(&"[".repeat(100_000)).is_err());
}
