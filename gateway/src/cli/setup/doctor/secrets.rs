//! Which files hold secrets, by what the configuration says.

use std::path::{Path, PathBuf};

use toml_edit::{Item, TableLike, Value};

/// Keys that name a file with a secret.
const FILES: [&str; 4] = ["password_file", "password_hash_file", "bearer_file", "key"];
/// Keys that hold what a secret can be guessed from.
const HASHES: [&str; 2] = ["password_hash", "bearer_hash"];
/// Headers of requests that hold a secret.
const HEADERS: [&str; 5] = ["authorization", "token", "api-key", "apikey", "secret"];

/// The secrets of a configuration.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Files that hold one.
    pub(super) files: Vec<PathBuf>,
    /// Keys of the configuration itself whose values are some.
    pub(super) inline: Vec<String>,
}

/// Finds them in the text of a configuration in `folder`.
pub(super) fn find(table: &dyn TableLike, folder: &Path) -> Secrets {
    let mut secrets = Secrets::default();
    for list in ["sources", "upstreams"] {
        if let Some(item) = table.get(list) {
            look(item, list, folder, &mut secrets);
        }
    }
    secrets.files.sort();
    secrets.files.dedup();
    secrets
}

fn look(item: &Item, at: &str, folder: &Path, secrets: &mut Secrets) {
    let Some(table) = item.as_table_like() else {
        return;
    };
    for (key, item) in table.iter() {
        let Some(text) = item.as_value().and_then(Value::as_str) else {
            look(item, &format!("{at}.{key}"), folder, secrets);
            continue;
        };
        let is_header = at.ends_with(".headers");
        let names_secret = |word: &&str| key.to_ascii_lowercase().contains(*word);
        if FILES.contains(&key) && !is_header {
            if let Some(path) = expanded(text) {
                secrets.files.push(folder.join(path));
            }
        } else if (HASHES.contains(&key) || (is_header && HEADERS.iter().any(names_secret)))
            && !text.contains("${")
        {
            secrets.inline.push(format!("`{key}` in [{at}]"));
        }
    }
}

/// With the variables of this process; none where one is not set, as the service alone knows it then.
fn expanded(text: &str) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        whole += before;
        whole += &std::env::var(name).ok()?;
        rest = after;
    }
    Some(whole + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_values_that_are_secrets_are_found() {
        let text = r#"
            [sources.floor]
            tls = { cert = "a.pem", key = "a.key" }
            users.press = { password_hash = "$argon2id$x" }
            [upstreams.cloud]
            password_file = "/etc/cloud.password"
            key = "b.key"
            [upstreams.hook]
            bearer = "${TOKEN}"
            bearer_file = "${NOT_SET_ANYWHERE}/x"
            headers = { X-Plant = "a", Authorization = "Basic abc", X-Api-Key = "${KEY}" }
        "#;
        let document = toml_edit::Document::parse(text).expect("it is TOML");
        let found = find(document.as_table(), Path::new("/etc/t"));
        let files = ["/etc/cloud.password", "/etc/t/a.key", "/etc/t/b.key"];
        assert_eq!(found.files, files.map(PathBuf::from));
        let inline = [
            "`password_hash` in [sources.floor.users.press]",
            "`Authorization` in [upstreams.hook.headers]",
        ];
        assert_eq!(found.inline, inline);
    }
}
