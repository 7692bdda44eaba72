//! What a client answers and counts, whatever pieces its input comes in.

use proptest::{collection::vec, prelude::any, proptest};

use super::*;

const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

fn plan() -> Plan {
    Plan {
        host: "test".into(),
        path: "/socket.io/".into(),
        auth: Some(r#"{"userId":"u{n}"}"#.parse().unwrap()),
        subscribe: Some(r#"["subscribe:bench"]"#.parse().unwrap()),
        expect: Expect::Stamps,
        transport: Transport::WebSocket,
    }
}

fn server(opcode: u8, payload: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, payload.len() as u8];
    frame.extend_from_slice(payload.as_bytes());
    frame
}

fn masked(payload: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_text(payload, &mut out);
    out
}

/// A client that has been told all of `input` in pieces of `piece` bytes.
fn told(input: &[u8], piece: usize) -> (Client, Tally, Result<Vec<u8>, ClientError>) {
    let (mut client, mut tally, mut out) =
        (Client::new(5, 400, &plan()), Tally::default(), Vec::new());
    let mut pending = Vec::new();
    for bytes in input.chunks(piece) {
        pending.extend_from_slice(bytes);
        match client.receive(&pending, 1_000, &plan(), &mut tally, &mut out) {
            Ok(used) => drop(pending.drain(..used)),
            Err(error) => return (client, tally, Err(error)),
        }
    }
    (client, tally, Ok(out))
}

fn session(rest: &[Vec<u8>]) -> Vec<u8> {
    let mut input = HEAD.to_vec();
    input.extend(server(1, r#"0{"sid":"x"}"#));
    input.extend(server(1, r#"40{"sid":"y"}"#));
    input.extend(rest.concat());
    input
}

#[test]
fn connects_subscribes_counts_in_pieces_of_any_size() {
    let input = session(&[
        server(1, r#"430[{"ok":true}]"#),
        server(1, r#"42["quote",{"ts":400,"p":1}]"#),
        server(1, "2"),
        server(1, r#"42["quote",{"ts":900,"p":2}]"#),
        server(1, r#"42["quote",{"ts":900,"p":2}]"#),
    ]);
    for piece in 1..input.len() {
        let (client, tally, out) = told(&input, piece);
        let said = [r#"40{"userId":"u5"}"#, r#"420["subscribe:bench"]"#, "3"].map(masked);
        assert_eq!(out, Ok(said.concat()));
        assert_eq!((tally.ready, tally.events, client.events()), (1, 3, 3));
        assert_eq!((tally.bytes, tally.faults.repeated), (84, 1));
        assert_eq!(tally.ready_after.quantile(1.0), 600);
        assert_eq!(
            (tally.latency.total(), tally.latency.quantile(1.0)),
            (3, 600)
        );
    }
}

#[test]
fn each_refusal_is_told_apart() {
    let failed = |input: &[u8]| told(input, input.len()).2.unwrap_err();
    let refused = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n";
    let status = "HTTP/1.1 429 Too Many Requests".to_owned();
    assert_eq!(failed(refused), ClientError::Upgrade(status));

    let mut input = HEAD.to_vec();
    input.extend(server(1, "0{}"));
    input.extend(server(1, r#"44{"message":"no"}"#));
    assert_eq!(
        failed(&input),
        ClientError::Connect(r#"{"message":"no"}"#.into())
    );

    let answer = r#"0[{"ok":false}]"#;
    let input = session(&[server(1, &format!("43{answer}"))]);
    assert_eq!(failed(&input), ClientError::Subscribe(answer.into()));

    let input = session(&[server(1, "41")]);
    assert_eq!(failed(&input), ClientError::Disconnected);

    let input = session(&[server(8, "\u{3}\u{4}why")]);
    assert_eq!(
        failed(&input),
        ClientError::Closed {
            code: 772,
            reason: "why".into()
        }
    );
}

#[test]
fn websocket_ping_is_answered() {
    let (_, _, out) = told(&session(&[server(9, "hey")]), 4096);
    let mut pong = Vec::new();
    frame::encode_pong(b"hey", &mut pong);
    assert!(out.unwrap().ends_with(&pong));
}

#[test]
fn a_probe_counts_from_when_it_was_due_to_its_acknowledgement() {
    let (mut client, mut tally, out) = told(&session(&[server(1, r#"430[{"ok":true}]"#)]), 64);
    let mut out = out.unwrap();
    assert_eq!(client.answered(), Some(0));
    client.ask(r#"["probe"]"#, 300, &mut out);
    assert!(out.ends_with(&masked(r#"421["probe"]"#)));
    assert_eq!(client.answered(), None);
    let answer = server(1, r#"431[{"ok":false}]"#);
    let mut hear =
        |client: &mut Client| client.receive(&answer, 1_000, &plan(), &mut tally, &mut Vec::new());
    hear(&mut client).unwrap();
    assert_eq!(client.answered(), Some(1_000));
    assert!(hear(&mut client).is_err(), "nothing was asked any more");
    assert_eq!((tally.acks.total(), tally.acks.quantile(1.0)), (1, 700));
    assert_eq!(tally.refused_acks, 1);
}

proptest! {
    #[test]
    fn never_panics_on_what_a_server_sends(bytes in vec(any::<u8>(), 0..200)) {
        let _ = told(&[HEAD, &bytes].concat(), 64);
    }
}
