//! Ports for programs that are to be found at the same place again.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of loopback that nobody has, for TCP and UDP, below those that the system hands out by
/// itself: nobody takes it either while its owner is down.
pub fn free() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Programs that run at the same time begin at different places.
    let start = std::process::id() % 120 * 100;
    let port = (0..COUNT).find_map(|_| {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("it is below 32,000");
        let address = ("127.0.0.1", port);
        let is_free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        is_free.then_some(port)
    });
    port.expect("a port is free")
}

/// Such a port as an address.
pub fn address() -> String {
    format!("127.0.0.1:{}", free())
}
