//! Redacts secrets in the text that error pictures quote from.
//!
//! A person shows such a picture around to ask for help. Everything keeps its length, so that
//! carets still point at the right place.

/// Parts of a key's name that make its value a secret.
const SECRET_WORDS: [&str; 6] = [
    "password",
    "bearer",
    "token",
    "secret",
    "authorization",
    "api",
];

/// `text` with stars for the values of secret keys and for logins in urls.
pub(super) fn redact(text: &str) -> String {
    text.split_inclusive('\n').map(redact_line).collect()
}

fn redact_line(line: &str) -> String {
    let mut redacted = String::with_capacity(line.len());
    let mut rest = line;
    let mut before = String::new();
    while let Some((outside, inside, quote, after)) = next_quoted(rest) {
        before.push_str(outside);
        redacted.push_str(outside);
        redacted.push_str(quote);
        match is_secret(&before) && !inside.starts_with("${") {
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
    let key = key.to_lowercase();
    !key.ends_with("_file") && SECRET_WORDS.iter().any(|word| key.contains(word))
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
