//! One small history for each anomaly, written by hand, and exactly what is found in it.
//!
//! Each line is a transaction in the order in which it ended: its outcome, its client, and what it did. Lines of a block
//! that begin with `>` and `<` are invocations and completions, for what depends on real time.

mod support;

use meridian_jepsen::check::{Model, Report, Verdict, list_append, rw_register};
use meridian_jepsen::history::{History, Txn};
use support::short::read;

fn list(text: &str, model: Model) -> Report {
    list_append::check(&read(text), model).expect("a list-append history")
}

fn registers(text: &str, model: Model) -> Report {
    rw_register::check(&read(text), model, rw_register::Options::of(model)).expect("a history of registers")
}

/// What is found, and the weakest model that it refutes (with `None`, not even the strongest).
#[track_caller]
fn expect(check: fn(&str, Model) -> Report, text: &str, names: &[&str], weakest: Option<Model>) {
    let report = check(text, Model::StrictSerializable);
    assert_eq!(report.names(), names, "{report}");
    for model in &Model::ALL[..4] {
        let want = if weakest.is_some_and(|w| *model >= w) { Verdict::Invalid } else { Verdict::Valid };
        let report = check(text, *model);
        assert_eq!(report.verdict(), want, "{report}");
    }
}

const RC: Option<Model> = Some(Model::ReadCommitted);
const SI: Option<Model> = Some(Model::SnapshotIsolation);
const SER: Option<Model> = Some(Model::Serializable);
const STRICT: Option<Model> = Some(Model::StrictSerializable);

#[test]
fn nothing_is_found_in_a_serial_history() {
    expect(list, "ok 0 ax1 ay1\nok 1 rx[1] ax2\nok 2 rx[1,2] ry[1] ay2", &[], None);
    expect(registers, "ok 0 wx1 wy1\nok 1 rx1 wx2\nok 2 rx2 ry1 wy2", &[], None);
}

#[test]
fn internal() {
    expect(list, "ok 0 ax1 rx[]", &["internal"], SI);
    expect(list, "ok 0 ax1\nok 1 rx[1] rx[]", &["internal"], SI);
    expect(list, "ok 0 ax1\nok 1 rx[1] ax2 rx[2]\n", &["internal", "incompatible-order"], RC);
    expect(registers, "ok 0 wx1 rx_", &["internal"], SI);
    expect(registers, "ok 0 wx1\nok 1 rx1 rx_", &["internal"], SI);
}

#[test]
fn future_read() {
    expect(list, "ok 0 rx[1] ax1", &["future-read"], RC);
    expect(registers, "ok 0 rx1 wx1", &["future-read"], RC);
}

#[test]
fn garbage_read() {
    expect(list, "ok 0 rx[1]", &["garbage-read"], RC);
    expect(registers, "ok 0 rx1", &["garbage-read"], RC);
}

#[test]
fn g1a() {
    expect(list, "fail 0 ax1\nok 1 rx[1]", &["G1a"], RC);
    expect(registers, "fail 0 wx1\nok 1 rx1", &["G1a"], RC);
}

#[test]
fn g1b() {
    expect(list, "ok 0 ax1 ax2\nok 1 rx[1]", &["G1b"], RC);
    expect(registers, "ok 0 wx1 wx2\nok 1 rx1", &["G1b"], RC);
}

#[test]
fn dirty_update() {
    // Whoever sees the update sees what it was made on: by its name that is an aborted read as well.
    expect(list, "fail 0 ax1\nok 1 ax2\nok 2 rx[1,2]", &["G1a", "dirty-update"], RC);
}

#[test]
fn duplicate_elements() {
    expect(list, "ok 0 ax1\nok 1 rx[1,1]", &["duplicate-elements"], RC);
}

#[test]
fn incompatible_order() {
    expect(list, "ok 0 ax1\nok 1 ax2\nok 2 rx[1,2]\nok 3 rx[2]", &["incompatible-order"], RC);
}

#[test]
fn lost_update() {
    // Neither saw the other's append, so each comes before the other: a lost update is a G2-item by definition.
    let text = "ok 0 ax1\n> 1 rx_ ax2\n> 2 rx_ ax3\n< ok 1 rx[1] ax2\n< ok 2 rx[1] ax3";
    expect(list, &format!("> 0 ax1\n< ok 0 ax1{}", &text[8..]), &["lost-update", "G2-item"], SI);
    let text = "> 0 wx1\n< ok 0 wx1\n> 1 rx_ wx2\n> 2 rx_ wx3\n< ok 1 rx1 wx2\n< ok 2 rx1 wx3";
    expect(registers, text, &["lost-update", "G2-item"], SI);
}

#[test]
fn g0() {
    expect(list, "ok 0 ax1 ay1\nok 1 ax2 ay2\nok 2 rx[1,2] ry[2,1]", &["G0"], RC);
    // Of registers only what was read tells which write came first, so that there is a G1c as well.
    expect(registers, "ok 0 ry1 wx1 wy2\nok 1 rx1 wy1 wx2", &["G0", "G1c"], RC);
}

#[test]
fn g1c() {
    expect(list, "ok 0 ax1 ry[1]\nok 1 ay1 rx[1]", &["G1c"], RC);
    expect(list, "ok 0 ax1 ry[1]\nok 1 ax2 ay1\nok 2 rx[1,2]", &["G1c"], RC);
    expect(registers, "ok 0 wx1 ry1\nok 1 wy1 rx1", &["G1c"], RC);
}

#[test]
fn g_single() {
    expect(list, "ok 0 ax1 ay1\nok 1 rx[1] ry[]", &["G-single"], SI);
    expect(registers, "ok 0 wx1 wy1\nok 1 rx1 ry_", &["G-single"], SI);
}

#[test]
fn g_nonadjacent() {
    // The long fork: two readers see two writes in two orders.
    let fork = "ok 0 ax1\nok 1 ay1\nok 2 rx[1] ry[]\nok 3 rx[] ry[1]";
    assert_eq!(list(fork, Model::Serializable).names(), ["G-nonadjacent"]);
    assert_eq!(list(fork, Model::SnapshotIsolation).verdict(), Verdict::Invalid);
    assert_eq!(list(fork, Model::ReadCommitted).verdict(), Verdict::Valid);
    let fork = "ok 0 wx1\nok 1 wy1\nok 2 rx1 ry_\nok 3 rx_ ry1";
    assert_eq!(registers(fork, Model::Serializable).names(), ["G-nonadjacent"]);
    assert_eq!(registers(fork, Model::SnapshotIsolation).verdict(), Verdict::Invalid);
}

#[test]
fn g2_item() {
    expect(list, "> 0 rx_ ay1\n> 1 ry_ ax1\n< ok 0 rx[] ay1\n< ok 1 ry[] ax1", &["G2-item"], SER);
    expect(registers, "> 0 rx_ wy1\n> 1 ry_ wx1\n< ok 0 rx_ wy1\n< ok 1 ry_ wx1", &["G2-item"], SER);
}

#[test]
fn process_variants() {
    // Client 0 goes back in time; the others overlap with everything, so that real time says nothing more.
    let g0 = "> 1 ax1 ay2\n> 0 ax2\n< ok 0 ax2\n> 0 ay1\n< ok 0 ay1\n> 2 rx_ ry_\n< ok 1 ax1 ay2\n< ok 2 rx[1,2] ry[1,2]";
    expect(list, g0, &["G0-process"], STRICT);
    let back = "> 1 ax1\n> 0 rx_\n< ok 0 rx[1]\n> 0 rx_\n< ok 0 rx[]\n< ok 1 ax1";
    expect(list, back, &["G-single-process"], STRICT);
    let back = "> 1 wx1\n> 0 rx_\n< ok 0 rx1\n> 0 rx_\n< ok 0 rx_\n< ok 1 wx1";
    expect(registers, back, &["G-single-process"], STRICT);
    let written = "> 0 ax1\n< ok 0 ax1\n> 0 ax2\n< ok 0 ax2\n> 1 rx_\n< ok 1 rx[2,1]";
    expect(list, written, &["G0-process"], STRICT);
    let early = "> 0 rx_\n> 1 ry_ ax1\n< ok 0 rx[1]\n> 0 ay1\n< ok 0 ay1\n< ok 1 ry[1] ax1";
    expect(list, early, &["G1c-process"], STRICT);
    let early = "> 0 rx_\n> 1 ry_ wx1\n< ok 0 rx1\n> 0 wy1\n< ok 0 wy1\n< ok 1 ry1 wx1";
    expect(registers, early, &["G1c-process"], STRICT);
    let fork =
        "> 3 ay1\n> 1 rx_ ry_\n> 0 ax1\n< ok 0 ax1\n> 0 ry_\n< ok 0 ry[]\n< ok 1 rx[] ry[1]\n< ok 3 ay1";
    expect(list, fork, &["G-nonadjacent-process"], STRICT);
    let skew = "> 1 rx_ az1\n> 0 ax1\n< ok 0 ax1\n> 0 rz_\n< ok 0 rz[]\n< ok 1 rx[] az1";
    expect(list, skew, &["G2-item-process"], STRICT);
    let skew = "> 1 rx_ wz1\n> 0 wx1\n< ok 0 wx1\n> 0 rz_\n< ok 0 rz_\n< ok 1 rx_ wz1";
    expect(registers, skew, &["G2-item-process"], STRICT);
}

#[test]
fn realtime_variants() {
    let stale = "> 0 ax1\n< ok 0 ax1\n> 1 rx_\n< ok 1 rx[]";
    expect(list, stale, &["G-single-realtime"], STRICT);
    let stale = "> 0 wx1\n< ok 0 wx1\n> 1 rx_\n< ok 1 rx_";
    expect(registers, stale, &["G-single-realtime"], STRICT);
    let written = "> 0 ax1\n< ok 0 ax1\n> 1 ax2\n< ok 1 ax2\n> 2 rx_\n< ok 2 rx[2,1]";
    expect(list, written, &["G0-realtime"], STRICT);
    let early = "> 0 rx_\n< ok 0 rx[1]\n> 1 ax1\n< ok 1 ax1";
    expect(list, early, &["G1c-realtime"], STRICT);
    let early = "> 0 rx_\n< ok 0 rx1\n> 1 wx1\n< ok 1 wx1";
    expect(registers, early, &["G1c-realtime"], STRICT);
    let fork =
        "> 3 ay1\n> 1 rx_ ry_\n> 0 ax1\n< ok 0 ax1\n> 2 ry_\n< ok 2 ry[]\n< ok 1 rx[] ry[1]\n< ok 3 ay1";
    expect(list, fork, &["G-nonadjacent-realtime"], STRICT);
    let skew = "> 1 rx_ az1\n> 0 ax1\n< ok 0 ax1\n> 2 rz_\n< ok 2 rz[]\n< ok 1 rx[] az1";
    expect(list, skew, &["G2-item-realtime"], STRICT);
}

#[test]
fn a_register_that_goes_back_is_found_where_keys_are_linearizable() {
    // Which of two blind writes came first is only known from the clock.
    let back = "> 0 wx1\n< ok 0 wx1\n> 1 wx2\n< ok 1 wx2\n> 2 rx_\n< ok 2 rx1";
    // Read as the newer version after the other one was written, it is before it and behind it.
    expect(registers, back, &["G0-realtime", "G-single-realtime"], STRICT);
    let nothing = rw_register::Options::default();
    let report = rw_register::check(&read(back), Model::StrictSerializable, nothing).expect("registers");
    assert_eq!(report.verdict(), Verdict::Valid);
}

#[test]
fn what_is_not_known_to_have_happened_counts_when_it_was_seen() {
    expect(list, "info 0 ax1 ay1\nok 1 rx[1] ry[]", &["G-single"], SI);
    expect(list, "info 0 ax1 ay1\nok 1 rx[] ry[]", &[], None);
    expect(list, "info 0 ax1 ay1\nok 1 rx[1] ry[1]", &[], None);
    expect(registers, "info 0 wx1 wy1\nok 1 rx1 ry_", &["G-single"], SI);
    expect(registers, "info 0 wx1 wy1\nok 1 rx_ ry_", &[], None);
}

#[test]
fn an_uncertain_transaction_may_take_effect_after_its_client_gave_up() {
    let late = "> 0 ax1\n< info 0 ax1\n> 1 rx_\n< ok 1 rx[]\n> 1 rx_\n< ok 1 rx[1]";
    expect(list, late, &[], None);
}

#[test]
fn without_invocations_real_time_is_not_judged() {
    let history: History<Txn> = History::read(
        "{:type :ok, :process 0, :value [[:append 1 1]]}\n{:type :ok, :process 1, :value [[:r 1 [1]]]}",
    )
    .expect("a history");
    let report = list_append::check(&history, Model::StrictSerializable).expect("list-append");
    assert_eq!(report.verdict(), Verdict::Unknown);
    let report = list_append::check(&history, Model::Serializable).expect("list-append");
    assert_eq!(report.verdict(), Verdict::Valid);
}

#[test]
fn histories_of_something_else_are_refused() {
    let refused = |text: &str| {
        list_append::check(&read(text), Model::Serializable).map(|_| ()).map_err(|e| e.to_string())
    };
    assert!(refused("ok 0 wx1").is_err_and(|e| e.contains("does not belong")));
    assert!(refused("ok 0 ax1\nok 1 ax1").is_err_and(|e| e.contains("is written")));
    assert!(list_append::check(&read("ok 0 ax1"), Model::LinearizableRegister).is_err());
}
