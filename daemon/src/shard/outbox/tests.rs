use super::*;

fn frame(text: &str) -> Frame {
    Frame::text(text)
}

fn texts(outbox: &mut Outbox) -> Vec<String> {
    let mut all = Vec::new();
    while !outbox.is_empty() {
        for frame in outbox.take_poll(0) {
            all.push(String::from_utf8(frame.payload().to_vec()).unwrap());
        }
    }
    all
}

#[test]
fn keeps_order_and_counts_bytes() {
    let mut outbox = Outbox::default();
    for text in ["4a", "4b", "4c"] {
        assert_eq!(outbox.push(frame(text), Keep::Always, 100), Pushed::Queued);
    }
    assert_eq!(outbox.bytes(), 12);
    outbox.advance(5);
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(outbox.slices(&mut slices), 2);
    assert_eq!(&*slices[0], &frame("4b").ws()[1..]);
    outbox.advance(7);
    assert!(outbox.is_empty());
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn overflow_is_told_but_one_large_frame_passes() {
    let mut outbox = Outbox::default();
    assert_eq!(
        outbox.push(frame(&"x".repeat(50)), Keep::Always, 10),
        Pushed::Queued
    );
    assert_eq!(outbox.push(frame("4b"), Keep::Always, 10), Pushed::Overflow);
}

#[test]
fn volatile_entries_make_room_for_others() {
    let mut outbox = Outbox::default();
    outbox.push(frame("4aaaa"), Keep::Volatile, 20);
    outbox.push(frame("4bbbb"), Keep::Always, 20);
    assert_eq!(
        outbox.push(frame("4cccccc"), Keep::Volatile, 20),
        Pushed::Dropped
    );
    assert_eq!(
        outbox.push(frame("4dddddd"), Keep::Always, 20),
        Pushed::Queued
    );
    assert_eq!(texts(&mut outbox), ["4bbbb", "4dddddd"]);
}

#[test]
fn a_newer_value_takes_the_place_of_the_older() {
    let mut outbox = Outbox::default();
    for n in 0..6 {
        outbox.push(frame(&format!("4k{n}")), Keep::Newest(n), 0);
    }
    assert_eq!(
        outbox.push(frame("4new"), Keep::Newest(2), 0),
        Pushed::Replaced
    );
    outbox.advance(frame("4k0").ws_len() + 1);
    assert_eq!(
        outbox.push(frame("4late"), Keep::Newest(1), 0),
        Pushed::Queued,
        "a half-written entry stays"
    );
    assert_eq!(
        texts(&mut outbox),
        ["4k1", "4new", "4k3", "4k4", "4k5", "4late"]
    );
}

#[test]
fn polls_take_at_most_sixteen_packets() {
    let mut outbox = Outbox::default();
    for n in 0..20 {
        outbox.push(frame(&format!("4{n}")), Keep::Always, 0);
    }
    assert_eq!(outbox.take_poll(0).len(), 16);
    assert_eq!(outbox.take_poll(0).len(), 4);
}

#[test]
fn a_replay_comes_on_top_of_the_cap() {
    let mut outbox = Outbox::default();
    for _ in 0..10 {
        outbox.push_replay(frame("4replayed"));
    }
    assert_eq!(
        outbox.push(frame("4live"), Keep::Always, 20),
        Pushed::Queued
    );
    outbox.advance(outbox.bytes());
    outbox.push(frame("4live"), Keep::Always, 7);
    assert_eq!(
        outbox.push(frame("4live"), Keep::Always, 7),
        Pushed::Overflow
    );
}

#[test]
fn what_another_holds_comes_behind_what_was_begun() {
    let mut outbox = Outbox::default();
    outbox.push(frame("3probe"), Keep::Always, 0);
    outbox.advance(3);
    let mut other = Outbox::default();
    other.push_replay(frame("4replayed"));
    other.push(frame("4live"), Keep::Always, 0);
    let bytes = outbox.bytes() + other.bytes();
    outbox.append_all(other);
    assert_eq!(outbox.bytes(), bytes);
    let pushed = outbox.push(frame("4more"), Keep::Always, bytes);
    assert_eq!(pushed, Pushed::Queued, "the replay is on top of the cap");
    assert_eq!(
        texts(&mut outbox),
        ["3probe", "4replayed", "4live", "4more"]
    );
}

/// What a peer has got and has yet to get of some pushes, kept as one text.
#[derive(Default)]
struct Model {
    waiting: Vec<(Keep, String)>,
    /// Bytes of the first that were written.
    offset: usize,
}

impl Model {
    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let left = self.waiting[0].1.len() - self.offset;
            if written < left {
                self.offset += written;
                return;
            }
            written -= left;
            self.offset = 0;
            self.waiting.remove(0);
        }
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(|(_, text)| text.len()).sum()
    }

    fn rest(&self) -> String {
        let all: String = self.waiting.iter().map(|(_, text)| &text[..]).collect();
        all[self.offset..].to_owned()
    }
}

fn rest(outbox: &Outbox) -> String {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = outbox.slices(&mut slices);
    let rest: Vec<u8> = slices[..filled]
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect();
    if let Some(only) = outbox.only() {
        assert_eq!(only, rest);
    }
    String::from_utf8_lossy(&rest).into_owned()
}

proptest::proptest! {
    /// Whatever is pushed and however it is written: the queue is what a plain list would be.
    #[test]
    fn agrees_with_a_plain_model(steps in proptest::collection::vec((0u8..4, 1usize..30), 0..60)) {
        const LIMIT: usize = 120;
        let (mut outbox, mut model) = (Outbox::default(), Model::default());
        for (what, size) in steps {
            let text: String = "abcdefghijklmnopqrstuvwxyzabcd"[..size].into();
            let bytes = bytes::Bytes::from(text.clone());
            let keep = if what == 1 { Keep::Volatile } else { Keep::Always };
            match what {
                0 | 1 => {
                    let pushed = outbox.append_under(LIMIT, Item::Raw(bytes), keep);
                    let half = usize::from(model.offset > 0);
                    let is_over = |model: &Model| model.bytes() + size > LIMIT;
                    let expected = if !is_over(&model) || model.waiting.is_empty() {
                        Pushed::Queued
                    } else if keep == Keep::Volatile {
                        Pushed::Dropped
                    } else {
                        let mut nth = 0;
                        model.waiting.retain(|(keep, _)| {
                            nth += 1;
                            *keep == Keep::Always || nth <= half
                        });
                        if is_over(&model) { Pushed::Overflow } else { Pushed::Queued }
                    };
                    proptest::prop_assert_eq!(pushed, expected);
                    if expected == Pushed::Queued {
                        model.waiting.push((keep, text));
                    }
                }
                2 => {
                    let written = size.min(rest(&outbox).len());
                    outbox.advance(written);
                    model.advance(written);
                }
                _ => {
                    let half = usize::from(model.offset > 0);
                    outbox.keep_started();
                    model.waiting.truncate(half);
                }
            }
            proptest::prop_assert_eq!(outbox.bytes(), model.bytes());
            proptest::prop_assert_eq!(rest(&outbox), model.rest());
            proptest::prop_assert_eq!(outbox.is_empty(), model.waiting.is_empty());
        }
    }
}
