//! Names of upstreams and sources on the command line: a slip is told with what was probably meant, rather than answered with
//! nothing.

use tidegate_rules::decision::Destinations;
use tidegate_rules::diagnostic::did_you_mean;

use super::event_store::EventStore;
use crate::cli::Failure;
use crate::observe::status::Status;
use crate::run::config::Place;

/// The upstreams that the gateway has or the configuration names, those that the store still holds something for, and the
/// dead letters.
///
/// # Errors
/// What the gateway says.
pub(in crate::cli) fn of_upstreams(
    store: &EventStore,
    place: &Place,
) -> Result<Vec<String>, Failure> {
    let mut names = match store {
        EventStore::Served(client) => {
            let status: Status = client.get("/status")?;
            let stranded = status.stranded.into_iter().map(|lane| lane.name);
            let upstreams = status.upstreams.into_iter().map(|upstream| upstream.name);
            upstreams.chain(stranded).collect()
        }
        EventStore::OnDisk(store, _) => {
            let lanes = store.lanes().into_iter().map(|lane| lane.name);
            let configured = place.upstreams.iter().cloned();
            configured.chain(lanes).collect::<Vec<_>>()
        }
    };
    names.push(Destinations::DEAD_LETTER.to_owned());
    names.sort();
    names.dedup();
    Ok(names)
}

/// The sources that the gateway has or the configuration names.
///
/// # Errors
/// What the gateway says.
pub(in crate::cli) fn of_sources(
    store: &EventStore,
    place: &Place,
) -> Result<Vec<String>, Failure> {
    Ok(match store {
        EventStore::Served(client) => {
            let status: Status = client.get("/status")?;
            let sources = status.sources.into_iter().map(|one| one.name);
            sources.chain([status.gateway.id]).collect()
        }
        EventStore::OnDisk(..) => place.sources.clone(),
    })
}

/// That `name` is none of `known`, which are called `what`.
///
/// # Errors
/// The name that was probably meant, and the known ones.
pub(in crate::cli) fn check(what: &str, name: &str, known: &[String]) -> Result<(), Failure> {
    if known.iter().any(|one| one == name) {
        return Ok(());
    }
    Err(Failure::new(unknown(what, name, known)))
}

/// `there is no upstream `clod`: did you mean `cloud`? known are …`
fn unknown(what: &str, name: &str, known: &[String]) -> String {
    let names = || known.iter().map(String::as_str);
    let meant = did_you_mean(name, names());
    let meant = meant.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    let known = match known {
        [] => "none is configured".to_owned(),
        _ => format!("known: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let end = if meant.is_empty() { ";" } else { "" };
    format!("there is no {what} `{name}`{meant}{end} {known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let known = ["archive".to_owned(), "cloud".to_owned()];
        let cases = [
            (
                "clod",
                "there is no upstream `clod`: did you mean `cloud`? known: archive, cloud",
            ),
            (
                "Cloud",
                "there is no upstream `Cloud`: did you mean `cloud`? known: archive, cloud",
            ),
            ("x", "there is no upstream `x`; known: archive, cloud"),
            ("", "there is no upstream ``; known: archive, cloud"),
        ];
        for (name, expected) in cases {
            assert_eq!(unknown("upstream", name, &known), expected);
        }
        let none = unknown("source", "x", &[]);
        assert_eq!(none, "there is no source `x`; none is configured");
        assert!(check("upstream", "cloud", &known).is_ok());
    }
}
