//! `tidings reload`: the running daemon reads its settings anew.

use serde_json::Value;

use super::{CliError, admin, args::Target};

/// Has the daemon reload, and answers what to print.
pub(super) fn run(target: &Target) -> Result<String, CliError> {
    admin::running(target, ("POST", admin::RELOAD), words)
}

fn words(said: &Value) -> String {
    let list = |name: &str| {
        let items = said[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
        items.join(", ")
    };
    let applied = match list("applied") {
        none if none.is_empty() => "nothing has changed that could be taken over\n".to_owned(),
        keys => format!("taken over: {keys}\n"),
    };
    match list("restart") {
        none if none.is_empty() => applied,
        keys => format!("{applied}changed, and in need of a restart: {keys}\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_was_taken_over_and_what_was_not() {
        let said = json!({"applied": ["http.origins", "channels.a"], "restart": ["node.name"]});
        assert_eq!(
            words(&said),
            "taken over: http.origins, channels.a\n\
             changed, and in need of a restart: node.name\n"
        );
        let nothing = json!({"applied": [], "restart": []});
        assert_eq!(
            words(&nothing),
            "nothing has changed that could be taken over\n"
        );
    }
}
