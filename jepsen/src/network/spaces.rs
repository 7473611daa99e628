//! A network namespace for a node: an interface to the other nodes, through the switch, and one to the clients, which no
//! fault touches.
//!
//! A namespace has no name: it is a file descriptor that is held here, and goes with this process. It is made by a thread
//! that enters it and ends, so that nobody else is ever in it but the node.

use std::fs::OpenOptions;
use std::io::Error;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;

use super::switch::{self, MTU};

pub struct Space {
    pub namespace: Arc<OwnedFd>,
    /// The switch's end of the interface to the other nodes.
    pub interface: OwnedFd,
}

/// The address of a node for clients.
pub fn client_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, node as u8)
}

pub fn possible() -> Result<(), String> {
    OpenOptions::new().read(true).write(true).open(TUN).map_err(|e| format!("{TUN}: {e}"))?;
    ip("-V")
}

/// The bridge to which the nodes' other interfaces go, with an address for the clients.
pub fn make_bridge() -> Result<(), String> {
    ip("link set lo up")?;
    ip("link add clients type bridge")?;
    ip("addr add 10.78.0.250/24 dev clients")?;
    ip("link set clients up")
}

pub fn make(node: usize) -> Result<Space, String> {
    let made = std::thread::spawn(move || enter_and_make(node));
    let (namespace, interface) = made.join().map_err(|_| "a thread panicked".to_string())??;
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    ip(&format!("link add client{node} type veth peer name clients netns {path}"))?;
    ip(&format!("link set client{node} master clients up"))?;
    let (namespace, inside) = (Arc::new(namespace), client_address(node));
    let entered = namespace.clone();
    let configured = std::thread::spawn(move || {
        // SAFETY: the descriptor is one of a network namespace; only this thread moves.
        check(unsafe { libc::setns(entered.as_raw_fd(), libc::CLONE_NEWNET) }, "entering the namespace")?;
        ip(&format!("addr add {inside}/24 dev clients"))?;
        ip("link set clients up")
    });
    configured.join().map_err(|_| "a thread panicked".to_string())??;
    Ok(Space { namespace, interface })
}

/// In a thread of its own: what it runs is in the new namespace, too.
fn enter_and_make(node: usize) -> Result<(OwnedFd, OwnedFd), String> {
    // SAFETY: a system call without memory; it moves this thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }, "making a network namespace")?;
    let open = |path: &str| {
        let mut how = OpenOptions::new();
        how.read(true).write(path == TUN).custom_flags(libc::O_NONBLOCK);
        how.open(path).map(OwnedFd::from).map_err(|e| format!("{path}: {e}"))
    };
    let namespace = open("/proc/thread-self/ns/net")?;
    let interface = open(TUN)?;
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"nodes") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the pointer is to a live `ifreq` with a name that ends with a zero.
    check(unsafe { libc::ioctl(interface.as_raw_fd(), libc::TUNSETIFF, &request) }, "making an interface")?;
    ip("link set lo up")?;
    ip(&format!("addr add {}/24 dev nodes", switch::address(node)))?;
    ip(&format!("link set nodes mtu {MTU} up"))?;
    Ok((namespace, interface))
}

const TUN: &str = "/dev/net/tun";

fn check(result: libc::c_int, what: &str) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("{what}: {}", Error::last_os_error())) }
}

/// Runs iproute2's `ip` in the namespace of this thread.
fn ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.map_err(|e| format!("cannot run ip (Debian: iproute2): {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
