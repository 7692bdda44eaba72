//! PURE: what the page asks for.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    app::handler::ClientEvent,
    event::{EmitRequest, Event},
    hub::{
        MAX_ROOM,
        query::{Act, Target},
    },
};

/// Something to be done on all nodes.
#[derive(Debug)]
pub(super) enum Wish {
    /// Send an event.
    Emit(EmitRequest),
    /// Do something with sockets.
    Act(Target, Act),
}

impl Wish {
    /// What an event of the page asks for; nothing if it is not one of them, or is not well formed.
    pub(super) fn of(event: &ClientEvent<'_>) -> Option<Self> {
        let args = &event.event.args[..];
        match &*event.event.name {
            "emit" => emit(args, event.attachments),
            "join" => {
                let (namespace, room, filter) = three(args)?;
                act(namespace, filter, Act::Join(vec![room_name(room)?]))
            }
            "leave" => {
                let (namespace, room, filter) = three(args)?;
                act(namespace, filter, Act::Leave(vec![room_name(room)?]))
            }
            "_disconnect" => {
                let (namespace, close, filter) = three(args)?;
                act(namespace, filter, Act::Disconnect { close })
            }
            _ => None,
        }
    }

    /// For the log: what is done, where, and to whom. Contents of events are not in it.
    pub(super) fn said(&self) -> String {
        match self {
            Wish::Emit(request) => {
                let (namespace, rooms) = (&request.namespace, &request.rooms);
                format!("emit to {rooms:?} of {namespace}")
            }
            Wish::Act(target, act) => {
                let namespace = target.namespace.as_deref().unwrap_or_default();
                format!("{act:?} for {:?} of {namespace}", target.rooms)
            }
        }
    }
}

fn emit(args: &[&RawValue], attachments: &[Bytes]) -> Option<Wish> {
    let [namespace, filter, name, args @ ..] = args else {
        return None;
    };
    let event = Event {
        name: read(name)?,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        attachments: attachments.to_vec(),
    };
    Some(Wish::Emit(EmitRequest {
        namespace: read(namespace)?,
        rooms: one(read(filter)?).into_iter().collect(),
        except: Vec::new(),
        event,
        volatile: false,
        id: None,
        local: false,
    }))
}

fn act(namespace: String, filter: Option<String>, act: Act) -> Option<Wish> {
    let room = one(filter);
    let target = Target {
        namespace: Some(namespace),
        everybody: room.is_none(),
        rooms: room.into_iter().collect(),
        ..Target::default()
    };
    Some(Wish::Act(target, act))
}

/// A namespace, a value and a filter, which may be left out.
fn three<T: DeserializeOwned>(args: &[&RawValue]) -> Option<(String, T, Option<String>)> {
    let (namespace, value) = (read(args.first()?)?, read(args.get(1)?)?);
    let filter = match args.get(2) {
        Some(filter) => read(filter)?,
        None => None,
    };
    Some((namespace, value, filter))
}

fn read<T: DeserializeOwned>(arg: &RawValue) -> Option<T> {
    serde_json::from_str(arg.get()).ok()
}

fn room_name(room: String) -> Option<String> {
    (1..=MAX_ROOM).contains(&room.len()).then_some(room)
}

/// As with the reference, an empty filter is none.
fn one(filter: Option<String>) -> Option<String> {
    filter.filter(|filter| !filter.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::socket;

    fn wish(data: &str) -> Option<Wish> {
        Wish::of(&ClientEvent {
            event: socket::event(data).unwrap(),
            attachments: &[],
            ack: None,
        })
    }

    #[test]
    fn wishes_name_a_namespace_and_a_filter_or_everybody() {
        for (data, said, everybody) in [
            (
                r#"["join","/","r","s"]"#,
                r#"Join(["r"]) for ["s"] of /"#,
                false,
            ),
            (
                r#"["leave","/a","r"]"#,
                r#"Leave(["r"]) for [] of /a"#,
                true,
            ),
            (
                r#"["leave","/a","r",null]"#,
                r#"Leave(["r"]) for [] of /a"#,
                true,
            ),
            (
                r#"["_disconnect","/",true,"s"]"#,
                r#"Disconnect { close: true } for ["s"] of /"#,
                false,
            ),
        ] {
            let Some(wish @ Wish::Act(..)) = wish(data) else {
                panic!("{data}");
            };
            assert_eq!(wish.said(), said);
            assert!(matches!(wish, Wish::Act(target, _) if target.everybody == everybody));
        }
    }

    #[test]
    fn an_emit_keeps_its_arguments_as_they_are() {
        let Some(Wish::Emit(request)) = wish(r#"["emit","/","r","e",1.50,{"a":[ ]}]"#) else {
            panic!("no emit");
        };
        assert_eq!(
            (&*request.event.name, &request.rooms[..]),
            ("e", &["r".to_owned()][..])
        );
        let args: Vec<&str> = request.event.args.iter().map(|arg| arg.get()).collect();
        assert_eq!(args, ["1.50", r#"{"a":[ ]}"#]);
        let Some(Wish::Emit(request)) = wish(r#"["emit","/",null,"e"]"#) else {
            panic!("no emit");
        };
        assert!(request.rooms.is_empty() && request.event.args.is_empty());
    }

    #[test]
    fn what_is_not_well_formed_is_no_wish() {
        for data in [
            r#"["join"]"#,
            r#"["join","/"]"#,
            r#"["join","/",""]"#,
            r#"["join",1,"r"]"#,
            r#"["join","/","r",2]"#,
            r#"["_disconnect","/","yes"]"#,
            r#"["emit","/",null]"#,
            r#"["subscribe:trades"]"#,
        ] {
            assert!(wish(data).is_none(), "{data}");
        }
    }
}
