//! The types of values, as the checker knows them before any event has come.

use std::fmt;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A number with a fraction (IEEE 754, 64 bits).
    Float,
    /// Unicode text.
    Text,
    /// A moment, in milliseconds since the Unix epoch.
    Time,
    /// A length of time in milliseconds.
    Duration,
    /// Values in order.
    List,
    /// Named values in order.
    Object,
    /// Known only when the event is there: fields of events that no `event` block declares.
    Any,
}

impl Type {
    /// The types that a field can be declared with.
    pub(crate) const NAMED: [(&'static str, Type); 8] = [
        ("bool", Type::Bool),
        ("int", Type::Int),
        ("float", Type::Float),
        ("text", Type::Text),
        ("time", Type::Time),
        ("duration", Type::Duration),
        ("list", Type::List),
        ("object", Type::Object),
    ];

    /// The type called `name`.
    pub(crate) fn named(name: &str) -> Option<Type> {
        Type::NAMED
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, found)| found)
    }

    /// Whether it is a number.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Float)
    }

    /// Whether values of it can be sorted.
    pub(crate) fn is_ordered(self) -> bool {
        matches!(
            self,
            Type::Int | Type::Float | Type::Text | Type::Time | Type::Duration
        )
    }

    /// The type both fit into: equal types, or `float` for an `int` and a `float`.
    pub(crate) fn common(self, other: Type) -> Option<Type> {
        match (self, other) {
            _ if self == other => Some(self),
            (Type::Int, Type::Float) | (Type::Float, Type::Int) => Some(Type::Float),
            (Type::Any, _) | (_, Type::Any) => Some(Type::Any),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Type::NAMED.into_iter().find(|(_, known)| known == self);
        f.write_str(named.map_or("any", |(name, _)| name))
    }
}
