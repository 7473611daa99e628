//! The wire between nodes that share the loopback interface: everybody reaches a node through a proxy of ours, under the
//! address that the node advertises.
//!
//! Whose a connection is, is asked of the kernel when it is made; one that is no node's is left in peace. A stream cannot lose
//! or double bytes, so of a link's faults it knows the cut, the delay and the jitter: what was sent meanwhile arrives
//! later, as it does when a packet is repeated.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::links::Links;
use super::owner;

/// Pieces of a stream that may be on their way.
const ON_THE_WAY: usize = 256;
const PIECE: usize = 16 << 10;

/// Which process is which node.
pub type Processes = Arc<Mutex<BTreeMap<u32, usize>>>;

/// A pair of nodes in the direction of the bytes; `None`: one of them is no node.
type Way = Option<(usize, usize)>;

/// Takes connections for a node and passes them on.
pub async fn run(
    listener: TcpListener,
    node: usize,
    target: SocketAddr,
    links: Arc<Links>,
    processes: Processes,
) {
    loop {
        if let Ok((stream, from)) = listener.accept().await {
            let (links, processes) = (links.clone(), processes.clone());
            tokio::spawn(async move {
                let caller = stream.local_addr().ok().and_then(|at| caller(from, at, &processes));
                pass(stream, target, caller.map(|caller| (caller, node)), links).await;
            });
        }
    }
}

fn caller(from: SocketAddr, to: SocketAddr, processes: &Processes) -> Option<usize> {
    let known = processes.lock().clone();
    let candidates: Vec<_> = known.keys().copied().collect();
    known.get(&owner::of(from, to, &candidates)?).copied()
}

async fn pass(caller: TcpStream, target: SocketAddr, way: Way, links: Arc<Links>) {
    if let Some((from, to)) = way {
        // The first packet does not arrive, and is repeated until it does.
        links.wait_until_whole(from, to).await;
        links.wait_until_whole(to, from).await;
    }
    let Ok(called) = TcpStream::connect(target).await else { return };
    let _ = (caller.set_nodelay(true), called.set_nodelay(true));
    let ((caller_in, caller_out), (called_in, called_out)) = (caller.into_split(), called.into_split());
    let there = pump(caller_in, called_out, way, links.clone());
    let back = pump(called_in, caller_out, way.map(|(from, to)| (to, from)), links);
    // Whoever closes, closes both: that is how processes that die look.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Carries bytes one way, until one end closes.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    links: Arc<Links>,
) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async {
        let mut buffer = vec![0; PIECE];
        let mut last = Instant::now();
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let link = way.map(|(a, b)| links.get(a, b)).unwrap_or_default();
            last = last.max(Instant::now() + link.delay + link.jitter.mul_f64(rand::random::<f64>()));
            if sender.send((last, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = on_the_way.recv().await {
            sleep_until(due).await;
            if let Some((a, b)) = way {
                links.wait_until_whole(a, b).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    async fn receive(stream: &mut (impl AsyncRead + Unpin), within: Duration) -> Option<u8> {
        timeout(within, stream.read_u8()).await.ok()?.ok()
    }

    #[tokio::test]
    async fn a_cut_holds_bytes_back_in_its_direction() {
        let links = Arc::new(Links::new());
        let ((mut a, a_far), (b_far, mut b)) = (duplex(64), duplex(64));
        let ((a_in, a_out), (b_in, b_out)) = (tokio::io::split(a_far), tokio::io::split(b_far));
        tokio::spawn(pump(a_in, b_out, Some((1, 2)), links.clone()));
        tokio::spawn(pump(b_in, a_out, Some((2, 1)), links.clone()));
        links.change(1, 2, |l| l.cut = true);
        a.write_u8(7).await.expect("taken");
        b.write_u8(8).await.expect("taken");
        assert_eq!(receive(&mut a, Duration::from_secs(5)).await, Some(8), "the other direction is open");
        assert_eq!(receive(&mut b, Duration::from_millis(50)).await, None);
        links.heal();
        assert_eq!(receive(&mut b, Duration::from_secs(5)).await, Some(7), "nothing is lost");
    }

    #[tokio::test]
    async fn a_delay_holds_up_and_keeps_the_order() {
        let links = Arc::new(Links::new());
        let ((mut a, a_far), (b_far, mut b)) = (duplex(64), duplex(64));
        tokio::spawn(pump(a_far, b_far, Some((1, 2)), links.clone()));
        links.change(1, 2, |l| l.delay = Duration::from_millis(60));
        let begun = Instant::now();
        a.write_u8(1).await.expect("taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
        links.heal();
        a.write_u8(2).await.expect("taken");
        assert_eq!(receive(&mut b, Duration::from_secs(5)).await, Some(1));
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert_eq!(receive(&mut b, Duration::from_secs(5)).await, Some(2));
    }

    #[tokio::test]
    async fn the_caller_is_found_and_its_bytes_arrive() {
        let (proxy, node) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (proxy, node) = (proxy.await.expect("a port"), node.await.expect("a port"));
        let (at, target) = (proxy.local_addr().expect("bound"), node.local_addr().expect("bound"));
        let links = Arc::new(Links::new());
        let processes = Processes::default();
        processes.lock().insert(std::process::id(), 3);
        tokio::spawn(run(proxy, 1, target, links.clone(), processes));
        links.change(3, 1, |l| l.cut = true);
        let mut caller = TcpStream::connect(at).await.expect("connected");
        caller.write_u8(9).await.expect("taken");
        assert!(timeout(Duration::from_millis(50), node.accept()).await.is_err(), "the link is cut");
        links.heal();
        let (mut called, _) =
            timeout(Duration::from_secs(5), node.accept()).await.expect("in time").expect("a connection");
        assert_eq!(receive(&mut called, Duration::from_secs(5)).await, Some(9));
    }
}
