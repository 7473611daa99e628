//! `meridian start` and `meridian demo`.

use std::time::Duration;

use meridian_storage::placement::Policy;
use meridian_storage::store::StoreConfig;
use tokio_postgres::NoTls;

use super::{Address, DemoArgs, StartArgs, Store};
use crate::node::Node;
use crate::node::config::NodeConfig;

pub async fn start(args: StartArgs) -> Result<(), String> {
    let mut join = Vec::new();
    for address in &args.join {
        join.push(address.resolve().await?.to_string());
    }
    let advertised_rpc = match &args.advertise_rpc {
        Some(address) => Some(address.resolve().await?),
        None => None,
    };
    let config = NodeConfig {
        folder: match args.store {
            Store::Memory => None,
            Store::Folder(f) => Some(f),
        },
        sql: args.listen_sql.resolve().await?,
        rpc: args.listen_rpc.resolve().await?,
        advertised_rpc,
        http: args.listen_http.resolve().await?,
        join,
        join_for: args.join_for,
        cache: args.cache.0,
        range_size: args.range_size.0,
        insecure: args.insecure,
        max_clock_offset: args.max_clock_offset,
        replace_after: args.replace_after,
        gc_after: args.gc_after,
        store: StoreConfig::default(),
    };
    let folder = config.folder.clone();
    let node = Node::start(config).await?;
    println!("meridian {} is ready", env!("CARGO_PKG_VERSION"));
    println!("  node         {} of cluster {}", node.id.0, node.cluster());
    match folder {
        Some(f) => println!("  store        {}", f.display()),
        None => println!("  store        in memory: everything is lost at the end"),
    }
    println!("  consistency  {}", node.consistency());
    println!("  rpc          {}", node.rpc);
    println!("  http         http://{}", node.http);
    println!("  sql          {}", psql(node.sql));
    stop_signal().await?;
    println!("stopping");
    node.stop().await;
    Ok(())
}

fn psql(at: std::net::SocketAddr) -> String {
    format!("psql -h {} -p {} -U postgres", at.ip(), at.port())
}

async fn stop_signal() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|e| format!("cannot wait for signals: {e}"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done.map_err(|e| format!("cannot wait for signals: {e}"))?,
    }
    Ok(())
}

/// A cluster in this process, in memory, with a small shop's data.
pub async fn demo(args: DemoArgs) -> Result<(), String> {
    let any = Address { host: "127.0.0.1".into(), port: 0 }.resolve().await?;
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..args.nodes {
        let config = NodeConfig {
            folder: None,
            sql: if n == 0 { args.listen_sql.resolve().await? } else { any },
            rpc: any,
            advertised_rpc: None,
            http: any,
            join: nodes.first().map(|first| first.rpc.to_string()).into_iter().collect(),
            join_for: Duration::from_secs(30),
            cache: 32 << 20,
            range_size: Policy::default().split_bytes,
            insecure: false,
            max_clock_offset: None,
            replace_after: Duration::from_secs(300),
            gc_after: super::DEFAULT_GC_AFTER,
            store: StoreConfig::default(),
        };
        nodes.push(Node::start(config).await?);
    }
    let Some(first) = nodes.first() else { return Err("a cluster has at least one node".into()) };
    fill(first.sql).await.map_err(|e| format!("cannot make the sample data: {e}"))?;
    println!("A cluster of {} with sample data runs in this process, in memory.", nodes.len());
    for node in &nodes {
        println!("  node {}  {}", node.id.0, psql(node.sql));
    }
    println!(
        "Try: SELECT name, sum(quantity * price) FROM customers JOIN orders ON customers.id = customer GROUP BY name;"
    );
    println!("Ctrl-C ends it.");
    stop_signal().await?;
    for node in nodes {
        node.stop().await;
    }
    Ok(())
}

const SAMPLE: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, city text, since date);
    CREATE TABLE orders (
        id serial PRIMARY KEY,
        customer int NOT NULL REFERENCES customers (id),
        item text NOT NULL,
        quantity int NOT NULL CHECK (quantity > 0),
        price numeric(10, 2) NOT NULL,
        placed timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ON orders (customer);
    INSERT INTO customers VALUES
        (1, 'Ada', 'London', '2021-03-01'), (2, 'Grace', 'New York', '2021-07-15'),
        (3, 'Edsger', 'Rotterdam', '2022-01-20'), (4, 'Barbara', 'Boston', NULL);
    INSERT INTO orders (customer, item, quantity, price) VALUES
        (1, 'gears', 12, 3.50), (1, 'punched cards', 400, 0.02), (2, 'relay', 1, 19.99),
        (2, 'moth', 1, 0.00), (3, 'shortest path', 3, 7.25), (4, 'clu', 5, 11.10);
";

async fn fill(at: std::net::SocketAddr) -> Result<(), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(at.ip().to_string()).port(at.port()).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    let pump = tokio::spawn(connection);
    client.batch_execute(SAMPLE).await?;
    drop(client);
    let _ = pump.await;
    Ok(())
}
