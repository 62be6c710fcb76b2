//! Tokens to a tree that holds every byte of the text, however broken the text is.
//!
//! An error is reported once where it is found; the tokens that fit nowhere go into an `Error`
//! node, and parsing resumes at the next clause or item. So a file with three mistakes gives three
//! errors.

mod clause;
mod expr;
mod item;

use std::ops::Range;

use rowan::{Checkpoint, GreenNode, GreenNodeBuilder, Language};

use crate::diagnostic::Diagnostic;
use crate::syntax::SyntaxKind::{self, *};
use crate::syntax::lexer::{Token, lex};
use crate::syntax::{RuleLanguage, SyntaxNode};

/// How deep expressions may nest: enough for any hand, little enough for any stack.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// How many errors of form are reported for one file; who has more has the wrong file.
const ERRORS_MAX: usize = 100;

/// The tree of one file and what is wrong with its form.
#[derive(Debug, Clone)]
pub struct Parsed {
    green: GreenNode,
    /// All errors of form, in the order of the text.
    pub errors: Vec<Diagnostic>,
}

impl Parsed {
    /// The root of the tree. Its text is the text that was parsed.
    pub fn root(&self) -> SyntaxNode {
        SyntaxNode::new_root(self.green.clone())
    }
}

/// Parses `text`, the contents of `file`.
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parser = Parser::new(file, text, lex(text));
    parser.file();
    parser.finish()
}

/// Parses the bytes `part` of `text` as one expression, such as the inside of `{…}` in a topic.
/// Offsets in the tree count from the start of the part.
pub(crate) fn parse_expr(file: &str, text: &str, part: Range<usize>) -> Parsed {
    let mut tokens = lex(&text[part.clone()]);
    for token in &mut tokens {
        token.span = token.span.start + part.start..token.span.end + part.start;
    }
    let mut parser = Parser::new(file, text, tokens);
    parser.builder.start_node(RuleLanguage::kind_to_raw(File));
    parser.expr();
    if !parser.at(End) {
        parser.expected("`}` after the value");
        parser.open(Error);
        while !parser.at(End) {
            parser.bump();
        }
        parser.close();
    }
    parser.trivia();
    parser.close();
    if tokens_are_blank(&parser.tokens) {
        parser.errors = vec![Diagnostic::error(
            file,
            text,
            part,
            "expected a name in `{}`",
        )];
    }
    parser.finish()
}

fn tokens_are_blank(tokens: &[Token]) -> bool {
    tokens.iter().all(|token| token.kind.is_trivia())
}

struct Parser<'t> {
    file: &'t str,
    text: &'t str,
    tokens: Vec<Token>,
    /// The next token that is not in the tree yet, which may be white space.
    at: usize,
    builder: GreenNodeBuilder<'static>,
    errors: Vec<Diagnostic>,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn new(file: &'t str, text: &'t str, tokens: Vec<Token>) -> Parser<'t> {
        Parser {
            file,
            text,
            tokens,
            at: 0,
            builder: GreenNodeBuilder::new(),
            errors: Vec::new(),
            depth: 0,
        }
    }

    fn finish(self) -> Parsed {
        Parsed {
            green: self.builder.finish(),
            errors: self.errors,
        }
    }

    /// Place of the `ahead`th token that means something.
    fn place(&self, ahead: usize) -> usize {
        let meaningful = |at: &usize| !self.tokens[*at].kind.is_trivia();
        (self.at..self.tokens.len())
            .filter(meaningful)
            .nth(ahead)
            .unwrap_or(self.tokens.len())
    }

    fn kind_ahead(&self, ahead: usize) -> SyntaxKind {
        self.tokens
            .get(self.place(ahead))
            .map_or(End, |token| token.kind)
    }

    fn current(&self) -> SyntaxKind {
        self.kind_ahead(0)
    }

    fn at(&self, kind: SyntaxKind) -> bool {
        self.current() == kind
    }

    /// Whether the next token is the word `word`, reserved or not.
    fn at_word(&self, word: &str) -> bool {
        self.current().is_word() && self.current_text() == word
    }

    fn current_text(&self) -> &'t str {
        &self.text[self.current_span()]
    }

    /// Bytes of the next token; empty at the end of the text.
    fn current_span(&self) -> Range<usize> {
        match self.tokens.get(self.place(0)) {
            Some(token) => token.span.clone(),
            None => {
                let last = self.previous_span().end;
                last..last
            }
        }
    }

    /// Bytes of the last token that is in the tree and means something.
    fn previous_span(&self) -> Range<usize> {
        let before = &self.tokens[..self.at];
        before
            .iter()
            .rfind(|token| !token.kind.is_trivia())
            .map_or(0..0, |token| token.span.clone())
    }

    fn push(&mut self) {
        let token = &self.tokens[self.at];
        let kind = RuleLanguage::kind_to_raw(token.kind);
        self.builder.token(kind, &self.text[token.span.clone()]);
        self.at += 1;
    }

    fn trivia(&mut self) {
        while self.tokens.get(self.at).is_some_and(|t| t.kind.is_trivia()) {
            self.push();
        }
    }

    /// Takes the next token into the tree, with the white space before it.
    fn bump(&mut self) {
        self.trivia();
        if self.at < self.tokens.len() {
            self.push();
        }
    }

    fn eat(&mut self, kind: SyntaxKind) -> bool {
        let found = self.at(kind);
        if found {
            self.bump();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.bump();
        }
        found
    }

    /// Takes a `kind`, or says that `what` is expected.
    fn expect(&mut self, kind: SyntaxKind, what: &str) -> bool {
        let found = self.eat(kind);
        if !found {
            self.expected(what);
        }
        found
    }

    fn open(&mut self, kind: SyntaxKind) {
        self.trivia();
        self.builder.start_node(RuleLanguage::kind_to_raw(kind));
    }

    fn open_at(&mut self, checkpoint: Checkpoint, kind: SyntaxKind) {
        self.builder
            .start_node_at(checkpoint, RuleLanguage::kind_to_raw(kind));
    }

    fn close(&mut self) {
        self.builder.finish_node();
    }

    fn checkpoint(&mut self) -> Checkpoint {
        self.trivia();
        self.builder.checkpoint()
    }

    fn diagnostic(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, self.text, span, message)
    }

    /// Reports `error`, unless the same place was already complained about.
    fn report(&mut self, error: Diagnostic) {
        let known = |e: &Diagnostic| e.span.start == error.span.start;
        if self.errors.len() < ERRORS_MAX && !self.errors.iter().any(known) {
            self.errors.push(error);
        }
    }

    fn expected(&mut self, what: &str) {
        let error = match self.current() {
            End => self
                .diagnostic(self.current_span(), format!("expected {what}"))
                .with_label("the file ends here"),
            Unknown => return self.unknown_token(),
            kind => {
                let found = self.current_text();
                let error = self.diagnostic(
                    self.current_span(),
                    format!("expected {what}, found `{found}`"),
                );
                match what.contains("a name") && kind.is_word() {
                    true => error.with_label("a word of the language cannot be a name"),
                    false => error,
                }
            }
        };
        self.report(error);
    }

    fn unknown_token(&mut self) {
        let text = self.current_text();
        let error = self.diagnostic(self.current_span(), format!("`{text}` means nothing here"));
        let inner = text.trim_matches(|c: char| !c.is_alphanumeric());
        self.report(match text.chars().next() {
            Some(c) if c.is_ascii_digit() => error
                .with_label("numbers are written 30 or 0.5, durations 250ms, 30s, 1m30s, 24h, 7d"),
            Some('\'' | '“' | '”' | '„' | '‘' | '’') => error
                .with_label("text stands in straight double quotes")
                .with_replacement(format!("\"{inner}\"")),
            _ => error,
        });
    }

    /// Moves tokens into an `Error` node up to the next place where parsing can resume.
    fn skip(&mut self) {
        if self.at_boundary() {
            return;
        }
        self.open(Error);
        self.skip_tokens();
        self.close();
    }

    /// Takes tokens up to the next clause, item or unmatched `}`; braces are taken in pairs.
    fn skip_tokens(&mut self) {
        let mut open_braces = 0usize;
        loop {
            match self.current() {
                End => return,
                BraceOpen => open_braces += 1,
                BraceClose if open_braces == 0 => return,
                BraceClose => open_braces -= 1,
                _ if open_braces == 0 && self.at_boundary() => return,
                kind if kind.opens_item() && self.starts_line() => return,
                _ => {}
            }
            self.bump();
        }
    }

    fn at_boundary(&self) -> bool {
        let kind = self.current();
        kind.opens_clause() || kind.opens_item() || matches!(kind, BraceClose | End)
    }

    /// Whether the next token stands at the very left of its line: there, an item word surely
    /// opens an item, even where a `}` was forgotten.
    fn starts_line(&self) -> bool {
        let start = self.current_span().start;
        start == 0 || self.text.as_bytes().get(start - 1) == Some(&b'\n')
    }
}
