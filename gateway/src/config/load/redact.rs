//! Redacts secrets in the text that error pictures quote from.
//!
//! A person shows such a picture around to ask for help. Everything keeps its length, so that
//! carets still point at the right place.

/// Parts of a key's name that make its value a secret.
const SECRET_WORDS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "bearer",
    "token",
    "secret",
    "authorization",
    "api",
];

/// `text` with stars for the values of secret keys and for logins in urls.
pub(super) fn redact(text: &str) -> String {
    // The quotes that a secret over several lines ends with.
    let mut open: Option<&str> = None;
    let lines = text.split_inclusive('\n').map(|line| {
        if let Some(quotes) = open {
            let end = line.find(quotes);
            open = open.filter(|_| end.is_none());
            return starred(line);
        }
        let Some(value) = value_of_secret(line) else {
            return redact_line(line);
        };
        let begun = ["\"\"\"", "'''"].into_iter();
        open = begun
            .filter(|quotes| value.trim_start().starts_with(quotes))
            .find(|quotes| value.matches(quotes).count() == 1);
        let is_assigned = line[..line.len() - value.len()].ends_with('=');
        match is_assigned && is_one_text(value) {
            true => redact_line(line),
            false => line[..line.len() - value.len()].to_owned() + &starred(value),
        }
    });
    lines.collect()
}

/// What stands behind the key of a line, if that is one of a secret, or is meant to be one.
fn value_of_secret(line: &str) -> Option<&str> {
    let start = line.len() - line.trim_start().len();
    let key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let length = line[start..].find(|c| !key(c))?;
    let (name, value) = (&line[start..start + length], &line[start + length..]);
    let value = value.trim_start().strip_prefix('=').unwrap_or(value);
    names_secret(name).then_some(value)
}

/// Whether a value is one text in quotes, with at most a comment behind it.
fn is_one_text(value: &str) -> bool {
    let Some((before, inside, quote, after)) = next_quoted(value) else {
        return false;
    };
    let is_closed = before.len() + inside.len() + quote.len() + after.len() < value.len();
    let after = after.trim();
    before.trim().is_empty()
        && is_closed
        && !inside.is_empty()
        && (after.is_empty() || after.starts_with('#'))
}

/// Stars for all but what shows how it is written.
fn starred(text: &str) -> String {
    let shown = |c: char| c.is_whitespace() || "\"'[]{}=,".contains(c);
    let stars = text.chars().map(|c| match shown(c) {
        true => c.to_string(),
        false => "*".repeat(c.len_utf8()),
    });
    stars.collect()
}

/// Whether a text names a variable and says nothing more.
fn is_variable(text: &str) -> bool {
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

fn redact_line(line: &str) -> String {
    let mut redacted = String::with_capacity(line.len());
    let mut rest = line;
    let mut before = String::new();
    while let Some((outside, inside, quote, after)) = next_quoted(rest) {
        before.push_str(outside);
        redacted.push_str(outside);
        redacted.push_str(quote);
        match is_secret(&before) && !is_variable(inside) {
            true => redacted.push_str(&"*".repeat(inside.len())),
            false => redacted.push_str(&redact_login(inside)),
        }
        let closed = rest.len() - after.len() - outside.len() - quote.len() - inside.len();
        redacted.push_str(&quote[..closed]);
        // A quoted text may be a key: "Authorization" = "…".
        before.push_str(inside);
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

/// What stands before the next quoted text, the text, its quote, and what follows.
fn next_quoted(line: &str) -> Option<(&str, &str, &str, &str)> {
    let start = line.find(['"', '\''])?;
    let quote = &line[start..=start];
    let inside = &line[start + 1..];
    let end = inside.find(quote);
    let after = end.map_or("", |end| &inside[end + 1..]);
    Some((
        &line[..start],
        &inside[..end.unwrap_or(inside.len())],
        quote,
        after,
    ))
}

/// Whether the key that ends in `before` names a secret.
fn is_secret(before: &str) -> bool {
    let Some(key) = before.trim_end().strip_suffix('=') else {
        return false;
    };
    let key = key
        .trim_end()
        .rsplit([',', '{', ' '])
        .next()
        .unwrap_or_default();
    names_secret(key)
}

/// Whether a key is one of a secret; misspelt, too, for such a line is just what a picture shows.
fn names_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let is_misspelt = |word: &str| {
        let near = key.chars().count().abs_diff(word.chars().count()) <= 2;
        near && word.len() > 5 && distance(&key, word) <= 2
    };
    !key.ends_with("_file")
        && !key.ends_with("_hash")
        && SECRET_WORDS
            .iter()
            .any(|word| key.contains(word) || is_misspelt(word))
}

/// How many characters are to be changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, d) in other.iter().enumerate() {
            let cost = diagonal + usize::from(c != *d);
            diagonal = row[place + 1];
            row[place + 1] = cost.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// `mqtt://user:password@host` → `mqtt://*************@host`.
fn redact_login(text: &str) -> String {
    let login = text.find("://").map(|at| at + 3).and_then(|start| {
        let end = text[start..]
            .find('/')
            .map_or(text.len(), |end| start + end);
        Some((start, start + text[start..end].rfind('@')?))
    });
    match login {
        Some((start, end)) => {
            format!(
                "{}{}{}",
                &text[..start],
                "*".repeat(end - start),
                &text[end..]
            )
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        assert_eq!(redact(line), expected);
        assert_eq!(line.len(), redact(line).len());
    }

    #[test]
    fn secrets_are_hidden_and_everything_keeps_its_place() {
        check(
            "password = \"hunter2\" # x\n",
            "password = \"*******\" # x\n",
        );
        check("password='hunter2", "password='*******");
        check("bearer = \"abc\"", "bearer = \"***\"");
        check(
            "headers = { \"X-Api-Key\" = \"abc\" }",
            "headers = { \"X-Api-Key\" = \"***\" }",
        );
        check("url = \"mqtt://u:p@host/x\"", "url = \"mqtt://***@host/x\"");
        check(
            "a = { user = \"x\", password = \"yz\" }",
            "a = { user = \"x\", password = \"**\" }",
        );
    }

    #[test]
    fn a_secret_that_is_written_wrong_is_hidden_too() {
        check("password = hunter2\n", "password = *******\n");
        check("password \"hunter2\"\n", "password \"*******\"\n");
        check("pasword = \"hunter2\"\n", "pasword = \"*******\"\n");
        check("passwort = \"hunter2\"\n", "passwort = \"*******\"\n");
        check("password = [\"hunter2\"]", "password = [\"*******\"]");
        check("password = { a = \"b\" }", "password = { * = \"*\" }");
        check(
            "password = \"${X}hunter2\"\n",
            "password = \"***********\"\n",
        );
        check(
            "password = \"\"\"\nhunter2\n\"\"\"\nid = \"x\"\n",
            "password = \"\"\"\n*******\n\"\"\"\nid = \"x\"\n",
        );
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for line in [
            "password_file = \"/etc/secret\"",
            "password = \"${PASSWORD}\"",
            "url = \"mqtt://host:1883/a@b\"",
            "topics = [\"a\", \"b\"]\nid = \"x\"",
        ] {
            check(line, line);
        }
    }
}
