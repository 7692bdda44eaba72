//! A network of our own: a bridge, and a namespace for each node, whose links can be cut, healed
//! and made bad. Needs root, `ip` and `nft`.
//!
//! The test itself sits at the bridge: it reaches every node whatever is cut between them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// What names of ours begin with; the process's id follows.
const PREFIX: &str = "tdn";

/// Networks of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A bridge with namespaces. Gone with the value, also when the test panics; what a killed process
/// left is swept up by the next.
pub struct Network {
    /// Names the bridge and the filter's table, and begins the namespaces' names.
    id: String,
    /// The first three numbers of all its addresses.
    subnet: [u8; 3],
    namespaces: Vec<String>,
}

impl Network {
    /// A network of that many namespaces.
    pub fn of(places: usize) -> Network {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let mut network = Network {
            id: format!("{PREFIX}{process}x{number}"),
            subnet: free_subnet(process.wrapping_mul(31).wrapping_add(number)),
            namespaces: Vec::new(),
        };
        network.lay_bridge();
        for place in 0..places {
            network.add_namespace(place);
        }
        network
    }

    /// The namespace of a place.
    pub fn namespace(&self, place: usize) -> &str {
        &self.namespaces[place]
    }

    /// The address of a place.
    pub fn address(&self, place: usize) -> Ipv4Addr {
        let last = u8::try_from(place + 1).expect("a small network");
        self.host(last)
    }

    /// The address of the test itself, at the bridge.
    pub fn bridge(&self) -> Ipv4Addr {
        self.host(254)
    }

    /// Lets nothing pass between two places.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Lets nothing pass from one place to another; the way back stays open.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let (from, to) = (self.address(from), self.address(to));
        self.filter(
            "between",
            &format!("ip saddr {from} ip daddr {to} counter drop"),
        );
    }

    /// Cuts a place off from all the others.
    pub fn isolate(&self, place: usize) {
        let others = 0..self.namespaces.len();
        others
            .filter(|other| *other != place)
            .for_each(|other| self.cut(place, other));
    }

    /// Loses that many of a hundred UDP datagrams: between places, and what places send here.
    pub fn lose(&self, percent: u32) {
        for chain in ["between", "here"] {
            let rule = format!("ip protocol udp numgen random mod 100 < {percent} counter drop");
            self.filter(chain, &rule);
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.nft(&["flush", "table", "bridge", &self.id]);
    }

    /// Packets dropped since the last [`Network::heal`].
    pub fn dropped(&self) -> u64 {
        let table = run("nft", &["list", "table", "bridge", &self.id]);
        let counts = table.split("counter packets ").skip(1);
        counts
            .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    fn host(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last)
    }

    fn lay_bridge(&self) {
        let (id, address) = (&self.id, format!("{}/24", self.bridge()));
        ip(&["link", "add", id, "type", "bridge"]);
        ip(&["address", "add", &address, "dev", id]);
        ip(&["link", "set", id, "up"]);
        self.nft(&["add", "table", "bridge", id]);
        for (chain, hook) in [("between", "forward"), ("here", "input")] {
            let hook = format!("{{ type filter hook {hook} priority 0; }}");
            self.nft(&["add", "chain", "bridge", id, chain, &hook]);
        }
    }

    fn add_namespace(&mut self, place: usize) {
        let name = format!("{}n{place}", self.id);
        let address = format!("{}/24", self.address(place));
        ip(&["netns", "add", &name]);
        self.namespaces.push(name.clone());
        ip(&[
            "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name,
        ]);
        ip(&["link", "set", &name, "master", &self.id, "up"]);
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
    }

    fn filter(&self, chain: &str, rule: &str) {
        let rule: Vec<&str> = rule.split(' ').collect();
        let add = ["add", "rule", "bridge", &self.id, chain];
        self.nft(&[&add[..], &rule].concat());
    }

    fn nft(&self, args: &[&str]) {
        run("nft", args);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.namespaces {
            let _ = try_run("ip", &["netns", "delete", name]);
        }
        remove_bridge(&self.id);
    }
}

/// Three numbers that no address of this machine begins with.
fn free_subnet(wish: u32) -> [u8; 3] {
    let taken = ip(&["-4", "-oneline", "address", "show"]);
    let subnet = |n: u32| [10, 64 + (n >> 8 & 127) as u8, n as u8];
    let is_free = |[a, b, c]: &[u8; 3]| !taken.contains(&format!(" {a}.{b}.{c}."));
    let mut free = (wish..wish + 1000).map(subnet).filter(is_free);
    free.next().expect("most are free")
}

/// Removes what processes left that are no more.
fn sweep() {
    let is_left = |name: &str| {
        let rest = name.strip_prefix(PREFIX);
        let process = rest.and_then(|rest| rest.split('x').next());
        process
            .and_then(|process| process.parse::<u32>().ok())
            .is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
    };
    let first_word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let namespaces = ip(&["netns", "list"]);
    for name in namespaces.lines().filter_map(first_word) {
        if is_left(&name) {
            let _ = try_run("ip", &["netns", "delete", &name]);
        }
    }
    let bridges = ip(&["-brief", "link", "show", "type", "bridge"]);
    for name in bridges.lines().filter_map(first_word) {
        if is_left(&name) {
            remove_bridge(&name);
        }
    }
}

fn remove_bridge(id: &str) {
    let _ = try_run("nft", &["delete", "table", "bridge", id]);
    let _ = try_run("ip", &["link", "delete", id]);
}

fn ip(args: &[&str]) -> String {
    run("ip", args)
}

fn run(program: &str, args: &[&str]) -> String {
    try_run(program, args)
        .unwrap_or_else(|why| panic!("{program} {}: {why} (namespaces need root)", args.join(" ")))
}

fn try_run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{error}; `tests/run --setup` installs it"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
