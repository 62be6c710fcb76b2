//! What a kind of source or upstream tells the configuration, and how a room lists its kinds.
//!
//! A kind says in its own folder which keys it has and how they are read. The room lists its
//! kinds, a line each ([`kinds!`]). Loading takes both lists as types and knows no kind by name.

use std::net::SocketAddr;
use std::path::Path;

use super::key::{Absent, AnyKey, Rows, Takes};
use super::section::Section;

/// Keys under the heading that the README gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyGroup {
    pub(crate) heading: &'static str,
    pub(crate) keys: Rows,
}

/// One kind of source or upstream: what its keys are read into.
pub(crate) trait Kind: Sized {
    /// What `type` says.
    const NAME: &'static str;
    /// Its own keys.
    const KEYS: Rows;
    /// Keys that it has in common with other kinds.
    const SHARED: &'static [KeyGroup] = &[];
    /// Keys of the tables that its keys take, for the README.
    const TABLES: &'static [KeyGroup] = &[];
    /// What this program must have been built with.
    const FEATURE: Option<Feature> = None;

    /// Reads its keys; everything wrong is reported, `None` means that something needed is.
    fn read(section: &Section<'_>, entry: &Entry<'_>) -> Option<Self>;

    /// What it claims for itself, so that nothing else may have it.
    fn claim(&self) -> Option<Claim<'_>> {
        None
    }

    /// What it has to do with a broker, so that nothing goes round.
    fn at_broker(&self) -> Option<AtBroker<'_>> {
        None
    }

    /// The largest payload that it takes, where somebody says so.
    fn payload_bytes_max(&self) -> Option<usize> {
        None
    }
}

/// Who a source or an upstream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// `[gateway] id`
    pub(crate) gateway_id: &'a str,
    /// `NAME` of `[sources.NAME]` or `[upstreams.NAME]`
    pub(crate) name: &'a str,
}

/// A cargo feature that a kind needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    /// What a program without it lacks.
    pub(crate) brings: &'static str,
    pub(crate) built: bool,
}

/// The command that builds this program with one more feature, for a message that says that it lacks it.
pub(crate) fn build_command(missing: &str) -> String {
    const DEFAULT: [(&str, bool); 3] = [
        ("serial", cfg!(feature = "serial")),
        ("http", cfg!(feature = "http")),
        ("demo", cfg!(feature = "demo")),
    ];
    let built = DEFAULT.into_iter().filter(|(_, built)| *built);
    let mut wanted: Vec<&str> = built.map(|(name, _)| name).collect();
    if !wanted.contains(&missing) {
        wanted.push(missing);
    }
    let has_default = DEFAULT.iter().all(|(name, _)| wanted.contains(name));
    if has_default {
        wanted.retain(|wanted| DEFAULT.iter().all(|(name, _)| name != wanted));
    }
    let features = match (has_default, wanted.join(",")) {
        (true, none) if none.is_empty() => String::new(),
        (true, more) => format!(" --features {more}"),
        (false, all) => format!(" --no-default-features --features {all}"),
    };
    format!("cargo build --release -p tidegate{features}")
}

/// What only one source or upstream can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim<'a> {
    /// It listens there.
    Address(SocketAddr),
    /// It opens that file.
    File(&'a Path),
    /// It opens the first port of these USB ids: vendor, product and serial number.
    Usb(Option<u16>, Option<u16>, Option<&'a str>),
    /// It connects to that broker with that client id.
    Client {
        host: &'a str,
        port: u16,
        client_id: &'a str,
    },
}

/// The sections that hold a list of kinds: `[sources.NAME]` or `[upstreams.NAME]`.
#[derive(Debug)]
pub(crate) struct List {
    /// Key of the list in the file.
    pub(crate) key: &'static str,
    /// One of the list, as headings call it.
    pub(crate) one: &'static str,
    /// One of the list, in a sentence.
    pub(crate) a_one: &'static str,
    /// What the key `type` is for.
    pub(crate) type_help: &'static str,
    /// A name that is taken, and what it stands for.
    pub(crate) reserved: Option<(&'static str, &'static str)>,
    /// Kinds that a later version brings.
    pub(crate) later: &'static [&'static str],
}

/// What a source takes from a broker, or an upstream gives to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtBroker<'a> {
    /// Host and port.
    pub(crate) broker: (&'a str, u16),
    /// Filters of a source.
    pub(crate) filters: &'a [String],
    /// Topic of an upstream, with its placeholders.
    pub(crate) topic: &'a str,
}

/// The name of this machine for itself.
const LOOPBACK: &str = "localhost";

/// A host, by one name for each that stands for this machine.
fn known_host(host: &str) -> String {
    match host.trim_matches(['[', ']']).to_ascii_lowercase() {
        host if host == "::1" || host.starts_with("127.") => LOOPBACK.to_owned(),
        host => host,
    }
}

impl AtBroker<'_> {
    /// Whether both are at one broker, as far as names tell.
    pub(crate) fn is_beside(&self, other: &AtBroker<'_>) -> bool {
        let ((host_a, port_a), (host_b, port_b)) = (self.broker, other.broker);
        port_a == port_b && known_host(host_a) == known_host(host_b)
    }

    /// Whether the broker is who listens there, as far as names tell.
    pub(crate) fn is_at(&self, listens: SocketAddr) -> bool {
        let (host, port) = (known_host(self.broker.0), self.broker.1);
        let here = known_host(&listens.ip().to_string());
        port == listens.port()
            && (host == here || (host == LOOPBACK && listens.ip().is_unspecified()))
    }
}

/// All kinds of a room; [`kinds!`] implements it.
pub(crate) trait Kinds: Sized + 'static {
    /// Where they stand in the file.
    const LIST: List;
    /// The key that says which kind it is.
    const TYPE: &'static AnyKey;
    /// The kinds, in the order of messages.
    const ALL: &'static [Listed<Self>];

    /// See [`Kind::claim`].
    fn claim(&self) -> Option<Claim<'_>>;

    /// See [`Kind::at_broker`].
    fn at_broker(&self) -> Option<AtBroker<'_>>;

    /// See [`Kind::payload_bytes_max`].
    fn payload_bytes_max(&self) -> Option<usize>;

    /// The kind that `type` names.
    fn named(name: &str) -> Option<&'static Listed<Self>> {
        Self::ALL.iter().find(|kind| kind.name == name)
    }
}

/// A kind as the list of its room has it.
pub(crate) struct Listed<K> {
    pub(crate) name: &'static str,
    pub(crate) keys: Rows,
    pub(crate) shared: &'static [KeyGroup],
    pub(crate) tables: &'static [KeyGroup],
    feature: Option<Feature>,
    read: fn(&Section<'_>, &Entry<'_>) -> Option<K>,
}

impl<K: Kinds> Listed<K> {
    /// The kind `T`, which `read` reads.
    pub(crate) const fn of<T: Kind>(read: fn(&Section<'_>, &Entry<'_>) -> Option<K>) -> Listed<K> {
        Listed {
            name: T::NAME,
            keys: T::KEYS,
            shared: T::SHARED,
            tables: T::TABLES,
            feature: T::FEATURE,
            read,
        }
    }

    /// Reads a section of this kind.
    pub(crate) fn read(&self, section: &Section<'_>, entry: &Entry<'_>) -> Option<K> {
        if let Some(feature) = self.feature.filter(|feature| !feature.built) {
            let message = format!("this tidegate was built without {}", feature.brings);
            let note = format!("build it with `{}`", build_command(feature.name));
            let error = section.error(K::TYPE, message);
            section.context.report(error.with_note(note));
        }
        (self.read)(section, entry)
    }
}

/// The words that `type` takes.
pub(crate) fn names<K: Kinds>() -> Vec<&'static str> {
    K::ALL.iter().map(|kind| kind.name).collect()
}

/// Makes the enum of a room's kinds from the list of what each is read into.
macro_rules! kinds {
    (
        $(#[$doc:meta])*
        $vis:vis enum $Kinds:ident in $list:expr => {
            $($Variant:ident($Config:ty)),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $Kinds {
            $(
                #[doc = concat!("See `", stringify!($Config), "`.")]
                $Variant($Config),
            )*
        }

        impl $crate::config::kinds::Kinds for $Kinds {
            const LIST: $crate::config::kinds::List = $list;
            const TYPE: &'static $crate::config::key::AnyKey =
                &$crate::config::kinds::type_key::<$Kinds>();
            const ALL: &'static [$crate::config::kinds::Listed<$Kinds>] = &[$(
                $crate::config::kinds::Listed::of::<$Config>(|section, entry| {
                    <$Config as $crate::config::kinds::Kind>::read(section, entry)
                        .map($Kinds::$Variant)
                })
            ),*];

            fn claim(&self) -> Option<$crate::config::kinds::Claim<'_>> {
                match self {
                    $($Kinds::$Variant(config) => {
                        $crate::config::kinds::Kind::claim(config)
                    })*
                }
            }

            fn at_broker(&self) -> Option<$crate::config::kinds::AtBroker<'_>> {
                match self {
                    $($Kinds::$Variant(config) => {
                        $crate::config::kinds::Kind::at_broker(config)
                    })*
                }
            }

            fn payload_bytes_max(&self) -> Option<usize> {
                match self {
                    $($Kinds::$Variant(config) => {
                        $crate::config::kinds::Kind::payload_bytes_max(config)
                    })*
                }
            }
        }

        impl $Kinds {
            /// What `type` says.
            $vis fn name(&self) -> &'static str {
                match self {
                    $($Kinds::$Variant(_) => <$Config as $crate::config::kinds::Kind>::NAME),*
                }
            }
        }
    };
}
pub(crate) use kinds;

/// The key `type` of a list.
pub(crate) const fn type_key<K: Kinds>() -> AnyKey {
    AnyKey {
        name: "type",
        takes: Takes::Choice(names::<K>),
        absent: Absent::Refused,
        help: K::LIST.type_help,
        formerly: &[],
    }
}
