//! Random expressions, compiled, against a plain evaluator that walks them.
//!
//! The expressions are generated with their types, written as text, and go the whole way: lexer,
//! parser, checker, closures. The reference shares nothing with them but the meaning of the words.

mod support;

use proptest::prelude::*;
use support::{decide, event, rules};

/// An expression of type float, int or bool; text only where it is compared.
#[derive(Debug, Clone)]
enum Tree {
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A field by its name.
    Field(&'static str),
    Calculate(Box<Tree>, char, Box<Tree>),
    Negate(Box<Tree>),
    Compare(Box<Tree>, &'static str, Box<Tree>),
    Between(Box<Tree>, Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    If(Box<Tree>, Box<Tree>, Box<Tree>),
    Default(Box<Tree>, Box<Tree>),
    Exists(Box<Tree>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Int(i64),
    Float(f64),
    Bool(bool),
    Undefined,
    Error,
}

use Found::{Error, Undefined};

/// Fields, their types, and what the payload says about them.
const FIELDS: [(&str, &str, Found); 9] = [
    ("i", "int", Found::Int(7)),
    ("j", "int", Found::Int(-3)),
    ("z", "int", Found::Int(0)),
    ("big", "int", Found::Int(i64::MAX)),
    ("mi", "int", Undefined),
    ("f", "float", Found::Float(2.5)),
    ("mf", "float", Undefined),
    ("b", "bool", Found::Bool(true)),
    ("mb", "bool", Undefined),
];

const PAYLOAD: &str =
    r#"{"i":7,"j":-3,"z":0,"big":9223372036854775807,"mi":null,"f":2.5,"b":true}"#;

fn written(tree: &Tree) -> String {
    match tree {
        Tree::Int(value) => value.to_string(),
        Tree::Float(value) => format!("{value:?}"),
        Tree::Bool(value) => value.to_string(),
        Tree::Field(name) => (*name).to_owned(),
        Tree::Calculate(a, sign, b) => format!("({} {sign} {})", written(a), written(b)),
        Tree::Negate(a) => format!("(-{})", written(a)),
        Tree::Compare(a, sign, b) => format!("({} {sign} {})", written(a), written(b)),
        Tree::Between(a, low, high) => {
            format!("({} in {}..{})", written(a), written(low), written(high))
        }
        Tree::And(a, b) => format!("({} and {})", written(a), written(b)),
        Tree::Or(a, b) => format!("({} or {})", written(a), written(b)),
        Tree::Not(a) => format!("(not {})", written(a)),
        Tree::If(c, a, b) => {
            format!(
                "(if {} then {} else {})",
                written(c),
                written(a),
                written(b)
            )
        }
        Tree::Default(a, b) => format!("({} ?? {})", written(a), written(b)),
        Tree::Exists(a) => format!("exists({})", written(a)),
    }
}

fn number(found: Found) -> Option<f64> {
    match found {
        Found::Int(value) => Some(value as f64),
        Found::Float(value) => Some(value),
        _ => None,
    }
}

fn calculate(a: Found, sign: char, b: Found) -> Found {
    if let (Found::Int(a), Found::Int(b)) = (a, b)
        && sign != '/'
    {
        let result = match sign {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            _ => a.checked_rem(b),
        };
        return result.map_or(Error, Found::Int);
    }
    let (Some(a), Some(b)) = (number(a), number(b)) else {
        return Error;
    };
    if matches!(sign, '/' | '%') && b == 0.0 {
        return Error;
    }
    let result = match sign {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        '/' => a / b,
        _ => a % b,
    };
    if result.is_finite() {
        Found::Float(result)
    } else {
        Error
    }
}

fn compare(a: Found, sign: &str, b: Found) -> Found {
    let order = match (a, b) {
        (Found::Int(a), Found::Int(b)) => Some(a.cmp(&b)),
        (Found::Bool(a), Found::Bool(b)) => Some(a.cmp(&b)),
        _ => number(a)
            .zip(number(b))
            .and_then(|(a, b)| a.partial_cmp(&b)),
    };
    let Some(order) = order else { return Error };
    Found::Bool(match sign {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// What is known about a value before the event comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Int,
    Float,
    Bool,
    Any,
}

fn kind(tree: &Tree, declared: bool) -> Kind {
    let of = |tree: &Tree| kind(tree, declared);
    match tree {
        Tree::Int(_) => Kind::Int,
        Tree::Float(_) => Kind::Float,
        Tree::Field(_) if !declared => Kind::Any,
        Tree::Field(name) => match FIELDS.iter().find(|(known, ..)| known == name) {
            Some((_, "int", _)) => Kind::Int,
            Some((_, "float", _)) => Kind::Float,
            _ => Kind::Bool,
        },
        Tree::Negate(a) => of(a),
        Tree::Calculate(a, sign, b) => match (of(a), of(b)) {
            (Kind::Float, _) | (_, Kind::Float) => Kind::Float,
            (Kind::Any, _) | (_, Kind::Any) => Kind::Any,
            _ if *sign == '/' => Kind::Float,
            _ => Kind::Int,
        },
        Tree::If(_, a, b) => match (of(a), of(b)) {
            (a, b) if a == b => a,
            (Kind::Any, _) | (_, Kind::Any) => Kind::Any,
            _ => Kind::Float,
        },
        Tree::Default(a, b) => match (of(a), of(b)) {
            (a, b) if a == b => a,
            (Kind::Any, Kind::Int) | (Kind::Int, Kind::Any) => Kind::Any,
            (Kind::Any, known) | (known, Kind::Any) => known,
            _ => Kind::Float,
        },
        _ => Kind::Bool,
    }
}

/// Both values, or how the first that has none stops.
fn both(a: &Tree, b: &Tree, declared: bool) -> Result<(Found, Found), Found> {
    match walk(a, declared) {
        stop @ (Undefined | Error) => Err(stop),
        a => match walk(b, declared) {
            stop @ (Undefined | Error) => Err(stop),
            b => Ok((a, b)),
        },
    }
}

fn logic(a: &Tree, b: &Tree, decisive: bool, declared: bool) -> Found {
    let a = walk(a, declared);
    if matches!(a, Error) || a == Found::Bool(decisive) {
        return a;
    }
    match (a, walk(b, declared)) {
        (_, Error) => Error,
        (_, b) if b == Found::Bool(decisive) => b,
        (Undefined, _) => Undefined,
        (_, b) => b,
    }
}

/// The value, as a float where the checker knows that it is one.
fn walk(tree: &Tree, declared: bool) -> Found {
    match (kind(tree, declared), unwidened(tree, declared)) {
        (Kind::Float, Found::Int(value)) => Found::Float(value as f64),
        (_, found) => found,
    }
}

fn unwidened(tree: &Tree, declared: bool) -> Found {
    match tree {
        Tree::Int(value) => Found::Int(*value),
        Tree::Float(value) => Found::Float(*value),
        Tree::Bool(value) => Found::Bool(*value),
        Tree::Field(name) => {
            let field = FIELDS.iter().find(|(known, ..)| known == name);
            field.map_or(Error, |(_, _, found)| *found)
        }
        Tree::Calculate(a, sign, b) => match both(a, b, declared) {
            Ok((a, b)) => calculate(a, *sign, b),
            Err(stop) => stop,
        },
        Tree::Negate(a) => match walk(a, declared) {
            Found::Int(value) => value.checked_neg().map_or(Error, Found::Int),
            Found::Float(value) => Found::Float(-value),
            stop => stop,
        },
        Tree::Compare(a, sign, b) => match both(a, b, declared) {
            Ok((a, b)) => compare(a, sign, b),
            Err(stop) => stop,
        },
        Tree::Between(a, low, high) => {
            match (walk(a, declared), walk(low, declared), walk(high, declared)) {
                (stop @ (Undefined | Error), _, _) => stop,
                (a, low, high) => match compare(low, "<=", a) {
                    Found::Bool(true) => compare(a, "<=", high),
                    decided => decided,
                },
            }
        }
        Tree::And(a, b) => logic(a, b, false, declared),
        Tree::Or(a, b) => logic(a, b, true, declared),
        Tree::Not(a) => match walk(a, declared) {
            Found::Bool(value) => Found::Bool(!value),
            stop => stop,
        },
        Tree::If(c, a, b) => match walk(c, declared) {
            Found::Bool(true) => walk(a, declared),
            Found::Bool(false) => walk(b, declared),
            stop => stop,
        },
        Tree::Default(a, b) => match walk(a, declared) {
            Undefined => walk(b, declared),
            decided => decided,
        },
        Tree::Exists(a) => match walk(a, declared) {
            Error => Error,
            found => Found::Bool(found != Undefined),
        },
    }
}

fn boxed(tree: impl Strategy<Value = Tree>) -> impl Strategy<Value = Box<Tree>> {
    tree.prop_map(Box::new)
}

fn numbers(depth: u32) -> BoxedStrategy<Tree> {
    let leaf = prop_oneof![
        (-9i64..10).prop_map(Tree::Int),
        (-80i64..80).prop_map(|eighths| Tree::Float(eighths as f64 / 8.0)),
        prop::sample::select(vec!["i", "j", "z", "big", "mi", "f", "mf"]).prop_map(Tree::Field),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || boxed(numbers(depth - 1));
    let signs = prop::sample::select(vec!['+', '-', '*', '/', '%']);
    prop_oneof![
        2 => leaf,
        4 => (inner(), signs, inner()).prop_map(|(a, sign, b)| Tree::Calculate(a, sign, b)),
        1 => inner().prop_map(Tree::Negate),
        1 => (boxed(conditions(depth - 1)), inner(), inner())
            .prop_map(|(c, a, b)| Tree::If(c, a, b)),
        1 => (inner(), inner()).prop_map(|(a, b)| Tree::Default(a, b)),
    ]
    .boxed()
}

fn conditions(depth: u32) -> BoxedStrategy<Tree> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::Bool),
        prop::sample::select(vec!["b", "mb"]).prop_map(Tree::Field),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || boxed(conditions(depth - 1));
    let number = || boxed(numbers(depth - 1));
    let ends = (-9i64..0, 0i64..9);
    let signs = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        1 => leaf,
        4 => (number(), signs, number()).prop_map(|(a, sign, b)| Tree::Compare(a, sign, b)),
        2 => (number(), ends).prop_map(|(a, (low, high))| {
            Tree::Between(a, Box::new(Tree::Int(low)), Box::new(Tree::Int(high)))
        }),
        2 => (inner(), inner()).prop_map(|(a, b)| Tree::And(a, b)),
        2 => (inner(), inner()).prop_map(|(a, b)| Tree::Or(a, b)),
        1 => inner().prop_map(Tree::Not),
        1 => (inner(), inner(), inner()).prop_map(|(c, a, b)| Tree::If(c, a, b)),
        1 => (inner(), inner()).prop_map(|(a, b)| Tree::Default(a, b)),
        1 => number().prop_map(Tree::Exists),
    ]
    .boxed()
}

/// Whether some part of constants alone is an error, which the checker refuses.
fn refused(text: &str) -> bool {
    let file = tidegate_rules::RuleFile {
        path: "r".to_owned(),
        text: text.to_owned(),
    };
    tidegate_rules::compile(&[file], &support::destinations()).is_err()
}

fn parts(tree: &Tree) -> Vec<&Tree> {
    match tree {
        Tree::Int(_) | Tree::Float(_) | Tree::Bool(_) | Tree::Field(_) => Vec::new(),
        Tree::Negate(a) | Tree::Not(a) | Tree::Exists(a) => vec![a],
        Tree::Calculate(a, _, b)
        | Tree::Compare(a, _, b)
        | Tree::And(a, b)
        | Tree::Or(a, b)
        | Tree::Default(a, b) => vec![a, b],
        Tree::Between(a, b, c) | Tree::If(a, b, c) => vec![a, b, c],
    }
}

/// Whether some part is an error whatever the event says.
fn fails_for_sure(tree: &Tree, declared: bool) -> bool {
    fn constant(tree: &Tree) -> bool {
        !matches!(tree, Tree::Field(_)) && parts(tree).into_iter().all(constant)
    }
    let here = constant(tree) && walk(tree, declared) == Error;
    here || parts(tree)
        .into_iter()
        .any(|part| fails_for_sure(part, declared))
}

fn check(tree: &Tree, declared: bool) {
    let fields: Vec<String> = FIELDS
        .iter()
        .map(|(name, ty, _)| format!("{name} {ty}"))
        .collect();
    let on = if declared { "e" } else { "\"t\"" };
    let expression = written(tree);
    let text = format!(
        "event e {{ topic \"t\" {} }} rule r {{ on {on} set v = {expression} send to cloud }}",
        fields.join(" ")
    );
    if refused(&text) {
        assert!(fails_for_sure(tree, declared), "refused {expression}");
        return;
    }
    let decision = decide(&rules(&text), &event("t", PAYLOAD));
    let output = &decision.outputs[0].output;
    let found = match output.data.as_deref() {
        None => Error,
        Some(data) => {
            let data: serde_json::Value = serde_json::from_slice(data).expect("JSON");
            match data.get("v") {
                None => Undefined,
                Some(value) => value
                    .as_bool()
                    .map(Found::Bool)
                    .or(value.as_f64().map(Found::Float))
                    .expect("a number or a bool"),
            }
        }
    };
    let expected = walk(tree, declared);
    let agree = match (number(found), number(expected)) {
        (Some(a), Some(b)) => (a - b).abs() <= b.abs() * 1e-12,
        _ => found == expected,
    };
    assert!(
        agree,
        "{expression}: found {found:?}, expected {expected:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn closures_agree_with_the_walk_over_declared_fields(tree in conditions(4)) {
        check(&tree, true);
    }

    #[test]
    fn closures_agree_with_the_walk_over_numbers(tree in numbers(4)) {
        check(&tree, true);
    }

    #[test]
    fn closures_agree_with_the_walk_over_undeclared_fields(tree in conditions(4)) {
        check(&tree, false);
    }
}
