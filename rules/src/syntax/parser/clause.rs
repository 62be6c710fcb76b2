//! The clauses of a rule, those of this version and those to come.

use super::Parser;
use crate::diagnostic::did_you_mean;
use crate::syntax::CLAUSE_WORDS;
use crate::syntax::SyntaxKind::{self, *};

/// Clauses to come that open with a word which is no reserved one, and the word after it.
const LATER_OPENINGS: [(&str, &str); 5] = [
    ("undefined", "to"),
    ("late", "to"),
    ("keys", "at"),
    ("renamed", "from"),
    ("upcast", "from"),
];

impl Parser<'_> {
    /// Clauses up to and with the closing `}`.
    pub(super) fn clauses(&mut self, what: &str) {
        loop {
            match self.current() {
                BraceClose => return self.bump(),
                End => return self.missing_brace(what),
                kind if kind.opens_item() => return self.missing_brace(what),
                kind => self.clause(kind),
            }
        }
    }

    fn clause(&mut self, kind: SyntaxKind) {
        match kind {
            OnWord => self.on(),
            WhenWord => self.when(),
            SetWord => self.set(),
            DropWord => self.drop_fields(),
            RenameWord => self.rename(),
            SendWord => self.send(),
            _ if kind.opens_clause() => self.later_clause(self.current_text()),
            _ => match self.later_opening() {
                Some(word) => self.later_clause(word),
                None => self.stray_clause(),
            },
        }
    }

    fn later_opening(&self) -> Option<&'static str> {
        let second = self.tokens.get(self.place(1))?;
        let second = &self.text[second.span.clone()];
        LATER_OPENINGS
            .iter()
            .find(|(word, next)| self.at_word(word) && *next == second)
            .map(|(word, _)| *word)
    }

    fn stray_clause(&mut self) {
        if self.at(Unknown) {
            self.unknown_token();
            return self.skip();
        }
        let word = self.current_text();
        let error = self.diagnostic(
            self.current_span(),
            format!("expected a clause such as `when` or `send to`, found `{word}`"),
        );
        self.report(match did_you_mean(word, CLAUSE_WORDS) {
            Some(meant) => error.with_replacement(meant),
            None => error,
        });
        self.skip();
    }

    /// `on a, "plant/#"`
    fn on(&mut self) {
        self.open(On);
        self.bump();
        loop {
            match self.current() {
                Name | Text => self.bump(),
                _ => {
                    self.expected("the name of an event or a quoted topic filter");
                    self.skip();
                    break;
                }
            }
            if !self.eat(Comma) {
                break;
            }
        }
        self.close();
        self.end_of_clause();
    }

    /// `when P`, and to come: `for 2m`, `until Q`.
    fn when(&mut self) {
        self.open(When);
        self.bump();
        self.expr();
        if self.at(ForWord) {
            self.open(Later);
            self.not_yet("for");
            self.bump();
            self.eat(Duration);
            self.close();
        }
        if self.at(UntilWord) {
            self.open(Later);
            self.not_yet("until");
            self.bump();
            self.expr();
            self.close();
        }
        self.close();
        self.end_of_clause();
    }

    /// `set f = e`
    fn set(&mut self) {
        self.open(Set);
        self.bump();
        self.field_name();
        if self.at(Equal) {
            let error = self.diagnostic(
                self.current_span(),
                "`==` compares; to set a field write `=`",
            );
            self.report(error.with_replacement("="));
            self.bump();
            self.expr();
        } else if self.expect(Assign, "`=`") {
            self.expr();
        }
        self.close();
        self.end_of_clause();
    }

    /// `drop a, b`
    fn drop_fields(&mut self) {
        self.open(Drop);
        self.bump();
        self.field_name();
        while self.eat(Comma) {
            self.field_name();
        }
        self.close();
        self.end_of_clause();
    }

    /// `rename a to b`
    fn rename(&mut self) {
        self.open(Rename);
        self.bump();
        self.field_name();
        if self.eat_word("to") {
            self.field_name();
        } else {
            self.expected("`to` and the new name");
        }
        self.close();
        self.end_of_clause();
    }

    /// A field as a name, or in quotes where it is no name of the language.
    fn field_name(&mut self) {
        if !self.eat(Name) && !self.eat(Text) {
            self.expected("a name of a field");
        }
    }

    /// `send to d topic "…" key e priority p reason "…"`
    fn send(&mut self) {
        self.open(Send);
        self.bump();
        if self.eat_word("to") {
            self.expect(Name, "the name of a destination");
        } else {
            self.expected("`to` and a destination");
        }
        loop {
            if self.eat_word("topic") || self.eat_word("reason") {
                self.expect(Text, "a text in quotes");
            } else if self.eat_word("key") {
                self.expr();
            } else if self.eat_word("priority") {
                self.expect(Name, "low, normal, high or critical");
            } else {
                break;
            }
        }
        if self.at(ElseWord) {
            self.later_clause("else to");
        }
        self.close();
        self.end_of_clause();
    }

    /// A clause must be followed by another one or by the end of the rule.
    fn end_of_clause(&mut self) {
        if self.at_boundary() || self.later_opening().is_some() {
            return;
        }
        if self.at(Unknown) {
            self.unknown_token();
        } else if !self.starts_misspelt_clause() {
            let found = self.current_text();
            let error = self.diagnostic(
                self.current_span(),
                format!("`{found}` does not belong here"),
            );
            self.report(match found {
                ";" => error.with_label("lines need no mark at their end"),
                _ => error.with_label("expected the next clause or `}`"),
            });
        } else {
            return;
        }
        self.skip();
    }

    /// Whether the next line starts with a word that is nearly a clause.
    fn starts_misspelt_clause(&self) -> bool {
        let between = &self.text[self.previous_span().end..self.current_span().start];
        self.at(Name)
            && between.contains('\n')
            && did_you_mean(self.current_text(), CLAUSE_WORDS).is_some()
    }

    /// A clause of the language that this version cannot run: in the tree, and an error.
    pub(super) fn later_clause(&mut self, word: &str) {
        self.open(Later);
        self.not_yet(word);
        self.bump();
        // `deadband f by 0.5` holds a word that opens a clause elsewhere.
        if word == "deadband" && self.eat(Name) {
            self.eat(ByWord);
        }
        self.skip_tokens_of_later();
        self.close();
    }

    fn skip_tokens_of_later(&mut self) {
        while !self.at_boundary() && self.later_opening().is_none() {
            if self.eat(BraceOpen) {
                self.balanced();
            } else {
                self.bump();
            }
        }
    }

    pub(super) fn not_yet(&mut self, word: &str) {
        let error = self
            .diagnostic(
                self.current_span(),
                format!("`{word}` is not supported yet by this version"),
            )
            .with_label("take this out for now");
        self.report(error);
    }
}
