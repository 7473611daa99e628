//! The wire between nodes that have namespaces of their own: each node has an interface (TUN) whose other end is a file
//! here, and a packet goes from one to another as the links have it - or is lost, late, doubled, overtaken.
//!
//! It does what `tc netem` and packet filters do, for each pair and direction on its own, and on kernels without either.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::links::{Link, Links, NODES_MAX};

/// The largest packet. Ethernet's: larger ones would save work, but a lost packet should be a small loss.
pub const MTU: usize = 1500;
const BUFFER: usize = 2048;

pub struct Switch {
    links: Arc<Links>,
    ports: RwLock<Vec<Option<Arc<File>>>>,
    late: Mutex<Late>,
    earlier: Notify,
}

/// Packets that are on their way.
#[derive(Default)]
struct Late {
    packets: BinaryHeap<Packet>,
    count: u64,
    /// When the last packet of a link arrives that must not be overtaken.
    last: Vec<Option<Instant>>,
}

/// Ordered so that the next to arrive is the greatest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: std::cmp::Reverse<(Instant, u64)>,
    to: usize,
    bytes: Vec<u8>,
}

/// The address of a node between nodes.
pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node as u8)
}

impl Switch {
    pub fn new(links: Arc<Links>) -> Arc<Switch> {
        let late = Late { last: vec![None; NODES_MAX * NODES_MAX], ..Late::default() };
        let switch = Arc::new(Switch {
            links,
            ports: RwLock::new(vec![None; NODES_MAX]),
            late: Mutex::new(late),
            earlier: Notify::new(),
        });
        tokio::spawn(switch.clone().deliver());
        switch
    }

    /// Plugs a node in: the file is the other end of its interface.
    pub fn plug(self: &Arc<Self>, node: usize, interface: OwnedFd) -> Result<(), String> {
        let file = Arc::new(File::from(interface));
        let failed = |e: std::io::Error| format!("the interface of node {node}: {e}");
        let clone = file.try_clone().map_err(failed)?;
        // SAFETY: the file is owned, is open until it is dropped, and its descriptor stays the same.
        let read = unsafe { AsyncFd::register(clone) }.map_err(|e| failed(e.into()))?;
        self.ports.write()[node] = Some(file);
        tokio::spawn(self.clone().receive(node, read));
        Ok(())
    }

    async fn receive(self: Arc<Self>, from: usize, interface: AsyncFd<File>) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let Ok(mut ready) = interface.readable().await else { return };
            // As many as there are, so that waking up is paid for once.
            loop {
                match ready.try_io(|file| file.get_ref().read(&mut buffer)) {
                    Ok(Ok(n)) => self.forward(from, &buffer[..n]),
                    Ok(Err(_)) => return,
                    Err(_) => break,
                }
            }
        }
    }

    fn forward(&self, from: usize, packet: &[u8]) {
        let Some(to) = destination(packet) else { return };
        let link = self.links.get(from, to);
        if link == Link::default() {
            return self.send(to, packet);
        }
        if link.cut || rand::random::<f64>() < link.loss {
            return;
        }
        let copies = if rand::random::<f64>() < link.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let wait = link.delay + link.jitter.mul_f64(rand::random::<f64>());
            self.keep(from, to, packet, wait, link.reorder);
        }
    }

    fn keep(&self, from: usize, to: usize, packet: &[u8], wait: Duration, reorder: bool) {
        let mut late = self.late.lock();
        let mut due = Instant::now() + wait;
        let last = &mut late.last[from * NODES_MAX + to];
        if !reorder {
            due = last.map_or(due, |last| last.max(due));
            *last = Some(due);
        }
        late.count += 1;
        let number = late.count;
        late.packets.push(Packet { due: std::cmp::Reverse((due, number)), to, bytes: packet.to_vec() });
        drop(late);
        self.earlier.notify_one();
    }

    /// Brings late packets when it is their time.
    async fn deliver(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let next = loop {
                let mut late = self.late.lock();
                match late.packets.peek() {
                    Some(p) if p.due.0.0 <= now => {
                        let packet = late.packets.pop();
                        drop(late);
                        packet.iter().for_each(|p| self.send(p.to, &p.bytes));
                    }
                    Some(p) => break Some(p.due.0.0),
                    None => break None,
                }
            };
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    /// A full queue loses packets, as everywhere.
    fn send(&self, to: usize, packet: &[u8]) {
        let port = self.ports.read()[to].clone();
        if let Some(mut file) = port.as_deref() {
            let _ = file.write(packet);
        }
    }
}

/// The node that an IPv4 packet goes to.
fn destination(packet: &[u8]) -> Option<usize> {
    let [a, b, c, node] = packet.get(16..20)? else { return None };
    let node = usize::from(*node);
    let ours = packet[0] >> 4 == 4 && [*a, *b, *c] == [10, 77, 0];
    (ours && (1..NODES_MAX).contains(&node)).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_between_nodes_go_anywhere() {
        let mut packet = vec![0x45; 40];
        packet[16..20].copy_from_slice(&address(3).octets());
        assert_eq!(destination(&packet), Some(3));
        packet[18] = 9;
        assert_eq!(destination(&packet), None, "another network");
        packet[18] = 0;
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None, "not IPv4");
        assert_eq!(destination(&packet[..19]), None);
    }

    #[test]
    fn the_earliest_packet_is_first_and_of_equals_the_first_sent() {
        let now = Instant::now();
        let packet = |ms: u64, number| Packet {
            due: std::cmp::Reverse((now + Duration::from_millis(ms), number)),
            to: 1,
            bytes: vec![number as u8],
        };
        let mut heap: BinaryHeap<_> = [packet(9, 0), packet(3, 2), packet(3, 1)].into();
        let order: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|p| p.bytes[0]).collect();
        assert_eq!(order, [1, 2, 0]);
    }
}
