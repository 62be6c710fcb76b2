//! The names of destinations.

use super::Destination;

/// The names that `send to` may use, in the order of [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    names: Vec<String>,
}

impl Destinations {
    /// The name of [`Destination::DEAD_LETTER`], where what is given up goes. It is no upstream.
    pub const DEAD_LETTER: &str = "dead_letter";

    /// Destinations by their names. `dead_letter` is always the first, whether named or not.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Destinations {
        let mut all = vec![Self::DEAD_LETTER.to_owned()];
        for name in names {
            let name = name.into();
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Destinations { names: all }
    }

    /// The names in their order, `dead_letter` first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// How many there are, with `dead_letter`.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The destination called `name`.
    pub fn find(&self, name: &str) -> Option<Destination> {
        let place = self.names.iter().position(|known| known == name)?;
        u16::try_from(place).ok().map(Destination)
    }

    /// The name of `destination`.
    pub fn name(&self, destination: Destination) -> Option<&str> {
        self.names
            .get(usize::from(destination.0))
            .map(String::as_str)
    }
}
