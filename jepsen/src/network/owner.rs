//! Whose a connection on loopback is: of which of some processes the socket is that begins at a port.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The process, of these, that has the socket whose own address is `local` and whose peer is `remote`.
pub fn of(local: SocketAddr, remote: SocketAddr, processes: &[u32]) -> Option<u32> {
    let inode = inode(&std::fs::read_to_string("/proc/net/tcp").ok()?, local, remote)?;
    let link = format!("socket:[{inode}]");
    processes.iter().copied().find(|p| holds(*p, &link))
}

fn holds(process: u32, link: &str) -> bool {
    let files = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link))
}

/// The tenth column of the kernel's table.
fn inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (hex(local)?, hex(remote)?);
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let found = columns.get(1) == Some(&local.as_str()) && columns.get(2) == Some(&remote.as_str());
        if found { columns.get(9)?.parse().ok() } else { None }
    })
}

/// As the kernel writes it: the address as a number in the machine's byte order.
fn hex(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n   \
            1: 0100007F:1538 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 22 1 0 20 4 30 10 -1\n";
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(inode(table, at(0x1538), at(0xC350)), Some(22));
        assert_eq!(inode(table, at(0xC350), at(0x1538)), None);
    }

    #[test]
    fn a_connection_of_this_process_is_known() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = listener.local_addr().expect("an address");
        let stream = std::net::TcpStream::connect(there).expect("connected");
        let here = stream.local_addr().expect("an address");
        assert_eq!(of(here, there, &[std::process::id()]), Some(std::process::id()));
        assert_eq!(of(here, there, &[]), None);
    }
}
