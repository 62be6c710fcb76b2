//! From the tree to what it says. What the parser already complained about becomes
//! [`ExprKind::Error`] or is left out, so that nobody complains twice.

mod expr;
mod text;

use crate::diagnostic::Diagnostic;
use crate::syntax::SyntaxKind::{self, *};
use crate::syntax::ast::{
    Clause, EventBlock, Expr, FieldLine, File, Name, RuleBlock, Send, Source, Span,
};
use crate::syntax::fingerprint::Fingerprint;
use crate::syntax::parser::Parsed;
use crate::syntax::{SyntaxNode, SyntaxToken};

/// What the file says, and the errors found on the way.
pub(crate) fn lower(file: &str, text: &str, parsed: &Parsed) -> (File, Vec<Diagnostic>) {
    let mut lowering = Lowering {
        file,
        text,
        base: 0,
        depth: 0,
        errors: Vec::new(),
    };
    let ast = lowering.file(&parsed.root());
    (ast, lowering.errors)
}

struct Lowering<'t> {
    file: &'t str,
    text: &'t str,
    /// Where the tree at hand starts in the file; not 0 inside a template.
    base: usize,
    /// Levels of the expression above the one at hand.
    depth: usize,
    errors: Vec<Diagnostic>,
}

impl Lowering<'_> {
    fn file(&mut self, root: &SyntaxNode) -> File {
        let mut file = File::default();
        for node in root.children() {
            match node.kind() {
                Event => file.events.extend(self.event(&node)),
                Rule => {
                    if let Some(name) = self.first_name(&node) {
                        file.rules.push(self.rule(name, &node));
                    }
                }
                Unmatched => {
                    let name = first_token(&node).map(|token| self.name(&token));
                    file.unmatched
                        .extend(name.map(|name| self.rule(name, &node)));
                }
                _ => {}
            }
        }
        file
    }

    fn span(&self, range: rowan::TextRange) -> Span {
        self.base + usize::from(range.start())..self.base + usize::from(range.end())
    }

    fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let error = Diagnostic::error(self.file, self.text, span, message);
        let place = self.errors.len();
        self.errors.push(error);
        &mut self.errors[place]
    }

    fn name(&self, token: &SyntaxToken) -> Name {
        Name {
            text: token.text().to_owned(),
            span: self.span(token.text_range()),
        }
    }

    /// The name after the word that opens the node.
    fn first_name(&self, node: &SyntaxNode) -> Option<Name> {
        tokens(node)
            .nth(1)
            .filter(|token| token.kind() == SyntaxKind::Name)
            .map(|token| self.name(&token))
    }

    fn event(&mut self, node: &SyntaxNode) -> Option<EventBlock> {
        let name = self.first_name(node)?;
        let mut topic = None;
        for token in tokens(node).filter(|token| token.kind() == Text) {
            let quoted = self.quoted(&token, text::Escapes::Template);
            if topic.is_some() {
                self.error(quoted.span.clone(), "an event has one topic")
                    .label = Some("this is the second".to_owned());
            } else {
                topic = Some(quoted);
            }
        }
        let fields = node.children().filter(|child| child.kind() == Field);
        let fields: Vec<SyntaxNode> = fields.collect();
        Some(EventBlock {
            name,
            topic,
            fields: fields
                .iter()
                .filter_map(|field| self.field(field))
                .collect(),
            fingerprint: fingerprint(node),
        })
    }

    fn field(&mut self, node: &SyntaxNode) -> Option<FieldLine> {
        let mut words = tokens(node);
        let name = self.name(&words.next()?);
        let kind = self.name(&words.next()?);
        let mut line = FieldLine {
            name,
            kind,
            required: false,
            optional: false,
            default: None,
            range: None,
        };
        for token in words {
            match token.text() {
                "required" => line.required = true,
                "optional" => line.optional = true,
                "default" => line.default = self.expr_after(&token),
                "in" => line.range = self.expr_after(&token),
                _ => {}
            }
        }
        Some(line)
    }

    /// The expression that follows `token` in the same node.
    fn expr_after(&mut self, token: &SyntaxToken) -> Option<Expr> {
        let mut next = token.next_sibling_or_token();
        while let Some(element) = next {
            match element {
                rowan::NodeOrToken::Node(node) => return Some(self.expr(&node)),
                rowan::NodeOrToken::Token(token) if token.kind().is_trivia() => {
                    next = token.next_sibling_or_token();
                }
                rowan::NodeOrToken::Token(_) => return None,
            }
        }
        None
    }

    fn rule(&mut self, name: Name, node: &SyntaxNode) -> RuleBlock {
        RuleBlock {
            name,
            clauses: node
                .children()
                .filter_map(|clause| self.clause(&clause))
                .collect(),
            fingerprint: fingerprint(node),
        }
    }

    fn clause(&mut self, node: &SyntaxNode) -> Option<Clause> {
        match node.kind() {
            On => Some(self.on(node)),
            When => Some(Clause::When(self.first_expr(node)?)),
            Set => {
                let name = self.field_names(node).into_iter().next()?;
                Some(Clause::Set(name, self.first_expr(node)?))
            }
            Drop => Some(Clause::Drop(self.field_names(node))),
            Rename => {
                let mut names = self.field_names(node).into_iter();
                Some(Clause::Rename(names.next()?, names.next()?))
            }
            Send => Some(Clause::Send(Box::new(self.send(node)))),
            _ => None,
        }
    }

    fn on(&mut self, node: &SyntaxNode) -> Clause {
        let mut sources = Vec::new();
        for token in tokens(node).skip(1) {
            match token.kind() {
                SyntaxKind::Name => sources.push(Source::Event(self.name(&token))),
                Text => {
                    let filter = self.quoted(&token, text::Escapes::Template);
                    sources.push(Source::Filter(filter));
                }
                _ => {}
            }
        }
        Clause::On(self.span(node.text_range()), sources)
    }

    /// The names of fields in `set`, `drop` and `rename`: plain, or in quotes.
    fn field_names(&mut self, node: &SyntaxNode) -> Vec<Name> {
        let mut names = Vec::new();
        for token in tokens(node).skip(1) {
            match token.kind() {
                SyntaxKind::Name
                    if token.text() == "to" && node.kind() == Rename && names.len() == 1 => {}
                SyntaxKind::Name => names.push(self.name(&token)),
                Text => {
                    let quoted = self.quoted(&token, text::Escapes::Plain);
                    names.push(Name {
                        text: quoted.value,
                        span: quoted.span,
                    });
                }
                _ => {}
            }
        }
        names
    }

    fn first_expr(&mut self, node: &SyntaxNode) -> Option<Expr> {
        let child = node.children().find(|child| child.kind() != Later)?;
        Some(self.expr(&child))
    }

    fn send(&mut self, node: &SyntaxNode) -> Send {
        let mut send = Send {
            to: None,
            topic: None,
            key: None,
            priority: None,
            reason: None,
        };
        let mut words = tokens(node).skip(1).peekable();
        while let Some(word) = words.next() {
            let text = words.next_if(|next| next.kind() == Text);
            match word.text() {
                "topic" => self.once(&word, &mut send.topic, |it| Some(it.template(&text?))),
                "reason" => self.once(&word, &mut send.reason, |it| Some(it.template(&text?))),
                "key" => self.once(&word, &mut send.key, |it| it.expr_after(&word)),
                "to" | "priority" => {
                    let name = words.next_if(|next| next.kind() == SyntaxKind::Name);
                    let slot = match word.text() {
                        "to" => &mut send.to,
                        _ => &mut send.priority,
                    };
                    self.once(&word, slot, |it| Some(it.name(&name?)));
                }
                _ => {}
            }
        }
        send
    }

    /// Fills `slot`, or complains that `word` stands twice.
    fn once<T>(
        &mut self,
        word: &SyntaxToken,
        slot: &mut Option<T>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) {
        if slot.is_some() {
            let span = self.span(word.text_range());
            self.error(
                span,
                format!("`{}` stands twice in this `send`", word.text()),
            );
        }
        *slot = read(self);
    }
}

/// The tokens right under `node` that mean something.
fn tokens(node: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    node.children_with_tokens()
        .filter_map(|element| element.into_token())
        .filter(|token| !token.kind().is_trivia())
}

/// Of all tokens in `node` that mean something.
fn fingerprint(node: &SyntaxNode) -> Fingerprint {
    let mut fingerprint = Fingerprint::new();
    let tokens = node.descendants_with_tokens();
    for token in tokens.filter_map(|element| element.into_token()) {
        if !token.kind().is_trivia() {
            fingerprint.add(token.text());
        }
    }
    fingerprint
}

fn first_token(node: &SyntaxNode) -> Option<SyntaxToken> {
    tokens(node).next()
}
