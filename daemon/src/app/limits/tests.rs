use super::table::MAX_KEYS;
use super::{Limits, Rules};
use proptest::prelude::{any, prop_assert_eq, proptest};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use tidings_storage::{Store, StoreConfig};

const T0: u64 = 1_800_000_000_000;

fn rules() -> Rules {
    Rules {
        events_per_user: 4,
        connections_per_ip: 3,
        subscriptions_per_user: 2,
        logins_per_ip: 3,
        logins_per_user: 2,
        abuse_windows: 2,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn refused_handshakes(limits: &Limits, text: &str, times: usize) -> usize {
    (0..times)
        .filter(|_| limits.handshake(ip(text), T0).is_err())
        .count()
}

/// What a restart does to the counters.
fn restarted(limits: &Limits, now_ms: u64) -> (Limits, usize) {
    let rows = limits
        .take_changes(now_ms)
        .into_iter()
        .map(|(key, value, _)| (key, value));
    let fresh = Limits::new(**limits.0.rules.now());
    let restored = fresh.restore(&rows.collect::<Vec<_>>(), now_ms);
    (fresh, restored)
}

#[test]
fn events_are_counted_by_user_and_abuse_is_told() {
    let limits = Limits::new(rules());
    for _ in 0..4 {
        limits.event("ann", T0).unwrap();
    }
    let abuse: Vec<bool> = (0..9)
        .map(|_| limits.event("ann", T0).unwrap_err().abuse)
        .collect();
    assert_eq!(
        abuse,
        [false, false, false, false, false, false, false, true, true]
    );
    assert_eq!(
        limits.event("ann", T0).unwrap_err().retry_after.seconds(),
        60
    );
    limits.event("bob", T0).unwrap();
    limits.event("ann", T0 + 60_000).unwrap();
}

#[test]
fn without_abuse_windows_nobody_abuses() {
    let limits = Limits::new(Rules {
        abuse_windows: 0,
        ..rules()
    });
    let refused = (0..100).filter_map(|_| limits.event("ann", T0).err());
    assert!(refused.map(|refused| refused.abuse).eq([false; 96]));
}

#[test]
fn a_limit_of_zero_is_off_and_keeps_nothing() {
    let limits = Limits::new(Rules::default());
    for _ in 0..1_000 {
        limits.event("ann", T0).unwrap();
        limits.handshake(ip("192.0.2.1"), T0).unwrap();
        limits.login(ip("192.0.2.1"), "ann", T0).unwrap();
    }
    assert!(limits.take_changes(T0).is_empty());
    for room in 0..1_000 {
        assert_eq!(limits.subscribe("ann", &room.to_string(), T0), Ok(true));
    }
}

#[test]
fn addresses_are_counted_as_given_out() {
    let limits = Limits::new(rules());
    assert_eq!(refused_handshakes(&limits, "192.0.2.1", 2), 0);
    assert_eq!(refused_handshakes(&limits, "::ffff:192.0.2.1", 2), 1);
    assert_eq!(refused_handshakes(&limits, "192.0.2.2", 3), 0);
    assert_eq!(refused_handshakes(&limits, "2001:db8::1", 3), 0);
    assert_eq!(refused_handshakes(&limits, "2001:db8::ffff:2", 1), 1);
    assert_eq!(refused_handshakes(&limits, "2001:db8:0:1::1", 3), 0);
}

#[test]
fn a_recovery_is_not_counted() {
    let limits = Limits::new(rules());
    for _ in 0..50 {
        limits.handshake(ip("192.0.2.1"), T0).unwrap();
        limits.refund_handshake(ip("192.0.2.1"), T0 + 3);
    }
    assert_eq!(refused_handshakes(&limits, "192.0.2.1", 4), 1);
    limits.refund_handshake(ip("192.0.2.9"), T0);
    assert_eq!(refused_handshakes(&limits, "192.0.2.9", 4), 1);
}

#[test]
fn logins_are_counted_by_address_and_by_name() {
    let limits = Limits::new(rules());
    let (here, there, away) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
    limits.login(here, "ann", T0).unwrap();
    limits.login(there, "ann", T0).unwrap();
    limits.login(away, "ann", T0).unwrap_err();
    limits.login(here, "bob", T0).unwrap();
    limits.login(here, "cat", T0).unwrap();
    limits.login(here, "dan", T0).unwrap_err();
    let name = "x".repeat(10_000);
    limits.login(away, &name, T0).unwrap();
    assert!(
        limits
            .take_changes(T0)
            .iter()
            .all(|(key, ..)| key.len() < 1_000)
    );
}

#[test]
fn windows_survive_a_restart() {
    let limits = Limits::new(rules());
    for _ in 0..4 {
        limits.event("ann", T0).unwrap();
    }
    for _ in 0..8 {
        limits.event("ann", T0).unwrap_err();
    }
    limits.handshake(ip("2001:db8::1"), T0).unwrap();
    limits.login(ip("192.0.2.1"), "ann", T0).unwrap();
    let (limits, restored) = restarted(&limits, T0 + 30_000);
    assert_eq!(restored, 5);
    assert!(limits.event("ann", T0 + 59_999).unwrap_err().abuse);
    assert_eq!(refused_handshakes(&limits, "2001:db8::2", 3), 1);
    limits.login(ip("192.0.2.2"), "ann", T0 + 1).unwrap();
    limits.login(ip("192.0.2.2"), "ann", T0 + 1).unwrap_err();
    limits.event("ann", T0 + 60_000).unwrap();
}

#[tokio::test]
async fn windows_are_written_behind_and_a_failure_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        Store::open(StoreConfig::new(folder.path().join("store")))
            .unwrap()
            .0
    };
    let (store, limits) = (open(), Limits::new(rules()));
    limits.event("ann", T0).unwrap();
    assert_eq!(limits.save(&store, T0).await, Ok(1));
    assert_eq!(limits.save(&store, T0).await, Ok(0));
    store.close().await.unwrap();
    limits.event("ann", T0).unwrap();
    limits.save(&store, T0).await.unwrap_err();
    drop(store);
    let store = open();
    assert_eq!(limits.save(&store, T0).await, Ok(1));

    let fresh = Limits::new(rules());
    assert_eq!(fresh.load(&store, T0 + 1).await, Ok(1));
    let passed = (0..9)
        .filter(|_| fresh.event("ann", T0 + 1).is_ok())
        .count();
    assert_eq!(passed, 2);
    assert_eq!(Limits::new(rules()).load(&store, T0 + 60_000).await, Ok(0));
}

#[test]
fn only_what_changed_is_handed_out_until_it_is_kept() {
    let limits = Limits::new(rules());
    limits.event("ann", T0).unwrap();
    limits.event("ann", T0).unwrap();
    limits.handshake(ip("192.0.2.1"), T0).unwrap();
    let rows = limits.take_changes(T0);
    let keys: Vec<&[u8]> = rows.iter().map(|(key, ..)| &key[..]).collect();
    assert_eq!(keys, [&b"eann"[..], &[b'h', 192, 0, 2, 1]]);
    assert!(
        rows.iter()
            .all(|(.., expires_ms)| *expires_ms == T0 + 60_000)
    );
    assert!(limits.take_changes(T0).is_empty());
    limits.keep_changes(&rows);
    assert_eq!(limits.take_changes(T0), rows);
    limits.refund_handshake(ip("192.0.2.1"), T0);
    assert_eq!(limits.take_changes(T0).len(), 1);
}

#[test]
fn idle_keys_are_forgotten_and_keys_are_bounded() {
    let limits = Limits::new(rules());
    for number in 0..(MAX_KEYS as u32 + 50_000) {
        limits
            .handshake(IpAddr::from(number.to_be_bytes()), T0)
            .unwrap();
    }
    let kept = limits.0.handshakes.len();
    assert!(kept > MAX_KEYS / 2 && kept <= MAX_KEYS, "{kept} keys");
    for _ in 0..16 {
        limits.take_changes(T0 + 60_000);
    }
    assert_eq!(limits.0.handshakes.len(), 0);
}

#[test]
fn rows_of_an_unknown_make_are_left_out() {
    let limits = Limits::new(rules());
    limits.event("ann", T0).unwrap();
    let (.., value, _) = &limits.take_changes(T0)[0];
    let keys: [&[u8]; 5] = [b"", b"?ann", b"h123", b"e\xff", b"eann"];
    let rows: Vec<_> = keys
        .iter()
        .map(|key| (key.to_vec(), value.clone()))
        .collect();
    let fresh = Limits::new(rules());
    assert_eq!(fresh.restore(&rows[..4], T0), 0, "h needs 4 or 8 bytes");
    assert_eq!(fresh.restore(&rows, T0), 1);
    assert_eq!(
        fresh.restore(&[(b"eann".to_vec(), b"\x09".to_vec())], T0),
        0
    );
    assert_eq!(fresh.restore(&rows, T0 + 60_000), 0);
}

#[test]
fn a_room_counts_once_for_all_sockets_of_a_user() {
    let limits = Limits::new(rules());
    assert_eq!(limits.subscribe("ann", "a", T0), Ok(true));
    assert_eq!(limits.subscribe("ann", "a", T0), Ok(false));
    assert_eq!(limits.subscribe("ann", "b", T0), Ok(true));
    assert_eq!(limits.subscribe("ann", "c", T0).unwrap_err().limit, 2);
    assert_eq!(limits.subscribe("bob", "c", T0), Ok(true));
    limits.unsubscribe("ann", "a");
    limits.subscribe("ann", "c", T0).unwrap_err();
    limits.unsubscribe("ann", "a");
    assert_eq!(limits.subscribe("ann", "c", T0), Ok(true));
    limits.unsubscribe("ann", "never");
    limits.unsubscribe("eve", "never");
    assert_eq!(limits.subscriptions("ann"), 2);
}

#[test]
fn threads_share_one_count_and_leak_nothing() {
    let limits = Limits::new(Rules {
        events_per_user: 1_000,
        ..rules()
    });
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..500)
                        .filter(|_| {
                            for room in ["a", "b", "c"] {
                                if limits.subscribe("ann", room, T0).is_ok() {
                                    assert!(limits.subscriptions("ann") <= 2);
                                    limits.unsubscribe("ann", room);
                                }
                            }
                            limits.event("ann", T0).is_ok()
                        })
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(passed, 1_000);
    assert_eq!(limits.0.subscriptions.users(), 0);
}

proptest! {
    #[test]
    fn subscriptions_are_as_a_plain_model_has_them(
        steps in proptest::collection::vec((any::<bool>(), 0..3_u8, 0..4_u8), 0..200),
    ) {
        let limits = Limits::new(rules());
        let mut model: HashMap<(u8, u8), u32> = HashMap::new();
        for (subscribe, user, room) in steps {
            let (name, place) = (user.to_string(), room.to_string());
            let of_user = model.keys().filter(|key| key.0 == user);
            let rooms: HashSet<u8> = of_user.map(|key| key.1).collect();
            if subscribe {
                let known = rooms.contains(&room);
                let expected = (known || rooms.len() < 2).then_some(!known);
                prop_assert_eq!(limits.subscribe(&name, &place, T0).ok(), expected);
                if expected.is_some() {
                    *model.entry((user, room)).or_default() += 1;
                }
            } else {
                limits.unsubscribe(&name, &place);
                if let Some(sockets) = model.get_mut(&(user, room)) {
                    *sockets -= 1;
                }
                model.retain(|_, sockets| *sockets > 0);
            }
        }
        for (user, room) in model.into_iter().flat_map(|(key, n)| vec![key; n as usize]) {
            limits.unsubscribe(&user.to_string(), &room.to_string());
        }
        prop_assert_eq!(limits.0.subscriptions.users(), 0);
    }
}
