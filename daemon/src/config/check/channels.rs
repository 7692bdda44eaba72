//! Channels that contradict each other: offered nowhere, open where others are private, of two classes.

use super::quoted;
use crate::config::{
    Channel, Class, Config, RoomTemplate, kind, problem::Problems, room::USER_VARIABLE,
};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    for (at, (name, channel)) in config.channels.iter().enumerate() {
        check_offered(config, name, channel, problems);
        check_private_rooms(config, name, channel, problems);
        for (earlier, other) in config.channels.iter().take(at) {
            check_one_class(name, channel, earlier, other, problems);
        }
    }
}

fn check_offered(config: &Config, name: &str, channel: &Channel, problems: &mut Problems) {
    let names: Vec<_> = config
        .namespaces
        .iter()
        .map(|namespace| &*namespace.name)
        .collect();
    if !names.contains(&channel.namespace.as_str()) {
        let what = format!("is not among [[namespaces]]: {}", names.join(", "));
        let key = format!("channels.{name}.namespace");
        problems.conflict(
            &key,
            quoted(&channel.namespace),
            &["namespaces", "namespaces.name"],
            what,
        );
    }
}

/// A room without `{user}` must not be able to be a room with it: anyone could join there.
fn check_private_rooms(config: &Config, name: &str, channel: &Channel, problems: &mut Problems) {
    let own = RoomTemplate::parse(&format!("user:{{{USER_VARIABLE}}}"));
    let own = own.expect("the template of users' own rooms is legal");
    let same_namespace = |other: &&Channel| other.namespace == channel.namespace;
    let rooms = config
        .channels
        .values()
        .filter(same_namespace)
        .flat_map(|other| &other.rooms);
    let private: Vec<_> = rooms
        .filter(|room| room.is_per_user())
        .chain([&own])
        .collect();
    for open in channel.rooms.iter().filter(|room| !room.is_per_user()) {
        if let Some(private) = private.iter().find(|private| private.overlaps(open)) {
            let what = format!(
                "covers rooms of \"{private}\": any client could join what is for one user alone"
            );
            problems.conflict(&format!("channels.{name}.rooms"), quoted(open), &[], what);
        }
    }
}

/// A room has one class, so rooms of channels that differ in it must differ too.
fn check_one_class(
    name: &str,
    channel: &Channel,
    other_name: &str,
    other: &Channel,
    problems: &mut Problems,
) {
    let alike = channel.class == other.class
        && channel.interval == other.interval
        && channel.keeps == other.keeps;
    if alike || channel.namespace != other.namespace {
        return;
    }
    let pairs = channel
        .rooms
        .iter()
        .flat_map(|room| other.rooms.iter().map(move |o| (room, o)));
    if let Some((room, shared)) = pairs.into_iter().find(|(room, o)| room.overlaps(o)) {
        let what = format!(
            "can be a room of channels.{other_name} (\"{shared}\", {}) too, and a room has one \
             class; this one is {}",
            class_text(other),
            class_text(channel)
        );
        let others = [
            format!("channels.{other_name}.rooms"),
            format!("channels.{other_name}.class"),
            format!("channels.{name}.class"),
        ];
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        problems.conflict(
            &format!("channels.{name}.rooms"),
            quoted(room),
            &others,
            what,
        );
    }
}

fn class_text(channel: &Channel) -> String {
    match channel.class {
        Class::Conflated => {
            format!(
                "conflated every {}",
                kind::units::duration_text(channel.interval)
            )
        }
        class => class.name().to_owned(),
    }
}
