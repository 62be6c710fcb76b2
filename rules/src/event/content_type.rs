//! What a content type says about a payload.

/// Whether a content type says that the payload is JSON: `application/json`, `text/json`,
/// `…+json`, with or without parameters.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// Whether a content type leaves open what the payload is: a text, bytes, what programs send that were told nothing
/// (`curl -d`), and words that are no media type, such as `json`. What looks like JSON then is JSON.
pub fn says_little(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let Some((kind, name)) = essence.split_once('/') else {
        return true;
    };
    let plain = kind == "text" && !matches!(name, "csv" | "html" | "xml");
    let named = [
        "x-www-form-urlencoded",
        "octet-stream",
        "x-json",
        "javascript",
    ];
    plain || kind == "application" && named.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_little_may_be_json_and_what_says_something_else_is_not() {
        let little = [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=utf-8",
            "text/plain",
            "text/plain; charset=utf-8",
            "text/javascript",
            "application/octet-stream",
            "application/x-json",
            "json",
            "JSON",
            "utf8",
            "",
        ];
        for content_type in little {
            assert!(says_little(content_type), "{content_type:?}");
        }
        let other = [
            "application/cbor",
            "application/xml",
            "image/png",
            "text/csv",
            "text/xml",
            "application/jsonl",
            "multipart/form-data",
        ];
        for content_type in other {
            assert!(!says_little(content_type), "{content_type:?}");
        }
    }

    #[test]
    fn json_is_told_by_type_or_suffix_whatever_the_case_and_parameters() {
        let cases = [
            ("application/json", true),
            ("text/json", true),
            ("APPLICATION/Json", true),
            (" application/json ", true),
            ("application/json;charset=utf-8", true),
            ("application/json ; charset=utf-8", true),
            ("application/vnd.x+json", true),
            ("application/vnd.x+json; charset=utf-8", true),
            ("application/cloudevents+JSON", true),
            ("model/gltf+json", true),
            ("", false),
            (";", false),
            ("json", false),
            ("text/plain", false),
            ("text/plain; a=application/json", false),
            ("text/plain; a=b+json", false),
            ("application/jsonl", false),
            ("application/json-seq", false),
            ("application/x-json", false),
            ("application/json+xml", false),
            ("application/cbor", false),
            ("application/octet-stream", false),
        ];
        for (content_type, expected) in cases {
            assert_eq!(is_json(content_type), expected, "{content_type:?}");
        }
    }
}
