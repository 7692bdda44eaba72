//! What the node has done, second by second. Read from the figures that shards keep anyway.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use crate::shard::{
    command::{Load, ShardHandle},
    machine::Reason,
};

/// What a node's shards have done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Connections that are open.
    open: u64,
    /// Connections that ended, by [`Reason::ALL`].
    closes: [u64; Reason::ALL.len()],
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What has happened in one second, in the form that the page knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Happened {
    /// The second, Unix milliseconds.
    timestamp: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'static str>,
    count: u64,
}

impl Totals {
    /// As they are now.
    pub(super) fn of(shards: &[ShardHandle]) -> Self {
        let sum = |figure: &dyn Fn(&Load) -> u64| shards.iter().map(|it| figure(&it.load)).sum();
        Self {
            open: sum(&|load| load.connections.load(Relaxed) as u64),
            closes: Reason::ALL.map(|reason| sum(&|load| load.closes(reason))),
            packets_in: sum(&|load| load.packets_in.load(Relaxed)),
            packets_out: sum(&|load| load.packets_out.load(Relaxed)),
            bytes_in: sum(&|load| load.bytes_in.load(Relaxed)),
            bytes_out: sum(&|load| load.written_bytes.load(Relaxed)),
        }
    }

    /// What has happened since `before`; what has not is left out.
    pub(super) fn since(&self, before: &Self, now_ms: u64) -> Vec<Happened> {
        let timestamp = now_ms - now_ms % 1000;
        let happened = |kind, sub_type, count| Happened {
            timestamp,
            kind,
            sub_type,
            count,
        };
        let closes = self.closes.iter().zip(&before.closes);
        let closes: Vec<u64> = closes
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        let closed: u64 = closes.iter().sum();
        let opened = (self.open + closed).saturating_sub(before.open);
        let mut all = vec![
            happened("rawConnection", None, opened),
            happened(
                "packetsIn",
                None,
                self.packets_in.saturating_sub(before.packets_in),
            ),
            happened(
                "packetsOut",
                None,
                self.packets_out.saturating_sub(before.packets_out),
            ),
            happened(
                "bytesIn",
                None,
                self.bytes_in.saturating_sub(before.bytes_in),
            ),
            happened(
                "bytesOut",
                None,
                self.bytes_out.saturating_sub(before.bytes_out),
            ),
        ];
        for (reason, count) in Reason::ALL.into_iter().zip(closes) {
            all.push(happened("rawDisconnection", Some(reason.name()), count));
        }
        all.retain(|happened| happened.count > 0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_what_is_new_in_it() {
        let mut before = Totals {
            open: 5,
            packets_in: 10,
            ..Totals::default()
        };
        before.closes[0] = 3;
        let mut after = before.clone();
        after.open = 4;
        after.closes[0] = 5;
        after.packets_in = 17;
        let happened = after.since(&before, 61_999);
        let text = serde_json::to_value(&happened).unwrap();
        let expected = serde_json::json!([
            { "timestamp": 61_000, "type": "rawConnection", "count": 1 },
            { "timestamp": 61_000, "type": "packetsIn", "count": 7 },
            {
                "timestamp": 61_000, "type": "rawDisconnection", "subType": "transport close",
                "count": 2,
            },
        ]);
        assert_eq!(text, expected);
        assert_eq!(after.since(&after, 0), []);
    }
}
