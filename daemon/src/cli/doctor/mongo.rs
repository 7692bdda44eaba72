//! The MongoDB that an application shares: whether it is there, and whether this node may do there
//! what it is configured for. Nothing is written.

use std::collections::BTreeSet;

use tidings_storage::mongo::{LEASES, Mongo, MongoError, Rights};

use super::{Finding, Patient};
use crate::{config::Config, gateway};

const ABOUT: &str = "mongodb";

/// What clocks may differ by, milliseconds, beside the time that an answer takes.
const SLACK_MS: i64 = 2000;

/// A right that is needed on a collection, and for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    collection: String,
    action: &'static str,
    what_for: &'static str,
    /// Whether there is another way without it.
    is_vital: bool,
}

pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mongo = match gateway::open_mongo(config) {
        Ok(Some(mongo)) => mongo,
        Ok(None) => return vec![Finding::ok(ABOUT, "none is configured")],
        Err(error) => {
            return vec![Finding::problem(ABOUT, error.to_string()).advise("see mongodb.uri")];
        }
    };
    let about = match mongo.about().await {
        Ok(about) => about,
        Err(error) => return vec![unreachable(&error)],
    };
    let name = mongo.database_name().to_owned();
    let kind = match about.has_streams {
        true => "with change streams",
        false => "without change streams: ends of sessions are looked for",
    };
    let mut findings = vec![Finding::ok(ABOUT, format!("it answers, {kind}"))];
    if !about.has_streams && !config.mongodb.streams.is_empty() {
        let what = "[[mongodb.streams]] needs a replica set, and this server is none";
        findings.push(
            Finding::problem(ABOUT, what).advise("start it with --replSet and rs.initiate() it"),
        );
    }
    findings.extend(judge_clock(patient.now * 1000, about.now_ms));
    match mongo.rights().await {
        Ok(rights) => {
            let needs = needs(config, about.has_streams);
            findings.extend(of_rights(&mongo, &rights, &name, &needs).await);
        }
        Err(error) => findings.push(unreachable(&error)),
    }
    findings
}

fn unreachable(error: &MongoError) -> Finding {
    let advice = match error {
        MongoError::Refused(_) => "see the user and the password in mongodb.uri, and authSource",
        _ => {
            "see that it runs, that mongodb.uri names it, and firewalls; mongodb.timeout bounds the wait"
        }
    };
    Finding::problem(ABOUT, error.to_string()).advise(advice)
}

/// `now` was taken some seconds ago at most.
fn judge_clock(now_ms: i64, theirs_ms: i64) -> Option<Finding> {
    /// How long looking at the rest may have taken.
    const LOOKING_MS: i64 = 30_000;
    let ahead = theirs_ms - now_ms;
    let apart = match ahead {
        _ if theirs_ms == 0 => return None,
        ahead if ahead < -SLACK_MS => -ahead,
        ahead if ahead > LOOKING_MS + SLACK_MS => ahead,
        _ => return None,
    };
    let what = format!("its clock and this one are {} s apart", apart / 1000);
    let advice =
        "sessions end by these clocks: keep both right, with timedatectl set-ntp true or chrony";
    Some(Finding::warning("clock", what).advise(advice))
}

fn needs(config: &Config, has_streams: bool) -> BTreeSet<Need> {
    let mongodb = &config.mongodb;
    let mut needs = BTreeSet::new();
    let mut need = |collection: &str, actions: &[&'static str], what_for, is_vital| {
        for action in actions {
            needs.insert(Need {
                collection: collection.to_owned(),
                action,
                what_for,
                is_vital,
            });
        }
    };
    if !mongodb.sessions.is_empty() && config.auth.mode == crate::config::AuthMode::Session {
        need(&mongodb.sessions, &["find"], "logins", true);
        if has_streams {
            need(
                &mongodb.sessions,
                &["changeStream"],
                "logouts at once",
                false,
            );
        }
    }
    for channel in config.channels.values() {
        if let Some(snapshot) = &channel.snapshot {
            need(&snapshot.collection, &["find"], "snapshots", true);
        }
        if let Some(stored) = &channel.stored {
            need(&stored.collection, &["find"], "stored lists", true);
        }
    }
    for stream in &mongodb.streams {
        need(
            &stream.collection,
            &["find", "changeStream"],
            "streams",
            true,
        );
        need(LEASES, &["find", "insert", "update"], "streams", true);
    }
    needs
}

async fn of_rights(
    mongo: &Mongo,
    rights: &Rights,
    database: &str,
    needs: &BTreeSet<Need>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if rights.is_known() {
        let missing = |need: &&Need| !rights.allow(database, &need.collection, need.action);
        findings.extend(needs.iter().filter(missing).map(|it| lacking(it, database)));
    } else {
        // Nobody has logged in: the server may ask for that or not.
        for need in needs.iter().filter(|need| need.action == "find") {
            match mongo.may_read(&need.collection).await {
                Err(MongoError::Refused(_)) => findings.push(lacking(need, database)),
                Err(error) => return vec![unreachable(&error)],
                Ok(()) => {}
            }
        }
    }
    if findings.is_empty() {
        let count = needs.len();
        findings.push(Finding::ok(
            ABOUT,
            format!("all {count} rights that are needed are there"),
        ));
    }
    findings
}

fn lacking(need: &Need, database: &str) -> Finding {
    let Need {
        collection,
        action,
        what_for,
        is_vital,
    } = need;
    let what = format!("no right to {action} on {database}.{collection}, needed for {what_for}");
    let advice = match *action {
        "insert" | "update" => "grant the role readWrite, or a role with this right alone",
        _ => "grant the role read on the database; docs/mongodb.md, Rights",
    };
    let finding = match is_vital {
        true => Finding::problem(ABOUT, what),
        false => Finding::warning(ABOUT, what),
    };
    finding.advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_noticed_though_looking_takes_time() {
        assert_eq!(judge_clock(100_000, 100_000), None);
        assert_eq!(judge_clock(100_000, 110_000), None);
        assert!(
            judge_clock(100_000, 90_000)
                .unwrap()
                .what
                .contains("10 s apart")
        );
        assert!(
            judge_clock(100_000, 200_000)
                .unwrap()
                .what
                .contains("100 s apart")
        );
        assert_eq!(judge_clock(100_000, 0), None);
    }

    #[test]
    fn what_is_configured_says_which_rights_are_needed() {
        let config = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            Config::load(Some(file.path()), []).unwrap()
        };
        let plain = config("[mongodb]\nuri = 'mongodb://db/app'\nsnapshots = false");
        let of = |config: &Config, streams| -> Vec<String> {
            let needs = needs(config, streams);
            needs
                .iter()
                .map(|it| format!("{} {}", it.collection, it.action))
                .collect()
        };
        assert_eq!(of(&plain, false), ["sessions find"]);
        assert_eq!(of(&plain, true), ["sessions changeStream", "sessions find"]);
        let all = config(
            "[mongodb]\nuri = 'mongodb://db/app'\nsessions = ''\n[[mongodb.streams]]\nname = 's'
             collection = 'c'\nevent = 'e'\nroom = 'r'",
        );
        assert_eq!(
            of(&all, true),
            [
                "c changeStream",
                "c find",
                "portfolios find",
                "tidings_leases find",
                "tidings_leases insert",
                "tidings_leases update",
                "trades find",
                "watchlists find",
            ]
        );
    }
}
