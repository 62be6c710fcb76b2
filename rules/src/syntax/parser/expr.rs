//! Expressions, loosest binding first.

use super::{EXPRESSION_DEPTH_MAX, Parser};
use crate::syntax::SyntaxKind::{self, *};

/// How many members and places may follow one another, as in `a.b[0].c`.
const MEMBERS_MAX: usize = 16;

impl Parser<'_> {
    /// `if … then … else …`, or anything that binds tighter.
    pub(super) fn expr(&mut self) {
        if self.depth >= EXPRESSION_DEPTH_MAX {
            let error = self.diagnostic(
                self.current_span(),
                format!("this expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels"),
            );
            self.report(error.with_label("set a field to a part of it first"));
            return self.skip();
        }
        self.depth += 1;
        match self.current() {
            IfWord => self.if_expr(),
            _ => self.or_expr(),
        }
        self.depth -= 1;
    }

    fn if_expr(&mut self) {
        self.open(IfExpr);
        self.bump();
        self.expr();
        if self.expect(ThenWord, "`then`") {
            self.expr();
            if self.expect(ElseWord, "`else` and the value otherwise") {
                self.expr();
            }
        }
        self.close();
    }

    /// Operands of the next tighter kind with `operators` between them, as one flat node.
    fn chain(&mut self, node: SyntaxKind, operators: &[SyntaxKind], operand: fn(&mut Self)) {
        let start = self.checkpoint();
        operand(self);
        if !operators.contains(&self.current()) {
            return;
        }
        self.open_at(start, node);
        while operators.contains(&self.current()) {
            self.foreign_sign();
            self.bump();
            operand(self);
        }
        self.close();
    }

    /// `&&`, `||` and `!` are understood, but there is one way to write each thing.
    fn foreign_sign(&mut self) {
        let word = match self.current() {
            AndSign => "and",
            OrSign => "or",
            NotSign => "not",
            _ => return,
        };
        let sign = self.current_text();
        let error = self.diagnostic(self.current_span(), format!("`{sign}` is written `{word}`"));
        let replacement = match self.current() {
            NotSign => "not ",
            _ => word,
        };
        self.report(
            error
                .with_label(format!("write `{word}`"))
                .with_replacement(replacement),
        );
    }

    fn or_expr(&mut self) {
        self.chain(OrExpr, &[OrWord, OrSign], Self::and_expr);
    }

    fn and_expr(&mut self) {
        self.chain(AndExpr, &[AndWord, AndSign], Self::not_expr);
    }

    fn not_expr(&mut self) {
        let mut count = 0usize;
        while matches!(self.current(), NotWord | NotSign) && self.depth < EXPRESSION_DEPTH_MAX {
            self.foreign_sign();
            self.open(NotExpr);
            self.bump();
            self.depth += 1;
            count += 1;
        }
        self.comparison();
        self.depth -= count;
        for _ in 0..count {
            self.close();
        }
    }

    fn comparison(&mut self) {
        let start = self.checkpoint();
        self.coalesce();
        match self.current() {
            Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual => {
                self.open_at(start, CompareExpr);
                self.bump();
                self.coalesce();
                self.no_second_comparison();
                self.close();
            }
            Assign => {
                let error = self.diagnostic(
                    self.current_span(),
                    "`=` sets a field; to compare write `==`",
                );
                self.report(error.with_replacement("=="));
                self.open_at(start, CompareExpr);
                self.bump();
                self.coalesce();
                self.close();
            }
            InWord => {
                self.open_at(start, InExpr);
                self.bump();
                self.range();
                self.close();
            }
            _ => {}
        }
    }

    fn no_second_comparison(&mut self) {
        if (Equal..=GreaterEqual).contains(&self.current()) {
            let error = self
                .diagnostic(self.current_span(), "comparisons do not chain")
                .with_label("write `x in 1..10`, or two comparisons with `and`");
            self.report(error);
            self.open(Error);
            self.bump();
            self.coalesce();
            self.close();
        }
    }

    /// `a..b`, or a single value where a list stands.
    pub(super) fn range(&mut self) {
        let start = self.checkpoint();
        self.coalesce();
        if self.at(DotDot) {
            self.open_at(start, RangeExpr);
            self.bump();
            self.coalesce();
            self.close();
        }
    }

    fn coalesce(&mut self) {
        self.chain(CoalesceExpr, &[Coalesce], Self::sum);
    }

    fn sum(&mut self) {
        self.chain(SumExpr, &[Plus, Minus], Self::product);
    }

    fn product(&mut self) {
        self.chain(ProductExpr, &[Star, Slash, Percent], Self::operand);
    }

    /// `-x`, or a value with what follows it.
    pub(super) fn operand(&mut self) {
        let mut count = 0usize;
        while self.at(Minus) && self.depth < EXPRESSION_DEPTH_MAX {
            self.open(NegateExpr);
            self.bump();
            self.depth += 1;
            count += 1;
        }
        self.postfix();
        self.depth -= count;
        for _ in 0..count {
            self.close();
        }
    }

    /// `a.b`, `a["b"]`, `a[0]`
    fn postfix(&mut self) {
        let start = self.checkpoint();
        self.atom();
        let mut count = 0usize;
        while matches!(self.current(), Dot | BracketOpen) && count < MEMBERS_MAX {
            count += 1;
            match self.current() {
                Dot => {
                    self.open_at(start, MemberExpr);
                    self.bump();
                    if self.current().is_word() {
                        self.bump();
                    } else {
                        self.expected("a name after `.`");
                    }
                }
                _ => {
                    self.open_at(start, IndexExpr);
                    self.bump();
                    self.expr();
                    self.expect(BracketClose, "`]`");
                }
            }
            self.close();
        }
    }

    fn atom(&mut self) {
        match self.current() {
            Int | Float | Duration | Text | TrueWord | FalseWord => self.leaf(LiteralExpr),
            Name if self.kind_ahead(1) == ParenOpen => self.call(),
            Name => self.leaf(VariableExpr),
            ParenOpen => {
                self.open(ParenExpr);
                self.bump();
                self.expr();
                self.expect(ParenClose, "`)`");
                self.close();
            }
            BracketOpen => self.list(),
            BraceOpen => self.object(),
            NotWord | NotSign => {
                let error = self.diagnostic(
                    self.current_span(),
                    "`not` here needs parentheses around it",
                );
                self.report(error);
                self.leaf(Error);
            }
            _ => self.missing_value(),
        }
    }

    fn missing_value(&mut self) {
        self.expected("a value");
        let resumes = matches!(
            self.current(),
            ParenClose | BracketClose | Comma | ThenWord | ElseWord | ForWord | UntilWord
        );
        if !resumes && !self.at_boundary() && !self.starts_new_line() {
            self.leaf(Error);
        }
    }

    fn starts_new_line(&self) -> bool {
        self.text[self.previous_span().end..self.current_span().start].contains('\n')
    }

    fn leaf(&mut self, kind: SyntaxKind) {
        self.open(kind);
        self.bump();
        self.close();
    }

    fn call(&mut self) {
        self.open(CallExpr);
        self.bump();
        self.bump();
        self.items(ParenClose, "`,` or `)`", Self::expr);
        self.close();
    }

    fn list(&mut self) {
        self.open(ListExpr);
        self.bump();
        self.items(BracketClose, "`,` or `]`", Self::expr);
        self.close();
    }

    fn object(&mut self) {
        self.open(ObjectExpr);
        self.bump();
        self.items(BraceClose, "`,` or `}`", Self::pair);
        self.close();
    }

    /// `name: e`, `"name": e`, or `name` alone for `name: name`.
    fn pair(&mut self) {
        self.open(Pair);
        if self.current().is_word() || self.at(Text) {
            self.bump();
        } else {
            self.expected("a name");
        }
        if self.eat(Colon) {
            self.expr();
        }
        self.close();
    }

    /// Items with commas between them, a last comma allowed, up to and with `end`.
    fn items(&mut self, end: SyntaxKind, what: &str, item: fn(&mut Self)) {
        while !self.at(end) {
            item(self);
            if !self.eat(Comma) {
                break;
            }
        }
        self.expect(end, what);
    }
}
