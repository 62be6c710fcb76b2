//! The functions of the language: names, and how many arguments they take.

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Abs,
    Bool,
    Ceil,
    Concat,
    Contains,
    EndsWith,
    Exists,
    Extension,
    Float,
    Floor,
    Format,
    Hash,
    Int,
    Join,
    Len,
    Lower,
    Matches,
    Max,
    Min,
    Replace,
    Round,
    Seconds,
    Split,
    Sqrt,
    StartsWith,
    Text,
    Trim,
    Upper,
}

/// Name, function, least and most arguments, and how a call looks.
type Entry = (&'static str, Function, usize, usize, &'static str);

/// As many arguments as a person cares to write.
const MANY: usize = 64;

/// All functions. `number` is a second name for `float`.
pub(crate) const FUNCTIONS: [Entry; 29] = [
    ("abs", Function::Abs, 1, 1, "abs(x)"),
    ("bool", Function::Bool, 1, 1, "bool(x)"),
    ("ceil", Function::Ceil, 1, 1, "ceil(x)"),
    ("concat", Function::Concat, 1, MANY, "concat(a, b, …)"),
    ("contains", Function::Contains, 2, 2, "contains(text, part)"),
    (
        "ends_with",
        Function::EndsWith,
        2,
        2,
        "ends_with(text, end)",
    ),
    ("exists", Function::Exists, 1, 1, "exists(x)"),
    (
        "extension",
        Function::Extension,
        1,
        1,
        "extension(\"name\")",
    ),
    ("float", Function::Float, 1, 1, "float(x)"),
    ("floor", Function::Floor, 1, 1, "floor(x)"),
    (
        "format",
        Function::Format,
        1,
        MANY,
        "format(\"… {} …\", a, …)",
    ),
    ("hash", Function::Hash, 1, 1, "hash(x)"),
    ("int", Function::Int, 1, 1, "int(x)"),
    ("join", Function::Join, 2, 2, "join(list, \",\")"),
    ("len", Function::Len, 1, 1, "len(x)"),
    ("lower", Function::Lower, 1, 1, "lower(text)"),
    (
        "matches",
        Function::Matches,
        2,
        2,
        "matches(text, \"pattern\")",
    ),
    ("max", Function::Max, 1, MANY, "max(a, b, …)"),
    ("min", Function::Min, 1, MANY, "min(a, b, …)"),
    ("number", Function::Float, 1, 1, "number(x)"),
    (
        "replace",
        Function::Replace,
        3,
        3,
        "replace(text, from, to)",
    ),
    (
        "round",
        Function::Round,
        1,
        2,
        "round(x) or round(x, digits)",
    ),
    ("seconds", Function::Seconds, 1, 1, "seconds(duration)"),
    ("split", Function::Split, 2, 2, "split(text, \",\")"),
    ("sqrt", Function::Sqrt, 1, 1, "sqrt(x)"),
    (
        "starts_with",
        Function::StartsWith,
        2,
        2,
        "starts_with(text, start)",
    ),
    ("text", Function::Text, 1, 1, "text(x)"),
    ("trim", Function::Trim, 1, 1, "trim(text)"),
    ("upper", Function::Upper, 1, 1, "upper(text)"),
];

impl Function {
    /// The function called `name`.
    pub(crate) fn named(name: &str) -> Option<&'static Entry> {
        FUNCTIONS.iter().find(|(known, ..)| *known == name)
    }
}

/// Functions of windows and of remembered values, which come with a later version.
pub(crate) const LATER: [&str; 12] = [
    "age", "avg", "changed", "count", "delta", "first", "last", "p95", "prev", "rate", "stddev",
    "sum",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_in_the_language_guide() {
        let guide = include_str!("../../README.md");
        for (name, ..) in FUNCTIONS {
            assert!(guide.contains(&format!("`{name}(")), "{name}");
        }
    }
}
