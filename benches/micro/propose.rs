//! From a proposal of one small write to its being applied at the leaseholder; the unit is one command.
//!
//! `alone`: the next is proposed when the last has been applied, so that its time is the latency of replication.
//! `sixteen_in_flight`: so many are proposed at once, and share log writes, syncs and messages. On disk the speed is that of
//! syncs in the folder for temporary files (`TMPDIR`).

use std::cell::LazyCell;

use criterion::{Criterion, Throughput};
use futures::executor::block_on;
use futures::future::try_join_all;

use crate::group::Group;

const IN_FLIGHT: usize = 16;

pub fn benches(c: &mut Criterion) {
    let groups: [(&str, fn() -> Group); 3] = [
        ("one_replica_in_memory", || Group::in_memory(1)),
        ("three_replicas_in_memory", || Group::in_memory(3)),
        ("one_replica_on_disk", Group::on_disk),
    ];
    for (name, start) in groups {
        let range = LazyCell::new(start);
        let mut group = c.benchmark_group(format!("propose/{name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("alone", |b| b.iter(|| block_on(range.write()).expect("applied")));
        group.throughput(Throughput::Elements(IN_FLIGHT as u64));
        group.bench_function("sixteen_in_flight", |b| {
            b.iter(|| block_on(try_join_all((0..IN_FLIGHT).map(|_| range.write()))).expect("applied"));
        });
        group.finish();
    }
}
