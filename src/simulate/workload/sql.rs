//! The workloads that speak SQL, which are those of `meridian-jepsen`: here their clients are simulated, and what they call a
//! violation ends the run.

use std::sync::Arc;

use meridian_jepsen::workload::{self, Client, Level, Registered, Setting};
use meridian_storage::base::BoxFuture;
use meridian_storage::store::testing::Chance;

use super::Workload;
use super::client::{Dice, MISREAD, SimClient};
use crate::simulate::cluster::Cluster;
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;

pub struct Sql {
    cluster: Arc<Cluster>,
    name: &'static str,
    work: Arc<dyn workload::Workload>,
}

impl Sql {
    pub fn new(cluster: Arc<Cluster>, registered: &Registered, chance: &mut Chance) -> Arc<Self> {
        // The default in every other run.
        let level = match chance.percent(50) {
            true => Level::Serializable,
            false => registered.levels[chance.below(registered.levels.len() as u64) as usize],
        };
        let strict = cluster.world.bound_known;
        let excused = vec![MISREAD.to_string()];
        let setting = Setting { strict, level, excused, ..Setting::default() };
        cluster.world.trace.say(format_args!("{} with {setting:?}", registered.name));
        Arc::new(Sql { cluster, name: registered.name, work: (registered.make)(setting) })
    }

    fn client(&self, up: &Up, id: &str) -> SimClient {
        SimClient::new(self.cluster.clone(), up.clone(), id.into())
    }

    fn hold(&self) {
        let violations = self.work.tally().take_violations();
        assert!(violations.is_empty(), "{}: {}", self.name, violations.join("; "));
    }
}

impl Workload for Sql {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut client = self.client(up, self.name);
            client.connect().await.expect("the catalog is open");
            for text in self.work.open() {
                client.say(&text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            }
            client.leave().await;
        })
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut client = self.client(&up, &id);
            self.work.step(&mut client, &id, &mut Dice(chance)).await;
            client.leave().await;
            self.hold();
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut client = self.client(up, "last look");
            let looked = self.work.last_look(&mut client).await;
            client.leave().await;
            self.hold();
            looked.unwrap_or_else(|e| panic!("{}: the last look failed: {e:?}", self.name));
        })
    }

    fn close(&self) {
        self.work.close();
        self.hold();
        let (counts, coverage) = (self.work.tally().counts(), &self.cluster.world.coverage);
        for (counter, n) in [
            (&coverage.commits, counts.done),
            (&coverage.refused, counts.refused),
            (&coverage.unknown, counts.unknown),
            (&coverage.retries, counts.retries),
            (&coverage.audits, counts.looks),
            (&coverage.transactions_checked, counts.judged),
        ] {
            Coverage::count(counter, n);
        }
    }
}
