//! A column of CSV lines: its name and what its cells are, written `"t"` or `"t float"`.

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Whatever they are, and changed in nothing.
    Any,
    /// Text, also where it looks like a number.
    Text,
    /// Whole numbers of 64 bits.
    Int,
    /// Numbers.
    Float,
    /// `true` or `false`, `1` or `0`.
    Bool,
}

impl ColumnType {
    /// The words, as the rule language has them.
    const WORDS: [(&'static str, ColumnType); 5] = [
        ("text", ColumnType::Text),
        ("int", ColumnType::Int),
        ("float", ColumnType::Float),
        ("bool", ColumnType::Bool),
        ("any", ColumnType::Any),
    ];
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its member in the payload.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnType,
}

impl Column {
    /// Reads a name, with a type behind it or without one.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn read(written: &str) -> Result<Column, String> {
        let written = written.trim();
        let (name, kind) = match written.rsplit_once(char::is_whitespace) {
            None => (written, ColumnType::Any),
            Some((name, word)) => {
                let mut types = ColumnType::WORDS.into_iter();
                let found = types.find(|(known, _)| *known == word);
                let (_, kind) = found.ok_or_else(|| {
                    format!(
                        "`{word}` is no type of a column, which is text, int, float, bool or any; a name with a blank in \
                         it needs one: \"{written} any\""
                    )
                })?;
                (name.trim_end(), kind)
            }
        };
        if name.is_empty() {
            return Err("a column needs a name".into());
        }
        Ok(Column {
            name: name.to_owned(),
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_name_and_perhaps_a_type() {
        for (written, name, kind) in [
            ("t", "t", ColumnType::Any),
            ("t float", "t", ColumnType::Float),
            ("t\tint", "t", ColumnType::Int),
            ("  id   text ", "id", ColumnType::Text),
            ("on bool", "on", ColumnType::Bool),
            ("air temperature any", "air temperature", ColumnType::Any),
            (
                "air temperature float",
                "air temperature",
                ColumnType::Float,
            ),
            ("float", "float", ColumnType::Any),
            ("text text", "text", ColumnType::Text),
            ("°C float", "°C", ColumnType::Float),
        ] {
            let found = Column::read(written).expect("a column");
            assert_eq!((found.name.as_str(), found.kind), (name, kind), "{written}");
        }
        for (written, part) in [
            ("t flaot", "`flaot` is no type of a column"),
            ("air temperature", "\"air temperature any\""),
            ("t Float", "`Float` is no type"),
            ("t number", "text, int, float, bool or any"),
            ("", "a column needs a name"),
            (" ", "a column needs a name"),
        ] {
            let why = Column::read(written).expect_err("no column");
            assert!(why.contains(part), "{written}: {why}");
        }
    }
}
