//! `tidings doctor`: each kind of trouble is found, with what to do, and nothing is changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitStatus;

use mongodb::bson::doc;
use serde_json::{Value, json};
use tidings_tests::cluster::{member, new_key};
use tidings_tests::port;
use tidings_tests::{Certificate, Mongod, Node, RunningNode, eventually};

/// What a doctor says: `mark about what → advice` for each finding.
fn lines(said: &str) -> Vec<String> {
    let said: Value = serde_json::from_str(said).unwrap_or_else(|e| panic!("{e}: {said}"));
    let findings = said["findings"].as_array().expect("there are findings");
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let line = |it: &Value| {
        let [mark, about, what] = ["mark", "about", "what"].map(|key| text(it, key));
        format!("{mark} {about} {what} → {}", text(it, "advice"))
    };
    let lines: Vec<_> = findings.iter().map(line).collect();
    for line in lines.iter().filter(|line| !line.starts_with("ok ")) {
        assert!(!line.ends_with("→ "), "it says what to do: {line}");
    }
    lines
}

fn doctor(node: &Node) -> (ExitStatus, Vec<String>) {
    let (status, out, err) = node.command(&["doctor", "--json"], "");
    assert_eq!(err, "");
    (status, lines(&out))
}

/// The line that begins so and has all of these.
#[track_caller]
fn expect(lines: &[String], begin: &str, parts: &[&str]) {
    let is =
        |line: &&String| line.starts_with(begin) && parts.iter().all(|part| line.contains(part));
    let found = lines.iter().find(is);
    assert!(found.is_some(), "no {begin:?} with {parts:?} in {lines:#?}");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is this user's");
}

#[tokio::test]
async fn finds_nothing_wrong_with_a_node_that_runs() {
    let node = Node::new().start().await;
    let (status, out, err) = node.command(&["doctor"], "");
    assert!(status.success(), "{out}{err}");
    assert!(out.starts_with("ok "), "{out}");
    assert!(!out.contains("problem "), "{out}");
    let (_, out, _) = node.command(&["doctor", "--json"], "");
    let lines = lines(&out);
    expect(&lines, "ok node it runs and is well", &[]);
    expect(&lines, "ok store the node says that it is well", &[]);
    expect(&lines, "ok ports listen.public", &[node.public()]);
    expect(&lines, "ok clock", &[]);
}

/// The settings may be half edited, or lack secrets that systemd hands to the service alone.
#[tokio::test]
async fn a_node_that_runs_is_asked_whatever_its_settings_say_now() {
    let mut node = Node::new().start().await;
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    let (file, backup) = (path("bad.toml"), path("backup"));
    let folder = node.data_dir();
    let text = format!("[node]\ndata_dir = {folder:?}\n[cluster]\nseeds = [\"127.0.0.1:1\"]\n");
    std::fs::write(&file, text).expect("it can be written");
    let commands: [&[&str]; 4] = [
        &["health"],
        &["user", "list"],
        &["backup", &backup],
        &["reload"],
    ];
    for args in commands {
        let (status, out, error) = node.command(&[args, &["--config", &file]].concat(), "");
        assert!(status.success(), "{args:?}: {out}{error}");
    }
    let args = ["doctor", "--json", "--config", &file];
    let (status, out, _) = node.command(&args, "");
    assert_eq!(status.code(), Some(1), "{out}");
    let found = lines(&out);
    expect(
        &found,
        "problem settings",
        &["cluster.seeds", "/etc/credstore"],
    );
    expect(&found, "ok node", &[]);
    node.kill9();
    for args in commands {
        let (status, out, error) = node.command(&[args, &["--config", &file]].concat(), "");
        assert_eq!(status.code(), Some(64), "{args:?}: {out}{error}");
        assert!(error.contains("cluster.seeds"), "{args:?}: {error}");
    }
}

#[tokio::test]
async fn finds_ports_that_others_have_and_folders_that_others_may_write() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let node = Node::new().config("listen.private", address.as_str());
    let folder = node.data_dir();
    fs::create_dir_all(folder.join("store/sled")).expect("the folder can be made");
    chmod(&folder, 0o777);
    fs::create_dir(folder.join("store.kept-2026-01-01T00:00:00Z")).expect("it can be made");
    fs::write(folder.join("store/sled/db"), "").expect("it can be written");
    let (status, found) = doctor(&node);
    assert_eq!(status.code(), Some(1));
    expect(&found, "ok node none runs", &[]);
    expect(
        &found,
        "problem ports listen.private",
        &[&address, "ss -lnptu"],
    );
    expect(&found, "warning data folder", &["mode 777", "chmod go-w"]);
    expect(&found, "warning store 1 copies", &[]);
    fs::create_dir(folder.join("store.restoring")).expect("it can be made");
    let (_, found) = doctor(&node);
    expect(&found, "warning store", &["store.restoring", "remove it"]);
    fs::write(folder.join("store/damaged"), "").expect("it can be written");
    let (_, found) = doctor(&node);
    expect(
        &found,
        "problem store damage was found",
        &["tidings restore"],
    );
}

/// What the doctor says who is given nothing but the node's folder and another address.
fn by_other_settings(node: &RunningNode) -> Vec<String> {
    let folder = node.data_dir();
    let text = format!("listen.public = '127.0.0.1:1'\nnode.data_dir = {folder:?}\n");
    let edited = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::write(edited.path(), text).expect("it can be written");
    let edited = edited.path().to_str().expect("UTF-8");
    let (_, out, _) = node.command(&["doctor", "--json", "--config", edited], "");
    lines(&out)
}

/// Its ports and its store are its own, though it does not say so.
#[tokio::test]
async fn finds_a_node_that_hangs_and_settings_that_it_does_not_follow() {
    let node = Node::new().start().await;
    expect(
        &by_other_settings(&node),
        "warning ports listen.public = 127.0.0.1:1, and the node listens on",
        &[node.public(), "restart the node"],
    );
    node.freeze();
    let (status, out, _) = node.command(&["doctor", "--json"], "");
    assert_eq!(status.code(), Some(1), "{out}");
    let found = lines(&out);
    expect(
        &found,
        "problem node",
        &["did not answer", "systemctl restart"],
    );
    expect(&found, "ok ports listen.public: the node listens on", &[]);
    expect(&found, "ok store a node has it open", &[]);
    assert!(!out.contains("as the node's user"), "{out}");
    node.thaw();
}

#[tokio::test]
async fn knows_a_node_of_a_cluster_by_where_others_reach_it() {
    let at = port::free();
    let reached = format!("127.0.0.1:{at}");
    let node = member("a", &new_key())
        .config("cluster.listen", format!("0.0.0.0:{at}"))
        .config("cluster.advertise", reached.as_str())
        .start()
        .await;
    let (_, out, _) = node.command(&["doctor", "--json"], "");
    let found = lines(&out);
    expect(
        &found,
        "ok ports cluster.advertise: the node listens on",
        &[&reached],
    );
}

/// What an earlier run has left says nothing of where this one is going to.
#[tokio::test]
async fn waits_for_a_node_that_begins_to_say_where_it_listens() {
    let node = member("a", &new_key());
    let folder = node.data_dir();
    fs::create_dir_all(&folder).expect("the folder can be made");
    let file = folder.join("listening.json");
    let file = file.to_str().expect("UTF-8");
    let left = r#"{"public":"127.0.0.1:1","private":"127.0.0.1:2"}"#;
    let begin = format!("echo '{left}' > \"$0\"; exec \"$@\"");
    // It takes a while to find that nobody is there.
    let node = node
        .config("cluster.seeds", json!([port::address()]))
        .through(&["sh", "-c", &begin, file])
        .launch();
    eventually("it begins", async || {
        // Without the cluster's: it would wait for the dead, too.
        let found = by_other_settings(&node);
        let left = "listens on 127.0.0.1:1 ";
        assert!(!found.iter().any(|line| line.contains(left)), "{found:#?}");
        let begins = "does not say yet where it listens";
        found.iter().any(|line| line.contains(begins))
    })
    .await;
}

/// Another user cannot tell whether one runs.
#[tokio::test]
async fn says_nothing_of_ports_and_store_where_it_cannot_look() {
    let node = Node::new();
    let folder = node.data_dir();
    fs::write(&folder, "no folder").expect("it can be written");
    let (status, found) = doctor(&node);
    assert_eq!(status.code(), Some(1));
    expect(&found, "problem node", &["must be a folder"]);
    expect(&found, "warning ports not looked at", &[]);
}

#[tokio::test]
async fn finds_that_the_last_run_did_not_end_well() {
    let mut node = Node::new().start().await;
    node.kill9();
    let (status, out, _) = node.command(&["doctor", "--json"], "");
    assert!(status.success(), "{out}");
    expect(
        &lines(&out),
        "warning store the last run did not close it",
        &[],
    );
    node.start_again().await;
}

#[tokio::test]
async fn finds_certificates_that_end_and_keys_that_everybody_may_read() {
    let with = |certificate: &Certificate, key: &str| {
        let node = Node::new();
        let cert = node.file("chain.pem", &certificate.chain);
        let key = node.file("key.pem", key);
        chmod(Path::new(&key), 0o600);
        node.config("tls.cert", cert).config("tls.key", key)
    };
    let good = Certificate::new();
    let node = with(&good, &good.key);
    expect(&doctor(&node).1, "ok certificate valid until", &[]);
    chmod(Path::new(&node.file("key.pem", &good.key)), 0o644);
    expect(
        &doctor(&node).1,
        "warning certificate everybody may read tls.key",
        &["chmod o-rwx"],
    );
    let ending = Certificate::of_days(80, 3);
    expect(
        &doctor(&with(&ending, &ending.key)).1,
        "warning certificate it ends at",
        &[],
    );
    let ended = Certificate::between(-80, -1);
    let (status, found) = doctor(&with(&ended, &ended.key));
    expect(&found, "problem certificate it ended at", &[]);
    assert_eq!(status.code(), Some(1));
    let early = Certificate::between(1, 80);
    let (status, found) = doctor(&with(&early, &early.key));
    expect(
        &found,
        "problem certificate it is valid only from",
        &["clock"],
    );
    assert_eq!(status.code(), Some(1));
    let found = doctor(&with(&good, &ended.key)).1;
    expect(
        &found,
        "problem certificate tls.cert and tls.key cannot be used together",
        &[],
    );
    let asked = Node::new()
        .config("acme.domains", json!(["a.example"]))
        .config("acme.terms_agreed", true);
    expect(&doctor(&asked).1, "ok certificate none yet", &[]);
}

#[tokio::test]
async fn reaches_for_the_other_nodes_of_its_cluster_and_leaves_no_trace() {
    let (key, nobody) = (new_key(), port::free());
    let one = member("a", &key).start().await;
    let seeds = json!([one.cluster_address(), format!("127.0.0.1:{nobody}")]);
    let asking = |key: &str| {
        member("b", key)
            .config("cluster.listen", "127.0.0.1:7946")
            .config("cluster.seeds", seeds.clone())
    };
    let (status, found) = doctor(&asking(&key));
    assert_eq!(status.code(), Some(1));
    let address = one.cluster_address();
    expect(&found, "ok cluster", &[address, "answers"]);
    expect(
        &found,
        "problem cluster 127.0.0.1",
        &["no answer within 3 s", "UDP"],
    );
    expect(&found, "ok net.core.", &[]);
    assert!(!one.log().contains("was refused"), "{}", one.log());
    let found = doctor(&asking(&key).config("cluster.name", "other")).1;
    expect(
        &found,
        "problem cluster",
        &[address, "another cluster", "cluster.name"],
    );
    let found = doctor(&asking(&new_key())).1;
    expect(
        &found,
        "problem cluster",
        &[address, "handshake failed", "cluster.key"],
    );
}

#[tokio::test]
async fn finds_a_mongodb_that_is_away_and_rights_that_are_missing() {
    let away = Node::new().config("mongodb.uri", "mongodb://u:secret-word@127.0.0.1:1/app");
    let (status, found) = doctor(&away);
    assert_eq!(status.code(), Some(1));
    expect(
        &found,
        "problem mongodb",
        &["cannot be reached", "firewalls"],
    );
    assert!(!found.join("").contains("secret-word"));

    let mongod = Mongod::with_users().await;
    let roles = vec![doc! { "role": "read", "db": "app" }];
    mongod
        .add_user("app", "reader", "reader-password", roles)
        .await;
    let uri = |who: &str, database: &str| {
        format!(
            "mongodb://{who}@{}/{database}?authSource=app",
            mongod.address()
        )
    };
    let node = |uri: String| Node::new().config("mongodb.uri", uri);
    let found = doctor(&node(uri("reader:reader-password", "app"))).1;
    expect(&found, "ok mongodb all ", &["rights"]);
    let streams = "[[mongodb.streams]]\nname = 's'\ncollection = 'c'\nevent = 'e'\nroom = 'r'\n";
    let found = doctor(&node(uri("reader:reader-password", "app")).tables(streams)).1;
    let missing = "problem mongodb no right to insert on app.tidings_leases";
    expect(&found, missing, &["streams", "readWrite"]);
    let found = doctor(&node(uri("reader:reader-password", "other"))).1;
    expect(
        &found,
        "problem mongodb no right to find on other.sessions",
        &["logins"],
    );
    let found = doctor(&node(uri("reader:wrong", "app"))).1;
    expect(&found, "problem mongodb access was refused", &["password"]);
    let open = node(format!("mongodb://{}/app", mongod.address()));
    let found = doctor(&open).1;
    expect(
        &found,
        "problem mongodb no right to find on app.sessions",
        &[],
    );
}
