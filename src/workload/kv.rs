//! Single keys, read and written: the smallest transactions there are.

use clap::{Args, Subcommand};
use meridian_storage::base::BoxFuture;
use tokio_postgres::{Client, Statement};

use super::driver::{self, Worker, connect_first, describe};
use super::{Pace, Target};

#[derive(Subcommand)]
pub enum KvCommand {
    /// Makes the table.
    Init(KvArgs),
    /// Reads and writes.
    Run {
        #[command(flatten)]
        kv: KvArgs,
        #[command(flatten)]
        pace: Pace,
        /// Share of reads, in a hundred.
        #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u8).range(0..=100))]
        reads: u8,
    },
}

#[derive(Args, Clone, Debug)]
pub struct KvArgs {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, default_value_t = 100_000)]
    pub keys: i64,
}

pub async fn run(command: KvCommand) -> Result<(), String> {
    match command {
        KvCommand::Init(args) => init(&args).await,
        KvCommand::Run { kv, pace, reads } => {
            let make = |_| Access { keys: kv.keys.max(1), reads, key: 1, read: true, statements: None };
            driver::drive(&kv.target, &pace, make).await?;
            Ok(())
        }
    }
}

async fn init(args: &KvArgs) -> Result<(), String> {
    let client = connect_first(&args.target).await?;
    client
        .batch_execute("DROP TABLE IF EXISTS kv; CREATE TABLE kv (k bigint PRIMARY KEY, v bigint NOT NULL)")
        .await
        .map_err(|e| describe(&e))?;
    let mut first = 1;
    while first <= args.keys {
        let last = (first + 9_999).min(args.keys);
        let sql = format!("INSERT INTO kv SELECT i, 0 FROM generate_series({first}, {last}) AS i");
        client.batch_execute(&sql).await.map_err(|e| describe(&e))?;
        first = last + 1;
    }
    println!("{} keys", args.keys);
    Ok(())
}

struct Access {
    keys: i64,
    reads: u8,
    key: i64,
    read: bool,
    statements: Option<[Statement; 2]>,
}

impl Worker for Access {
    fn connected<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        Box::pin(async move {
            self.statements = Some([
                client.prepare("SELECT v FROM kv WHERE k = $1").await?,
                client.prepare("UPDATE kv SET v = v + 1 WHERE k = $1").await?,
            ]);
            Ok(())
        })
    }

    fn choose(&mut self) {
        self.key = 1 + (rand::random::<u64>() % self.keys as u64) as i64;
        self.read = rand::random::<u8>() % 100 < self.reads;
    }

    fn transaction<'a>(
        &'a mut self,
        client: &'a Client,
    ) -> BoxFuture<'a, Result<&'static str, tokio_postgres::Error>> {
        Box::pin(async move {
            let Some([read, write]) = &self.statements else { return Ok("none") };
            match self.read {
                true => client.query_opt(read, &[&self.key]).await.map(|_| "read"),
                false => client.execute(write, &[&self.key]).await.map(|_| "write"),
            }
        })
    }
}
