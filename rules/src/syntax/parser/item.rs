//! The items of a file: `event`, `rule`, `unmatched`.

use super::Parser;
use crate::diagnostic::did_you_mean;
use crate::syntax::SyntaxKind::*;

impl Parser<'_> {
    pub(super) fn file(&mut self) {
        self.builder.start_node(rowan::SyntaxKind(File as u16));
        loop {
            match self.current() {
                End => break,
                EventWord => self.event(),
                RuleWord => self.rule(),
                UnmatchedWord => self.unmatched(),
                TestWord | LookupWord => self.later_item(),
                _ => self.stray_item(),
            }
        }
        self.trivia();
        self.close();
    }

    /// Something that is no item, up to the next item.
    fn stray_item(&mut self) {
        let word = self.current_text();
        let items = ["event", "rule", "unmatched"];
        if self.current() == Unknown {
            self.unknown_token();
        } else {
            let message = match self.current() {
                BraceClose => "this `}` closes nothing".to_owned(),
                _ => format!("expected `event`, `rule` or `unmatched`, found `{word}`"),
            };
            let error = self.diagnostic(self.current_span(), message);
            self.report(match did_you_mean(word, items) {
                Some(meant) => error.with_replacement(meant),
                None => error,
            });
        }
        self.open(Error);
        self.bump();
        while !self.at(End) && !self.current().opens_item() {
            self.bump();
        }
        self.close();
    }

    fn event(&mut self) {
        self.open(Event);
        self.bump();
        self.expect(Name, "a name for the event");
        if self.eat_word("version") {
            self.expect(Int, "a whole number after `version`");
        }
        if self.expect(BraceOpen, "`{`") {
            self.event_body();
        } else {
            self.skip();
        }
        self.close();
    }

    fn event_body(&mut self) {
        loop {
            match self.current() {
                BraceClose => return self.bump(),
                End => return self.missing_brace("event"),
                kind if kind.opens_item() && self.starts_line() => {
                    return self.missing_brace("event");
                }
                Name if self.at_word("topic") && self.kind_ahead(1) == Text => {
                    self.bump();
                    self.bump();
                }
                Name if self.at_word("upcast") && self.text_ahead(1) == "from" => {
                    self.later_clause("upcast");
                }
                kind if kind.is_word() => self.field(),
                _ => {
                    self.expected("a field such as `temperature float`, or `}`");
                    self.open(Error);
                    self.bump();
                    self.close();
                }
            }
        }
    }

    /// `NAME TYPE attr*`. Any word can be a field's name: devices were there before the language.
    fn field(&mut self) {
        self.open(Field);
        self.bump();
        if !self.expect(
            Name,
            "a type: float, int, text, bool, time, duration, list or object",
        ) {
            self.close();
            return;
        }
        loop {
            match self.current() {
                Name if self.at_word("required") || self.at_word("optional") => {
                    // `optional text` on the next line is a field called `optional`.
                    if self.kind_ahead(1) == Name && is_type(self.text_ahead(1)) {
                        break;
                    }
                    self.bump();
                }
                Name if self.at_word("default") && !is_type(self.text_ahead(1)) => {
                    self.bump();
                    self.operand();
                }
                InWord => {
                    self.bump();
                    self.range();
                }
                _ => break,
            }
        }
        self.close();
    }

    fn text_ahead(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.place(ahead))
            .map_or("", |token| &self.text[token.span.clone()])
    }

    fn rule(&mut self) {
        self.open(Rule);
        self.bump();
        self.expect(Name, "a name for the rule");
        if self.expect(BraceOpen, "`{`") {
            self.clauses("rule");
        } else {
            self.skip();
        }
        self.close();
    }

    fn unmatched(&mut self) {
        self.open(Unmatched);
        self.bump();
        if self.expect(BraceOpen, "`{`") {
            self.clauses("unmatched");
        } else {
            self.skip();
        }
        self.close();
    }

    pub(super) fn missing_brace(&mut self, what: &str) {
        let message = format!("expected `}}` to close this {what}");
        let error = self.diagnostic(self.current_span(), message);
        let error = error.with_label(match self.current() {
            End => "the file ends here",
            _ => "before this",
        });
        self.report(error);
    }

    /// `test` and `lookup`: known words that this version cannot run.
    fn later_item(&mut self) {
        let word = self.current_text();
        self.open(Later);
        self.not_yet(word);
        self.bump();
        while !self.at(End) && !self.at(BraceOpen) && !self.current().opens_item() {
            self.bump();
        }
        if self.eat(BraceOpen) {
            self.balanced();
        }
        self.close();
    }

    /// Everything up to the `}` that closes what is already open.
    pub(super) fn balanced(&mut self) {
        let mut open_braces = 1usize;
        while open_braces > 0 {
            match self.current() {
                End => return,
                BraceOpen => open_braces += 1,
                BraceClose => open_braces -= 1,
                kind if kind.opens_item() && self.starts_line() => {
                    return self.missing_brace("block");
                }
                _ => {}
            }
            self.bump();
        }
    }
}

/// Whether `word` names a type of field.
fn is_type(word: &str) -> bool {
    crate::value::types::Type::named(word).is_some()
}
