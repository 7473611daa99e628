//! Transfers between accounts. Every transfer is also written to a ledger, so that acknowledged ones can be looked for, and the
//! sum of all balances never changes.

use clap::{Args, Subcommand};
use meridian_storage::base::BoxFuture;
use tokio_postgres::{Client, Statement};

use super::driver::{self, Worker, connect_first, describe};
use super::{Pace, Target};

/// What every account begins with.
const OPENING: i64 = 1000;

#[derive(Subcommand)]
pub enum BankCommand {
    /// Makes the tables.
    Init(BankArgs),
    /// Transfers, then checks the total.
    Run {
        #[command(flatten)]
        bank: BankArgs,
        #[command(flatten)]
        pace: Pace,
    },
    /// Checks the total.
    Check(BankArgs),
}

#[derive(Args, Clone, Debug)]
pub struct BankArgs {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, default_value_t = 100)]
    pub accounts: i64,
}

pub async fn run(command: BankCommand) -> Result<(), String> {
    match command {
        BankCommand::Init(args) => init(&args).await,
        BankCommand::Run { bank, pace } => {
            let accounts = bank.accounts.max(2);
            driver::drive(&bank.target, &pace, |_| Transfer { accounts, ..Transfer::default() }).await?;
            check(&bank).await
        }
        BankCommand::Check(args) => check(&args).await,
    }
}

async fn init(args: &BankArgs) -> Result<(), String> {
    let client = connect_first(&args.target).await?;
    let sql = format!(
        "DROP TABLE IF EXISTS bank_ledger;
         DROP TABLE IF EXISTS bank_accounts;
         CREATE TABLE bank_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
         CREATE TABLE bank_ledger (id uuid PRIMARY KEY, source bigint NOT NULL, target bigint NOT NULL, amount bigint NOT NULL);
         INSERT INTO bank_accounts SELECT i, {OPENING} FROM generate_series(1, {}) AS i;",
        args.accounts.max(2)
    );
    client.batch_execute(&sql).await.map_err(|e| describe(&e))?;
    println!("{} accounts of {OPENING} each", args.accounts.max(2));
    Ok(())
}

async fn check(args: &BankArgs) -> Result<(), String> {
    let client = connect_first(&args.target).await?;
    let row = client
        .query_one("SELECT count(*), sum(balance)::bigint FROM bank_accounts", &[])
        .await
        .map_err(|e| describe(&e))?;
    let (accounts, total): (i64, i64) = (row.get(0), row.get(1));
    let moved = client
        .query_one(
            "SELECT count(*) FROM bank_accounts a WHERE a.balance <> $1
               + coalesce((SELECT sum(amount) FROM bank_ledger WHERE target = a.id), 0)
               - coalesce((SELECT sum(amount) FROM bank_ledger WHERE source = a.id), 0)",
            &[&OPENING],
        )
        .await
        .map_err(|e| describe(&e))?;
    let wrong: i64 = moved.get(0);
    println!(
        "total {total}, expected {}; accounts that disagree with the ledger: {wrong}",
        accounts * OPENING
    );
    if total != accounts * OPENING || wrong != 0 {
        return Err("the bank is wrong".into());
    }
    Ok(())
}

#[derive(Default)]
struct Transfer {
    accounts: i64,
    source: i64,
    target: i64,
    amount: i64,
    id: u128,
    statements: Option<[Statement; 3]>,
}

impl Worker for Transfer {
    fn connected<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        Box::pin(async move {
            self.statements = Some([
                client.prepare("SELECT balance FROM bank_accounts WHERE id = $1").await?,
                client.prepare("UPDATE bank_accounts SET balance = balance + $2 WHERE id = $1").await?,
                client
                    .prepare("INSERT INTO bank_ledger (id, source, target, amount) VALUES ($1::text::uuid, $2, $3, $4)")
                    .await?,
            ]);
            Ok(())
        })
    }

    fn choose(&mut self) {
        self.source = 1 + rand::random::<u32>() as i64 % self.accounts;
        self.target = 1 + (self.source + rand::random::<u32>() as i64 % (self.accounts - 1)) % self.accounts;
        self.amount = 1 + i64::from(rand::random::<u8>() % 5);
        self.id = rand::random();
    }

    fn transaction<'a>(
        &'a mut self,
        client: &'a Client,
    ) -> BoxFuture<'a, Result<&'static str, tokio_postgres::Error>> {
        Box::pin(async move {
            let Some([balance, add, note]) = &self.statements else { return Ok("none") };
            let row = client.query_one(balance, &[&self.source]).await?;
            if row.get::<_, i64>(0) < self.amount {
                return Ok("too poor");
            }
            client.execute(add, &[&self.source, &-self.amount]).await?;
            client.execute(add, &[&self.target, &self.amount]).await?;
            let id = format!("{:032x}", self.id);
            client.execute(note, &[&id, &self.source, &self.target, &self.amount]).await?;
            Ok("transfer")
        })
    }
}
