//! Schemas as devices send them, and readings as JSON.

use std::collections::VecDeque;
use std::fmt::Write;

use bytes::Bytes;
use tidegate_link::schema::{FIELD_COUNT_MAX, read_value};
use tidegate_link::{Field, Kind, Value};

/// Schemas remembered at one port: one is in use, records of an earlier firmware may still come.
const SCHEMAS_MAX: usize = 8;
/// Further powers of ten than this are written with an exponent.
const PLAIN_EXPONENT_MAX: i8 = 18;

/// One reading's name, unit and type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SchemaColumn {
    name: String,
    unit: String,
    kind: Kind,
}

/// A schema, complete or on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Schema {
    key: u32,
    columns: Vec<SchemaColumn>,
    count: u8,
}

impl Schema {
    /// Units of the fields that have one, as `temperature=Cel;load=%`; nothing if none has.
    pub(super) fn units(&self) -> Option<String> {
        let named = self.columns.iter().filter(|column| !column.unit.is_empty());
        let units: Vec<String> = named
            .map(|column| format!("{}={}", column.name, column.unit))
            .collect();
        (!units.is_empty()).then(|| units.join(";"))
    }

    /// The values as one JSON object; `None` if they are not of this schema.
    pub(super) fn to_json(&self, mut values: &[u8]) -> Option<Bytes> {
        let mut json = String::from("{");
        for column in &self.columns {
            if json.len() > 1 {
                json.push(',');
            }
            let name = serde_json::Value::from(column.name.as_str());
            let value = number(column.kind, read_value(column.kind, &mut values)?);
            let _ = write!(json, "{name}:{value}");
        }
        json.push('}');
        values.is_empty().then(|| json.into())
    }

    fn is_complete(&self) -> bool {
        self.count > 0 && self.columns.len() == usize::from(self.count)
    }
}

/// A value as JSON writes it. Decimal fractions keep every digit the device sent.
fn number(kind: Kind, value: Value) -> String {
    match (kind, value) {
        (_, Value::Boolean(value)) => value.to_string(),
        (_, Value::Float(value)) if value.is_finite() => value.to_string(),
        // JSON has no number for it.
        (_, Value::Float(_)) => "null".into(),
        (Kind::Integer { exponent }, Value::Integer(value)) => decimal(value, exponent),
        (_, Value::Integer(value)) => value.to_string(),
    }
}

fn decimal(value: i64, exponent: i8) -> String {
    let places = usize::from(exponent.unsigned_abs());
    if exponent == 0 || value == 0 {
        return value.to_string();
    }
    if !(-PLAIN_EXPONENT_MAX..=PLAIN_EXPONENT_MAX).contains(&exponent) {
        return format!("{value}e{exponent}");
    }
    if exponent > 0 {
        return format!("{value}{}", "0".repeat(places));
    }
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{sign}{whole}.{fraction}")
}

/// The schemas of one port's devices.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    known: VecDeque<Schema>,
    coming: Schema,
}

impl Schemas {
    /// The schema of this key, if all of it is known.
    pub(super) fn get(&self, key: u32) -> Option<&Schema> {
        self.known.iter().find(|schema| schema.key == key)
    }

    /// Forgets all: another device may use a key for something else.
    pub(super) fn forget(&mut self) {
        *self = Schemas::default();
    }

    /// Takes one field; they come in order. Tells what is wrong with a schema that cannot be used.
    pub(super) fn take(
        &mut self,
        key: u32,
        index: u8,
        count: u8,
        field: &Field<'_>,
    ) -> Result<(), &'static str> {
        if count == 0 {
            return Err("the device does not know its own schema");
        }
        if usize::from(count) > FIELD_COUNT_MAX {
            return Err("the schema has more than 32 fields");
        }
        if index == 0 {
            self.coming = Schema {
                key,
                columns: Vec::new(),
                count,
            };
        }
        let Schema {
            key: coming,
            columns,
            count: all,
        } = &mut self.coming;
        let is_next = columns.len() == usize::from(index) && index < count;
        if (*coming, *all) != (key, count) || !is_next {
            self.coming = Schema::default();
            return Err("a schema field came out of order");
        }
        if field.name.is_empty() || columns.iter().any(|column| column.name == field.name) {
            self.coming = Schema::default();
            return Err("two fields of the schema have one name, or a field has none");
        }
        columns.push(SchemaColumn {
            name: field.name.into(),
            unit: field.unit.into(),
            kind: field.kind,
        });
        if self.coming.is_complete() {
            self.known.retain(|schema| schema.key != key);
            self.known.push_front(std::mem::take(&mut self.coming));
            self.known.truncate(SCHEMAS_MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_link::schema::write_values;

    use super::*;

    fn schemas(fields: &[(&str, &str, Kind)]) -> Schemas {
        let mut schemas = Schemas::default();
        for (index, (name, unit, kind)) in fields.iter().enumerate() {
            let field = Field {
                name,
                unit,
                kind: *kind,
            };
            let _ = schemas.take(7, index as u8, fields.len() as u8, &field);
        }
        schemas
    }

    #[test]
    fn a_decimal_keeps_every_digit_the_device_sent() {
        let check = |value, exponent, expected| assert_eq!(decimal(value, exponent), expected);
        check(215, -1, "21.5");
        check(-5, -1, "-0.5");
        check(-1275, -2, "-12.75");
        check(200, -1, "20.0");
        check(7, 3, "7000");
        check(0, -3, "0");
        check(i64::MIN, 0, "-9223372036854775808");
        check(i64::MIN, -18, "-9.223372036854775808");
        check(3, -128, "3e-128");
        check(3, 127, "3e127");
    }

    #[test]
    fn readings_become_one_object_with_the_names_of_the_schema() {
        let schemas = schemas(&[
            ("temperature", "Cel", Kind::Integer { exponent: -1 }),
            ("load", "%", Kind::Float),
            ("door \"a\"", "", Kind::Boolean),
        ]);
        let schema = schemas.get(7).expect("complete");
        let values = [
            Value::Integer(215),
            Value::Float(0.25),
            Value::Boolean(true),
        ];
        let mut bytes = [0; 32];
        let size = write_values(&values, &mut bytes).expect("room");
        let json = schema.to_json(&bytes[..size]).expect("of this schema");
        assert_eq!(
            json,
            r#"{"temperature":21.5,"load":0.25,"door \"a\"":true}"#
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        assert_eq!(schema.units().as_deref(), Some("temperature=Cel;load=%"));
        assert_eq!(schema.to_json(&bytes[..size - 1]), None, "too short");
        assert_eq!(schema.to_json(&bytes[..size + 1]), None, "too long");
    }

    #[test]
    fn a_schema_that_names_a_field_twice_is_not_used() {
        let schemas = schemas(&[("a", "", Kind::Boolean), ("a", "", Kind::Boolean)]);
        assert!(schemas.get(7).is_none());
    }

    #[test]
    fn a_schema_that_is_not_whole_is_not_used_and_told() {
        // The index and the count of each field, in turn; the last one is wrong.
        let cases: [&[(u8, u8)]; 8] = [
            &[(0, 0)],
            &[(0, 33)],
            &[(0, u8::MAX)],
            &[(1, 2)],
            &[(0, 3), (2, 3)],
            &[(0, 3), (1, 2)],
            &[(0, 2), (1, 3)],
            &[(0, 1), (1, 1)],
        ];
        for case in cases {
            let mut schemas = Schemas::default();
            let told = case.iter().map(|&(index, count)| {
                let name = format!("f{index}");
                let field = Field {
                    name: &name,
                    unit: "",
                    kind: Kind::Boolean,
                };
                schemas.take(7, index, count, &field).is_err()
            });
            let told: Vec<bool> = told.collect();
            let last = told.len() - 1;
            assert_eq!(told.iter().position(|told| *told), Some(last), "{case:?}");
            assert_eq!(
                schemas.get(7).is_some(),
                case == [(0, 1), (1, 1)],
                "{case:?}"
            );
        }
    }

    #[test]
    fn a_number_that_json_has_not_is_null() {
        assert_eq!(number(Kind::Float, Value::Float(f32::NAN)), "null");
        assert_eq!(number(Kind::Float, Value::Float(21.7)), "21.7");
    }
}
