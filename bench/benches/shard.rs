//! What a shard does for each emit and delivery but the system call: rooms and outboxes.

use std::{hint::black_box, io::IoSlice, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidings::{
    protocol::Frame,
    shard::{
        outbox::{Keep, Outbox},
        rooms::Rooms,
    },
};

/// Clients of the shard.
const CLIENTS: u32 = 10_000;
/// Rooms of the watchlist,
const ROOMS: u32 = 5_000;
/// and how many of them each client is in.
const EACH: u32 = 50;
/// The main namespace.
const NAMESPACE: u32 = 0;
/// Bytes that may wait for a client.
const LIMIT: usize = 1 << 20;
/// Slices of one vectored write.
const SLICES: usize = 64;

fn names() -> Vec<Arc<str>> {
    (0..ROOMS)
        .map(|room| format!("quote:S{room:04}").into())
        .collect()
}

/// All clients in their rooms. 7 and 5,000 have no factor in common, so no client is twice in one.
fn watchlist(names: &[Arc<str>]) -> Rooms {
    let mut rooms = Rooms::default();
    for client in 0..CLIENTS {
        for place in 0..EACH {
            let room = (client * 31 + place * 7) % ROOMS;
            rooms.join(NAMESPACE, &names[room as usize], client);
        }
    }
    rooms
}

fn rooms(criterion: &mut Criterion) {
    let names = names();
    let mut rooms = watchlist(&names);
    let mut group = criterion.benchmark_group("rooms");
    group.bench_function("find the members of one of 5,000", |bencher| {
        bencher.iter(|| rooms.members(NAMESPACE, black_box("quote:S4711")).len());
    });
    group.bench_function("join and leave a 51st", |bencher| {
        let name: Arc<str> = "news".into();
        bencher.iter(|| {
            rooms.join(NAMESPACE, black_box(&name), 17);
            rooms.leave(NAMESPACE, &name, 17)
        });
    });
    group.throughput(Throughput::Elements(EACH.into()));
    group.bench_function("join 50 and leave all", |bencher| {
        bencher.iter(|| {
            for name in &names[..EACH as usize] {
                rooms.join(NAMESPACE, name, CLIENTS);
            }
            rooms.leave_all(CLIENTS).len()
        });
    });
    group.finish();
}

fn outbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbox");
    let frame = quote();
    for count in [1, 16] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("push and write {count}"), |bencher| {
            let mut outbox = Outbox::default();
            bencher.iter(|| {
                for _ in 0..count {
                    outbox.push(black_box(&frame).clone(), Keep::Always, LIMIT);
                }
                write(&mut outbox)
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("replace one of 100 that wait", |bencher| {
        let mut outbox = Outbox::default();
        for key in 0..100 {
            outbox.push(frame.clone(), Keep::Newest(key), LIMIT);
        }
        bencher.iter(|| outbox.push(black_box(&frame).clone(), Keep::Newest(50), LIMIT));
    });
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut rooms = Rooms::default();
    let name: Arc<str> = "bench".into();
    for client in 0..CLIENTS {
        rooms.join(NAMESPACE, &name, client);
    }
    let frame = quote();
    let mut group = criterion.benchmark_group("fan-out to 10,000");
    group.throughput(Throughput::Elements(CLIENTS.into()));
    for count in [1, 16] {
        group.bench_function(
            format!("{count} frames to each outbox, written"),
            |bencher| {
                bencher.iter_batched_ref(
                    || -> Vec<Outbox> { (0..CLIENTS).map(|_| Outbox::default()).collect() },
                    |outboxes| {
                        for _ in 0..count {
                            for member in rooms.members(NAMESPACE, black_box("bench")) {
                                let outbox = &mut outboxes[*member as usize];
                                outbox.push(frame.clone(), Keep::Always, LIMIT);
                            }
                        }
                        outboxes.iter_mut().map(write).sum::<usize>()
                    },
                    BatchSize::LargeInput,
                );
            },
        );
    }
    group.finish();
}

/// Gathers what waits and forgets it, as if the socket had taken all of it.
fn write(outbox: &mut Outbox) -> usize {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.slices(&mut slices);
    let bytes = black_box(&slices[..count])
        .iter()
        .map(|slice| slice.len())
        .sum();
    outbox.advance(bytes);
    bytes
}

fn quote() -> Frame {
    Frame::text(concat!(
        r#"42["quote",{"ts":181234567890123,"symbol":"AAPL","price":227.52,"bid":227.51,"#,
        r#""ask":227.53,"change":1.27,"volume":48210377,"source":"bench"}]"#
    ))
}

criterion_group!(shard, rooms, outbox, fan_out);
criterion_main!(shard);
