//! Inputs for property tests: JSON as clients may send it, and text that is nearly a packet.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON value of modest size.
pub(super) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    nested(leaf, "[a-z\\PC\u{0}-\u{1f}\"]{0,6}")
}

/// JSON full of placeholders, right and wrong ones, and of things that resemble them.
pub(super) fn placeholders() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => (0..3_u64).prop_map(Value::from),
        4 => Just(Value::Bool(true)),
        1 => Just(Value::Bool(false)),
        1 => Just(Value::from("0")),
        1 => Just(Value::from("{\"_placeholder\":true,\"num\":99}")),
        1 => Just(Value::from(-1)),
        4 => (0..3_u64).prop_map(|num| serde_json::json!({"_placeholder": true, "num": num})),
    ];
    nested(leaf, "_placeholder|num|x")
}

/// Text that begins like a packet and goes on in the characters that packets are made of, or
/// like one in every way but for a character here and there.
pub(super) fn nearly_a_packet() -> impl Strategy<Value = String> {
    let head = "[0-6b]?[0-6]([0-9]{0,3}-)?(/[a-z?€\u{1e}]{0,4},?)?[0-9]{0,20}";
    let tail = r#"[\[\]{}"ab\\,: 1\u{1e}]{0,24}"#;
    let event = r#"(2|5[0-9]-)(/[a-z]{1,3},)?[0-9]{0,3}\["[a-z\\\u{1e}]{0,6}""#;
    let ack = "(3|6[0-9]-)(/[a-z]{1,3},)?[0-9]{1,3}\\[0";
    prop_oneof![
        any::<String>(),
        (head, tail).prop_map(|(head, tail)| head + &tail),
        (prop_oneof![event, ack], json()).prop_map(|(head, json)| format!("{head},{json}]")),
        json().prop_map(|json| format!("0/n,{json}")),
    ]
}

fn nested(leaf: impl Strategy<Value = Value> + 'static, key: &'static str) -> BoxedStrategy<Value> {
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
        ]
    })
    .boxed()
}
