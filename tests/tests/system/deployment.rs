//! `tidings-deploy` with the real commands.

use crate::site::Site;

const DEPLOY: [&str; 5] = [
    "tidings-deploy",
    "--env-file",
    "/root/staging",
    "--timeout",
    "30",
];

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn an_environment_is_deployed_and_a_bad_one_put_back() {
    let site = Site::started();
    let alice = site.session("alice").await;
    // The API key is a credential; the other is read as systemd reads it.
    let sound = "SESSION_SECRET=\"0123456789\\\\abcdef\"\r\n";
    site.machine.write("/root/staging", sound);
    let printed = site.machine.run(&DEPLOY).ok();
    assert_eq!(printed.matches('✓').count(), 7, "{printed}");
    assert_eq!(site.machine.read("/etc/tidings/environment"), sound);
    let backups = site.machine.run(&["ls", "/var/backups/tidings"]).ok();
    assert!(backups.contains("before-"), "{backups}");
    site.trader(&alice).await;

    // Sound by itself; but nobody can listen there.
    let bad = format!("{sound}TIDINGS_LISTEN__PUBLIC=192.0.2.1:8080\n");
    site.machine.write("/root/staging", &bad);
    let done = site.machine.run(&DEPLOY);
    assert_eq!(done.code, 1, "{}", done.said);
    assert!(
        done.said.contains('✗') && done.said.contains("✓ the node runs as before"),
        "{}",
        done.said
    );
    assert_eq!(site.machine.read("/etc/tidings/environment"), sound);
    site.trader(&alice).await;
}
