//! Schemas of nodes, and readings as the JSON that rules and upstreams see.

use std::collections::HashMap;

use serde_json::{Map, Number, Value as Json};
use tidegate_link::schema::{FIELD_COUNT_MAX, read_value};
use tidegate_link::{Field, Kind, Value};

/// Schemas remembered per port: one node has one, and each new firmware may bring another.
const SCHEMAS_MAX: usize = 32;

/// A field of a schema, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the JSON object.
    pub name: String,
    /// Its unit, empty for none.
    pub unit: String,
    kind: Kind,
}

/// The schemas that nodes have sent, by their keys.
#[derive(Debug, Default)]
pub struct Schemas {
    whole: HashMap<u32, Vec<Column>>,
    /// The one that is being sent, field by field.
    partial: (u32, Vec<Column>),
}

impl Schemas {
    /// Whether every field of a schema is known.
    pub fn knows(&self, key: u32) -> bool {
        self.whole.contains_key(&key)
    }

    /// The fields of a schema.
    pub fn columns(&self, key: u32) -> Option<&[Column]> {
        self.whole.get(&key).map(Vec::as_slice)
    }

    /// Takes field `index` of `count`. Fields come in order; the last one makes the schema
    /// known. A field out of order starts anew.
    pub fn take(&mut self, key: u32, index: u8, count: u8, field: Field<'_>) {
        if self.partial.0 != key || index == 0 {
            self.partial = (key, Vec::new());
        }
        let columns = &mut self.partial.1;
        if columns.len() != usize::from(index) || columns.len() >= FIELD_COUNT_MAX {
            return;
        }
        columns.push(Column {
            name: field.name.into(),
            unit: field.unit.into(),
            kind: field.kind,
        });
        if columns.len() == usize::from(count) {
            if self.whole.len() >= SCHEMAS_MAX {
                self.whole.clear();
            }
            self.whole.insert(key, std::mem::take(columns));
        }
    }

    /// Readings as a JSON object with a member per field; `None` when the schema is not known
    /// or the values do not fit it.
    pub fn read(&self, key: u32, mut values: &[u8]) -> Option<Json> {
        let mut object = Map::new();
        for column in self.columns(key)? {
            let value = read_value(column.kind, &mut values)?;
            object.insert(column.name.clone(), json(column.kind, value));
        }
        values.is_empty().then_some(Json::Object(object))
    }
}

/// A value as a number that reads like what was measured: 215 with exponent −1 is 21.5.
fn json(kind: Kind, value: Value) -> Json {
    match (kind, value) {
        (_, Value::Boolean(value)) => value.into(),
        (Kind::Integer { exponent }, Value::Integer(value)) if exponent != 0 => {
            decimal(&format!("{value}e{exponent}"))
        }
        (_, Value::Integer(value)) => value.into(),
        // The shortest decimal that reads back as this binary32 number.
        (_, Value::Float(value)) => decimal(&value.to_string()),
    }
}

/// A decimal number; null for what JSON cannot say.
fn decimal(text: &str) -> Json {
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map_or(Json::Null, Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_link::schema::write_values;

    fn schemas(kinds: &[Kind]) -> Schemas {
        let mut schemas = Schemas::default();
        for (index, kind) in (0u8..).zip(kinds) {
            let name = ["a", "b", "c", "d"][usize::from(index)];
            let field = Field {
                name,
                unit: "",
                kind: *kind,
            };
            assert!(!schemas.knows(7));
            schemas.take(7, index, kinds.len() as u8, field);
        }
        schemas
    }

    #[test]
    fn readings_are_numbers_as_they_were_measured() {
        let schemas = schemas(&[
            Kind::Integer { exponent: -1 },
            Kind::Integer { exponent: 0 },
            Kind::Float,
            Kind::Boolean,
        ]);
        let mut bytes = [0; 32];
        let values = [
            Value::Integer(-215),
            Value::Integer(i64::MIN),
            Value::Float(21.3),
            Value::Boolean(true),
        ];
        let size = write_values(&values, &mut bytes).expect("room");
        let read = schemas.read(7, &bytes[..size]).expect("readings");
        assert_eq!(
            read.to_string(),
            r#"{"a":-21.5,"b":-9223372036854775808,"c":21.3,"d":true}"#
        );
        assert_eq!(schemas.read(8, &bytes[..size]), None, "another schema");
        assert_eq!(schemas.read(7, &bytes[..size - 1]), None, "cut short");
        assert_eq!(schemas.read(7, &bytes[..size + 1]), None, "too much");
    }

    #[test]
    fn what_json_cannot_say_is_null() {
        let schemas = schemas(&[Kind::Float]);
        let mut bytes = [0; 4];
        write_values(&[Value::Float(f32::NAN)], &mut bytes).expect("room");
        assert_eq!(schemas.read(7, &bytes).expect("readings")["a"], Json::Null);
    }

    #[test]
    fn a_schema_is_known_only_when_every_field_came_in_order() {
        let field = Field {
            name: "t",
            unit: "Cel",
            kind: Kind::Float,
        };
        let mut schemas = Schemas::default();
        schemas.take(7, 1, 2, field);
        assert!(!schemas.knows(7), "the first field is missing");
        schemas.take(7, 0, 2, field);
        schemas.take(9, 1, 2, field);
        assert!(
            !schemas.knows(7) && !schemas.knows(9),
            "another schema came between"
        );
        schemas.take(7, 0, 2, field);
        schemas.take(7, 1, 2, field);
        assert!(schemas.knows(7));
    }
}
