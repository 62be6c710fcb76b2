//! Records as they are stored, and read again.

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_rules::decision::{Made, Priority, SendOptions};
use tidegate_rules::event::{EventTime, Expiry, Extension, ExtensionKind, MqttProperties};

use super::wire::PutFields;
use super::*;

/// What version 1 can say.
fn plain() -> (Event, Vec<Routed>) {
    let event = Event {
        id: "17-42".into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: Some("press7".into()),
        topic: "plant/A/press7/temp".into(),
        publisher: "press7".into(),
        time: Some(1_700_000_000_000.into()),
        received: 1_700_000_000_123,
        content_type: Some("application/json".into()),
        extensions: vec![Extension::text("traceparent", "00-ab-cd-01")],
        data: Bytes::from_static(b"{\"t\":21.5}"),
        ..Event::default()
    };
    let plain = Routed {
        lane: 3,
        output: Output::default(),
    };
    let changed = Routed {
        lane: 0,
        output: Output {
            topic: Some("alarms/A".into()),
            key: Some("A".into()),
            data: Some(Bytes::from_static(b"{}")),
            reason: Some("no rule for this topic".into()),
            rule: Some("hot_press".into()),
            priority: Priority::Critical,
            options: None,
        },
    };
    (event, vec![plain, changed])
}

/// Everything that there is a place for.
fn full() -> (Event, Vec<Routed>) {
    let (event, mut outputs) = plain();
    let extension = |name: &str, value: &str, kind| Extension {
        name: name.into(),
        value: value.into(),
        kind,
    };
    let event = Event {
        id: "00c0ffee00c0ffee-42".into(),
        time: Some(EventTime {
            ms: 1_700_000_000_000,
            text: Some("2023-11-14T23:13:20.000000001+01:00".into()),
        }),
        schema: Some("https://example.org/reading/v2".into()),
        extensions: vec![
            Extension::text("traceparent", "00-ab-cd-01"),
            extension("Ort", "", ExtensionKind::Property),
            extension("sequence", "12", ExtensionKind::Number),
            extension("calibrated", "true", ExtensionKind::Boolean),
            extension("Ort", "Halle 3", ExtensionKind::Property),
        ],
        mqtt: Some(Box::new(MqttProperties {
            retain: true,
            payload_format: Some(1),
            response_topic: Some("answers/7".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            expiry: Some(Expiry {
                seconds: 60,
                running_ms: 123_456,
                clock_trusted: true,
            }),
        })),
        unknown: Bytes::from_static(b"\xfa\x01\x03new"),
        ..event
    };
    outputs[1].output.options = Some(Box::new(SendOptions {
        retain: Some(false),
        qos: Some(0),
        captures: vec![("line".into(), "A".into()), ("press".into(), "".into())],
        made: Some(Made {
            id: "5f".into(),
            kind: Some("overheated".into()),
            time: Some(-1),
            causation_id: Some("17-41".into()),
            correlation_id: Some("17-40".into()),
        }),
        unknown: Bytes::from_static(b"\xf8\x01\x07"),
    }));
    (event, outputs)
}

fn encoded() -> Vec<u8> {
    let (event, outputs) = full();
    let mut buffer = Vec::new();
    encode(&event, &outputs, &mut buffer);
    buffer
}

#[test]
fn what_was_encoded_is_decoded_unchanged() {
    let (event, outputs) = full();
    let record = decode(&encoded()).expect("a fresh record");
    assert_eq!((&*record.event, &record.outputs), (&event, &outputs));
}

#[test]
fn records_one_after_the_other_share_what_they_have_in_common_and_nothing_else() {
    let mut texts = SharedTexts::default();
    let (event, outputs) = full();
    let others = [
        Event {
            topic: "plant/B".into(),
            ..event.clone()
        },
        Event {
            publisher: "press8".into(),
            id: "17-43".into(),
            ..event.clone()
        },
        Event {
            kind: "alarm".into(),
            source: "plant-b/floor".into(),
            ..event.clone()
        },
    ];
    for event in others.iter().flat_map(|other| [&event, other, other]) {
        let mut buffer = Vec::new();
        encode(event, &outputs, &mut buffer);
        let record = decode_sharing(&buffer.into(), &mut texts).expect("a fresh record");
        assert_eq!(&*record.event, event);
        assert!(Arc::ptr_eq(&record.event.topic, &texts.topic));
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_noticed() {
    let whole = encoded();
    for len in 0..whole.len() {
        assert!(decode(&whole[..len]).is_err(), "cut at {len}");
    }
    for byte in 0..=u8::MAX {
        let mut longer = whole.clone();
        longer.push(byte);
        assert_eq!(decode(&longer), Err(RecordError::Malformed));
    }
}

#[test]
fn the_attributes_are_read_from_the_beginning() {
    let expected = |event: Event| Event {
        data: Bytes::new(),
        ..event
    };
    let (whole, event) = (encoded(), expected(full().0));
    let (of_version_1, plain) = (
        include_bytes!("version_1.bin").to_vec(),
        expected(plain().0),
    );
    let of_outputs = b"\x72";
    let head = whole
        .windows(5)
        .position(|at| at.starts_with(of_outputs) && at[2..4] == [8, 3]);
    let cases = [
        (whole, event, head.expect("outputs") + 1),
        (of_version_1.clone(), plain, of_version_1.len() - 12),
    ];
    for (whole, event, head) in cases {
        for len in 0..=whole.len() {
            let read = attributes(&whole[..len]).ok();
            assert_eq!(read, (len >= head).then(|| event.clone()), "{len} bytes");
        }
        let source_at = 13
            + whole
                .windows(13)
                .position(|at| at == b"plant-a/floor")
                .expect("it");
        assert_eq!(source(&whole), "plant-a/floor");
        assert_eq!(source(&whole[..source_at - 1]), "");
    }
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let mut newer = encoded();
    newer[0] = 9;
    assert_eq!(decode(&newer), Err(RecordError::Version(9)));
}

#[test]
fn bytes_of_every_version_stay_readable() {
    let (event, outputs) = plain();
    let record = decode(include_bytes!("version_1.bin")).expect("the frozen fixture");
    assert_eq!((&*record.event, &record.outputs), (&event, &outputs));
    let frozen = include_bytes!("version_2.bin");
    let (event, outputs) = full();
    let record = decode(frozen).expect("the frozen fixture");
    assert_eq!((&*record.event, &record.outputs), (&event, &outputs));
    assert_eq!(encoded(), frozen, "version 2 is still what is written");
}

#[test]
fn a_record_of_a_later_release_is_read_and_written_again_whole() {
    let (event, outputs) = plain();
    let mut later = vec![VERSION];
    later.put_varint(1000, 7);
    later.put_fixed64(1001, 8);
    later.put_message(1002, |inner| inner.put_text(1, Some("new")));
    let unknown = Bytes::copy_from_slice(&later[1..]);
    let mut known = Vec::new();
    encode(&event, &outputs, &mut known);
    later.extend_from_slice(&known[1..]);
    let record = decode(&later).expect("a record");
    assert_eq!(
        (&record.event.unknown, &record.outputs),
        (&unknown, &outputs)
    );
    let mut again = Vec::new();
    encode(&record.event, &record.outputs, &mut again);
    assert_eq!(again.len(), later.len());
    assert_eq!(decode(&again), Ok(record));
}

#[test]
fn an_id_is_what_it_was_whatever_it_looks_like() {
    let ids = [
        ("0123456789abcdef-42", true),
        ("0000000000000000-0", true),
        ("ffffffffffffffff-18446744073709551615", true),
        ("ffffffffffffffff-18446744073709551616", false),
        ("0123456789abcdef-042", false),
        ("0123456789ABCDEF-42", false),
        ("0123456789abcdef-", false),
        ("0123456789abcdef-+4", false),
        ("0123456789abcde-42", false),
        ("0123456789abcdef-gap-42", false),
        ("0123456789abcdef-42/hot/1", false),
        ("+123456789abcdef-42", false),
        ("0123456789abcdé-42", false),
        ("", false),
    ];
    for (id, is_short) in ids {
        let event = Event {
            id: id.into(),
            ..Event::default()
        };
        let mut bytes = Vec::new();
        encode(&event, &[], &mut bytes);
        assert_eq!(&*decode(&bytes).expect("a record").event.id, id);
        let has_text = bytes.windows(id.len().max(1)).any(|at| at == id.as_bytes());
        assert_eq!(has_text, !is_short && !id.is_empty(), "{id}");
    }
}

fn texts() -> impl Strategy<Value = Arc<str>> {
    ".{0,200}".prop_map(Arc::from)
}

fn extensions() -> impl Strategy<Value = Extension> {
    let kinds = prop_oneof![
        Just(ExtensionKind::Text),
        Just(ExtensionKind::Number),
        Just(ExtensionKind::Boolean),
        Just(ExtensionKind::Property),
    ];
    (texts(), texts(), kinds).prop_map(|(name, value, kind)| Extension { name, value, kind })
}

fn events() -> impl Strategy<Value = Event> {
    let named = (texts(), texts(), texts(), texts(), texts());
    let optional = proptest::option::of((texts(), texts(), texts()));
    let times = (
        any::<i64>(),
        proptest::option::of((any::<i64>(), proptest::option::of(texts()))),
    );
    let data = (any::<bool>(), vec(any::<u8>(), 0..20_000));
    let mqtt = (
        any::<u8>(),
        any::<u32>(),
        any::<u64>(),
        any::<bool>(),
        vec(any::<u8>(), 0..50),
    );
    let mqtt = proptest::option::of(mqtt).prop_map(|some| {
        let (format, seconds, running_ms, flag, bytes) = some?;
        Some(Box::new(MqttProperties {
            retain: flag,
            payload_format: Some(format),
            response_topic: flag.then(|| "a".into()),
            correlation_data: flag.then(|| bytes.into()),
            expiry: (!flag).then_some(Expiry {
                seconds,
                running_ms,
                clock_trusted: running_ms % 2 == 0,
            }),
        }))
    });
    let all = (named, optional, times, data, mqtt, vec(extensions(), 0..40));
    all.prop_map(
        |(named, optional, (received, time), data, mqtt, extensions)| Event {
            id: named.0,
            source: named.1,
            kind: named.2,
            topic: named.3,
            publisher: named.4,
            received,
            time: time.map(|(ms, text)| EventTime { ms, text }),
            subject: optional.as_ref().map(|some| Arc::clone(&some.0)),
            content_type: optional.as_ref().map(|some| Arc::clone(&some.1)),
            schema: optional.map(|some| some.2),
            extensions,
            mqtt,
            without_data: data.0,
            data: data.1.into(),
            unknown: Bytes::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(0u8.., 0..512)) {
        for version in 0..4 {
            let mut bytes = bytes.clone();
            bytes.insert(0, version);
            let _ = (decode(&bytes), attributes(&bytes), source(&bytes));
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0usize..1000, byte in 0u8..) {
        let mut bytes = encoded();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = (decode(&bytes), attributes(&bytes), source(&bytes));
    }

    #[test]
    fn every_event_is_read_as_it_was_written(event in events()) {
        let mut bytes = Vec::new();
        encode(&event, &plain().1, &mut bytes);
        let record = decode(&bytes).expect("a record");
        prop_assert_eq!(&*record.event, &event);
        prop_assert_eq!(&record.outputs, &plain().1);
        let beginning = attributes(&bytes).expect("attributes");
        prop_assert_eq!(beginning, Event { data: Bytes::new(), ..event });
    }
}
