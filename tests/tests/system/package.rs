//! Installing, upgrading, removing.

use tidings_tests::{Machine, RawHttp, machine};

use crate::site::{FIRST, NEXT, SOON, Site};

/// What of the package's may be on a machine, and what the node has written there.
const TRACES: &str = "find / -xdev \\( -path /proc -o -path /root -o -path /var/lib/dpkg \
                      -o -path /var/log -o -path /sys \\) -prune -o -name '*tidings*' -print";

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_newcomer_has_a_node_by_what_the_package_says() {
    let mut machine = Machine::new();
    let package = machine.bring(&machine::package(FIRST));
    let said = machine.run(&["dpkg", "--install", &package]).ok();
    // The commands that it says to type are those that are typed below.
    assert!(
        said.contains("runuser -u tidings -- tidings check --config /etc/tidings/tidings.toml"),
        "{said}"
    );
    assert!(said.contains("systemctl enable --now tidings"), "{said}");
    machine.boot();
    let enabled = machine.run(&["systemctl", "is-enabled", "tidings"]).said;
    assert_eq!(enabled.trim(), "disabled");
    assert_eq!(machine.property("tidings", "ActiveState"), "inactive");
    for page in ["tidings.1", "tidings-serve.1", "tidings-user-add.1"] {
        let path = machine.path(&format!("/usr/share/man/man1/{page}.gz"));
        assert!(path.is_file(), "no {page}");
    }
    let completions = "/usr/share/bash-completion/completions/tidings";
    machine.run(&["bash", "-n", completions]).ok();
    let stat = ["stat", "--format", "%U:%G %a", "/etc/tidings/tidings.toml"];
    assert_eq!(machine.run(&stat).ok().trim(), "root:tidings 640");

    let (public, private) = (crate::site::free_address(), crate::site::free_address());
    let path = "/etc/tidings/tidings.toml";
    let text = machine.read(path);
    let text = text.replacen("\"0.0.0.0:8080\"", &format!("\"{public}\""), 1);
    machine.write(
        path,
        &text.replacen("\"127.0.0.1:8081\"", &format!("\"{private}\""), 1),
    );
    let as_node = ["runuser", "-u", "tidings", "--"];
    let check = ["tidings", "check", "--config", path];
    machine.run(&[&as_node[..], &check].concat()).ok();
    machine
        .run(&["systemctl", "enable", "--now", "tidings"])
        .ok();
    assert_eq!(RawHttp::get(&public, "/health").await.status, 200);
    let id = machine.main_process("tidings");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let uid = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .expect("a line");
    let uid = uid.split_whitespace().nth(1).expect("a number");
    let owner = ["id", "--user", "tidings"];
    assert_eq!(
        machine.run(&owner).ok().trim(),
        uid,
        "it runs as its own user"
    );
    assert_ne!(uid, "0");
    // As its user, on its machine: no configuration has to be named.
    let own = [
        "runuser",
        "-u",
        "tidings",
        "--",
        "env",
        "TIDINGS_CONFIG=/etc/tidings/tidings.toml",
    ];
    let key = machine.run(
        &[
            &own[..],
            &["tidings", "key", "create", "shop", "--scope", "emit"],
        ]
        .concat(),
    );
    assert!(key.ok().contains("tk_"));
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn an_upgrade_keeps_settings_data_and_whether_it_runs() {
    let site = Site::started();
    let alice = site.session("alice").await;
    let before = site.machine.main_process("tidings");
    let settings = site.machine.read("/etc/tidings/tidings.toml");
    let package = site.machine.bring(&machine::package(NEXT));
    site.machine.run(&["dpkg", "--install", &package]).ok();
    assert_eq!(site.state(), "active");
    assert_ne!(
        site.machine.main_process("tidings"),
        before,
        "the new one runs"
    );
    assert_eq!(site.machine.read("/etc/tidings/tidings.toml"), settings);
    site.trader(&alice).await;
    // One that was stopped stays so.
    site.systemctl(&["stop", "tidings"]);
    site.machine.run(&["dpkg", "--install", &package]).ok();
    assert_eq!(site.state(), "inactive");
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn an_upgrade_that_refuses_the_settings_leaves_the_node_running() {
    let site = Site::started();
    let before = site.machine.main_process("tidings");
    let path = "/etc/tidings/tidings.toml";
    let settings = site.machine.read(path);
    site.machine.write(
        path,
        &format!("{settings}\n[not_known_any_more]\nkey = 1\n"),
    );
    let package = site.machine.bring(&machine::package(NEXT));
    let said = site.machine.run(&["dpkg", "--install", &package]).ok();
    assert!(
        said.contains("The node was not restarted") && said.contains("not_known_any_more"),
        "{said}"
    );
    assert_eq!(site.state(), "active");
    assert_eq!(site.machine.main_process("tidings"), before);
    // As it says.
    site.machine.write(path, &settings);
    site.systemctl(&["restart", "tidings"]);
    assert_ne!(site.machine.main_process("tidings"), before);
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_removal_keeps_what_a_purge_takes() {
    let site = Site::started();
    site.systemctl(&["enable", "tidings"]);
    site.machine.run(&["dpkg", "--remove", "tidings"]).ok();
    assert!(
        tokio::net::TcpStream::connect(&site.public).await.is_err(),
        "it is stopped"
    );
    assert!(site.machine.path("/etc/tidings/tidings.toml").is_file());
    assert!(site.machine.path("/var/lib/tidings/store").is_dir());
    site.machine.run(&["dpkg", "--purge", "tidings"]).ok();
    site.machine
        .eventually(&["sh", "-c", "! test -e /var/lib/tidings"], SOON);
    let left = site.machine.run(&["sh", "-c", TRACES]).ok();
    // The operator's own.
    let left: Vec<_> = left
        .lines()
        .filter(|path| !path.starts_with("/etc/credstore/"))
        .collect();
    assert_eq!(left, ["/var/backups/tidings"]);
}
