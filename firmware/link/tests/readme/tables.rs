//! The tables of messages, kinds, levels and records: number, name, fields and types as the code has them.

use super::{README, between};
use serde::de::value::{Error, SeqDeserializer, U32Deserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    SeqAccess, VariantAccess, Visitor,
};
use tidegate_link::message::{
    FIRMWARE_SIZE_MAX, LOG_SIZE_MAX, Level, Payload, RECORD_SIZE_MAX, Record, ToDevice, ToGateway,
    WINDOW,
};
use tidegate_link::{Kind, frame, schema};

/// Reads a value out of nothing and writes down what it is made of.
#[derive(Default)]
struct Tracer {
    /// The variant of the outermost enum that is read.
    variant: u32,
    /// The names of all its variants.
    names: &'static [&'static str],
    field: &'static str,
    fields: Vec<String>,
}

impl Tracer {
    fn note(&mut self, kind: &str) {
        self.fields.push(format!("{} {kind}", self.field));
    }
}

macro_rules! read_as {
    ($($method:ident $kind:literal $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.note($kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Tracer {
    type Error = Error;

    read_as! {
        deserialize_bool "bool" visit_bool false;
        deserialize_i8 "i8" visit_i8 0;
        deserialize_i64 "i64" visit_i64 0;
        deserialize_u8 "u8" visit_u8 0;
        deserialize_u16 "u16" visit_u16 0;
        deserialize_u32 "u32" visit_u32 0;
        deserialize_u64 "u64" visit_u64 0;
        deserialize_f32 "f32" visit_f32 0.0;
        deserialize_str "str" visit_borrowed_str "";
        deserialize_bytes "bytes" visit_borrowed_bytes &[];
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        size: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(&format!("[u8; {size}]"));
        visitor.visit_seq(SeqDeserializer::new(std::iter::repeat_n(0u8, size)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Fields(self, fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.names.is_empty() && self.field.is_empty() {
            self.names = variants;
        } else {
            self.note("u8");
            self.variant = 0;
        }
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no type that the README has"))
    }

    serde::forward_to_deserialize_any! {
        i16 i32 i128 u128 f64 char string byte_buf option unit unit_struct seq tuple_struct map identifier ignored_any
    }
}

struct Fields<'a>(&'a mut Tracer, &'static [&'static str]);

impl<'de> SeqAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((field, rest)) = self.1.split_first() else {
            return Ok(None);
        };
        (self.0.field, self.1) = (field, rest);
        seed.deserialize(&mut *self.0).map(Some)
    }
}

impl<'de> EnumAccess<'de> for &mut Tracer {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let number: U32Deserializer<Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Tracer {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no type that the README has"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Fields(self, fields))
    }
}

/// Number, name and fields of every variant.
fn of_code<'de, T: Deserialize<'de>>() -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    loop {
        let mut tracer = Tracer {
            variant: rows.len() as u32,
            ..Tracer::default()
        };
        let read = T::deserialize(&mut tracer);
        let Some(name) = tracer.names.get(rows.len()) else {
            return rows;
        };
        read.map(drop).expect("a type that the README has");
        let number = rows.len().to_string();
        rows.push([number, (*name).into(), tracer.fields.join(", ")]);
    }
}

/// The same of the README's table under this head.
fn of_readme(head: &str) -> Vec<[String; 3]> {
    let head = format!("| number | {head} | fields | meaning |\n|---|---|---|---|\n");
    let rows = between(&head, "\n\n").lines().map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, number, name, fields, meaning, _] = cells[..] else {
            panic!("{row} has not four cells");
        };
        assert!(!meaning.is_empty(), "{row} says nothing");
        [number, name, fields].map(String::from)
    });
    rows.collect()
}

#[test]
fn every_message_kind_level_and_record_has_its_row() {
    assert_eq!(of_readme("to the gateway"), of_code::<ToGateway<'_>>());
    assert_eq!(of_readme("to the node"), of_code::<ToDevice>());
    assert_eq!(of_readme("kind"), of_code::<Kind>());
    assert_eq!(of_readme("level"), of_code::<Level>());
    assert_eq!(of_readme("record"), of_code::<Payload<'_>>());
}

#[test]
fn a_record_begins_as_the_readme_says() {
    let mut tracer = Tracer::default();
    Record::deserialize(&mut tracer).expect("a type that the README has");
    assert_eq!(tracer.fields[0], "uptime_ms u64");
    assert!(README.contains("A **record** is `uptime_ms u64`"));
    assert_eq!(tracer.fields[1], "payload u8");
    let payload = of_code::<Payload<'_>>().swap_remove(0);
    assert_eq!(tracer.fields[2..].join(", "), payload[2]);
}

#[test]
fn the_fields_of_hello_are_all_explained() {
    let hello = of_code::<ToGateway<'_>>().swap_remove(0);
    let fields: Vec<&str> = hello[2].split(", ").collect();
    let explained: Vec<&str> = between("| field | says |\n|---|---|\n", "\n\n")
        .lines()
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    let names: Vec<&str> = fields
        .iter()
        .filter_map(|field| field.split(' ').next())
        .collect();
    assert_eq!(explained, names);
}

#[test]
fn limits_and_times_are_those_of_the_code() {
    use tidegate_link::{device, host};
    let readme: Vec<&str> = README.split_whitespace().collect();
    let readme = readme.join(" ");
    let body = frame::BODY_SIZE_MAX;
    for said in [
        format!("body** is the version, {};", frame::PROTOCOL),
        format!(
            "A body has at most {body} bytes, so a message has 1 to {}",
            body - 5
        ),
        format!("which has at most {} bytes with it", frame::FRAME_SIZE_MAX),
        format!("longer than {} bytes, not COBS", frame::FRAME_SIZE_MAX - 1),
        format!("It has at most {RECORD_SIZE_MAX} bytes"),
        format!("the version, at most {FIRMWARE_SIZE_MAX} bytes"),
        format!("a line of the node's log, at most {LOG_SIZE_MAX} bytes"),
        format!("has 1 to {} fields", schema::FIELD_COUNT_MAX),
        format!(
            "names and units have at most {} bytes",
            schema::NAME_SIZE_MAX
        ),
        format!("| `window` | {WINDOW}:"),
        format!("less than {WINDOW} beyond `oldest`"),
        format!("for {} ms nothing was let go", device::RETRANSMIT_MS_MIN),
        format!("doubles up to {} s", device::RETRANSMIT_MS_MAX / 1_000),
        format!(
            "at most {} s, and then from `oldest`",
            device::HOLD_MS_MAX / 1_000
        ),
        format!("every {} ms the one that it lacks", host::ANSWER_MS),
        format!(
            "after {} ms first, then up to {} s",
            host::ANSWER_MS,
            host::ANSWER_MS_MAX / 1_000
        ),
        format!("`Resend`, every {} ms at most", host::RESEND_MS),
        format!("and then every {} s", host::TIME_MS / 1_000),
    ] {
        assert!(readme.contains(&said), "the README does not say: {said}");
    }
    assert_eq!((device::HELLO_MS, host::DISCOVER_MS), (1_000, 1_000));
    assert!(readme.contains("then every second until it is welcomed"));
    assert!(readme.contains("It asks with `Discover` every second"));
}
