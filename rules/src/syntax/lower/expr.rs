//! Expressions from the tree.

use super::text::Escapes;
use super::{Lowering, tokens};
use crate::syntax::SyntaxKind::{self, *};
use crate::syntax::SyntaxNode;
use crate::syntax::ast::{Arithmetic, Compare, Expr, ExprKind, Name, Span};
use crate::value::time_format::duration_ms;

/// How many operators may follow one another or nest before an expression is refused. Every later
/// step walks expressions recursively; this keeps the stack small.
const OPERATORS_MAX: usize = 200;

impl Lowering<'_> {
    pub(super) fn expr(&mut self, node: &SyntaxNode) -> Expr {
        let span = self.span(node.text_range());
        self.depth += 1;
        let kind = match self.depth <= OPERATORS_MAX {
            true => self.expr_kind(node, &span).unwrap_or(ExprKind::Error),
            false => self.too_long(&span),
        };
        self.depth -= 1;
        self.finish(kind, span)
    }

    /// Refuses what is too deep.
    fn finish(&mut self, kind: ExprKind, span: Span) -> Expr {
        let depth = 1 + depth_inside(&kind);
        if depth <= OPERATORS_MAX {
            return Expr { kind, span, depth };
        }
        Expr {
            kind: self.too_long(&span),
            span,
            depth: 1,
        }
    }

    fn too_long(&mut self, span: &Span) -> ExprKind {
        let error = self.error(span.clone(), "this expression is too long");
        error.label = Some("set a field to a part of it first".to_owned());
        ExprKind::Error
    }

    fn expr_kind(&mut self, node: &SyntaxNode, span: &Span) -> Option<ExprKind> {
        let mut operands = node.children();
        match node.kind() {
            LiteralExpr => self.literal(node, span),
            VariableExpr => Some(ExprKind::Variable(node.text().to_string())),
            ParenExpr => Some(self.expr(&operands.next()?).kind),
            NegateExpr => Some(self.negate(&operands.next()?)),
            NotExpr => Some(ExprKind::Not(Box::new(self.expr(&operands.next()?)))),
            AndExpr => Some(ExprKind::And(self.all(node))),
            OrExpr => Some(ExprKind::Or(self.all(node))),
            CoalesceExpr => Some(ExprKind::Coalesce(self.all(node))),
            ListExpr => Some(ExprKind::List(self.all(node))),
            SumExpr | ProductExpr => Some(self.chain(node)),
            CompareExpr => {
                let operator = comparison(tokens(node).next()?.kind())?;
                Some(ExprKind::Compare(operator, Box::new(self.two(node)?)))
            }
            InExpr => Some(ExprKind::In(Box::new(self.two(node)?))),
            RangeExpr => Some(ExprKind::Range(Box::new(self.two(node)?))),
            IfExpr => {
                let parts: [Expr; 3] = self.all(node).try_into().ok()?;
                Some(ExprKind::If(Box::new(parts)))
            }
            MemberExpr => {
                let name = tokens(node).last().filter(|token| token.kind().is_word())?;
                let name = self.name(&name);
                Some(ExprKind::Member(
                    Box::new(self.expr(&operands.next()?)),
                    name,
                ))
            }
            IndexExpr => {
                let [value, index] = self.two(node)?;
                Some(ExprKind::Index(Box::new(value), Box::new(index)))
            }
            CallExpr => self.call(node),
            ObjectExpr => Some(ExprKind::Object(
                operands.filter_map(|pair| self.pair(&pair)).collect(),
            )),
            _ => None,
        }
    }

    fn all(&mut self, node: &SyntaxNode) -> Vec<Expr> {
        node.children().map(|child| self.expr(&child)).collect()
    }

    fn two(&mut self, node: &SyntaxNode) -> Option<[Expr; 2]> {
        let mut operands = node.children();
        let first = self.expr(&operands.next()?);
        let second = self.expr(&operands.next()?);
        Some([first, second])
    }

    fn literal(&mut self, node: &SyntaxNode, span: &Span) -> Option<ExprKind> {
        let token = tokens(node).next()?;
        match token.kind() {
            TrueWord => Some(ExprKind::Bool(true)),
            FalseWord => Some(ExprKind::Bool(false)),
            Text => Some(ExprKind::Text(self.quoted(&token, Escapes::Plain))),
            Int => match token.text().parse() {
                Ok(value) => Some(ExprKind::Int(value)),
                Err(_) => {
                    self.error(span.clone(), format!("whole numbers go up to {}", i64::MAX));
                    None
                }
            },
            Float => match token.text().parse::<f64>() {
                Ok(value) if value.is_finite() => Some(ExprKind::Float(value)),
                _ => {
                    self.error(span.clone(), "this number is too large");
                    None
                }
            },
            Duration => duration_ms(token.text()).map(ExprKind::Duration),
            _ => None,
        }
    }

    /// A number with its sign is a literal.
    fn negate(&mut self, operand: &SyntaxNode) -> ExprKind {
        let operand = self.expr(operand);
        match operand.kind {
            ExprKind::Int(value) => ExprKind::Int(-value),
            ExprKind::Float(value) => ExprKind::Float(-value),
            ExprKind::Duration(value) => ExprKind::Duration(-value),
            _ => ExprKind::Negate(Box::new(operand)),
        }
    }

    /// `a + b - c` is `(a + b) - c`.
    fn chain(&mut self, node: &SyntaxNode) -> ExprKind {
        let mut operators = tokens(node).filter_map(|token| arithmetic(token.kind()));
        let mut operands = node.children().map(|child| self.expr(&child));
        let collected: Vec<Expr> = operands.by_ref().collect();
        drop(operands);
        let mut rest = collected.into_iter();
        let Some(mut sum) = rest.next() else {
            return ExprKind::Error;
        };
        for operand in rest {
            let Some(operator) = operators.next() else {
                return ExprKind::Error;
            };
            let span = sum.span.start..operand.span.end;
            let kind = ExprKind::Arithmetic(operator, Box::new([sum, operand]));
            sum = self.finish(kind, span);
        }
        sum.kind
    }

    fn call(&mut self, node: &SyntaxNode) -> Option<ExprKind> {
        let name = self.name(&tokens(node).next()?);
        let mut arguments = Vec::new();
        for (at, child) in node.children().enumerate() {
            let is_pattern = name.text == "matches" && at == 1 && child.kind() == LiteralExpr;
            arguments.push(match is_pattern {
                true => self.pattern(&child),
                false => self.expr(&child),
            });
        }
        Some(ExprKind::Call(name, arguments))
    }

    /// The pattern of `matches` is read as it is written: it has backslashes of its own.
    fn pattern(&mut self, node: &SyntaxNode) -> Expr {
        match tokens(node).next() {
            Some(token) if token.kind() == Text => {
                let quoted = self.quoted(&token, Escapes::Regex);
                let span = quoted.span.clone();
                self.finish(ExprKind::Text(quoted), span)
            }
            _ => self.expr(node),
        }
    }

    fn pair(&mut self, node: &SyntaxNode) -> Option<(Name, Expr)> {
        let token = tokens(node).next()?;
        let name = match token.kind() {
            Text => {
                let quoted = self.quoted(&token, Escapes::Plain);
                Name {
                    text: quoted.value,
                    span: quoted.span,
                }
            }
            kind if kind.is_word() => self.name(&token),
            _ => return None,
        };
        let value = match node.children().next() {
            Some(value) => self.expr(&value),
            None => Expr {
                kind: ExprKind::Variable(name.text.clone()),
                span: name.span.clone(),
                depth: 1,
            },
        };
        Some((name, value))
    }
}

fn depth_inside(kind: &ExprKind) -> usize {
    let deepest = |exprs: &[Expr]| exprs.iter().map(|expr| expr.depth).max().unwrap_or(0);
    match kind {
        ExprKind::Member(value, _) | ExprKind::Not(value) | ExprKind::Negate(value) => value.depth,
        ExprKind::Index(value, index) => value.depth.max(index.depth),
        ExprKind::Call(_, exprs)
        | ExprKind::List(exprs)
        | ExprKind::And(exprs)
        | ExprKind::Or(exprs)
        | ExprKind::Coalesce(exprs) => deepest(exprs),
        ExprKind::Object(pairs) => pairs.iter().map(|(_, e)| e.depth).max().unwrap_or(0),
        ExprKind::If(parts) => deepest(&parts[..]),
        ExprKind::Compare(_, two)
        | ExprKind::Arithmetic(_, two)
        | ExprKind::Range(two)
        | ExprKind::In(two) => deepest(&two[..]),
        _ => 0,
    }
}

fn comparison(kind: SyntaxKind) -> Option<Compare> {
    Some(match kind {
        Equal | Assign => Compare::Equal,
        NotEqual => Compare::NotEqual,
        Less => Compare::Less,
        LessEqual => Compare::LessEqual,
        Greater => Compare::Greater,
        GreaterEqual => Compare::GreaterEqual,
        _ => return None,
    })
}

fn arithmetic(kind: SyntaxKind) -> Option<Arithmetic> {
    Some(match kind {
        Plus => Arithmetic::Add,
        Minus => Arithmetic::Subtract,
        Star => Arithmetic::Multiply,
        Slash => Arithmetic::Divide,
        Percent => Arithmetic::Remainder,
        _ => return None,
    })
}
