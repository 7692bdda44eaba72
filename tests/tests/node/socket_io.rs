//! Socket.IO 5 on the wire. Each row of the official suite and what the suite does not look at.
//!
//! `TIDINGS_REFERENCE=1 cargo test -p tidings-tests --test node socket_io::` runs the same tests against
//! the reference implementation.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tidings_tests::conformance::is_reference;
use tidings_tests::{Conformance, EnginePolling, EngineWs, Incoming, PATIENCE, Profile, SILENCE};

const PATH: &str = "/socket.io/";

async fn server() -> Conformance {
    Conformance::start(Profile::Suite).await
}

/// A connection that joined no namespace yet.
async fn opened(server: &Conformance) -> EngineWs {
    EngineWs::open(server.address(), PATH).await.0
}

/// A connection in `/`.
async fn joined(server: &Conformance) -> EngineWs {
    let mut ws = opened(server).await;
    join(&mut ws, "40", "40", "42[\"auth\",{}]").await;
    ws
}

/// Sends `connect`; takes the answer, which begins with `prefix`, and the event after it.
async fn join(ws: &mut EngineWs, connect: &str, prefix: &str, auth: &str) -> String {
    ws.send(connect).await;
    let answer = ws.text_past_pings().await;
    let body = answer
        .strip_prefix(prefix)
        .unwrap_or_else(|| panic!("{connect}: {answer}"));
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{answer}: {e}"));
    let keys: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["sid"], "{connect}: {answer}");
    assert_eq!(ws.text_past_pings().await, auth);
    body["sid"].as_str().expect("a sid").to_owned()
}

/// Checks that a fresh connection is still served.
async fn assert_serving(server: &Conformance) {
    let mut ws = joined(server).await;
    ws.send(r#"42["message",1]"#).await;
    assert_eq!(ws.text_past_pings().await, r#"42["message-back",1]"#);
}

/// Sends `packet` in a connection that is in `/`; the transport must close.
async fn assert_closes(server: &Conformance, packet: &str) {
    let mut ws = joined(server).await;
    let begun = Instant::now();
    ws.send(packet).await;
    let mut pings = 0;
    loop {
        match ws.recv().await {
            Incoming::Closed(_) => break,
            Incoming::Text(text) if text == "2" => {
                // Answered, so that only the packet can be what closes it.
                ws.send("3").await;
                pings += 1;
                assert!(
                    pings < 10,
                    "{packet:?} left it open for {:?}",
                    begun.elapsed()
                );
            }
            other => panic!("{packet:?} was answered with {other:?}"),
        }
    }
}

mod connect {
    use super::*;

    #[tokio::test]
    async fn to_the_main_namespace_answers_with_an_id_only() {
        let server = server().await;
        joined(&server).await;
    }

    #[tokio::test]
    async fn hands_its_payload_to_the_application() {
        let server = server().await;
        let mut ws = opened(&server).await;
        join(
            &mut ws,
            r#"40{"token":"123"}"#,
            "40",
            r#"42["auth",{"token":"123"}]"#,
        )
        .await;
    }

    #[tokio::test]
    async fn to_another_namespace_needs_no_main_one() {
        let server = server().await;
        let mut ws = opened(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            r#"42/custom,["auth",{}]"#,
        )
        .await;
        let mut ws = opened(&server).await;
        let auth = r#"42/custom,["auth",{"token":"abc"}]"#;
        join(&mut ws, r#"40/custom,{"token":"abc"}"#, "40/custom,", auth).await;
    }

    #[tokio::test]
    async fn to_an_unknown_namespace_is_an_error_and_no_more() {
        let server = server().await;
        let mut ws = opened(&server).await;
        for connect in ["40/random", "40/random,", r#"40/random,{"token":1}"#] {
            ws.send(connect).await;
            let answer = ws.text_past_pings().await;
            assert_eq!(answer, r#"44/random,{"message":"Invalid namespace"}"#);
        }
        join(&mut ws, "40", "40", "42[\"auth\",{}]").await;
    }

    #[tokio::test]
    async fn gives_ids_that_tell_nothing_of_each_other_or_the_engine() {
        let server = server().await;
        let (mut ws, handshake) = EngineWs::open(server.address(), PATH).await;
        let main = join(&mut ws, "40", "40", "42[\"auth\",{}]").await;
        let custom = join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        let engine = handshake["sid"].as_str().expect("a sid").to_owned();
        let ids = HashSet::from([engine, main, custom]);
        assert_eq!(ids.len(), 3, "{ids:?}");
    }

    #[tokio::test]
    async fn with_a_payload_that_is_no_object_closes() {
        let server = server().await;
        for packet in ["40[]", "40\"text\"", "40true", "40{", "40{\"a\":}"] {
            let mut ws = opened(&server).await;
            ws.send(packet).await;
            ws.closed().await;
        }
    }

    #[tokio::test]
    async fn twice_to_one_namespace_closes() {
        let server = server().await;
        assert_closes(&server, "40").await;
    }

    #[tokio::test]
    async fn that_never_comes_closes_in_time() {
        let server = server().await;
        let begun = Instant::now();
        let mut ws = opened(&server).await;
        loop {
            match ws.recv().await {
                Incoming::Text(text) if text == "2" => ws.send("3").await,
                Incoming::Closed(_) => break,
                other => panic!("the end was due, came {other:?}"),
            }
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(950), "closed after {took:?}");
        assert!(took < PATIENCE / 2, "closed only after {took:?}");
    }

    #[tokio::test]
    async fn must_come_before_anything_else() {
        let server = server().await;
        for packet in [
            "4abc",
            r#"42["message",1]"#,
            "41",
            r#"43["x"]"#,
            r#"43/custom,1["x"]"#,
        ] {
            let mut ws = opened(&server).await;
            ws.send(packet).await;
            ws.closed().await;
        }
    }
}

mod disconnect {
    use super::*;

    #[tokio::test]
    async fn of_the_last_namespace_leaves_the_engine_open() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send("41").await;
        assert_eq!(ws.text().await, "2");
        ws.send("3").await;
        assert_eq!(ws.text().await, "2");
    }

    #[tokio::test]
    async fn of_one_namespace_leaves_the_others() {
        let server = server().await;
        let mut ws = joined(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        ws.send("41/custom,").await;
        ws.send(r#"42["message","message to main namespace"]"#)
            .await;
        let answer = ws.text_past_pings().await;
        assert_eq!(answer, r#"42["message-back","message to main namespace"]"#);
    }

    #[tokio::test]
    async fn may_be_followed_by_another_connect() {
        let server = server().await;
        let mut ws = joined(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        ws.send("41").await;
        // The reference takes a CONNECT on the heels of a DISCONNECT for a second one.
        ws.send(r#"42/custom,["message",1]"#).await;
        assert_eq!(
            ws.text_past_pings().await,
            r#"42/custom,["message-back",1]"#
        );
        join(&mut ws, "40", "40", "42[\"auth\",{}]").await;
    }

    #[tokio::test]
    async fn makes_events_there_a_fault() {
        let server = server().await;
        let mut ws = joined(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        ws.send("41/custom,").await;
        ws.send(r#"42/custom,["message",1]"#).await;
        ws.closed().await;
    }
}

mod events {
    use super::*;

    async fn assert_echo(packet: &str, answer: &str) {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send(packet).await;
        assert_eq!(ws.text_past_pings().await, answer);
    }

    #[tokio::test]
    async fn come_back_byte_for_byte() {
        assert_echo(
            r#"42["message",1,"2",{"3":[true]}]"#,
            r#"42["message-back",1,"2",{"3":[true]}]"#,
        )
        .await;
    }

    #[tokio::test]
    async fn keep_the_order_of_keys() {
        assert_echo(
            r#"42["message",{"z":1,"a":{"y":null,"b":-1.5e-7}}]"#,
            r#"42["message-back",{"z":1,"a":{"y":null,"b":-1.5e-7}}]"#,
        )
        .await;
    }

    #[tokio::test]
    async fn may_have_no_arguments() {
        assert_echo(r#"42["message"]"#, r#"42["message-back"]"#).await;
    }

    #[tokio::test]
    async fn may_hold_any_text() {
        let server = server().await;
        let mut ws = joined(&server).await;
        let texts = [
            "é€😀",
            "\u{2028}\u{0}\"\\",
            "451-[\"x\",{\"_placeholder\":true,\"num\":0}]",
        ];
        for text in texts {
            ws.send(format!("42{}", json!(["message", text]))).await;
            let answer = ws.text_past_pings().await;
            let body: Value = serde_json::from_str(&answer[2..]).expect("JSON");
            assert_eq!(body, json!(["message-back", text]));
        }
    }

    #[tokio::test]
    async fn may_be_written_loosely() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send("42[ \"mess\\u0061ge\" ,\t{ \"a\" : [ 1 ,\n2 ] } ]")
            .await;
        let answer = ws.text_past_pings().await;
        let body: Value = serde_json::from_str(&answer[2..]).expect("JSON");
        assert_eq!(body, json!(["message-back", {"a": [1, 2]}]));
    }

    #[tokio::test]
    async fn go_to_their_namespace() {
        let server = server().await;
        let mut ws = joined(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        ws.send(r#"42/custom,["message",1]"#).await;
        ws.send(r#"42["message",2]"#).await;
        // `/custom` has no such handler that answers in `/`.
        assert_eq!(
            ws.text_past_pings().await,
            r#"42/custom,["message-back",1]"#
        );
        assert_eq!(ws.text_past_pings().await, r#"42["message-back",2]"#);
    }

    #[tokio::test]
    async fn keep_their_order() {
        let server = server().await;
        let mut ws = joined(&server).await;
        for n in 0..200 {
            ws.send(format!(r#"42["message",{n}]"#)).await;
        }
        for n in 0..200 {
            assert_eq!(
                ws.text_past_pings().await,
                format!(r#"42["message-back",{n}]"#)
            );
        }
    }

    #[tokio::test]
    async fn that_nobody_handles_are_ignored() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send(r#"42["nobody",1]"#).await;
        ws.send(r#"42[12,"a name may be a number"]"#).await;
        ws.send(r#"42["message",1]"#).await;
        assert_eq!(ws.text_past_pings().await, r#"42["message-back",1]"#);
    }

    #[tokio::test]
    async fn with_reserved_names_close() {
        let server = server().await;
        for name in [
            "connect",
            "connect_error",
            "disconnect",
            "disconnecting",
            "newListener",
            "removeListener",
        ] {
            assert_closes(&server, &format!(r#"42["{name}",1]"#)).await;
        }
        assert_serving(&server).await;
    }

    #[tokio::test]
    async fn in_a_namespace_that_was_not_joined_close() {
        let server = server().await;
        assert_closes(&server, r#"42/custom,["message",1]"#).await;
        assert_closes(&server, r#"42/random,["message",1]"#).await;
    }

    #[tokio::test]
    async fn that_are_malformed_close() {
        let server = server().await;
        for packet in [
            "4abc",
            "42{}",
            "42abc[\"message\",1]",
            "42[",
            "42[]",
            "42[null]",
            "42[{}]",
            "42[true,1]",
            "42\"message\"",
            "42[\"message\",]",
            "42[\"message\"]x",
            "42[\"message\",\u{1}]",
            "42[\"message\",NaN]",
            "47[\"message\"]",
            "48",
            "4[\"message\"]",
            "41{}",
            "4310{}",
        ] {
            assert_closes(&server, packet).await;
        }
        assert_serving(&server).await;
    }

    #[tokio::test]
    async fn nested_beyond_reason_harm_nobody_else() {
        if is_reference() {
            // Its recursive search for attachments overflows: ours must not.
            return;
        }
        let mut server = server().await;
        let mut ws = joined(&server).await;
        let depth = 200_000;
        ws.send(format!(
            "42[\"message\",{}{}]",
            "[".repeat(depth),
            "]".repeat(depth)
        ))
        .await;
        // Echoed or closed: both are sound.
        ws.recv().await;
        assert_serving(&server).await;
        server.assert_alive();
    }
}

mod acknowledgements {
    use super::*;

    #[tokio::test]
    async fn carry_the_id_that_was_asked_with() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#)
            .await;
        assert_eq!(ws.text_past_pings().await, r#"43456[1,"2",{"3":[false]}]"#);
        ws.send(r#"420["message-with-ack"]"#).await;
        assert_eq!(ws.text_past_pings().await, "430[]");
        ws.send(r#"429007199254740991["message-with-ack",0]"#).await;
        assert_eq!(ws.text_past_pings().await, "439007199254740991[0]");
    }

    #[tokio::test]
    async fn come_in_the_namespace_of_the_event() {
        let server = server().await;
        let mut ws = opened(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        ws.send(r#"42/custom,7["message-with-ack",1]"#).await;
        assert_eq!(ws.text_past_pings().await, "43/custom,7[1]");
    }

    #[tokio::test]
    async fn that_nobody_asked_for_are_ignored() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send("43999[1]").await;
        ws.send("43999[1]").await;
        ws.send(r#"42["message",1]"#).await;
        assert_eq!(ws.text_past_pings().await, r#"42["message-back",1]"#);
    }
}

mod attachments {
    use super::*;

    #[tokio::test]
    async fn come_back_in_order() {
        let server = server().await;
        let mut ws = joined(&server).await;
        let args = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
        ws.send(format!(r#"452-["message",{args}]"#)).await;
        ws.send_binary(vec![1, 2, 3]).await;
        ws.send_binary(vec![4, 5, 6]).await;
        assert_eq!(
            ws.text_past_pings().await,
            format!(r#"452-["message-back",{args}]"#)
        );
        assert_eq!(ws.binary().await[..], [1, 2, 3]);
        assert_eq!(ws.binary().await[..], [4, 5, 6]);
    }

    #[tokio::test]
    async fn come_back_in_an_acknowledgement() {
        let server = server().await;
        let mut ws = joined(&server).await;
        let args = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
        ws.send(format!(r#"452-789["message-with-ack",{args}]"#))
            .await;
        ws.send_binary(vec![1, 2, 3]).await;
        ws.send_binary(Vec::new()).await;
        assert_eq!(ws.text_past_pings().await, format!("462-789[{args}]"));
        assert_eq!(ws.binary().await[..], [1, 2, 3]);
        assert_eq!(ws.binary().await[..], [0_u8; 0]);
    }

    #[tokio::test]
    async fn go_to_their_namespace() {
        let server = server().await;
        let mut ws = opened(&server).await;
        join(
            &mut ws,
            "40/custom,",
            "40/custom,",
            "42/custom,[\"auth\",{}]",
        )
        .await;
        let event = r#"451-/custom,3["message-with-ack",{"a":{"_placeholder":true,"num":0}}]"#;
        ws.send(event).await;
        ws.send_binary(vec![9]).await;
        let answer = r#"461-/custom,3[{"a":{"_placeholder":true,"num":0}}]"#;
        assert_eq!(ws.text_past_pings().await, answer);
        assert_eq!(ws.binary().await[..], [9]);
    }

    #[tokio::test]
    async fn go_over_polling_as_base64() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        polling.send(&["40"]).await;
        let mut got = Vec::new();
        while got.len() < 2 {
            got.extend(polling.poll().await);
        }
        let event = r#"451-["message",{"_placeholder":true,"num":0}]"#;
        let bytes = format!("b{}", BASE64.encode([0, 255]));
        polling.send(&[event, &bytes]).await;
        let mut got = Vec::new();
        while got.len() < 2 {
            got.extend(
                polling
                    .poll()
                    .await
                    .into_iter()
                    .filter(|packet| packet != "2"),
            );
        }
        let answer = r#"451-["message-back",{"_placeholder":true,"num":0}]"#;
        assert_eq!(got, [answer, bytes.as_str()]);
    }

    #[tokio::test]
    async fn are_at_most_ten() {
        let server = server().await;
        let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        let args: Vec<_> = (0..10).map(placeholder).collect();
        let mut ws = joined(&server).await;
        ws.send(format!(r#"4510-["message",{}]"#, args.join(",")))
            .await;
        for n in 0..10 {
            ws.send_binary(vec![n]).await;
        }
        let answer = format!(r#"4510-["message-back",{}]"#, args.join(","));
        assert_eq!(ws.text_past_pings().await, answer);
        for n in 0..10 {
            assert_eq!(ws.binary().await[..], [n]);
        }
        let args: Vec<_> = (0..11).map(placeholder).collect();
        assert_closes(&server, &format!(r#"4511-["message",{}]"#, args.join(","))).await;
        assert_closes(&server, r#"4599999999999999999999-["message"]"#).await;
    }

    #[tokio::test]
    async fn that_are_due_admit_no_text_between() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send(r#"451-["message",{"_placeholder":true,"num":0}]"#)
            .await;
        ws.send(r#"42["message",1]"#).await;
        ws.closed().await;
    }

    #[tokio::test]
    async fn that_are_due_admit_pongs_between() {
        let server = server().await;
        let mut ws = joined(&server).await;
        let event = r#"451-["message",{"_placeholder":true,"num":0}]"#;
        ws.send(event).await;
        assert_eq!(ws.text().await, "2");
        ws.send("3").await;
        ws.send_binary(vec![1]).await;
        assert_eq!(
            ws.text_past_pings().await,
            event.replace("message", "message-back")
        );
    }

    #[tokio::test]
    async fn that_nobody_announced_close() {
        let server = server().await;
        let mut ws = joined(&server).await;
        ws.send_binary(vec![1, 2, 3]).await;
        ws.closed().await;
        assert_serving(&server).await;
    }

    #[tokio::test]
    async fn with_an_illegal_placeholder_close() {
        let server = server().await;
        for num in ["-1", "1", "\"0\"", "null", "1e9"] {
            let mut ws = joined(&server).await;
            let event = format!(r#"451-["message",{{"_placeholder":true,"num":{num}}}]"#);
            ws.send(event).await;
            ws.send_binary(vec![1]).await;
            ws.closed().await;
        }
        assert_serving(&server).await;
    }

    #[tokio::test]
    async fn with_an_illegal_count_close() {
        let server = server().await;
        for packet in [
            r#"45["message"]"#,
            r#"45-["message"]"#,
            r#"45x-["message"]"#,
            r#"451["message"]"#,
        ] {
            assert_closes(&server, packet).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_unasked() {
    let server = server().await;
    let mut ws = joined(&server).await;
    assert_eq!(ws.text().await, "2");
    ws.send("3").await;
    ws.silent_for(SILENCE.min(Duration::from_millis(200))).await;
}
