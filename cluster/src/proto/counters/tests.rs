use super::*;

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn counters(name: &str, owners: &[&str]) -> Counters {
    let mut counters = Counters::new(name.into(), Rules::default());
    counters.set_owners(names(owners), 0);
    counters.gathers_until_ms = 0;
    counters
}

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Some key that a node of two owns.
fn key_of(owner_name: &str, counters: &Counters) -> Bytes {
    let mut keys = (0..1000).map(|number| key(&format!("key{number}")));
    let is_its = |key: &Bytes| *owner(&counters.owners, hash(key)).1 == *owner_name;
    keys.find(is_its).unwrap()
}

#[test]
fn few_keys_move_when_a_node_comes() {
    let (two, three) = (counters("a", &["a", "b"]), counters("a", &["a", "b", "c"]));
    let of = |counters: &Counters, number: u32| {
        owner(&counters.owners, hash(&number.to_be_bytes()))
            .1
            .clone()
    };
    let moved: Vec<_> = (0..3000)
        .filter(|it| of(&two, *it) != of(&three, *it))
        .collect();
    assert!(
        moved.iter().all(|it| *of(&three, *it) == *"c"),
        "they move to it alone"
    );
    assert!((800..1200).contains(&moved.len()), "{}", moved.len());
}

#[test]
fn an_owner_tells_each_what_the_others_count() {
    let mut counters = counters("a", &["a", "b"]);
    let key = key_of("a", &counters);
    counters.link_up(&"b".into());
    counters.link_up(&"c".into());
    counters.count(key.clone(), &[(1000, 1)], 0);
    let reported = |amount| {
        vec![Reported {
            key: key.clone(),
            anew: false,
            parts: vec![(1000, amount)],
        }]
    };
    counters.reported(&"b".into(), reported(2), 0);
    counters.reported(&"c".into(), reported(4), 50);
    let mut own = counters.exchange(100);
    own[0].1.sort_unstable();
    assert_eq!(own, [(key.clone(), vec![(900, 2), (950, 4)])]);
    let told = |frame| match frame {
        Some(Frame::Answer { entries }) => entries[0].parts.iter().map(|it| it.1).sum::<u32>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(counters.next("b", 100)), 5);
    assert_eq!(told(counters.next("c", 100)), 3);
    assert_eq!(counters.next("c", 100), None);
    assert!(counters.exchange(300).is_empty(), "nothing has changed");
}

#[test]
fn others_are_told_what_is_left() {
    let mut counters = counters("a", &["b", "a"]);
    let key = key_of("b", &counters);
    counters.link_up(&"b".into());
    counters.count(key.clone(), &[(1000, 1), (100, 7)], 0);
    counters.exchange(100);
    let entries = vec![Reported {
        key,
        anew: true,
        parts: vec![(850, 1)],
    }];
    assert_eq!(counters.next("b", 150), Some(Frame::Report { entries }));
    assert_eq!(counters.next("b", 150), None);
}

#[test]
fn what_changes_often_is_reported_once() {
    let mut counters = counters("a", &["b", "a"]);
    let key = key_of("b", &counters);
    counters.link_up(&"b".into());
    for amount in 1..50 {
        counters.count(key.clone(), &[(1000, amount)], 0);
    }
    counters.exchange(100);
    let amounts = |frame| match frame {
        Some(Frame::Report { entries }) => entries.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(amounts(counters.next("b", 100)), 1);
}

#[test]
fn a_link_that_stands_still_piles_nothing_up() {
    let mut counters = counters("a", &["a", "b"]);
    let keys = [key_of("a", &counters), key_of("b", &counters)];
    counters.link_up(&"b".into());
    for round in 1..50 {
        for key in &keys {
            counters.count(key.clone(), &[(100_000, round)], 0);
        }
        let entries = vec![Reported {
            key: keys[0].clone(),
            anew: false,
            parts: vec![(100_000, round)],
        }];
        counters.reported(&"b".into(), entries, 0);
        counters.exchange(u64::from(round) * 100);
    }
    let Outbox { reports, answers } = &counters.outboxes["b"];
    assert_eq!((reports.len(), answers.len()), (1, 1));
    let entries = vec![Answered {
        key: keys[0].clone(),
        parts: vec![(95_100, 49)],
    }];
    counters.next("b", 4900);
    assert_eq!(counters.next("b", 4900), Some(Frame::Answer { entries }));
}

#[test]
fn a_withdrawn_count_is_told_to_a_new_owner() {
    let mut counters = counters("a", &["a", "b"]);
    let key = key_of("b", &counters);
    counters.link_up(&"b".into());
    counters.count(key.clone(), &[(10_000, 1)], 0);
    counters.exchange(100);
    counters.next("b", 100);
    counters.count(key, &[], 200);
    counters.exchange(300);
    counters.next("b", 300);
    counters.link_up(&"b".into());
    counters.exchange(400);
    assert!(matches!(
        counters.next("b", 400),
        Some(Frame::Report { .. })
    ));
    // Once it would have ended anyway, it need not be told.
    counters.exchange(10_000);
    counters.link_up(&"b".into());
    counters.exchange(10_100);
    assert_eq!(counters.next("b", 10_100), None);
}

#[test]
fn an_answer_counts_from_the_owner_alone() {
    let mut counters = counters("a", &["b", "c"]);
    let key = key_of("b", &counters);
    assert!(!counters.heeds("b", &key), "this node does not count it");
    counters.count(key.clone(), &[(1000, 1)], 0);
    assert!(counters.heeds("b", &key) && !counters.heeds("c", &key));
}

#[test]
fn frames_have_a_limit() {
    let mut counters = counters("a", &["b"]);
    counters.link_up(&"b".into());
    for number in 0..=MAX_ENTRIES {
        counters.count(key(&number.to_string()), &[(1000, 1)], 0);
    }
    counters.count(Bytes::from(vec![0; MAX_KEY + 1]), &[(1000, 1)], 0);
    counters.exchange(100);
    let sizes = [(); 3].map(|()| match counters.next("b", 100) {
        Some(Frame::Report { entries }) => entries.len(),
        _ => 0,
    });
    assert_eq!(sizes, [MAX_ENTRIES, 1, 0]);
}
