//! The socket in the data folder.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn is_for_its_owner_only_and_goes_with_the_store() {
    let node = Node::new().start().await;
    let sockets: Vec<_> = std::fs::read_dir(node.data_dir())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read"))
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "sock")
        })
        .collect();
    assert_eq!(sockets.len(), 1);
    let mode = sockets[0]
        .metadata()
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn ends_the_sockets_of_a_removed_user() {
    let node = Node::new().start().await;
    let add = ["user", "add", "alice", "--password-stdin"];
    assert!(node.command(&add, "correct horse\n").0.success());
    let mut alice = user(&node, "alice").await;
    let (status, out, err) = node.command(&["user", "remove", "alice"], "");
    assert!(status.success(), "{err}");
    assert!(out.contains("1 session ended"), "{out}");
    alice.end().await;
}
