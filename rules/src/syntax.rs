//! The text of a rule file: [`lexer`] (tokens) → [`parser`] (a tree that holds every byte) →
//! `lower` (what it says, as [`ast`]). Here are the kinds of tokens and nodes.

pub(crate) mod ast;
pub(crate) mod fingerprint;
mod lexer;
pub(crate) mod lower;
pub mod parser;
pub(crate) mod rule_file;

/// What a token or a node of the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
#[repr(u16)]
pub enum SyntaxKind {
    // Tokens: what carries no meaning …
    Whitespace,
    Comment,
    // … words, numbers and texts …
    Name,
    Int,
    Float,
    Duration,
    Text,
    // … signs …
    BraceOpen,
    BraceClose,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    Comma,
    Colon,
    Dot,
    DotDot,
    Assign,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Coalesce,
    AndSign,
    OrSign,
    NotSign,
    // … what opens an item of the file …
    EventWord,
    RuleWord,
    UnmatchedWord,
    TestWord,
    LookupWord,
    // … what opens a clause of a rule …
    OnWord,
    ByWord,
    WhenWord,
    SetWord,
    DropWord,
    RenameWord,
    SendWord,
    EmitWord,
    LimitWord,
    SettleWord,
    SampleWord,
    DeadbandWord,
    WindowWord,
    PatternWord,
    WhileWord,
    // … the words of expressions …
    IfWord,
    ThenWord,
    ElseWord,
    AndWord,
    OrWord,
    NotWord,
    InWord,
    TrueWord,
    FalseWord,
    ForWord,
    UntilWord,
    // … and the rest.
    Unknown,
    End,

    // Nodes.
    File,
    Event,
    Field,
    Rule,
    Unmatched,
    On,
    When,
    Set,
    Drop,
    Rename,
    Send,
    /// A clause or item of the language that this version cannot run yet.
    Later,
    /// Tokens that fit nowhere.
    Error,
    IfExpr,
    OrExpr,
    AndExpr,
    NotExpr,
    CompareExpr,
    InExpr,
    RangeExpr,
    CoalesceExpr,
    SumExpr,
    ProductExpr,
    NegateExpr,
    MemberExpr,
    IndexExpr,
    LiteralExpr,
    VariableExpr,
    CallExpr,
    ParenExpr,
    ListExpr,
    ObjectExpr,
    Pair,
}

use SyntaxKind::*;

/// Every kind in the order of its number.
const ALL: [SyntaxKind; Pair as usize + 1] = [
    Whitespace,
    Comment,
    Name,
    Int,
    Float,
    Duration,
    Text,
    BraceOpen,
    BraceClose,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    Comma,
    Colon,
    Dot,
    DotDot,
    Assign,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Coalesce,
    AndSign,
    OrSign,
    NotSign,
    EventWord,
    RuleWord,
    UnmatchedWord,
    TestWord,
    LookupWord,
    OnWord,
    ByWord,
    WhenWord,
    SetWord,
    DropWord,
    RenameWord,
    SendWord,
    EmitWord,
    LimitWord,
    SettleWord,
    SampleWord,
    DeadbandWord,
    WindowWord,
    PatternWord,
    WhileWord,
    IfWord,
    ThenWord,
    ElseWord,
    AndWord,
    OrWord,
    NotWord,
    InWord,
    TrueWord,
    FalseWord,
    ForWord,
    UntilWord,
    Unknown,
    End,
    File,
    Event,
    Field,
    Rule,
    Unmatched,
    On,
    When,
    Set,
    Drop,
    Rename,
    Send,
    Later,
    Error,
    IfExpr,
    OrExpr,
    AndExpr,
    NotExpr,
    CompareExpr,
    InExpr,
    RangeExpr,
    CoalesceExpr,
    SumExpr,
    ProductExpr,
    NegateExpr,
    MemberExpr,
    IndexExpr,
    LiteralExpr,
    VariableExpr,
    CallExpr,
    ParenExpr,
    ListExpr,
    ObjectExpr,
    Pair,
];

/// The reserved words.
const WORDS: [(&str, SyntaxKind); 31] = [
    ("event", EventWord),
    ("rule", RuleWord),
    ("unmatched", UnmatchedWord),
    ("test", TestWord),
    ("lookup", LookupWord),
    ("on", OnWord),
    ("by", ByWord),
    ("when", WhenWord),
    ("set", SetWord),
    ("drop", DropWord),
    ("rename", RenameWord),
    ("send", SendWord),
    ("emit", EmitWord),
    ("limit", LimitWord),
    ("settle", SettleWord),
    ("sample", SampleWord),
    ("deadband", DeadbandWord),
    ("window", WindowWord),
    ("pattern", PatternWord),
    ("while", WhileWord),
    ("if", IfWord),
    ("then", ThenWord),
    ("else", ElseWord),
    ("and", AndWord),
    ("or", OrWord),
    ("not", NotWord),
    ("in", InWord),
    ("true", TrueWord),
    ("false", FalseWord),
    ("for", ForWord),
    ("until", UntilWord),
];

/// The words that open a clause this version can run.
pub(crate) const CLAUSE_WORDS: [&str; 6] = ["on", "when", "set", "drop", "rename", "send"];

impl SyntaxKind {
    /// The reserved word `text`, or [`Name`].
    pub(crate) fn of_word(text: &str) -> SyntaxKind {
        WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map_or(Name, |(_, kind)| *kind)
    }

    /// Whether it is a name or a reserved word.
    pub(crate) fn is_word(self) -> bool {
        self == Name || (EventWord..=UntilWord).contains(&self)
    }

    /// Whether it is white space or a comment.
    pub(crate) fn is_trivia(self) -> bool {
        matches!(self, Whitespace | Comment)
    }

    /// Whether it opens an item of the file.
    pub(crate) fn opens_item(self) -> bool {
        (EventWord..=LookupWord).contains(&self)
    }

    /// Whether it opens a clause of a rule.
    pub(crate) fn opens_clause(self) -> bool {
        (OnWord..=WhileWord).contains(&self)
    }
}

/// The rule language, as the tree library wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleLanguage {}

impl rowan::Language for RuleLanguage {
    type Kind = SyntaxKind;

    fn kind_from_raw(raw: rowan::SyntaxKind) -> SyntaxKind {
        ALL.get(usize::from(raw.0)).copied().unwrap_or(Error)
    }

    fn kind_to_raw(kind: SyntaxKind) -> rowan::SyntaxKind {
        rowan::SyntaxKind(kind as u16)
    }
}

/// A node of the tree.
pub type SyntaxNode = rowan::SyntaxNode<RuleLanguage>;
/// A token of the tree.
pub type SyntaxToken = rowan::SyntaxToken<RuleLanguage>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_number() {
        for (number, kind) in ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
        }
    }
}
