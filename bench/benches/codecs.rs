//! What it takes to read and write packets, without sockets: Engine.IO, Socket.IO, WebSocket heads.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidings::protocol::{
    Frame, engine,
    frame::close_frame,
    socket::{self, EventTemplate},
};

/// What a quote carries, about 130 bytes.
const QUOTE: &str = concat!(
    r#"{"ts":181234567890123,"symbol":"AAPL","price":227.52,"bid":227.51,"ask":227.53,"#,
    r#""change":1.27,"volume":48210377,"source":"bench"}"#
);
/// What a client sends to subscribe to a few symbols.
const SUBSCRIBE: &str =
    r#"217["subscribe:watchlist",{"symbols":["AAPL","MSFT","EUR/USD","BRK.B"]}]"#;
/// Packets in a poll body.
const POLLED: usize = 16;

fn engine_io(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine.io");
    let message = format!("4{SUBSCRIBE}");
    group.bench_function("decode a message", |bencher| {
        bencher.iter(|| engine::decode_text(black_box(&message)));
    });
    group.bench_function("decode a pong", |bencher| {
        bencher.iter(|| engine::decode_text(black_box("3")));
    });
    let body = vec![message.as_str(); POLLED].join("\u{1e}");
    group.throughput(Throughput::Elements(POLLED as u64));
    group.bench_function("decode a poll body of 16", |bencher| {
        bencher.iter(|| engine::decode_payload(black_box(&body)).count());
    });
    let frames = vec![quote().remove(0); POLLED];
    group.bench_function("encode a poll answer of 16", |bencher| {
        bencher.iter(|| engine::encode_payload(black_box(&frames)));
    });
    group.finish();
}

fn socket_io_decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("socket.io decode");
    let connect = r#"0{"sessionID":"3vZ6pQ0m2rY8wT1x","userId":"user-4711"}"#;
    for (name, text) in [
        ("connect", connect),
        ("event", SUBSCRIBE),
        ("ack", "317[{}]"),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| socket::decode(black_box(text)));
        });
    }
    let packet = socket::decode(SUBSCRIBE).expect("the benchmark's own packet is legal");
    let data = packet.data.expect("an event has data");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("an event's name and arguments", |bencher| {
        bencher.iter(|| socket::event(black_box(data)));
    });
    group.finish();
}

fn socket_io_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("socket.io encode");
    group.bench_function("an event", |bencher| bencher.iter(quote));
    let template = EventTemplate::new("/", "watchlist:quote", &[QUOTE], &[]);
    group.bench_function("an event that ends in a socket's offset", |bencher| {
        bencher.iter(|| template.frames(black_box(Some(r#""1-4711""#))));
    });
    group.bench_function("an acknowledgement", |bencher| {
        bencher.iter(|| socket::encode_ack("/", black_box(17), &[r#"{"ok":true}"#], &[]));
    });
    group.bench_function("a granted connect", |bencher| {
        bencher.iter(|| socket::connect("/", black_box("3vZ6pQ0m2rY8wT1xAAAB"), None));
    });
    group.finish();
}

fn websocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket");
    for length in [100, 1_000, 100_000] {
        let payload = "q".repeat(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("a frame of {length} bytes"), |bencher| {
            bencher.iter(|| Frame::text(black_box(&payload)));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("websocket, shared");
    let frame = quote().remove(0);
    group.bench_function("a frame for one more client", |bencher| {
        bencher.iter(|| black_box(&frame).clone());
    });
    group.bench_function("a close", |bencher| {
        bencher.iter(|| close_frame(black_box(1013), "too slow"));
    });
    group.finish();
}

fn quote() -> Vec<Frame> {
    socket::encode_event("/", None, black_box("watchlist:quote"), &[QUOTE], None, &[])
}

criterion_group!(
    codecs,
    engine_io,
    socket_io_decode,
    socket_io_encode,
    websocket
);
criterion_main!(codecs);
