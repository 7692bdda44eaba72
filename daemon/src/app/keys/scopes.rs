//! What an API key may do.

use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Formatter};

/// One thing that a key may do. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Send events.
    Emit,
    /// Look at rooms, sockets, users and the node.
    Read,
    /// Make and end sessions, move and disconnect sockets.
    Admin,
}

/// A set of scopes; shown and serialised as the list of their names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 3] = [Self::Emit, Self::Read, Self::Admin];

    /// The name, as it is stored and typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    /// Whether `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those among them, in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |&scope| self.contains(scope))
    }

    /// The scopes named; a name of a later version's scope allows nothing here.
    pub fn from_names(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        names
            .into_iter()
            .filter_map(|name| Scope::from_name(name.as_ref()))
            .collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(
            scopes
                .into_iter()
                .fold(0, |bits, scope| bits | 1 << scope as u8),
        )
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for Scopes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Scopes};

    #[test]
    fn a_set_holds_what_was_put_in() {
        for bits in 0..8_u8 {
            let chosen: Vec<Scope> = Scope::ALL
                .into_iter()
                .filter(|&scope| bits & (1 << scope as u8) != 0)
                .collect();
            let scopes: Scopes = chosen.iter().copied().collect();
            assert_eq!(scopes.iter().collect::<Vec<_>>(), chosen);
            let names: Vec<&str> = chosen.iter().map(|scope| scope.as_str()).collect();
            assert_eq!(Scopes::from_names(&names), scopes);
            assert_eq!(
                serde_json::to_value(scopes).unwrap(),
                serde_json::json!(names)
            );
            assert_eq!(scopes.to_string(), names.join(","));
        }
        assert_eq!(Scopes::ALL, Scope::ALL.into_iter().collect());
        assert_eq!(Scopes::from_names(["Emit", "all", ""]), Scopes::NONE);
    }
}
