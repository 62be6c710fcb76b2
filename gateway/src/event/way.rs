//! The way of an event through gateways, so that none goes round for ever.
//!
//! What leaves bears the extension `tidegatepath`: the marks of the starts that it went through, the latest last, divided by
//! dots. A mark is what a start drew at random, so that clones tell themselves apart. A gateway knows its present mark and
//! those of its latest starts, which the store keeps.
//!
//! An event may well come back: a central sends an alarm to the plant that its readings came from. So it is not the first
//! return that is stopped but the one after [`PASSES_MAX`] passes.
//!
//! Where no metadata travels, a structured event still has its way in its document; of others [`sent`] knows by their content
//! what comes back.

mod pauses;
mod probe;
pub mod sent;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidegate_rules::event::Event;

use sent::{Content, Sender, SentMemory};

/// The extension with the marks.
pub const PATH: &str = "tidegatepath";
/// So often an event may go through one gateway.
pub const PASSES_MAX: usize = 3;
/// Through so many gateways an event may go, each pass counted.
pub const HOPS_MAX: usize = 32;
/// Key of the store's mark that holds the marks of the latest starts.
pub const STARTS_KEY: &str = "starts";

/// Starts remembered, the present one among them.
const STARTS_MAX: usize = 16;
/// Hexadecimal digits of a mark.
const MARK_LEN: usize = 16;

/// What a gateway knows of the way of its events; all clones are one.
#[derive(Clone)]
pub struct Way(Arc<Shared>);

struct Shared {
    mark: Arc<str>,
    earlier: Vec<String>,
    sent: Mutex<SentMemory>,
}

impl Way {
    /// That of a start with this mark. `stored` is what an earlier one gave by [`Way::starts`]; `one_broker` names the
    /// upstreams and sources that are at one broker.
    pub fn new(mark: &Arc<str>, stored: &[u8], one_broker: HashSet<(String, String)>) -> Way {
        let stored = String::from_utf8_lossy(stored);
        Way(Arc::new(Shared {
            mark: Arc::clone(mark),
            earlier: marks(&stored).map(str::to_owned).collect(),
            sent: Mutex::new(SentMemory::new(one_broker)),
        }))
    }

    /// These upstreams and sources are at one broker from now on.
    pub fn set_one_broker(&self, pairs: HashSet<(String, String)>) {
        self.memory().one_broker = pairs;
    }

    /// The mark of this start.
    pub fn mark(&self) -> &Arc<str> {
        &self.0.mark
    }

    /// The marks of the latest starts, to be stored under [`STARTS_KEY`].
    pub fn starts(&self) -> Vec<u8> {
        let latest = self.0.earlier.iter().rev().take(STARTS_MAX - 1).rev();
        let mut all: Vec<&str> = latest.map(String::as_str).collect();
        all.push(&self.0.mark);
        all.join(".").into_bytes()
    }

    /// Why an event that arrives is not to be taken: it went round too often.
    pub fn objection(&self, event: &Event) -> Option<String> {
        let path = event.extension(PATH)?;
        let passes = self.passes(path);
        if passes >= PASSES_MAX {
            return Some(format!(
                "it comes back for the {} time: it went through this gateway {passes} times already, and is sent round no more",
                nth(passes)
            ));
        }
        let hops = marks(path).count();
        (hops >= HOPS_MAX).then(|| {
            format!("it went through gateways {hops} times already, and is sent round no more")
        })
    }

    /// Whether an event went through this gateway before.
    pub fn has_passed(&self, event: &Event) -> bool {
        event
            .extension(PATH)
            .is_some_and(|path| self.passes(path) > 0)
    }

    fn passes(&self, path: &str) -> usize {
        marks(path).filter(|mark| self.is_ours(mark)).count()
    }

    /// Whether an event has an id that this gateway made for what came to it, and a way.
    pub fn is_own(&self, event: &Event) -> bool {
        self.is_minted(&event.id) && event.extension(PATH).is_some()
    }

    /// Whether a sender gives an id that this gateway made, or may make yet, to what it did not send out under it just now.
    pub fn is_of_another(&self, event: &Event, now: Instant) -> bool {
        let content = Content {
            topic: &event.topic,
            payload: &event.data,
        };
        self.is_minted(&event.id) && !self.memory().was_sent(content, &event.id, now)
    }

    fn is_minted(&self, id: &str) -> bool {
        let (mark, number) = id.split_once('-').unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number && self.is_ours(mark)
    }

    fn is_ours(&self, mark: &str) -> bool {
        *mark == *self.0.mark || self.0.earlier.iter().any(|earlier| earlier == mark)
    }

    /// An upstream sends this now, under this id; `event` is what it came from.
    pub fn sent(
        &self,
        upstream: &Arc<str>,
        content: Content<'_>,
        id: &str,
        event: &Event,
        now: Instant,
    ) {
        self.memory().sent(upstream, content, id, event, now);
    }

    /// Gives an event without metadata the way of what was sent just now, where it is that which comes back. `source` is
    /// the name of the source that it came by.
    pub fn recognise(&self, event: &mut Event, source: &str, now: Instant) {
        if event
            .extension(PATH)
            .is_some_and(|path| marks(path).next().is_some())
        {
            return;
        }
        let data = event.data.clone();
        if let Some(path) = way_in(&data) {
            event.set_extension(PATH, &path);
            return;
        }
        let content = Content {
            topic: &event.topic,
            payload: &event.data,
        };
        let sender = Sender {
            source,
            publisher: &event.publisher,
        };
        let Some(path) = self.memory().returned(content, sender, now) else {
            return;
        };
        event.set_extension(PATH, &continued(path.as_deref(), &self.0.mark));
    }

    /// Whether an upstream is to send nothing just now, so that it shows whether what came back does so by itself.
    pub fn holds(&self, upstream: &str, now: Instant) -> bool {
        self.memory().holds(upstream, now)
    }

    fn memory(&self) -> MutexGuard<'_, SentMemory> {
        self.0.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of an event that leaves the start with this mark.
pub fn onward<'a>(event: &'a Event, mark: &'a str) -> Cow<'a, str> {
    continued(event.extension(PATH), mark)
}

fn continued<'a>(path: Option<&str>, mark: &'a str) -> Cow<'a, str> {
    let mut all: Vec<&str> = marks(path.unwrap_or_default()).collect();
    if all.is_empty() {
        return Cow::Borrowed(mark);
    }
    all.push(mark);
    let from = all.len().saturating_sub(HOPS_MAX + 1);
    Cow::Owned(all[from..].join("."))
}

/// What are marks in a path; anybody may have written it.
fn marks(path: &str) -> impl Iterator<Item = &str> {
    let is_mark =
        |mark: &&str| mark.len() == MARK_LEN && mark.bytes().all(|b| b.is_ascii_hexdigit());
    path.split('.').filter(is_mark)
}

/// What a CloudEvents document says of its own way.
#[derive(Deserialize)]
struct Document<'d> {
    #[serde(rename = "specversion")]
    _is_one: IgnoredAny,
    #[serde(borrow)]
    tidegatepath: Cow<'d, str>,
}

/// The way in a payload that is a structured event.
fn way_in(payload: &[u8]) -> Option<Cow<'_, str>> {
    let is_object = payload.trim_ascii_start().starts_with(b"{");
    // Few payloads bear the name; only these are read.
    if !is_object || memmem::find(payload, PATH.as_bytes()).is_none() {
        return None;
    }
    let document: Document<'_> = serde_json::from_slice(payload).ok()?;
    let has_marks = marks(&document.tidegatepath).next().is_some();
    has_marks.then_some(document.tidegatepath)
}

fn nth(number: usize) -> String {
    match number {
        1 => "first".into(),
        2 => "second".into(),
        3 => "third".into(),
        number => format!("{number}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Arc<str> {
        format!("{number:016x}").into()
    }

    /// An event with this way.
    pub(super) fn event(path: Option<&str>) -> Event {
        let extension = path.map(|path| tidegate_rules::event::Extension::text(PATH, path));
        Event {
            id: "e-1".into(),
            source: "plant-a/floor".into(),
            kind: "reading".into(),
            subject: None,
            topic: "a/b".into(),
            publisher: "press7".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: extension.into_iter().collect(),
            data: bytes::Bytes::from_static(b"21.5"),
            ..Event::default()
        }
    }

    /// Sends an event round through these gateways; how often each took it, and why it ended.
    fn round(ways: &[Way]) -> (Vec<usize>, String) {
        let (mut path, mut taken) = (None::<String>, vec![0; ways.len()]);
        for at in (0..ways.len()).cycle() {
            let arrived = event(path.as_deref());
            if let Some(why) = ways[at].objection(&arrived) {
                return (taken, why);
            }
            taken[at] += 1;
            path = Some(onward(&arrived, ways[at].mark()).into_owned());
        }
        unreachable!("a cycle")
    }

    #[test]
    fn an_event_goes_round_so_often_and_no_more_through_rings_of_any_length() {
        for gateways in 1..=40_u64 {
            let ways: Vec<Way> = (0..gateways)
                .map(|number| Way::new(&mark(number), b"", HashSet::new()))
                .collect();
            let (taken, why) = round(&ways);
            let hops: usize = taken.iter().sum();
            assert!(taken.iter().all(|taken| *taken <= PASSES_MAX), "{taken:?}");
            assert!(hops <= HOPS_MAX, "{hops} in a ring of {gateways}");
            match gateways as usize * PASSES_MAX <= HOPS_MAX {
                true => assert!(
                    taken[0] == PASSES_MAX && why.contains("third time"),
                    "{why}"
                ),
                false => assert_eq!(hops, HOPS_MAX, "{why}"),
            }
        }
    }

    #[test]
    fn earlier_starts_are_known_by_what_the_store_keeps_and_clones_are_not() {
        let mut stored = Vec::new();
        let mut last = None;
        for start in 0..40 {
            let way = Way::new(&mark(start), &stored, HashSet::new());
            stored = way.starts();
            last = Some(way);
        }
        let way = last.expect("a start");
        let thrice = |number| {
            let mark = mark(number);
            event(Some(&format!("{mark}.{mark}.{mark}")))
        };
        for (number, known) in [(39, true), (38, true), (23, true), (22, false), (77, false)] {
            assert_eq!(way.objection(&thrice(number)).is_some(), known, "{number}");
        }
        let of_several = format!("{}.{}.{}", mark(30), mark(35), mark(39));
        assert!(way.objection(&event(Some(&of_several))).is_some());
    }

    #[test]
    fn a_document_without_metadata_beside_it_still_says_its_way() {
        let (ours, foreign) = (mark(7), mark(9));
        let way = Way::new(&ours, b"", HashSet::new());
        let thrice = format!("{ours}.{foreign}.{ours}.{ours}");
        let once = format!("{ours}.{foreign}");
        let plain = |path: &str| {
            format!(r#"{{"specversion":"1.0","data":{{"v":1}},"id":"1","tidegatepath":"{path}"}}"#)
        };
        for (payload, passes) in [
            (plain(&once), Some(1)),
            (plain(&thrice), Some(3)),
            (
                format!("\r\n {{ \"tidegatepath\" : \"{thrice}\",\n\"specversion\":\"1.0\"}}\n"),
                Some(3),
            ),
            // Wrapped once more: the outer one counts.
            (plain(&once).replace(r#"{"v":1}"#, &plain(&thrice)), Some(1)),
            // No CloudEvents, no marks, no document.
            (format!(r#"{{"tidegatepath":"{thrice}"}}"#), None),
            (
                format!(r#"{{"specversion":"1.0","data":{{"tidegatepath":"{thrice}"}}}}"#),
                None,
            ),
            (plain("x"), None),
            (
                plain(&thrice).replace("\"tidegatepath\":\"", "\"tidegatepath\":[\""),
                None,
            ),
            (plain(&thrice)[1..].to_owned(), None),
            (format!("[{}]", plain(&thrice)), None),
            (plain(&thrice) + "}", None),
        ] {
            let mut arrived = event(None);
            arrived.data = payload.clone().into();
            way.recognise(&mut arrived, "floor", Instant::now());
            let path = arrived.extension(PATH);
            assert_eq!(path.map(|path| way.passes(path)), passes, "{payload}");
            let is_stopped = way.objection(&arrived).is_some();
            assert_eq!(is_stopped, passes == Some(3), "{payload}");
        }
    }

    #[test]
    fn an_id_of_ours_stands_for_what_left_under_it_and_for_nothing_else() {
        let way = Way::new(&mark(7), mark(6).as_bytes(), HashSet::new());
        let now = crate::time::clock::monotonic();
        let sent = |id: &str| {
            let content = Content {
                topic: "a/b",
                payload: b"21.5",
            };
            way.sent(&"cloud".into(), content, id, &event(None), now);
        };
        let id = |mark: u64, rest: &str| format!("{mark:016x}-{rest}");
        for (id, left, after_s, is_of_another) in [
            (id(7, "5"), None, 0, true),
            (id(6, "5"), None, 0, true),
            (id(7, "5"), Some(id(7, "5")), 1, false),
            (id(7, "5"), Some(id(7, "6")), 1, true),
            (id(7, "5"), Some(id(7, "5")), 61, true),
            // Of others, of a rule here or elsewhere, of a device.
            (id(9, "5"), None, 0, false),
            (id(7, "5/hot/0"), None, 0, false),
            (id(7, ""), None, 0, false),
            (id(7, "5-6"), None, 0, false),
            ("5".into(), None, 0, false),
            ("".into(), None, 0, false),
        ] {
            sent(left.as_deref().unwrap_or("another"));
            let mut arrived = event(None);
            arrived.id = id.as_str().into();
            let later = now + std::time::Duration::from_secs(after_s);
            assert_eq!(way.is_of_another(&arrived, later), is_of_another, "{id}");
        }
    }

    #[test]
    fn what_others_write_there_harms_nobody() {
        let way = Way::new(&mark(7), b"\xff.rubbish", HashSet::new());
        let long = format!("{}.", mark(9)).repeat(200);
        for path in ["", ".", "...", "x", "00000000000000zz", &"7".repeat(1000)] {
            assert_eq!(way.objection(&event(Some(path))), None, "{path}");
            assert_eq!(onward(&event(Some(path)), way.mark()), *mark(7));
        }
        assert!(way.objection(&event(Some(&long))).is_some());
        assert!(onward(&event(Some(&long)), way.mark()).len() < 600);
    }
}
